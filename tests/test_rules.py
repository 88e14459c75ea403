"""The rules of tier 0: for each one a text that it drops for its reason and a near neighbour that it keeps."""

import gzip
import json
import re
from collections import Counter
from pathlib import Path

import polars as pl
import pytest

from espalier.scorers.rules.reading import read_row
from espalier.scorers.rules.repeats import measure_repeats
from espalier.scorers.rules.table import FAMILIES, RULES, broken_reasons, broken_rules, broken_rules_of
from espalier.text import words

DATA = Path(__file__).parents[2] / "shared/data"

PROSE = (
    "The old ferry left the island at noon and the wind that had been with us all morning turned to the north. We stood at the rail and looked for "
    "the lighthouse, which someone had painted white again. Nobody spoke for a while. Then my sister asked whether the harbour would still be open, "
    "and the captain laughed and said that it had never been shut in forty years."
)  # 69 words


def reason(rule: str, answer: str, query: str = "Say something.", **more: object) -> str | None:
    return broken_reasons({"query": query, "answer": answer, **more}, openings=("Once upon a time",)).get(rule)


REPLIES = {
    "reply:empty": [("", "empty", "9"), ("and of the , if !", "says nothing", "and of the sea , if !")],
    "reply:refusal": [("I'm sorry, but I can't help with that.", "refused", "I'm sorry to hear that your parcel is late.")],
    "reply:leak": [
        ("Make the rewritten prompt shorter.", "leaks the prompt: rewritten prompt", "Make the rewritten letter shorter."),
        ("Paris.\n### Response:\nRome.", "holds a template's ### response:", "Paris.\n### Responses of the jury\nRome."),
        ("Paris.\nHuman: And of Italy?", "holds a template's human:", "Paris.\nHumankind: a word for all of us."),
    ],
    "reply:opening": [("“Once upon a time there was a cat.", "opens with: Once upon a time", "There was once upon a time a cat.")],
    "reply:truncated": [
        ("The bird reminds us of the importance of", 'ends with "of"', "The bird reminds us what care is made of."),
        ("She bought apples, pears, plums,", 'ends with ","', "I look forward to it.\n\nSincerely,"),
    ],
    "language:english": [
        ("Das ist nicht der Weg und es wird auch dunkel mit der Zeit.", "0 function words of English and 10 of other languages in 13", "Ford Mustang, Dodge Dart, Buick Special, Nash Rambler, Kaiser Manhattan, Hudson Hornet"),
        ("il est tard et la nuit sera une nuit sans lune pour nous", "0 function words of English and 6 of other languages in 13", "60 miles per hour, 40 miles per hour, 20 miles per hour, 9 miles per hour: van, van"),
    ],
    "language:script": [("Это ответ.", "8 letters of another script", "The angle θ is π/2.")],
    "language:control": [("a\x00b", "character U+0000", "a\tb"), ("It�s late.", "character U+FFFD", "It’s late.")],
    "language:misread": [("It’s cafÃ© time.", 'misread letters "Ã©"', "São Paulo, café, Ã.")],
    "form:brackets": [("He left (at noon.", "1 brackets opened, 0 closed", "1) He left (at noon). b) The interval [0, 1) is half open, the other (2, 3]. :)")],
    "form:quotes": [('He said "go.', "1 quotation marks", 'A 5" nail, he said "go".')],
    "form:fences": [("```python\nprint(1)", "a fence is not closed", "```python\nprint(1)\n```")],
    "form:numbering": [
        ("1. a\n2. b\n4. d", "2 is followed by 4", "1. a\n2. b\n\nThen:\n1. c\n2. d"),
        ("1. a\n  1. x\n  3. z\n2. b", "1 is followed by 3", "1. a\n  1. x\n  2. y\n2. b\n  1. z"),
    ],
    "form:promised": [
        ("Here are three ways:\n- walk\n- swim", "promises 3, lists 2", "Here are three ways:\n- walk\n- swim\n- fly"),
        ("The following 2 cities are large:\n1. Rome\n2. Paris\n3. Bonn", "promises 2, lists 3", "GPT-3 has these uses:\n1. chat\n2. search"),
    ],
}


