"""Computes every score of every sample; drops nothing."""

from espalier.io import read_rows, write_json, write_rows
from espalier.log import say
from espalier.score import score_metrics, score_rows
from espalier.stage import stage
from stages._world import read_world


@stage("score", items=("recipe",), reads=("world", "score"))
def main(params, recipe):
    """Score a recipe's samples: heuristics, verifier, vote."""
    rows = read_rows(f"data/answer/{recipe}/rows.parquet")
    scored = score_rows(rows, verify=read_world(params).verify, repeat_words=params.score.repeat_words)
    numbers = score_metrics(scored)
    write_rows(f"data/score/{recipe}/rows.parquet", scored)
    write_json(f"metrics/score/{recipe}.json", {"score": {recipe: numbers}})
    right, leaves = numbers["right_share"], numbers["effective_leaves"]
    say(f"score: {scored.height:,} rows of {recipe}, {right:.1%} right, {leaves:.1f} effective leaves -> data/score/{recipe}")


if __name__ == "__main__":
    main()
