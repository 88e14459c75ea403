import json
from pathlib import Path

import pytest
from jinja2.exceptions import SecurityError

from espalier.attributes import parse_attributes, parse_openings
from espalier.errors import ParamsError
from espalier.params import load_yaml
from espalier.prompts import INPUTS, Prompt, parse_prompt
from espalier.ranges import OPERATIONS
from espalier.replies import parse_contract
from espalier.samples import ask
from espalier.taxonomy import BRANCHES
from tests.closure import ROOT

ATTRIBUTES = {"size": ("short",), "style": ("question",)}
GONE = object()
WHOLE = {
    "step": "query",
    "about": "a test",
    "inputs": ["context", "size"],
    "messages": [{"role": "user", "content": "{{ context }} write a {{ size }} task ."}],
    "examples": [{"inputs": {"context": "list : 4 9 2 .", "size": "short"}, "messages": ["list : 4 9 2 . write a short task ."]}],
}
EXAMPLE_OF_LINES = [{"inputs": {"context": "a\nb", "size": "s"}, "messages": ["a\nb\ns ."]}]
SHIPPED = sorted((ROOT / "data/seeds/prompts/builtin").glob("*.yaml"))
GENERAL = sorted((ROOT / "data/seeds/prompts/general").glob("*.yaml"))


def parsed(file="prompts/query.test.yaml", **changes):
    whole = {name: value for name, value in (WHOLE | changes).items() if value is not GONE}
    return parse_prompt(json.dumps(whole), file=file, attributes=ATTRIBUTES)  # JSON is YAML 1.2


def bare(content, **changes):
    """A prompt without inputs."""
    return parsed(**({"inputs": [], "messages": [{"role": "user", "content": content}], "examples": [{"inputs": {}, "messages": [content]}]} | changes))


def message(**changes):
    with pytest.raises(ParamsError) as raised:
        parsed(**changes)
    said = str(raised.value)
    assert said.startswith(changes.get("file", "prompts/query.test.yaml"))
    return said.split(".yaml: ", 1)[1]


def test_a_prompt_is_what_its_file_says():
    prompt = parsed()
    assert (prompt.id, prompt.step, prompt.branches, prompt.inputs) == ("query.test", "query", (), ("context", "size"))
    assert prompt.messages == (("user", "{{ context }} write a {{ size }} task ."),)


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({"step": GONE}, "the key step is missing"),
        ({"examples": GONE}, "the key examples is missing"),
        ({"input": []}, 'input is no key of a prompt file; did you mean "inputs"?'),
        ({"zeal": 1}, "zeal is no key of a prompt file; known: about, branches, examples, inputs, messages, needs, reply, step"),
        ({"messages": []}, "messages must be a list with at least one entry"),
        ({"messages": "write"}, "messages must be a list with at least one entry"),
        ({"examples": []}, "examples must be a list with at least one entry"),
        ({"step": "ask"}, 'step is "ask"; it must be one of context, query, evolve, answer and begin the file\'s name'),
        ({"step": "answer"}, 'step is "answer"; it must be one of context, query, evolve, answer and begin the file\'s name'),
        ({"file": "x/queryfoo.yaml"}, 'step is "query"; it must be one of context, query, evolve, answer and begin the file\'s name'),
    ],
)
def test_a_file_with_the_wrong_keys_or_name_is_refused(changes, expected):
    assert message(**changes) == expected


