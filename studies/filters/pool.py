"""The pool: the scored samples of the recipe lab, with the scores of a linear model trained on LABELS of them (data/pool/rows.parquet).

The labels stand for a reviewer who reads so many samples and is never wrong: they are the verdicts of samples drawn at random.
"""

from pathlib import Path

from espalier.io import read_rows, write_rows
from espalier.log import say
from espalier.scorers.learned import learned_metrics, learned_scores
from espalier.seeds import digest
from espalier.stage import stage

SCORED, LABELS = Path("../../data/score/lab/rows.parquet"), 200


@stage("pool", reads=("seed",))
def main(params):
    """Score the pool with the model on labels."""
    rows = read_rows(SCORED)
    drawn = sorted(rows.filter(rows["status"] == "ok").select("id", "verdict").iter_rows(), key=lambda one: digest(params.seed, "labels", one[0]))[:LABELS]
    labels = {name: verdict == "right" for name, verdict in drawn}
    rows = rows.drop("learned")
    scored = rows.hstack(learned_scores(rows, labels=labels, file="the labels of the study"))
    write_rows(Path("data/pool/rows.parquet"), scored)
    order = learned_metrics(scored, labels)["learned_auc"]
    say(f"pool: {rows.height:,} rows of lab, a linear model on {LABELS} labels has an AUC of {order:.3f} on rows it did not see")


if __name__ == "__main__":
    main()
