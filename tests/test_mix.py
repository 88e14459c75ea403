import polars as pl
import pytest

from espalier.errors import BudgetError, ParamsError
from espalier.mix import mix_metrics, mix_rows


def rows(n, *, recipe="lab"):
    return pl.DataFrame({"id": [f"r{i:04}" for i in range(n)], "recipe": [recipe] * n, "delivered_leaf": ["a", "b"] * (n // 2), "verdict": ["right"] * n})


def counts(n):
    """5 to 24 tokens a row, in no order."""
    return [5 + 7 * i % 20 for i in range(n)]


def mix(n, budget, *, seed=1, allow_short=False):
    return mix_rows(rows(n), budget_tokens=budget, token_counts=counts(n), seed=seed, allow_short=allow_short)


@pytest.mark.parametrize("budget", [24, 100, 1000, 5000])
def test_the_budget_is_filled_to_within_one_row_and_never_exceeded(budget):
    tokens = mix(1000, budget)["tokens"].sum()
    assert budget - 24 < tokens <= budget


def test_a_budget_of_all_tokens_takes_all_rows():
    assert mix(100, sum(counts(100)))["id"].to_list() == rows(100)["id"].to_list()


def test_a_bigger_budget_keeps_the_rows_of_a_smaller_one():
    ids = [set(mix(1000, budget)["id"]) for budget in (100, 101, 117, 1000, 5000)]
    assert all(small <= big for small, big in zip(ids, ids[1:], strict=False))


def test_rows_are_chosen_by_seed_and_id_alone():
    frame, tokens = rows(200), counts(200)
    backwards = mix_rows(frame.reverse(), budget_tokens=900, token_counts=tokens[::-1], seed=1, allow_short=False)
    assert backwards.equals(mix(200, 900))
    assert set(mix(200, 900, seed=2)["id"]) != set(mix(200, 900)["id"])


def test_each_row_keeps_its_own_token_count():
    mixed = mix(200, 900)
    assert mixed["tokens"].to_list() == [counts(200)[int(row_id[1:])] for row_id in mixed["id"]]


def test_a_recipe_that_is_too_small_says_so_by_name_and_what_to_do():
    with pytest.raises(BudgetError, match=r"recipe lab has 125 tokens after filtering, mix.budget_tokens wants 1,000; raise plan.rows, .* or set mix.allow_short"):
        mix(10, 1000)
    assert 125 == 10 * 5 + (0 + 7 + 14 + 1 + 8 + 15 + 2 + 9 + 16 + 3)


def test_a_recipe_that_is_too_small_is_taken_whole_when_allowed():
    assert mix(10, 1000, allow_short=True).height == 10


@pytest.mark.parametrize("budget", [0, -1])
def test_a_budget_of_nothing_is_refused(budget):
    with pytest.raises(ParamsError, match=f"mix.budget_tokens is {budget}; it must be at least 1"):
        mix(10, budget)


@pytest.mark.parametrize(("n", "budget", "allow_short"), [(0, 10, True), (10, 1, True)])
def test_an_empty_mix_is_an_error_even_when_short_is_allowed(n, budget, allow_short):
    with pytest.raises(BudgetError, match=f"not one of its {n} rows"):
        mix(n, budget, allow_short=allow_short)


def test_the_metrics_say_how_full_and_how_diverse_the_mix_is():
    frame = pl.DataFrame({"id": ["x", "y"], "recipe": ["lab", "lab"], "delivered_leaf": ["a", "b"], "verdict": ["right", "wrong"]})
    mixed = mix_rows(frame, budget_tokens=50, token_counts=[20, 20], seed=1, allow_short=True)
    assert mix_metrics(mixed, budget_tokens=50) == {
        "rows": 2, "tokens": 40, "filled_share": 0.8, "tokens_per_row": 20.0, "right_share": 0.5, "effective_leaves": pytest.approx(2.0),
    }  # fmt: skip
