import gzip
import json
import time

import pytest

from espalier.verifiers.grounding import ungrounded
from tests.closure import ROOT

XQUAD, DOLLY = (ROOT.parent / f"shared/data/{name}" for name in ("xquad_en/xquad_en.jsonl", "alpaca_subsets/dolly_3k.json.gz"))
CONTEXT = "In 1998 the Carolina Panthers met Peyton Manning's Denver Broncos. About 1,200 fans saw them score twenty points, 3.50 dollars each; 15% were Muslims."


@pytest.mark.parametrize(
    ("kept", "dropped", "reason"),
    [
        ("They met in 1998.", "They met in 1999.", "the number 1999"),
        ("It was the 1998s.", "It was 98.", "the number 98"),
        ("There were 1200 fans.", "There were 12 fans.", "the number 12"),
        ("They scored 20.", "They scored thirty-one or 21.", "the number 21"),
        ("They scored twenty.", "They scored twelve.", "the number twelve"),
        ("Each paid $3.5, or 15 percent.", "Each paid $35.", "the number 35"),
        ("Only one of them.", "Only two of them.", "the number two"),
        ("Then the Denver Broncos won.", "Then the Carolina Broncos won.", "the name Carolina Broncos"),
        ("It was Manning's day.", "It was Brady's day.", "the name Brady's"),
        ("Did Peyton’s team win?", "Did Eli’s team win?", "the name Eli’s"),
        ("Yesterday it rained. Nobody came.", "Yesterday it rained in Boston.", "the name Boston"),
        ("I think so. \"Yes\", he said: Never.", "I think so, Tom.", "the name Tom"),
        ("1. the Panthers\n2. the Broncos", "1. the Panthers\n2. the Giants", "the name Giants"),
        ("Denver", "Boston", "the name Boston"),
        ("Every Muslim.", "Every Christian.", "the name Christian"),
        ("It was asked by Super Bowl fans.", "It was asked by Super League fans.", "the name Super League"),
        ("", "Peyton", None),
    ],
)  # fmt: skip
def test_a_claim_needs_its_ground_and_its_neighbour_has_it(kept, dropped, reason):
    query = "Who won the Super Bowl?"
    assert ungrounded(kept, CONTEXT, query) is None
    assert ungrounded(dropped, CONTEXT, query) == (f"{reason} stands neither in the context nor in the query" if reason else None)


def test_a_name_may_not_be_joined_over_a_full_stop_or_of_two_texts():
    reason = "the name Anna Bell stands neither in the context nor in the query"
    assert ungrounded("It was Anna Bell.", "Here is Anna", "Bell rang?") == reason
    assert ungrounded("It was Anna Bell.", "Here is Anna. Bell rang. Anna-Lee", "Bell?") == reason
    assert ungrounded("It was Anna Bell.", "Here is Anna\nBell.", "Who?") is None
    assert ungrounded("It was New York in six days.", "A New York-based six-day event.", "") is None


def test_what_grounding_cannot_see_is_known():
    assert ungrounded("Boston won.", CONTEXT, "") is None  # a name at the beginning of a sentence
    assert ungrounded("The Denver Broncos scored 15% less in 1998.", CONTEXT, "") is None  # wrong, of grounded parts


@pytest.mark.parametrize("text", ["A'" * 10_000, "A " * 10_000, "1," * 10_000, "\n \"" * 7_000, ". " * 10_000, "- " * 10_000, "A.A&" * 5_000], ids=range(7))
def test_a_hostile_answer_costs_no_time(text):
    start = time.perf_counter()
    ungrounded(text, text, "")
    assert time.perf_counter() - start < 1


@pytest.mark.skipif(not XQUAD.is_file(), reason=f"{XQUAD.name} is not beside the repository: no real questions")
def test_real_gold_answers_are_grounded_in_their_paragraph_and_not_in_another():
    paragraphs = [json.loads(line) for line in XQUAD.read_text().splitlines()]
    shifted = paragraphs[120:] + paragraphs[:120]
    asked = [(qa["a"][0], qa["q"], own["context"], other["context"]) for own, other in zip(paragraphs, shifted, strict=True) for qa in own["qas"]]
    claims = [row for row in asked if any(letter.isupper() or letter.isdigit() for letter in row[0])]
    assert (len(asked), len(claims)) == (1190, 762)
    assert sum(ungrounded(answer, context, query) is None for answer, query, context, _ in asked) == 1189  # "2,70" is cut out of 2,700
    assert sum(ungrounded(answer, other, query) is not None for answer, query, _, other in claims) / len(claims) > 0.95


@pytest.mark.skipif(not DOLLY.is_file(), reason=f"{DOLLY.name} is not beside the repository: no real free answers")
def test_most_free_answers_of_people_are_grounded_to_the_letter():
    with gzip.open(DOLLY, "rt") as file:
        rows = [row for row in json.load(file) if row["input"]]
    reasons = [ungrounded(row["output"], row["input"], row["instruction"]) for row in rows]
    assert len(rows) == 434
    assert 0.65 < sum(reason is None for reason in reasons) / len(rows) < 0.8  # five in six of the refused name what the context does not hold


@pytest.mark.parametrize("answer", ["It takes 9, or a little more.", "A 0 turns into a 6 or a 9, which is a trick.", "After 22:00, ring the bell.", "Of 1,200, none."])
def test_a_comma_after_a_number_is_no_part_of_it(answer):
    assert ungrounded(answer, "9 or 6 or 0; 22:00; 1200 of them.", "") is None
    assert ungrounded(answer, "Nothing is counted here.", "") is not None
