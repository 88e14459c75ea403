"""`espalier hardware plan`: which student fits which card, before anything is started."""

import click

from espalier.hardware import GIB, Fit, fits
from espalier.sizes import SIZES, Shape, count_parameters, train_flops


@click.group()
def hardware() -> None:
    """What students take of the hardware."""


@hardware.command()
@click.option("--size", "sizes", multiple=True, type=click.Choice(tuple(SIZES)), help="A preset; may be given several times. All by default.")
@click.option("--card-gib", default=24.0, show_default=True, type=click.FloatRange(1, 1024), help="Memory of one card (RTX 4090: 24).")
@click.option("--processes", default=8, show_default=True, type=click.IntRange(1, 4096), help="Cards.")
@click.option("--vocabulary", default=49152, show_default=True, type=click.IntRange(8, 10**6), help="Words of the tokenizer.")
@click.option("--context", default=0, type=click.IntRange(0, 10**6), help="Tokens a sequence; 0 = what the preset sees.")
def plan(sizes: tuple[str, ...], card_gib: float, processes: int, vocabulary: int, context: int) -> None:
    """Parameters, FLOPs a token, memory of a step, and the largest micro-batch that fits."""
    click.echo(f"{processes} x {card_gib:g} GiB, {vocabulary:,} words; memory is computed, not measured")
    click.echo(f"{'size':5} {'parameters':>13} {'GFLOP/token':>11} {'context':>7}  {'sharding':8} {'checkpointing':13} {'micro-batch':>11} {'GiB':>5}")
    for name in sizes or SIZES:
        shape = SIZES[name]
        sequence = context or shape.context_tokens
        for fit in fits(shape, vocabulary, sequence=sequence, processes=processes, card_bytes=int(card_gib * GIB)):
            click.echo(_line(name, shape, fit, vocabulary=vocabulary, sequence=sequence))


def _line(name: str, shape: Shape, fit: Fit, *, vocabulary: int, sequence: int) -> str:
    head = f"{name:5} {count_parameters(shape, vocabulary):13,} {train_flops(shape, vocabulary, sequence) / 1e9:11.3f} {sequence:7,}"
    fitting = f"{fit.micro_batch:11,}" if fit.micro_batch else f"{'does not fit':>11}"
    return f"{head}  {fit.sharding:8} {'yes' if fit.checkpointing else 'no':13} {fitting} {fit.memory.total / GIB:5.1f}"
