"""What each recipe cost, and in what its comparison with the baseline is at equal cost: text, training FLOPs, and total FLOPs, generation included.

Three equalities, always told together, for one can hold without the next: recipes with as much text may have been trained for longer, and one whose data were
dear to make may be trained at the same cost. The numbers are what the stages counted: `mix` the tokens of text, `train` the FLOPs of its steps, the generation
steps the tokens that the teacher read and wrote (all k answers, dropped rows too, replies from the cache as if they had been asked).

A teacher's token costs 2 FLOPs a parameter, whether it is read or written; attention and an engine's shared reading of equal prompts are left out, so for
k answers to one prompt this is the highest count. Not in it: training the teacher, which all recipes share, and scoring, whose tokens no stage counts.

Source: 2 N FLOPs a token forward and 6 N in training, Kaplan et al. 2020, arXiv 2001.08361, section 2.1; training here by sizes.train_flops.
"""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass

import polars as pl

TOLERANCE = 0.02  # how far apart two costs may be and count as equal: a budget is filled to within a row, a training to within a step
NAMES = {"tokens": "tokens of text", "train_flops": "training FLOPs", "total_flops": "total FLOPs"}
COLUMNS = ("tokens", "train_flops", "read_tokens", "written_tokens", "generation_flops", "total_flops", *(f"{name}_ratio" for name in NAMES))
SCHEMA = {"recipe": pl.String, **dict.fromkeys(COLUMNS, pl.Float64), **{f"equal_{name}": pl.Boolean for name in NAMES}}


@dataclass(frozen=True, slots=True)
class Cost:
    """tokens: of the text that is trained on, each once. train_flops: of one student. read_tokens, written_tokens: by the teacher, for all rows ever asked for.

    generation_flops and total_flops are None where the teacher's tokens or parameters are not known.
    """

    recipe: str
    tokens: float
    train_flops: float
    read_tokens: float | None
    written_tokens: float | None
    generation_flops: float | None
    total_flops: float | None


def cost_of(
    recipe: str, *, tokens: float, students: Sequence[Mapping[str, float]], steps: Sequence[Mapping[str, float]], teacher_parameters: float | None
) -> Cost:
    """What a recipe cost.

    students: the metrics of its students, of which the mean counts. steps: the metrics of its generation steps in order; none where the rows are not its own.
    """
    train_flops = sum(student["flops"] for student in students) / len(students)
    read = sum(step["read_tokens"] for step in steps) if steps else None
    written = steps[-1]["spent_tokens"] if steps else None  # which add up from step to step
    generation = 2 * teacher_parameters * (read + written) if read is not None and written is not None and teacher_parameters is not None else None
    return Cost(recipe, tokens, train_flops, read, written, generation, None if generation is None else train_flops + generation)


def cost_table(costs: Sequence[Cost], *, baseline: str) -> pl.DataFrame:
    """A row for each recipe: its cost, and of each of NAMES the ratio to the baseline's and whether they are equal; null where one of the two is not known."""
    base = next(cost for cost in costs if cost.recipe == baseline)
    rows = []
    for cost in costs:
        ratios = {name: _ratio(getattr(cost, name), getattr(base, name)) for name in NAMES}
        equal = {f"equal_{name}": None if ratio is None else is_equal(ratio) for name, ratio in ratios.items()}
        rows.append(asdict(cost) | {f"{name}_ratio": ratio for name, ratio in ratios.items()} | equal)
    return pl.DataFrame(rows, schema=SCHEMA)


def is_equal(ratio: float) -> bool:
    """Whether two costs of this ratio count as equal; the same whichever of the two is the divisor.

    >>> is_equal(1.02), is_equal(1 / 1.02), is_equal(1.021), is_equal(0.98)
    (True, True, False, False)
    """
    return max(ratio, 1 / ratio) <= (1 + TOLERANCE) * (1 + 1e-12) if ratio > 0 else False


def cost_metrics(table: pl.DataFrame, *, baseline: str) -> dict[str, dict[str, float]]:
    """{recipe: ratios to the baseline, and 1 or 0 for equal or not}; what is not known is left out, and the baseline has none."""
    metrics = {}
    for row in table.filter(pl.col("recipe") != baseline).iter_rows(named=True):
        known = [name for name in NAMES if row[f"{name}_ratio"] is not None]
        metrics[row["recipe"]] = {f"{name}_ratio": row[f"{name}_ratio"] for name in known} | {f"equal_{name}": int(row[f"equal_{name}"]) for name in known}
    return metrics


def cost_words(row: Mapping[str, object]) -> str:
    """All three equalities of a row of the table in one line.

    >>> cost_words({"tokens_ratio": 1.0, "equal_tokens": True, "train_flops_ratio": 1.5, "equal_train_flops": False, "total_flops_ratio": None})
    'equal tokens of text (1.000 x), NOT equal training FLOPs (1.500 x), total FLOPs not known'
    """
    return ", ".join(_words(row, name) for name in NAMES)


def _words(row: Mapping[str, object], name: str) -> str:
    if row[f"{name}_ratio"] is None:
        return f"{NAMES[name]} not known"
    return f"{'equal' if row[f'equal_{name}'] else 'NOT equal'} {NAMES[name]} ({row[f'{name}_ratio']:.3f} x)"


def _ratio(cost: float | None, base: float | None) -> float | None:
    return None if cost is None or base is None or base <= 0 else cost / base
