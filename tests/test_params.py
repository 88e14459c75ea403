import copy
import json
from functools import reduce

import pytest

from espalier.errors import ParamsError
from espalier.params import did_you_mean, load_yaml, parse_params
from espalier.ranges import BRANCHES
from espalier.settings import Params
from espalier.taxonomy import BRANCHES as FOLDERS
from tests.closure import ROOT
from tests.worlds import with_params

TEXT = (ROOT / "params.yaml").read_text()
TREE = load_yaml(TEXT, file="params.yaml")
GONE = object()
PHASES = [
    {"branches": ["knowledge"], "share": 0.5, "replay": 0},
    {"branches": ["foundational_skills"], "share": 0.25, "replay": 0.2},
    {"branches": ["compositional_skills"], "share": 0.25, "replay": 0.2},
]
MADE = {
    "plain": {"leaves": "teacher", "attributes": [], "operations": [], "steps": {"query": "query.direct", "answer": "answer.plain"}},
    "guided": {"leaves": "taxonomy", "attributes": ["size"], "operations": [], "steps": {"query": "query.lab", "answer": "answer.plain"}},
}


def changed(changes):
    """params.yaml with values at dotted names set, or taken out with GONE, and two recipes of ours (JSON is YAML 1.2)."""
    tree = copy.deepcopy(TREE) | {"recipes": copy.deepcopy(MADE), "study": {"baseline": "plain", "recipes": ["plain", "guided"], "seeds": [1, 2]}}
    for name, value in changes.items():
        *way, last = name.split(".")
        section = reduce(lambda inner, key: inner[key], way, tree)
        if value is GONE:
            del section[last]
        else:
            section[last] = value
    return json.dumps(tree)


def message(text, **options):
    with pytest.raises(ParamsError) as raised:
        parse_params(text, **options)
    return str(raised.value)


def test_the_params_of_the_repository_are_right():
    params = parse_params(TEXT)
    assert params.study.baseline in params.study.recipes
    assert {name: params.recipes[name].leaves for name in params.study.recipes} == {
        "direct": "teacher", "conditional": "teacher", "multistage": "teacher", "lab": "taxonomy",
    }  # fmt: skip
    assert (params.recipes["multistage"].operations, params.recipes["direct"].attributes) == (("deepen", "widen"), ())
    assert list(TREE) == list(Params.__dataclass_fields__)  # in the order of the dataclass, so that both read alike


def test_what_is_written_is_what_a_stage_gets():
    params = parse_params(changed({"plan.rows": 7, "gen.temperature": 0, "filter.require_verified": False, "teacher.path": "models/mine"}))
    assert (params.plan.rows, params.filter.require_verified, params.teacher.path) == (7, False, "models/mine")
    assert (params.gen.temperature, type(params.gen.temperature)) == (0.0, float)  # a whole number is a number
    assert (params.study.seeds, params.recipes["guided"].steps) == ((1, 2), {"query": "query.lab", "answer": "answer.plain"})


@pytest.mark.parametrize("written", ["1e-3", "1.0e-3", "0.001", "1E-3"])
def test_a_number_with_an_exponent_is_a_number(written):
    params = parse_params(with_params(TEXT, {"train.optimizer.learning_rate": written}))
    assert params.train.optimizer.learning_rate == 0.001


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({"plan.row": 5}, 'plan.row is not a setting; did you mean "rows"?'),
        ({"filtr": {}}, 'filtr is not a setting; did you mean "filter"?'),
        ({"train.optimizer.zeal": 1}, "train.optimizer.zeal is not a setting; known: batch_tokens, decay_share, learning_rate, "
         "matrix_learning_rate, schedule, tokens, warmup_share, weight_decay"),
        ({"recipes.plain.step": {}}, 'recipes.plain.step is not a setting; did you mean "steps"?'),
    ],
)  # fmt: skip
def test_a_misspelt_setting_is_named_with_the_one_that_was_meant(changes, expected):
    assert message(changed(changes)) == f"params.yaml: {expected}"


