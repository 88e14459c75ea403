import json

import numpy as np
import pytest

from espalier.errors import ParamsError
from espalier.verifiers.checks import check, choice_key, count_sentences, count_words
from espalier.verifiers.conflicts import conflicts, draw_constraint
from espalier.verifiers.constraints import KINDS, as_mapping, instruction, parse_constraint
from espalier.verifiers.json_values import MOST_DEPTH

SCHEMA = {"type": "object", "properties": {"name": {"type": "string"}, "year": {"type": "integer"}}, "required": ["name", "year"]}


def made(kind, **keys):
    return parse_constraint({"kind": kind, **keys}, where="leaf.yaml: checks[0]")


CASES = [
    (made("max_words", n=3), "One two three.", "One two three four.", "4 words, wanted at most 3"),
    (made("min_words", n=3), "One two three.", "One two - !", "2 words, wanted at least 3"),
    (made("max_sentences", n=2), "Dr. Smith paid 3.50 dollars. Why?", "He paid. Why? Who knows.", "3 sentences, wanted at most 2"),
    (made("paragraphs", n=2), "<<Rivers>>\n\nOne.\n\nTwo.\nStill two.", "One.\nTwo.", "1 paragraphs, wanted exactly 2"),
    (made("bullets", n=2), "Two things:\n- one\n* two", "- one\n- two\n- three", "3 bullets, wanted exactly 2"),
    (made("bullets", n=1), "- one -two", "-one", "0 bullets, wanted exactly 1"),
    (made("numbered", n=2), "1. one\n2) two", "1. one", "1 numbered items, wanted exactly 2"),
    (made("numbered", n=2), "It was 1998.\n1. one\n2. two", "1. one\n3. two", "items numbered 1, 3, wanted 1 .. 2"),
    (made("keyword", word="river", n=2), "River by river, it grew.", "The river has rivers.", '"river" 1 times, wanted at least 2'),
    (made("keyword", word="New York", n=1), "In new\nyork.", "In New Yorkshire.", '"New York" 0 times, wanted at least 1'),
    (made("forbid", words=["sea", "lake"]), "The seaside and a flake.", "The Sea.", 'uses "sea", which is forbidden'),
    (made("starts_with", text="In short"), "In short, yes.", "in short, yes.", 'begins with "in short", wanted "In short"'),
    (made("ends_with", text="That is all."), "Yes. That is all.\n", "That is all. Bye.", 'ends with "is all. Bye.", wanted "That is all."'),
    (made("lowercase"), "all is small: 3 €", "all is Small", 'holds the capital letter "S", wanted lowercase alone'),
    (made("uppercase"), "ALL IS 3 €!", "ALL IS tALL", 'holds the small letter "t", wanted capitals alone'),
    (made("no_commas"), "One; two.", "One, two, three.", "2 commas, wanted none"),
    (made("title"), "<<The River>>\nIt flows.", "The <<River>>\nIt flows.", 'the first line is "The <<River>>", wanted a title in << >>'),
    (made("one_of", values=["yes", "no"]), " Yes. ", "yes and no", 'is "yes and no", wanted one of "yes", "no"'),
    (made("json"), '{"a": [1, 2.5, null]}', '{"a": [1, 2.5, null],}', "the answer is no JSON at line 1, column 22"),
    (made("json"), "3", "```json\n3\n```", "the answer is no JSON at line 1, column 1"),
    (made("json_schema", schema=SCHEMA), '{"name": "Ana", "year": 1998}', '{"name": "Ana", "year": "1998"}', "$.year '1998' is not of type 'integer'"),
    (made("json_schema", schema=SCHEMA), '{"name": "Ana", "year": 1, "more": []}', '{"name": "Ana"}', "$ 'year' is a required property"),
]  # fmt: skip


