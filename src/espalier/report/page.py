"""The report: one HTML file that needs no network, runs no script and says first what was found.

Values in, a string out: `render_report(study)`. Text of a teacher is escaped wherever it enters, and a content security
policy forbids the page to load or run anything, should an escape ever be forgotten.
"""

from espalier.report.audit import audit_section
from espalier.report.charts import SKIPPED_SHARE, coverage_chart, loss_chart
from espalier.report.costs import cost_section, equality_words
from espalier.report.forest import forest
from espalier.report.funnel import funnel_charts
from espalier.report.leaves import leaf_charts
from espalier.report.samples import samples_section
from espalier.report.study import Study, is_number, recipes_of
from espalier.report.svg import Drawing, escape, svg
from espalier.report.tables import (
    metrics_table,
    params_table,
    reasons_table,
    recipe_words,
    result_table,
    split_table,
    verdict_words,
)
from espalier.report.theme import CHART_CSS, PAGE_CSS, THEME_CSS, hue
from espalier.report.words import WEIGHTING_NAMES, arms, difference_words, find, headline, mean_words, p_words, range_words
from espalier.report.worth import WORDS as WORTH_WORDS
from espalier.report.worth import size_chart, worth_chart, worth_table

QUESTION = "Which way of making synthetic data trains the better small model at equal cost, and is the difference real?"
POLICY = "default-src 'none'; style-src 'unsafe-inline'"


def render_report(study: Study) -> str:
    """The whole page as one string of HTML."""
    sections = [
        ("results", "Results", _results(study)), ("leaves", "Accuracy by leaf", _leaves(study)),
        ("coverage", "Coverage and training", _coverage(study)),
        ("worth", "Worth of the text", _worth(study)),
        ("funnel", "Kept and dropped", _funnel(study)),
        ("audit", "Filter audit", audit_section(study) or _absent("No scorer was audited: no row has a verdict.")),
        ("samples", "Samples", samples_section(study)),
        ("numbers", "Numbers", _numbers(study)),
    ]
    links = "".join(f'<a href="#{name}">{title}</a>' for name, title, _ in sections)
    body = "".join(f'<section id="{name}"><h2>{title}</h2>{content}</section>' for name, title, content in sections)
    return (
        '<!doctype html>\n<html lang="en"><head><meta charset="utf-8">'
        f'<meta http-equiv="Content-Security-Policy" content="{POLICY}">'
        '<meta name="viewport" content="width=device-width,initial-scale=1"><meta name="color-scheme" content="light dark">'
        f"<title>{escape(study.title)}</title><style>{THEME_CSS}{CHART_CSS}{PAGE_CSS}</style></head>"
        f"<body><main>{_top(study)}<nav>{links}</nav>{body}{_foot(study)}</main></body></html>\n"
    )


def _top(study: Study) -> str:
    cards = "".join(_card(study, recipe) for recipe in arms(study))
    return (
        f'<header><h1>{escape(study.title)}</h1><p class="quiet">{QUESTION}</p>'
        f'<p class="answer">{escape(headline(study))}</p><p class="meta">{escape(_size_words(study))}</p></header>'
        + (f'<div class="cards">{cards}</div>' if cards else "")
    )


def _size_words(study: Study) -> str:
    commit = f"commit {study.commit}" if study.commit else ""
    if not study.results:
        return commit
    result = study.results[0]
    seeds = sorted({r.n_seeds for r in study.results})
    trained = f"{seeds[0]} to {seeds[-1]}" if len(seeds) > 1 else str(seeds[0])
    return (
        f"Judged by accuracy on {result.n_items:,} exam items in {result.n_leaves} leaves; {trained} students per recipe; "
        f"{study.confidence:.0%} intervals clustered by leaf and seed; p after Holm"
        + (f"; {commit}." if commit else ".")
    )


def _card(study: Study, recipe: str) -> str:
    steps = []
    for weighting, name in WEIGHTING_NAMES.items():
        result = find(study, recipe, "accuracy", weighting)
        if result:
            interval = range_words(result.low, result.high, "accuracy") or "no interval"
            steps.append(
                f'<p class="step"><b>{escape(difference_words(result))}</b> points {verdict_words(result.verdict)}</p>'
                f'<p class="range">{escape(name)}: {escape(interval)}, {escape(p_words(result.p_holm))}</p>'
            )
    if equal := equality_words(study, recipe):
        steps.append(f'<p class="step range">{escape(equal)}</p>')
    place = recipes_of(study).index(recipe)
    return (
        f'<div class="card {hue(place)}"><h3>{escape(recipe)}</h3><p class="quiet">{escape(_means(study, recipe))}</p>'
        f"{''.join(steps)}</div>"
    )


def _means(study: Study, recipe: str) -> str:
    arm, base = (find(study, name, "accuracy", "macro") for name in (recipe, study.baseline))
    if arm is None or base is None:
        return ""
    return f"{mean_words(arm.mean, 'accuracy')} % right, {study.baseline} {mean_words(base.mean, 'accuracy')} %"


