"""From the word in params.yaml to an engine with the run's teacher in it."""

from pathlib import Path

from espalier.teachers.base import Teacher
from espalier.teachers.pin import teacher_folder


def open_teacher(engine: str, folder: Path) -> Teacher:
    """The teacher of a folder (or of its pin), loaded; this imports torch. Raises: what the engine raises for a bad model."""
    from espalier.teachers.hf import HfTeacher

    engines = {"hf": HfTeacher}
    return engines[engine](teacher_folder(folder))