@pytest.mark.parametrize(("constraint", "kept", "dropped", "reason"), CASES, ids=[f"{i}-{case[0].kind}" for i, case in enumerate(CASES)])
def test_a_constraint_drops_a_text_for_its_reason_and_keeps_its_neighbour(constraint, kept, dropped, reason):
    assert check(constraint, kept) is None
    assert check(constraint, dropped).startswith(reason)


def test_every_kind_has_such_a_pair():
    assert {case[0].kind for case in CASES} == set(KINDS)


@pytest.mark.parametrize("constraint", {case[0].kind: case[0] for case in CASES}.values(), ids=KINDS)
def test_a_blank_answer_keeps_no_constraint(constraint):
    assert check(constraint, " \n") == "the answer is empty"


@pytest.mark.parametrize("constraint", [case[0] for case in CASES])
def test_a_constraint_survives_its_mapping(constraint):
    assert parse_constraint(as_mapping(constraint), where="here") == constraint


def test_instructions_are_sentences_that_name_the_values():
    assert instruction(made("max_words", n=60)) == "Answer in at most 60 words."
    assert instruction(made("keyword", word="river", n=1)) == 'Use the word "river" at least once.'
    assert instruction(made("forbid", words=["sea", "lake", "bay"])) == 'Do not use the words "sea", "lake" or "bay".'
    assert instruction(made("bullets", n=1)) == 'Write exactly 1 bullet point, each on a line of its own that begins with "- ".'
    assert all(instruction(case[0]).strip() for case in CASES)


def test_sentences_and_words_are_counted_as_people_do():
    assert count_sentences("He said \"Go!\" She went. e.g. this one. J. R. Tolkien wrote it... Then? no") == 6
    assert count_sentences("1. First\n2. Second. Third\n\n# Head") == 4
    assert count_words("a - b — c's 3.5 ...") == 4
    assert [choice_key(text) for text in (" A. ", "“Yes”.", "**no**", "B)")] == ["a", "yes", "no", "b)"]


@pytest.mark.parametrize(
    ("value", "message"),
    [
        ("max_words", 'leaf: checks[0] is "max_words"; it must be a mapping'),
        ({"kind": "max_word", "n": 3}, 'leaf: checks[0].kind is "max_word"; did you mean "max_words"?'),
        ({"n": 3}, "leaf: checks[0].kind is empty; it must be one of max_words, "),
        ({"kind": "max_words", "m": 3}, "leaf: checks[0].m is no key of max_words; "),
        ({"kind": "title", "n": 3}, "leaf: checks[0].n is no key of title; it has none: take it out"),
        ({"kind": "keyword", "n": 3}, "leaf: checks[0].word is missing; keyword needs word and n: add it"),
        ({"kind": "max_words", "n": 0}, "leaf: checks[0].n is 0; it must be a whole number in 1 .. 10,000"),
        ({"kind": "max_words", "n": True}, "leaf: checks[0].n is True; it must be a whole number"),
        ({"kind": "max_words", "n": 2.5}, "leaf: checks[0].n is 2.5; it must be a whole number"),
        ({"kind": "keyword", "word": "-", "n": 1}, 'leaf: checks[0].word is "-"; a word begins and ends with a letter or a digit'),
        ({"kind": "forbid", "words": []}, "leaf: checks[0].words is a list of 0; it must be a list of one or more"),
        ({"kind": "forbid", "words": ["sea", 3]}, "leaf: checks[0].words[1] is 3; it must be text"),
        ({"kind": "one_of", "values": ["yes", "Yes"]}, 'leaf: checks[0].values names "Yes" twice'),
        ({"kind": "ends_with", "text": " "}, 'leaf: checks[0].text is " "; it must be text'),
        ({"kind": "json_schema", "schema": {"type": "objekt"}}, 'leaf: checks[0].schema.type is "objekt"; '),
        ({"kind": "json_schema", "schema": {"$ref": "https://example.org/a"}}, 'leaf: checks[0].schema refers to "https://example.org/a"; it must be #/$defs/NAME'),
        ({"kind": "json_schema", "schema": {"$ref": "#/$defs/a"}}, 'leaf: checks[0].schema refers to "#/$defs/a"; it must be'),
        ({"kind": "json_schema", "schema": {"pattern": "^(a+)+$"}}, 'leaf: checks[0].schema has the pattern "^(a+)+$"; a repetition within'),
        ({"kind": "json_schema", "schema": {"pattern": "("}}, 'leaf: checks[0].schema.pattern is "("; '),
        ({"kind": "json_schema", "schema": {"$id": "a"}}, "leaf: checks[0].schema uses $id"),
        ({"kind": "json_schema", "schema": {"const": float("nan")}}, "leaf: checks[0].schema is a mapping of 1; it must be a JSON schema within bounds"),
    ],
)  # fmt: skip
def test_a_wrong_constraint_is_refused_with_place_and_way_out(value, message):
    with pytest.raises(ParamsError) as refused:
        parse_constraint(value, where="leaf: checks[0]")
    assert str(refused.value).startswith(message)


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("[" * 100_000, "the answer has 100,000 letters"),
        ("[" * (MOST_DEPTH + 1) + "]" * (MOST_DEPTH + 1), "the answer is nested 33 deep, more than 32"),
        ("9" * 5_000, "the answer holds a number of more than 30 digits"),
        ("1e999", "the answer holds the number 1e999, which is too large"),
        ("NaN", "the answer holds NaN, which is no JSON"),
        ('"' + "\\" * 9_999, "the answer is no JSON"),
        ("\x00", "the answer is no JSON"),
    ],
)
def test_hostile_json_is_refused_without_a_crash(text, reason):
    assert check(made("json"), text).startswith(reason)