def _results(study: Study) -> str:
    if not arms(study):
        return _absent("The arms have not been compared.")
    outcomes = [name for name in ("accuracy", "gold_loss") if any(r.outcome == name for r in study.results)]
    captions = {"accuracy": "Difference in accuracy", "gold_loss": "Difference in loss on the right answers"}
    note = f"from {study.baseline}, {study.confidence:.0%} intervals; filled: every leaf equal, open: natural frequencies"
    charts = [_figure(forest(study, outcome), captions[outcome], note) for outcome in outcomes]
    tables = "".join(result_table(study, outcome) for outcome in outcomes)
    words = (
        "<p>An interval shows the differences that fit the measurement. The verdict counts how many arms were compared (Holm), so an "
        "interval may leave out 0 and the verdict still say within noise. The effect is the difference in standard deviations between "
        "leaves. The smallest difference it could show is what this study finds four times in five.</p>"
    )
    return _charts(charts) + words + tables + cost_section(study)


def _worth(study: Study) -> str:
    if not any(is_number(point.loss_macro_nats) for point in study.sizes):
        return _absent("Not measured: with train.sizes students of parts of the text are trained too.")
    note = "every leaf equal; thick: mean over seeds; thin: each seed"
    figures = [_figure(size_chart(study), "Loss on the right answers by size of text, nats per token", note)]
    if any(is_number(point.k) for point in study.worth):
        note = f"every leaf equal, {study.confidence:.0%} interval; thin: natural frequencies; open: k is larger"
        figures.append(_figure(worth_chart(study), f"k: {study.baseline} needs so many times the text for the same loss", note))
    return WORTH_WORDS + _charts(figures) + worth_table(study)


def _leaves(study: Study) -> str:
    if not study.leaves:
        return _absent("The exam has not been marked.")
    seen = [recipe for recipe in recipes_of(study) if any(row.recipe == recipe for row in study.leaves)]
    key = "".join(f"<span>{recipe_words(study, recipe)}</span>" for recipe in seen)
    figures = [_figure(drawing, branch, "share of items answered right; most frequent leaf on top") for branch, drawing in leaf_charts(study)]
    splits = f"<h3>By split of the exam, every leaf equal</h3>{split_table(study)}" if study.splits else ""
    return f'<p class="legend">{key}</p><div class="packed">{"".join(figures)}</div>{splits}'


def _coverage(study: Study) -> str:
    """Coverage and loss side by side: what a student was given, and how it took it."""
    figures, words = [], []
    if any(row.share > 0 for row in study.coverage):
        n_leaves = max(study.n_leaves, len({row.leaf for row in study.coverage}))
        words.append(
            f"<p>Effective leaves are exp(entropy of the leaf shares): {n_leaves} when every leaf gets the same share, 1 when all"
            " samples are of one leaf. A steep line is a recipe whose teacher repeats its favourite tasks.</p>"
        )
        figures.append(_figure(coverage_chart(study), "Share of each leaf in the training data", "log scale; dashed: every leaf alike"))
    else:
        words.append(_absent("Coverage has not been measured."))
    if any(is_number(point.loss_nats) for point in study.losses):
        words.append("<p>A training loss is taken on the recipe's own data: a lower one may only mean easier data. The exam decides.</p>")
        note = f"thick: mean over seeds; thin: each seed; without the first {SKIPPED_SHARE:.0%}"
        figures.append(_figure(loss_chart(study), "Training loss, nats per token", note))
    else:
        words.append(_absent("No loss curve was recorded."))
    return "".join(words) + _charts(figures)


def _funnel(study: Study) -> str:
    charts = funnel_charts(study)
    if not charts:
        return _absent("No stage has reported what it kept.")
    figures = [_figure(drawing, recipe, "solid: rows kept, pale: rows dropped") for recipe, drawing in charts]
    details = "".join(
        f"<details><summary>{recipe_words(study, recipe)} <span>every reason</span></summary>{reasons_table(study, recipe)}</details>"
        for recipe, _ in charts
    )
    return _charts(figures) + f"<div>{details}</div>"


def _numbers(study: Study) -> str:
    blocks = []
    for title, metrics in (("Validity", study.validity), ("Diversity", study.diversity), ("Cost", study.costs)):
        blocks.append(f"<h3>{title}</h3>" + (metrics_table(study, metrics) if metrics else _absent("Not measured.")))
    if study.params:
        blocks.append(f"<h3>Params</h3>{params_table(study)}")
    return "".join(blocks)


def _foot(study: Study) -> str:
    commit = f", commit {escape(study.commit)}" if study.commit else ""
    return f"<footer>Made by the stage report of espalier from metrics and samples alone{commit}.</footer>"


def _figure(drawing: Drawing, caption: str, note: str) -> str:
    return f"<figure><figcaption>{escape(caption)}<span>{escape(note)}</span></figcaption>{svg(drawing)}</figure>"


def _charts(figures: list[str]) -> str:
    return f'<div class="charts">{"".join(figures)}</div>' if figures else ""


def _absent(words: str) -> str:
    return f'<p class="quiet">{escape(words)}</p>'
