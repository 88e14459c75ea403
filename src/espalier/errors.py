"""Every error that espalier raises on purpose, and the exit code that a stage ends with.

    EspalierError            1   something in the run is wrong
      ParamsError            2   params.yaml, a recipe, a prompt file or a taxonomy leaf is wrong
        LeafError            2   a file of a seed tree is refused; knows file, field and reason
      InputMissing           3   a file of an earlier stage is not there; the message names the command that makes it
      CorruptInput           1   a file is there and cannot be read
      BudgetError            1   a recipe cannot deliver what was asked of it
      ContaminationError     1   more rows of a recipe give away a benchmark than is allowed
      DiskFull               1   the disk (or a size limit) ended a write; nothing half-written stays
      Interrupted          130   Ctrl-C; what was finished is kept

A message says where, what was found, what is wanted and what to do.
"""

from datetime import date

MOST_SHOWN = 40  # letters of a found value in a message


class EspalierError(Exception):
    """Base of all errors that are meant for the user; shown without a traceback."""

    exit_code = 1


class ParamsError(EspalierError):
    """A setting, a recipe, a prompt file or a taxonomy leaf is wrong."""

    exit_code = 2


class LeafError(ParamsError):
    """A file of a seed tree is refused: `file` and `field` say where, `reason` is the word that refusals are counted by.

    The message is one printable line, whatever the file holds.
    """

    def __init__(self, file: str, field: str, words: str, *, reason: str) -> None:
        line = " ".join(f"{file}: {field} {words}".split())
        super().__init__("".join(letter if letter.isprintable() else "?" for letter in line))
        self.file, self.field, self.words, self.reason = file, field, words, reason


class InputMissing(EspalierError):
    """A file that an earlier stage writes is absent."""

    exit_code = 3


class CorruptInput(EspalierError):
    """A file exists and its content cannot be read."""


class BudgetError(EspalierError):
    """A recipe cannot fill its budget."""


class ContaminationError(EspalierError):
    """Too many rows give a benchmark away."""


class DiskFull(EspalierError):
    """A write was refused by the file system."""


class Interrupted(EspalierError):
    """Ctrl-C, after what was under way has been kept."""

    exit_code = 130


def shown(value: object) -> str:
    """A found value of any YAML for a message: words in quotes and cut, mappings and lists by their size (YAML nests them without end).

    >>> shown("plum"), shown(None), shown([1, 2]), shown(9)
    ('"plum"', 'empty', 'a list of 2', '9')
    """
    if isinstance(value, str):
        return f'"{value}"' if len(value) <= MOST_SHOWN else f'"{value[:MOST_SHOWN]}..."'
    if isinstance(value, list | dict):
        return f"a {'list' if isinstance(value, list) else 'mapping'} of {len(value)}"
    if isinstance(value, int) and value.bit_length() > 100:
        return "a huge number"  # str() refuses those of 4,300 digits
    plain = value is None or isinstance(value, bool | int | float | date)
    return f"a {type(value).__name__}" if not plain else "empty" if value is None else str(value)


def bare(key: object) -> str:
    """A found key for a message, as `shown` but without quotes."""
    return shown(key).removeprefix('"').removesuffix('"')
