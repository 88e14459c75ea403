"""The report: what it says, that hostile text stays text, that it loads nothing, and that gaps in a study leave no holes."""

import dataclasses
import re
from html.parser import HTMLParser
from xml.etree import ElementTree

import pytest

from espalier import audit, compare, costs, worth
from espalier.report import (
    FunnelRow,
    LeafAccuracy,
    LeafShare,
    LossPoint,
    RecipeCost,
    Result,
    Sample,
    ScorerAudit,
    SizePoint,
    SplitAccuracy,
    Study,
    Worth,
    render_report,
    result_figure,
)
from espalier.report.charts import coverage_chart
from espalier.report.leaves import leaf_charts
from espalier.report.study import recipes_of
from espalier.report.svg import Scale, cut, escape, log_ticks, spread, svg, ticks
from espalier.report.tables import metrics_table
from espalier.report.theme import DARK, LIGHT
from espalier.report.words import MINUS, NOTHING, fixed, headline, p_words, plain
from espalier.report.worth import worth_chart

HOSTILE = "<script>alert('x')</script><img src=\"https://evil.example/a.png\" onerror=alert(1)> & \u202e\x00\ud800 end"


def result(recipe, weighting, verdict, *, outcome="accuracy", difference=0.1, **changes):
    row = Result(
        recipe=recipe, outcome=outcome, weighting=weighting, n_items=540, n_leaves=54, n_seeds=3, mean=0.6, mean_low=0.5, mean_high=0.7,
        difference=difference, low=difference - 0.05, high=difference + 0.05, p=0.01, p_holm=0.02, effect=0.8, mdd=0.07, verdict=verdict,
    )
    return dataclasses.replace(row, **changes)


def baseline(weighting):
    return result("direct", weighting, "baseline", low=None, high=None, p=None, p_holm=None, effect=None, mdd=None)


def verdicts(**pairs):
    """A study in which every named arm has this pair of verdicts: macro, natural."""
    rows = [baseline("macro"), baseline("natural")]
    for recipe, (macro, natural) in pairs.items():
        rows += [result(recipe, "macro", macro), result(recipe, "natural", natural)]
    return Study(title="t", commit="c", baseline="direct", confidence=0.95, results=tuple(rows))


def scorer_audit(recipe, scorer, **changes):
    row = ScorerAudit(
        recipe=recipe, scorer=scorer, rows=90, right=60, leaves=3, leaves_both=2, threshold=0.5, cut=0.5, auc=0.8125, auc_low=0.7, auc_high=0.9, precision=0.95,
        precision_low=0.91, precision_high=0.98, recall=0.5, recall_low=0.4, recall_high=0.6, leaf_auc=0.75, leaf_auc_low=0.6, leaf_auc_high=0.85,
        carried_precision=0.93, carried_precision_low=0.88, carried_precision_high=0.97,
    )  # fmt: skip
    return dataclasses.replace(row, **changes)


def recipe_cost(recipe, **changes):
    return dataclasses.replace(RecipeCost(recipe, 160_000, 1.79e12, 2e6, 4e5, 2.1e12, 3.89e12, 1.0, 1.0, 1.0, True, True, True), **changes)


def sizes(*recipes):
    shares = (0.25, 0.5, 1.0)
    return tuple(SizePoint(r, seed, share, int(160_000 * share), 2 - share + seed / 100, 1.9 - share) for r in recipes for seed in (1, 2) for share in shares)


def k_points(recipe, ks, *, weighting="macro", **changes):
    losses = [1.6 - 0.2 * place for place in range(len(ks))]
    return tuple(
        dataclasses.replace(Worth(recipe, weighting, loss, 40_000 * 2**place, k, 0.8 * k, 1.3 * k, False, 3), **changes)
        for place, (loss, k) in enumerate(zip(losses, ks, strict=True))
    )


