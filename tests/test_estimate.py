"""`espalier estimate`: the fit, the intervals and the prices by hand, and a prediction beside the run that follows it."""

import json
import re
from dataclasses import replace

import pytest

from espalier.estimate import Batches, Point, cost_of, fit, point, seconds_of, speed_of_run, sum_of, total_of
from espalier.io import read_json, read_rows
from espalier.ledger import Asked, Prediction, Range, Speed, Spent, last_steps, measured, note_step, off_line, read_prediction, total, write_prediction
from espalier.settings import Estimate
from tests.test_lineage import STEPS, reply, run, stages, start
from tests.worlds import Scripted, with_params

FREE = Estimate(0.0, 0.0, 0.0, 0.0, 0.0)
ROWS = 400


def prediction(recipe="lab", **changes):
    one = Prediction(recipe, "hf", "f", 1000, 100, 2000.0, Range(500.0, 480.0, 520.0), Range(1000.0, 900.0, 1100.0), None, 2.0, 0.5, 3.0)
    return replace(one, **changes)


def spent(step="query", *, recipe="lab", **changes):
    asked = Asked(requests=100, found=0, errors=0, prompt_tokens=300, tokens=500, fresh_tokens=500, seconds=11.0, load_s=1.0)
    return Spent(step, recipe, "hf", "f", 1000, replace(asked, **changes))


def test_two_trials_give_the_fixed_part_of_a_batch_and_the_time_of_a_token():
    # 2 = a + 100 b, 4 = a + 300 b: b = 0.01, a = 1
    assert fit(Point(1, 100, 2.0), Point(1, 300, 4.0)) == pytest.approx((1.0, 0.01))
    # 1 x 0.5 + 100 x 0.02 = 2.5, 4 x 0.5 + 300 x 0.02 = 8
    assert fit(Point(1, 100, 2.5), Point(4, 300, 8.0)) == pytest.approx((0.5, 0.02))


def test_where_the_line_would_need_a_negative_part_the_larger_trial_alone_says_it():
    assert fit(Point(1, 100, 1.0), Point(1, 300, 6.0)) == (0.0, 0.02)  # a would be -1.5
    assert fit(Point(1, 100, 4.0), Point(1, 300, 3.0)) == (3.0, 0.0)  # b would be -0.005


def test_a_trial_from_the_cache_says_nothing():
    assert fit(Point(0, 0, 0.001), Point(2, 300, 6.0)) == (0.0, 0.02)
    assert fit(Point(2, 300, 6.0), Point(0, 0, 0.001)) == (0.0, 0.02)
    with pytest.raises(ValueError, match="neither trial made a token anew"):
        fit(Point(0, 0, 0.1), Point(0, 0, 0.2))


def test_two_trials_of_one_shape_leave_all_time_to_the_tokens():
    assert fit(Point(1, 100, 2.0), Point(2, 200, 5.0)) == (0.0, 0.025)


@pytest.mark.parametrize(
    ("requests", "fresh", "rounds"),
    [(1, 1, 1), (512, 512, 1), (513, 513, 2), (2000, 2000, 4), (2001, 2001, 5), (4000, 2000, 4), (4000, 0, 0), (0.5, 0.5, 1)],
)
def test_batches_are_counted_within_chunks(requests, fresh, rounds):
    assert Batches(2000, 512).rounds(requests, fresh) == rounds


def test_a_point_leaves_loading_and_the_cache_out():
    calls = [Asked(600, 0, 0, 900, 1200, 1200, 5.0, 2.0), Asked(600, 600, 0, 900, 1200, 0, 0.25, 0.0), Asked(0, 0, 0, 0, 0, 0, 0.01, 0.0)]
    assert point(calls, Batches(2000, 512)) == Point(2, 1200, 3.26)


def test_the_total_is_the_mean_times_the_rows_with_the_interval_of_those_not_seen():
    # mean 12, s**2 = (4 + 0 + 4 + 0) / 3, t(0.975, 3) = 3.18245, 3.18245 x 1.63299 x sqrt(100 x 96 / 4) = 254.60
    found = total_of([10, 12, 14, 12], 100, confidence=0.95)
    assert (found.value, found.low, found.high) == pytest.approx((1200, 945.40, 1454.60), abs=0.01)


def test_nothing_is_uncertain_when_all_rows_were_tried():
    assert total_of([10, 12, 14, 12], 4, confidence=0.95) == Range(48, 48, 48)


def test_the_total_is_never_below_what_has_been_seen():
    assert total_of([1, 1, 1, 97], 5, confidence=0.95).low == 100


def test_every_step_that_asks_loads_the_model_once():
    # 2 steps x 3 s, (2 + 8) batches x 0.5 s, 10,000 tokens x 0.001 s
    assert seconds_of(Speed(3.0, 0.5, 0.001, "x"), [1000, 0, 4000], 10_000, Batches(2000, 512)) == pytest.approx(6 + 5 + 10)


