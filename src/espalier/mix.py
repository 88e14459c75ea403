"""Give every recipe the same number of training tokens, so that recipes are compared at equal cost.

Reads the rows that are left after decontamination and how many tokens each one trains on; gives the rows of the mix.
"""

from collections.abc import Sequence

import polars as pl

from espalier.errors import BudgetError, ParamsError
from espalier.seeds import digest
from espalier.text import effective_leaves


def mix_rows(
    frame: pl.DataFrame, *, budget_tokens: int, token_counts: Sequence[int], seed: int, allow_short: bool
) -> pl.DataFrame:
    """The longest prefix of the hash-shuffled rows that fits into the budget, sorted by id, with a column `tokens`.

    A strict prefix, so a bigger budget keeps the rows of a smaller one; what stays unfilled is less than one row (skipping a
    row that is too long for a shorter one further on would fill it, and would swap rows between budgets). The order depends
    on seed and id alone: a row added or dropped elsewhere moves no other row.
    `token_counts[i]` belongs to row i: the tokens it takes in training, special tokens included.

    Raises: ParamsError when the budget is below 1; BudgetError when the rows hold fewer tokens than the budget and
    `allow_short` is off, and always when not one row fits.
    """
    if budget_tokens < 1:
        raise ParamsError(f"params.yaml: mix.budget_tokens is {budget_tokens}; it must be at least 1 (training tokens for each recipe)")
    assert len(token_counts) == frame.height, f"{len(token_counts)} token counts for {frame.height} rows"
    total = sum(token_counts)
    if total < budget_tokens and not allow_short:
        raise BudgetError(
            f"recipe {_recipe(frame)} has {total:,} tokens after filtering, mix.budget_tokens wants {budget_tokens:,};"
            " raise plan.rows, loosen the filter, lower mix.budget_tokens, or set mix.allow_short"
        )
    chosen = _prefix(frame["id"].to_list(), token_counts, budget_tokens, seed)
    if not chosen:
        raise BudgetError(
            f"recipe {_recipe(frame)}: not one of its {frame.height:,} rows can be placed into mix.budget_tokens ({budget_tokens:,});"
            " raise plan.rows, loosen the filter, or raise mix.budget_tokens"
        )
    return frame.with_columns(pl.Series("tokens", token_counts, dtype=pl.Int64))[chosen].sort("id")


def mix_metrics(mixed: pl.DataFrame, *, budget_tokens: int) -> dict[str, float]:
    """Size and coverage of a mix, and how full it is (0..1; below 1 by less than a row unless `allow_short` was needed)."""
    tokens = int(mixed["tokens"].sum())
    return {
        "rows": mixed.height,
        "tokens": tokens,
        "filled_share": tokens / budget_tokens,
        "tokens_per_row": tokens / max(mixed.height, 1),
        "right_share": mixed.filter(pl.col("verdict") == "right").height / max(mixed.height, 1),
        "effective_leaves": effective_leaves(mixed["delivered_leaf"]),
    }


def _prefix(ids: Sequence[str], token_counts: Sequence[int], budget_tokens: int, seed: int) -> list[int]:
    chosen, tokens = [], 0
    for i in sorted(range(len(ids)), key=lambda i: digest(seed, "mix", ids[i])):
        tokens += token_counts[i]
        if tokens > budget_tokens:
            break
        chosen.append(i)
    return chosen


def _recipe(frame: pl.DataFrame) -> str:
    return str(frame["recipe"][0]) if frame.height else "(no rows left)"
