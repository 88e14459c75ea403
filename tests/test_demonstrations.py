"""What the built-in world shows its teacher: right, of its leaf, and never held out."""

import re
from collections import Counter

import numpy as np
import pytest

from espalier.attributes import parse_attributes
from espalier.params import parse_params
from espalier.prompts import parse_prompt
from espalier.ranges import STEPS
from espalier.stats import weights_by_rank
from espalier.world.demonstrations import SIZES, demonstrate
from espalier.world.grammar import HELD_OUT_WORDING, LEAF_OF, gains, parse, verify
from espalier.world.materials import LEVELS
from tests.closure import ROOT
from tests.test_world import VERBS

# Demonstrations


FOLDER = ROOT / "data/seeds"
ATTRIBUTES = parse_attributes((FOLDER / "attributes/builtin.yaml").read_text(), file="builtin.yaml")
PROMPTS = {file.stem: parse_prompt(file.read_text(), file=file.name, attributes=ATTRIBUTES) for file in (FOLDER / "prompts/builtin").glob("*.yaml")}
RECIPES = parse_params((ROOT / "params.yaml").read_text()).recipes
RANKS = {leaf: rank for rank, leaf in enumerate(LEAF_OF, 1)}


def shown(*recipes, n=1500, skew=1.0, answer_share=0.5, held_out=frozenset(), seed=1):
    prompts = [[PROMPTS[RECIPES[name].steps[step]] for step in STEPS if step in RECIPES[name].steps] for name in recipes or sorted(RECIPES)]
    return demonstrate(prompts, RANKS, n=n, skew=skew, answer_share=answer_share, held_out=held_out, seed=seed)


def posed(demonstration):
    """Every whole problem that stands in a demonstration, the reply's last, or () for a step that writes material alone."""
    ((_, asked),) = demonstration.messages
    if found := re.fullmatch(r"(.*) ask about it( in \w+ : .*)? \.", asked):
        return (f"{found[1]} {demonstration.reply}",)
    if found := re.fullmatch(r"(.*) (deepen|widen) it \.", asked):
        return (found[1], demonstration.reply)
    if found := re.fullmatch(r"write a \w+ \w+ task : .*? , like : (.*)", asked):
        return (found[1], demonstration.reply)
    if re.fullmatch(r"write a text \.|write a \w+ text like : .*", asked):
        return ()
    return (demonstration.reply,) if asked.startswith("write a") else (asked,)


def test_every_problem_of_every_demonstration_parses_and_the_last_is_of_its_leaf_or_evolved_from_it():
    steps = Counter()
    for one in shown():
        found = [parse(text) for text in posed(one)]
        assert None not in found, one
        if re.search(r"(deepen|widen) it \.$", one.messages[0][1]):
            assert found[0].leaf.name == one.leaf
        elif found:
            assert found[-1].leaf.name == one.leaf
        steps[len(found)] += 1
    assert min(steps[0], steps[1], steps[2]) > 50


def test_every_answer_of_a_demonstration_is_right():
    demonstrations = shown(answer_share=1.0)
    assert {verify(one.messages[0][1], one.reply).verdict for one in demonstrations} == {"right"}
    assert {(parse(one.messages[0][1]).wording < HELD_OUT_WORDING, parse(one.messages[0][1]).level in LEVELS) for one in demonstrations} == {(True, True)}


@pytest.mark.parametrize("answer_share", [0.0, 0.25])
def test_the_share_of_answers_is_the_one_that_was_asked(answer_share):
    demonstrations = shown("direct", answer_share=answer_share, n=2000)
    answers = sum(one.messages[0][1] != "write a task ." for one in demonstrations)
    assert abs(answers - 2000 * answer_share) <= 4 * (2000 * answer_share * (1 - answer_share)) ** 0.5  # four standard deviations


def test_no_demonstration_holds_a_problem_that_is_held_out():
    free = {parse(text).key for one in shown() for text in posed(one)}
    held_out = frozenset(key for place, key in enumerate(sorted(free)) if place % 2)
    keys = {parse(text).key for one in shown(held_out=held_out) for text in posed(one)}
    assert len(held_out) > 400
    assert keys & held_out == set()
    assert len(keys) > 800