@pytest.mark.parametrize(
    "wrong",
    [{"role": "robot", "content": "x"}, {"role": "user"}, {"content": "x"}, {"role": "user", "content": "x", "name": "y"}, "write a task ."],
)
def test_a_message_needs_a_known_role_and_a_content_and_nothing_else(wrong):
    assert message(messages=[wrong]) == f"a message is {wrong}; it must have a role (system, user, assistant, open_user) and a content"


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({"inputs": ["context"]}, 'the messages use "size", which inputs does not declare; declare it or take it out'),
        ({"inputs": None}, 'the messages use "context", which inputs does not declare; declare it or take it out'),
        ({"inputs": ["context", "size", "task"]}, 'inputs declares "task", which no message uses; take it out or use it'),
        ({"inputs": ["contxt", "size"]}, 'inputs names "contxt", which no row offers; did you mean "context"?'),
        ({"inputs": ["context", "siz"]}, 'inputs names "siz", which no row offers; did you mean "size"?'),
        ({"inputs": ["zzz"]}, f'inputs names "zzz", which no row offers; known: {", ".join(sorted([*INPUTS, *ATTRIBUTES]))}'),
    ],
)
def test_declared_and_used_inputs_are_the_same_set_of_things_that_a_row_offers(changes, expected):
    assert message(**changes) == expected


def test_an_attribute_that_the_world_does_not_have_is_no_input():
    with pytest.raises(ParamsError, match='inputs names "size", which no row offers; known: answer, banned_openings, context, document, '):
        parse_prompt(json.dumps(WHOLE), file="query.test.yaml", attributes={})


@pytest.mark.parametrize("content", ["{{ context", "{% if context %}x", "{{ context | nofilter }}", "{% endif %}"])
def test_what_is_not_jinja_is_refused(content):
    said = message(messages=[{"role": "user", "content": content}])
    assert said.startswith("not a Jinja2 template (")
    assert said.endswith("; mend the content")


@pytest.mark.parametrize(
    ("example", "expected"),
    [
        ({"inputs": {"context": "a", "size": "b"}, "messages": ["a write a c task ."]},
         "example 2: renders to ['a write a b task .']; the file says ['a write a c task .']"),
        ({"inputs": {"context": "a", "size": "b"}, "messages": ["a write a b task .", ""]},
         "example 2: renders to ['a write a b task .']; the file says ['a write a b task .', '']"),
        ({"inputs": {"context": "a"}, "messages": ["a"]}, "example 2: cannot be rendered, 'size' is missing"),
        ({"inputs": None, "messages": ["a"]}, "example 2: cannot be rendered, 'context' is missing"),
        ({"messages": ["a"]}, "example 2: found {'messages': ['a']}; it must have inputs and messages"),
        ("a", "example 2: found a; it must have inputs and messages"),
    ],
)  # fmt: skip
def test_the_examples_of_a_file_are_its_tests(example, expected):
    assert message(examples=[*WHOLE["examples"], example]) == expected


def test_an_example_gives_numbers_as_text():
    assert parsed(examples=[{"inputs": {"context": 7, "size": "s"}, "messages": ["7 write a s task ."]}]).id == "query.test"


@pytest.mark.parametrize("content", ["{% include 'x' %}", "{{ context + 1 }}", "{{ 1 // 0 }}", "{{ range(10**7) | list }}"])
def test_a_template_that_fails_on_its_example_is_refused_and_not_a_crash(content):
    used = ["context"] if "context" in content else []
    said = message(inputs=used, messages=[{"role": "user", "content": content}], examples=[{"inputs": {"context": "a"}, "messages": ["a"]}])
    assert said.startswith("example 1: cannot be rendered")


@pytest.mark.parametrize("branches", ["knowledge", ["knowlege"]])
def test_branches_that_no_leaf_has_are_refused_for_their_step_would_silently_ask_nothing(branches):
    assert "branches" in message(branches=branches)


@pytest.mark.parametrize("inputs", [5, "context"])
def test_inputs_that_are_no_list_are_refused(inputs):
    messages, examples = [{"role": "user", "content": "{{ context }}"}], [{"inputs": {"context": "a"}, "messages": ["a"]}]
    assert "inputs" in message(inputs=inputs, messages=messages, examples=examples)


def test_blanks_at_the_ends_go_and_the_lines_of_a_value_stay():
    prompt = parsed(messages=[{"role": "user", "content": "{% if context %}\n{{ context }}\n{% endif %}\n{{ size }} .\n"}], examples=EXAMPLE_OF_LINES)
    assert prompt.render({"context": "def f():\n    return 1", "size": "c"}) == (("user", "def f():\n    return 1\nc ."),)
    assert prompt.render({"context": "", "size": ""}) == (("user", "."),)


