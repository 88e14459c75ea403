"""How hard every leaf of the built-in world is: the table of LOG.md, `make difficulty`. Needs the teacher of the last run.

Fresh problems, a third a level, none of them an exam item. The teacher's columns: share of its answers that verify, by temperature. The last
column: share right of a student of the study's size and training, taught by the world itself with every leaf alike, so that a leaf that it cannot learn is
seen apart from a leaf that a recipe does not cover. The world is tuned on these numbers, never on the exam.
"""

import tempfile
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import polars

from espalier.io import read_rows, read_text
from espalier.log import say
from espalier.model import build_model, save_model
from espalier.params import FILE, Params, parse_params
from espalier.samples import ask
from espalier.seeds import rng
from espalier.sizes import SIZES
from espalier.teachers.base import Request, Teacher
from espalier.teachers.hf import HfTeacher
from espalier.tokens import encode_samples, load_chat, pack, save_chat
from espalier.train import train_model
from espalier.world.grammar import LEAF_OF, Problem, make, verify
from espalier.world.materials import LEVELS

TEACHER, ITEMS = Path("models/teacher"), Path("data/exam/items.parquet")
TEMPERATURES = (0.0, 0.3, 0.7, 1.0, 1.3)
PROBLEMS, SAMPLES, MAX_TOKENS = 60, 12_000, 48


def main() -> None:
    """Print the table as Markdown."""
    params = parse_params(read_text(FILE))
    held_out = frozenset(read_rows(ITEMS)["problem_key"])
    ranks = dict(read_rows("data/taxonomy/leaves.parquet").select("leaf", "rank").iter_rows())
    problems = draw(PROBLEMS * len(LEAF_OF), held_out, "difficulty")
    teacher = HfTeacher(TEACHER)
    columns = [right_shares(teacher, problems, temperature) for temperature in TEMPERATURES]
    say(f"difficulty: {len(problems):,} problems answered at {len(TEMPERATURES)} temperatures; the student comes next")
    with tempfile.TemporaryDirectory() as folder:
        columns.append(right_shares(taught_student(params, held_out, Path(folder)), problems, 0.0))
    heads = [f"T {temperature:g}" for temperature in TEMPERATURES]
    print("| leaf | rank |", " | ".join(heads), "| student, T 0 |\n" + "|---" * (len(heads) + 3) + "|")
    for leaf in sorted(LEAF_OF):
        print(f"| {leaf} | {ranks[leaf]} |", " | ".join(f"{column[leaf]:.2f}" for column in columns), "|")
    print("| all leaves | |", " | ".join(f"{np.mean(list(column.values())):.3f}" for column in columns), "|")


def draw(n: int, held_out: frozenset[str], stream: str) -> list[Problem]:
    """`n` fresh problems, the leaves and levels in turn."""
    random, leaves = rng(0, stream), sorted(LEAF_OF)
    drawn: list[Problem] = []
    while len(drawn) < n:
        place = len(drawn)
        problem = make(LEAF_OF[leaves[place % len(leaves)]], LEVELS[place // len(leaves) % len(LEVELS)], random)
        if problem.key not in held_out:
            drawn.append(problem)
    return drawn


def right_shares(model: Teacher, problems: Sequence[Problem], temperature: float) -> dict[str, float]:
    """Share of right answers, by leaf."""
    asked = [Request(ask(one.context, one.query), temperature, 1.0, MAX_TOKENS, seed) for seed, one in enumerate(problems)]
    replies = [completion.text for completion in model.generate(asked)]
    right = [verify(one.text, reply).verdict == "right" for one, reply in zip(problems, replies, strict=True)]
    table = polars.DataFrame({"leaf": [one.leaf.name for one in problems], "right": right}).group_by("leaf").agg(polars.col("right").mean())
    return dict(table.iter_rows())


def taught_student(params: Params, held_out: frozenset[str], folder: Path) -> HfTeacher:
    """A student of the study's size and training, on samples of the world's own."""
    chat, shape, samples = load_chat(TEACHER), SIZES[params.train.size], draw(SAMPLES, held_out, "difficulty, samples")
    documents = encode_samples(chat, [ask(one.context, one.query) for one in samples], [one.answer for one in samples])
    data = pack(documents, params.tokens.context_tokens, pad_id=chat.pad_id)
    model = build_model(shape, vocabulary=chat.size, pad_id=chat.pad_id, end_id=chat.end_id, seed=1)
    train_model(model, data, params.train.optimizer, seed=1, precision=params.train.precision, checkpoints=None, progress=lambda step, steps: None)
    save_model(model, folder)
    save_chat(chat, folder, context_tokens=shape.context_tokens)
    return HfTeacher(folder)


if __name__ == "__main__":
    main()
