"""The world general: elimination, and problems and evolutions that need no teacher."""

import json

import polars as pl
import pytest

from espalier.evolve import evolve_queries
from espalier.general import General
from espalier.generate import Sampling, start_rows, write_queries
from espalier.prompts import Prompt
from espalier.replies import parse_contract
from espalier.settings import Gen
from tests.test_generate import plan
from tests.worlds import Scripted

PARENT = "How many metres of fence go round a bed of 12 by 7 metres?"
SAMPLING = Sampling(Gen(0.7, 0.9, 16, 1, 4, 0.7, 10, 0, 0.0, ""), 42)
CONTRACT = {"kind": "tags", "optional": ["solution"], "gates": ["refusal", "leak", "says_nothing"]}
EVOLVE = Prompt("evolve.t", "evolve", (), ("query",), (("user", "{{ query }}"),), parse_contract(CONTRACT, step="evolve", banned=(), file=""))
QUERY = Prompt("query.t", "query", (), ("task",), (("user", "{{ task }}"),), parse_contract(CONTRACT, step="query", banned=(), file=""))


def world(verifier="math", checks="[]"):
    leaves = pl.DataFrame({"leaf": ["a/b/c"], "branch": ["knowledge"], "verifier": [verifier], "checks": [checks]})
    seeds = pl.DataFrame({"leaf": ["a/b/c"], "context": [""], "query": [PARENT], "answer": ["38"], "held_out": [False]})
    return General(leaves, seeds)


def rows(n, **columns):
    """Rows with a problem; columns: what else they hold."""
    return start_rows(plan(n)).with_columns(pl.lit(PARENT).alias("query"), pl.lit("2 * (12 + 7)").alias("solution"), *(pl.lit(v).alias(k) for k, v in columns.items()))


def evolved(table, reply, operations):
    teacher = Scripted(reply)
    return evolve_queries(table, EVOLVE, operations, SAMPLING, teacher.generate, world=world()), teacher


def test_a_row_that_asked_for_a_leaf_counts_as_that_leaf_and_another_is_placed_by_its_words():
    asked, free = rows(1, leaf="x/y/z").row(0, named=True), rows(1, leaf="").row(0, named=True)
    assert (world().verify(asked).leaf, world().verify(free).leaf) == ("x/y/z", "a/b/c")


@pytest.mark.parametrize(
    ("operation", "child", "reason"),
    [
        ("deepen", f"{PARENT} Please.", "no information gain"),
        ("deepen", f"{PARENT} One gate of 2 metres stays open.", None),
        ("reason", "How many metres of fence go round it, if a bed is of 12 by 7?", "no information gain"),
        ("reason", "How many posts does the fence of a bed of 12 by 7 metres take?", None),
        ("widen", "How many metres of hedge go round a bed of 12 by 7 metres?", "no other task"),
        ("widen", "Which fence lasts longer, of larch or of spruce?", None),
        ("constrain", "I'm sorry, but I cannot rewrite this.", "refused"),
        ("constrain", f"{PARENT} I'm sorry that my plan is wet; give the sum first.", None),
        ("constrain", f"The rewritten task: {PARENT} Show steps.", "leaks the prompt: rewritten task"),
        ("constrain", f"The rewritten letter: {PARENT} Show steps.", None),
        ("concretize", "What is it that you would do?", "says nothing"),
    ],
)
def test_elimination_drops_a_child_for_its_reason_and_keeps_its_neighbour(operation, child, reason):
    assert world().gain({"context": "", "query": PARENT}, child, operation) == reason


@pytest.mark.parametrize(
    ("reply", "reason"),
    [
        ("no tag", "the reply has no <query>"),
        ("<query>I can't help with that.</query>", "refused"),
        (f"<query>{PARENT}</query>", "no information gain"),
        ("<query>of the , and !</query>", "says nothing"),
    ],
)
def test_an_eliminated_child_gives_the_parent_back_with_its_solution(reply, reason):
    table, _ = evolved(rows(1), lambda request: reply, ("deepen",))
    first = table.row(0, named=True)
    assert (first["query"], first["solution"], first["operation"], first["eliminated"]) == (PARENT, "2 * (12 + 7)", "", f"deepen: {reason}")


