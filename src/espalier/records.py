"""Records of files that other people made: JSON lines, JSON arrays, parquet, each text also gzipped; read as a stream, a broken line told from a broken file.

A line that is no record is handed on with the reason and its number. What makes the rest of a file unreadable (half a gzip, a broken array, bad
bytes in UTF-16) is an error that names the place. Encodings: UTF-8; UTF-16 and UTF-32 by their byte-order mark.
"""

import codecs
import gzip
import io
import json
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO

from espalier.errors import CorruptInput, InputMissing, shown

MOST_LETTERS = 64 * 2**20  # of one record; a longer line is rejected, a longer element of an array is an error
CHUNK_LETTERS = 2**20
LINES, ARRAY, PARQUET = (".jsonl", ".ndjson"), (".json",), (".parquet",)
MARKS = {
    codecs.BOM_UTF32_LE: "utf-32", codecs.BOM_UTF32_BE: "utf-32", codecs.BOM_UTF8: "utf-8-sig", codecs.BOM_UTF16_LE: "utf-16", codecs.BOM_UTF16_BE: "utf-16",
}  # fmt: skip
BROKEN = (gzip.BadGzipFile, EOFError, zlib.error)


@dataclass(frozen=True, slots=True)
class Raw:
    """One record as it stood. place: line, element or row, from 1; source: its JSON.

    value: None for one that is rejected; then `reason`, which such records are counted by, and `detail` say why.
    """

    place: int
    value: dict[str, Any] | None
    source: str
    reason: str = ""
    detail: str = ""


def read_records(path: Path | str) -> Iterator[Raw]:
    """All records of a file in order, rejected ones too; blank lines are none.

    Raises: InputMissing for no file or a folder; CorruptInput for a file of another kind, an empty one, or one that breaks off.
    """
    path = Path(path)
    if path.is_dir():
        known = [one.name for one in sorted(path.iterdir()) if _kind(one)]
        raise InputMissing(f"{path}: is a folder; name one file" + (f", such as {path / known[0]}" if known else f" ({_wanted()})"))
    if not path.exists():
        raise InputMissing(f"{path}: no such file; name one that is there ({_wanted()})")
    kind = _kind(path)
    if not kind:
        raise CorruptInput(f"{path}: is of no kind that can be read; wanted is {_wanted()}")
    count = 0
    try:
        for raw in _parquet(path) if kind == PARQUET else _text(path, kind):
            count += 1
            yield raw
    except BROKEN as error:
        raise CorruptInput(f"{path}: not whole gzip, it breaks off after record {count:,} ({error}); fetch it again") from error
    except OSError as error:
        raise CorruptInput(f"{path}: cannot be read ({error.strerror or error})") from error
    if not count:
        raise CorruptInput(f"{path}: holds no records; wanted is at least one")


def _kind(path: Path) -> tuple[str, ...]:
    name = path.name.lower().removesuffix(".gz")
    if path.name.lower().endswith(".parquet.gz"):
        return ()
    return next((kind for kind in (LINES, ARRAY, PARQUET) if name.endswith(kind)), ())


def _wanted() -> str:
    return f"{', '.join((*LINES, *ARRAY))}, each also with .gz, or {PARQUET[0]}"


def _parquet(path: Path) -> Iterator[Raw]:
    import polars

    try:
        place = 0
        for batch in polars.scan_parquet(path).collect_batches(chunk_size=4096, maintain_order=True):
            for value in batch.iter_rows(named=True):
                place += 1
                yield Raw(place, value, json.dumps(value, ensure_ascii=False, default=str))
    except (polars.exceptions.PolarsError, polars.exceptions.PanicException) as error:
        raise CorruptInput(f"{path}: not a readable parquet file ({str(error).splitlines()[0]})") from error


def _text(path: Path, kind: tuple[str, ...]) -> Iterator[Raw]:
    with _opened(path) as file:
        head = file.read(4096)
    encoding = next((name for mark, name in MARKS.items() if head.startswith(mark)), "utf-8")
    start = head.decode(encoding, "replace").lstrip("\ufeff \t\r\n")
    with _opened(path) as file:
        if kind == ARRAY and start.startswith("["):
            yield from _elements(file, path, encoding)
        elif encoding.startswith("utf-8"):
            yield from _lines(file, path, kind)
        else:
            yield from _wide_lines(file, path, encoding)


def _opened(path: Path) -> BinaryIO:
    return gzip.open(path) if path.name.lower().endswith(".gz") else path.open("rb")