@pytest.mark.parametrize("name", ["seed", "gen.temperature", "teacher.model.hidden", "filter", "recipes.plain.leaves"])
def test_a_setting_that_is_not_written_is_named(name):
    assert message(changed({name: GONE})) == f"params.yaml: {name} is missing; every value must be written, with a comment"


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({"gen.temperature": "hot"}, 'gen.temperature is "hot"; it must be a number'),
        ({"gen.temperature": "3e-4"}, 'gen.temperature is "3e-4"; it must be a number'),  # quoted, so a word
        ({"gen.temperature": True}, "gen.temperature is True; it must be a number"),
        ({"plan.rows": 1.5}, "plan.rows is 1.5; it must be a whole number"),
        ({"plan.rows": True}, "plan.rows is True; it must be a whole number"),
        ({"plan.rows": None}, "plan.rows is empty; it must be a whole number"),
        ({"mix.allow_short": "no"}, 'mix.allow_short is "no"; it must be true or false'),  # YAML 1.2 reads no as a word
        ({"mix.allow_short": 0}, "mix.allow_short is 0; it must be true or false"),
        ({"teacher.path": 7}, "teacher.path is 7; it must be a word"),
        ({"decontaminate.benchmarks": ["a.jsonl"]}, "decontaminate.benchmarks is ['a.jsonl']; it must be a word"),
        ({"score": 3}, "score is 3; it must be a mapping"),
        ({"recipes": ["plain"]}, "recipes is ['plain']; it must be a mapping"),
        ({"study.seeds": 3}, "study.seeds is 3; it must be a list"),
        ({"evaluate.tasks": "blimp"}, 'evaluate.tasks is "blimp"; it must be a list'),
        ({"study.seeds": [1, "two"]}, 'study.seeds[1] is "two"; it must be a whole number'),
        ({"recipes.plain.steps.query": 4}, "recipes.plain.steps.query is 4; it must be a word"),
    ],
)
def test_a_value_of_the_wrong_type_is_shown_beside_the_wanted_one(changes, expected):
    assert message(changed(changes)) == f"params.yaml: {expected}"


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({"filter.max_repeat": 1.4}, "filter.max_repeat is 1.4; it must lie in 0 .. 1"),
        ({"filter.max_repeat": -0.1}, "filter.max_repeat is -0.1; it must lie in 0 .. 1"),
        ({"gen.top_p": 0}, "gen.top_p is 0.0; it must lie in above 0 .. 1"),
        ({"gen.temperature": float("nan")}, "gen.temperature is nan; it must lie in 0 .. 5"),
        ({"gen.second_answers": -1}, "gen.second_answers is -1; it must lie in 0 .. 64"),
        ({"gen.second_temperature": 6}, "gen.second_temperature is 6.0; it must lie in 0 .. 5"),
        ({"decontaminate.min_similarity": 0}, "decontaminate.min_similarity is 0.0; it must lie in above 0 .. 1"),
        ({"decontaminate.max_leaked_share": 1.01}, "decontaminate.max_leaked_share is 1.01; it must lie in 0 .. 1"),
        ({"decontaminate.ngram": 1}, "decontaminate.ngram is 1; it must lie in 2 .. 50"),
        ({"gen.answers": 65}, "gen.answers is 65; it must lie in 1 .. 64"),
        ({"mix.budget_tokens": 0}, "mix.budget_tokens is 0; it must lie in 1 .. 1,000,000,000"),
        ({"seed": -1}, "seed is -1; it must lie in 0 .. 9,223,372,036,854,775,808"),
        ({"filter.kind": "rule"}, 'filter.kind is "rule"; did you mean "rules"?'),
        ({"filter.scorer": "voet"}, 'filter.scorer is "voet"; did you mean "vote"?'),
        ({"filter.threshold": "none"}, 'filter.threshold is "none"; known: audit, share'),
        ({"audit.target_precision": 0}, "audit.target_precision is 0.0; it must lie in above 0 .. 1"),
        ({"filter.min_leaf_rows": -1}, "filter.min_leaf_rows is -1; it must lie in 0 .. 100,000,000"),
        ({"filter.keep_share": 1.5}, "filter.keep_share is 1.5; it must lie in 0 .. 1"),
        ({"train.sizes": [0, 0.5]}, "train.sizes[0] is 0.0; it must lie in above 0 .. 1"),
        ({"teacher.engine": "magic"}, 'teacher.engine is "magic"; known: hf, ray, server, vllm'),
        ({"train.optimizer.schedule": "cosinus"}, 'train.optimizer.schedule is "cosinus"; did you mean "cosine"?'),
        ({"train.phases": [PHASES[0] | {"branches": ["knowlege"]}]}, 'train.phases[0].branches[0] is "knowlege"; did you mean "knowledge"?'),
        ({"train.phases": [PHASES[0] | {"share": 0}]}, "train.phases[0].share is 0.0; it must lie in above 0 .. 1"),
        ({"recipes.plain.leaves": "taxonomie"}, 'recipes.plain.leaves is "taxonomie"; did you mean "taxonomy"?'),
        ({"evaluate.task_form": "chatt"}, 'evaluate.task_form is "chatt"; did you mean "chat"?'),
        ({"evaluate.task_items": -1}, "evaluate.task_items is -1; it must lie in 0 .. 100,000,000"),
    ],
)
def test_a_value_out_of_its_range_is_shown_beside_the_range(changes, expected):
    text = changed(changes).replace("NaN", ".nan")
    assert message(text) == f"params.yaml: {expected}"


