"""Every error that espalier raises on purpose, and the exit code that a stage ends with.

    EspalierError            1   something in the run is wrong
      ParamsError            2   params.yaml, a recipe, a prompt file or a taxonomy leaf is wrong
      InputMissing           3   a file of an earlier stage is not there; the message names the command that makes it
      CorruptInput           1   a file is there and cannot be read
      BudgetError            1   a recipe cannot deliver what was asked of it
      DiskFull               1   the disk (or a size limit) ended a write; nothing half-written stays

A message says where, what was found, what is wanted and what to do.
"""


class EspalierError(Exception):
    """Base of all errors that are meant for the user; shown without a traceback."""

    exit_code = 1


class ParamsError(EspalierError):
    """A setting, a recipe, a prompt file or a taxonomy leaf is wrong."""

    exit_code = 2


class InputMissing(EspalierError):
    """A file that an earlier stage writes is absent."""

    exit_code = 3


class CorruptInput(EspalierError):
    """A file exists and its content cannot be read."""


class BudgetError(EspalierError):
    """A recipe cannot fill its budget."""


class DiskFull(EspalierError):
    """A write was refused by the file system."""