def test_json_at_the_depth_limit_and_brackets_in_strings_are_read():
    assert check(made("json"), "[" * MOST_DEPTH + "]" * MOST_DEPTH) is None
    assert check(made("json"), '"' + "[" * 100 + '"') is None


def test_schemas_may_refer_to_their_own_parts_and_never_loop_forever():
    tree = made("json_schema", schema={"$defs": {"tree": {"type": "array", "items": {"$ref": "#/$defs/tree"}}}, "$ref": "#/$defs/tree"})
    assert check(tree, "[[], [[]]]") is None
    assert check(tree, "[[3]]") == "$[0][0] 3 is not of type 'array'"
    loop = made("json_schema", schema={"$defs": {"a": {"$ref": "#/$defs/a"}}, "$ref": "#/$defs/a"})
    assert check(loop, "3") == "the value cannot be checked: the schema refers to itself without end"


@pytest.mark.parametrize(
    ("one", "other"),
    [
        (made("max_words", n=60), made("max_words", n=60)),
        (made("max_words", n=60), made("min_words", n=60)),
        (made("max_words", n=8), made("bullets", n=3)),
        (made("max_words", n=3), made("keyword", word="New York", n=2)),
        (made("max_sentences", n=2), made("numbered", n=3)),
        (made("max_sentences", n=1), made("min_words", n=50)),
        (made("lowercase"), made("ends_with", text="That is all.")),
        (made("no_commas"), made("starts_with", text="Well, yes")),
        (made("forbid", words=["all"]), made("ends_with", text="That is all.")),
        (made("forbid", words=["sea"]), made("keyword", word="Sea", n=1)),
        (made("title"), made("starts_with", text="In short")),
        (made("json"), made("bullets", n=2)),
        (made("json"), made("no_commas")),
        (made("bullets", n=2), made("numbered", n=2)),
        (made("one_of", values=["yes", "no"]), made("min_words", n=2)),
        (made("one_of", values=["yes", "no"]), made("one_of", values=["ja", "nein"])),
        (made("keyword", word="sea", n=1), made("keyword", word="Sea", n=2)),
    ],
)  # fmt: skip
def test_what_excludes_each_other_conflicts_both_ways(one, other):
    assert conflicts(one, other)
    assert conflicts(other, one)


