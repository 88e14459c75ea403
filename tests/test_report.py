"""The report: what it says, that hostile text stays text, that it loads nothing, and that gaps in a study leave no holes."""

import dataclasses
import re
from html.parser import HTMLParser
from xml.etree import ElementTree

import pytest

from espalier import audit, compare, costs, worth
from espalier.report import (
    FunnelRow,
    RecipeCost,
    Result,
    Sample,
    ScorerAudit,
    SizePoint,
    Study,
    Worth,
    render_report,
    result_figure,
)
from espalier.report.charts import coverage_chart
from espalier.report.leaves import leaf_charts
from espalier.report.study import recipes_of
from espalier.report.svg import escape
from espalier.report.tables import metrics_table
from espalier.report.theme import DARK, LIGHT
from espalier.report.words import MINUS, NOTHING, fixed, headline, p_words, plain
from tests.report_values import full_study, result, scorer_audit, verdicts

HOSTILE = "<script>alert('x')</script><img src=\"https://evil.example/a.png\" onerror=alert(1)> & \u202e\x00\ud800 end"


class Tags(HTMLParser):
    def __init__(self, page):
        super().__init__()
        self.tags, self.attributes, self.words = [], [], []
        self.feed(page)

    def handle_starttag(self, tag, attrs):
        self.tags.append(tag)
        self.attributes += attrs

    def handle_data(self, data):
        self.words.append(data)


def test_hostile_text_in_every_field_stays_text():
    study = full_study()
    hostile = dataclasses.replace(
        study, title=HOSTILE, commit=HOSTILE, params={HOSTILE: HOSTILE},
        results=tuple(dataclasses.replace(row, recipe=HOSTILE if row.recipe == "lab" else row.recipe) for row in study.results),
        leaves=tuple(dataclasses.replace(row, leaf=HOSTILE, branch=HOSTILE) for row in study.leaves),
        splits=tuple(dataclasses.replace(row, split=HOSTILE) for row in study.splits),
        coverage=tuple(dataclasses.replace(row, recipe=HOSTILE) for row in study.coverage),
        audit=(scorer_audit(HOSTILE, HOSTILE),),
        funnel=(FunnelRow(HOSTILE, HOSTILE, HOSTILE, 3),), samples=(Sample(HOSTILE, HOSTILE, HOSTILE, HOSTILE, HOSTILE, HOSTILE, HOSTILE),),
        diversity={HOSTILE: {HOSTILE: 1.0}},
        recipe_costs=tuple(dataclasses.replace(row, recipe=HOSTILE) for row in study.recipe_costs),
        sizes=tuple(dataclasses.replace(row, recipe=HOSTILE) for row in study.sizes),
        worth=tuple(dataclasses.replace(row, recipe=HOSTILE) for row in study.worth),
    )
    page = render_report(hostile)
    found = Tags(page)
    assert not {"script", "img"} & set(found.tags)
    assert not [name for name, _ in found.attributes if name.startswith("on") or name in ("src", "srcset", "action")]
    assert "alert('x')" in "".join(found.words)
    ElementTree.fromstring(result_figure(hostile))
    for written in (page, result_figure(hostile)):
        assert not set("\u202e\x00\ud800") & set(written)
        written.encode("utf-8")


def test_a_sample_is_shown_whole_and_escaped():
    study = dataclasses.replace(full_study(), samples=(Sample("lab", "", "filter", "wrong", "", "a < b", "<script>x</script>"),))
    page = render_report(study)
    assert "<dd class=\"text\" dir=\"auto\">&lt;script&gt;x&lt;/script&gt;</dd>" in page
    assert "a &lt; b" in page
    assert "<b>wrong</b> at filter" in page


def test_page_and_figure_load_nothing():
    study = full_study()
    page, figure = render_report(study), result_figure(study)
    assert "http" not in page.replace('http-equiv="Content-Security-Policy"', "")
    assert figure.replace('xmlns="http://www.w3.org/2000/svg"', "").find("http") == -1
    for written in (page, figure):
        assert [way for way in ("url(", "@import", "<link") if way in written] == []
    assert "default-src 'none'" in page
    assert {value for name, value in Tags(page).attributes if name == "href"} == {
        "#results", "#leaves", "#coverage", "#worth", "#funnel", "#audit", "#samples", "#numbers",
    }


def test_every_drawing_is_well_formed_and_has_words_for_those_who_cannot_see_it():
    drawings = re.findall(r"<svg.*?</svg>", render_report(full_study()), flags=re.DOTALL)
    charts = [drawing for drawing in map(ElementTree.fromstring, drawings) if "key" not in drawing.get("class")]
    assert [chart.get("aria-label") for chart in charts] == [
        "Difference from direct in accuracy with 95% intervals", "Accuracy on every leaf of foundational by recipe",
        "Accuracy on every leaf of knowledge by recipe",
        "Share of every leaf in the training data of each recipe, largest first, log scale",
        "Training loss of the students against tokens seen",
        "Loss on the right answers against the tokens of text, log scale",
        "How many times the text direct needs for the same loss, log scale, with 95% intervals", "Rows of lab kept and dropped at every stage",
    ]


