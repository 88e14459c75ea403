import math

import numpy as np
import pytest
import torch
from scipy.stats import chi2
from transformers import GenerationConfig

from espalier.model import build_model
from espalier.seeds import number
from espalier.settings import Model
from espalier.sizes import shape_of
from espalier.teachers.decoders import LibraryDecoder
from espalier.teachers.llama import LlamaDecoder
from espalier.teachers.sampler import Sampling, log_likelihoods, sample

VOCABULARY, PAD, END, ROOM = 30, 0, 2, 64
DRAWS = 4000
PROMPTS = [[4, 9, 5], [4, 11, 12, 13, 14, 15, 5], [4, 5], [4, 29, 28, 5], [4, 9, 9, 9, 9, 9, 9, 9, 5], [4, 20, 6, 5]]


@pytest.fixture(scope="module")
def model():
    made = build_model(shape_of(Model(32, 2, 64, ROOM)), vocabulary=VOCABULARY, pad_id=PAD, end_id=END, seed=3).eval()
    with torch.no_grad():
        made.model.embed_tokens.weight[PAD] = made.model.embed_tokens.weight[9]  # a pad that would be seen if it were not masked
    return made


@pytest.fixture(scope="module", params=[LlamaDecoder, LibraryDecoder])
def decoder(model, request):
    return request.param(model)


@pytest.fixture
def shapes(model):
    """The shape of every input that goes through the model as the library calls it."""
    seen = []
    hook = model.register_forward_pre_hook(lambda module, args, kwargs: seen.append(tuple(kwargs["input_ids"].shape)), with_kwargs=True)
    yield seen
    hook.remove()


def sampling(temperature=1.0, *, top_p=1.0, max_tokens=16, end_ids=(END,)):
    return Sampling(temperature, top_p, max_tokens, ROOM, end_ids, PAD)


def seeds(n):
    return [number("test", i) for i in range(n)]


def draw(decoder, prompts, *, settings=None, first=0, batch=64):
    return sample(decoder, prompts, seeds(first + len(prompts))[first:], settings or sampling(), batch=batch)


def shares(model, ids, *, temperature=1.0):
    """The distribution of the id that follows `ids`, without cache, mask, padding or our code."""
    with torch.inference_mode():
        logits = model(input_ids=torch.tensor([ids])).logits[0, -1].double().numpy()
    scaled = np.exp((logits - logits.max()) / temperature)
    return scaled / scaled.sum()


def whole(reply):
    """The ids that the log-probability counts."""
    return [*reply.ids, END] if reply.ended else reply.ids


def first_ids(decoder, prompt, *, settings):
    replies = sample(decoder, [prompt] * DRAWS, seeds(DRAWS), settings, batch=DRAWS)
    return [whole(reply)[0] for reply in replies]


def assert_drawn_from(ids, expected):
    """Pearson's chi-square, with ids expected less than 5 times as one class; a right sampler fails once in a million."""
    wanted = np.asarray(expected) * len(ids)
    seen = np.bincount(ids, minlength=len(expected)).astype(float)
    assert seen[wanted == 0].sum() == 0
    rare = wanted < 5
    seen, wanted = np.append(seen[~rare], seen[rare].sum()), np.append(wanted[~rare], wanted[rare].sum())
    seen, wanted = seen[wanted > 0], wanted[wanted > 0]
    assert len(wanted) > 4, "too few classes to tell"
    assert ((seen - wanted) ** 2 / wanted).sum() < chi2.ppf(1 - 1e-6, len(wanted) - 1)


def test_temperature_0_is_the_librarys_own_greedy_search_token_by_token(model, decoder):
    replies = draw(decoder, PROMPTS, settings=sampling(0.0, max_tokens=20))
    config = GenerationConfig(do_sample=False, max_new_tokens=20, eos_token_id=END, pad_token_id=PAD)
    for prompt, reply in zip(PROMPTS, replies, strict=True):
        ids = torch.tensor([prompt])
        alone = model.generate(ids, attention_mask=torch.ones_like(ids), generation_config=config)[0, len(prompt) :].tolist()
        assert whole(reply) == alone
    assert {len(prompt) for prompt in PROMPTS} == {2, 3, 4, 7, 9}  # padded on the left by 0 to 7
    assert len({tuple(reply.ids) for reply in replies}) == len(PROMPTS)


