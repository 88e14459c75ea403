"""Tasks of lm-evaluation-harness on one student, offline: flat metrics, and rows by item.

The harness words the prompts and sums up the metrics; the student goes through its own class for transformers' models, so that a number is the one that
`lm_eval --model hf` gives. Imported where `evaluate.tasks` names a task, and not before.
Source: EleutherAI/lm-evaluation-harness 0.4.13 (`evaluator.evaluate`, `models.huggingface.HFLM`).
"""

import contextlib
import json
import logging
import math
import os
import random
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import polars
import torch
from jinja2 import TemplateError

from espalier.errors import EspalierError
from espalier.model import load_model
from espalier.params import FILE
from espalier.task_files import FORMS, Opened, metadata, told
from espalier.teachers.memory import free_bytes, rows_that_fit, scored_bytes, sizes_of

if TYPE_CHECKING:
    from lm_eval.api.model import LM

OFFLINE = ("HF_HUB_OFFLINE", "HF_DATASETS_OFFLINE", "HF_EVALUATE_OFFLINE")
PIECE = 4096  # requests whose likelihoods are told of at a time; sorted by length within
SCHEMA = {
    "task": polars.String, "item": polars.Int64, "leaf": polars.String, "filter": polars.String, "metric": polars.String,
    "value": polars.Float64, "weight": polars.Float64, "target": polars.String, "reply": polars.String,
}  # fmt: skip


@contextlib.contextmanager
def offline_and_quiet() -> Iterator[None]:
    """Within it nothing is fetched, and neither the harness nor `datasets` draws bars or warns of each item; the student's progress is told by us."""
    import datasets
    import huggingface_hub.constants
    import lm_eval.api.task

    changed = [(huggingface_hub.constants, "HF_HUB_OFFLINE", True), (datasets.config, "HF_HUB_OFFLINE", True), (lm_eval.api.task, "tqdm", _without_bar)]
    before = [(module, name, getattr(module, name)) for module, name, _ in changed]
    variables, level = {name: os.environ.get(name) for name in OFFLINE}, logging.getLogger("lm_eval").level
    try:
        for module, name, value in changed:
            setattr(module, name, value)
        os.environ.update(dict.fromkeys(OFFLINE, "1"))
        logging.getLogger("lm_eval").setLevel(logging.ERROR)
        datasets.disable_progress_bars()
        yield
    finally:
        for module, name, value in before:
            setattr(module, name, value)
        for name, value in variables.items():
            os.environ.pop(name) if value is None else os.environ.update({name: value})
        logging.getLogger("lm_eval").setLevel(level)
        datasets.enable_progress_bars()


def open_student(folder: Path, *, batch: int, max_tokens: int, done: Callable[[int, int], None]) -> "LM":
    """A student as the harness asks it. batch: requests at a time, fewer where memory is short; max_tokens: longest reply to a task that names no limit;
    done: told how many requests got their likelihood, and of how many so far. `student.cut` counts those that lost their beginning to the student's context.

    Raises: InputMissing, CorruptInput.
    """
    from transformers import AutoTokenizer

    model = load_model(folder).eval()
    if torch.cuda.is_available():
        model = model.to(torch.device("cuda"), torch.bfloat16)
    longest: int = model.config.max_position_embeddings
    fitting = rows_that_fit(scored_bytes(sizes_of(model), tokens=longest), free_bytes(model.device), device=model.device.type)
    return _student_class()(model, AutoTokenizer.from_pretrained(folder), batch=min(batch, fitting), max_tokens=max_tokens, done=done)


def run_tasks(student: "LM", opened: Sequence[Opened], *, items: int) -> tuple[dict[str, float], polars.DataFrame]:
    """The metrics of the tasks, and one row for each item, filter and metric, sorted by task and item. items: the first of each task; 0 = all.

    Metrics are called task_NAME_METRIC, for each task and for each group that has a metric of its own (its members are in the rows alone). A row has the task,
    the item's number in the data, the leaf (the item's field that `metadata: {leaf: FIELD}` of a task file names, else ""), the filter, the metric, the value
    and weight that the metric sums up (null where it is no number: then it is computed of all items together), the target, and the reply: text, or JSON
    of the [log-likelihood in nats, greedy] of each choice.
    """
    from lm_eval.defaults import DEFAULT_OTHER_SEED, DEFAULT_RANDOM_SEED
    from lm_eval.evaluator import evaluate
    from lm_eval.utils import set_torch_seed

    metrics: dict[str, float] = {}
    rows: list[dict[str, Any]] = []
    for form in FORMS:
        chat = form == "chat"
        mine = [one.loaded for one in opened if one.form == form]
        loaded = {kind: {name: value for one in mine for name, value in one.get(kind, {}).items()} for kind in ("tasks", "groups", "group_map")}
        if not loaded["tasks"]:
            continue
        for task in loaded["tasks"].values():  # as the harness's own command line does
            task.set_config(key="num_fewshot", value=task.get_config("num_fewshot") or 0)
            task.set_fewshot_seed(seed=DEFAULT_OTHER_SEED)
        random.seed(DEFAULT_RANDOM_SEED)
        np.random.seed(DEFAULT_OTHER_SEED)
        set_torch_seed(DEFAULT_OTHER_SEED)
        with told(f"{FILE}: evaluate.tasks", AssertionError, IndexError, TemplateError):
            results = evaluate(student, loaded, limit=items or None, bootstrap_iters=0, apply_chat_template=chat, fewshot_as_multiturn=chat)
        metrics |= task_metrics(results, loaded["group_map"])
        rows += [row for name, samples in results["samples"].items() for row in _rows(name, samples, metadata(loaded["tasks"][name]).get("leaf"))]
    return metrics, polars.DataFrame(rows, schema=SCHEMA).sort("task", "item", "filter", "metric")