def test_the_figure_is_one_whole_svg_file_with_colours_for_light_and_dark():
    figure = result_figure(full_study())
    root = ElementTree.fromstring(figure)
    assert root.tag == "{http://www.w3.org/2000/svg}svg"
    assert float(root.get("width")) > 900
    assert [words for words in ("prefers-color-scheme:dark", LIGHT["paper"], DARK["paper"]) if words not in figure] == []


def test_the_same_study_gives_the_same_bytes():
    assert render_report(full_study()) == render_report(full_study())
    assert result_figure(full_study()) == result_figure(full_study())


@pytest.mark.parametrize(
    ("pairs", "words"),
    [
        ({"lab": ("better", "better")}, "lab trains a better student than direct on both weightings of the exam."),
        (
            {"lab": ("better", "worse")},
            "lab trains a better student than direct when every leaf counts alike; at natural frequencies it is worse.",
        ),
        (
            {"lab": ("within noise", "better")},
            "lab trains a better student than direct at natural frequencies; with every leaf equal it is within noise.",
        ),
        (
            {"lab": ("better", "better"), "multistage": ("within noise", "within noise"), "conditional": ("worse", "within noise")},
            "lab trains a better student than direct on both weightings of the exam. conditional trains a worse one."
            " multistage is within noise of direct.",
        ),
        (
            {"lab": ("within noise", "within noise")},
            "No recipe is shown to train a better student than direct by accuracy: every difference is within noise.",
        ),
        (
            {"lab": ("one seed", "one seed")},
            "No recipe is shown to train a better student than direct by accuracy. Nothing is claimed of lab: one seed does not show the noise of training.",
        ),
        ({}, "The arms have not been compared yet."),
    ],
)
def test_the_headline_says_what_the_verdicts_say_and_no_more(pairs, words):
    study = verdicts(**pairs)
    assert headline(study) == words
    assert escape(words) in render_report(study)


def test_the_headline_adds_what_the_loss_shows():
    losses = [result("lab", one, "better", outcome="gold_loss", difference=-0.3) for one in ("macro", "natural")]
    losses += [result("multistage", one, word, outcome="gold_loss") for one, word in (("macro", "worse"), ("natural", "within noise"))]
    study = verdicts(lab=("within noise", "within noise"), multistage=("within noise", "within noise"))
    assert headline(dataclasses.replace(study, results=(*study.results, *losses))) == (
        "No recipe is shown to train a better student than direct by accuracy: every difference is within noise."
        " By the loss on the right answers lab is better on both weightings."
        " By the loss on the right answers multistage is worse when every leaf counts alike."
    )


def test_the_interval_and_the_p_value_stand_beside_the_verdict():
    page = render_report(verdicts(lab=("better", "within noise")))
    # difference 0.1, interval 0.05 to 0.15, Holm-adjusted p 0.02, in percentage points
    assert "<b>+10.0</b> points <b class=\"better\">\u25b2 better</b>" in page
    assert "every leaf equal: +5.0 to +15.0, p\u00a0=\u00a00.020" in page


def test_the_fields_of_a_result_are_the_columns_of_the_comparison():
    assert [field.name for field in dataclasses.fields(Result)] == list(compare.TABLE_SCHEMA)
    assert [field.name for field in dataclasses.fields(ScorerAudit)] == ["recipe", *audit.SCORER_SCHEMA]
    assert [field.name for field in dataclasses.fields(RecipeCost)] == list(costs.SCHEMA)
    assert [field.name for field in dataclasses.fields(SizePoint)] == list(worth.SIZES_SCHEMA)
    assert [field.name for field in dataclasses.fields(Worth)] == list(worth.WORTH_SCHEMA)


def test_an_empty_study_gives_a_page_that_says_what_is_missing():
    page = render_report(Study(title="t", commit="c", baseline="direct", confidence=0.95))
    for words in ("The arms have not been compared", "Coverage has not been measured", "No loss curve", "No stage has reported", "No scorer was audited", "No samples", "Not measured: with train.sizes"):
        assert words in page
    ElementTree.fromstring(result_figure(Study(title="t", commit="c", baseline="direct", confidence=0.95)))


