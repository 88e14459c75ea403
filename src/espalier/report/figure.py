"""One SVG file for the first screen of a README: what was found, the forest plot and the coverage."""

from espalier.report.charts import coverage_chart
from espalier.report.forest import forest
from espalier.report.study import Study
from espalier.report.svg import Drawing, group, rect, svg, text
from espalier.report.theme import CHART_CSS, THEME_CSS
from espalier.report.words import arms, headline

WIDTH, MARGIN, BETWEEN = 964, 24, 56
LINE_LETTERS = 82  # of the headline in 20 px


def result_figure(study: Study) -> str:
    """A standalone SVG with its own colours for light and dark; it loads nothing.

    The parts that were not measured are left out; with none of them only the headline stands.
    """
    lines = _folded(headline(study), LINE_LETTERS)
    head = "".join(text(MARGIN, 42 + 27 * i, words, class_="title") for i, words in enumerate(lines))
    top = 27 * len(lines) + 54
    panels = _panels(study)
    body, bottom = [head], float(top)
    for i, (title, note, drawing) in enumerate(panels):
        left = MARGIN + i * ((WIDTH - 2 * MARGIN - BETWEEN) / 2 + BETWEEN)
        words = text(0, 0, title, class_="head") + text(0, 19, note, class_="quiet")
        body.append(group(words, group(drawing.body, shift=(0, 36)), shift=(left, top)))
        bottom = max(bottom, top + 36 + drawing.height)
    height = bottom + MARGIN
    ground = rect(0, 0, WIDTH, height, class_="ground")
    drawing = Drawing(WIDTH, height, ground + "".join(body), headline(study))
    return svg(drawing, style=THEME_CSS + CHART_CSS)


def _panels(study: Study) -> list[tuple[str, str, Drawing]]:
    panels = []
    if arms(study):
        note = f"difference from {study.baseline}, {study.confidence:.0%} intervals by leaf and seed"
        panels.append(("Accuracy on the held-out exam", note, forest(study, "accuracy")))
    if any(row.share > 0 for row in study.coverage):
        panels.append(("What the training data covers", "share of each leaf, largest first, log scale", coverage_chart(study)))
    return panels


def _folded(words: str, letters: int) -> list[str]:
    """As few lines of at most so many letters as the words need, cut at blanks, and all of about the same length."""
    lines = _cut_at(words, letters)
    while letters > 1 and len(_cut_at(words, letters - 1)) == len(lines):
        letters -= 1
        lines = _cut_at(words, letters)
    return lines


def _cut_at(words: str, letters: int) -> list[str]:
    lines = [""]
    for word in words.split():
        longer = f"{lines[-1]} {word}".strip()
        lines = [*lines[:-1], longer] if len(longer) <= letters else [*lines, word]
    return lines
