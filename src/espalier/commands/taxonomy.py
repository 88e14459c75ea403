"""`espalier taxonomy PATH`: which files of a seed tree load, and why the others are refused.

PATH is a folder, or a file of JSON lines {path, text}, packed or not. stdout has one line for each refused file; stderr counts them by reason and version.
"""

import gzip
import json
import sys
import zlib
from collections import Counter
from collections.abc import Mapping
from pathlib import Path

import click

from espalier.errors import CorruptInput, EspalierError, InputMissing, LeafError
from espalier.io import files_under, read_bytes, read_text
from espalier.log import say
from espalier.taxonomy import YAML_ENDINGS, CheckedTree, check_tree

REFUSED = 2  # the exit code


@click.command()
@click.argument("path", type=click.Path(path_type=Path))
def taxonomy(path: Path) -> None:
    """Check a seed tree: a folder of qna.yaml files, or a .jsonl or .jsonl.gz of {path, text}."""
    if not path.exists():
        raise InputMissing(f"{path}: no such folder or file; name a seed tree")
    files, unreadable = _read_folder(path) if path.is_dir() else (read_lines(read_bytes(path), file=str(path)), [])
    checked = check_tree(files)
    refusals = sorted([*checked.refusals, *unreadable], key=lambda refusal: refusal.file)
    if not refusals and not checked.leaves:
        raise InputMissing(f"{path}: holds no qna.yaml; name the folder that holds knowledge, foundational_skills or compositional_skills")
    for refusal in refusals:
        click.echo(str(refusal))
    for line in _summary(checked, refusals):
        say(line)
    if refusals:
        sys.exit(REFUSED)


def read_lines(data: bytes, *, file: str) -> dict[str, str]:
    """Path -> text from JSON lines, unpacked where they are gzip. Raises: CorruptInput with the number of the line that is none."""
    if data[:2] == b"\x1f\x8b":
        try:
            data = gzip.decompress(data)
        except (OSError, EOFError, zlib.error) as error:
            raise CorruptInput(f"{file}: not whole gzip ({error}); fetch it anew") from error
    files: dict[str, str] = {}
    for number, line in enumerate(data.splitlines(), 1):
        if line.strip():
            path, text = _row(line, f"{file}, line {number}")
            if path in files:
                raise CorruptInput(f"{file}, line {number}: path {path!r} stands twice; keep one")
            files[path] = text
    return files


def _row(line: bytes, at: str) -> tuple[str, str]:
    try:
        row = json.loads(line)
    except (ValueError, RecursionError) as error:
        raise CorruptInput(f"{at}: not JSON ({error}); write one object a line, or name a folder") from error
    if not isinstance(row, dict) or not isinstance(row.get("path"), str) or not isinstance(row.get("text"), str):
        raise CorruptInput(f"{at}: found no object with path and text, both of them text; write {{path, text}}")
    return row["path"], row["text"]


def _read_folder(folder: Path) -> tuple[dict[str, str], list[LeafError]]:
    """The YAML texts of a folder, and a refusal for each file that cannot be read."""
    files, unreadable = {}, []
    for path in files_under(folder, YAML_ENDINGS):
        try:
            files[path] = read_text(folder / path)
        except (EspalierError, OSError) as error:
            words = f"cannot be read ({error.__cause__ or error}); make it a file of UTF-8 text"
            unreadable.append(LeafError(path, "the text", words, reason="unreadable"))
    return files, unreadable


def _summary(checked: CheckedTree, refusals: list[LeafError]) -> list[str]:
    refused = f"{len(refusals):,} refused" if refusals else "none refused"
    lines = [f"taxonomy: {checked.files:,} files of leaves, {len(checked.leaves):,} leaves load, {refused}"]
    if refusals:
        lines.append(f"taxonomy: refused: {_counts(Counter(refusal.reason for refusal in refusals))}")
    return [*lines, f"taxonomy: versions of qna.yaml: {_counts(checked.versions)}"]


def _counts(numbers: Mapping[str, int]) -> str:
    return ", ".join(f"{number:,} x {word}" for word, number in Counter(numbers).most_common())