def test_nan_none_and_a_recipe_without_rows_leave_a_dash_and_no_nan_in_the_page():
    nan = float("nan")
    study = full_study()
    holed = dataclasses.replace(
        study,
        results=(*study.results, result("multistage", "macro", "one seed", difference=nan, p_holm=nan, effect=float("inf"), mdd=None)),
        losses=tuple(dataclasses.replace(point, loss_nats=nan if point.recipe == "lab" else 1.0) for point in study.losses),
        leaves=tuple(dataclasses.replace(row, accuracy=None if row.rank == 1 else row.accuracy) for row in study.leaves),
        coverage=tuple(row for row in study.coverage if row.recipe == "direct"),
    )
    for written in (render_report(holed), result_figure(holed)):
        assert not re.search(r"\b(nan|None|inf)\b", re.sub(r"<style>.*?</style>", "", written, flags=re.DOTALL))
    assert "not measured" in render_report(holed)
    assert f'<td class="n">{NOTHING}</td>' in metrics_table(holed, holed.costs)


def test_outside_git_no_commit_is_named():
    study = full_study()
    assert "commit 3f2a91c" in render_report(study)
    assert "commit" not in render_report(dataclasses.replace(study, commit=""))


def test_the_baseline_comes_first_and_keeps_the_grey():
    study = dataclasses.replace(full_study(), results=tuple(reversed(full_study().results)))
    assert recipes_of(study)[0] == "direct"


def test_leaves_stand_by_branch_with_the_most_frequent_on_top():
    study = full_study()
    turned = dataclasses.replace(study, leaves=tuple(dataclasses.replace(row, rank=9 - row.rank) for row in study.leaves))
    for given, first in ((study, "largest"), (turned, "smallest")):
        (branch, drawing), _ = leaf_charts(given)
        names = re.findall(r">digits / (\w+)<", drawing.body)
        assert (branch, names[0], len(names)) == ("foundational", first, 2)


def test_a_coverage_line_ends_at_the_last_leaf_that_has_a_share():
    drawing = coverage_chart(full_study())
    strokes = re.findall(r'<polyline points="([^"]*)" class="stroke"', drawing.body)
    assert [len(points.split()) for points in strokes] == [2, 2]  # shares 0.7, 0.3 and none for the third leaf
    assert "1.8 effective" in drawing.body
    assert ">1/3<" in drawing.body


def test_the_funnel_counts_kept_and_dropped_and_names_the_reasons():
    page = render_report(full_study())
    assert "filter: 80 kept, 20 dropped (80.0 % kept): wrong 15; repeat_share 5" in page
    assert f"{MINUS}20: wrong 15, repeat share 5" in page
    assert '<td class="n">15.0 %</td>' in page


def test_the_audit_shows_every_scorer_with_its_intervals_the_best_first():
    nothing = dict.fromkeys((name + end for name in ("auc", "leaf_auc") for end in ("", "_low", "_high")), None)
    scorers = (scorer_audit("lab", "loss", auc=0.6), scorer_audit("lab", "vote"), scorer_audit("lab", "ifd", **nothing))
    page = render_report(dataclasses.replace(full_study(), audit=scorers))
    section = page[page.index('<section id="audit">') : page.index('<section id="samples">')]
    assert re.findall(r'<th scope="row">(\w+)</th>', section) == ["vote", "loss", "ifd"]
    assert "<span>vote tells best, AUC 0.81</span>" in section
    cells = re.findall(r'<td class="n">(.*?)</td>', section)[:6]
    ends = ["0.70 to 0.90", "0.60 to 0.85", "91.0 to 98.0", "40.0 to 60.0", "88.0 to 97.0"]
    values = ["0.81", "0.75", "95.0", "50.0", "93.0"]
    assert cells == [*(f'{value} <span class="range">({end})</span>' for value, end in zip(values, ends, strict=True)), "2 of 3"]
    assert re.findall(r'<td class="n">(.*?)</td>', section)[12:14] == [NOTHING, NOTHING]


def test_precision_at_a_cut_that_misses_the_target_is_grey():
    page = render_report(dataclasses.replace(full_study(), audit=(scorer_audit("lab", "vote", threshold=None, carried_precision=None),)))
    assert '<td class="n"><span class="quiet">95.0 <span class="range">(91.0 to 98.0)</span></span></td>' in page


def test_a_metric_with_bounds_takes_one_line_and_its_bounds_stand_in_brackets():
    table = metrics_table(full_study(), full_study().validity)
    assert table.count("<tr>") == 2
    assert '0.900 <span class="range">(0.880 to 0.920)</span>' in table


@pytest.mark.parametrize(
    ("value", "words"),
    [(None, NOTHING), (float("nan"), NOTHING), (0.01234, "0.0123"), (12.345, "12.35"), (48123.4, "48,123"), (3, "3"), (0.00001, f"1.0e{MINUS}05"), ("a", "a")],
)
def test_a_number_of_unknown_size_is_written_with_about_three_digits(value, words):
    assert plain(value) == words


def test_a_difference_that_rounds_to_nothing_has_no_sign():
    assert fixed(-0.0004, 2, signed=True) == "0.00"
    assert fixed(-1234.5, 1) == f"{MINUS}1,234.5"
    assert p_words(0.0004) == "p\u00a0<\u00a00.001"
