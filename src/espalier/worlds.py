"""What a world offers to the stages beyond its seed tree: a verdict on rows and exam items, what an evolution gained, and problems that need no teacher."""

from collections.abc import Mapping
from typing import Any, Protocol

import polars

from espalier.general import General
from espalier.text import fold
from espalier.verdicts import Judged
from espalier.world.grammar import gains, verify

Row = Mapping[str, Any]


class World(Protocol):
    """One world. Rows are those of the generation steps; texts of a teacher are hostile, so none of these may raise on them."""

    def verify(self, row: Row) -> Judged:
        """What can be said of a row's answer, of its leaf, and the key of its problem."""

    def read_answer(self, row: Row, answer: str) -> str:
        """What an answer to the row says, in the form in which answers are compared with each other; "" for one that says nothing."""

    def grade(self, item: Row, reply: str) -> bool:
        """Whether a reply answers an exam item; the item holds its gold answer."""

    def gain(self, parent: Row, child: str, operation: str) -> str | None:
        """Why an evolution is eliminated; None when it is a problem, and another one than its parent."""

    def evolve(self, row: Row, operation: str, *, seed: int) -> dict[str, str] | None:
        """The columns of a child made without a teacher; None where the teacher is asked."""

    def pose(self, row: Row, *, seed: int) -> dict[str, str] | None:
        """The columns of a problem posed without a teacher; None where the teacher is asked."""


class Builtin:
    """The built-in world: its grammar reads every text, and its problems all come from the teacher."""

    def verify(self, row: Row) -> Judged:
        """right | wrong | unparseable, by the grammar."""
        found = verify(f"{row['context']} {row['query']}", row["answer"])
        return Judged(found.verdict, found.leaf, found.key)

    def read_answer(self, row: Row, answer: str) -> str:
        """The answer itself: blanks do not count."""
        return fold(answer)

    def grade(self, item: Row, reply: str) -> bool:
        """Whether the grammar calls the reply right."""
        return verify(f"{item['context']} {item['query']}", reply).verdict == "right"

    def gain(self, parent: Row, child: str, operation: str) -> str | None:
        """Exact by the keys of the problems."""
        return None if gains(f"{parent['context']} {parent['query']}".strip(), child) else "no other problem"

    def evolve(self, row: Row, operation: str, *, seed: int) -> None:
        """The teacher evolves."""

    def pose(self, row: Row, *, seed: int) -> None:
        """The teacher poses."""


def open_world(name: str, leaves: polars.DataFrame, seeds: polars.DataFrame) -> World:
    """The world that params.yaml names; leaves and seeds as the stage taxonomy writes them."""
    return Builtin() if name == "builtin" else General(leaves, seeds)
