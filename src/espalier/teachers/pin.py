"""The teacher of a run: the folder models/teacher, or what its pin.json names: an outside folder, or a model behind an endpoint and its tokenizer's folder."""

import hashlib
import json
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from espalier.errors import EspalierError, InputMissing
from espalier.io import read_json
from espalier.seeds import digest

PIN, TOKENIZER = "pin.json", "tokenizer.json"


def pin_teacher(path: str) -> dict[str, object]:
    """What to remember of an outside model: path, fingerprint and size. Raises: InputMissing when it is not there."""
    folder = Path(path).expanduser()
    if not (folder / "config.json").is_file():
        raise InputMissing(f"params.yaml: teacher.path is {path}, which holds no model (no config.json); name a folder in Hugging Face layout, or built-in")
    size = sum(file.stat().st_size for file in folder.glob("*.safetensors"))
    return {"path": str(folder.resolve()), "fingerprint": fingerprint(folder), "bytes": size}


def pin_served(path: str, served: dict[str, object]) -> dict[str, object]:
    """What to remember of a model behind an endpoint: what that says of it, its fingerprint, and the folder with its tokenizer.

    The URLs are not in it: moving a model reruns nothing. Raises: InputMissing when the folder holds no tokenizer.
    """
    folder = Path(path).expanduser()
    if not (folder / TOKENIZER).is_file():
        raise InputMissing(f"params.yaml: teacher.path is {path}, which holds no {TOKENIZER}; an endpoint gives none: name a folder with one")
    remembered = {"path": str(folder.resolve()), "tokenizer": _hash([folder / TOKENIZER])}
    return {**remembered, "served": served, "fingerprint": served_fingerprint(served)}


def check_served(folder: Path, served: dict[str, object] | None) -> None:
    """Raises: EspalierError when the endpoint serves another model than the pin in `folder` remembers; None stands for no endpoint."""
    pinned = _read_pin(folder).get("served")
    if pinned != served:
        raise EspalierError(f"{folder}: {pinned or 'a model in a folder'} is pinned, found is {served or 'a model in a folder'}; run `dvc repro -f teacher`")


def teacher_folder(folder: Path) -> Path:
    """Where the model lies, or the tokenizer of a model behind an endpoint. Raises: InputMissing, and EspalierError when a pinned one has changed since."""
    pin = _read_pin(folder)
    if not pin:
        return folder
    place, needed = Path(pin["path"]), TOKENIZER if "served" in pin else "config.json"
    if not (place / needed).is_file():
        raise InputMissing(f"{place}: the pinned teacher is gone; put it back, or name another in teacher.path")
    found, pinned = (_hash([place / TOKENIZER]), pin["tokenizer"]) if "served" in pin else (fingerprint(place), pin["fingerprint"])
    if found != pinned:
        raise EspalierError(f"{place}: the teacher has changed since it was pinned ({pinned} then, {found} now); run `dvc repro -f teacher`")
    return place


def teacher_fingerprint(folder: Path) -> str:
    """The fingerprint of the run's teacher, without loading it or asking an endpoint."""
    pin = _read_pin(folder)
    return served_fingerprint(pin["served"]) if "served" in pin else fingerprint(teacher_folder(folder))


def fingerprint(folder: Path) -> str:
    """The hash of everything in a model folder that decides its replies; 32 hex digits."""
    return _hash(file for file in sorted(folder.glob("*")) if file.suffix in (".json", ".safetensors", ".jinja") and file.is_file())


def served_fingerprint(served: dict[str, object]) -> str:
    """The hash of what an endpoint says of its model."""
    return digest(json.dumps(served, sort_keys=True))


def _read_pin(folder: Path) -> dict[str, Any]:
    """The pin in a teacher's folder; empty for a model that lies there itself."""
    if not folder.is_dir():
        raise InputMissing(f"{folder}: no such folder; make it with `dvc repro teacher`")
    return read_json(folder / PIN) if (folder / PIN).is_file() else {}


def _hash(files: Iterable[Path]) -> str:
    total = hashlib.blake2b(digest_size=16)
    for file in files:
        total.update(f"{file.name}\0".encode())
        total.update(file.read_bytes())
    return total.hexdigest()