def test_energy_and_money_by_hand():
    # 0.4 kW x 2.5 h = 1 kWh; 1 x 0.25 + 2.5 x 2 + 3 x 0.5 + 2 x 1.5 = 9.75
    assert cost_of(2.5, 3e6, 2e6, Estimate(400.0, 0.25, 2.0, 0.5, 1.5)) == pytest.approx((1.0, 9.75))
    assert cost_of(2.5, 3e6, 2e6, FREE) == (0.0, 0.0)


def test_recipes_together_add_up_and_their_intervals_add_as_squares():
    both = sum_of([prediction(), prediction("direct", tokens=Range(2000.0, 1925.0, 2075.0))])
    assert (both.rows, both.requests, both.hours, both.kwh, both.money) == (2000, 4000.0, 4.0, 1.0, 6.0)
    assert (both.tokens.value, both.tokens.low, both.tokens.high) == pytest.approx((3000, 2875, 3125))  # sqrt(100**2 + 75**2) = 125
    assert sum_of([prediction(), prediction(hours=None)]).hours is None


def test_a_run_is_measured_as_if_nothing_had_come_from_the_cache():
    # query: 11 s whole; answer: 1 + (6 - 1) / (250 / 500) = 11 s
    found = measured([spent(), spent("answer", fresh_tokens=250, seconds=6.0)])
    assert (found.rows, found.prompt_tokens, found.tokens) == (1000, 600, 1000)
    assert found.hours == pytest.approx(22 / 3600)
    assert measured([spent(), spent("answer", fresh_tokens=249)]).hours is None


def test_the_speed_of_a_run_leaves_loading_out():
    assert speed_of_run([spent(), spent("answer", load_s=3.0)]) == Speed(3.0, 0.0, (10 + 8) / 1000, "the last run")
    assert speed_of_run([spent(fresh_tokens=0)]) is None
    assert speed_of_run([]) is None


def test_the_newest_line_of_each_step_counts_and_half_a_line_is_passed_over(tmp_path):
    file = tmp_path / "runs/generation.jsonl"
    for one in (spent(), spent("answer"), spent(recipe="direct"), spent(seconds=7.0)):
        note_step(one, file=file)
    file.write_text(file.read_text() + '{"step": "answer", "rec\n[1]\n')
    assert last_steps("lab", ["query", "answer"], file=file) == [spent(seconds=7.0), spent("answer")]
    assert last_steps("lab", ["context", "query", "answer"], file=file) == []
    note_step(replace(spent("answer"), teacher="another"), file=file)
    assert last_steps("lab", ["query", "answer"], file=file) == []


def test_a_prediction_is_read_as_it_was_written(tmp_path):
    for one in (prediction(), prediction("direct", speed=Speed(1.0, 0.5, 0.25, "the trial"), hours=None)):
        write_prediction(one, folder=tmp_path)
        assert read_prediction(one.recipe, folder=tmp_path) == one
    assert read_prediction("multistage", folder=tmp_path) is None


def test_the_line_after_a_run_says_how_far_the_prediction_was_off(tmp_path):
    file = tmp_path / "generation.jsonl"
    write_prediction(prediction(hours=22 / 3600), folder=tmp_path)
    assert off_line("lab", ["query", "answer"], file=file, folder=tmp_path) == ""
    for one in (spent(), spent("answer", tokens=600, fresh_tokens=600)):
        note_step(one, file=file)
    assert off_line("lab", ["query", "answer"], file=file, folder=tmp_path) == (
        "estimate: lab took 1,000 rows of 1,000 predicted, 1,100 tokens instead of 1,000 (1.10 x), 0.00611 hours instead of 0.00611 (1.00 x)"
    )
    note_step(spent("answer", fresh_tokens=0), file=file)
    assert off_line("lab", ["query", "answer"], file=file, folder=tmp_path).endswith(", hours not measured, most came from the cache")
    assert off_line("direct", ["query"], file=file, folder=tmp_path) == ""


def test_no_call_is_no_time():
    assert total([]) == Asked()


@pytest.fixture
def world(tmp_path, monkeypatch):
    """The tiny world of the tests, with 400 rows and prices."""
    start(tmp_path, monkeypatch)
    file = tmp_path / "params.yaml"
    prices = {"estimate.power_w": "1000", "estimate.price_kwh": "0.5", "estimate.price_million_tokens": "2"}
    file.write_text(with_params(file.read_text(), {"plan.rows": str(ROWS), **prices}))
    return tmp_path


def estimate(patch, teacher, *arguments):
    patch.setattr("espalier.teachers.ask.open_teacher", lambda engine, folder, **settings: teacher)
    code, out, err = run("estimate", *arguments)
    assert code == 0, err
    return out.splitlines(), err