@pytest.mark.parametrize(("rule", "dropped", "why", "kept"), [(rule, *case) for rule, cases in REPLIES.items() for case in cases])
def test_a_rule_of_replies_drops_its_text_for_its_reason_and_keeps_the_neighbour(rule, dropped, why, kept):
    assert (reason(rule, dropped), reason(rule, kept)) == (why, None)


def test_a_reply_that_says_the_query_back_is_an_echo_and_one_that_takes_it_up_is_none():
    query = "What is the capital of the Netherlands?"
    assert reason("reply:echo", "what is the capital of  the Netherlands ?", query) == "says the query back"
    assert reason("reply:echo", f"{query} It is Amsterdam.", query) == "starts with the whole query"
    assert reason("reply:echo", "The capital of the Netherlands is Amsterdam.", query) is None
    assert reason("reply:echo", "Say yes.", "Say yes.") is None  # fewer than five words may be wanted back


def test_a_reply_that_ran_into_the_token_limit_is_cut_off_whatever_it_ends_with():
    assert reason("reply:truncated", "All is well.", finish="length") == "cut off by the token limit"
    assert reason("reply:truncated", "All is well.", finish="stop") is None


@pytest.mark.parametrize(
    ("rule", "answer", "query"),
    [
        ("reply:refusal", "As an AI judge I find the robot not guilty.", "You are an AI judge. Give your verdict."),
        ("reply:refusal", "I'm sorry, but I cannot help at the fair.", "Write an excuse."),
        ("reply:leak", "Bot: Hello!\nUser: A table for two.", "Write a chatbot dialogue."),
        ("language:english", "Das ist nicht der Weg und es wird auch dunkel mit der Zeit.", "Put it in German."),
        ("language:script", "Это ответ.", "Translate: this is the answer."),
    ],
)
def test_what_the_query_asks_for_is_no_fault(rule, answer, query):
    assert (reason(rule, answer, query), reason(rule, answer) is None) == (None, False)


def page(rule: str, text: str) -> str | None:
    return reason(rule, text, query="")


