"""Plain values that a report is made of, for its tests."""

import dataclasses

from espalier.report import (
    FunnelRow,
    LeafAccuracy,
    LeafShare,
    LossPoint,
    RecipeCost,
    Result,
    Sample,
    ScorerAudit,
    SizePoint,
    SplitAccuracy,
    Study,
    Worth,
)


def result(recipe, weighting, verdict, *, outcome="accuracy", difference=0.1, **changes):
    row = Result(
        recipe=recipe, outcome=outcome, weighting=weighting, n_items=540, n_leaves=54, n_seeds=3, mean=0.6, mean_low=0.5, mean_high=0.7,
        difference=difference, low=difference - 0.05, high=difference + 0.05, p=0.01, p_holm=0.02, effect=0.8, mdd=0.07, verdict=verdict,
    )
    return dataclasses.replace(row, **changes)


def baseline(weighting):
    return result("direct", weighting, "baseline", low=None, high=None, p=None, p_holm=None, effect=None, mdd=None)


def verdicts(**pairs):
    """A study in which every named arm has this pair of verdicts: macro, natural."""
    rows = [baseline("macro"), baseline("natural")]
    for recipe, (macro, natural) in pairs.items():
        rows += [result(recipe, "macro", macro), result(recipe, "natural", natural)]
    return Study(title="t", commit="c", baseline="direct", confidence=0.95, results=tuple(rows))


def scorer_audit(recipe, scorer, **changes):
    row = ScorerAudit(
        recipe=recipe, scorer=scorer, rows=90, right=60, leaves=3, leaves_both=2, threshold=0.5, cut=0.5, auc=0.8125, auc_low=0.7, auc_high=0.9, precision=0.95,
        precision_low=0.91, precision_high=0.98, recall=0.5, recall_low=0.4, recall_high=0.6, leaf_auc=0.75, leaf_auc_low=0.6, leaf_auc_high=0.85,
        carried_precision=0.93, carried_precision_low=0.88, carried_precision_high=0.97,
    )  # fmt: skip
    return dataclasses.replace(row, **changes)


def recipe_cost(recipe, **changes):
    return dataclasses.replace(RecipeCost(recipe, 160_000, 1.79e12, 2e6, 4e5, 2.1e12, 3.89e12, 1.0, 1.0, 1.0, True, True, True), **changes)


def sizes(*recipes):
    shares = (0.25, 0.5, 1.0)
    return tuple(SizePoint(r, seed, share, int(160_000 * share), 2 - share + seed / 100, 1.9 - share) for r in recipes for seed in (1, 2) for share in shares)


def k_points(recipe, ks, *, weighting="macro", **changes):
    losses = [1.6 - 0.2 * place for place in range(len(ks))]
    return tuple(
        dataclasses.replace(Worth(recipe, weighting, loss, 40_000 * 2**place, k, 0.8 * k, 1.3 * k, False, 3), **changes)
        for place, (loss, k) in enumerate(zip(losses, ks, strict=True))
    )


def full_study():
    leaves = [
        ("foundational/digits/largest", "foundational", 1), ("foundational/digits/smallest", "foundational", 2),
        ("knowledge/people/home", "knowledge", 3),
    ]
    recipes = ("direct", "lab")
    return dataclasses.replace(
        verdicts(lab=("better", "within noise")),
        title="a study", commit="3f2a91c", params={"gen.temperature": 0.7},
        leaves=tuple(LeafAccuracy(r, leaf, branch, rank, 0.5, 1.0, 10) for r in recipes for leaf, branch, rank in leaves),
        splits=tuple(SplitAccuracy(r, split, 0.5, 1.0, 10, 3) for r in recipes for split in ("difficulty", "key")),
        losses=tuple(LossPoint(r, seed, tokens, 3.0 - tokens / 1000) for r in recipes for seed in (1, 2) for tokens in (100, 500, 1000)),
        coverage=tuple(LeafShare(r, leaf, share) for r in recipes for (leaf, _, _), share in zip(leaves, (0.7, 0.3, 0.0), strict=True)),
        effective_leaves={"direct": 1.84, "lab": 1.84}, n_leaves=3,
        funnel=(FunnelRow("lab", "filter", "", 80), FunnelRow("lab", "filter", "wrong", 15), FunnelRow("lab", "filter", "repeat_share", 5)),
        audit=(scorer_audit("lab", "vote"),),
        samples=(Sample("lab", leaves[0][0], "mix", "", "", "list : 4 9", "9"), Sample("lab", leaves[0][0], "filter", "wrong", "", "list : 4 9", "4")),
        validity={"lab": {"valid_share": 0.9, "valid_share_low": 0.88, "valid_share_high": 0.92}},
        diversity={"direct": {"effective_leaves": 1.84}}, costs={"lab": {"energy_wh": None}},
        recipe_costs=(recipe_cost("direct"), recipe_cost("lab", total_flops=5.2e12, total_flops_ratio=1.337, equal_total_flops=False)),
        sizes=sizes("direct", "lab"), worth=k_points("lab", (1.5, 2.0, 2.5)) + k_points("lab", (1.2, 1.3, 1.4), weighting="natural"),
    )