@pytest.mark.parametrize("recipe", ["direct", "conditional", "multistage", "lab"])
def test_the_tokens_of_the_run_lie_in_the_predicted_interval_and_the_trial_is_not_asked_again(world, monkeypatch, recipe):
    tried, later = Scripted(reply), Scripted(reply)
    lines, err = estimate(monkeypatch, tried, "-n", 64, "--recipe", recipe)
    told = read_json(f"runs/estimate/{recipe}.json")
    assert [line.split()[0] for line in lines] == ["recipe", recipe]
    assert re.search(rf"estimate: {recipe}: [\d,]+ requests anew, [\d.]+ s to load, [\d.e-]+ s a batch, [\d.e-]+ s a token\n", err)
    stages(["plan", *STEPS], recipe, later)
    assert set(tried.asked) & set(later.asked) == set()
    rows = read_rows(f"data/answer/{recipe}/rows.parquet")
    assert told["tokens"]["low"] <= rows["spent_tokens"].sum() <= told["tokens"]["high"]
    assert told["tokens"]["high"] < 1.5 * told["tokens"]["value"]
    asked = [json.loads(line)["asked"] for line in (world / "runs/generation.jsonl").read_text().splitlines()]
    assert sum(one["tokens"] for one in asked) == rows["spent_tokens"].sum()
    assert told["prompt_tokens"]["low"] <= sum(one["prompt_tokens"] for one in asked) <= told["prompt_tokens"]["high"]
    assert sum(one["requests"] for one in asked) == pytest.approx(told["requests"], rel=0.1)
    assert sum(one["requests"] - one["found"] for one in asked) == len(later.asked)
    assert told["kwh"] == pytest.approx(told["hours"])  # 1 kW
    assert told["money"] == pytest.approx(0.5 * told["kwh"] + 2e-6 * told["tokens"]["value"])


def test_check_prints_run_and_prediction_side_by_side(world, monkeypatch):
    assert run("estimate", "--check", "--recipe", "lab")[::2] == (
        3,
        "espalier: runs/estimate/lab.json: no such file; make it with `espalier estimate --recipe lab`\n",
    )
    estimate(monkeypatch, Scripted(reply), "-n", 40, "--recipe", "lab")
    assert run("estimate", "--check", "--recipe", "lab")[::2] == (
        3,
        "espalier: runs/generation.jsonl: holds no whole run of lab; make one with `dvc repro answer@lab`\n",
    )
    stages(["plan", *STEPS], "lab", Scripted(reply))
    code, out, _ = run("estimate", "--check", "--recipe", "lab")
    head, line = (row.split() for row in out.splitlines())
    assert (code, head) == (0, ["recipe", "rows", "predicted", "ratio", "tokens", "predicted", "ratio", "hours", "predicted", "ratio"])
    assert line[:5] == ["lab", "400", "400", "1.00", "x"]
    assert float(line[7]) == pytest.approx(1, abs=0.2)


def test_an_estimate_of_the_study_has_a_line_for_each_recipe_and_their_sum(world, monkeypatch):
    lines, _ = estimate(monkeypatch, Scripted(reply), "-n", 16)
    assert [line.split()[0] for line in lines] == ["recipe", "direct", "conditional", "multistage", "lab", "all"]
    assert [line.split()[1] for line in lines[1:]] == ["400", "400", "400", "400", "1,600"]


def test_a_trial_from_the_cache_takes_its_speed_from_an_earlier_estimate_and_then_from_the_run(world, monkeypatch):
    estimate(monkeypatch, Scripted(reply), "-n", 32, "--recipe", "direct")
    first = read_json("runs/estimate/direct.json")
    _, err = estimate(monkeypatch, None, "-n", 32, "--recipe", "direct")
    assert "estimate: direct: the whole trial came from the cache, its speed is that of an earlier estimate\n" in err
    again = read_json("runs/estimate/direct.json")
    assert (again["tokens"], again["speed"]["token_s"]) == (first["tokens"], first["speed"]["token_s"])
    stages(["plan", *STEPS], "direct", Scripted(reply))
    _, err = estimate(monkeypatch, None, "-n", 32, "--recipe", "direct")
    assert "its speed is that of the last run\n" in err


def test_without_any_known_speed_the_tokens_are_told_and_the_hours_are_not(world, monkeypatch):
    estimate(monkeypatch, Scripted(reply), "-n", 32, "--recipe", "direct")
    (world / "runs/estimate/direct.json").unlink()
    lines, err = estimate(monkeypatch, None, "-n", 32, "--recipe", "direct")
    assert "and no speed of an earlier run is known: try more rows with -n\n" in err
    assert lines[1].split()[-3:] == ["-", "-", "-"]


def test_the_step_of_a_real_run_says_how_far_the_estimate_was_off(world, monkeypatch):
    import importlib

    from click.testing import CliRunner

    estimate(monkeypatch, Scripted(reply), "-n", 32, "--recipe", "direct")
    stages(["plan", "context", "query", "evolve"], "direct", Scripted(reply))
    said = CliRunner().invoke(importlib.import_module("stages.answer").main, ["direct"]).stderr
    assert re.search(
        r"\nestimate: direct took 400 rows of 400 predicted, [\d,]+ tokens instead of [\d,]+ \([01]\.\d\d x\), [\d.e-]+ hours instead of [\d.e-]+ \([\d.]+ x\)\n", said
    )