@pytest.mark.parametrize(("solution", "kept"), [("<solution>2 * (12 + 7) - 2</solution>", "2 * (12 + 7) - 2"), ("", "")])
def test_a_child_has_its_own_solution_or_none_and_never_its_parents(solution, kept):
    child = f"{PARENT} One gate of 2 metres stays open."
    table, _ = evolved(rows(1, context="A plan."), lambda request: f"<query>{child}</query>{solution}", ("deepen",))
    assert table.select("context", "query", "solution", "operation").row(0) == ("A plan.", child, kept, "deepen")


def test_the_world_constrains_by_itself_and_adds_the_check_that_the_query_asks_for():
    table, teacher = evolved(rows(6, verifier="math", checks="[]"), lambda request: "never asked", ("constrain",))
    assert teacher.asked == []
    for row in table.iter_rows(named=True):
        (added,) = json.loads(row["checks"])
        assert row["query"].startswith(f"{PARENT} ")
        assert (row["solution"], row["operation"], row["spent_tokens"]) == ("2 * (12 + 7)", "constrain", 0)
        assert added["kind"]
    assert len(set(table["checks"])) > 1
    again, _ = evolved(rows(6, verifier="math", checks="[]"), lambda request: "never asked", ("constrain",))
    assert again.equals(table)


def test_a_second_constraint_stands_beside_the_first_and_a_leaf_without_a_verifier_asks_the_teacher():
    first = '[{"kind": "max_words", "n": 40}]'
    table, _ = evolved(rows(1, verifier="checks", checks=first), lambda request: "never asked", ("constrain",))
    taken, added = json.loads(table["checks"][0])
    assert (taken, added["kind"] != "max_words") == ({"kind": "max_words", "n": 40}, True)
    table, teacher = evolved(rows(1, verifier=""), lambda request: f"<query>{PARENT} Answer in rhyming verse.</query>", ("constrain",))
    assert (len(teacher.asked), table["query"][0]) == (1, f"{PARENT} Answer in rhyming verse.")


def test_the_world_poses_the_problems_of_its_gym_leaves_and_the_teacher_those_of_the_others(monkeypatch):
    monkeypatch.setattr("espalier.general.gym_examples", lambda task, *, n, seed, level: [(f"{task} of level {level}?", "7", f"entry {seed}")])
    table = start_rows(plan(2)).with_columns(pl.Series("verifier", ["gym:count_bits", "math"]))
    teacher = Scripted(lambda request: "<query>What is 3 + 4?</query><solution>3 + 4</solution>")
    made = write_queries(table, QUERY, SAMPLING, teacher.generate, pose=lambda row: world().pose(row, seed=42))
    gym, math = made.sort("index").iter_rows(named=True)
    assert (gym["query"], gym["solution"].split()[0], gym["spent_tokens"]) == ("count_bits of level 1?", "entry", 0)
    assert (math["query"], math["solution"]) == ("What is 3 + 4?", "3 + 4")
    assert [request.messages for request in teacher.asked] == [(("user", "task 1"),)]


def test_a_gym_leaf_is_deepened_without_a_teacher_where_a_harder_problem_can_be_made(monkeypatch):
    table = rows(2).with_columns(pl.lit("gym:count_bits").alias("verifier"), pl.Series("solution", ["easy", "hardest"]))
    monkeypatch.setattr("espalier.general.deepen", lambda task, entry: ("a harder one?", "9", "hard") if entry == "easy" else None)
    made, teacher = evolved(table, lambda request: f"<query>{PARENT} One gate of 2 metres stays open.</query>", ("deepen",))
    assert set(made["query"]) == {"a harder one?", f"{PARENT} One gate of 2 metres stays open."}
    assert len(teacher.asked) == 1


@pytest.mark.parametrize(
    ("verifier", "answer", "said"),
    [
        ("math", "12 + 7 = 19, twice that is 38 metres.", "38"),
        ("math", "The answer is $38.00.", "38"),
        ("math", "Sum first: 19. So the answer is 19/2.", "19/2"),
        ("math", "I cannot tell.", "i cannot tell."),
        ("choice", ' "B". ', "b"),
        ("", "It grew. The answer is 1,200 loaves.", "1200"),
        ("", "The answer is Rye.", "rye"),
        ("checks", "All  of 12 loaves\nare Rye.", "all of 12 loaves are rye."),
        ("gym:leg_counting", "#### 14", "14"),
        ("math", "  \n ", ""),
        ("choice", "...", ""),
        ("", "", ""),
    ],
)
def test_what_an_answer_says_is_its_choice_its_number_what_it_marks_or_its_words(verifier, answer, said):
    assert world().read_answer({"verifier": verifier}, answer) == said
