"""The scorers by name: the column of the scored rows that each one fills, and which end of it is the good one.

`goodness` puts them all on one footing, a number of which more is better, so that an audit, a filter or a plot can take any scorer by its name. Nothing here
opens a file or looks at a gold answer.
"""

from dataclasses import dataclass

import polars as pl

from espalier.errors import ParamsError
from espalier.params import did_you_mean


@dataclass(frozen=True, slots=True)
class Scorer:
    """A column that `score` adds. high_is_good: whether more of it is better; where a rule of the paper decides, `goodness` says it."""

    column: str
    high_is_good: bool


SCORERS = {
    "verifier": Scorer("verdict", True),
    "vote": Scorer("vote_share", True),
    "entropy": Scorer("answer_entropy", False),
    "temperatures": Scorer("temperature_agreement", True),
    "round_trip": Scorer("round_trip", True),
    "loss": Scorer("answer_loss", False),
    "loss_leaf": Scorer("answer_loss_z", False),
    "ifd": Scorer("ifd", True),
    "ifd_leaf": Scorer("ifd_z", True),
    "teacher": Scorer("logprob_mean", True),
    "teacher_leaf": Scorer("logprob_z", True),
    "neighbours": Scorer("nearest_similarity", False),
    "learned": Scorer("learned", True),
    "heuristics": Scorer("broken_rules", False),
}
TRUST = {"right": 1.0, "unknown": 0.5, "wrong": 0.0, "unparseable": 0.0}
MISLEADING = 1e6  # an IFD of 1 and more is worse than any below; standard scores lie within the square root of the rows


def goodness(frame: pl.DataFrame, name: str) -> pl.Series:
    """One scorer's column as Float64, named after the scorer: more is better; null where it does not speak (its value is null or NaN).

    verifier: right 1, unknown 0.5, wrong and unparseable 0. heuristics: minus the number of broken rules. teacher: null where the log-probability is exactly 0,
    which is what rows without an answer and servers without log-probabilities have. ifd, ifd_leaf: the highest IFD below 1 is best; from 1 on, where the query
    does not help the answer, the row is worse than all others, and the worse the higher (-1e6 - IFD). All others: the column, or minus it where low is good.

    Raises: ParamsError for a name that is none, and for a frame without the scorer's column.
    Source: IFD < 1: Li et al. 2023, arXiv 2308.12032, section 2.3.
    """
    if name not in SCORERS:
        raise ParamsError(f'"{name}" is not a scorer; {did_you_mean(name, SCORERS)}')
    for column in wanted_columns(name):
        if column not in frame.columns:
            raise ParamsError(f"the scorer {name} reads the column {column}, which the rows lack; run `dvc repro score`")
    return frame.select(_expression(name).cast(pl.Float64).fill_nan(None).alias(name))[name]


def wanted_columns(name: str) -> tuple[str, ...]:
    """The columns that the goodness of a scorer is read from; the scorer's own is the first."""
    own = SCORERS[name].column
    return (own, "ifd") if name == "ifd_leaf" else (own,)


def _expression(name: str) -> pl.Expr:
    scorer = SCORERS[name]
    value = pl.col(scorer.column)
    if name == "verifier":
        return value.replace_strict(TRUST, default=None, return_dtype=pl.Float64)
    if name == "heuristics":
        return -value.list.len().cast(pl.Int64)
    if name == "teacher":
        return pl.when(value != 0).then(value)
    if scorer.column.startswith("ifd"):
        return pl.when(pl.col("ifd") < 1).then(value).otherwise(-MISLEADING - pl.col("ifd"))
    return value if scorer.high_is_good else -value
