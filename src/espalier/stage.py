"""What every stage has around it: checked params, declared reads, talk, exit codes, and a record for the house tests.

    @stage("dedup", items=("recipe",), reads=("dedup",))
    def main(params, recipe): ...

`params` lets a stage read what it declares and nothing else. Wall time and peak memory go to runs/, which is not tracked.
With ESPALIER_RECORD=<file> the params read, files opened and modules imported are added to that file as a line of JSON.
"""

import json
import os
import resource
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import click

from espalier.errors import EspalierError
from espalier.io import read_text, write_json
from espalier.launch import is_main
from espalier.log import say
from espalier.params import FILE, parse_params

Main = Callable[..., None]


class StageCommand(click.Command):
    """The command of a stage; reads: the dotted params that it may read; items: the matrix keys that are its arguments."""

    reads: tuple[str, ...] = ()
    items: tuple[str, ...] = ()


def stage(name: str, *, items: tuple[str, ...] = (), reads: tuple[str, ...]) -> Callable[[Main], click.Command]:
    """Make a function a stage's command. items: the matrix keys, given as arguments. reads: dotted params; `{recipe}` stands for the item.

    Every stage reads `format` too: raising it reruns everything.
    """
    reads = ("format", *reads)

    def wrap(function: Main) -> click.Command:
        def run(**values: str) -> None:
            sys.exit(_run(name, function, values, reads))

        run.__doc__ = function.__doc__
        command = click.command(name, cls=StageCommand)(run)
        for item in items:
            command = click.argument(item)(command)
        command.reads, command.items = reads, items
        return command

    return wrap


class Declared:
    """The params of a stage by attribute or key; what it does not declare it cannot read."""

    def __init__(self, value: Any, declared: frozenset[str], at: str, seen: set[str]) -> None:
        self._value, self._declared, self._at, self._seen = value, declared, at, seen

    def __getattr__(self, name: str) -> Any:
        return self._read(getattr(self._value, name), name)

    def __getitem__(self, name: str) -> Any:
        return self._read(self._value[name], name)

    def _read(self, value: Any, name: str) -> Any:
        path = f"{self._at}.{name}" if self._at else name
        if path in self._declared:
            self._seen.add(path)
            return value
        if any(one.startswith(f"{path}.") for one in self._declared):
            return Declared(value, self._declared, path, self._seen)
        raise AssertionError(f"the stage reads {path}, which it does not declare ({', '.join(sorted(self._declared))})")


def _run(name: str, function: Main, values: dict[str, str], reads: tuple[str, ...]) -> int:
    """Run a stage; its exit code."""
    label = f"{name}@{'-'.join(values.values())}" if values else name
    opened = _watch_files() if os.environ.get("ESPALIER_RECORD") else set()
    seen: set[str] = set()
    start = time.monotonic()
    try:
        declared = frozenset(one.format(**values) for one in reads)
        params = Declared(parse_params(read_text(FILE)), declared, "", seen)
        assert params.format >= 1
        function(params, **values)
        _note(label, time.monotonic() - start)
        _record(name, label, seen, opened)
    except EspalierError as error:
        say(f"{label}: {error}")
        return error.exit_code
    except KeyboardInterrupt:
        say(f"{label}: interrupted; finished requests and checkpoints are kept, `dvc repro` goes on from them")
        return 130
    return 0


def _note(label: str, wall_s: float) -> None:
    peak_mib = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    say(f"{label}: done in {wall_s:.1f} s, peak memory {peak_mib:,.0f} MiB")
    if is_main():
        write_json(Path("runs") / f"{label}.json", {"wall_s": round(wall_s, 2), "peak_mib": round(peak_mib)})


def _watch_files() -> set[str]:
    """A set that fills with every file of the working folder that is opened for reading from now on."""
    opened: set[str] = set()
    here = f"{Path.cwd()}{os.sep}"

    def audit(event: str, arguments: tuple[Any, ...]) -> None:
        if event == "open" and isinstance(arguments[0], str | os.PathLike) and not (arguments[2] or 0) & (os.O_WRONLY | os.O_RDWR):
            path = os.path.abspath(arguments[0])
            if path.startswith(here):
                opened.add(path.removeprefix(here))

    sys.addaudithook(audit)
    return opened


def _record(name: str, label: str, seen: set[str], opened: set[str]) -> None:
    if file := os.environ.get("ESPALIER_RECORD"):
        modules = sorted(module for module in sys.modules if module.split(".")[0] == "espalier")
        line = {"stage": name, "label": label, "params": sorted(seen), "files": sorted(opened), "modules": modules}
        with open(file, "a", encoding="utf-8") as record:
            record.write(json.dumps(line) + "\n")
