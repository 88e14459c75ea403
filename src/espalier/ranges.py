"""What a value of params.yaml may be, beside its type: `Within` gives the range, `OneOf` the allowed words; see settings.py."""

from dataclasses import dataclass
from typing import Annotated


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
