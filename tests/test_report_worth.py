"""What the report says of costs and of k(loss)."""

import dataclasses
import re

from espalier.report import (
    render_report,
)
from espalier.report.worth import worth_chart
from tests.report_values import full_study, k_points, recipe_cost


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