def test_a_row_may_offer_more_than_is_asked_and_never_less():
    assert parsed().render({"context": "a", "size": "b", "task": "c"}) == (("user", "a write a b task ."),)
    with pytest.raises(KeyError, match="size"):
        parsed().render({"context": "a"})


def test_each_message_keeps_its_role_and_order():
    turns = (("system", "be brief"), ("user", "a"), ("assistant", "b"), ("user", "c"))
    messages = [{"role": role, "content": content} for role, content in turns]
    prompt = bare("", messages=messages, examples=[{"inputs": {}, "messages": ["be brief", "a", "b", "c"]}])
    assert prompt.render({}) == turns


@pytest.mark.parametrize("text", ["{{ size }}", "{% for i in range(9) %}x{% endfor %}", "{{ ''.__class__ }}", "<b> & </b>"])
def test_text_of_a_teacher_is_never_run_as_a_template_nor_changed(text):
    assert parsed().render({"context": text, "size": "s"}) == (("user", f"{text} write a s task ."),)


@pytest.mark.parametrize("way", ["''.__class__", "''.__class__.__mro__", "''|attr('__class__')", "''['__class__']", "().__class__.__base__.__subclasses__()"])
def test_a_template_cannot_reach_into_python(way):
    content = "{{ " + way + " }}"
    with pytest.raises(ParamsError, match="example 1: cannot be rendered, access to attribute '__class__' of '(str|tuple)' object is unsafe"):
        bare(content)
    with pytest.raises(SecurityError):  # also when a file that was not linted is read back
        Prompt("query.x", "query", (), (), (("user", content),), parse_contract(None, step="query", banned=(), file="")).render({})


def test_a_prompt_survives_json():
    prompt = parsed(branches=["knowledge"], needs=["document"])
    assert Prompt.from_json(json.loads(json.dumps(prompt.as_json()))) == prompt
    assert prompt.as_json()["branches"] == ("knowledge",)


def test_a_step_with_branches_asks_only_their_rows_and_one_without_asks_all():
    only = parsed(branches=["knowledge"])
    assert [only.asks({"branch": branch}) for branch in (*BRANCHES, "")] == [True, False, False, False]
    assert [parsed().asks({"branch": branch}) for branch in (*BRANCHES, "")] == [True, True, True, True]


def test_a_step_that_needs_something_asks_only_rows_that_have_it_and_says_what_the_others_lack():
    needy = parsed(needs=["document", "examples"], branches=["knowledge"])
    row = {"branch": "knowledge", "document": "a text", "examples": '[{"question": "q"}]'}
    assert (needy.needs, needy.passes(row), needy.asks(row)) == (("document", "examples"), None, True)
    assert needy.passes(row | {"document": ""}) == "the prompt needs document, and the row has none"
    assert needy.passes(row | {"examples": "[]"}) == needy.passes(row | {"examples": ""}) == "the prompt needs examples, and the row has none"
    assert needy.passes(row | {"branch": ""}) == "the prompt lets the branch none pass"
    assert not needy.asks(row | {"document": ""})


@pytest.mark.parametrize(
    ("needs", "expected"),
    [
        (["documnt"], 'needs names "documnt"; did you mean "document"?'),
        (["operation"], 'needs names "operation"; known: answer, context, document, example, examples, pool, query, requirements, source, task, topic, verifier'),
        (["size"], 'needs names "size"; known: answer, context, document, example, examples, pool, query, requirements, source, task, topic, verifier'),
        ("document", "needs is document; it must be a list of names"),
        ([3], "needs is [3]; it must be a list of names"),
    ],
)
def test_what_a_prompt_needs_must_be_a_column_of_the_rows(needs, expected):
    assert message(needs=needs) == expected