def task_metrics(results: Mapping[str, Any], members: Mapping[str, Sequence[str]]) -> dict[str, float]:
    """The harness's numbers under flat names, those of members of a group with numbers of its own left out; what is no finite number is left out too.

    members: the names in each group. A filter is named unless it is `none`.

    >>> task_metrics({"results": {"pairs": {"alias": "pairs", "acc,none": 0.5, "acc_stderr,none": "N/A", "exact_match,get-answer": 0.25}}}, {})
    {'task_pairs_acc': 0.5, 'task_pairs_exact_match_get_answer': 0.25}
    """
    groups = dict(results.get("groups") or {})
    inside = {name for group in groups for name in _inside(group, members)}
    numbers: dict[str, float] = {}
    for name, values in {**results["results"], **groups}.items():
        for key, value in values.items():
            metric, comma, how = key.partition(",")
            if name in inside or not comma or metric.endswith("_stderr") or not isinstance(value, int | float) or not math.isfinite(value):
                continue
            numbers[re.sub(r"\W+", "_", f"task_{name}_{metric}" + ("" if how == "none" else f"_{how}"))] = float(value)
    return numbers


def _inside(group: str, members: Mapping[str, Sequence[str]]) -> set[str]:
    """Everything below a group."""
    below = set(members.get(group, ()))
    return below | {name for one in below for name in _inside(one, members)}


def _rows(name: str, samples: Sequence[Mapping[str, Any]], leaf: str | None) -> Iterator[dict[str, Any]]:
    for sample in samples:
        replies = sample["filtered_resps"]
        for metric in sample["metrics"]:
            value, weight = _weighed(sample[metric])
            yield {
                "task": name, "item": sample["doc_id"], "leaf": str(sample["doc"].get(leaf, "")) if leaf else "", "filter": sample["filter"], "metric": metric,
                "value": value, "weight": weight, "target": _text(sample["target"]), "reply": _text(replies[0] if len(replies) == 1 else replies),
            }  # fmt: skip


def _weighed(value: Any) -> tuple[float | None, float | None]:
    """What a metric sums up of an item, and the item's weight: rolling likelihoods come as (nats, words or bytes)."""
    pair = value if isinstance(value, tuple) and len(value) == 2 else (value, 1.0)
    plain = all(isinstance(one, int | float | np.number | np.bool_) for one in pair)
    return (float(pair[0]), float(pair[1])) if plain else (None, None)


def _text(value: Any) -> str:
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False, default=str)


def _student_class() -> type["LM"]:
    from lm_eval.models.huggingface import HFLM

    class Student(HFLM):
        """The harness's class for transformers' models, without its bars, in fp32 behind the logits, and in pieces whose end is told."""

        def __init__(self, model: Any, tokenizer: Any, *, batch: int, max_tokens: int, done: Callable[[int, int], None]) -> None:
            super().__init__(pretrained=model, tokenizer=tokenizer, backend="causal", batch_size=batch, softmax_dtype="float32")
            self._max_tokens, self._tell, self._done, self._total, self.cut = max_tokens, done, 0, 0, 0

        @property
        def max_gen_toks(self) -> int:
            return self._max_tokens

        def loglikelihood(self, requests: Any, disable_tqdm: bool = True) -> Any:
            return super().loglikelihood(requests, disable_tqdm=True)

        def loglikelihood_rolling(self, requests: Any, disable_tqdm: bool = True) -> Any:
            return super().loglikelihood_rolling(requests, disable_tqdm=True)

        def generate_until(self, requests: Any, disable_tqdm: bool = True) -> Any:
            return super().generate_until(requests, disable_tqdm=True)

        def _loglikelihood_tokens(self, requests: Any, **options: Any) -> Any:
            sizes = [(len(context) + len(reply), len(reply)) for _, context, reply in requests]
            if longest := max((reply for _, reply in sizes if reply > self.max_length), default=0):
                raise EspalierError(f"{FILE}: evaluate.tasks: an answer has {longest} tokens, but the student's context {self.max_length}; take its task out")
            self.cut += sum(size > self.max_length + 1 for size, _ in sizes)
            self._total += len(requests)
            found = []
            for at in range(0, len(requests), PIECE):
                piece = requests[at : at + PIECE]
                found += super()._loglikelihood_tokens(piece, **{**options, "disable_tqdm": True})
                self._done += len(piece)
                self._tell(self._done, self._total)
            return found

    return Student


def _without_bar(rows: Any, **_: Any) -> Any:
    return rows
