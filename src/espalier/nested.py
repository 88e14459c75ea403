"""Nested parts of a packed training set: what students of several sizes of data are trained on, for k(loss) (multiplier.py).

Sequences are drawn, not documents: each has the same chance, and what was packed together stays together. The order hangs on the seed alone, so a smaller part
is the beginning of a larger one, and students of different seeds have different parts: the luck of the draw is in the spread over seeds, which intervals see.
Shapes: N packed sequences of T tokens.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from espalier.errors import ParamsError
from espalier.seeds import rng
from espalier.tokens import Packed

CHUNK_ROWS = 4096  # read at a time where all are looked through


@dataclass(frozen=True, slots=True)
class Part:
    """Some rows of an array, read when they are asked for: a memory-mapped one of any size is never copied as a whole. places: (n,) rows of `array`."""

    array: np.ndarray
    places: np.ndarray

    @property
    def shape(self) -> tuple[int, ...]:
        """As of an array."""
        return len(self.places), *self.array.shape[1:]

    def max(self) -> int:
        """The largest value."""
        return max(int(self[at : at + CHUNK_ROWS].max()) for at in range(0, len(self), CHUNK_ROWS))

    def __len__(self) -> int:
        return len(self.places)

    def __getitem__(self, rows: slice | np.ndarray) -> np.ndarray:
        """The rows with these numbers within the part."""
        return self.array[self.places[rows]]


def nested_parts(data: Packed, shares: Sequence[float], *, seed: int) -> list[Packed]:
    """For each of `shares` (rising, above 0 and below 1) that share of the sequences, rounded, as Packed of Parts; each begins with the one before.

    Raises: ParamsError when there are too few sequences to tell the shares apart.
    """
    n = len(data.tokens_NT)
    sizes = [round(share * n) for share in shares]
    if shares and any(smaller >= larger for smaller, larger in zip([0, *sizes], [*sizes, n], strict=True)):
        raise ParamsError(f"params.yaml: train.sizes cuts {n:,} packed sequences into parts of {sizes}, which must differ; raise mix.budget_tokens")
    order = rng(seed, "sizes").permutation(n)
    return [_part(data, order[:size]) for size in sizes]


def _part(data: Packed, places: np.ndarray) -> Packed:
    arrays = (Part(array, places) for array in (data.tokens_NT, data.documents_NT, data.targets_NT))
    return Packed(*arrays, None if data.branches_N is None else data.branches_N[places])


def count_text_tokens(data: Packed) -> int:
    """Tokens of documents, padding left out."""
    rows = len(data.documents_NT)
    return sum(int((data.documents_NT[at : at + CHUNK_ROWS] >= 0).sum()) for at in range(0, rows, CHUNK_ROWS))
