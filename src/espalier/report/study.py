"""What a report is made of: plain values, one dataclass per kind of row. The stage `report` fills them from files.

The fields of Result, LeafAccuracy, SplitAccuracy, RecipeCost, SizePoint and Worth are the columns of the tables of `compare`, so that
`tuple(Result(**row) for row in table.to_dicts())` fills them. None or NaN stands for "not measured".
"""

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

Metrics = Mapping[str, Mapping[str, float | None]]  # {recipe: {name: number}}, as the stages write them


@dataclass(frozen=True, slots=True)
class Result:
    """One recipe on one outcome (accuracy: a share, gold_loss: nats per token) and weighting (macro, natural)."""

    recipe: str
    outcome: str
    weighting: str
    n_items: int
    n_leaves: int
    n_seeds: int
    mean: float
    mean_low: float
    mean_high: float
    difference: float | None
    low: float | None
    high: float | None
    p: float | None
    p_holm: float | None
    effect: float | None
    mdd: float | None
    verdict: str


@dataclass(frozen=True, slots=True)
class LeafAccuracy:
    """Accuracy (a share) of one recipe on one leaf; rank 1 is the most frequent leaf of natural text."""

    recipe: str
    leaf: str
    branch: str
    rank: int
    accuracy: float | None
    gold_loss: float | None
    n_items: int


@dataclass(frozen=True, slots=True)
class SplitAccuracy:
    """Accuracy (a share, every leaf equal) of one recipe on one split of the exam: key, template or difficulty."""

    recipe: str
    split: str
    accuracy: float | None
    gold_loss: float | None
    n_items: int
    n_leaves: int


@dataclass(frozen=True, slots=True)
class LossPoint:
    """The training loss of one student after so many tokens."""

    recipe: str
    seed: int
    tokens: int
    loss_nats: float


@dataclass(frozen=True, slots=True)
class RecipeCost:
    """What a recipe cost, its ratios to the baseline and what counts as equal: the columns of espalier.costs; None where it is not known."""

    recipe: str
    tokens: float
    train_flops: float
    read_tokens: float | None
    written_tokens: float | None
    generation_flops: float | None
    total_flops: float | None
    tokens_ratio: float | None
    train_flops_ratio: float | None
    total_flops_ratio: float | None
    equal_tokens: bool | None
    equal_train_flops: bool | None
    equal_total_flops: bool | None


@dataclass(frozen=True, slots=True)
class SizePoint:
    """The losses on the right answers, nats per token, of a student of a part of the text: `share` of it, so many tokens."""

    recipe: str
    seed: int
    share: float
    text_tokens: int
    loss_macro_nats: float
    loss_natural_nats: float


@dataclass(frozen=True, slots=True)
class Worth:
    """k of a recipe at a loss, which it has with so many tokens of text; losses fall. high: inf for no end; is_bound: the truth is above k."""

    recipe: str
    weighting: str
    loss_nats: float
    text_tokens: float
    k: float
    low: float
    high: float
    is_bound: bool
    n_seeds: int


@dataclass(frozen=True, slots=True)
class LeafShare:
    """The share of a recipe's training samples that belongs to a leaf, 0..1."""

    recipe: str
    leaf: str
    share: float


@dataclass(frozen=True, slots=True)
class FunnelRow:
    """n rows that left a stage; reason "" for those it kept, else why they were dropped. Stages in the order they ran."""

    recipe: str
    stage: str
    reason: str
    n: int


@dataclass(frozen=True, slots=True)
class Sample:
    """One row to look at; reason "" when it was kept. All its text comes from a teacher and is hostile."""

    recipe: str
    leaf: str
    stage: str
    reason: str
    context: str
    query: str
    answer: str


@dataclass(frozen=True, slots=True)
class ScorerAudit:
    """How well one scorer tells right from wrong in one recipe: the columns of the audit's table `scorers`, described there."""

    recipe: str
    scorer: str
    rows: int
    right: int
    leaves: int
    leaves_both: int
    threshold: float | None
    cut: float | None
    auc: float | None
    auc_low: float | None
    auc_high: float | None
    precision: float | None
    precision_low: float | None
    precision_high: float | None
    recall: float | None
    recall_low: float | None
    recall_high: float | None
    leaf_auc: float | None
    leaf_auc_low: float | None
    leaf_auc_high: float | None
    carried_precision: float | None
    carried_precision_low: float | None
    carried_precision_high: float | None


@dataclass(frozen=True, slots=True)
class Study:
    """Everything one report shows. An empty field leaves its section with the words that it was not measured.

    params: name -> value, the few that say what this run was. confidence: of every interval, 0..1.
    validity, diversity, costs: {recipe: {name: number}}; `x_low` and `x_high` are folded into the line of `x`.
    """

    title: str
    commit: str
    baseline: str
    confidence: float
    params: Mapping[str, object] = field(default_factory=dict)
    results: tuple[Result, ...] = ()
    leaves: tuple[LeafAccuracy, ...] = ()
    splits: tuple[SplitAccuracy, ...] = ()
    losses: tuple[LossPoint, ...] = ()
    coverage: tuple[LeafShare, ...] = ()
    effective_leaves: Mapping[str, float] = field(default_factory=dict)
    n_leaves: int = 0
    funnel: tuple[FunnelRow, ...] = ()
    audit: tuple[ScorerAudit, ...] = ()
    samples: tuple[Sample, ...] = ()
    validity: Metrics = field(default_factory=dict)
    diversity: Metrics = field(default_factory=dict)
    costs: Metrics = field(default_factory=dict)
    recipe_costs: tuple[RecipeCost, ...] = ()
    sizes: tuple[SizePoint, ...] = ()
    worth: tuple[Worth, ...] = ()


def recipes_of(study: Study) -> tuple[str, ...]:
    """Every recipe of the study, the baseline first and the others as they come: a recipe keeps its place in every chart."""
    rows = (study.results, study.leaves, study.losses, study.coverage, study.funnel, study.audit, study.samples, study.recipe_costs, study.sizes, study.worth)
    named = [row.recipe for group in rows for row in group]
    return unique([study.baseline, *named, *study.validity, *study.diversity, *study.costs])


def unique(values: Iterable[str]) -> tuple[str, ...]:
    """The values without repeats, in the order of their first appearance."""
    return tuple(dict.fromkeys(values))


def is_number(value: float | None) -> bool:
    """False for None, NaN and the infinities: nothing that a scale could place."""
    return value is not None and math.isfinite(value)
