"""The tasks of lm-evaluation-harness that `evaluate.tasks` names, for the stage `evaluate`; where it names none, nothing of the harness is imported."""

import contextlib
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

import polars

from espalier.log import say
from espalier.progress import Progress
from espalier.task_files import find_tasks, open_tasks

Asked = Callable[[Path], tuple[dict[str, float], polars.DataFrame | None]]


@contextlib.contextmanager
def opened_tasks(settings) -> Iterator[Asked]:
    """What asks the student of a model folder every task: (metrics, rows by item), no rows without tasks. The tasks are checked and their data read here."""
    if not settings.tasks:
        yield lambda folder: ({}, None)
        return
    found = find_tasks(settings.tasks, folder=Path(settings.task_files))
    from espalier.harness import offline_and_quiet, open_student, run_tasks

    def ask(folder: Path) -> tuple[dict[str, float], polars.DataFrame]:
        with Progress("evaluate: likelihoods of tasks", 0) as progress:
            student = open_student(folder, batch=settings.batch_items, max_tokens=settings.max_tokens, done=lambda done, total: progress(done, total=total))
            metrics, rows = run_tasks(student, tasks, items=settings.task_items)
        if student.cut:
            say(f"evaluate: {student.cut:,} requests of tasks are longer than the student's {student.max_length:,} tokens and lost their beginning")
        return metrics, rows

    with offline_and_quiet(), tempfile.TemporaryDirectory() as cache:
        tasks = open_tasks(found, data=Path(settings.task_data), cache=Path(cache), form=settings.task_form)
        say(f"evaluate: {len(tasks)} tasks beside the exam: {', '.join(settings.tasks)}")
        yield ask