DOCUMENTS = {  # rule: dropped, reason, kept; limits of the papers, see the sums
    "gopher:word_count": ("word " * 49, "49 words", "word " * 50),
    "gopher:word_length": ("ab " * 60, "mean word length 2.0", "abc " * 60),
    "gopher:hashes": ("# word " * 5 + "word " * 39, "5 # in 49 words", "# word " * 5 + "word " * 40),  # 5/49 > 0.1, 5/50 = 0.1
    "gopher:ellipses": ("word... " * 5 + "word " * 44, "5 ellipses in 49 words", "word... " * 5 + "word " * 45),
    "gopher:bullets": ("- a b\n" * 10, "100% of lines are bullets", "- a b\n" * 9 + "end\n"),  # 9/10 = 0.9
    "gopher:ellipsis_lines": ("a...\nb...\nc\nd\ne\nf", "33% of lines end with an ellipsis", "a...\nb…\nc\nd\ne\nf\ng"),  # 2/6, 2/7
    "gopher:letters": ("1 " * 11 + "word " * 39, "39 of 50 words hold a letter", "1 " * 10 + "word " * 40),  # 0.78, 0.8
    "gopher:stop_words": ("The to stranger came", "1 of 8 common words", "the to stranger came"),
    "repetition:lines": ("abc\nabc\ndef", "33% of lines are copies", "abc\nabc\ndef\nghi"),  # 1/3, 1/4
    "repetition:line_characters": ("long line here\nlong line here\na\nb\nc\nd", "38% of characters in copied lines", "long line here\na\na\nb\nc\nd"),  # 14/37
    "repetition:paragraphs": ("abc\n\nabc\n\ndef", "33% of paragraphs are copies", "abc\nabc\n\nabc\n\ndef\n\nghi"),
    "repetition:paragraph_characters": ("long words here\n\nlong words here\n\na\n\nb", "39% of characters in copied paragraphs", "long words here\n\na\n\na\n\nb"),  # 15/38
    "repetition:top_2gram": ("of it x of it y", "67% of characters in the top 2-gram", "of it x if at y"),  # 2 x 5 of 15
    "repetition:top_3gram": ("a b c x a b c y", "67% of characters in the top 3-gram", "a b c x a b d y"),  # 2 x 5 of 15
    "repetition:top_4gram": ("a b c d x a b c d y", "74% of characters in the top 4-gram", "a b c d x a b c e y"),  # 2 x 7 of 19
    "repetition:copied_5grams": ("a b c d e x a b c d e", "24% of characters in copied 5-grams", "a b c d e x a b c d f"),  # 5 of 21
    "repetition:copied_10grams": ("a b c d e f g h i j x a b c d e f g h i j", "24% of characters in copied 10-grams", "a b c d e f g h i j x a b c d e f g h i k"),  # 10 of 41
    "c4:lorem_ipsum": ("Lorem  ipsum dolor sit amet.", "lorem ipsum", "Lorem is no Latin word."),
    "c4:curly_bracket": ("if (x) { y }", "a curly bracket", "if (x) [ y ]"),
    "c4:sentences": ("One short line of words. And a second one here.\nA line without its end mark", "2 sentences of prose", "One short line of words. And a second one here.\nA line that has its end mark."),
    "fineweb:line_ends": ("a b\n" * 8 + "c.", "11% of lines end with punctuation", "a b\n" * 7 + "c."),  # 1/9 <= 0.12 < 1/8
    "fineweb:short_lines": ("x" * 29 + "\n" + "x" * 29 + "\n" + "y" * 29 + "\n" + "z" * 30, "75% of lines are short", "x" * 29 + "\n" + "y" * 29 + "\n" + "z" * 30),  # 2/3 < 0.67
    "fineweb:copied_lines": ("abcdefghi\nabcdefghi\n" + "x" * 70, "10% of characters in copied lines", "abcdefgh\nabcdefgh\n" + "x" * 70),  # 9/90, 8/88
    "fineweb:line_breaks": ("a\nb\nc d e f", "0.33 line breaks a word", "a\nb c d\ne f g"),  # 2/6, 2/7
}


@pytest.mark.parametrize("rule", DOCUMENTS)
def test_a_rule_of_pages_drops_above_the_limit_of_its_paper_and_keeps_at_it(rule):
    dropped, why, kept = DOCUMENTS[rule]
    assert (page(rule, dropped), page(rule, kept)) == (why, None)


def test_every_rule_has_its_pair_here():
    copied = {f"repetition:copied_{n}grams" for n in (6, 7, 8, 9)}  # as 5 and 10, tested against the formulas below
    assert {*REPLIES, *DOCUMENTS, "reply:echo"} | copied == set(RULES)


def test_page_rules_say_nothing_of_replies():
    pages = {rule for rule in RULES if rule.split(":")[0] in ("gopher", "c4", "fineweb", "repetition")}
    for dropped, _, _ in DOCUMENTS.values():
        assert pages & set(broken_rules({"query": "What?", "answer": dropped})) == set()


def test_repeats_are_measured_in_replies_of_200_words_that_are_no_code():
    loop = "we go on and on and so we stop here "
    assert "repetition:top_4gram" in broken_rules({"query": "Sing.", "answer": loop * 20})
    assert broken_rules({"query": "Sing.", "answer": loop * 19 + "x"}) == []  # 191 words
    assert broken_rules({"query": "Sing.", "answer": f"```\n{loop * 20}\n```"}) == []


def test_prose_breaks_no_rule_as_reply_or_as_page():
    assert (broken_rules({"query": "Tell me of the ferry.", "answer": PROSE}), broken_rules({"query": "", "answer": PROSE})) == ([], [])
    assert len(words(PROSE)) == 69


def test_rules_speak_in_the_order_of_the_table_and_names_start_with_their_family():
    found = broken_rules({"query": "Go on.", "answer": "As an AI I cannot (yet\x00"})
    assert found == ["reply:refusal", "language:control", "form:brackets"]
    assert list(dict.fromkeys(name.split(":")[0] for name in RULES)) == list(FAMILIES)


