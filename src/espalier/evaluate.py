"""One student on the held-out exam and on reference text.

Per item: right or wrong by the world's verifier on a greedy reply, and the gold answer's loss in nats a token. Bits per byte count the reference text's own
bytes, so they do not depend on the tokenizer.
"""

import math
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import polars

from espalier.samples import ask
from espalier.teachers.base import Request, Teacher


def examine(
    student: Teacher, items: polars.DataFrame, gold: polars.DataFrame, *, max_tokens: int, grade: Callable[[Mapping[str, Any], str], bool]
) -> polars.DataFrame:
    """The exam item by item, sorted by item: item, split, leaf, branch, template, level, right, gold_loss, gold_tokens, reply.

    grade: (item with its gold answer, reply) -> whether it is right.
    """
    rows = items.join(gold, on="item", how="inner", validate="1:1").sort("item")
    assert rows.height == items.height == gold.height, (rows.height, items.height, gold.height)
    asked = [ask(context, query) for context, query in rows.select("context", "query").iter_rows()]
    requests = [Request(messages, temperature=0.0, top_p=1.0, max_tokens=max_tokens, seed=0) for messages in asked]
    replies = [completion.text for completion in student.generate(requests)]
    losses = student.score(list(zip(asked, rows["answer"], strict=True)))
    right = [grade(item, reply) for item, reply in zip(rows.iter_rows(named=True), replies, strict=True)]
    return rows.select("item", "split", "leaf", "branch", "template", "level").with_columns(
        polars.Series("right", right, dtype=polars.Boolean),
        polars.Series("gold_loss", [-total / tokens for total, tokens in losses], dtype=polars.Float64),
        polars.Series("gold_tokens", [tokens for _, tokens in losses], dtype=polars.Int64),
        polars.Series("reply", replies, dtype=polars.String),
    )


def reference_losses(student: Teacher, reference: polars.DataFrame) -> polars.DataFrame:
    """What the student needs for each reference answer, given its problem: document (the row's number in `reference`, from 0), bytes, loss_nats, bits.

    bytes: those of the answer and one for its end; loss_nats: of all its tokens, the end token among them; bits: the same by the logarithm to base 2.
    """
    texts = list(reference.select("context", "query", "answer").iter_rows())
    losses = [-total for total, _ in student.score([(ask(context, query), answer) for context, query, answer in texts])]
    return polars.DataFrame(
        {
            "document": range(len(texts)),
            "bytes": [len(answer.encode()) + 1 for _, _, answer in texts],
            "loss_nats": losses,
            "bits": [loss / math.log(2) for loss in losses],
        },
        schema={"document": polars.Int64, "bytes": polars.Int64, "loss_nats": polars.Float64, "bits": polars.Float64},
    )


def bits_per_byte(losses: polars.DataFrame) -> float:
    """All bits over all bytes of `reference_losses`: long documents count by their length.

    >>> bits_per_byte(polars.DataFrame({"bytes": [1, 3], "loss_nats": [math.log(2), 3 * math.log(2)]}))
    1.0
    """
    return sum(losses["loss_nats"].to_list()) / math.log(2) / int(losses["bytes"].sum())


def exam_metrics(results: polars.DataFrame, weights: dict[str, float], *, bits: float) -> dict[str, float]:
    """Accuracy and gold loss on the split `key` in both weightings, accuracy on the other splits (every leaf equal), bits per byte.

    weights: natural share of each leaf; they add up to 1. A split without items is left out.
    """
    by_leaf = results.group_by("split", "leaf").agg(polars.col("right").mean(), polars.col("gold_loss").mean())
    key = by_leaf.filter(polars.col("split") == "key").sort("leaf")
    natural = np.array([weights[leaf] for leaf in key["leaf"]])
    natural = natural / natural.sum()
    numbers = {
        "accuracy_macro": float(key["right"].mean() or 0.0),
        "accuracy_natural": float(natural @ key["right"].to_numpy()),
        "gold_loss_macro_nats": float(key["gold_loss"].mean() or 0.0),
        "gold_loss_natural_nats": float(natural @ key["gold_loss"].to_numpy()),
        "bits_per_byte": bits,
    }
    for split in ("template", "difficulty"):
        some = by_leaf.filter(polars.col("split") == split)["right"]
        numbers |= {f"accuracy_{split}": float(some.mean() or 0.0)} if len(some) else {}
    return numbers


def gold_losses(student: Teacher, items: polars.DataFrame, gold: polars.DataFrame, *, split: str) -> polars.DataFrame:
    """The gold answers' losses alone (no reply is drawn, which takes most of an exam's time), of the items of one split, sorted by item.

    item, leaf, gold_loss in nats a token.
    """
    rows = items.filter(polars.col("split") == split).join(gold, on="item", how="inner", validate="1:1").sort("item")
    asked = [ask(context, query) for context, query in rows.select("context", "query").iter_rows()]
    losses = student.score(list(zip(asked, rows["answer"], strict=True)))
    return rows.select("item", "leaf", polars.Series("gold_loss", [-total / tokens for total, tokens in losses], dtype=polars.Float64))
