import math

import numpy as np
import pytest
import torch
from scipy.stats import chi2
from transformers import GenerationConfig

from espalier.model import build_model
from espalier.seeds import number
from espalier.settings import Model
from espalier.teachers.sampler import Sampling, log_likelihoods, sample

VOCABULARY, PAD, END = 30, 0, 2
DRAWS = 4000
PROMPTS = [[4, 9, 5], [4, 11, 12, 13, 14, 15, 5], [4, 5], [4, 29, 28, 5], [4, 9, 9, 9, 9, 9, 9, 9, 5], [4, 20, 6, 5]]


@pytest.fixture(scope="module")
def model():
    made = build_model(Model(32, 2, 64, 64), vocabulary=VOCABULARY, pad_id=PAD, end_id=END, seed=3).eval()
    with torch.no_grad():
        made.model.embed_tokens.weight[PAD] = made.model.embed_tokens.weight[9]  # a pad that would be seen if it were not masked
    return made


@pytest.fixture
def shapes(model):
    """The shape of every input that goes through the model."""
    seen = []
    hook = model.register_forward_pre_hook(lambda module, args, kwargs: seen.append(tuple(kwargs["input_ids"].shape)), with_kwargs=True)
    yield seen
    hook.remove()


def sampling(temperature=1.0, *, top_p=1.0, max_tokens=16):
    return Sampling(temperature, top_p, max_tokens, END, PAD)


def seeds(n):
    return [number("test", i) for i in range(n)]


def draw(model, prompts, *, settings=None, first=0, batch=64):
    return sample(model, prompts, seeds(first + len(prompts))[first:], settings or sampling(), batch=batch)


def shares(model, ids, *, temperature=1.0):
    """The distribution of the id that follows `ids`, without cache, mask, padding or our code."""
    with torch.inference_mode():
        logits = model(input_ids=torch.tensor([ids])).logits[0, -1].double().numpy()
    scaled = np.exp((logits - logits.max()) / temperature)
    return scaled / scaled.sum()


def whole(reply):
    """The ids that the log-probability counts."""
    return [*reply.ids, END] if reply.ended else reply.ids


def first_ids(model, prompt, *, settings):
    replies = sample(model, [prompt] * DRAWS, seeds(DRAWS), settings, batch=DRAWS)
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


def test_temperature_0_is_the_librarys_own_greedy_search_token_by_token(model):
    replies = draw(model, PROMPTS, settings=sampling(0.0, max_tokens=20))
    config = GenerationConfig(do_sample=False, max_new_tokens=20, eos_token_id=END, pad_token_id=PAD)
    for prompt, reply in zip(PROMPTS, replies, strict=True):
        ids = torch.tensor([prompt])
        alone = model.generate(ids, attention_mask=torch.ones_like(ids), generation_config=config)[0, len(prompt) :].tolist()
        assert whole(reply) == alone
    assert {len(prompt) for prompt in PROMPTS} == {2, 3, 4, 7, 9}  # padded on the left by 0 to 7
    assert len({tuple(reply.ids) for reply in replies}) == len(PROMPTS)


@pytest.mark.parametrize("temperature", [1.0, 0.5])
def test_first_ids_are_drawn_from_the_softmax_at_the_temperature(model, temperature):
    ids = first_ids(model, PROMPTS[1], settings=sampling(temperature, max_tokens=1))
    assert_drawn_from(ids, shares(model, PROMPTS[1], temperature=temperature))


def test_the_test_of_the_distribution_tells_one_temperature_from_another(model):
    ids = first_ids(model, PROMPTS[1], settings=sampling(1.0, max_tokens=1))
    with pytest.raises(AssertionError):
        assert_drawn_from(ids, shares(model, PROMPTS[1], temperature=0.9))


def test_the_second_id_is_drawn_anew_given_the_first(model):
    replies = [whole(reply) for reply in sample(model, [PROMPTS[0]] * DRAWS, seeds(DRAWS), sampling(max_tokens=2), batch=DRAWS)]
    likely = int(np.argmax(np.bincount([ids[0] for ids in replies])))
    second = [ids[1] for ids in replies if ids[0] == likely]
    assert len(second) > 200
    assert_drawn_from(second, shares(model, [*PROMPTS[0], likely]))


