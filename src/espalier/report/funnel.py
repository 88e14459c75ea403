"""What became of a recipe's rows: how many every stage kept, how many it dropped, and why."""

from collections.abc import Sequence

from espalier.report.study import FunnelRow, Study, recipes_of, unique
from espalier.report.svg import Drawing, Scale, group, rect, text
from espalier.report.theme import hue
from espalier.report.words import MINUS, fixed

WIDTH, LEFT, RIGHT = 430, 104, 372
TOP, ROW, BAR = 4, 46, 16
MOST_LETTERS = 48  # of the reasons under a bar, which is what fits; the tip and the table name them all


def funnel_charts(study: Study) -> list[tuple[str, Drawing]]:
    """(recipe, drawing) for every recipe with rows; all drawings share one scale, so lengths can be compared."""
    totals = {(row.recipe, row.stage): 0 for row in study.funnel}
    for row in study.funnel:
        totals[row.recipe, row.stage] += row.n
    scale = Scale(0, max([1, *totals.values()]), LEFT, RIGHT)
    seen = {row.recipe for row in study.funnel}
    return [(recipe, _recipe(study, recipe, scale)) for recipe in recipes_of(study) if recipe in seen]


def _recipe(study: Study, recipe: str, scale: Scale) -> Drawing:
    rows = [row for row in study.funnel if row.recipe == recipe]
    stages = unique(row.stage for row in rows)
    parts = [
        _stage(stage, [row for row in rows if row.stage == stage], scale, TOP + ROW * i, hue(recipes_of(study).index(recipe)))
        for i, stage in enumerate(stages)
    ]
    return Drawing(WIDTH, TOP + ROW * len(stages), "".join(parts), f"Rows of {recipe} kept and dropped at every stage")


def _stage(stage: str, rows: Sequence[FunnelRow], scale: Scale, top: float, colour: str) -> str:
    kept = sum(row.n for row in rows if not row.reason)
    reasons = sorted((row for row in rows if row.reason and row.n), key=lambda row: (-row.n, row.reason))
    dropped = sum(row.n for row in reasons)
    x, end = scale(kept), scale(kept + dropped)
    all_reasons = "; ".join(f"{row.reason} {row.n:,}" for row in reasons) or "nothing dropped"
    tip = f"{stage}: {kept:,} kept, {dropped:,} dropped ({fixed(100 * kept / max(kept + dropped, 1), 1)} % kept): {all_reasons}"
    drawn = group(
        rect(LEFT, top, x - LEFT, BAR, class_="bar"), rect(x, top, end - x, BAR, class_="pale"), class_=colour, title=tip
    )
    words = text(LEFT - 10, top + 13, stage, class_="small", anchor="end") + text(end + 8, top + 13, f"{kept:,}", class_="name small")
    return drawn + words + text(LEFT, top + BAR + 15, _reason_words(dropped, reasons), class_="quiet")


def _reason_words(dropped: int, reasons: Sequence[FunnelRow]) -> str:
    if not dropped:
        return "nothing dropped"
    words, rest = f"{MINUS}{dropped:,}: ", dropped
    for i, row in enumerate(reasons):
        named = f"{', ' if i else ''}{row.reason.replace('_', ' ')} {row.n:,}"
        room = MOST_LETTERS - (0 if i == len(reasons) - 1 else len(f", others {rest:,}"))
        if len(words) + len(named) > room:
            return f"{words}{', ' if i else ''}{'others' if i else 'many reasons'} {rest:,}"
        words, rest = words + named, rest - row.n
    return words


def reason_rows(study: Study, recipe: str) -> list[tuple[str, str, int, float]]:
    """(stage, reason, n, share of the rows that entered the stage) of every reason, in the order of the stages."""
    rows = [row for row in study.funnel if row.recipe == recipe]
    entered = {stage: sum(row.n for row in rows if row.stage == stage) for stage in unique(row.stage for row in rows)}
    return [(row.stage, row.reason, row.n, row.n / max(entered[row.stage], 1)) for row in rows if row.reason and row.n]
