"""Contracts: what is read out of a reply, and that no reply makes the reader fall."""

import json

import pytest

from espalier.errors import ParamsError
from espalier.replies import MOST_LETTERS, Reply, Unparsed, parse_contract, read_parts, schema_of, stopped_by

TEXT = {"kind": "text"}
TAGS = {"kind": "tags", "fields": ["query"], "optional": ["solution"]}
JSON = {"kind": "json", "fields": ["query"], "optional": ["solution"]}
FIVE = {"kind": "candidates", "n": 5}


def contract(value, *, step="query", banned=()):
    return parse_contract(value, step=step, banned=banned, file="query.x.yaml")


def read(value, text, turn=0):
    return read_parts(contract(value), text, turn)


def refusal(value, step="query"):
    with pytest.raises(ParamsError) as raised:
        contract(value, step=step)
    return str(raised.value).removeprefix("query.x.yaml: ")


def unparsed(value, text, turn=0):
    with pytest.raises(Unparsed) as raised:
        read(value, text, turn)
    return str(raised.value)


def five(**changes):
    """A reply of five candidates; changes: those of the third."""
    candidates = [{"text": f"task {i}", "probability": i / 10} for i in range(5)]
    candidates[2] |= changes
    return json.dumps(candidates)


# What is read


def test_a_text_is_read_as_it_is():
    assert read(TEXT, " a task \n") == {"query": " a task \n"}


def test_tags_are_read_without_blanks_and_whatever_stands_around_them():
    assert read(TAGS, "Sure!\n<query>\n a b \n</query> <solution>3 + 4</solution> bye") == {"query": "a b", "solution": "3 + 4"}


@pytest.mark.parametrize("end", ["", "<solution></solution>", "<solution> \n </solution>", "<solution>"])
def test_an_optional_tag_that_is_absent_or_empty_gives_nothing(end):
    assert read(TAGS, f"<query>a</query>{end}") == {"query": "a", "solution": ""}


@pytest.mark.parametrize("text", ["", "a task", "<solution>7</solution>", "<query></query><solution>7</solution>", "<Query>a</Query>"])
def test_a_tag_that_is_not_optional_must_be_there_and_hold_something(text):
    assert unparsed(TAGS, text) in ("the reply has no <query>", "<query> is empty or holds other tags")


def test_a_last_closing_tag_may_lack_and_an_inner_one_may_not():
    assert read(TAGS, "<query>a") == {"query": "a", "solution": ""}
    assert unparsed(TAGS, "<query>a <solution>7</solution>") == "<query> is empty or holds other tags"
    assert unparsed(TAGS, "<query>a</query><solution>7 <answer>7</answer></solution>") == "<solution> is empty or holds other tags"


@pytest.mark.parametrize("left_out", ["", ', "solution": null', ', "solution": ""'])
def test_an_optional_key_that_is_absent_null_or_empty_gives_nothing(left_out):
    assert read(JSON, '```json\n{"query": "a"' + left_out + "}\n```") == {"query": "a", "solution": ""}


def test_json_gives_text_for_numbers_and_refuses_lists_even_where_a_key_is_optional():
    assert read(JSON, '{"query": "a", "solution": 7.5}') == {"query": "a", "solution": "7.5"}
    assert unparsed(JSON, '{"query": "a", "solution": ["7"]}') == 'the reply\'s JSON has no text "solution"'
    assert unparsed(JSON, '{"query": "a", "solution": true}') == 'the reply\'s JSON has no text "solution"'


def test_each_row_of_a_call_takes_its_own_candidate():
    assert [read(FIVE, five(), turn) for turn in range(5)] == [{"query": f"task {i}"} for i in range(5)]


def test_a_candidate_without_a_probability_spoils_its_own_row_alone():
    text = five(probability="high")
    assert unparsed(FIVE, text, 2) == "a candidate has no probability in 0..1"
    assert read(FIVE, text, 3) == {"query": "task 3"}


@pytest.mark.parametrize("probability", [float("nan"), float("inf"), -0.01, 1.01, None, True, "0.2", [0.2], 10**400])
def test_a_probability_is_a_number_between_0_and_1(probability):
    text = five(probability=probability) if probability != 10**400 else five(probability=7).replace(": 7", f": {10**400}")
    assert unparsed(FIVE, text, 2) == "a candidate has no probability in 0..1"


@pytest.mark.parametrize("probability", [0, 1, 0.5, 1e-9])
def test_the_ends_of_the_range_are_probabilities(probability):
    assert read(FIVE, five(probability=probability), 2) == {"query": "task 2"}


@pytest.mark.parametrize(("text", "found"), [("[]", "0"), (five()[:-1] + ', {"text": "b", "probability": 0.1}]', "6"), ('{"text": "a"}', "no"), ("[7]", "1")])
def test_another_count_than_the_one_that_was_asked_for_is_unparsed(text, found):
    assert unparsed(FIVE, text) == f"the reply holds {found} candidates; 5 are wanted"


# What is hostile

HOSTILE = {
    "lists without end": "[" * 100_000,
    "objects without end": '{"query":' * 20_000,
    "lists in an object": '{"query": ' + "[" * 50_000 + "]" * 50_000 + "}",
    "10 MB of one letter": "a" * 10_000_000,
    "10 MB of brackets": "[" * 10_000_000,
    "nothing": "",
    "blanks": " \n\t",
    "an open string": '{"query": "' + "b" * 1000,
    "a number of 5,000 digits": '{"query": ' + "7" * 5000 + "}",
    "zero bytes": "\0" * 100,
    "half a surrogate": "\ud800",
    "another object": '{"text": 1}',
    "null": "null",
    "a wrong escape": '{"query": "\\x"}',
    "two roots": "{}{}",
}


