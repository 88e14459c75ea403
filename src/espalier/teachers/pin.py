"""The teacher of a run: the folder models/teacher, or the outside folder that its pin.json names."""

import hashlib
from pathlib import Path

from espalier.errors import EspalierError, InputMissing
from espalier.io import read_json

PIN = "pin.json"


def pin_teacher(path: str) -> dict[str, object]:
    """What to remember of an outside model: path, fingerprint and size. Raises: InputMissing when it is not there."""
    folder = Path(path).expanduser()
    if not (folder / "config.json").is_file():
        raise InputMissing(f"params.yaml: teacher.path is {path}, which holds no model (no config.json); name a folder in Hugging Face layout, or built-in")
    size = sum(file.stat().st_size for file in folder.glob("*.safetensors"))
    return {"path": str(folder.resolve()), "fingerprint": fingerprint(folder), "bytes": size}


def teacher_folder(folder: Path) -> Path:
    """Where the model lies. Raises: InputMissing, and EspalierError when a pinned model has changed since."""
    if not folder.is_dir():
        raise InputMissing(f"{folder}: no such folder; make it with `dvc repro teacher`")
    if not (folder / PIN).is_file():
        return folder
    pin = read_json(folder / PIN)
    if not (Path(pin["path"]) / "config.json").is_file():
        raise InputMissing(f"{pin['path']}: the pinned teacher is gone; put it back, or name another in teacher.path")
    found = fingerprint(Path(pin["path"]))
    if found != pin["fingerprint"]:
        raise EspalierError(f"{pin['path']}: the teacher has changed since it was pinned ({pin['fingerprint']} then, {found} now); run `dvc repro -f teacher`")
    return Path(pin["path"])


def teacher_fingerprint(folder: Path) -> str:
    """The fingerprint of the run's teacher, without loading it."""
    return fingerprint(teacher_folder(folder))


def fingerprint(folder: Path) -> str:
    """The hash of everything in a model folder that decides its replies; 32 hex digits."""
    total = hashlib.blake2b(digest_size=16)
    for file in sorted(folder.glob("*")):
        if file.suffix in (".json", ".safetensors", ".jinja") and file.is_file():
            total.update(f"{file.name}\0".encode())
            total.update(file.read_bytes())
    return total.hexdigest()
