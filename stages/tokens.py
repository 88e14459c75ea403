"""Turns a recipe's mix into packed token sequences with document boundaries, memory-mapped by the training."""

import io
from pathlib import Path

import numpy

from espalier.io import read_rows, write_bytes, write_json
from espalier.log import say
from espalier.order import branch_number
from espalier.samples import training_documents
from espalier.stage import stage
from espalier.teachers.pin import teacher_folder
from espalier.tokens import load_chat, pack, pack_by_branch, save_chat


@stage("tokens", items=("recipe",), reads=("tokens",))
def main(params, recipe):
    """Tokenize and pack a recipe's training set."""
    out, length = Path("data/tokens") / recipe, params.tokens.context_tokens
    chat = load_chat(teacher_folder(Path(params.tokens.tokenizer)), extend=True)
    rows = read_rows(f"data/mix/{recipe}/rows.parquet")
    documents = training_documents(chat, rows)
    if params.tokens.by_branch:
        data = pack_by_branch(documents, [branch_number(leaf) for leaf in rows["delivered_leaf"]], length, pad_id=chat.pad_id)
    else:
        data = pack(documents, length, pad_id=chat.pad_id)
    arrays = {"tokens": data.tokens_NT, "documents": data.documents_NT, "targets": data.targets_NT, "branches": data.branches_N}
    for name, array in arrays.items():
        if array is None:
            continue
        buffer = io.BytesIO()
        numpy.save(buffer, array)
        write_bytes(out / f"{name}.npy", buffer.getvalue())
    save_chat(chat, out, context_tokens=length)
    tokens, sequences = sum(len(document.ids) for document in documents), len(data.tokens_NT)
    numbers = {
        "documents": len(documents),
        "tokens": tokens,
        "target_tokens": int(data.targets_NT.sum()),
        "sequences": sequences,
        "filled_share": tokens / (sequences * length),
        "vocabulary": chat.size,
    }
    write_json(f"metrics/tokens/{recipe}.json", {"tokens": {recipe: numbers}})
    say(f"tokens: {tokens:,} tokens of {recipe} in {sequences:,} sequences of {length} -> {out}")


if __name__ == "__main__":
    main()
