"""The nine recipes of the world general, from the plan to the answer, with a teacher that says what the examples of the prompt files say."""

import importlib
import json
import re
from collections import Counter
from dataclasses import replace
from functools import partial

import polars as pl
import pytest
from click.testing import CliRunner

from espalier.attributes import choose
from espalier.evolve import evolve_queries
from espalier.generate import Sampling, measure, start_rows, write_answers, write_contexts, write_queries
from espalier.io import read_json, read_rows
from espalier.params import load_yaml, parse_params
from espalier.plan import Tables, ask_of, plan_rows
from espalier.profiles import chain, overlay, parse_profile
from espalier.prompts import Prompt, is_open
from espalier.ranges import OPERATIONS
from espalier.worlds import open_world
from tests.closure import ROOT
from tests.worlds import Scripted, with_params

RECIPES = ("direct", "conditional", "multistage", "lab", "selfinstruct", "persona", "magpie", "rephrase", "verbalized")
ROWS = 20
# Every kind of leaf that there is: grounded in a text or not, with and without a verifier, with checks.
LEAVES = {
    "knowledge/food/bread": ("bread and how it is baked", "food", "grounding", ""),
    "foundational_skills/arithmetic/fences": ("fences around beds", "arithmetic", "math", ""),
    "foundational_skills/logic/conclusions": ("whether a conclusion follows", "logic", "choice", ""),
    "compositional_skills/writing/greeting": ("short greetings", "writing", "", ""),
    "compositional_skills/summarising/headline": ("headlines for texts", "summarising", "checks", "checks:\n- {kind: max_words, n: 10}\n"),
}
TEXTS = [f"Loaf number {i} was baked at {200 + i} degrees, and its crust took {20 + i} minutes to turn brown." for i in range(5)]


def tree():
    """A tree of five leaves as files: path -> text."""
    files = {}
    for leaf, (task, topic, verifier, checks) in LEAVES.items():
        files[f"{leaf}/leaf.yaml"] = f"task: {task}\ntopic: {topic}\nverifier: '{verifier}'\n{checks}"
        grounded = verifier in ("grounding", "checks")
        pairs = [{"question": f"Question {i} on {task}?", "answer": f"Answer {i}"} for i in range(15)]
        if leaf.startswith("knowledge"):
            examples = [{"context": TEXTS[i], "questions_and_answers": pairs[3 * i : 3 * i + 3]} for i in range(5)]
            head = {"version": 3, "created_by": "test", "domain": "food", "document_outline": "bread", "document": {"repo": "r", "commit": "c", "patterns": ["*.md"]}}
        else:
            examples = [{**({"context": TEXTS[i]} if grounded else {}), **pairs[i]} for i in range(5)]
            head = {"version": 3, "created_by": "test", "task_description": f"A test of {task}."}
        files[f"{leaf}/qna.yaml"] = json.dumps({**head, "seed_examples": examples})  # JSON is YAML
    return files


@pytest.fixture(scope="module")
def world(tmp_path_factory):
    """(params, tables, prompts by id, attribute lists) as the stage taxonomy leaves them under the profile general, for the tree above."""
    folder = tmp_path_factory.mktemp("general")
    for path, text in tree().items():
        (folder / "tree" / path).parent.mkdir(parents=True, exist_ok=True)
        (folder / "tree" / path).write_text(text)
    profiles = {name: parse_profile((ROOT / f"data/seeds/profiles/{name}.yaml").read_text(), file=name) for name in ("general",)}
    text = overlay((ROOT / "params.yaml").read_text(), chain("general", profiles), teacher="models/real")
    seeds = {f"taxonomy.{name}": f"{ROOT}/data/seeds/{place}" for name, place in PLACES.items()}
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        (folder / "params.yaml").write_text(with_params(text, {"taxonomy.tree": "tree", "gen.round_rows": "7", **seeds}))
        result = CliRunner().invoke(importlib.import_module("stages.taxonomy").main, [])
        assert result.exit_code == 0, result.output
        documents = read_rows("data/taxonomy/documents.parquet")["text"].to_list()
        tables = Tables(read_rows("data/taxonomy/leaves.parquet"), read_rows("data/taxonomy/seeds.parquet"), documents)
        prompts = {name: Prompt.from_json(value) for name, value in read_json("data/taxonomy/prompts.json").items()}
        lists = {name: tuple(values) for name, values in read_json("data/taxonomy/attributes.json").items()}
        return parse_params((folder / "params.yaml").read_text()), tables, prompts, lists


