"""What a value of params.yaml may be, beside its type: `Within` gives the range, `OneOf` the allowed words, and the words that several modules know."""

from dataclasses import dataclass
from typing import Annotated

STEPS = ("context", "query", "evolve", "answer")
OPERATIONS = ("constrain", "deepen", "concretize", "reason", "complicate", "widen")  # arXiv 2304.12244, section 3.2; widen is in-breadth evolving
BUILTIN_OPERATIONS = ("deepen", "widen")
BRANCHES = ("knowledge", "foundational_skills", "compositional_skills")  # those of espalier.taxonomy, on a higher floor
CONTEXTS = {"tiny": 128, "125m": 2048, "350m": 2048, "500m": 2048, "1b": 2048}  # tokens that a student of each size sees; espalier.sizes, on a higher floor
SCHEDULES = ("wsd", "cosine")
WORLDS = ("builtin", "general")
RULE_FAMILIES = ("reply", "language", "form", "repetition", "gopher", "c4", "fineweb")  # those of espalier.scorers.rules.table, on a higher floor
SCORER_NAMES = (
    "verifier", "vote", "entropy", "temperatures", "round_trip", "loss", "loss_leaf", "ifd", "ifd_leaf", "teacher", "teacher_leaf", "neighbours", "learned",
    "heuristics",
)  # the keys of espalier.scorers.table.SCORERS, on a higher floor


@dataclass(frozen=True, slots=True)
class Within:
    """low <= value <= high; with `above`, low itself is excluded."""

    low: float
    high: float
    above: bool = False


@dataclass(frozen=True, slots=True)
class OneOf:
    """The value is one of these words."""

    words: tuple[str, ...]


Share = Annotated[float, Within(0, 1)]
Price = Annotated[float, Within(0, 10**6)]
Count = Annotated[int, Within(1, 10**9)]
