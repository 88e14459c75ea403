"""Which families of reasoning-gym may be verifiers? `python tests/gym_families.py` examines all of them; GYM_TASKS in `espalier.verifiers.gym` is what it keeps.

A family is kept when at every level that is offered its gold answers verify after a round trip through JSON, and empty, changed and other examples' answers do not; when
it is fast, short, gives no answer to `eval` or `parse_expr`, and draws the same under two hash seeds (each in a process of its own).
"""

import hashlib
import inspect
import json
import os
import re
import subprocess
import sys
import time

from espalier.verifiers import gym

EXAMPLES, LEVELS = 12, range(1, gym.MOST_LEVEL + 1)
MOST_SECONDS, MOST_LETTERS = 0.02, 2_000  # of one example: drawing and verifying; question and answer
HOSTILE = ("x" * 5_000, "[" * 3_000, "9" * 5_000, "1e999", "(1,2)", '{"a": 1}', "\x00\ud800", "-", "nan", "None", "a\n" * 500)
RISKY = re.compile(r"\b(?:eval|exec|parse_expr|sympify|literal_eval|latex2sympy)\(|subprocess|pickle|yaml")
NEVER = {"codeio", "composite"}  # the one runs program text that it brings along, the other is a mixture of families


def fault(task: str) -> str | None:
    """Why a family is not kept, or None."""
    from reasoning_gym.factory import DATASETS

    if task in NEVER or RISKY.search(inspect.getsource(DATASETS[task][0].score_answer)):
        return "answers become code"
    try:
        for level in LEVELS:
            found = _fault_at(task, level)
            if found:
                return f"level {level}: {found}"
    except Exception as error:
        return f"{type(error).__name__}: {error}"[:100]
    return None


def _fault_at(task: str, level: int) -> str | None:
    examples: list[gym.Example] = []
    start = time.perf_counter()
    for place in range(EXAMPLES):
        examples.append(gym._example(task, level, gym.number(7, task, level, place)))
        seconds = time.perf_counter() - start
        if seconds > EXAMPLES * MOST_SECONDS:
            return f"slow: {1000 * seconds / (place + 1):.0f} ms an example"
    longest = max(len(question) + len(answer) for question, answer, _ in examples)
    if longest > MOST_LETTERS:
        return f"long: {longest:,} letters"
    if any(answer in ("None", "") for _, answer, _ in examples):
        return "no answer"
    if len({question for question, _, _ in examples}) < EXAMPLES // 2:
        return "repeats its questions"
    return _fault_of_verdicts(task, examples)


def _fault_of_verdicts(task: str, examples: list[gym.Example]) -> str | None:
    start, calls = time.perf_counter(), 0
    for place, (_, answer, metadata) in enumerate(examples):
        others = [other for _, other, _ in examples[place + 1 :] + examples[:place] if other != answer]
        wrong = ["", "hm", answer + "7", "7" + answer, answer[:-1], *others[:3], *HOSTILE]
        reason = gym.gym_verify(task, metadata, answer)
        if reason:
            return f"its gold is wrong: {reason}"
        accepted = [text for text in wrong if text.strip() != answer.strip() and gym.gym_verify(task, metadata, text) is None]
        calls += 1 + len(wrong)
        if accepted:
            return f"accepts {accepted[0][:60]!r} for {answer[:60]!r}"
    seconds = (time.perf_counter() - start) / calls
    return f"slow to verify: {1000 * seconds:.0f} ms" if seconds > MOST_SECONDS else None


def digests(tasks: list[str]) -> dict[str, str]:
    """A digest of what each family draws in this process."""
    return {
        task: hashlib.sha256(repr([gym._example(task, level, 5 + place) for level in LEVELS for place in range(4)]).encode("utf-8", "replace")).hexdigest()
        for task in tasks
    }


def main() -> None:
    if len(sys.argv) > 1:
        print(json.dumps(digests(sys.argv[1:])))
        return
    from reasoning_gym.factory import DATASETS

    gym.GYM_TASKS = tuple(sorted(DATASETS))
    faults = {task: fault(task) for task in gym.GYM_TASKS}
    good = [task for task, found in faults.items() if not found]
    runs = [subprocess.run([sys.executable, __file__, *good], env=os.environ | {"PYTHONHASHSEED": seed}, capture_output=True, text=True, check=True) for seed in ("1", "2")]
    first, second = (json.loads(run.stdout) for run in runs)
    faults |= {task: "depends on the hash seed" for task in good if first[task] != second[task]}
    for task, found in faults.items():
        print(f"{task:28} {found or 'kept'}")
    kept = [task for task, found in faults.items() if not found]
    print(f"{len(kept)} of {len(faults)} kept:\n{' '.join(kept)}")


if __name__ == "__main__":
    main()
