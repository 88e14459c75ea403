"""What a recipe's text is worth in text of the baseline: the loss against the size of the text, k against the loss, and a table of k at the lowest losses."""

import math
import statistics
from collections import defaultdict
from collections.abc import Sequence

from espalier.report.charts import BOTTOM, HEIGHT, LEFT, RIGHT, TOP, WIDTH, line_labels, tokens_words
from espalier.report.study import SizePoint, Study, Worth, is_number, recipes_of, unique
from espalier.report.svg import Drawing, Scale, element, group, line, marker, polyline, text, ticks
from espalier.report.tables import cell, recipe_words, table, with_range
from espalier.report.theme import hue
from espalier.report.words import NOTHING, WEIGHTING_NAMES, fixed

WORDS = (
    "<p>Students of nested parts of each recipe's text, with as many epochs each, give its curve. k says how many times the text the baseline needs for the"
    " same loss on the right answers: it is read off the two curves and hangs on the loss, so it is no constant of a recipe. Beyond twice the baseline's"
    " largest text k is only known to be larger, and is shown as an open triangle and with &gt;.</p>"
)
HEADS = ("recipe", "weighting", "lowest loss, nats per token", "reached with tokens of text", "k: times the text of the baseline")
MOST_REACH = 4.0  # an interval is drawn to so many times the largest k and below the smallest: one without an end would flatten the rest


def size_chart(study: Study) -> Drawing:
    """Loss on the right answers against the tokens of text, every leaf equal: thin lines for the seeds, thick for their mean, a mark at each size."""
    points = [point for point in study.sizes if is_number(point.loss_macro_nats)]
    x = _log_scale([float(point.text_tokens) for point in points], LEFT, RIGHT)
    y = _padded([point.loss_macro_nats for point in points], BOTTOM, TOP)
    parts, ends, words = [_loss_lines(y), _size_axis(x)], {}, {}
    for recipe in unique(point.recipe for point in points):
        kind, means = recipes_of(study).index(recipe), _means([point for point in points if point.recipe == recipe])
        places = [(x(tokens), y(loss)) for tokens, loss in means]
        thin = [[(x(point.text_tokens), y(point.loss_macro_nats)) for point in one] for one in _seeds(points, recipe)]
        drawn = [polyline(one, class_="thin") for one in thin if len(thin) > 1] + [polyline(places, class_="stroke")]
        parts.append(group(*drawn, *(marker(kind, *place, radius=4.2) for place in places), class_=hue(kind), title=recipe))
        ends[recipe], words[recipe] = places[-1], (recipe, f"ends at {fixed(means[-1][1], 3)}")
    parts.append(line_labels(study, ends, words))
    return Drawing(WIDTH, HEIGHT, "".join(parts), "Loss on the right answers against the tokens of text, log scale")


def worth_chart(study: Study) -> Drawing:
    """k against the loss, lower losses to the right, k on a log scale: thick for every leaf equal with its interval, thin for natural frequencies."""
    points = [point for point in study.worth if is_number(point.k)]
    x = _padded([-point.loss_nats for point in points], LEFT, RIGHT)
    low, high = min(1.0, *(point.k for point in points)), max(1.0, *(point.k for point in points))
    ends = [end for point in points for end in (point.low, point.high) if is_number(end)]
    reach = [min(max(end, low / MOST_REACH), high * MOST_REACH) for end in ends]
    y = _log_scale([low, high, *reach], BOTTOM, TOP)
    parts, last, words = [_k_lines(y, study.baseline), _falling_axis(x)], {}, {}
    for recipe in unique(point.recipe for point in points):
        macro, natural = ([point for point in points if (point.recipe, point.weighting) == (recipe, one)] for one in WEIGHTING_NAMES)
        parts.append(_worth_lines(study, recipe, macro, natural, x, y))
        if macro:
            last[recipe] = (x(-macro[-1].loss_nats), y(macro[-1].k))
            words[recipe] = (recipe, f"k {_k_words(macro[-1])} at {fixed(macro[-1].loss_nats, 2)}")
    # Bounds come last: the mark that a label puts at the end of its line would hide an open triangle there.
    parts += [line_labels(study, last, words), *(_bounds(study, point, x, y) for point in points if point.is_bound and point.weighting == "macro")]
    label = f"How many times the text {study.baseline} needs for the same loss, log scale, with {study.confidence:.0%} intervals"
    return Drawing(WIDTH, HEIGHT, "".join(parts), label)


def worth_table(study: Study) -> str:
    """k of every recipe at its lowest loss, on both weightings; a recipe that reaches no loss of the baseline's has none."""
    rows = []
    for recipe in (one for one in recipes_of(study) if one != study.baseline and any(point.recipe == one for point in study.sizes)):
        for place, (weighting, name) in enumerate(WEIGHTING_NAMES.items()):
            found = [point for point in study.worth if (point.recipe, point.weighting) == (recipe, weighting)]
            cells = [cell(recipe_words(study, recipe) if place == 0 else "", head=True), cell(name), *(cell(one, number=True) for one in _numbers(found))]
            rows.append(f'<tr class="pair">{"".join(cells)}</tr>' if place == 0 else f"<tr>{''.join(cells)}</tr>")
    return table(HEADS, rows, n_words=2)


def _numbers(found: Sequence[Worth]) -> list[str]:
    if not found:
        return [NOTHING, NOTHING, "less than its text: it reaches none of the losses"]
    last = found[-1]
    ends = f"{fixed(last.low, 2)} to {fixed(last.high, 2) if is_number(last.high) else 'no end'}{'' if last.n_seeds > 1 else ', one seed'}"
    return [fixed(last.loss_nats, 3), fixed(last.text_tokens, 0), with_range(_k_words(last), ends)]


