"""`espalier preview`: the first rows of a plan through all four generation steps, printed instead of written.

It asks what a run asks: the plan is prefix-stable, and a request hangs on the row, the step and the seed of params.yaml, and so do its random numbers (one
stream, by counter, for every request). What a preview has asked lies in the completion cache, and a later `dvc repro` finds it there.

What a preview does not promise is the last bit. A run asks `gen.chunk_rows` requests at a time, so that a resumed run puts the same rows into a batch as an
undisturbed one; a preview puts other rows together, and floating-point sums depend on the batch. Where two words are tied to within that rounding, a previewed
row may read differently than it would have without the preview. It is as good a draw, and from then on every run repeats it from the cache.
"""

import click

from espalier.commands.first_rows import FirstRows, chosen, run_first
from espalier.io import read_text
from espalier.ledger import total
from espalier.lineage import row_lines, step_lines, steps_of
from espalier.log import say
from espalier.params import FILE, parse_params
from espalier.teachers.ask import Asker


@click.command()
@click.option("-n", "rows", default=20, show_default=True, type=click.IntRange(1), help="Rows of each recipe.")
@click.option("--recipe", help="One recipe; without it all of study.recipes.")
def preview(rows: int, recipe: str | None) -> None:
    """Ask the run's teacher for the first rows, and print prompts and replies."""
    params = parse_params(read_text(FILE))
    ask = Asker("preview", params, again="the same command")
    for name in chosen(params, recipe):
        _print(run_first(name, params, rows, ask), folder=params.taxonomy.prompts)
    asked = total(ask.calls)
    say(f"preview: {asked.requests:,} requests, {asked.found:,} from the cache")


def _print(first: FirstRows, *, folder: str) -> None:
    for states in first.states():
        lines = row_lines(states["answer"])
        for step in steps_of(states, first.prompts, operations=first.operations, sampling=first.sampling, heard=first.heard):
            lines += step_lines(step, folder=folder)
        click.echo("\n".join([*lines, ""]))
