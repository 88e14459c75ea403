"""What a training will take, said before its first step: operations of the run and memory of a process. Arithmetic of sizes.py and hardware.py."""

from espalier.hardware import GIB, RESERVED, most_sequences, step_memory
from espalier.settings import Optimizer, Train
from espalier.sizes import Shape, train_flops

UNITS = ("FLOP", "kFLOP", "MFLOP", "GFLOP", "TFLOP", "PFLOP", "EFLOP", "ZFLOP")


def run_words(optimizer: Optimizer, shape: Shape, vocabulary: int, *, sequence: int) -> str:
    """Steps, and floating-point operations in all: without those that gradient checkpointing does again."""
    rows = max(optimizer.batch_tokens // sequence, 1)
    steps = max(optimizer.tokens // (rows * sequence), 1)
    flops = steps * rows * sequence * train_flops(shape, vocabulary, sequence)
    return f"{steps:,} steps of {rows:,} sequences of {sequence:,} tokens, {flop_words(flops)} in all"


def memory_words(settings: Train, shape: Shape, vocabulary: int, *, sequence: int, processes: int, precision: str, room_bytes: int) -> str:
    """Memory that a process is expected to take, whether it fits into its room, and if not what to do.

    room_bytes: what is free for one process now, on its card or its share of the machine; precision: fp32 or bf16.
    """
    rows = max(max(settings.optimizer.batch_tokens // sequence, 1) // processes, 1)
    n = min(settings.micro_batch or rows, rows)
    way = {"sequence": sequence, "processes": processes, "sharding": settings.sharding, "checkpointing": settings.gradient_checkpointing}
    none, one, all_n = (step_memory(shape, vocabulary, micro_batch=i, precision=precision, packed=True, **way).total for i in (0, 1, n))
    wanted = all_n + RESERVED
    said = f"{wanted / GIB:.1f} GiB expected in a process ({n:,} sequences at a time, {RESERVED / GIB:.0f} GiB for libraries), {room_bytes / GIB:.1f} GiB free"
    if wanted <= room_bytes:
        return f"{said}: fits"
    most = most_sequences(none, one, room_bytes)
    return f"{said}: DOES NOT FIT; " + (f"set train.micro_batch to {most:,}" if most else "see `espalier hardware plan` for sharding, checkpointing and sizes")


def flop_words(flops: float) -> str:
    """Operations in the unit that leaves one to three digits before the point.

    >>> flop_words(1.75e15), flop_words(999), flop_words(3.1e26)
    ('1.75 PFLOP', '999.00 FLOP', '310000.00 ZFLOP')
    """
    place = 0
    while flops >= 1000 and place < len(UNITS) - 1:
        flops, place = flops / 1000, place + 1
    return f"{flops:.2f} {UNITS[place]}"
