"""What a world says of a row: the words and the values that worlds, scores and filters share."""

from dataclasses import dataclass

VERDICTS = ("right", "wrong", "unparseable", "unknown")


@dataclass(frozen=True, slots=True)
class Judged:
    """What a world says of a row. verdict: one of VERDICTS, unknown where nothing can check the answer; leaf, key: "" where the problem cannot be read."""

    verdict: str
    leaf: str
    key: str
