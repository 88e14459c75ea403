"""Two charts with a line per recipe: the coverage of the leaves, and the loss while the students were trained."""

import math
import statistics
from collections import defaultdict
from collections.abc import Mapping, Sequence

from espalier.report.study import Study, is_number, recipes_of, unique
from espalier.report.svg import Drawing, Scale, cut, group, line, log_ticks, marker, polyline, spread, text, ticks
from espalier.report.theme import hue
from espalier.report.words import fixed

WIDTH, HEIGHT = 430, 320
LEFT, RIGHT, TOP, BOTTOM = 46, 304, 14, 276  # the labels of the lines stand right of RIGHT
LABEL_GAP = 32  # two lines of text
MOST_LETTERS = 14  # of a recipe's name beside its line
SKIPPED_SHARE = 0.03  # of the tokens: the first steps fall so far that the rest would be a flat line


def coverage_chart(study: Study) -> Drawing:
    """Leaf shares of every recipe, the largest first, on a log scale; dashed: the even share. A line ends at its last leaf."""
    shares = {
        recipe: sorted((row.share for row in study.coverage if row.recipe == recipe and row.share > 0), reverse=True)
        for recipe in recipes_of(study)
    }
    shares = {recipe: values for recipe, values in shares.items() if values}
    most = max([study.n_leaves, *(len(values) for values in shares.values())])
    every = [share for values in shares.values() for share in values]
    x = Scale(1, max(most, 2), LEFT, RIGHT)
    y = Scale(min(every) * 0.8, max(every) * 1.25, BOTTOM, TOP, is_log=True)
    lines = {recipe: [(x(i + 1), y(share)) for i, share in enumerate(values)] for recipe, values in shares.items()}
    words = {recipe: (recipe, _leaf_words(study, recipe, len(values))) for recipe, values in shares.items()}
    parts = [_share_axis(y, even=1 / most), _leaf_axis(x, most)]
    parts += [_line(study, recipe, [points], points) for recipe, points in lines.items()]
    parts.append(line_labels(study, {recipe: points[-1] for recipe, points in lines.items()}, words))
    return Drawing(WIDTH, HEIGHT, "".join(parts), "Share of every leaf in the training data of each recipe, largest first, log scale")


def loss_chart(study: Study) -> Drawing:
    """Training loss against tokens: a thin line per student, a thick one for the mean of a recipe's seeds."""
    measured = [point for point in study.losses if is_number(point.loss_nats)]
    most = max(point.tokens for point in measured)
    seen = [point for point in measured if point.tokens >= SKIPPED_SHARE * most]
    losses = [point.loss_nats for point in seen]
    pad = 0.06 * (max(losses) - min(losses)) or 0.05
    x, y = Scale(0, most, LEFT, RIGHT), Scale(min(losses) - pad, max(losses) + pad, BOTTOM, TOP)
    parts, ends, words = [_loss_axis(y), _token_axis(x)], {}, {}
    for recipe in unique(point.recipe for point in seen):
        students: dict[int, list[tuple[float, float]]] = defaultdict(list)
        by_tokens: dict[int, list[float]] = defaultdict(list)
        for point in sorted((p for p in seen if p.recipe == recipe), key=lambda p: p.tokens):
            students[point.seed].append((x(point.tokens), y(point.loss_nats)))
            by_tokens[point.tokens].append(point.loss_nats)
        # A mean over fewer seeds than there are would jump where one is missing.
        means = [(tokens, statistics.fmean(found)) for tokens, found in by_tokens.items() if len(found) == len(students)]
        mean_line = [(x(tokens), y(loss)) for tokens, loss in means]
        parts.append(_line(study, recipe, list(students.values()), mean_line))
        ends[recipe] = (mean_line or next(iter(students.values())))[-1]
        words[recipe] = (recipe, f"ends at {fixed(means[-1][1], 3)}" if means else "")
    parts.append(line_labels(study, ends, words))
    return Drawing(WIDTH, HEIGHT, "".join(parts), "Training loss of the students against tokens seen")


