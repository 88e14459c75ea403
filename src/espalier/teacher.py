"""The built-in teacher: a small Llama trained on the world's seed examples, or the pin of an outside model.

No weights are shipped: temperature, repetition, wrong answers and mode collapse are properties of a model that this stage trains.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from espalier.model import build_model
from espalier.prompts import Prompt
from espalier.seeds import number
from espalier.settings import Teacher
from espalier.sizes import shape_of
from espalier.text import effective_leaves
from espalier.tokens import Chat, encode_samples, pack, word_chat
from espalier.train import Checkpoints, Step, train_model
from espalier.world.demonstrations import Demonstration, demonstrate, vocabulary

if TYPE_CHECKING:
    from transformers import LlamaForCausalLM


@dataclass(frozen=True, slots=True)
class Built:
    """A trained teacher with what it was trained on."""

    model: "LlamaForCausalLM"
    chat: Chat
    curve: list[Step]
    corpus: list[Demonstration]
    corpus_tokens: int


def build_teacher(
    prompts: Sequence[Sequence[Prompt]],
    ranks: dict[str, int],
    held_out: frozenset[str],
    settings: Teacher,
    *,
    seed: int,
    checkpoints: Checkpoints | None,
    log: Callable[[int], Callable[[Step, int], None]],
) -> Built:
    """Train the built-in teacher.

    prompts: each recipe's prompts in the order of its steps. ranks: rank in natural text of each task of the world. held_out: the exam's problem keys.
    log: given the size of the vocabulary, what is called after each step with its entry of the curve and the number of steps.
    """
    corpus = demonstrate(
        prompts, ranks, n=settings.examples, skew=settings.skew, answer_share=settings.answer_share, held_out=held_out, seed=seed
    )
    chat = word_chat([*vocabulary(), *_words(corpus)])
    documents = encode_samples(chat, [one.messages for one in corpus], [one.reply for one in corpus])
    fitting = [document for document in documents if len(document.ids) <= settings.model.context_tokens]
    data = pack(fitting, settings.model.context_tokens, pad_id=chat.pad_id)
    model = build_model(shape_of(settings.model), vocabulary=chat.size, pad_id=chat.pad_id, end_id=chat.end_id, seed=number(seed, "teacher") % 2**32)
    curve = train_model(model, data, settings.optimizer, seed=seed, precision="auto", checkpoints=checkpoints, progress=log(chat.size))
    return Built(model, chat, curve, corpus, sum(len(document.ids) for document in documents))


def corpus_metrics(built: Built) -> dict[str, float]:
    """Numbers on the corpus: examples, tokens, and its effective leaves, exp(entropy of the leaf shares)."""
    leaves = [one.leaf for one in built.corpus]
    return {"examples": len(leaves), "corpus_tokens": built.corpus_tokens, "effective_leaves": effective_leaves(leaves)}


def _words(corpus: Sequence[Demonstration]) -> set[str]:
    """The words of the prompts and replies."""
    return {word for one in corpus for text in (*(text for _, text in one.messages), one.reply) for word in text.split()}