def _lines(file: BinaryIO, path: Path, kind: tuple[str, ...]) -> Iterator[Raw]:
    """UTF-8, a line at a time; bytes that are none spoil their line alone."""
    place = 0
    while line := file.readline(MOST_LETTERS + 1):
        place += 1
        if len(line) > MOST_LETTERS:
            yield Raw(place, None, "", "too_long", f"over {MOST_LETTERS:,} bytes")
            while line and not line.endswith(b"\n"):
                line = file.readline(MOST_LETTERS)
            continue
        try:
            text = line.decode("utf-8-sig" if place == 1 else "utf-8").strip()
        except UnicodeDecodeError as error:
            yield Raw(place, None, line.decode("utf-8", "replace").strip(), "encoding", f"byte {error.start + 1} of the line is no UTF-8")
            continue
        if text:
            raw = parse_record(text, place)
            if place == 1 and kind == ARRAY and raw.reason == "json":
                raise CorruptInput(f"{path}: starts with an object over several lines; wanted is a list of records, [...], or one record a line")
            yield raw


def _wide_lines(file: BinaryIO, path: Path, encoding: str) -> Iterator[Raw]:
    place = 0
    try:
        with io.TextIOWrapper(file, encoding=encoding, newline="\n") as wide:
            for place, line in enumerate(wide, 1):
                if text := line.strip():
                    yield parse_record(text, place)
    except UnicodeError as error:
        raise CorruptInput(f"{path}: not {encoding.upper()} behind line {place:,} ({error}); save it as UTF-8") from error


def parse_record(text: str, place: int) -> Raw:
    """The record of a line, or why it is none: json, not_object, surrogate (half a character, which JSON can spell and no file can hold)."""
    try:
        value = json.loads(text)
    except (ValueError, RecursionError) as error:
        return Raw(place, None, text, "json", str(error) or "nested too deeply")
    return _checked(value, text, place)


def _checked(value: object, text: str, place: int) -> Raw:
    if not isinstance(value, dict):
        return Raw(place, None, text, "not_object", f"found {shown(value)}")
    if "\\u" in text:
        try:
            json.dumps(value, ensure_ascii=False).encode()
        except UnicodeEncodeError:
            return Raw(place, None, text, "surrogate", "holds half a character (a lone \\ud800 to \\udfff)")
    return Raw(place, value, text)


def _elements(file: BinaryIO, path: Path, encoding: str) -> Iterator[Raw]:
    """The elements of a JSON array, decoded as they come."""
    pieces = _Pieces(file, path, encoding)
    pieces.skip("[")
    place = 0
    while True:
        pieces.skip(",")
        if pieces.starts_with("]"):
            break
        place += 1
        value, text = pieces.take(place)
        yield _checked(value, text, place)
    pieces.skip("]")
    if not pieces.at_end():
        raise CorruptInput(f"{path}: text follows the end of the list, behind element {place:,}; wanted is one list alone")


class _Pieces:
    """A text that is read as far as it is needed."""

    def __init__(self, file: BinaryIO, path: Path, encoding: str) -> None:
        self._read, self._path, self._decode = file.read, path, codecs.getincrementaldecoder(encoding)("strict").decode
        self._text, self._at, self._ended = "", 0, False
        self._decoder = json.JSONDecoder()

    def skip(self, mark: str) -> None:
        """White space, one mark where it stands next, and white space."""
        if self.starts_with(mark):
            self._at += 1
        self.starts_with("")

    def starts_with(self, mark: str) -> bool:
        """Whether the mark comes next; goes to it over white space."""
        while True:
            while self._at < len(self._text) and self._text[self._at] in " \t\r\n":
                self._at += 1
            if self._at < len(self._text) or not self._more():
                return self._text.startswith(mark, self._at) and self._at < len(self._text)

    def at_end(self) -> bool:
        """Whether nothing but white space follows."""
        self.starts_with("")
        return self._at >= len(self._text)

    def take(self, place: int) -> tuple[object, str]:
        """The next element and its text. Raises: CorruptInput where there is none, or it does not end."""
        while True:
            try:
                value, end = self._decoder.raw_decode(self._text, self._at)
                if end < len(self._text) or not self._more():
                    text, self._at = self._text[self._at : end], end
                    return value, text
            except (ValueError, RecursionError) as error:
                left = len(self._text) - self._at
                if left > MOST_LETTERS or not self._more(left):
                    raise CorruptInput(f"{self._path}: element {place:,} of the list is not JSON ({error}); mend it, or write one record a line") from error

    def _more(self, wanted: int = 0) -> bool:
        """Read on, at least as much as is wanted (so that one long element is not tried over and over); whether anything came."""
        if self._ended:
            return False
        self._text, self._at = self._text[self._at :], 0
        try:
            data = self._read(max(CHUNK_LETTERS, wanted))
            self._ended = not data
            self._text += self._decode(data, self._ended)
        except UnicodeDecodeError as error:
            raise CorruptInput(f"{self._path}: not {error.encoding.upper()} ({error.reason}); save it as UTF-8, such as with iconv") from error
        return not self._ended