def _line(study: Study, recipe: str, thin: Sequence[Sequence[tuple[float, float]]], thick: Sequence[tuple[float, float]]) -> str:
    drawn = [polyline(points, class_="thin") for points in thin if len(thin) > 1] + [polyline(thick, class_="stroke")]
    return group(*drawn, class_=hue(recipes_of(study).index(recipe)), title=recipe)


def line_labels(study: Study, ends: Mapping[str, tuple[float, float]], words: Mapping[str, tuple[str, str]]) -> str:
    """The name of every line beside its end, moved apart where ends are close, with a thin leader to each."""
    places = spread([y for _, y in ends.values()], gap=LABEL_GAP, low=TOP + 8, high=BOTTOM - 12)
    parts = []
    for (recipe, (x, y)), place in zip(ends.items(), places, strict=True):
        kind = recipes_of(study).index(recipe)
        bend = polyline([(x + 5, y), (max(x + 5, RIGHT + 2), y), (RIGHT + 12, place)], class_="leader")
        mark = marker(kind, x, y, radius=4.2)
        name, note = words[recipe]
        parts.append(group(bend if x < RIGHT - 1 or abs(place - y) > 3 else "", mark, class_=hue(kind)))
        parts.append(text(RIGHT + 17, place + 3, cut(name, MOST_LETTERS), class_="name small") + text(RIGHT + 17, place + 17, note, class_="quiet"))
    return "".join(parts)


def _leaf_words(study: Study, recipe: str, n_seen: int) -> str:
    effective = study.effective_leaves.get(recipe)
    return f"{fixed(effective, 1)} effective" if effective is not None and is_number(effective) else f"{n_seen} leaves"


def _share_axis(y: Scale, *, even: float) -> str:
    """Powers of ten, and the even share, dashed, on whose label no other may stand."""
    parts = []
    for tick in log_ticks(y.low, y.high):
        digits = max(0, -2 - round(math.log10(tick)))
        parts.append(line(LEFT, y(tick), RIGHT, y(tick), class_="grid"))
        if abs(y(tick) - y(even)) > 14:
            parts.append(text(LEFT - 8, y(tick) + 4, f"{100 * tick:.{digits}f} %", class_="quiet", anchor="end"))
    parts.append(line(LEFT, y(even), RIGHT, y(even), class_="even"))
    return "".join(parts) + text(LEFT - 8, y(even) + 4, f"1/{round(1 / even)}", class_="quiet", anchor="end")


def _leaf_axis(x: Scale, most: int) -> str:
    places = unique([1, *(int(tick) for tick in ticks(1, most, at_most=5) if 1 < tick < most - 0.06 * most), most])
    parts = [line(LEFT, BOTTOM, RIGHT, BOTTOM, class_="axis")]
    parts += [text(x(place), BOTTOM + 18, place, class_="quiet", anchor="middle") for place in places]
    return "".join(parts) + text((LEFT + RIGHT) / 2, BOTTOM + 38, "leaves, the most frequent first", class_="quiet", anchor="middle")


def _loss_axis(y: Scale) -> str:
    parts = []
    for tick in ticks(y.low, y.high, at_most=6):
        parts.append(line(LEFT, y(tick), RIGHT, y(tick), class_="grid"))
        parts.append(text(LEFT - 8, y(tick) + 4, f"{tick:g}", class_="quiet", anchor="end"))
    return "".join(parts)


def _token_axis(x: Scale) -> str:
    parts = [line(LEFT, BOTTOM, RIGHT, BOTTOM, class_="axis")]
    for tick in ticks(0, x.high, at_most=5):
        parts.append(text(x(tick), BOTTOM + 18, tokens_words(tick), class_="quiet", anchor="middle"))
    return "".join(parts) + text((LEFT + RIGHT) / 2, BOTTOM + 38, "training tokens", class_="quiet", anchor="middle")


def tokens_words(n: float) -> str:
    """1.5 M, 300 K, 2 B."""
    for size, letter in ((1e9, " B"), (1e6, " M"), (1e3, " K")):
        if n >= size:
            return f"{n / size:g}{letter}"
    return f"{n:g}"
