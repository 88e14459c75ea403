"""Files at the border of the stages: parquet rows, JSON, text. Writes are atomic; reads say what is wrong.

A file appears under its name only when it is whole (temporary name, fsync, rename), so a killed stage or a full disk
leaves either the old file or none.
"""

import errno
import hashlib
import io
import json
import os
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any

from espalier.errors import CorruptInput, DiskFull, InputMissing

if TYPE_CHECKING:
    import polars

DISK_ERRORS = {errno.ENOSPC, errno.EFBIG, errno.EDQUOT}


def read_rows(path: Path | str) -> "polars.DataFrame":
    """The rows of a parquet file.

    Raises: InputMissing when there is no such file; CorruptInput when it is not whole parquet.
    """
    import polars

    data = read_bytes(path)
    try:
        return polars.read_parquet(io.BytesIO(data))
    except (polars.exceptions.PolarsError, polars.exceptions.PanicException, OSError) as error:
        raise CorruptInput(
            f"{path}: not a readable parquet file ({str(error).splitlines()[0]}); delete it and run `{_maker(path)}`"
        ) from error


def write_rows(path: Path | str, rows: "polars.DataFrame") -> None:
    """Write rows as parquet; the same rows give the same bytes."""
    buffer = io.BytesIO()
    rows.write_parquet(buffer, compression="zstd", compression_level=3, statistics=False)
    write_bytes(path, buffer.getvalue())


def read_json(path: Path | str) -> Any:
    """The content of a JSON file. Raises: InputMissing, CorruptInput."""
    try:
        return json.loads(read_bytes(path))
    except ValueError as error:
        raise CorruptInput(f"{path}: not JSON ({error}); delete it and run `{_maker(path)}`") from error


def write_json(path: Path | str, value: object) -> None:
    """Write `value` as indented JSON with sorted keys and no NaN (which is no JSON)."""
    write_text(path, json.dumps(value, indent=2, sort_keys=True, allow_nan=False, ensure_ascii=False) + "\n")


def files_under(folder: Path | str, endings: tuple[str, ...]) -> list[str]:
    """Paths of all files under a folder whose name ends so in any case, relative to it, sorted; a link to nowhere is one."""
    found = (path for path in Path(folder).rglob("*") if path.suffix.lower() in endings and not path.is_dir())
    return sorted(str(path.relative_to(folder)) for path in found)


def read_text(path: Path | str) -> str:
    """The text of a UTF-8 file. Raises: InputMissing, CorruptInput."""
    try:
        return read_bytes(path).decode("utf-8")
    except UnicodeDecodeError as error:
        raise CorruptInput(f"{path}: not UTF-8 text at byte {error.start}; save it as UTF-8") from error


def write_text(path: Path | str, text: str) -> None:
    """Write a UTF-8 file atomically."""
    write_bytes(path, text.encode("utf-8"))


def read_bytes(path: Path | str) -> bytes:
    """The bytes of a file. Raises: InputMissing with the command that makes it."""
    try:
        return Path(path).read_bytes()
    except (FileNotFoundError, IsADirectoryError, NotADirectoryError) as error:
        raise InputMissing(f"{path}: no such file; make it with `{_maker(path)}`") from error


def file_digest(path: Path | str) -> str:
    """32 hex digits of a file's content, which is not held in memory. Raises: InputMissing."""
    try:
        with open(path, "rb") as file:
            return hashlib.file_digest(file, lambda: hashlib.blake2b(digest_size=16)).hexdigest()
    except (FileNotFoundError, IsADirectoryError, NotADirectoryError) as error:
        raise InputMissing(f"{path}: no such file; make it with `{_maker(path)}`") from error


def write_bytes(path: Path | str, data: bytes) -> None:
    """Write a file so that it is there whole or not at all.

    Raises: DiskFull when the file system refuses the bytes; the file that stood there before stays.
    """
    path = Path(path)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        handle, temporary = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
        try:
            with os.fdopen(handle, "wb") as file:
                file.write(data)
                file.flush()
                os.fsync(file.fileno())
            os.chmod(temporary, 0o644)
            os.replace(temporary, path)
        except BaseException:
            Path(temporary).unlink(missing_ok=True)
            raise
    except OSError as error:
        if error.errno in DISK_ERRORS:
            raise DiskFull(
                f"{path}: the disk refused {len(data):,} bytes ({error.strerror}); free some space and run the stage again,"
                " finished requests are in the cache"
            ) from error
        raise


def _maker(path: Path | str) -> str:
    """The command that makes a file: data/<stage>/<recipe>/x.parquet -> dvc repro <stage>@<recipe>."""
    parts = Path(path).parts
    if "seeds" in parts:
        return f"git checkout -- {path}"
    for root in ("data", "metrics", "models"):
        if root in parts[:-2]:
            at = len(parts) - 1 - parts[::-1].index(root)
            stage, inner = parts[at + 1], parts[at + 2 : -1]
            return f"dvc repro {stage}@{'-'.join(inner)}" if inner else f"dvc repro {stage}"
    return "dvc repro"
