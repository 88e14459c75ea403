"""Gates and elimination: for each rule a text that it drops and a near neighbour that it keeps."""

import pytest

from espalier.gates import GATES, SHORT_WORDS, leaks, opens_badly, refused, says_nothing


@pytest.mark.parametrize(
    ("stopped", "kept"),
    [
        ("I'm sorry, but I can't help with that.", "I'm sorry to hear that your parcel is late."),
        ("Sorry, I am only a model.", "Sorry for the late reply; the ferry was stuck."),
        ("I can’t assist with this request.", "I can’t sleep since we moved. What could help?"),
        ("I cannot fulfill this.", "I cannot find my keys."),
        ("I apologize for the trouble, but I am unable to provide that.", "I apologize for the trouble that my dog caused."),
        ("Unfortunately, I can't help with that.", "Unfortunately, I can't swim."),
        ("As an AI, I have no birthday.", "As an airline pilot I have no birthday at home."),
        ("I'm unable to discuss politics.", "I'm unable to lift my arm above the shoulder."),
        ("I will not write that.", "I will not be at home on Tuesday."),
    ],
)
def test_who_declines_is_stopped_and_who_is_sorry_or_cannot_is_not(stopped, kept):
    assert (refused(stopped), refused(kept)) == ("refused", None)


def test_a_refusal_stands_at_the_start_and_is_short():
    words = "I cannot help with that. " + "word " * (SHORT_WORDS - 5)
    assert len(words.split()) == SHORT_WORDS
    assert (refused(words.rsplit(" ", 2)[0]), refused(words)) == ("refused", None)
    assert refused("Answer this letter: I cannot help with that.") is None


@pytest.mark.parametrize(
    ("stopped", "words", "kept"),
    [
        ("Make the rewritten task shorter.", "rewritten task", "Make the rewritten letter shorter."),
        ("The given prompt says so.", "given prompt", "The prompt that you were given says so."),
        ("Sort them like the example tasks.", "the example tasks", "Sort these example tasks by length."),
        ("#Rewritten#: sort them", "#rewritten", "# Rewritten by hand: sort them"),
    ],
)
def test_words_of_a_prompt_are_a_leak_and_like_words_are_none(stopped, words, kept):
    assert (leaks(stopped), leaks(kept)) == (f"leaks the prompt: {words}", None)


@pytest.mark.parametrize(("stopped", "kept"), [("", "7"), ("...!", "...x"), ("What is it?", "What is mud?"), ("- and / or -", "- and / oar -")])
def test_marks_and_stop_words_say_nothing_and_one_more_word_says_something(stopped, kept):
    assert (says_nothing(stopped), says_nothing(kept)) == ("says nothing", None)


@pytest.mark.parametrize("text", ["In the heart of the city", '"in the HEART OF', "**In the heart of", "  \n“In the heart of"])
def test_a_banned_opening_is_found_in_any_case_and_behind_quotes(text):
    assert opens_badly(text, ("Nestled in", "In the heart of")) == "opens with: In the heart of"


@pytest.mark.parametrize("text", ["In the heart, of course", "He lives in the heart of Rome", "", "Here’s"])
def test_the_same_words_elsewhere_are_no_opening(text):
    assert opens_badly(text, ("Nestled in", "In the heart of")) is None


@pytest.mark.parametrize("text", ["\0", "\ud800", "a" * 1_000_000, "’" * 1000, "\u202e"])
def test_no_text_makes_a_gate_fall(text):
    assert all(GATES[name](text, ("In the heart of",)) in (None, "says nothing") for name in GATES)