def full_study():
    leaves = [
        ("foundational/digits/largest", "foundational", 1), ("foundational/digits/smallest", "foundational", 2),
        ("knowledge/people/home", "knowledge", 3),
    ]
    recipes = ("direct", "lab")
    return dataclasses.replace(
        verdicts(lab=("better", "within noise")),
        title="a study", commit="3f2a91c", params={"gen.temperature": 0.7},
        leaves=tuple(LeafAccuracy(r, leaf, branch, rank, 0.5, 1.0, 10) for r in recipes for leaf, branch, rank in leaves),
        splits=tuple(SplitAccuracy(r, split, 0.5, 1.0, 10, 3) for r in recipes for split in ("difficulty", "key")),
        losses=tuple(LossPoint(r, seed, tokens, 3.0 - tokens / 1000) for r in recipes for seed in (1, 2) for tokens in (100, 500, 1000)),
        coverage=tuple(LeafShare(r, leaf, share) for r in recipes for (leaf, _, _), share in zip(leaves, (0.7, 0.3, 0.0), strict=True)),
        effective_leaves={"direct": 1.84, "lab": 1.84}, n_leaves=3,
        funnel=(FunnelRow("lab", "filter", "", 80), FunnelRow("lab", "filter", "wrong", 15), FunnelRow("lab", "filter", "repeat_share", 5)),
        audit=(scorer_audit("lab", "vote"),),
        samples=(Sample("lab", leaves[0][0], "mix", "", "", "list : 4 9", "9"), Sample("lab", leaves[0][0], "filter", "wrong", "", "list : 4 9", "4")),
        validity={"lab": {"valid_share": 0.9, "valid_share_low": 0.88, "valid_share_high": 0.92}},
        diversity={"direct": {"effective_leaves": 1.84}}, costs={"lab": {"energy_wh": None}},
        recipe_costs=(recipe_cost("direct"), recipe_cost("lab", total_flops=5.2e12, total_flops_ratio=1.337, equal_total_flops=False)),
        sizes=sizes("direct", "lab"), worth=k_points("lab", (1.5, 2.0, 2.5)) + k_points("lab", (1.2, 1.3, 1.4), weighting="natural"),
    )


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


def section(page, name):
    return page[page.index(f'<section id="{name}">') :].split("</section>")[0]


def test_a_card_says_of_all_three_costs_whether_they_are_equal():
    page = render_report(full_study())
    words = "tokens of text: equal, 1.000 \u00d7; training FLOPs: equal, 1.000 \u00d7; total FLOPs: NOT equal, 1.337 \u00d7"
    assert f'<p class="step range">{words}</p>' in page
    unknown = dataclasses.replace(full_study(), recipe_costs=(recipe_cost("direct"), recipe_cost("lab", total_flops=None, total_flops_ratio=None, equal_total_flops=None)))
    assert "training FLOPs: equal, 1.000 \u00d7; total FLOPs: not known</p>" in render_report(unknown)


def test_the_costs_stand_under_the_results_with_their_ratios_to_the_baseline():
    cells = re.findall(r'<td class="n">(.*?)</td>', section(render_report(full_study()), "results").split("Equal in what?")[1])
    assert cells[:5] == ["160,000", "1.79e12", "2,000,000", "400,000", "3.89e12"]
    assert cells[5] == '160,000 <span class="range">(equal, 1.000 \u00d7)</span>'
    assert cells[9] == '5.20e12 <span class="range">(NOT equal, 1.337 \u00d7)</span>'


def test_k_at_the_lowest_loss_stands_in_the_table_with_its_interval_on_both_weightings():
    found = section(render_report(full_study()), "worth")
    assert re.findall(r'<td class="n">(.*?)</td>', found) == [
        "1.200", "160,000", '2.50 <span class="range">(2.00 to 3.25)</span>', "1.200", "160,000", '1.40 <span class="range">(1.12 to 1.82)</span>',
    ]