@pytest.mark.parametrize("value", [0, 1])
def test_the_ends_of_a_range_belong_to_it(value):
    assert parse_params(changed({"filter.max_repeat": value})).filter.max_repeat == value


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({"study.recipes": ["plain", "guide"]},
         'study.recipes names "guide", which recipes does not declare; did you mean "guided"?'),
        ({"study.recipes": ["guided"]}, 'study.baseline is "plain", which is not in study.recipes; known: guided'),
        ({"study.baseline": "plane"}, 'study.baseline is "plane", which is not in study.recipes; did you mean "plain"?'),
        ({"study.recipes": ["plain", "guided", "plain"]},
         "study.recipes is ['plain', 'guided', 'plain']; it must name at least one, each once"),
        ({"evaluate.tasks": ["last_word", "blimp", "last_word"]},
         "evaluate.tasks is ['last_word', 'blimp', 'last_word']; it must name each task once, or be [] for none"),
        ({"evaluate.tasks": ["blimp", " "]}, "evaluate.tasks is ['blimp', ' ']; it must name each task once, or be [] for none"),
        ({"study.seeds": [1, 2, 1]}, "study.seeds is [1, 2, 1]; it must name at least one, each once"),
        ({"study.seeds": []}, "study.seeds is []; it must name at least one, each once"),
    ],
)  # fmt: skip
def test_a_study_that_cannot_be_run_is_refused(changes, expected):
    assert message(changed(changes)) == f"params.yaml: {expected}"


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({"recipes.my-way": MADE["plain"]}, 'recipes.my-way: "my-way" names files and stages; use letters, digits and _ only'),
        ({"recipes.plain.steps.evole": "x"}, 'recipes.plain.steps.evole is not a step; did you mean "evolve"?'),
        ({"recipes.plain.steps.answer": GONE},
         "recipes.plain.steps has no answer; a recipe needs query and answer, context and evolve are free"),
        ({"recipes.plain.steps.query": GONE},
         "recipes.plain.steps has no query; a recipe needs query and answer, context and evolve are free"),
        ({"recipes.plain.operations": ["depen"]}, 'recipes.plain.operations names "depen"; the world builtin has deepen, widen'),
        ({"recipes.plain.operations": ["deepen"]}, "recipes.plain must have both steps.evolve and operations, or neither"),
        ({"recipes.plain.steps.evolve": "evolve.multistage"}, "recipes.plain must have both steps.evolve and operations, or neither"),
    ],
)  # fmt: skip
def test_a_recipe_that_cannot_be_run_is_refused(changes, expected):
    assert message(changed(changes)) == f"params.yaml: {expected}"


