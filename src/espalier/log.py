"""Talk goes to stderr, data to files: one plain line at a time."""

import sys


def say(line: str) -> None:
    """One line of talk."""
    print(line, file=sys.stderr, flush=True)