def test_a_bound_is_written_with_a_greater_than_drawn_as_an_open_triangle_and_left_out_of_the_line():
    study = full_study()
    last = dataclasses.replace(study.worth[2], is_bound=True, high=float("inf"))
    bound = dataclasses.replace(study, worth=(*study.worth[:2], last, *study.worth[3:]))
    page = section(render_report(bound), "worth")
    assert '&gt; 2.50 <span class="range">(2.00 to no end)</span>' in page
    drawing = worth_chart(bound).body
    assert [len(points.split()) for points in re.findall(r'<polyline points="([^"]*)" class="stroke"', drawing)] == [2]
    assert len(re.findall(r'<polygon points="[^"]*" class="open"', drawing)) == 1
    assert "k &gt; 2.50 at 1.20" in drawing
    assert len(re.findall(r'<polygon points="[^"]*" class="open"', worth_chart(study).body)) == 0


def test_the_interval_of_k_is_drawn_inside_the_plot_even_without_an_end():
    endless = dataclasses.replace(full_study(), worth=k_points("lab", (1.5, 2.0, 2.5), low=0.0, high=float("inf")))
    [band] = re.findall(r'<polygon points="([^"]*)" class="band"', worth_chart(endless).body)
    heights = [float(point.split(",")[1]) for point in band.split()]
    assert len(heights) == 6
    assert 14 <= min(heights) < max(heights) <= 276


def test_k_from_one_seed_says_so_beside_its_interval():
    found = section(render_report(dataclasses.replace(full_study(), worth=k_points("lab", (1.5, 2.0), n_seeds=1))), "worth")
    assert '2.00 <span class="range">(1.60 to 2.60, one seed)</span>' in found


def test_a_recipe_that_reaches_no_loss_of_the_baseline_says_so_in_the_table():
    found = section(render_report(dataclasses.replace(full_study(), worth=())), "worth")
    assert found.count("less than its text: it reaches none of the losses") == 2
    assert "needs so many times the text" not in found


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


def test_ticks_are_round_numbers_inside_the_range():
    assert ticks(-0.13, 0.31, at_most=5) == [-0.1, 0.0, 0.1, 0.2, 0.3]
    assert log_ticks(0.0004, 0.3) == pytest.approx([0.001, 0.01, 0.1])


def test_a_scale_places_its_ends_and_the_middle_of_a_log_axis_is_the_geometric_mean():
    assert [Scale(0, 10, 100, 200)(value) for value in (0, 5, 10)] == [100, 150, 200]
    assert Scale(1, 100, 0, 50, is_log=True)(10) == pytest.approx(25)


def test_labels_that_would_collide_move_apart_and_stay_inside():
    assert spread([50.0, 52.0, 51.0], gap=10, low=0, high=60) == [40.0, 60.0, 50.0]
    assert spread([10.0, 40.0], gap=10, low=0, high=60) == [10.0, 40.0]


def test_a_long_name_is_cut_and_a_name_that_fits_is_not():
    assert cut("multistage", 10) == "multistage"
    assert cut("multistages", 10) == "multistag\u2026"


def luminance(colour):
    channels = [int(colour[i : i + 2], 16) / 255 for i in (1, 3, 5)]
    linear = [c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in channels]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]


@pytest.mark.parametrize("colours", [LIGHT, DARK])
def test_every_mark_has_a_contrast_of_3_and_every_text_of_4_and_a_half_on_its_ground(colours):
    # WCAG 2.2, 1.4.11 for graphics and 1.4.3 for text: (lighter + 0.05) / (darker + 0.05)
    for ground in ("paper", "raised"):
        for name in ("ink", "muted", "better", "worse", *(f"r{i}" for i in range(8))):
            low, high = sorted((luminance(colours[name]), luminance(colours[ground])))
            assert (high + 0.05) / (low + 0.05) >= (3 if name.startswith("r") else 4.5), (name, ground)


def test_a_drawing_in_a_page_fills_its_column_and_in_a_file_has_a_size():
    drawing = coverage_chart(full_study())
    assert 'width="' not in svg(drawing).split(">")[0]
    assert 'width="430" height="320"' in svg(drawing, style="a{}").split(">")[0]