@pytest.mark.parametrize("text", ["", "- a", "word"])
def test_a_file_that_is_no_mapping_is_refused(text):
    with pytest.raises(ParamsError) as raised:
        parse_prompt(text, file="query.x.yaml", attributes={})
    assert str(raised.value) == "query.x.yaml: found no mapping; a prompt file has the keys about, branches, examples, inputs, messages, needs, reply, step"


def test_every_shipped_prompt_file_is_right_and_none_is_missing():
    file = "data/seeds/attributes/builtin.yaml"
    attributes = parse_attributes((ROOT / file).read_text(), file=file)
    prompts = [parse_prompt(path.read_text(), file=str(path), attributes=attributes) for path in SHIPPED]
    assert [prompt.id for prompt in prompts] == [Path(path).stem for path in SHIPPED]
    assert {prompt.id for prompt in prompts} >= {"query.direct", "query.conditional", "query.multistage", "query.lab", "evolve.multistage", "answer.plain"}
    assert {prompt.branches for prompt in prompts} == {(), ("knowledge",)}


def of_general():
    """The world's attribute lists and its banned openings."""
    attributes, openings = (f"data/seeds/{folder}/general.yaml" for folder in ("attributes", "openings"))
    return parse_attributes((ROOT / attributes).read_text(), file=attributes), parse_openings((ROOT / openings).read_text(), file=openings)


@pytest.mark.parametrize("path", GENERAL, ids=lambda path: path.stem)
def test_a_prompt_for_real_teachers_is_right_and_has_two_examples_at_least(path):
    attributes, banned = of_general()
    prompt = parse_prompt(path.read_text(), file=str(path), attributes=attributes, banned=banned)
    assert prompt.id == path.stem
    assert len(load_yaml(path.read_text(), file=str(path))["examples"]) >= 2
    assert (prompt.reply.banned == banned) == ("banned_openings" in prompt.inputs)  # the gate stops only what the prompt has named


def test_the_world_general_has_its_fifteen_prompts():
    assert [path.stem for path in GENERAL] == [
        "answer.plain", "context.lab", "context.multistage", "context.rephrase", "evolve.wizard", "query.conditional", "query.direct", "query.grounded",
        "query.lab", "query.magpie", "query.multistage", "query.persona", "query.roundtrip", "query.selfinstruct", "query.verbalized",
    ]  # fmt: skip


def test_the_answer_prompt_says_the_words_that_a_student_is_trained_on():
    attributes, _ = of_general()
    prompt = parse_prompt(GENERAL[0].read_text(), file=str(GENERAL[0]), attributes=attributes)
    for context, query in (("a table:\n| 1 | 2 |", "Which is more?"), ("", "What is 2 + 2?")):
        assert prompt.render({"context": context, "query": query}) == ask(context, query)


def test_each_evolve_operation_has_words_of_its_own():
    attributes, _ = of_general()
    path = ROOT / "data/seeds/prompts/general/evolve.wizard.yaml"
    prompt = parse_prompt(path.read_text(), file=str(path), attributes=attributes)
    texts = {operation: prompt.render({"context": "", "query": "q", "operation": operation, "requirements": "", "verifier": ""}) for operation in OPERATIONS}
    assert len(set(texts.values())) == len(OPERATIONS) == 6


@pytest.mark.parametrize(("verifier", "asked"), [("math", True), ("choice", True), ("checks", False), ("grounding", False), ("", False)])
def test_a_solution_is_asked_for_where_answers_are_checked_against_a_key(verifier, asked):
    attributes, _ = of_general()
    for name in ("query.lab", "evolve.wizard"):
        path = ROOT / f"data/seeds/prompts/general/{name}.yaml"
        prompt = parse_prompt(path.read_text(), file=str(path), attributes=attributes)
        values = dict.fromkeys(prompt.inputs, "x") | {"verifier": verifier, "examples": []}
        assert ("<solution>" in prompt.render(values)[0][1]) == asked