@pytest.mark.parametrize("temperature", [1.0, 0.5])
def test_first_ids_are_drawn_from_the_softmax_at_the_temperature(model, decoder, temperature):
    ids = first_ids(decoder, PROMPTS[1], settings=sampling(temperature, max_tokens=1))
    assert_drawn_from(ids, shares(model, PROMPTS[1], temperature=temperature))


def test_the_test_of_the_distribution_tells_one_temperature_from_another(model, decoder):
    ids = first_ids(decoder, PROMPTS[1], settings=sampling(1.0, max_tokens=1))
    with pytest.raises(AssertionError):
        assert_drawn_from(ids, shares(model, PROMPTS[1], temperature=0.9))


def test_the_second_id_is_drawn_anew_given_the_first(model, decoder):
    replies = [whole(reply) for reply in sample(decoder, [PROMPTS[0]] * DRAWS, seeds(DRAWS), sampling(max_tokens=2), batch=DRAWS)]
    likely = int(np.argmax(np.bincount([ids[0] for ids in replies])))
    second = [ids[1] for ids in replies if ids[0] == likely]
    assert len(second) > 200
    assert_drawn_from(second, shares(model, [*PROMPTS[0], likely]))


@pytest.mark.parametrize("top_p", [0.7, 0.9])
def test_top_p_keeps_the_smallest_set_with_that_probability_in_its_old_proportions(model, decoder, top_p):
    expected = shares(model, PROMPTS[4])
    order = sorted(range(VOCABULARY), key=lambda i: -expected[i])
    size = next(n for n in range(1, VOCABULARY + 1) if sum(expected[i] for i in order[:n]) >= top_p)
    kept = np.where(np.isin(np.arange(VOCABULARY), order[:size]), expected, 0)
    ids = first_ids(decoder, PROMPTS[4], settings=sampling(top_p=top_p, max_tokens=1))
    assert set(ids) == set(order[:size])
    assert 4 < size < VOCABULARY
    assert_drawn_from(ids, kept / kept.sum())


def test_a_tiny_top_p_is_greedy(decoder):
    greedy = draw(decoder, PROMPTS, settings=sampling(0.0))
    assert [reply.ids for reply in draw(decoder, PROMPTS, settings=sampling(top_p=1e-9))] == [reply.ids for reply in greedy]


def test_the_same_seeds_give_the_same_replies_to_the_last_bit(decoder):
    assert draw(decoder, PROMPTS * 3) == draw(decoder, PROMPTS * 3)


def test_a_reply_does_not_depend_on_the_order_or_the_number_of_the_others(decoder):
    prompts, numbers = PROMPTS * 4, seeds(24)
    ids = [reply.ids for reply in sample(decoder, prompts, numbers, sampling(), batch=64)]
    backwards = sample(decoder, prompts[::-1], numbers[::-1], sampling(), batch=64)
    assert [reply.ids for reply in backwards] == ids[::-1]
    assert [reply.ids for reply in sample(decoder, prompts, numbers, sampling(), batch=5)] == ids
    assert [sample(decoder, [prompt], [seed], sampling(), batch=1)[0].ids for prompt, seed in zip(prompts, numbers, strict=True)] == ids


def test_other_seeds_give_other_replies_to_the_same_prompt(decoder):
    replies = [tuple(reply.ids) for reply in draw(decoder, [PROMPTS[0]] * 200)]
    long = [ids for ids in replies if len(ids) > 3]
    assert len(long) > 100
    assert len(set(long)) == len(long)