@pytest.mark.parametrize(
    ("one", "other"),
    [
        (made("max_words", n=60), made("min_words", n=50)),
        (made("max_words", n=9), made("bullets", n=3)),
        (made("max_sentences", n=3), made("numbered", n=3)),
        (made("lowercase"), made("keyword", word="Rome", n=1)),
        (made("no_commas"), made("starts_with", text="Well yes")),
        (made("forbid", words=["wall"]), made("ends_with", text="That is all.")),
        (made("title"), made("starts_with", text="<<In short>>")),
        (made("json"), made("keyword", word="sea", n=1)),
        (made("one_of", values=["yes", "no"]), made("lowercase")),
        (made("one_of", values=["yes", "no"]), made("max_words", n=1)),
        (made("keyword", word="sea", n=1), made("keyword", word="lake", n=1)),
    ],
)  # fmt: skip
def test_what_one_text_can_keep_does_not_conflict(one, other):
    assert not conflicts(one, other)
    assert not conflicts(other, one)


def _witness(constraints):
    """A text that keeps all of them, put together without the checks."""
    by = {one.kind: one for one in constraints}
    filling = [one.words[0] for one in constraints if one.kind == "keyword" for _ in range(one.n)]
    filling += ["so"] * max(by["min_words"].n if "min_words" in by else 0, 1)
    if "json" in by:
        return json.dumps(" ".join(filling))
    begin, end = (by[kind].words[0] if kind in by else "" for kind in ("starts_with", "ends_with"))
    marks = ["- "] * by["bullets"].n if "bullets" in by else [f"{i}. " for i in range(1, by["numbered"].n + 1)] if "numbered" in by else []
    lines = [" ".join(filter(None, [begin, *filling]))] if begin or not marks else []
    lines += [f"{mark}{' '.join(filling) if i == 0 and not lines else 'so'}" for i, mark in enumerate(marks)]
    text = "\n".join(lines) + "\n\nso" * (by["paragraphs"].n - 1 if "paragraphs" in by else 0)
    text = f"{'<<so>>' + chr(10) if 'title' in by else ''}{text}{' ' if end else ''}{end}"
    return text.lower() if "lowercase" in by else text.upper() if "uppercase" in by else text


def _drawn(seed, n, keywords=("river", "lake", "Rome")):
    random, taken = np.random.default_rng(seed), []
    while len(taken) < n and (one := draw_constraint(random, taken, keywords)):
        taken.append(one)
    return taken


def test_drawn_constraints_can_be_kept_together():
    failed = []
    for seed in range(600):
        taken = _drawn(seed, 1 + seed % 3)
        text = _witness(taken)
        reasons = [f"{one.kind}: {reason}" for one in taken if (reason := check(one, text))]
        failed += [(taken, text, reasons)] if reasons else []
    assert failed[:3] == []


def test_the_same_generator_draws_the_same_and_all_kinds_come_up():
    assert _drawn(5, 3) == _drawn(5, 3)
    assert {_drawn(seed, 1)[0].kind for seed in range(300)} == set(KINDS) - {"one_of", "json_schema"}
    assert {_drawn(seed, 1, keywords=())[0].kind for seed in range(300)} == set(KINDS) - {"one_of", "json_schema", "keyword", "forbid"}


def test_nothing_is_drawn_where_nothing_fits():
    assert draw_constraint(np.random.default_rng(0), [made("one_of", values=["3, 4 Apples and Pears. Or - not!"]), made("no_commas"), made("max_words", n=1), made("lowercase"), made("max_sentences", n=1)], ()) is None
    longest = _drawn(1, 99)
    assert 4 <= len(longest) <= len(KINDS)
    assert draw_constraint(np.random.default_rng(0), longest, ("river", "lake", "Rome")) is None