def test_a_recipe_with_evolve_and_operations_is_taken():
    params = parse_params(changed({"recipes.plain.operations": ["widen"], "recipes.plain.steps.evolve": "evolve.multistage"}))
    assert params.recipes["plain"].operations == ("widen",)


@pytest.mark.parametrize(
    ("changes", "mend", "expected"),
    [
        ({"teacher.model.hidden": 100}, {"teacher.model.hidden": 96},
         "teacher.model.hidden is 100; it must be a multiple of 32 (heads have 32 dimensions)"),
        ({"train.sizes": [0.5]}, {"train.sizes": [0.25, 0.5]},
         "train.sizes is [0.5]; it must be [], or two shares and more that rise and stay below 1"),
        ({"train.sizes": [0.5, 0.25]}, {"train.sizes": []},
         "train.sizes is [0.5, 0.25]; it must be [], or two shares and more that rise and stay below 1"),
        ({"train.sizes": [0.5, 1]}, {"train.sizes": [0.5, 0.99]},
         "train.sizes is [0.5, 1.0]; it must be [], or two shares and more that rise and stay below 1"),
        ({"filter.min_words": 9, "filter.max_words": 8}, {"filter.min_words": 8},
         "filter.min_words is 9, above filter.max_words 8; lower it"),
        ({"filter.kind": "top", "filter.scorer": "entropy", "gen.answers": 1}, {"gen.answers": 2},
         "filter.scorer is entropy but gen.answers is 1; a vote needs 2 answers or more"),
        ({"filter.rules": ["gofer"]}, {"filter.rules": ["gopher", "c4"]},
         'filter.rules names "gofer", which is no family of rules; did you mean "gopher"?'),
        ({"filter.kind": "top", "filter.scorer": "verifier", "filter.threshold": "audit"}, {"filter.threshold": "share"},
         "filter.scorer is verifier, which the audit judges the others by; set filter.threshold to share"),
        ({"filter.min_leaf_rows": 20, "filter.max_leaf_rows": 10}, {"filter.max_leaf_rows": 0},
         "filter.max_leaf_rows is 10, below filter.min_leaf_rows 20; raise it or set 0 (off)"),
        ({"filter.min_vote": 0.5, "gen.answers": 1}, {"gen.answers": 2},
         "filter.min_vote is 0.5 but gen.answers is 1; a vote needs 2 answers or more"),
        ({"train.optimizer.tokens": 1000, "train.optimizer.batch_tokens": 1024, "tokens.context_tokens": 128}, {"train.optimizer.tokens": 1024},
         "train.optimizer.tokens is 1000, less than one batch of 1024; raise it"),
        ({"teacher.optimizer.tokens": 10, "teacher.optimizer.batch_tokens": 11}, {"teacher.optimizer.tokens": 11},
         "teacher.optimizer.tokens is 10, less than one batch of 11; raise it"),
        ({"train.optimizer.warmup_share": 0.5, "train.optimizer.decay_share": 0.75}, {"train.optimizer.decay_share": 0.5},
         "train.optimizer: warmup_share and decay_share add up to more than 1; lower one"),
        ({"train.optimizer.batch_tokens": 1000, "tokens.context_tokens": 128}, {"train.optimizer.batch_tokens": 896},  # 7 x 128
         "train.optimizer.batch_tokens is 1000, no multiple of tokens.context_tokens 128; a batch holds whole sequences"),
        ({"tokens.context_tokens": 1024}, {"train.size": "125m"},
         "tokens.context_tokens is 1,024, but train.size tiny sees 128; lower it, or take a larger size"),
        ({"train.optimizer.batch_tokens": 1024, "train.processes": 3}, {"train.processes": 4},
         "train.optimizer.batch_tokens is 1024, 8 sequences of 128 tokens; train.processes is 3, which must divide them: change one of the two"),
        ({"train.skip_spikes": True, "train.spike_deviations": 0}, {"train.spike_deviations": 6},
         "train.skip_spikes is true but train.spike_deviations is 0, which finds no spike; raise it"),
        ({"train.phases": PHASES}, {"tokens.by_branch": True},
         "train.phases holds 3 phases but tokens.by_branch is false, so that a sequence holds several branches; make it true"),
        ({"train.phases": PHASES[:2], "tokens.by_branch": True}, {"train.phases": PHASES},
         "train.phases names knowledge, foundational_skills; it must name knowledge, foundational_skills, compositional_skills each once, and in every phase "
         "at least one"),
        ({"train.phases": [*PHASES[:2], PHASES[2] | {"share": 0.5}], "tokens.by_branch": True}, {"train.phases": PHASES},
         "train.phases has shares that add up to 1.25; they must add up to 1"),
        ({"train.phases": [PHASES[0] | {"replay": 0.1}, *PHASES[1:]], "tokens.by_branch": True}, {"train.phases": PHASES},
         "train.phases[0].replay is 0.1, but nothing was read before the first phase; make it 0"),
        ({"gen.second_answers": 1, "gen.second_temperature": TREE["gen"]["temperature"]}, {"gen.second_temperature": 1},
         "gen.second_temperature is 0.7, as gen.temperature is; second answers need another one"),
        ({"gen.second_answers": 2}, {"gen.second_answers": 1},
         "gen.second_answers is 2, but at gen.second_temperature 0 all are the same; ask for 1"),
        ({"gen.round_trip": "query.roundtrip"}, {"teacher.path": "models/mine"},
         'gen.round_trip is "query.roundtrip" but teacher.path is built-in, which was taught no such prompt; write "", or name a model\'s folder'),
        ({"score.labels": ""}, {"score.labels": "mine.jsonl"},
         'score.labels is ""; it must name a .jsonl file (an empty file stands for no labels)'),
    ],
)  # fmt: skip
def test_settings_that_contradict_each_other_are_refused_and_their_mending_is_taken(changes, mend, expected):
    assert message(changed(changes)) == f"params.yaml: {expected}"
    assert parse_params(changed(changes | mend)).format == TREE["format"]