def test_a_frame_is_judged_row_by_row_and_lacks_may_be_null():
    frame = pl.DataFrame({"query": ["Name one.", None], "answer": ["Rome (of course.", None], "finish": ["stop", None]})
    found = broken_rules_of(frame)
    assert found.to_list() == [["form:brackets"], ["reply:empty", "gopher:word_count", "c4:sentences"]]
    assert (found.name, found.dtype) == ("broken_rules", pl.List(pl.String))


def test_a_frame_without_rows_has_a_column_of_its_type():
    assert broken_rules_of(pl.DataFrame(schema={"query": pl.String, "answer": pl.String})).dtype == pl.List(pl.String)


@pytest.mark.parametrize("text", ["\ud800", "{" * 10**5, "1." * 10**5, '"' * 10**5, "(" * 50_001 + ")" * 50_000, "\n" * 10**5, "a)" * 10**5, " " * 10**5, "=" * 10**5, "<" * 10**5], ids=lambda text: ascii(text[:4]))
def test_no_text_makes_a_rule_fall_or_wait(text):
    assert isinstance(broken_rules({"query": text, "answer": text}), list)
    assert isinstance(broken_rules({"query": "", "answer": text}), list)


def naive_repeats(text: str, found: list[str]) -> tuple[dict[int, float], dict[int, float]]:
    """Table A1 by the book: count every n-gram of every size."""
    top, copied = {}, {}
    for n in (2, 3, 4):
        grams = [" ".join(found[i : i + n]) for i in range(len(found) - n + 1)]
        gram, count = Counter(grams).most_common(1)[0] if grams else ("", 0)
        top[n] = count * len(gram) / len(text) if count > 1 else 0.0
    for n in (5, 6, 7, 8, 9, 10):
        seen, characters, at = set(), 0, 0
        while at + n <= len(found):
            gram = tuple(found[at : at + n])
            characters += len("".join(gram)) if gram in seen else 0
            at += n if gram in seen else 1
            seen.add(gram)
        copied[n] = characters / len(text)
    return top, copied


def real_texts() -> list[str]:
    pages, replies = DATA / "llamafactory_demos/c4_demo.jsonl", DATA / "alpaca_subsets/claude_t45.json.gz"
    if not (pages.exists() and replies.exists()):
        pytest.skip("shared/data/llamafactory_demos and alpaca_subsets are not here")
    texts = [json.loads(line)["text"] for line in pages.read_text().splitlines()]
    return texts + [record["output"] for record in json.loads(gzip.open(replies).read()) if record["output"]][:1000]


def test_repeats_of_real_texts_are_those_of_the_formulas():
    differing = []
    for text in real_texts():
        found = measure_repeats(text, words(text), lines=[], paragraphs=[])
        differing += [text] if (found.top, found.duplicate) != naive_repeats(text, words(text)) else []
    assert differing == []


def test_verdicts_of_gopher_on_real_texts_are_those_of_the_formulas():
    for text in real_texts():
        read, found = read_row({"query": "", "answer": text}, openings=()), text.split()
        lines = [line for line in text.split("\n") if line.strip()]
        wanted = {
            "gopher:word_count": not 50 <= len(found) <= 100_000,
            "gopher:word_length": not 3 <= len("".join(found)) / len(found) <= 10,
            "gopher:hashes": text.count("#") / len(found) > 0.1,
            "gopher:ellipses": len(re.findall(r"\.\.\.|…", text)) / len(found) > 0.1,
            "gopher:bullets": len([line for line in lines if re.match(r"\s*[•-]", line)]) / len(lines) > 0.9,
            "gopher:ellipsis_lines": len([line for line in lines if re.search(r"(\.\.\.|…)\s*$", line)]) / len(lines) > 0.3,
            "gopher:letters": len([word for word in found if re.search(r"[^\W\d_]", word)]) / len(found) < 0.8,
            "gopher:stop_words": len({"the", "be", "to", "of", "and", "that", "have", "with"} & set(found)) < 2,
        }
        assert {name: RULES[name](read) is not None for name in wanted} == wanted, text[:200]
