"""The world `general` end to end: every stage, as it is run by dvc, on the shipped seed tree, prompts and recipes, with a teacher behind an endpoint on loopback.

The teacher is a script, not a model: it keeps to the contract of whatever prompt it is shown, and writes words by the request's seed. So this proves the wiring
of stages, prompts, verifiers, exam and report, and nothing about models.
"""

import importlib
import json
import random
import re
from dataclasses import replace

import polars as pl
import pytest
from click.testing import CliRunner
from ruamel.yaml import YAML

from espalier import ranges, sizes
from espalier.cli import cli
from tests.closure import ROOT
from tests.misbehaving import Answer, Misbehaving, whole
from tests.test_chat import hub_folder
from tests.worlds import with_params

RECIPES = ("direct", "lab", "multistage", "selfinstruct", "verbalized", "rephrase")
COMPARED = ("direct", "lab")
SIZES = {
    "plan.rows": "40",
    "gen.answers": "2",
    "gen.round_rows": "20",
    "gen.second_answers": "1",
    "gen.round_trip": "query.roundtrip",
    "filter.min_words": "1",
    "mix.budget_tokens": "300",
    "tokens.context_tokens": "1024",
    "train.size": "tiny",
    "train.precision": "fp32",
    "train.optimizer.tokens": "2048",
    "train.optimizer.batch_tokens": "1024",
    "compare.draws": "100",
    "evaluate.max_tokens": "4",
    "exam.held_out_examples": "1",
    "server.model": "m",
    "teacher.engine": "server",
}
WORDS = [f"{a}{b}" for a in ("ba", "do", "fi", "ku", "le", "mo", "na", "ri", "su", "ta") for b in ("lo", "mi", "ner", "pak", "sit", "ver", "zan")]


def teacher(asked):
    """A reply in the form that the prompt asks for."""
    content = asked.body["messages"][-1]["content"]
    draw = random.Random(asked.seed)
    text = " ".join(draw.choice(WORDS) for _ in range(9))
    one, other = draw.randrange(2, 99), draw.randrange(2, 99)
    if "probabilit" in content:
        said = json.dumps([{"text": f"Say {i} of {text}.", "probability": 0.2} for i in range(5)])
    elif "<context>" in content:
        said = f"<context>The {text}. It has {one} doors.</context>"
    elif "<solution>" in content and "arithmetic" in content:
        said = f"<query>A box of {text} holds {one} and {other} more. How many are that?</query><solution>{one} + {other}</solution>"
    elif "<query>" in content:
        said = f"<query>Tell of {text}.</query>" + ("<solution>yes</solution>" if "<solution>" in content else "")
    elif found := re.search(r"holds (\d+) and (\d+) more", content):
        said = f"The answer is {int(found[1]) + int(found[2]) + (draw.random() < 0.2)}."
    else:
        said = f"The {text} is here."
    body = whole(asked.seed)
    body["choices"][0]["message"]["content"] = said
    return Answer(body=json.dumps(body).encode())


def stage(name, *arguments):
    result = CliRunner().invoke(importlib.import_module(f"stages.{name}").main, list(arguments))
    assert result.exit_code == 0, f"{name}: {result.output[-2000:]}"


@pytest.fixture(scope="module")
def study(tmp_path_factory):
    """The folder of a whole run."""
    folder = tmp_path_factory.mktemp("general")
    (folder / "data").mkdir()
    (folder / "data/seeds").symlink_to(ROOT / "data/seeds")
    (folder / "params.yaml").write_text((ROOT / "params.yaml").read_text())
    hub_folder(folder / "tokenizer")
    with pytest.MonkeyPatch.context() as patch, Misbehaving(teacher) as endpoint:
        patch.chdir(folder)
        patch.setenv("ESPALIER_CACHE", str(folder / "cache.sqlite"))
        patch.setitem(ranges.CONTEXTS, "tiny", 1024)
        patch.setitem(sizes.SIZES, "tiny", replace(sizes.SIZES["tiny"], context_tokens=1024))  # a student that sees the samples and is quick to train
        applied = CliRunner().invoke(cli, ["profile", "apply", "general", "--teacher", str(folder / "tokenizer")])
        assert applied.exit_code == 0, applied.output
        text = (folder / "params.yaml").read_text().replace("http://127.0.0.1:8000/v1", endpoint.url)
        (folder / "params.yaml").write_text(with_params(text, SIZES))
        for name in ("taxonomy", "exam", "teacher"):
            stage(name)
        for recipe in RECIPES:
            for name in ("plan", "context", "query", "evolve", "answer", "score", "audit", "filter", "dedup", "decontaminate", "mix", "tokens", "diversity"):
                stage(name, recipe)
        for recipe in COMPARED:
            for name in ("train", "evaluate"):
                stage(name, recipe, "1")
        yield folder


