"""Fills the report's plain values from the tables and metrics that the stages left."""

from collections.abc import Mapping

import polars

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
from espalier.text import effective_leaves

TITLES = {"builtin": "espalier: the built-in world", "general": "espalier: the world of real text"}  # by params.world
DROPPING = ("filter", "dedup", "decontaminate")
VALIDITY = ("ok_share", "right_share", "unparseable_share", "asked_leaf_share", "vote_share_mean", "effective_leaves")


def gather_study(
    *,
    world: str,
    baseline: str,
    confidence: float,
    commit: str,
    params: Mapping[str, object],
    tables: Mapping[str, polars.DataFrame],
    mixes: Mapping[str, polars.DataFrame],
    audits: Mapping[str, polars.DataFrame],
    dropped: Mapping[tuple[str, str], polars.DataFrame],
    metrics: Mapping[tuple[str, str], Mapping[str, float]],
    samples: int,
) -> Study:
    """tables: those of `compare`. mixes and audits (the table scorers): by recipe. dropped and metrics: by (recipe, stage).

    samples: how many to show, kept and dropped each, a recipe.
    """
    recipes = list(mixes)
    leaves = tables["coverage"]["leaf"].n_unique()
    return Study(
        title=TITLES[world],
        commit=commit,
        baseline=baseline,
        confidence=confidence,
        params=params,
        results=tuple(Result(**row) for row in tables["table"].to_dicts()),
        leaves=tuple(LeafAccuracy(**row) for row in tables["leaves"].to_dicts()),
        splits=tuple(SplitAccuracy(**row) for row in tables["splits"].to_dicts()),
        losses=tuple(LossPoint(**row) for row in tables["curves"].to_dicts()),
        coverage=tuple(LeafShare(**row) for row in tables["coverage"].select("recipe", "leaf", "share").to_dicts()),
        effective_leaves={recipe: effective_leaves(mix["delivered_leaf"]) for recipe, mix in mixes.items()},
        n_leaves=leaves,
        funnel=tuple(row for recipe in recipes for row in _funnel(recipe, dropped, metrics)),
        audit=tuple(ScorerAudit(recipe, **row) for recipe, audit in audits.items() for row in audit.to_dicts()),
        samples=tuple(sample for recipe in recipes for sample in _samples(recipe, mixes[recipe], dropped, samples)),
        validity={recipe: {name: metrics[recipe, "score"][name] for name in VALIDITY} for recipe in recipes},
        diversity={recipe: metrics[recipe, "diversity"] for recipe in recipes},
        costs={recipe: _costs(metrics[recipe, "answer"], metrics[recipe, "mix"]) for recipe in recipes},
        recipe_costs=tuple(RecipeCost(**row) for row in tables["costs"].to_dicts()),
        sizes=tuple(SizePoint(**row) for row in tables["sizes"].to_dicts()),
        worth=tuple(Worth(**row) for row in tables["worth"].to_dicts()),
    )


def _funnel(recipe: str, dropped: Mapping[tuple[str, str], polars.DataFrame], metrics: Mapping[tuple[str, str], Mapping[str, float]]) -> list[FunnelRow]:
    """What every step kept and dropped, in the order of the steps; the numbers of a step add up to what the one before kept."""
    rows = [FunnelRow(recipe, "answer", "", int(metrics[recipe, "answer"]["rows"]))]
    for stage in DROPPING:
        rows.append(FunnelRow(recipe, stage, "", int(metrics[recipe, stage]["rows_kept"])))
        rows += [FunnelRow(recipe, stage, reason, n) for reason, n in dropped[recipe, stage].group_by("reason").len().sort("reason").iter_rows()]
    chosen, kept = int(metrics[recipe, "mix"]["rows"]), rows_kept(rows)
    return [*rows, FunnelRow(recipe, "mix", "", chosen), FunnelRow(recipe, "mix", "over the budget", kept - chosen)]


def rows_kept(rows: list[FunnelRow]) -> int:
    """What the last step of a funnel kept."""
    return next(row.n for row in reversed(rows) if not row.reason)


def _samples(recipe: str, mix: polars.DataFrame, dropped: Mapping[tuple[str, str], polars.DataFrame], n: int) -> list[Sample]:
    """The first `n` kept rows by id (a hash, so a random choice), and `n` dropped ones spread over the reasons."""
    kept = [_sample(recipe, "mix", "", row) for row in mix.sort("id").head(n).iter_rows(named=True)]
    out = []
    for stage in DROPPING:
        one_each = dropped[recipe, stage].sort("id").with_columns(polars.int_range(polars.len()).over("reason").alias("turn")).sort("turn", "reason")
        out += [(row["turn"], _sample(recipe, stage, row["reason"], row)) for row in one_each.head(n).iter_rows(named=True)]
    return kept + [sample for _, sample in sorted(out, key=lambda pair: pair[0])[:n]]


def _sample(recipe: str, stage: str, reason: str, row: Mapping[str, str]) -> Sample:
    return Sample(recipe, row["delivered_leaf"] or row["leaf"], stage, reason, row["context"], row["query"], row["answer"])


def _costs(answer: Mapping[str, float], mix: Mapping[str, float]) -> dict[str, float]:
    """What a recipe's data cost: tokens that the teacher wrote, in all and for each token of training text that could have been used."""
    return {
        "teacher_tokens": answer["spent_tokens"],
        "usable_tokens": mix["available_tokens"],
        "teacher_tokens_per_usable_token": answer["spent_tokens"] / max(mix["available_tokens"], 1),
        "training_tokens": mix["tokens"],
    }
