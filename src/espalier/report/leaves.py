"""Accuracy leaf by leaf: one row per leaf, one mark per recipe, a drawing per branch of the taxonomy."""

from collections.abc import Sequence

from espalier.report.study import LeafAccuracy, Study, is_number, recipes_of, unique
from espalier.report.svg import Drawing, Scale, cut, group, line, marker, text
from espalier.report.theme import hue
from espalier.report.words import NOTHING, fixed

WIDTH, LEFT, RIGHT = 430, 172, 410
TOP, ROW = 26, 19
MOST_LETTERS = 24  # of a leaf's name, in the space left of LEFT


def leaf_charts(study: Study) -> list[tuple[str, Drawing]]:
    """(branch, drawing) for every branch; leaves by rank, the most frequent of natural text on top."""
    return [(branch, _branch(study, branch)) for branch in sorted(unique(row.branch for row in study.leaves))]


def _branch(study: Study, branch: str) -> Drawing:
    rows = [row for row in study.leaves if row.branch == branch]
    ranked = unique(row.leaf for row in sorted(rows, key=lambda row: (row.rank if row.rank is not None else 0, row.leaf)))
    scale = Scale(0.0, 1.0, LEFT, RIGHT)
    bottom = TOP + ROW * len(ranked)
    parts = []
    for share in (0.0, 0.25, 0.5, 0.75, 1.0):
        parts.append(line(scale(share), TOP - 4, scale(share), bottom, class_="grid"))
        parts.append(text(scale(share), TOP - 10, f"{share:.0%}", class_="quiet", anchor="middle"))
    for i, leaf in enumerate(ranked):
        here = [row for row in rows if row.leaf == leaf]
        parts.append(_leaf(study, leaf, here, scale, TOP + ROW * i + ROW / 2))
    return Drawing(WIDTH, bottom + 6, "".join(parts), f"Accuracy on every leaf of {branch} by recipe")


def _leaf(study: Study, leaf: str, rows: Sequence[LeafAccuracy], scale: Scale, y: float) -> str:
    """The span of the recipes as a thin line, a mark for each; the tip names them all."""
    recipes = recipes_of(study)
    # Drawn from the baseline up, so that the later recipes lie on top of the grey of the baseline.
    placed = sorted((row for row in rows if is_number(row.accuracy)), key=lambda row: recipes.index(row.recipe))
    xs = [scale(row.accuracy) for row in placed]
    marks = [
        group(marker(recipes.index(row.recipe), x, y + dodge, radius=4.4), class_=hue(recipes.index(row.recipe)))
        for row, x, dodge in zip(placed, xs, _dodges(xs), strict=True)
    ]
    span = line(min(xs), y, max(xs), y, class_="axis") if xs else text(LEFT, y + 4, NOTHING, class_="quiet")
    numbers = ", ".join(f"{row.recipe} {fixed(100 * row.accuracy, 0)} %" for row in placed) or "not measured"
    return group(text(LEFT - 12, y + 4, _short_name(leaf), class_="small", anchor="end"), span, *marks, title=f"{leaf}: {numbers}")


def _dodges(xs: Sequence[float]) -> list[float]:
    """How far each mark steps aside so that none hides an earlier one: 0, up, down, further up ..."""
    earlier = [sum(abs(x - other) < 6 for other in xs[:i]) for i, x in enumerate(xs)]
    return [4.5 * ((n + 1) // 2) * (-1 if n % 2 else 1) for n in earlier]


def _short_name(leaf: str) -> str:
    """The path without its branch; when it is long, the topics are cut before the task, which tells leaves apart."""
    *topics, task = leaf.split("/")[1:] or [leaf]
    topic, task = (part.replace("_", " ") for part in (" / ".join(topics), task))
    task = cut(task, MOST_LETTERS)
    left = MOST_LETTERS - len(task) - 3
    return f"{cut(topic, left)} / {task}" if topic and left > 2 else task

