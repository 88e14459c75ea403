"""How many parameters a model folder holds, read from the heads of its safetensors files; no weight is loaded."""

import json
from math import prod
from pathlib import Path

from espalier.errors import CorruptInput

LONGEST_HEAD = 10**8  # bytes; the format's own limit


def count_stored_parameters(folder: Path) -> int:
    """The numbers in a folder's safetensors files; tied embeddings are stored once and count once; 0 where there are none.

    Of a mixture of experts all count, though a token meets a part of them; weights that a quantised file packs into larger integers count as those integers.

    Raises: CorruptInput for a file that is no safetensors.
    Source: the format, github.com/huggingface/safetensors: 8 bytes for the length of the head, then JSON of name -> dtype, shape, data_offsets.
    """
    return sum(_count(file) for file in sorted(folder.glob("*.safetensors")))


def _count(file: Path) -> int:
    with open(file, "rb") as stream:
        length = int.from_bytes(stream.read(8), "little")
        head = stream.read(min(length, LONGEST_HEAD))
    try:
        tensors = json.loads(head)
        return sum(prod(one["shape"]) for name, one in tensors.items() if name != "__metadata__")
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise CorruptInput(f"{file}: not a safetensors file ({error}); fetch the model again") from error
