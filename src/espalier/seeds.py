"""Randomness by hashing: every draw belongs to a seed, a stage and an id.

`Random(seed + i)` would give seed 43 the samples of seed 42 shifted by one; a hash of all the names does not.
"""

import hashlib
from collections.abc import Sequence

import numpy as np


def digest(*parts: object) -> str:
    """The 32 hex digits that name `parts`; the parts are separated, so ("ab", "c") differs from ("a", "bc")."""
    joined = "\x1f".join(str(part) for part in parts)
    return hashlib.blake2b(joined.encode("utf-8", "surrogatepass"), digest_size=16).hexdigest()


def number(*parts: object) -> int:
    """A whole number in 0 .. 2**63 - 1 that belongs to `parts`."""
    return int(digest(*parts)[:16], 16) >> 1


def share(*parts: object) -> float:
    """A number in 0 .. 1 (1 excluded), uniform over different `parts`."""
    return (number(*parts) >> 10) / 2.0**53


def rng(seed: int, *names: object) -> np.random.Generator:
    """A generator for one purpose: `rng(seed, "plan", row_id)`."""
    return np.random.Generator(np.random.PCG64(int(digest(seed, *names), 16)))


def shuffled(values: Sequence[str], *names: object) -> list[str]:
    """`values` in an order that depends on `names` and on each value alone (adding one moves no other pair)."""
    return sorted(values, key=lambda value: digest(*names, value))