def rows(study, step, recipe, name="rows"):
    return pl.read_parquet(study / "data" / step / recipe / f"{name}.parquet")


def test_every_recipe_fills_its_budget_from_whole_rows(study):
    for recipe in RECIPES:
        answers = rows(study, "answer", recipe)
        assert answers.height == 40
        assert (answers["status"] == "ok").mean() > 0.9, recipe
        assert json.loads((study / f"metrics/mix/{recipe}.json").read_text())["mix"][recipe]["filled_share"] > 0.5


def test_answers_of_math_leaves_are_checked_against_the_value_of_their_expressions(study):
    math = rows(study, "score", "lab").filter((pl.col("verifier") == "math") & (pl.col("status") == "ok"))
    right = [answer == f"The answer is {eval(solution)}." for answer, solution in math.select("answer", "solution").iter_rows()]  # of our own digits
    assert math.height > 3
    assert math["verdict"].to_list() == ["right" if one else "wrong" for one in right]


def test_no_held_out_example_is_shown_to_a_teacher_and_all_are_exam_items(study):
    items = pl.read_parquet(study / "data/exam/items.parquet")
    seeds = pl.read_parquet(study / "data/taxonomy/seeds.parquet")
    held = seeds.filter("held_out")
    assert sorted(items["query"]) == sorted(held["query"])
    shown = rows(study, "plan", "lab")["examples"].str.join("\n").item()
    assert not any(json.dumps(query, ensure_ascii=False)[1:-1] in shown for query in held["query"])
    assert items["leaf"].n_unique() == seeds["leaf"].n_unique()


def test_every_whole_row_has_a_second_answer_and_a_question_asked_back_and_its_scores_lie_in_their_ranges(study):
    for recipe in RECIPES:
        scored = rows(study, "score", recipe)
        whole = scored.filter(pl.col("status") == "ok")
        assert set(whole["second_answers"].list.len()) == {1}
        assert whole["asked_back"].str.len_chars().min() > 5
        assert whole["round_trip"].is_between(0, 1).all()
        assert set(whole["temperature_agreement"]) <= {0.0, 1.0}
        assert scored.filter(pl.col("status") != "ok")["round_trip"].null_count() == scored.height - whole.height
        assert scored["answer_loss"].null_count() == scored["learned"].null_count() == scored.height  # off in the profile, and no labels
        numbers = json.loads((study / f"metrics/score/{recipe}.json").read_text())["score"][recipe]
        assert numbers["round_trip_mean"] == pytest.approx(whole["round_trip"].mean())


def test_answers_vote_by_the_number_that_they_end_with(study):
    math = rows(study, "score", "lab").filter((pl.col("verifier") == "math") & (pl.col("status") == "ok"))
    for answers, share in math.select("answers", "vote_share").iter_rows():
        numbers = [re.search(r"\d+", answer)[0] for answer in answers]
        assert share == numbers.count(numbers[0]) / 2


def test_five_rows_share_one_call_of_the_verbalized_recipe(study):
    queries = rows(study, "query", "verbalized")
    assert queries.group_by("call").len()["len"].unique().to_list() == [5]
    assert queries["query"].n_unique() == 40


def test_all_six_operations_evolve_queries_of_the_multistage_recipe(study):
    evolved = rows(study, "evolve", "multistage")
    assert set(evolved.filter(pl.col("parent_id") != "")["operation"]) == {"constrain", "deepen", "concretize", "reason", "complicate", "widen"}


def test_the_second_round_of_selfinstruct_shows_problems_of_the_first(study):
    queries = rows(study, "query", "selfinstruct")
    first = set(queries.filter(pl.col("index") < 20)["query"])
    shown = [set(json.loads(pool)) & first for pool in queries.filter(pl.col("index") >= 20)["pool"]]
    assert min(map(len, shown)) >= 1


def test_the_exam_of_a_student_has_a_verdict_on_every_held_out_example(study):
    found = json.loads((study / "metrics/evaluate/lab/1.json").read_text())["evaluate"]["lab"]["1"]
    assert 0 <= found["accuracy_macro"] <= 1
    assert found["gold_loss_macro_nats"] > 0


def test_two_recipes_are_compared_and_reported_as_a_study_of_real_text(study):
    params = YAML(typ="safe").load(study / "params.yaml")
    params["study"] = {"baseline": "direct", "recipes": list(COMPARED), "seeds": [1]}
    YAML(typ="safe").dump(params, study / "params.yaml")
    for name in ("compare", "report"):
        stage(name)
    assert set(pl.read_parquet(study / "data/compare/table.parquet")["recipe"]) == set(COMPARED)
    page = (study / "data/report/index.html").read_text()
    assert "<title>espalier: the world of real text</title>" in page
    assert (study / "data/report/result.svg").is_file()
