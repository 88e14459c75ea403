"""Cuts every recipe to the same number of training tokens; fails when one cannot fill its budget."""

from pathlib import Path

from espalier.io import read_rows, write_json, write_rows
from espalier.log import say
from espalier.mix import mix_metrics, mix_rows
from espalier.samples import training_documents
from espalier.stage import stage
from espalier.teachers.pin import teacher_folder
from espalier.tokens import load_chat


@stage("mix", items=("recipe",), reads=("seed", "mix", "tokens.tokenizer"))
def main(params, recipe):
    """Mix a recipe's training set."""
    settings = params.mix
    rows = read_rows(f"data/decontaminate/{recipe}/kept.parquet")
    counts = [len(document.ids) for document in training_documents(load_chat(teacher_folder(Path(params.tokens.tokenizer)), extend=True), rows)]
    mixed = mix_rows(rows, budget_tokens=settings.budget_tokens, token_counts=counts, seed=params.seed, allow_short=settings.allow_short)
    numbers = mix_metrics(mixed, budget_tokens=settings.budget_tokens)
    write_rows(f"data/mix/{recipe}/rows.parquet", mixed)
    write_json(f"metrics/mix/{recipe}.json", {"mix": {recipe: numbers | {"available_tokens": sum(counts)}}})
    say(f"mix: {mixed.height:,} rows of {recipe}, {numbers['tokens']:,} of {sum(counts):,} tokens -> data/mix/{recipe}")


if __name__ == "__main__":
    main()
