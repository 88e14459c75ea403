"""Tier 6: what a reviewer would accept, learnt from your own labels: a linear model on hashed words and word pairs and on the other scores.

Labels come from a file of JSON lines, {"id": ..., "label": true or false}. The verdict is no feature, so that the audit can hold the model against it. A
labelled row is never scored by a model that saw its label or that of a row with the same problem: it gets the prediction of the fold it was left out of.
"""

import json
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np
import polars as pl

from espalier.auc import auc
from espalier.errors import ParamsError, shown
from espalier.scorers.logistic import Bools, Floats, fit_logistic, probabilities
from espalier.seeds import digest
from espalier.text import hash_ngrams, match_words

if TYPE_CHECKING:
    from scipy.sparse import csr_array

BUCKETS = 2**14  # of hashed n-grams
WORDS = (1, 2)  # lengths of the n-grams
FOLDS = 5
MOST_LETTERS = 20_000  # of a question or an answer that are read; hashing a hostile one of 450,000 took 0.7 s
LEAST_LABELS = 80  # lowest AUC on other rows in 20 draws of the labels: of 20 0.38, of 40 0.68, of 80 0.76; the best other scorer has 0.81 to 0.83 (LOG.md)
LEAST_OF_EACH = 10  # of accepted and of refused rows: two in every fold
PENALTY = 3.0  # on half the squared weights; 1 to 10 differ less than draws of the labels do (LOG.md)
COLUMNS = ("words", "repeat_share", "echo_share", "vote_share", "answer_entropy", "temperature_agreement", "round_trip", "answer_loss", "ifd", "logprob_mean")
SCHEMA = {"learned": pl.Float64}


def parse_labels(text: str, *, file: str) -> dict[str, bool]:
    """id -> accepted. Empty lines are passed over; of several labels for a row the last one counts. Raises: ParamsError with the line."""
    found = {}
    for place, line in enumerate(text.splitlines(), 1):
        if not line.strip():
            continue
        try:
            value = json.loads(line)
        except (ValueError, RecursionError) as error:
            raise ParamsError(f'{file}, line {place}: not JSON ({error}); a line is {{"id": ..., "label": true or false}}') from error
        if not isinstance(value, dict) or not isinstance(value.get("id"), str) or value.get("label") not in (0, 1):
            wrong = shown(value.get("label")) if isinstance(value, dict) and isinstance(value.get("id"), str) else shown(value)
            raise ParamsError(f"{file}, line {place}: found {wrong}; a line must hold an id and a label, true or false (or 1 or 0)")
        found[value["id"]] = bool(value["label"])
    return found


def learned_scores(frame: pl.DataFrame, *, labels: Mapping[str, bool], file: str) -> pl.DataFrame:
    """learned of every row: the probability that a reviewer accepts it, 0..1; of a labelled row by a model that did not see its label. Null without labels.

    The frame holds id, context, query, answer and the scores COLUMNS (those it has). Labels of other rows are passed over.
    Raises: ParamsError for too few labels of these rows, or too few of one kind.
    """
    places = [i for i, one in enumerate(frame["id"]) if one in labels]
    if not places:
        return pl.DataFrame({"learned": [None] * frame.height}, schema=SCHEMA)
    accepted = np.array([labels[frame["id"][i]] for i in places])
    _check_enough(accepted, file)
    features = features_of(frame)
    known = features[places]
    found = probabilities(features, fit_logistic(known, accepted, penalty=PENALTY))
    found[places] = out_of_fold(known, accepted, _problems(frame, places))
    return pl.DataFrame({"learned": found}, schema=SCHEMA)


def learned_metrics(scored: pl.DataFrame, labels: Mapping[str, bool]) -> dict[str, float]:
    """labelled_rows, and learned_auc of their predictions, each made without the row's label (cross-validated); {} without labels."""
    known = scored.filter(pl.col("id").is_in(list(labels)))
    if not known.height:
        return {}
    accepted = np.array([labels[one] for one in known["id"]])
    order = auc(known["learned"].to_numpy(), accepted)
    assert order is not None, "labels of one kind alone were refused before"
    return {"labelled_rows": known.height, "learned_auc": order}


def out_of_fold(features: "csr_array", accepted: Bools, groups: Sequence[str]) -> Floats:
    """For each row the probability by a model that saw neither it nor another row of its group; folds have like shares of accepted rows."""
    first = {group: bool(kind) for group, kind in reversed(list(zip(groups, accepted, strict=True)))}
    order = sorted(first, key=lambda group: (first[group], digest("fold", group)))
    fold_of = {group: place % FOLDS for place, group in enumerate(order)}
    folds, found = np.array([fold_of[group] for group in groups]), np.zeros(len(groups))
    for fold in range(FOLDS):
        seen, out = np.flatnonzero(folds != fold), np.flatnonzero(folds == fold)
        found[out] = probabilities(features[out], fit_logistic(features[seen], accepted[seen], penalty=PENALTY))
    return found


def features_of(frame: pl.DataFrame) -> "csr_array":
    """A row for each row: hashed n-grams of the question and of the answer, each part with length 1, then the scores in standard deviations, 0 for none."""
    from scipy.sparse import csr_array, hstack

    texts = frame.select("context", "query", "answer").iter_rows()
    rows = [[*_grams(f"{context} {query}", 0), *_grams(answer, 1)] for context, query, answer in texts]
    ends = np.cumsum([0, *map(len, rows)])
    pairs = np.array([pair for row in rows for pair in row], dtype=np.float64).reshape(-1, 2)
    grams = csr_array((pairs[:, 1], pairs[:, 0].astype(np.int64), ends), shape=(len(rows), BUCKETS))
    return csr_array(hstack([grams, csr_array(_standard(frame))]))


def _grams(text: str, part: int) -> list[tuple[int, float]]:
    """(bucket, value) of each kind of n-gram. The sign that a hash gives lets collisions cancel. Source: Weinberger et al. 2009, arXiv 0902.2206, section 2."""
    words = match_words(text[:MOST_LETTERS])
    kinds = {gram for n in WORDS for gram in hash_ngrams(words, n)}
    value = len(kinds) ** -0.5 if kinds else 0.0
    return [((gram >> 1) * (2 * part + 1) % BUCKETS, value if gram & 1 else -value) for gram in sorted(kinds)]


def _standard(frame: pl.DataFrame) -> Floats:
    """The scores, each less its mean and over its standard deviation over all rows, cut at 5."""
    columns = [frame[name].cast(pl.Float64).fill_nan(None) for name in COLUMNS if name in frame.columns]
    spread = [(column.mean() or 0.0, column.std(ddof=0) or 1.0) for column in columns]
    table = [((column - mean) / deviation).fill_null(0.0).to_numpy() for column, (mean, deviation) in zip(columns, spread, strict=True)]
    return np.clip(np.stack(table, axis=1), -5, 5) if table else np.zeros((frame.height, 0))


def _problems(frame: pl.DataFrame, places: Sequence[int]) -> list[str]:
    """What each labelled row asks: rows with the same problem share a fold."""
    return [" ".join(match_words(f"{frame['context'][i]} {frame['query'][i]}")) for i in places]


def _check_enough(accepted: Bools, file: str) -> None:
    kinds = (int(accepted.sum()), int((~accepted).sum()))
    if sum(kinds) < LEAST_LABELS or min(kinds) < LEAST_OF_EACH:
        raise ParamsError(
            f"{file}: {kinds[0]} rows of this recipe are accepted and {kinds[1]} refused; the score learned wants {LEAST_LABELS} labels, "
            f"{LEAST_OF_EACH} of each kind: label more rows, or empty the file"
        )
