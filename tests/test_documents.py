"""Passages of documents."""

import json
import random

import pytest

from espalier.documents import PASSAGE_WORDS, cut, passages
from espalier.errors import CorruptInput
from tests.closure import ROOT


def prose(words, seed=0):
    drawn = random.Random(seed)
    return " ".join(f"w{i}{drawn.choice(['', '', '', '.', '?'])}" for i in range(words))


def test_whole_paragraphs_stay_together_up_to_the_limit():
    assert cut("a b\n\nc d\n\ne f", most_words=4) == ["a b\n\nc d", "e f"]
    assert cut("a b\nc", most_words=4) == ["a b c"]
    assert cut("", most_words=4) == cut(" \n\n \n", most_words=4) == []


def test_a_longer_paragraph_is_cut_between_sentences_and_a_longer_sentence_between_words():
    assert cut("A b. C d e. F g h i.", most_words=5) == ["A b. C d e.", "F g h i."]
    assert cut("a b c d e", most_words=2) == ["a b", "c d", "e"]


@pytest.mark.parametrize("most", [1, 7, 50])
def test_no_word_is_lost_and_no_passage_is_too_long(most):
    text = "\n\n".join(prose(length, seed=length) for length in (1, 3, 60, 0, 200, 7))
    found = cut(text, most_words=most)
    assert " ".join(found).split() == text.split()
    assert all(0 < len(passage.split()) <= most for passage in found)


def test_files_come_in_the_order_of_their_paths_and_json_lines_in_theirs():
    files = {"b.md": "two", "a.jsonl": '{"text": "one"}\n\n{"text": "more", "id": 7}\n', "c.txt": "three\n\nfour"}
    assert passages(files) == ["one", "more", "two", "three\n\nfour"]


@pytest.mark.parametrize(("line", "said"), [("{", "not JSON"), ("[]", "has no text"), ('{"text": 7}', "has no text"), ("[" * 100_000, "not JSON")])
def test_a_line_that_holds_no_text_is_named(line, said):
    with pytest.raises(CorruptInput, match=rf"^a.jsonl, line 3: {said}") as raised:
        passages({"a.jsonl": f'{{"text": "one"}}\n\n{line}'})
    assert str(raised.value).endswith("every line is one object with the key text")


def test_the_shipped_documents_are_twelve_passages_of_150_to_220_words():
    text = (ROOT / "data/seeds/documents/general.jsonl").read_text()
    found = passages({"general.jsonl": text})
    assert found == [json.loads(line)["text"] for line in text.splitlines()]
    assert len(found) == 12
    assert all(150 <= len(passage.split()) <= PASSAGE_WORDS for passage in found)
