"""Long tables behind the plots and the report: how a mix spreads over the leaves, and how the students' loss fell."""

from collections.abc import Mapping

import polars as pl


def leaf_shares(mixes: Mapping[str, pl.DataFrame], leaves: pl.DataFrame) -> pl.DataFrame:
    """recipe, leaf, rank, place (1 = the recipe's commonest leaf), rows, share (0..1) of every leaf in every mix, leaves without rows too."""
    blocks = [
        leaves.select("leaf", "rank")
        .join(mix.group_by("delivered_leaf").len("rows"), left_on="leaf", right_on="delivered_leaf", how="left")
        .with_columns(pl.lit(recipe).alias("recipe"), pl.col("rows").fill_null(0).cast(pl.Int64))
        .sort(["rows", "leaf"], descending=[True, False])
        .with_columns((pl.col("rows") / pl.col("rows").sum()).alias("share"), pl.int_range(1, pl.len() + 1).alias("place"))
        for recipe, mix in mixes.items()
    ]
    return pl.concat(blocks).select("recipe", "leaf", "rank", "place", "rows", "share")


def loss_curves(curves: Mapping[tuple[str, int], pl.DataFrame], *, points: int = 60) -> pl.DataFrame:
    """recipe, seed, tokens, loss_nats: each curve as the means of `points` stretches of equal length."""
    blocks = []
    for (recipe, seed), curve in curves.items():
        stretch = max(curve.height // points, 1)
        means = curve.with_row_index("step").group_by(pl.col("step") // stretch).agg(pl.col("tokens").max(), pl.col("loss_nats").mean()).sort("step")
        blocks.append(means.select(pl.lit(recipe).alias("recipe"), pl.lit(seed).alias("seed"), "tokens", "loss_nats"))
    return pl.concat(blocks)
