"""Tier 3: what a small model of ours finds likely. Reads context, query and answer; gives answer_loss and ifd; each row goes through the model at most twice.

    answer_loss   -ln p(answer | context, query) / tokens of the answer, its end token included: nats a token, 0 and more; exp of it is the perplexity
    ifd           exp(answer_loss - loss of the answer after an empty question), above 0: how much the question does not help (instruction-following difficulty)

Source: IFD: Li et al. 2023, arXiv 2308.12032, equation 3; with a model of 124 M parameters in the place of a large one: Superfiltering, arXiv 2402.00530.
There the answer alone has nothing before it, so that its first token has no loss; here it stands in the same chat form after an empty question, so that both
losses are means over the same tokens.
"""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import polars as pl

from espalier.errors import InputMissing
from espalier.params import FILE, TEACHER
from espalier.samples import ask
from espalier.text import fold

if TYPE_CHECKING:
    from espalier.prompts import Messages
    from espalier.teachers.hf import HfTeacher

WANTED = ("*.json", "*.safetensors", "*.jinja")  # of a repository on the hub; never pickles
Pair = tuple["Messages", str]
Score = Callable[[Sequence[Pair]], Sequence[tuple[float, int]]]
CHUNK_PAIRS = 4000  # between two words of progress
SCHEMA = {"answer_loss": pl.Float64, "ifd": pl.Float64}


def no_likelihood(frame: pl.DataFrame) -> pl.DataFrame:
    """The columns without a model: null."""
    return pl.DataFrame({name: [None] * frame.height for name in SCHEMA}, schema=SCHEMA)


def likelihood_scores(frame: pl.DataFrame, *, score: Score, heard: Callable[[int, int], None] = lambda done, total: None) -> pl.DataFrame:
    """answer_loss and ifd of every row; null where the answer is empty or the row does not fit into the model's context.

    score: summed log-probability (NaN for a pair that does not fit) and number of tokens of each (messages, reply), such as an engine's; equal pairs are
    scored once. heard(done, total): called after every some thousand pairs.
    """
    rows = [(ask(context, query), answer) if fold(answer) else None for context, query, answer in frame.select("context", "query", "answer").iter_rows()]
    alone = [pair and (ask("", ""), pair[1]) for pair in rows]
    losses = _losses({pair for pair in (*rows, *alone) if pair}, score, heard)
    given, free = (np.array([losses[pair] if pair else np.nan for pair in pairs], dtype=float) for pairs in (rows, alone))
    return pl.DataFrame({"answer_loss": given, "ifd": np.exp(given - free)}, schema=SCHEMA).fill_nan(None)


def without_room(frame: pl.DataFrame, scores: pl.DataFrame) -> int:
    """How many rows have an answer and no loss, because they do not fit into the model's context."""
    return sum(loss is None and fold(answer) != "" for answer, loss in zip(frame["answer"], scores["answer_loss"], strict=True))


def open_model(name: str) -> "HfTeacher":
    """The model of score.likelihood_model: a folder in Hugging Face layout (models/teacher: the run's teacher) or a name on the hub. On the GPU if there is
    one, in bf16, else on the CPU; safetensors only, no code of others. One without a chat template reads plain text.

    Raises: InputMissing for neither, CorruptInput, ParamsError for a tokenizer that names no token for the start of a text.
    """
    from espalier.teachers.chat import open_text
    from espalier.teachers.hf import HfTeacher
    from espalier.teachers.pin import teacher_folder

    folder = teacher_folder(Path(TEACHER)) if name == TEACHER else Path(name).expanduser()
    if not folder.is_dir():
        folder = _fetched(name)
    if not (folder / "config.json").is_file():
        raise InputMissing(f'{FILE}: score.likelihood_model is {name}, which holds no model (no config.json); name another, or write ""')
    return HfTeacher(folder, chat=open_text)


def _losses(pairs: set[Pair], score: Score, heard: Callable[[int, int], None]) -> dict[Pair, float]:
    """Nats a token of each pair. Pairs of like length come together: rows of a batch are padded to the longest."""
    ordered = sorted(pairs, key=lambda pair: (sum(len(text) for _, text in pair[0]) + len(pair[1]), pair))
    losses: dict[Pair, float] = {}
    for at in range(0, len(ordered), CHUNK_PAIRS):
        some = ordered[at : at + CHUNK_PAIRS]
        losses.update((pair, -total / tokens) for pair, (total, tokens) in zip(some, score(some), strict=True))
        heard(len(losses), len(ordered))
    return losses


def _fetched(name: str) -> Path:
    """The folder of a model on the hub, which is fetched where it is not there yet."""
    from huggingface_hub import snapshot_download

    parts = name.split("/")
    if len(parts) != 2 or Path(parts[0]).exists() or name.startswith((".", "~")):  # models/x, data/x: a folder that is not there
        raise InputMissing(f'{FILE}: score.likelihood_model is {name}, and there is no such folder; name one, a model on the hub (owner/name), or write ""')
    try:
        return Path(snapshot_download(name, allow_patterns=list(WANTED)))
    except (OSError, ValueError) as error:
        reason = (str(error).splitlines() or [type(error).__name__])[0]
        raise InputMissing(f"{FILE}: score.likelihood_model is {name}: no folder, and not given by the hub ({reason}); fetch it, name the folder") from error
