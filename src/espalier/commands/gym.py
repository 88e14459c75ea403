"""`espalier gym TASK...`: leaves of a seed tree made from tasks of reasoning-gym, which come with verifiers of their own.

Problems of such a leaf are posed by the task, not by a teacher; the teacher only answers, and the task's own code verifies (params.yaml: world general).
Needs `pip install reasoning-gym==0.1.25` (Apache-2.0), which is no requirement of espalier.
"""

from pathlib import Path

import click

from espalier.io import write_text
from espalier.taxonomy import SeedExample, SeedLeaf
from espalier.verifiers.gym import GYM_TASKS, gym_examples
from espalier.verifiers.verify import GYM
from espalier.world.tree import tree_files

EXAMPLES = 8  # a leaf: six for prompts, two for the exam
SEED = 0


@click.command()
@click.argument("tasks", nargs=-1)
@click.option("--tree", default="data/seeds/taxonomy/general", show_default=True, type=click.Path(path_type=Path), help="Seed tree to write into.")
def gym(tasks: tuple[str, ...], tree: Path) -> None:
    """Write a leaf for each reasoning-gym task; without a task list those that can be had."""
    if not tasks:
        click.echo("\n".join(GYM_TASKS))
        return
    files = tree_files([gym_leaf(task) for task in tasks])  # all of them before the first is written
    for path, text in files.items():
        write_text(tree / path, text)
    click.echo(f"{len(tasks)} leaves -> {tree}; the next `dvc repro` plans rows for them")


def gym_leaf(task: str) -> SeedLeaf:
    """The leaf of a task, with its first examples. Raises: EspalierError for an unknown task or a missing library."""
    made = gym_examples(task, n=EXAMPLES, seed=SEED, level=1)
    examples = tuple(SeedExample("", question, answer) for question, answer, _ in made)
    return SeedLeaf(f"foundational_skills/gym/{task}", "foundational_skills", "puzzles", task.replace("_", " "), 0, f"{GYM}{task}", examples)
