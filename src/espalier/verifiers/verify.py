"""One way in to all verifiers: the word of a leaf's verifier, and the texts -> right, wrong, unparseable or unknown, with the reason.

    math        the final answer has the gold value                   (`numeric`; imports sympy for formulas alone)
    choice      the answer is the gold choice: case, blanks, quotes and final punctuation aside
    grounding   every number and name stands in context or query      (`grounding`)
    checks      the constraints hold, nothing else is asked
    gym:TASK    the task's own verifier                               (`gym`; gold is the metadata that `gym_examples` gave)
    ""          nobody can tell: unknown

Whatever the word, all `checks` must hold too.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from espalier.errors import ParamsError
from espalier.params import did_you_mean
from espalier.verifiers.checks import check, choice_key
from espalier.verifiers.constraints import Constraint, instruction
from espalier.verifiers.grounding import ungrounded

GYM = "gym:"
VERIFIERS = ("math", "choice", "grounding", "checks", "gym:TASK")


@dataclass(frozen=True, slots=True)
class Verdict:
    """`verdict` is right | wrong | unparseable | unknown; `reason` is "" for right and unknown."""

    verdict: str
    reason: str = ""


def check_verifier(word: str, *, where: str) -> None:
    """Raises: ParamsError for a word that names no verifier ("" is one); EspalierError for a gym task that is not allowed."""
    if word.startswith(GYM):
        from espalier.verifiers.gym import check_task

        check_task(word.removeprefix(GYM))
    elif word and word not in VERIFIERS:
        raise ParamsError(f'{where} is "{word}"; {did_you_mean(word, VERIFIERS)}')


def verify_answer(verifier: str, *, answer: str, context: str, query: str, gold: str, checks: Sequence[Constraint]) -> Verdict:
    """The verdict on one answer; the word must have passed `check_verifier`. Unparseable: the verifier needs a gold and there is none that it can read.

    >>> verify_answer("math", answer="That makes 42.", context="", query="What is 6 * 7?", gold="42", checks=())
    Verdict(verdict='right', reason='')
    """
    for one in checks:
        reason = check(one, answer)
        if reason:
            return Verdict("wrong", f"{one.kind}: {reason}; asked: {instruction(one)}"[:300])
    if not verifier:
        return Verdict("unknown")
    if verifier.startswith(GYM):
        from espalier.verifiers.gym import gym_verify

        return _verdict(gym_verify(verifier.removeprefix(GYM), gold, answer)) if gold.strip() else _no_gold(verifier)
    if verifier == "math":
        return _math(answer, gold)
    if verifier == "choice":
        return _verdict(_other_choice(answer, gold)) if choice_key(gold) else _no_gold(verifier)
    if verifier == "grounding":
        return _verdict(ungrounded(answer, context, query) if answer.strip() else "the answer is empty")
    assert verifier == "checks", f"{verifier!r} is no verifier; it must be one of {VERIFIERS}"
    return _verdict(None) if checks else Verdict("unparseable", "the verifier is checks, and there are none")


def _math(answer: str, gold: str) -> Verdict:
    from espalier.verifiers.numeric import has_value, same_value

    if not gold.strip():
        return _no_gold("math")
    reason = same_value(answer, gold)
    if reason and not has_value(gold):
        return Verdict("unparseable", reason)
    return _verdict(reason)


def _other_choice(answer: str, gold: str) -> str | None:
    return None if choice_key(answer) == choice_key(gold) else f"is not the gold choice {gold.strip()[:40]}"


def _no_gold(verifier: str) -> Verdict:
    return Verdict("unparseable", f"{verifier} needs a gold answer, and there is none")


def _verdict(reason: str | None) -> Verdict:
    return Verdict("wrong", reason) if reason else Verdict("right")
