"""Small things that tests share: a tiny params.yaml, a tiny model folder, and a teacher that answers from a script."""

import re
from collections.abc import Callable, Sequence
from pathlib import Path

from espalier.settings import Model
from espalier.teachers.base import Completion, Request
from tests.closure import ROOT

TINY = {
    "teacher.examples": "1500",
    "teacher.optimizer.tokens": "90000",  # with fewer its problems are too often the same ones to fill a budget
    "plan.rows": "120",
    "gen.chunk_rows": "50",
    "gen.answers": "2",
    "exam.key_items": "3",
    "exam.template_items": "1",
    "exam.difficulty_items": "1",
    "exam.reference_texts": "50",
    "filter.require_verified": "false",
    "mix.budget_tokens": "700",
    "train.optimizer.tokens": "20480",
    "train.checkpoint_steps": "5",
    "compare.draws": "200",
    "diversity.sample_words": "1000",
}


def with_params(text: str, changes: dict[str, str]) -> str:
    """params.yaml with some scalars changed, by dotted name; every name must be there once."""
    lines, path = text.splitlines(), []
    left = dict(changes)
    for number, line in enumerate(lines):
        found = re.match(r"^( *)(\w+):(?: +([^#\s][^#]*?))?( *#.*)?$", line)
        if found:
            depth = len(found[1]) // 2
            path = [*path[:depth], found[2]]
            if (name := ".".join(path)) in left and found[3] is not None:
                lines[number] = f"{found[1]}{found[2]}: {left.pop(name)}{found[4] or ''}"
    assert not left, f"not in params.yaml: {left}"
    return "\n".join(lines) + "\n"


def tiny_params(**changes: str) -> str:
    """The repository's params.yaml at sizes that run in seconds."""
    return with_params((ROOT / "params.yaml").read_text(), {**TINY, **changes})


def with_seeds(text: str, n: int) -> str:
    """params.yaml with the first n seeds of its study."""
    return re.sub(rf"((?:\n  - \d+){{{n}}})(?:\n  - \d+)*", r"\1", text, count=1)


class Scripted:
    """A teacher that answers with a function of the request; keeps what it was asked."""

    fingerprint = "scripted"

    def __init__(self, reply: Callable[[Request], str | Completion]) -> None:
        self.reply, self.asked = reply, []

    def generate(self, requests: Sequence[Request]) -> list[Completion]:
        self.asked += requests
        return [reply if isinstance(reply := self.reply(request), Completion) else spoken(reply) for request in requests]


def spoken(text: str, finish: str = "stop") -> Completion:
    """A completion with plausible numbers."""
    return Completion(text, finish, 5, len(text.split()) + 1, -0.25)


def tiny_model(folder: Path, *, words: Sequence[str], seed: int = 0) -> Path:
    """A random model with its tokenizer, as the teacher stage would leave it."""
    from espalier.model import build_model, save_model
    from espalier.sizes import shape_of
    from espalier.tokens import save_chat, word_chat

    chat = word_chat(words)
    model = build_model(shape_of(Model(32, 2, 64, 64)), vocabulary=chat.size, pad_id=chat.pad_id, end_id=chat.end_id, seed=seed)
    save_model(model, folder)
    save_chat(chat, folder, context_tokens=64)
    return folder
