"""The tables of the report as HTML. Every cell is escaped; what was not measured is an en dash."""

from collections.abc import Sequence

from espalier.report.funnel import reason_rows
from espalier.report.study import Metrics, Result, Study, is_number, recipes_of, unique
from espalier.report.svg import element, escape, marker
from espalier.report.theme import hue
from espalier.report.words import (
    NOTHING,
    OUTCOME_NAMES,
    SIGNS,
    UNITS,
    WEIGHTING_NAMES,
    difference_words,
    find,
    fixed,
    mean_words,
    plain,
    range_words,
    verdict_class,
)


def result_table(study: Study, outcome: str) -> str:
    """One outcome: mean, difference, both intervals, p, effect and smallest visible difference of every recipe and weighting."""
    unit = UNITS[outcome]
    heads = (
        "recipe", "weighting", f"{OUTCOME_NAMES[outcome]}, {unit.name}", f"difference from {study.baseline}, {unit.difference_name}",
        "p after Holm", "effect", "smallest difference it could show", "verdict",
    )
    rows = []
    for recipe in recipes_of(study):
        found = [find(study, recipe, outcome, weighting) for weighting in WEIGHTING_NAMES]
        measured = [result for result in found if result]
        rows += [_result_row(study, result, is_first=i == 0, is_last=i == len(measured) - 1) for i, result in enumerate(measured)]
    return table(heads, rows, n_words=2, last_is_words=True)


def _result_row(study: Study, result: Result, *, is_first: bool, is_last: bool) -> str:
    unit = UNITS[result.outcome]
    mean_range = range_words(result.mean_low, result.mean_high, result.outcome, signed=False)
    effect = "\u221e" if result.effect is not None and abs(result.effect) == float("inf") else fixed(result.effect, 2, signed=True)
    p = NOTHING if not is_number(result.p_holm) else "< 0.001" if result.p_holm < 0.001 else fixed(result.p_holm, 3)
    mdd = fixed(result.mdd * unit.factor, unit.digits) if is_number(result.mdd) else NOTHING
    cells = [
        cell(recipe_words(study, result.recipe) if is_first else "", head=True), cell(escape(WEIGHTING_NAMES[result.weighting])),
        cell(with_range(mean_words(result.mean, result.outcome), mean_range), number=True),
        cell(with_range(difference_words(result), range_words(result.low, result.high, result.outcome)), number=True),
        *(cell(escape(words), number=True) for words in (p, effect, mdd)), cell(verdict_words(result.verdict)),
    ]
    return f"<tr>{''.join(cells)}</tr>" if is_last else f'<tr class="pair">{"".join(cells)}</tr>'


def split_table(study: Study) -> str:
    """Accuracy of every recipe on every split of the exam, every leaf equal."""
    known = ("key", "template", "difficulty")  # from near to far
    found_splits = unique(row.split for row in study.splits)
    splits = [*(split for split in known if split in found_splits), *(split for split in found_splits if split not in known)]
    found = {(row.recipe, row.split): row for row in study.splits}
    rows = []
    for recipe in recipes_of(study):
        cells = [cell(recipe_words(study, recipe), head=True)]
        for split in splits:
            row = found.get((recipe, split))
            accuracy = row.accuracy if row else None
            cells.append(cell(f"{fixed(100 * accuracy, 1)} %" if is_number(accuracy) else NOTHING, number=True))
        rows.append(f"<tr>{''.join(cells)}</tr>")
    return table(("recipe", *splits), rows, n_words=1)


def metrics_table(study: Study, metrics: Metrics) -> str:
    """A line per number and a column per recipe; x_low and x_high stand beside x."""
    recipes = [recipe for recipe in recipes_of(study) if recipe in metrics]
    names = unique(name for recipe in recipes for name in metrics[recipe])
    bounds = {name + end for name in names for end in ("_low", "_high")}
    rows = []
    for name in (name for name in names if name not in bounds):
        cells = [cell(escape(name.replace("_", " ")), head=True)]
        for recipe in recipes:
            numbers = metrics[recipe]
            ends = [plain(numbers.get(name + end)) for end in ("_low", "_high")]
            cells.append(cell(with_range(plain(numbers.get(name)), "" if NOTHING in ends else " to ".join(ends)), number=True))
        rows.append(f"<tr>{''.join(cells)}</tr>")
    return table(("", *recipes), rows, n_words=1)


def reasons_table(study: Study, recipe: str) -> str:
    """Every reason for which rows of a recipe were dropped."""
    rows = [
        f"<tr>{cell(escape(stage), head=True)}{cell(escape(reason))}{cell(f'{n:,}', number=True)}{cell(fixed(100 * share, 1) + ' %', number=True)}</tr>"
        for stage, reason, n, share in reason_rows(study, recipe)
    ]
    return table(("stage", "reason", "rows", "of those that entered"), rows, n_words=2)


def params_table(study: Study) -> str:
    rows = [f"<tr>{cell(escape(name), head=True)}{cell(escape(plain(value)))}</tr>" for name, value in study.params.items()]
    return table(("param", "value"), rows, n_words=2)


def recipe_words(study: Study, recipe: str) -> str:
    """The name of a recipe behind its mark, as markup: the same shape and hue as in the charts."""
    place = recipes_of(study).index(recipe)
    mark = element("svg", marker(place, 7, 7, radius=5.2), class_=f"chart key {hue(place)}", viewBox="0 0 14 14", aria_hidden="true")
    return mark + escape(recipe)


def verdict_words(verdict: str) -> str:
    """A verdict with its sign, as markup; the sign says it without the colour."""
    class_ = verdict_class(verdict)
    words = f"{SIGNS.get(verdict, '')} {verdict}".strip()
    return f'<b class="{class_}">{escape(words)}</b>' if class_ else f'<span class="quiet">{escape(words)}</span>'


def with_range(value: str, interval: str) -> str:
    """A value with its interval in brackets, as markup."""
    return escape(value) + (f' <span class="range">({escape(interval)})</span>' if interval else "")


def cell(markup: str, *, head: bool = False, number: bool = False) -> str:
    """A cell of a row; number: stands to the right."""
    if head:
        return f'<th scope="row">{markup}</th>'
    return f'<td class="n">{markup}</td>' if number else f"<td>{markup}</td>"


def table(heads: Sequence[str], rows: Sequence[str], *, n_words: int, last_is_words: bool = False) -> str:
    """Columns from the n_words-th on hold numbers and stand to the right."""
    last_number = len(heads) - 1 - last_is_words
    written = "".join(
        f'<th scope="col" class="n">{escape(head)}</th>' if n_words <= i <= last_number else f'<th scope="col">{escape(head)}</th>'
        for i, head in enumerate(heads)
    )
    return f'<div class="scroll" tabindex="0"><table><thead><tr>{written}</tr></thead><tbody>{"".join(rows)}</tbody></table></div>'
