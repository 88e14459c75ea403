"""From the word in params.yaml to an engine with the run's teacher in it."""

from pathlib import Path

from espalier.settings import Server
from espalier.teachers.base import Teacher
from espalier.teachers.key import read_key
from espalier.teachers.pin import check_served, teacher_fingerprint, teacher_folder


def open_teacher(engine: str, folder: Path, *, server: Server | None = None) -> Teacher:
    """The teacher of a folder (or of its pin), ready to be asked. `hf` imports torch; `server` wants its settings and reads its key from the environment.

    Raises: what the engine raises for a bad model; EspalierError when it is another one than was pinned.
    """
    if engine == "hf":
        check_served(folder, None)
        from espalier.teachers.hf import HfTeacher

        return HfTeacher(teacher_folder(folder))
    from espalier.teachers.server import ServerTeacher, ask_served

    assert engine == "server", engine
    assert server is not None
    key = read_key(server.key_variable)
    check_served(folder, ask_served(server, key=key))
    return ServerTeacher(server, fingerprint=teacher_fingerprint(folder), key=key)