@pytest.mark.parametrize("top_p", [0.7, 0.9])
def test_top_p_keeps_the_smallest_set_with_that_probability_in_its_old_proportions(model, top_p):
    expected = shares(model, PROMPTS[4])
    order = sorted(range(VOCABULARY), key=lambda i: -expected[i])
    size = next(n for n in range(1, VOCABULARY + 1) if sum(expected[i] for i in order[:n]) >= top_p)
    kept = np.where(np.isin(np.arange(VOCABULARY), order[:size]), expected, 0)
    ids = first_ids(model, PROMPTS[4], settings=sampling(top_p=top_p, max_tokens=1))
    assert set(ids) == set(order[:size])
    assert 4 < size < VOCABULARY
    assert_drawn_from(ids, kept / kept.sum())


def test_a_tiny_top_p_is_greedy(model):
    greedy = draw(model, PROMPTS, settings=sampling(0.0))
    assert [reply.ids for reply in draw(model, PROMPTS, settings=sampling(top_p=1e-9))] == [reply.ids for reply in greedy]


def test_the_same_seeds_give_the_same_replies_to_the_last_bit(model):
    assert draw(model, PROMPTS * 3) == draw(model, PROMPTS * 3)


def test_a_reply_does_not_depend_on_the_order_or_the_number_of_the_others(model):
    prompts, numbers = PROMPTS * 4, seeds(24)
    ids = [reply.ids for reply in sample(model, prompts, numbers, sampling(), batch=64)]
    backwards = sample(model, prompts[::-1], numbers[::-1], sampling(), batch=64)
    assert [reply.ids for reply in backwards] == ids[::-1]
    assert [reply.ids for reply in sample(model, prompts, numbers, sampling(), batch=5)] == ids
    assert [sample(model, [prompt], [seed], sampling(), batch=1)[0].ids for prompt, seed in zip(prompts, numbers, strict=True)] == ids


def test_other_seeds_give_other_replies_to_the_same_prompt(model):
    replies = [tuple(reply.ids) for reply in draw(model, [PROMPTS[0]] * 200)]
    long = [ids for ids in replies if len(ids) > 3]
    assert len(long) > 100
    assert len(set(long)) == len(long)


def test_a_reply_has_the_log_probability_of_its_tokens_and_of_its_end(model):
    prompts = PROMPTS * 5
    replies = draw(model, prompts, settings=sampling(0.6, top_p=0.9))
    likelihoods = log_likelihoods(model, prompts, [whole(reply) for reply in replies], pad_id=PAD, batch=7)
    assert {reply.ended for reply in replies} == {True, False}
    for prompt, reply, likelihood in zip(prompts, replies, likelihoods, strict=True):
        ids = whole(reply)
        by_hand = sum(math.log(shares(model, [*prompt, *ids[:place]])[token]) for place, token in enumerate(ids))
        assert reply.logprob == pytest.approx(by_hand, abs=1e-4)
        assert likelihood == pytest.approx(by_hand, abs=1e-4)


def test_max_tokens_counts_the_end_and_a_reply_that_is_cut_has_not_ended(model):
    prompt, seed, ids = next((p, s, r.ids) for p, s, r in zip(PROMPTS * 9, seeds(54), draw(model, PROMPTS * 9), strict=True) if r.ended and len(r.ids) > 2)
    fits = sample(model, [prompt], [seed], sampling(max_tokens=len(ids) + 1), batch=1)[0]
    cut = sample(model, [prompt], [seed], sampling(max_tokens=len(ids)), batch=1)[0]
    assert (fits.ids, fits.ended) == (ids, True)
    assert (cut.ids, cut.ended) == (ids, False)
    assert cut.logprob > fits.logprob  # the end token's is missing


def test_equal_prompts_are_read_once_and_finished_rows_leave_the_batch(model, shapes):
    prompts = [PROMPTS[0], PROMPTS[2], PROMPTS[0], PROMPTS[5]] * 5
    replies = draw(model, prompts)
    assert shapes[0] == (3, 4)  # three different prompts, the longest of 4 tokens
    unfinished = [sum(len(reply.ids) > place for reply in replies) for place in range(15)]
    assert shapes[1:] == [(rows, 1) for rows in unfinished if rows]
    assert unfinished[0] > unfinished[-1]


def test_no_more_rows_than_the_batch_go_through_the_model_together(model, shapes):
    draw(model, PROMPTS * 4, batch=5)
    assert max(rows for rows, _ in shapes) <= 5
    shapes.clear()
    log_likelihoods(model, PROMPTS, [[7, END]] * len(PROMPTS), pad_id=PAD, batch=4)
    assert shapes == [(4, 6), (2, 11)]  # by length: 2 3 4 4 | 7 9, and two tokens of reply


def test_nothing_asked_is_nothing_said(model):
    assert sample(model, [], [], sampling(), batch=4) == []
    assert log_likelihoods(model, [], [], pad_id=PAD, batch=4) == []