@pytest.mark.parametrize("text", HOSTILE.values(), ids=HOSTILE)
@pytest.mark.parametrize("value", [TAGS, JSON, FIVE], ids=["tags", "json", "candidates"])
def test_a_hostile_reply_is_unparsed_and_never_a_crash(value, text):
    assert unparsed(value, text, 4 if value is FIVE else 0)


def test_a_text_that_is_too_long_is_unparsed_too():
    assert unparsed(TEXT, "a" * (MOST_LETTERS + 1)) == "the reply has 200,001 letters; at most 200,000 are read"
    assert len(read(TEXT, "a" * MOST_LETTERS)["query"]) == MOST_LETTERS


@pytest.mark.parametrize("value", [JSON, FIVE], ids=["json", "candidates"])
def test_half_a_surrogate_in_json_becomes_text_that_a_file_can_hold(value):
    found = read(JSON, '{"query": "a \\ud800 b"}') if value is JSON else read(FIVE, five(text="X").replace('"X"', '"a \\udc00 b"'), 2)
    assert found["query"] == "a ? b"
    assert found["query"].encode("utf-8")


def test_a_zero_byte_in_json_and_not_a_number_are_kept_as_text():
    assert read(JSON, '{"query": "a\\u0000b", "solution": NaN}') == {"query": "a\0b", "solution": "nan"}


def test_a_key_that_stands_twice_gives_its_last_value():
    assert read(JSON, '{"query": "a", "query": "b"}')["query"] == "b"


# What a contract may say


@pytest.mark.parametrize(
    ("value", "said"),
    [
        ("tags", "reply is tags; it must be a mapping with kind, fields, optional, n, gates"),
        ({"kinds": "tags"}, 'reply.kinds is not known; did you mean "kind"?'),
        ({"kind": "xml"}, 'reply.kind is "xml"; known: candidates, json, tags, text'),
        ({"kind": "tags", "fields": ["answer"]}, "reply.fields is ['answer']; it must begin with query and may hold, in tags and json, context, query, answer, solution"),
        ({"kind": "tags", "fields": ["query", ["a"]]},
         "reply.fields is ['query', ['a']]; it must begin with query and may hold, in tags and json, context, query, answer, solution"),
        ({"kind": "text", "optional": ["solution"]}, "reply.optional is ['solution'], but the kind text has one field; take it out, or ask for tags or json"),
        ({"kind": "candidates", "n": 5, "optional": ["solution"]},
         "reply.optional is ['solution'], but the kind candidates has one field; take it out, or ask for tags or json"),
        ({"kind": "tags", "optional": ["query"]}, "reply.optional is ['query']; it must be a list of context, answer, solution"),
        ({"kind": "tags", "optional": "solution"}, "reply.optional is solution; it must be a list of context, answer, solution"),
        ({"kind": "tags", "optional": [{}]}, "reply.optional is [{}]; it must be a list of context, answer, solution"),
        ({"kind": "tags", "gates": ["refusl"]}, "reply.gates is ['refusl']; known: refusal, leak, says_nothing, banned_opening"),
        ({"kind": "tags", "gates": [{}]}, "reply.gates is [{}]; known: refusal, leak, says_nothing, banned_opening"),
        ({"kind": "candidates", "n": 1}, "reply.n is 1; it must lie in 2..50 for candidates, and be left out for other kinds"),
        ({"kind": "tags", "n": 3}, "reply.n is 3; it must lie in 2..50 for candidates, and be left out for other kinds"),
        ({"kind": "candidates", "n": True}, "reply.n is True; it must lie in 2..50 for candidates, and be left out for other kinds"),
    ],
)  # fmt: skip
def test_a_contract_that_says_something_else_is_refused(value, said):
    assert refusal(value) == said


def test_candidates_serve_the_step_query_alone():
    assert refusal(FIVE, "answer") == "reply.kind candidates serves the step query alone, this is answer; ask for one text here"


def test_a_contract_gives_its_own_field_first_and_the_optional_ones_last():
    assert contract(TAGS) == Reply("tags", ("query",), 1, (), (), ("solution",))
    assert contract(TAGS).parts == ("query", "solution")
    assert contract({"kind": "tags"}, step="evolve").parts == ("query",)
    assert contract(None, step="context").parts == ("context",)


def test_banned_openings_are_kept_where_their_gate_acts_and_nowhere_else():
    assert contract({"gates": ["banned_opening"]}, banned=("In the heart of",)).banned == ("In the heart of",)
    assert contract({"gates": ["refusal"]}, banned=("In the heart of",)).banned == ()


def test_the_first_gate_that_stops_a_text_gives_the_reason():
    reply = contract({"gates": ["refusal", "banned_opening"]}, banned=("I'm sorry",))
    assert stopped_by(reply, "I'm sorry, but I cannot help.") == "refused"
    assert stopped_by(reply, "I'm sorry for your loss.") == "opens with: I'm sorry"
    assert stopped_by(reply, "A letter of thanks.") is None


def test_an_engine_is_held_to_a_schema_that_leaves_optional_keys_free():
    assert (schema_of(contract(TEXT)), schema_of(contract(TAGS))) == ("", "")
    one = json.loads(schema_of(contract(JSON)))
    assert (one["required"], sorted(one["properties"]), one["additionalProperties"]) == (["query"], ["query", "solution"], False)
    many = json.loads(schema_of(contract(FIVE)))
    assert (many["minItems"], many["maxItems"], many["items"]["required"]) == (5, 5, ["text", "probability"])