PLACES = {"attributes": "attributes/general.yaml", "prompts": "prompts/general", "openings": "openings/general.yaml", "documents": "documents"}


def examples(name):
    file = ROOT / f"data/seeds/prompts/general/{name}.yaml"
    return load_yaml(file.read_text(), file=str(file))["examples"]


def script(prompt):
    """A teacher for one prompt file: its examples' replies in turn, each made a text of its own; without a contract, a text."""
    said = [example["reply"] for example in examples(prompt.id)] if prompt.reply.kind != "text" else ["Barges on canal {} carry salt, grain and bricks."]
    given = {}

    def reply(request):
        if request not in given:  # as the completion cache, which asks equal requests once
            n = len(given)
            text = said[n % len(said)]
            given[request] = text.replace("{}", str(n)) if prompt.reply.kind == "text" else re.sub(r"(<query>[^<]*)", rf"\1 Number {n}.", text)
        return given[request]

    return Scripted(reply)


def planned(world, recipe, rows=ROWS):
    params, tables, prompts, lists = world
    settings = params.recipes[recipe]
    used = [prompts[name] for name in settings.steps.values()]
    attributes = choose(lists, settings.attributes, where=recipe)
    return plan_rows(recipe, settings, tables, attributes, ask_of(used), rows=rows, seed=params.seed)


def made(world, recipe, *, rows=ROWS, teachers=None, max_overlap=1.0):
    """(the rows after all four steps, the teachers by step, the world's object)."""
    params, tables, prompts, _ = world
    settings = params.recipes[recipe]
    sampling = Sampling(replace(params.gen, max_overlap=max_overlap), params.seed)
    used = {step: prompts[name] for step, name in settings.steps.items()}
    asked = {step: script(prompt) for step, prompt in used.items()} | (teachers or {})
    general = open_world("general", tables.leaves, tables.seeds)
    ask = {step: teacher.generate for step, teacher in asked.items()}
    table = write_contexts(start_rows(planned(world, recipe, rows)), used.get("context"), sampling, ask.get("context"))
    table = write_queries(table, used["query"], sampling, ask["query"], pose=partial(general.pose, seed=params.seed))
    table = evolve_queries(table, used.get("evolve"), settings.operations, sampling, ask.get("evolve"), world=general)
    return write_answers(table, used["answer"], sampling, ask["answer"]), asked, general


def test_the_profile_declares_nine_recipes_that_pass_the_checks_of_the_stage_taxonomy(world):
    assert tuple(world[0].recipes) == RECIPES  # the stage checks them all, or the fixture has failed
    assert (world[1].leaves.height, len(world[1].documents), len(world[2])) == (5, 12, 15)