SERVED = {"teacher.engine": "server", "server.model": "m", "teacher.path": "models/tokenizer", "server.urls": ["https://box:8000/v1"], "score.likelihood_model": ""}
NO_URL = "is no base URL; write http://host:port/v1 or https://..., without name, password, ? and #"
NO_VARIABLE = "server.key_variable is no name of an environment variable; name one, and put the key there, never into a file"


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({"score.likelihood_model": "models/teacher"}, "score.likelihood_model is models/teacher, but a teacher behind an endpoint has no weights; "
         'name a small model, or write ""'),
        ({"server.urls": []}, "teacher.engine is server but server.urls is empty; it must name at least one base URL"),
        ({"server.model": ""}, "teacher.engine is server but server.model is empty; it must name the model that the endpoint serves"),
        ({"teacher.path": "built-in"}, "teacher.path is built-in but teacher.engine is server; an endpoint gives no tokenizer: "
         "name a folder with tokenizer.json"),
        ({"server.urls": ["http://a/v1", "http://a/v1/"]}, "server.urls is ['http://a/v1', 'http://a/v1/']; it must name each once"),
        ({"server.urls": ["http://a", "ftp://b"]}, f"server.urls[1] {NO_URL}"),
        ({"server.urls": ["box:8000/v1"]}, f"server.urls[0] {NO_URL}"),
        ({"server.urls": ["http://"]}, f"server.urls[0] {NO_URL}"),
        ({"server.urls": ["http://box:99999"]}, f"server.urls[0] {NO_URL}"),
        ({"server.urls": ["http://[box/v1"]}, f"server.urls[0] {NO_URL}"),
        ({"server.urls": ["http://me:secret@box/v1"]}, f"server.urls[0] {NO_URL}"),
        ({"server.urls": ["http://box/v1?key=secret"]}, f"server.urls[0] {NO_URL}"),
        ({"server.urls": ["http://box/v1\n"]}, f"server.urls[0] {NO_URL}"),
        ({"server.key_variable": "sk-0123456789"}, NO_VARIABLE),
        ({"server.key_variable": ""}, NO_VARIABLE),
        ({"server.timeout_s": 0}, "server.timeout_s is 0.0; it must lie in above 0 .. 86,400"),
    ],
)  # fmt: skip
def test_an_endpoint_that_cannot_be_asked_is_refused_and_no_secret_is_shown(changes, expected):
    assert parse_params(changed(SERVED)).server.urls == ("https://box:8000/v1",)
    assert message(changed(SERVED | changes)) == f"params.yaml: {expected}"


