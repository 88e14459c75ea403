"""The forest plot: the difference of every arm from the baseline, with its interval, on both weightings of the exam."""

from espalier.report.study import Result, Study, is_number, recipes_of
from espalier.report.svg import Drawing, Scale, group, line, marker, text, ticks
from espalier.report.theme import hue
from espalier.report.words import (
    UNITS,
    WEIGHTING_NAMES,
    arms,
    difference_words,
    find,
    fixed,
    p_words,
    range_words,
    verdict_class,
)

WIDTH, LEFT, RIGHT = 430, 104, 288  # the plot lies between LEFT and RIGHT, words on both sides
TOP, NAME_ROW, ROW, GAP = 26, 22, 22, 14
SHORT_NAMES = {"macro": "leaves equal", "natural": "natural"}


def forest(study: Study, outcome: str) -> Drawing:
    """Differences of one outcome. Filled marks: every leaf equal; open marks: natural frequencies."""
    ranked = arms(study)
    scale = _scale([r for r in study.results if r.outcome == outcome])
    bottom = TOP + len(ranked) * (NAME_ROW + 2 * ROW + GAP)
    parts = [_axis(scale, outcome, bottom)]
    for i, recipe in enumerate(ranked):
        top = TOP + i * (NAME_ROW + 2 * ROW + GAP)
        parts.append(_arm(study, recipe, outcome, scale, top))
    label = f"Difference from {study.baseline} in {outcome.replace('_', ' ')} with {study.confidence:.0%} intervals"
    return Drawing(WIDTH, bottom + 40, "".join(parts), label)


def _scale(results: list[Result]) -> Scale:
    """From the lowest to the highest interval end, 0 always inside."""
    ends = [end for r in results for end in (r.low, r.high, r.difference) if end is not None and is_number(end)]
    low, high = min([0.0, *ends]), max([0.0, *ends])
    pad = 0.06 * (high - low) or 0.01
    return Scale(low - pad, high + pad, LEFT, RIGHT)


def _axis(scale: Scale, outcome: str, bottom: float) -> str:
    unit = UNITS[outcome]
    step_digits = 0 if outcome == "accuracy" and scale.high - scale.low > 0.04 else unit.digits - (outcome == "gold_loss")
    parts = []
    for tick in ticks(scale.low, scale.high, at_most=4):
        x = scale(tick)
        parts.append(line(x, TOP, x, bottom, class_="zero" if tick == 0 else "grid"))
        parts.append(text(x, bottom + 17, fixed(tick * unit.factor, step_digits, signed=True), class_="quiet", anchor="middle"))
    good = "better \u2192" if outcome == "accuracy" else "\u2190 better"
    parts.append(text((LEFT + RIGHT) / 2, bottom + 35, unit.difference_name, class_="quiet", anchor="middle"))
    parts.append(text(RIGHT if outcome == "accuracy" else LEFT, TOP - 10, good, class_="quiet", anchor="end" if outcome == "accuracy" else None))
    return "".join(parts)


def _arm(study: Study, recipe: str, outcome: str, scale: Scale, top: float) -> str:
    kind = recipes_of(study).index(recipe)
    parts = [text(0, top + 14, recipe, class_="name")]
    for i, weighting in enumerate(WEIGHTING_NAMES):
        y = top + NAME_ROW + ROW * i + ROW / 2
        parts.append(text(12, y + 4.5, SHORT_NAMES[weighting], class_="quiet"))
        result = find(study, recipe, outcome, weighting)
        parts.append(_mark(result, scale, y, kind=kind, is_open=weighting == "natural") if result else "")
    return "".join(parts)


def _mark(result: Result, scale: Scale, y: float, *, kind: int, is_open: bool) -> str:
    """The interval as a line, the difference as a mark, both numbers and the verdict to the right."""
    if result.difference is None or not is_number(result.difference):
        return text(RIGHT + 10, y + 4.5, "not measured", class_="quiet")
    drawn = []
    if is_number(result.low) and is_number(result.high):
        drawn.append(line(scale(result.low), y, scale(result.high), y, class_="stroke"))
    drawn.append(marker(kind, scale(result.difference), y, radius=5.5, class_="open" if is_open else "solid"))
    interval = range_words(result.low, result.high, result.outcome)
    tip = (
        f"{result.recipe}, {WEIGHTING_NAMES[result.weighting]}: {difference_words(result)} {UNITS[result.outcome].difference_name}"
        f" ({interval}), {p_words(result.p_holm)} after Holm: {result.verdict}"
    )
    words = text(RIGHT + 10, y + 4.5, difference_words(result), class_="name") + text(
        WIDTH, y + 4.5, result.verdict, class_=verdict_class(result.verdict) or "quiet", anchor="end"
    )
    return group(*drawn, class_=hue(kind), title=tip) + words
