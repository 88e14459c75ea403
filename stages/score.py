"""Computes every score of every sample; drops nothing."""

import time
from functools import partial

from espalier.attributes import parse_openings
from espalier.io import read_rows, read_text, write_json, write_rows
from espalier.log import say
from espalier.progress import Progress
from espalier.score import score_metrics, score_rows
from espalier.scorers.embeddings import open_encoder
from espalier.scorers.heuristics import heuristic_scores
from espalier.scorers.leafwise import leaf_scores
from espalier.scorers.learned import learned_metrics, learned_scores, parse_labels
from espalier.scorers.likelihood import likelihood_scores, no_likelihood, open_model, without_room
from espalier.scorers.neighbours import neighbour_columns
from espalier.scorers.round_trip import round_trip_scores
from espalier.scorers.rules.table import rule_scores
from espalier.scorers.vote import agreement_scores
from espalier.stage import stage
from stages._world import read_world


@stage("score", items=("recipe",), reads=("seed", "world", "score", "taxonomy.openings"))
def main(params, recipe):
    """Score a recipe's samples: heuristics, rules, verifier, agreement, likelihood, neighbours, learnt labels."""
    settings = params.score
    labels = parse_labels(read_text(settings.labels), file=settings.labels)
    rows, world = read_rows(f"data/answer/{recipe}/rows.parquet"), read_world(params)
    openings = parse_openings(read_text(params.taxonomy.openings), file=params.taxonomy.openings)
    say(f"score: {rows.height:,} rows of {recipe}, likelihood by {settings.likelihood_model or 'no model'}, {len(labels):,} labels")
    scorers = [
        partial(heuristic_scores, repeat_words=settings.repeat_words),
        partial(rule_scores, openings=openings),
        agreement_scores,
        round_trip_scores,
        _likelihood(settings.likelihood_model, recipe),
        leaf_scores,
        partial(neighbour_columns, clusters=settings.clusters, seed=params.seed, embed=open_encoder(settings.embeddings) if settings.embeddings else None),
        partial(learned_scores, labels=labels, file=settings.labels),
    ]
    scored = score_rows(rows, verify=world.verify, read=world.read_answer, scorers=scorers)
    numbers = score_metrics(scored, learned_metrics(scored, labels))
    write_rows(f"data/score/{recipe}/rows.parquet", scored)
    write_json(f"metrics/score/{recipe}.json", {"score": {recipe: numbers}})
    if "learned_auc" in numbers:
        say(f"score: the model of {numbers['labelled_rows']:,} labels orders rows that it did not see with an AUC of {numbers['learned_auc']:.3f}")
    right, leaves = numbers["right_share"], numbers["effective_leaves"]
    say(f"score: {scored.height:,} rows of {recipe}, {right:.1%} right, {leaves:.1f} effective leaves -> data/score/{recipe}")


def _likelihood(name, recipe):
    """The scorer by the model of that name, loaded; it says how fast it was and what it had to leave out."""
    if not name:
        return no_likelihood
    model = open_model(name)

    def score(frame):
        start = time.monotonic()
        with Progress(f"score@{recipe}", 0, start=0) as progress:
            added = likelihood_scores(frame, score=model.score_within, heard=lambda done, total: progress(done, total=total))
        rate, cut = frame.height / max(time.monotonic() - start, 1e-9), without_room(frame, added)
        say(f"score: likelihood of {frame.height:,} rows, {rate:,.0f} rows/s" + (f"; {cut:,} do not fit into the context of {name}" if cut else ""))
        return added

    return score


if __name__ == "__main__":
    main()