def test_an_endpoint_may_stay_unnamed_while_nobody_asks_it():
    params = parse_params(changed({"server.urls": [], "server.model": ""}))
    assert (params.teacher.engine, params.server.urls) == ("hf", ())


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({"ray.address": "box"}, 'ray.address is "box"; it must be "" (a cluster of this machine), auto or host:port'),
        ({"ray.address": "ray://box:10001"}, 'ray.address is "ray://box:10001"; it must be "" (a cluster of this machine), auto or host:port'),
        ({"ray.gpus": 1.5}, "ray.gpus is 1.5; it must be a whole number above 1 (only parts of one GPU can be shared)"),
        ({"ray.engine": "ray"}, 'ray.engine is "ray"; known: hf, vllm'),
        ({"ray.replicas": 0}, "ray.replicas is 0; it must lie in 1 .. 10,000"),
    ],
)
def test_a_cluster_that_cannot_be_is_refused(changes, expected):
    for right in ({"ray.address": "auto"}, {"ray.address": "box-1.lan:6379"}, {"ray.gpus": 0.5}, {"ray.gpus": 2}):
        parse_params(changed(right))
    assert message(changed(changes)) == f"params.yaml: {expected}"


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("seed: 1\nplan: [1, 2\nexam: 3\n", "params.yaml, line 3, column 5: not YAML ("),
        ("seed: 1\nseed: 2\n", "params.yaml, line 2, column 1: not YAML (found duplicate key"),
        ("seed: 1\nplan:\n\trows: 3\n", "params.yaml, line 3, column 1: not YAML ("),
        ("seed: !!python/object/apply:os.system ['true']\n", "params.yaml, line 1, column 7: not YAML (could not determine a constructor"),
    ],
)
def test_what_is_not_yaml_is_named_with_its_line(text, expected):
    said = message(text)
    assert said.startswith(expected)
    assert said.endswith("; mend the line")


@pytest.mark.parametrize(("text", "found"), [("- 1\n", "[1]"), ("word\n", '"word"'), ("", "empty"), ("3\n", "3")])
def test_a_file_that_is_no_mapping_is_refused(text, found):
    assert message(text) == f"params.yaml: found {found}; it must be a mapping of sections"


@pytest.mark.parametrize("text", ["seed: 2024-13-45\n", "seed: !!int x\n"])
def test_yaml_whose_values_cannot_be_built_is_refused_too(text):
    assert message(text).startswith("params.yaml")


def test_a_message_names_the_file_it_was_given():
    assert message(changed({"plan.rows": "x"}), file="studies/x/params.yaml").startswith("studies/x/params.yaml: plan.rows is")


def test_a_close_word_is_offered_and_else_all_are_listed():
    assert did_you_mean("raws", ["rows", "seed"]) == 'did you mean "rows"?'
    assert did_you_mean("zzz", ["b", "a"]) == "known: a, b"
    assert did_you_mean("x", []) == "known: none"


def test_the_branches_of_phases_are_those_of_the_taxonomy():
    assert BRANCHES == FOLDERS
