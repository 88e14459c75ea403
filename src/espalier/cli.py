"""The command `espalier`: for looking, and for the few files that are written by hand-run commands. Stages are run by dvc."""

import importlib
import sys
from pathlib import Path

import click

from espalier.errors import EspalierError
from espalier.io import read_text, write_text
from espalier.log import say
from espalier.params import FILE, parse_params

TREE_SEED = 0
COMMANDS = ("cache", "curate", "estimate", "gym", "hardware", "preview", "profile", "show", "taxonomy")  # in espalier.commands, imported when called for


class Guarded(click.Group):
    """Our errors as one line and an exit code instead of a traceback; commands from modules of their own."""

    def list_commands(self, context: click.Context) -> list[str]:
        """All names."""
        return sorted([*super().list_commands(context), *COMMANDS])

    def get_command(self, context: click.Context, name: str) -> click.Command | None:
        """The command of a name."""
        if name in COMMANDS:
            return getattr(importlib.import_module(f"espalier.commands.{name}"), name)
        return super().get_command(context, name)

    def invoke(self, context: click.Context) -> object:
        """Run a command."""
        try:
            return super().invoke(context)
        except EspalierError as error:
            say(f"espalier: {error}")
            sys.exit(error.exit_code)
        except KeyboardInterrupt:
            say("espalier: interrupted; finished requests are in the cache")
            sys.exit(130)


@click.group(cls=Guarded)
def cli() -> None:
    """Look at a study; the pipeline itself is run by `dvc repro`."""


@cli.command()
def check() -> None:
    """Check params.yaml and say what a run would do."""
    params = parse_params(read_text(FILE))
    students = len(params.study.recipes) * len(params.study.seeds)
    rows, tokens = params.plan.rows, params.train.optimizer.tokens
    click.echo(f"{FILE} is right: {len(params.study.recipes)} recipes of {rows:,} rows, {students} students of {tokens:,} tokens")


@cli.command()
@click.option("--tree", default="data/seeds/taxonomy/builtin", show_default=True, help="Folder to write to.")
def seeds(tree: str) -> None:
    """Write the built-in world's seed tree (in git already)."""
    from espalier.world.demonstrations import seed_tree
    from espalier.world.tree import tree_files

    files = tree_files(seed_tree(seed=TREE_SEED))
    for path, text in files.items():
        write_text(Path(tree) / path, text)
    click.echo(f"{len(files)} files -> {tree}")


if __name__ == "__main__":
    cli()
