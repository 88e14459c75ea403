"""What generation steps took (runs/generation.jsonl), what was predicted of them (runs/estimate/<recipe>.json), and how far the two are apart.

Nothing here is tracked, and nothing here may change what a stage writes: a stage only appends its line, and says one.
"""

import json
from collections.abc import Iterable, Sequence
from dataclasses import asdict, astuple, dataclass
from pathlib import Path

from espalier.io import read_json, write_json

STEPS, PREDICTIONS = Path("runs/generation.jsonl"), Path("runs/estimate")
ENOUGH = 0.5  # share of a step's tokens that must have been made anew, so that its time says something


@dataclass(frozen=True, slots=True)
class Asked:
    """What asking took. found, errors: of `requests`; prompt_tokens, tokens: of all replies; fresh_tokens: of those not from the cache; seconds: with load_s,
    the loading of the model."""

    requests: int = 0
    found: int = 0
    errors: int = 0
    prompt_tokens: int = 0
    tokens: int = 0
    fresh_tokens: int = 0
    seconds: float = 0.0
    load_s: float = 0.0


@dataclass(frozen=True, slots=True)
class Spent:
    """One step of one recipe in a real run. teacher: its fingerprint."""

    step: str
    recipe: str
    engine: str
    teacher: str
    rows: int
    asked: Asked


@dataclass(frozen=True, slots=True)
class Range:
    """A number and its interval."""

    value: float
    low: float
    high: float


@dataclass(frozen=True, slots=True)
class Speed:
    """Seconds for loading the model, for every batch that goes through it, and for every generated token. source: where that is known from."""

    load_s: float
    round_s: float
    token_s: float
    source: str


@dataclass(frozen=True, slots=True)
class Prediction:
    """What all generation steps of a recipe will take, from its first `sample_rows` rows. hours, kwh and money: None where no speed is known."""

    recipe: str
    engine: str
    teacher: str
    rows: int
    sample_rows: int
    requests: float
    prompt_tokens: Range
    tokens: Range
    speed: Speed | None
    hours: float | None
    kwh: float | None
    money: float | None


@dataclass(frozen=True, slots=True)
class Measured:
    """What all generation steps of a recipe took. hours: as if nothing had come from the cache; None where most of a step came from there."""

    rows: int
    prompt_tokens: int
    tokens: int
    hours: float | None


def total(parts: Iterable[Asked]) -> Asked:
    """The sum."""
    return Asked(*(sum(column) for column in zip(*(astuple(part) for part in (Asked(), *parts)), strict=True)))


def note_step(spent: Spent, *, file: Path = STEPS) -> None:
    """Add a line to what real runs took."""
    file.parent.mkdir(parents=True, exist_ok=True)
    with open(file, "a", encoding="utf-8") as lines:
        lines.write(json.dumps(asdict(spent)) + "\n")


def last_steps(recipe: str, steps: Sequence[str], *, file: Path = STEPS) -> list[Spent]:
    """The newest line of each of a recipe's steps; empty unless all of them are there and of one teacher. Half a line of a killed run is passed over."""
    found = {}
    for line in file.read_text("utf-8").splitlines() if file.is_file() else ():
        try:
            value = json.loads(line)
            spent = Spent(**{**value, "asked": Asked(**value["asked"])})
        except (ValueError, TypeError, KeyError):
            continue
        if spent.recipe == recipe:
            found[spent.step] = spent
    wanted = [found[step] for step in steps if step in found]
    return wanted if len(wanted) == len(steps) and len({(one.engine, one.teacher) for one in wanted}) == 1 else []


def measured(steps: Sequence[Spent]) -> Measured:
    """What the steps of one recipe took together."""
    every = total(spent.asked for spent in steps)
    whole = [_whole_seconds(spent.asked) for spent in steps]
    seconds = None if None in whole else sum(one for one in whole if one is not None)
    return Measured(steps[-1].rows, every.prompt_tokens, every.tokens, None if seconds is None else seconds / 3600)


def write_prediction(prediction: Prediction, *, folder: Path = PREDICTIONS) -> None:
    """Keep a prediction until the run."""
    write_json(folder / f"{prediction.recipe}.json", asdict(prediction))


def read_prediction(recipe: str, *, folder: Path = PREDICTIONS) -> Prediction | None:
    """What was predicted of a recipe, if anything. Raises: CorruptInput for a file that is no JSON."""
    if not (folder / f"{recipe}.json").is_file():
        return None
    value = read_json(folder / f"{recipe}.json")
    speed = Speed(**value["speed"]) if value["speed"] else None
    return Prediction(**{**value, "prompt_tokens": Range(**value["prompt_tokens"]), "tokens": Range(**value["tokens"]), "speed": speed})


def off_line(recipe: str, steps: Sequence[str], *, file: Path = STEPS, folder: Path = PREDICTIONS) -> str:
    """How far a prediction was off, in one line; "" where there is none or the run is not whole."""
    predicted, spent = read_prediction(recipe, folder=folder), last_steps(recipe, steps, file=file)
    if predicted is None or not spent:
        return ""
    found = measured(spent)
    hours = "hours not measured, most came from the cache"
    if found.hours is not None and predicted.hours:
        hours = f"{found.hours:.3g} hours instead of {predicted.hours:.3g} ({found.hours / predicted.hours:.2f} x)"
    tokens = f"{found.tokens:,} tokens instead of {predicted.tokens.value:,.0f} ({ratio(found.tokens, predicted.tokens.value)})"
    return f"estimate: {recipe} took {found.rows:,} rows of {predicted.rows:,} predicted, {tokens}, {hours}"


def ratio(found: float | None, predicted: float | None) -> str:
    """Measured over predicted, as text."""
    return f"{found / predicted:.2f} x" if found is not None and predicted else "-"


def _whole_seconds(asked: Asked) -> float | None:
    """The time that a step would have taken without the cache; None where too little was made anew to say."""
    if asked.tokens == 0:
        return asked.seconds
    share = asked.fresh_tokens / asked.tokens
    return asked.load_s + (asked.seconds - asked.load_s) / share if share >= ENOUGH else None
