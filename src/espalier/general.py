"""The world of real text: what can be checked of it without a grammar and without a judge.

A leaf's `verifier` (leaf.yaml) says how its answers are checked, its `checks` what every answer must hold to. A query may come with a `solution`, from which
the gold answer follows: an arithmetic expression (math), the right option (choice), the entry of a reasoning-gym task (gym:...). A row whose answer nothing
can check has the verdict unknown.

Evolution has executable counterparts where a leaf can be verified: `constrain` adds one more checkable constraint, `deepen` raises the level of a gym task.
"""

import json
from collections.abc import Mapping, Sequence
from typing import Any

import polars

from espalier.errors import ParamsError
from espalier.gates import leaks, refused, says_nothing
from espalier.nearest import NearestLeaf
from espalier.novelty import rouge_l
from espalier.phrases import STOP_WORDS
from espalier.seeds import digest, number, rng
from espalier.taxonomy import SeedLeaf
from espalier.text import fold, match_words
from espalier.verdicts import Judged
from espalier.verifiers.arithmetic import evaluate_expression
from espalier.verifiers.checks import check, choice_key
from espalier.verifiers.conflicts import draw_constraint
from espalier.verifiers.constraints import Constraint, as_mapping, instruction, parse_constraint
from espalier.verifiers.gym import deepen, gym_examples
from espalier.verifiers.numeric import said_answer
from espalier.verifiers.verify import GYM, check_verifier, verify_answer

Row = Mapping[str, Any]
KEYED = ("math", "choice")  # verifiers that compare with a gold answer
NEW_WORDS = 2  # content words that an in-depth evolution adds at least
SAME, RIGHT = 0.7, 0.5  # ROUGE-L from which a widened query is its parent again (arXiv 2212.10560); word overlap of a right free answer


class General:
    """The checks of one tree; see worlds.py for the interface."""

    def __init__(self, leaves: polars.DataFrame, seeds: polars.DataFrame) -> None:
        """leaves and seeds as the stage taxonomy writes them."""
        shown = seeds.filter(~polars.col("held_out"))
        self._nearest = NearestLeaf((leaf, f"{context} {query}") for leaf, context, query in shown.select("leaf", "context", "query").iter_rows())
        self._leaves = {row["leaf"]: row for row in leaves.iter_rows(named=True)}

    def verify(self, row: Row) -> Judged:
        """right | wrong | unknown, by the row's verifier and checks; its leaf is the one asked for, or else the nearest."""
        text = f"{row['context']} {row['query']}"
        leaf = row["leaf"] or self._nearest.find(text)
        gold, checks = _gold(row), constraints_of(row["checks"], where=row["id"])
        verifier = "" if row["verifier"] in KEYED and not gold else row["verifier"]
        found = verify_answer(verifier, answer=row["answer"], context=row["context"], query=row["query"], gold=gold, checks=checks)
        return Judged(found.verdict, leaf, digest(*match_words(text)))

    def read_answer(self, row: Row, answer: str) -> str:
        """The choice; the final number, where the verifier is math or the answer marks one; what else is marked as the answer; or all the words, case aside."""
        if row["verifier"] == "choice":
            return choice_key(answer)
        return said_answer(answer, marked=row["verifier"] != "math") or fold(answer).casefold()

    def grade(self, item: Row, reply: str) -> bool:
        """Whether a reply answers an exam item: by the leaf's verifier where it compares with a gold answer, else by its checks and the overlap of words."""
        leaf = self._leaves[item["leaf"]]
        checks = constraints_of(leaf["checks"], where=item["leaf"])
        if leaf["verifier"] in KEYED:
            found = verify_answer(leaf["verifier"], answer=reply, context=item["context"], query=item["query"], gold=item["answer"], checks=checks)
            return found.verdict == "right"
        return _overlap(reply, item["answer"]) >= RIGHT and not any(check(one, reply) for one in checks)

    def gain(self, parent: Row, child: str, operation: str) -> str | None:
        """Why a child is eliminated, or None; information gain is taken by words, not by a judge. Source: arXiv 2304.12244, section 3.2."""
        if reason := refused(child) or leaks(child) or says_nothing(child):
            return reason
        before, after = match_words(f"{parent['context']} {parent['query']}"), match_words(child)
        if operation == "widen":
            return "no other task" if rouge_l(match_words(parent["query"]), after) > SAME else None
        new = {word for word in after if word.isalnum() and word not in STOP_WORDS} - set(before)
        return None if len(new) >= NEW_WORDS else "no information gain"

    def evolve(self, row: Row, operation: str, *, seed: int) -> dict[str, str] | None:
        """The columns of a child that needs no teacher; None where one must be asked."""
        task = str(row["verifier"]).removeprefix(GYM)
        if operation == "deepen" and task != row["verifier"]:
            harder = deepen(task, row["solution"])
            return None if harder is None else {"query": harder[0], "solution": harder[2]}
        if operation != "constrain" or not row["verifier"]:
            return None
        taken = constraints_of(row["checks"], where=row["id"])
        drawn = draw_constraint(rng(seed, "constrain", row["id"]), taken, _keywords(row["query"]))
        if drawn is None:
            return None
        checks = json.dumps([*json.loads(row["checks"] or "[]"), as_mapping(drawn)], sort_keys=True)
        return {"query": f"{row['query']} {instruction(drawn)}", "checks": checks, "solution": row["solution"]}

    def pose(self, row: Row, *, seed: int) -> dict[str, str] | None:
        """A problem that needs no teacher: those of gym leaves; None for all others."""
        task = str(row["verifier"]).removeprefix(GYM)
        if task == row["verifier"]:
            return None
        question, _, entry = gym_examples(task, n=1, seed=number(seed, "pose", row["id"]), level=1)[0]
        return {"query": question, "solution": entry}


def constraints_of(text: str, *, where: str) -> list[Constraint]:
    """The constraints that a column `checks` holds as JSON; `where` is for messages."""
    return [parse_constraint(value, where=where) for value in json.loads(text or "[]")]


def check_leaf(leaf: SeedLeaf, *, folder: str) -> str:
    """The leaf's requirements as sentences. Raises: ParamsError for a verifier or checks that are none, and for seed answers that break the checks."""
    at = f"{folder}/{leaf.leaf}/leaf.yaml"
    check_verifier(leaf.verifier, where=f"{at}: verifier")
    checks = [parse_constraint(value, where=f"{at}: checks") for value in leaf.checks]
    for number_, example in enumerate(leaf.examples, 1):
        if reason := next((found for one in checks if (found := check(one, example.answer))), None):
            raise ParamsError(f"{at}: checks: the leaf's own answer {number_} breaks them ({reason}); mend the answer or the check")
    return " ".join(instruction(one) for one in checks)


def _gold(row: Row) -> str:
    """The gold answer that a row's solution stands for; "" where there is none."""
    solution = str(row["solution"])
    return (evaluate_expression(solution) or "") if row["verifier"] == "math" else solution


def _overlap(one: str, other: str) -> float:
    """F1 of the words of two texts, each word as often as it stands in both. Source: SQuAD, arXiv 1606.05250, section 6.1."""
    left, right = match_words(fold(one)), match_words(fold(other))
    common = sum(min(left.count(word), right.count(word)) for word in set(left))
    return 2 * common / (len(left) + len(right)) if common else 0.0


def _keywords(query: str) -> Sequence[str]:
    """Content words of a query, longest first, which a keyword constraint may ask for."""
    found = {word for word in match_words(query) if word.isalpha() and len(word) > 3 and word not in STOP_WORDS}
    return sorted(found, key=lambda word: (-len(word), word))
