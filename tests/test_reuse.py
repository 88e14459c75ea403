"""One cache for every max_tokens: what a stored reply answers, and what is asked again."""

from dataclasses import replace

import pytest

from espalier.teachers.base import Completion
from espalier.teachers.cache import Cache
from tests.test_cache import WORDS, generate, key, wanted
from tests.worlds import Scripted, tiny_model


@pytest.fixture
def cache(tmp_path):
    opened = Cache(tmp_path / "cache.sqlite")
    yield opened
    opened.close()


@pytest.mark.parametrize(
    ("stored", "max_tokens", "found"),
    [
        (["stop of 9 at 16"], 16, "stop of 9 at 16"),
        (["stop of 9 at 16"], 48, "stop of 9 at 16"),
        (["stop of 9 at 16"], 10, "stop of 9 at 16"),
        (["stop of 9 at 16"], 9, None),  # some endpoints do not count the end token
        (["length of 16 at 16"], 16, "length of 16 at 16"),
        (["length of 16 at 16"], 17, None),
        (["length of 16 at 16"], 15, None),
        (["length of 16 at 16", "stop of 20 at 48"], 16, "length of 16 at 16"),
        (["length of 16 at 16", "stop of 20 at 48"], 21, "stop of 20 at 48"),
        (["length of 16 at 16", "stop of 20 at 48"], 20, None),
        (["stop of 9 at 48", "stop of 9 at 16"], 32, "stop of 9 at 16"),  # two runs wrote at once: always the same one answers
        (["stop of 9 at 48", "stop of 9 at 16"], 48, "stop of 9 at 48"),
    ],
)
def test_a_stored_reply_answers_the_limits_under_which_it_is_known_to_be_the_same(cache, stored, max_tokens, found):
    for text in stored:
        finish, _, tokens, _, at = text.split()
        cache.add({key("k", int(at)): Completion(text, finish, 5, int(tokens), -0.25)})
    assert {one: reply.text for one, reply in cache.find([key("k", max_tokens)]).items()} == ({key("k", max_tokens): found} if found else {})


def limited(max_tokens):
    """A teacher whose reply to seed i has i + 1 tokens with its end, unless it is cut off."""
    def reply(request):
        whole = request.seed + 1 <= max_tokens
        return Completion("w " * min(request.seed, max_tokens), "stop" if whole else "length", 5, min(request.seed + 1, max_tokens), -0.25)

    return Scripted(reply)


def test_a_raised_limit_asks_only_the_replies_that_were_cut_off_and_a_lowered_one_only_those_that_do_not_fit(cache):
    def run(max_tokens):
        teacher = limited(max_tokens)
        requests = [replace(request, max_tokens=max_tokens) for request in wanted(30)]
        return generate(teacher, requests, cache), [request.seed for request in teacher.asked], limited(max_tokens).generate(requests)

    for max_tokens, asked in [(12, [*range(30)]), (20, [*range(12, 30)]), (8, [*range(7, 30)]), (16, [*range(15, 30)]), (12, []), (20, []), (99, [*range(20, 30)])]:
        replies, seeds, undisturbed = run(max_tokens)
        assert seeds == asked, max_tokens
        assert replies == undisturbed, max_tokens


def test_two_limits_in_one_call_are_two_requests(cache):
    cut, whole = replace(wanted(6)[5], max_tokens=3), wanted(6)[5]
    teacher = Scripted(lambda request: limited(request.max_tokens).reply(request))
    assert [reply.finish for reply in generate(teacher, [cut, whole, cut], cache)] == ["length", "stop", "length"]
    assert teacher.asked == [cut, whole]


def test_a_real_models_finished_replies_are_those_that_it_gives_under_a_higher_limit(cache, tmp_path):
    from espalier.teachers.hf import HfTeacher

    teacher = HfTeacher(tiny_model(tmp_path / "model", words=WORDS))
    low, high = ([replace(request, max_tokens=most) for request in wanted(60)] for most in (12, 24))
    first = generate(teacher, low, cache)
    cut = [request for request, reply in zip(high, first, strict=True) if reply.finish == "length"]
    assert 10 < len(cut) < 50
    counting = Scripted(lambda request: teacher.generate([request])[0])

    def words(replies):  # log-probabilities come from batches of other rows, and may differ in the last bit
        return [(reply.text, reply.finish, reply.tokens) for reply in replies]

    assert words(generate(counting, high, cache)) == words(teacher.generate(high))
    assert counting.asked == cut
