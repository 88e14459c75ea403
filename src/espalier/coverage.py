"""What a data set covers: the leaves of the taxonomy, the combinations of attributes, the problems. The primary measures of diversity."""

import math
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from itertools import combinations


def leaf_coverage(delivered: Iterable[str], leaves: Sequence[str], *, covered_rows: int) -> float:
    """|leaves with at least covered_rows rows| / |leaves|, in 0..1; 0 for no leaves.

    Source: the taxonomy as yardstick, LAB (arXiv 2403.01081). Known trap: it saturates; once every leaf has
    covered_rows a data set of one huge leaf and 53 small ones looks perfect. Read it beside the effective leaves.
    """
    counts = Counter(delivered)
    return sum(counts[leaf] >= covered_rows for leaf in leaves) / len(leaves) if leaves else 0.0


def asked_leaf_share(asked: Iterable[str], delivered: Iterable[str]) -> float:
    """|rows whose delivered leaf is the requested one| / |rows that asked for a leaf|, in 0..1; 0 when none did.

    The other measures count delivered leaves, as the world reads them: a teacher that writes something else than it was asked for covers that.
    Known trap: a world without a parser cannot disagree. In `general` a row that asked for a leaf counts as that leaf, so the share is 1 by construction;
    only rows that asked for none are placed there (nearest by TF-IDF, 58 % right on held-out examples), and these are left out here.
    """
    pairs = [pair for pair in zip(asked, delivered, strict=True) if pair[0]]
    return sum(wanted == found for wanted, found in pairs) / len(pairs) if pairs else 0.0


def tuple_coverage(rows: Sequence[Mapping[str, str]], attributes: Mapping[str, Sequence[str]], t: int) -> float:
    """|tuples of values of t attributes that some row has| / |all such tuples|, in 0..1; 0 when there are fewer than t attributes.

    Source: t-way combinatorial coverage (Kuhn, Kacker, Lei, NIST SP 800-142). Known traps: these are the attributes that were asked for, and a teacher
    may not have obeyed; taking the pools from the rows instead of from the world would call a recipe with one value each complete.
    """
    pools = {name: frozenset(attributes[name]) for name in sorted(attributes)}
    groups = list(combinations(pools, t))
    possible = sum(math.prod(len(pools[name]) for name in group) for group in groups)
    different = {tuple((name, row[name]) for name in pools if row.get(name) in pools[name]) for row in rows}
    seen = {one for row in different for one in combinations(row, t)}
    return len(seen) / possible if possible else 0.0


def unique_share(keys: Iterable[str]) -> float:
    """|distinct keys| / |rows with a key|, in 0..1; "" is no key; 0 for none.

    Known trap: it falls with the size of the sample (birthday collisions in a small world) and is blind to a collapse onto
    one rich leaf: the unique rate stayed 1.000 while the effective leaves went from 39 to 9.
    """
    known = [key for key in keys if key]
    return len(set(known)) / len(known) if known else 0.0
