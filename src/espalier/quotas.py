"""Quotas of a filter: at most so many rows of a leaf or of a cluster of neighbours, at least so many of a leaf.

Filters kill coverage: keeping the 37 % of lowest loss halved the effective leaves of a toy world (64 -> 41). So a leaf that a filter starves gets its
best dropped rows back, flagged, or is named.

Reads rows as their reasons so far (a list each, empty = kept) and their rank (0 = best); gives new reasons. Nothing here reads a verdict.
"""

from collections import Counter
from collections.abc import Iterable, Sequence

FINAL = ("status", "verdict")  # a row dropped for one of these never comes back: it is unfinished, or known to be wrong
CLUSTER_FULL, LEAF_FULL = "cluster_full", "leaf_full"

Reasons = list[list[str]]


def cap(reasons: Reasons, groups: Sequence[object], *, rank: Sequence[int], most: int, reason: str) -> Reasons:
    """The reasons after every group keeps its `most` best rows; the others are dropped for `reason`. A group of None or "" has no cap; most 0 is off."""
    if most == 0:
        return reasons
    seen: Counter[object] = Counter()
    capped = list(reasons)
    for i in _best_first(rank):
        if not capped[i] and groups[i] not in (None, ""):
            seen[groups[i]] += 1
            if seen[groups[i]] > most:
                capped[i] = [reason]
    return capped


def top_up(
    reasons: Reasons, leaves: Sequence[str], clusters: Sequence[object], *, rank: Sequence[int], min_leaf_rows: int, max_cluster_rows: int
) -> tuple[Reasons, list[bool]]:
    """(reasons, topped_up): a leaf with fewer than `min_leaf_rows` rows gets its best dropped ones back, those of full clusters left out.

    Best first by `rank`, in one go, so that the order of the leaves decides nothing. Rows dropped for FINAL reasons stay dropped; "" is no leaf.
    """
    in_leaf = Counter(leaf for leaf, found in zip(leaves, reasons, strict=True) if not found)
    in_cluster = Counter(cluster for cluster, found in zip(clusters, reasons, strict=True) if not found)
    filled, topped_up = list(reasons), [False] * len(reasons)
    for i in _best_first(rank):
        if not reasons[i] or leaves[i] == "" or in_leaf[leaves[i]] >= min_leaf_rows or is_final(reasons[i]):
            continue
        if max_cluster_rows and clusters[i] is not None and in_cluster[clusters[i]] >= max_cluster_rows:
            continue
        filled[i], topped_up[i] = [], True
        in_leaf[leaves[i]] += 1
        in_cluster[clusters[i]] += 1
    return filled, topped_up


def is_final(reasons: Iterable[str]) -> bool:
    """Whether a row with these reasons may never come back."""
    return any(reason.split(":")[0] in FINAL for reason in reasons)


def _best_first(rank: Sequence[int]) -> list[int]:
    return sorted(range(len(rank)), key=rank.__getitem__)
