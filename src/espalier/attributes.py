"""Attribute lists for conditional prompts, and a walk over their combinations.

The walk visits every combination once before any comes again, in an order that spreads each value evenly from the start (a low-discrepancy walk), and the
first n combinations of a longer walk are those of a shorter one. Independent draws would miss a third of the combinations in one round (1/e).
Source of the idea: AttrPrompt (arXiv 2306.15895, section 3); co-prime cycling as in SimpleStories (arXiv 2504.09184, section 2).
"""

from collections.abc import Mapping, Sequence
from functools import lru_cache
from math import gcd, prod

from espalier.errors import ParamsError
from espalier.params import did_you_mean, load_yaml
from espalier.seeds import shuffled

Attributes = Mapping[str, tuple[str, ...]]


def parse_attributes(text: str, *, file: str) -> Attributes:
    """The lists of an attribute file, by name. Raises: ParamsError for anything but lists of different words."""
    value = load_yaml(text, file=file)
    if not isinstance(value, dict) or not value:
        raise ParamsError(f"{file}: found no lists; it must map a name to a list of values")
    for name, values in value.items():
        if not isinstance(values, list) or not values or not all(isinstance(item, str) and item for item in values):
            raise ParamsError(f"{file}: {name} is {values}; it must be a list of words (quote numbers, yes and no)")
        if len(set(values)) < len(values):
            raise ParamsError(f"{file}: {name} names a value twice; take one out")
    return {str(name): tuple(values) for name, values in value.items()}


def parse_openings(text: str, *, file: str) -> tuple[str, ...]:
    """The banned openings of a file. Raises: ParamsError for anything but a list of words."""
    value = load_yaml(text, file=file)
    if not isinstance(value, list) or not all(isinstance(item, str) and item.strip() for item in value):
        raise ParamsError(f"{file}: found {type(value).__name__}; it must be a list of openings, each a few words in quotes")
    return tuple(value)


def choose(attributes: Attributes, names: Sequence[str], *, where: str) -> Attributes:
    """The named lists. Raises: ParamsError for a name that is not there."""
    for name in names:
        if name not in attributes:
            raise ParamsError(f'{where} names the attribute "{name}"; {did_you_mean(name, attributes)}')
    return {name: attributes[name] for name in names}


def walk(attributes: Attributes, index: int, *, seed: int) -> dict[str, str]:
    """The combination at place `index` (0, 1, ...) of the walk that belongs to `seed`.

    With list lengths n1 .. nk, place i takes value i mod n_j of each list; every lcm(n1 .. nk) places the later lists shift by one against the earlier
    ones, so that all n1 * .. * nk combinations come up, whether the lengths are co-prime or not.
    """
    combination: dict[str, str] = {}
    covered, shift = 1, index % max(prod(map(len, attributes.values())), 1)
    for name, values in attributes.items():
        period = covered * len(values) // gcd(covered, len(values))
        repeats = covered * len(values) // period  # how often this list's pattern must shift to meet all others
        turn = (index // period) % repeats if repeats > 1 else 0
        combination[name] = _order(values, seed, name)[(shift + turn) % len(values)]
        covered *= len(values)
    return combination


@lru_cache(maxsize=1024)
def _order(values: tuple[str, ...], seed: int, name: str) -> tuple[str, ...]:
    """A list's values in the order of the walk, hashed once and not for every row."""
    return tuple(shuffled(values, seed, "attributes", name))
