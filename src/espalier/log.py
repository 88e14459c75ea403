"""Talk goes to stderr, data to files: one plain line at a time, and on a terminal a last line that the next one replaces."""

import os
import shutil
import sys

from espalier.launch import is_main

ERASE = "\r\x1b[K"  # what stands on the terminal's last line
_shown = False  # whether something stands there that the next line must replace


def say(line: str) -> None:
    """One line of talk."""
    _write(f"{line}\n", shown=False)


def show(line: str) -> None:
    """A line that the next one replaces, cut to the terminal's width; only where `is_terminal`."""
    _write(line[: shutil.get_terminal_size().columns - 1], shown=True)


def is_terminal() -> bool:
    """Whether stderr is a terminal on which a line can be replaced."""
    return sys.stderr.isatty() and os.environ.get("TERM") != "dumb"


def _write(text: str, *, shown: bool) -> None:
    global _shown
    if not is_main():
        return
    sys.stderr.write(f"{ERASE if _shown or shown else ''}{text}")
    sys.stderr.flush()
    _shown = shown