def test_no_evolution_leads_into_a_problem_that_is_held_out():
    numbers = [f"number : {first} {second} ." for first in range(1, 10) for second in range(10)]
    held_out = frozenset(parse(f"{number} {ask}").key for number in numbers for ask in ("even or odd ?", "previous number ?"))
    prompts = [PROMPTS[RECIPES["multistage"].steps[step]] for step in ("evolve", "answer")]
    made = demonstrate([prompts], {"foundational_skills/number/next": 1}, n=200, skew=1.0, answer_share=0.0, held_out=held_out, seed=1)
    reached = Counter((parse(one.reply).leaf.name, parse(one.reply).level) for one in made)
    assert {parse(one.reply).key for one in made} & held_out == set()
    assert min(reached["foundational_skills/number/spell", 1], reached["foundational_skills/number/even", 2]) > 3  # the ways beside it are taken


def test_the_leaves_of_the_demonstrations_follow_zipfs_law():
    n = 4000
    counts = Counter(one.leaf for one in shown("direct", n=n, answer_share=1.0))
    harmonic = sum(1 / rank for rank in range(1, 55))
    for rank, leaf in enumerate(list(LEAF_OF)[:5], 1):
        share = 1 / rank / harmonic
        assert abs(counts[leaf] / n - share) < 4 * (share * (1 - share) / n) ** 0.5  # four standard deviations
    even = Counter(one.leaf for one in shown("direct", n=n, answer_share=1.0, skew=0.0))
    assert sum((even[leaf] - n / 54) ** 2 / (n / 54) for leaf in LEAF_OF) < 90.6  # chi-square with 53 degrees of freedom: once in 1,000
    assert np.isclose(weights_by_rank(list(RANKS.values()), 1.0)[0], 1 / harmonic)


def test_a_conditional_demonstration_is_what_its_attributes_say():
    for one in shown("conditional", n=400, answer_share=0.0):
        size, topic, opening, style = re.fullmatch(r"write a (\w+) task : (.*) , (\w+) , (\w+) \.", one.messages[0][1]).groups()
        problem = parse(one.reply)
        assert (SIZES[problem.level - 1], problem.leaf.topic, problem.style) == (size, topic, style)
        assert problem.opening in (opening, "")
        assert topic in ATTRIBUTES["topic"]


def test_a_lab_demonstration_is_of_the_task_style_and_size_that_its_prompt_says():
    kinds = Counter()
    for one in shown("lab", n=600, answer_share=0.0):
        asked = one.messages[0][1]
        if found := re.fullmatch(r"write a (\w+) text like : (.*)", asked):
            size, document = found.groups()
            assert (SIZES[one.reply.count(" .") - 2], re.findall(VERBS, one.reply)[0]) == (size, re.findall(VERBS, document)[0])
            kinds["context"] += 1
        elif found := re.fullmatch(r"(.*) ask about it in (\w+) : (.*) \.", asked):
            problem = parse(f"{found[1]} {one.reply}")
            assert (problem.style, problem.leaf.task) == found.groups()[1:]
            kinds["grounded"] += 1
        else:
            size, style, task, example = re.fullmatch(r"write a (\w+) (\w+) task : (.*?) , like : (.*)", asked).groups()
            problem = parse(one.reply)
            assert (SIZES[problem.level - 1], problem.style, problem.leaf.task) == (size, style, task)
            assert parse(example).leaf == problem.leaf
            kinds["skill"] += 1
    assert min(kinds.values()) > 20
    assert len(kinds) == 3


def test_an_evolve_demonstration_gains_on_its_parent_and_stays_within_the_taught_levels():
    operations = Counter()
    for one in shown("multistage", n=600, answer_share=0.0):
        if found := re.fullmatch(r"(.*) (deepen|widen) it \.", one.messages[0][1]):
            parent, child = parse(found[1]), parse(one.reply)
            assert gains(found[1], one.reply)
            assert child.level == parent.level + (found[2] == "deepen")
            assert child.level in LEVELS
            assert (child.leaf == parent.leaf) == (found[2] == "deepen")
            operations[found[2]] += 1
    assert min(operations["deepen"], operations["widen"]) > 30


def test_the_same_seed_gives_the_same_demonstrations_and_another_seed_others():
    one, same, other = shown(n=200), shown(n=200), shown(n=200, seed=2)
    assert one == same
    assert sum(a == b for a, b in zip(one, other, strict=False)) < 20