def test_a_reply_has_the_log_probability_of_its_tokens_and_of_its_end(model, decoder):
    prompts = PROMPTS * 5
    replies = draw(decoder, prompts, settings=sampling(0.6, top_p=0.9))
    likelihoods = log_likelihoods(model, prompts, [whole(reply) for reply in replies], pad_id=PAD, batch=7)
    assert {reply.ended for reply in replies} == {True, False}
    for prompt, reply, likelihood in zip(prompts, replies, likelihoods, strict=True):
        ids = whole(reply)
        by_hand = sum(math.log(shares(model, [*prompt, *ids[:place]])[token]) for place, token in enumerate(ids))
        assert reply.logprob == pytest.approx(by_hand, abs=1e-4)
        assert likelihood == pytest.approx(by_hand, abs=1e-4)


def test_max_tokens_counts_the_end_and_a_reply_that_is_cut_has_not_ended(decoder):
    prompt, seed, ids = next((p, s, r.ids) for p, s, r in zip(PROMPTS * 9, seeds(54), draw(decoder, PROMPTS * 9), strict=True) if r.ended and len(r.ids) > 2)
    fits = sample(decoder, [prompt], [seed], sampling(max_tokens=len(ids) + 1), batch=1)[0]
    cut = sample(decoder, [prompt], [seed], sampling(max_tokens=len(ids)), batch=1)[0]
    assert (fits.ids, fits.ended) == (ids, True)
    assert (cut.ids, cut.ended) == (ids, False)
    assert cut.logprob > fits.logprob  # the end token's is missing


def test_equal_prompts_are_read_once_and_finished_rows_leave_when_they_are_an_eighth(model, shapes):
    prompts = [PROMPTS[0], PROMPTS[2], PROMPTS[0], PROMPTS[5]] * 5
    replies = draw(LibraryDecoder(model), prompts)
    assert shapes[0] == (3, 4)  # three different prompts, the longest of 4 tokens
    unfinished, rows = [sum(len(reply.ids) > place for reply in replies) for place in range(15)], [20]
    for going in filter(None, unfinished):
        rows.append(going if rows[-1] - going >= rows[-1] / 8 else rows[-1])
    assert shapes[1:] == [(n, 1) for n in rows[1:]]
    assert rows[1:] != [n for n in unfinished if n]  # one that had finished stayed for a while
    assert len(set(rows)) > 3


def test_no_more_rows_than_the_batch_go_through_the_model_together(model, shapes):
    draw(LibraryDecoder(model), PROMPTS * 4, batch=5)
    assert max(rows for rows, _ in shapes) <= 5
    shapes.clear()
    log_likelihoods(model, PROMPTS, [[7, END]] * len(PROMPTS), pad_id=PAD, batch=4)
    assert shapes == [(4, 6), (2, 11)]  # by length: 2 3 4 4 | 7 9, and two tokens of reply


def test_each_of_the_end_ids_ends_a_reply(decoder):
    one, two = draw(decoder, PROMPTS * 9), draw(decoder, PROMPTS * 9, settings=sampling(end_ids=(7, END)))
    cut = [reply.ids.index(7) if 7 in reply.ids else len(reply.ids) for reply in one]
    assert [reply.ids for reply in two] == [reply.ids[:n] for reply, n in zip(one, cut, strict=True)]
    assert [reply.ended for reply in two] == [reply.ended or 7 in reply.ids for reply in one]
    assert sum(7 in reply.ids for reply in one) > 5


def test_a_reply_ends_with_the_context_whatever_max_tokens_says(decoder):
    prompts = [[4, *[9] * n, 5] for n in (40, 58, 61)]  # 42, 60 and 63 tokens of 64
    replies = [draw(decoder, prompts, settings=sampling(max_tokens=most, end_ids=(-1,))) for most in (1000, 3)]
    assert [[len(reply.ids) for reply in some] for some in replies] == [[22, 4, 1], [3, 3, 1]]
    assert [reply.ids[:3] for reply in replies[0]] == [reply.ids for reply in replies[1]]
    assert {reply.ended for some in replies for reply in some} == {False}


def test_nothing_asked_is_nothing_said(model, decoder):
    assert sample(decoder, [], [], sampling(), batch=4) == []
    assert log_likelihoods(model, [], [], pad_id=PAD, batch=4) == []
