"""Scales, labels and colours of the report's drawings."""


import pytest

from espalier.report.charts import coverage_chart
from espalier.report.svg import Scale, cut, log_ticks, spread, svg, ticks
from espalier.report.theme import DARK, LIGHT
from tests.report_values import full_study


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