def _k_words(point: Worth) -> str:
    return f"{'> ' if point.is_bound else ''}{fixed(point.k, 2)}"


def _worth_lines(study: Study, recipe: str, macro: Sequence[Worth], natural: Sequence[Worth], x: Scale, y: Scale) -> str:
    """One recipe's band, and its lines as far as k is no bound."""
    upper = [(x(-point.loss_nats), _held(y, point.high)) for point in macro if not math.isnan(point.high)]
    lower = [(x(-point.loss_nats), _held(y, point.low)) for point in macro if not math.isnan(point.low)]
    band = " ".join(f"{at:.1f},{up:.1f}" for at, up in [*upper, *reversed(lower)])
    drawn = [element("polygon", points=band, class_="band")] if band else []
    for some, class_ in ((natural, "thin"), (macro, "stroke")):
        known = [(x(-point.loss_nats), y(point.k)) for point in some if not point.is_bound]
        drawn += [polyline(known, class_=class_)] if len(known) > 1 else []
    return group(*drawn, class_=hue(recipes_of(study).index(recipe)), title=recipe)


def _bounds(study: Study, point: Worth, x: Scale, y: Scale) -> str:
    """An open triangle: k is larger than its place."""
    drawn = marker(3, x(-point.loss_nats), y(point.k), radius=5.5, class_="open")
    return group(drawn, class_=hue(recipes_of(study).index(point.recipe)), title=f"{point.recipe}: k {_k_words(point)} at {fixed(point.loss_nats, 2)}")


def _held(y: Scale, value: float) -> float:
    """The place of a value, at the edge of the plot where it lies beyond it (an interval without an end, a k of 0)."""
    return y(min(max(value, y.low), y.high))


def _means(points: Sequence[SizePoint]) -> list[tuple[float, float]]:
    """(tokens, loss): the means over the seeds at each size."""
    by_share: dict[float, list[SizePoint]] = defaultdict(list)
    for point in points:
        by_share[point.share].append(point)
    return [(statistics.fmean(p.text_tokens for p in some), statistics.fmean(p.loss_macro_nats for p in some)) for _, some in sorted(by_share.items())]


def _seeds(points: Sequence[SizePoint], recipe: str) -> list[list[SizePoint]]:
    own = sorted((point for point in points if point.recipe == recipe), key=lambda point: point.share)
    return [[point for point in own if point.seed == seed] for seed in unique(point.seed for point in own)]


def _padded(values: Sequence[float], start: float, end: float) -> Scale:
    pad = 0.06 * (max(values) - min(values)) or 0.05
    return Scale(min(values) - pad, max(values) + pad, start, end)


def _log_scale(values: Sequence[float], start: float, end: float) -> Scale:
    pad = (max(values) / min(values)) ** 0.06 if max(values) > min(values) else 1.2
    return Scale(min(values) / pad, max(values) * pad, start, end, is_log=True)


def _round_ticks(low: float, high: float) -> list[float]:
    """1, 2 and 5 times the powers of ten inside low..high; those that are powers of ten alone where there are more than eight."""
    powers = range(math.floor(math.log10(low)), math.ceil(math.log10(high)) + 1)
    every = [factor * 10.0**power for power in powers for factor in (1, 2, 5)]
    inside = [tick for tick in every if low <= tick <= high]
    return inside if len(inside) <= 8 else inside[::3]


def _loss_lines(y: Scale) -> str:
    parts = []
    for tick in ticks(y.low, y.high, at_most=6):
        parts += [line(LEFT, y(tick), RIGHT, y(tick), class_="grid"), text(LEFT - 8, y(tick) + 4, f"{tick:g}", class_="quiet", anchor="end")]
    return "".join(parts)


def _size_axis(x: Scale) -> str:
    parts = [line(LEFT, BOTTOM, RIGHT, BOTTOM, class_="axis")]
    parts += [text(x(tick), BOTTOM + 18, tokens_words(tick), class_="quiet", anchor="middle") for tick in _round_ticks(x.low, x.high)]
    return "".join(parts) + text((LEFT + RIGHT) / 2, BOTTOM + 38, "tokens of text, log scale", class_="quiet", anchor="middle")


def _k_lines(y: Scale, baseline: str) -> str:
    """Round values of k, and 1, dashed: as good as the baseline's text."""
    parts = []
    for tick in _round_ticks(y.low, y.high):
        parts.append(line(LEFT, y(tick), RIGHT, y(tick), class_="even" if tick == 1 else "grid"))
        parts.append(text(LEFT - 8, y(tick) + 4, f"{tick:g}", class_="quiet", anchor="end"))
    return "".join(parts) + text(LEFT + 4, y(1) - 5, f"1 = {baseline}", class_="quiet")


def _falling_axis(x: Scale) -> str:
    """Losses from high to low: the scale holds them with their sign turned."""
    parts = [line(LEFT, BOTTOM, RIGHT, BOTTOM, class_="axis")]
    parts += [text(x(-tick), BOTTOM + 18, f"{tick:g}", class_="quiet", anchor="middle") for tick in ticks(-x.high, -x.low, at_most=5)]
    return "".join(parts) + text((LEFT + RIGHT) / 2, BOTTOM + 38, "loss on the right answers, nats per token (better \u2192)", class_="quiet", anchor="middle")
