"""What a rule is: a function from a read row to the reason why it speaks, or None."""

from collections.abc import Callable

from espalier.scorers.rules.reading import Text

Rule = Callable[[Text], str | None]