@pytest.mark.parametrize("recipe", RECIPES)
def test_a_recipe_runs_from_the_plan_to_answers_and_every_row_ends_ok(world, recipe):
    rows, asked, general = made(world, recipe)
    assert (rows.height, measure(rows)["ok_share"]) == (ROWS, 1.0), rows.filter(pl.col("status") != "ok").select("status", "detail").rows()
    assert all(row["query"] and row["answer"] and row["spent_tokens"] > 0 for row in rows.iter_rows(named=True))
    assert all(general.verify(row).verdict in ("right", "wrong", "unparseable", "unknown") for row in rows.iter_rows(named=True))
    assert rows["query"].n_unique() == (5 * len(examples("query.verbalized")) if recipe == "verbalized" else ROWS)
    with_context = Counter(row["context"] != "" for row in rows.iter_rows(named=True))
    wanted = {"multistage": {True: ROWS}, "rephrase": {True: ROWS}, "lab": {True: ROWS * 2 // 5, False: ROWS * 3 // 5}}
    assert with_context == wanted.get(recipe, {False: ROWS})
    assert len(asked["answer"].asked) == ROWS


def test_every_prompt_is_shown_what_it_asks_for_and_no_hole(world):
    for recipe in RECIPES:
        _, asked, _ = made(world, recipe, rows=10)
        for teacher in asked.values():
            for request in teacher.asked:
                for _, text in request.messages:
                    assert not re.search(r"(?:Text|Task|Answer|Subject|Form|Length|Wording|Difficulty|field|kind|these|subject|as|is): *\.?(?:\n|$)|\n\n\n|[{][{%]", text), text


def test_lab_writes_texts_only_where_the_leaf_has_some_and_solutions_only_where_there_is_a_key(world):
    rows, asked, general = made(world, "lab")
    grounded = rows.filter(pl.col("document") != "")
    assert {leaf.split("/")[-1] for leaf in grounded["leaf"]} == {"bread", "headline"}
    assert len(asked["context"].asked) == grounded.height == ROWS * 2 // 5
    for request in asked["query"].asked:
        text = request.messages[0][1]
        assert ("<solution>" in text) == ("fences around beds" in text or "whether a conclusion" in text)
        assert ("Answer in at most 10 words." in text) == ("headlines for texts" in text)
    math = rows.filter(leaf="foundational_skills/arithmetic/fences").row(0, named=True) | {"solution": "150 * 90 * 2 / 3"}
    assert general.verify(math | {"answer": "150 × 90 × 2 ÷ 3. The answer is 9,000."}).verdict == "right"
    assert general.verify(math | {"answer": "The answer is 13,500."}).verdict == "wrong"


def test_multistage_evolves_by_all_six_operations_and_keeps_the_context(world):
    rows, asked, _ = made(world, "multistage")
    assert (set(rows["operation"]), set(rows["eliminated"])) == (set(OPERATIONS), {""})
    assert set(rows["parent_id"]) == set(planned(world, "multistage")["id"])
    assert len(asked["evolve"].asked) == ROWS
    assert all(context.startswith(("A fridge hums", "Two dates matter")) for context in rows["context"])


def test_five_rows_share_one_request_and_pay_for_it_once(world):
    rows, asked, _ = made(world, "verbalized", rows=10)
    requests = asked["query"].asked
    assert (len(requests), len(set(requests))) == (10, 2)  # of which the completion cache asks 2
    tokens = [len(example["reply"].split()) + 1 for example in examples("query.verbalized")]
    for _, some in rows.group_by("call"):
        spent = [row["spent_tokens"] - len(row["answer"].split()) - 1 for row in some.sort("turn").iter_rows(named=True)]
        assert (some["query"].n_unique(), sorted(spent)) == (5, [0, 0, 0, 0, spent[0]])
        assert spent[0] in tokens


def test_magpies_request_ends_with_the_open_turn_of_the_user(world):
    _, asked, _ = made(world, "magpie", rows=3)
    assert [request.messages for request in asked["query"].asked] == [(("open_user", ""),)] * 3
    assert all(is_open(request.messages) for request in asked["query"].asked)
    assert len({request.seed for request in asked["query"].asked}) == 3


def test_the_second_round_of_self_instruct_shows_what_was_accepted_and_knows_a_near_copy(world):
    first = [f"<query>{' '.join(f'{word}{i}' for word in 'sail oak salt ice bell moss'.split())}</query>" for i in range(7)]
    second = ["<query>sail3 oak3 salt3 ice3 bell3 reed</query>", "<query>Which lamp burns longest without oil?</query>"]
    replies = iter(first + second)
    teacher = Scripted(lambda request: next(replies))
    rows, _, _ = made(world, "selfinstruct", rows=9, teachers={"query": teacher}, max_overlap=0.7)
    rows = rows.sort("index")
    assert rows["status"].to_list() == ["ok"] * 7 + ["known", "ok"]
    assert rows["detail"][7] == "ROUGE-L 0.83 with: sail3 oak3 salt3 ice3 bell3 moss3"  # 5 of 6 and 6 words: 2 x 5 / 12
    shown = [request.messages[0][1] for request in teacher.asked]
    assert not any("sail" in text for text in shown[:7])
    assert all(re.search(r"\nTask \d\nsail\d oak\d", text) for text in shown[7:])
    assert [len(re.findall(r"^Task \d+$", text, re.M)) for text in shown[:7]] == [6] * 7
