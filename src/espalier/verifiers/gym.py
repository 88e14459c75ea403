"""Leaves from the library reasoning-gym (procedural tasks with their own verifiers); optional: the library is imported when a function is called.

An example is (question, answer, metadata); the metadata is one line of JSON that holds all that verifying and deepening need. Every example has a
generator of its own, seeded by the hash of seed, task, level and place: asking for more keeps the first ones, and no two seeds share examples.

GYM_TASKS are the families of version 0.1.25 that passed `tests/gym_families.py`: the gold answer verifies, wrong, empty and other examples' answers do
not, metadata survives JSON, hash seeds change nothing, and no answer is ever evaluated as code (families that give it to `eval` or to sympy's
`parse_expr` are out, whatever they score).
"""

import json
from functools import lru_cache
from typing import Any

from espalier.errors import EspalierError, shown
from espalier.params import did_you_mean
from espalier.seeds import number

VERSION = "0.1.25"
MOST_LETTERS = 10_000  # of an answer
MOST_LEVEL = 4  # what was examined; some families take minutes or pages above
GYM_TASKS: tuple[str, ...] = tuple(
    (
        "ab acre aiw base_conversion basic_arithmetic binary_alternation bitwise_arithmetic calendar_arithmetic chain_sum count_bits count_primes "
        "cryptarithm dice emoji_mystery family_relationships gcd lcm leg_counting letter_counting list_functions mini_sudoku path_star "
        "prime_factorization products self_reference sentence_reordering simple_equations simple_geometry string_splitting string_synthesis syllogism "
        "tsumego word_sequence_reversal word_sorting"
    ).split()
)

Example = tuple[str, str, str]


def gym_examples(task: str, *, n: int, seed: int, level: int) -> list[Example]:
    """The first `n` examples of a task at a level in 1..MOST_LEVEL; above the last level of its curriculum, or without one, levels are alike.

    Raises: EspalierError when the library is missing, the task is not one of GYM_TASKS, or the level is out of range.
    """
    check_task(task)
    if not 1 <= level <= MOST_LEVEL:
        raise EspalierError(f"gym:{task}: level is {level}; it must lie in 1 .. {MOST_LEVEL}")
    return [_example(task, level, number(seed, "gym", task, level, place)) for place in range(n)]


def gym_verify(task: str, metadata: str, answer: str) -> str | None:
    """None when the task's own verifier gives the answer all points, else the reason. Blanks around the answer do not count.

    Raises: EspalierError as `gym_examples`, and when the metadata is not of an example of this task.
    """
    check_task(task)
    found = _read(task, metadata)
    answer = answer.strip()
    if not answer:
        return "the answer is empty"
    if len(answer) > MOST_LETTERS:
        return f"the answer has {len(answer):,} letters, more than {MOST_LETTERS:,}"
    entry = {"question": found["question"], "answer": found["answer"], "metadata": found["entry"]}
    try:
        points = float(_family(task, found["level"]).score_answer(answer, entry))
    except Exception as error:  # the library's verifiers raise whatever a malformed answer makes them raise
        return f"{task} cannot read the answer {shown(answer)}: {type(error).__name__}"
    return None if points >= 1.0 else f"{task} gives {shown(answer)} {max(points, 0.0):.2f} of 1 points, wanted {shown(found['answer'])}"


def deepen(task: str, metadata: str) -> Example | None:
    """Another example of the task, one level up; None when the curriculum ends here or the task has none. The same metadata gives the same example."""
    check_task(task)
    level = int(_read(task, metadata)["level"])
    return _example(task, level + 1, number("gym deepen", task, metadata)) if level < levels(task) else None


def levels(task: str) -> int:
    """How many levels a task has, at most MOST_LEVEL: those of its longest attribute; 1 without a curriculum."""
    library = _library()
    if not library.factory.has_curriculum(task):
        return 1
    longest = max((len(attribute.levels) for attribute in library.factory.create_curriculum(task).attributes.values()), default=1)
    return min(longest, MOST_LEVEL)


def check_task(task: str) -> None:
    """Raises: EspalierError for a task that is not one of GYM_TASKS."""
    if task not in GYM_TASKS:
        raise EspalierError(f"verifier gym:{task} names no task that is allowed; {did_you_mean(task, GYM_TASKS)}")


def _library() -> Any:
    try:
        import reasoning_gym
    except ModuleNotFoundError as error:
        raise EspalierError(f"a leaf's verifier is gym:..., but reasoning-gym is not installed; pip install reasoning-gym=={VERSION}") from error
    return reasoning_gym


def _example(task: str, level: int, seed: int) -> Example:
    """One example of any family. Raises: TypeError when its metadata is no JSON."""
    library = _library()
    family, _ = library.factory.DATASETS[task]
    item = family(config=_config(task, level, seed))[0]
    kept = {"task": task, "level": level, "question": item["question"], "answer": item["answer"], "entry": item["metadata"]}
    return str(item["question"]), str(item["answer"]), json.dumps(kept, sort_keys=True, ensure_ascii=False)


def _config(task: str, level: int, seed: int) -> Any:
    """The family's settings with every attribute of its curriculum at the level, or at its last one."""
    library = _library()
    if not library.factory.has_curriculum(task):
        return library.factory.DATASETS[task][1](seed=seed, size=1)
    curriculum = library.factory.create_curriculum(task)
    for name, attribute in curriculum.attributes.items():
        curriculum.set_attr_level(name, min(level, len(attribute.levels)) - 1)
    return curriculum.generate_configuration({"seed": seed, "size": 1})


@lru_cache(maxsize=256)
def _family(task: str, level: int) -> Any:
    """A family that scores answers; its own examples are never drawn."""
    return _library().factory.DATASETS[task][0](config=_config(task, level, 0))


def _read(task: str, metadata: str) -> dict[str, Any]:
    try:
        found = json.loads(metadata)
    except ValueError as error:
        raise EspalierError(f"gym:{task}: the metadata {shown(metadata)} is no JSON; pass what gym_examples gave") from error
    if not isinstance(found, dict) or found.get("task") != task or not {"level", "question", "answer", "entry"} <= set(found):
        raise EspalierError(f"gym:{task}: the metadata {shown(metadata)} belongs to no example of this task; pass what gym_examples gave")
    return found
