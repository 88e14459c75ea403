"""Text to token ids and packed training sequences.

The built-in world's tokenizer knows whole words and single digits (a character-level student learns three times slower). Control tokens are ids that this
module puts around text; text itself never becomes one, whatever it contains.

Packed sequences know which document a token belongs to, so that a model can keep documents apart, and which tokens are replies: only those are learnt
(61 % right against 51 % when prompts were learnt too, LOG.md).
"""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from tokenizers import Tokenizer
from tokenizers.models import WordLevel
from tokenizers.pre_tokenizers import WhitespaceSplit

from espalier.errors import CorruptInput, InputMissing, ParamsError
from espalier.io import read_text
from espalier.prompts import OPEN_USER, Messages, is_open

CONTROLS = ("<pad>", "<unk>", "<end>", "<system>", "<user>", "<assistant>")
CHAT_TEMPLATE = (
    "{% for message in messages %}<{{ message.role }}> {{ message.content }} {% endfor %}{% if add_generation_prompt %}<assistant>{% endif %}"
)


@dataclass(frozen=True, slots=True)
class Document:
    """The ids of a prompt and its reply; the first `prompt_tokens` of them are the prompt."""

    ids: list[int]
    prompt_tokens: int


@dataclass(frozen=True, slots=True)
class Packed:
    """N sequences of T tokens: ids, the number of the document within its sequence (-1 for padding), and whether a token is to be learnt.

    branches_N: the number of the branch that all documents of a sequence belong to (order.py); None where a sequence may hold several.
    """

    tokens_NT: np.ndarray
    documents_NT: np.ndarray
    targets_NT: np.ndarray
    branches_N: np.ndarray | None = None


@dataclass(frozen=True, slots=True)
class Chat:
    """A tokenizer with the chat form `<user> ... <assistant> ... <end>`."""

    tokenizer: Tokenizer

    @property
    def end_id(self) -> int:
        """The id that ends a reply."""
        return self._control("<end>")

    def end_ids(self, messages: Messages) -> tuple[int, ...]:
        """The ids that end what the teacher writes after `messages`; a turn of the user ends where the assistant's begins."""
        return (self.end_id, self._control("<assistant>")) if is_open(messages) else (self.end_id,)

    @property
    def pad_id(self) -> int:
        """The id that fills up sequences."""
        return self._control("<pad>")

    @property
    def size(self) -> int:
        """Number of ids."""
        return self.tokenizer.get_vocab_size()

    def prompts(self, asked: Sequence[Messages]) -> list[list[int]]:
        """The ids of each conversation up to the point where the assistant replies, or in the user's turn where that is left open (see prompts.py)."""
        texts = self._texts([text for messages in asked for _, text in messages])
        made, at = [], 0
        for messages in asked:
            ids: list[int] = []
            for role, _ in messages:
                ids += [self._control("<user>" if role == OPEN_USER else f"<{role}>"), *texts[at]]
                at += 1
            made.append(ids if is_open(messages) else [*ids, self._control("<assistant>")])
        return made

    def replies(self, texts: Sequence[str]) -> list[list[int]]:
        """The ids of each reply, with the end token."""
        return [[*ids, self.end_id] for ids in self._texts(texts)]

    def decode(self, ids: Sequence[Sequence[int]]) -> list[str]:
        """The text of each reply, without control tokens."""
        return self.tokenizer.decode_batch([list(one) for one in ids], skip_special_tokens=True)

    def _texts(self, texts: Sequence[str]) -> list[list[int]]:
        """Ids of plain text; a word that is spelt like a control token is an unknown word."""
        controls = {self._control(token) for token in CONTROLS}
        unknown = self._control("<unk>")
        encodings = self.tokenizer.encode_batch(list(texts), add_special_tokens=False)
        return [[unknown if i in controls else i for i in encoding.ids] for encoding in encodings]

    def _control(self, token: str) -> int:
        return self.tokenizer.token_to_id(token)


def word_chat(words: Sequence[str]) -> Chat:
    """A tokenizer of whole words: one id for each of `words` (sorted), anything else is <unk>."""
    vocabulary = {token: i for i, token in enumerate([*CONTROLS, *sorted(set(words))])}
    tokenizer = Tokenizer(WordLevel(vocabulary, unk_token="<unk>"))
    tokenizer.pre_tokenizer = WhitespaceSplit()
    return _guarded(tokenizer)


def load_chat(folder: Path, *, extend: bool = False) -> Chat:
    """The tokenizer of a model folder. extend: our control tokens are added where they lack, which makes new ids (so for models that are yet to be trained).

    Raises: InputMissing, CorruptInput, ParamsError when it lacks our chat form.
    """
    tokenizer = read_tokenizer(folder)
    missing = [token for token in CONTROLS if tokenizer.token_to_id(token) is None]
    if missing and not extend:
        raise ParamsError(f"{folder / 'tokenizer.json'}: has no {', '.join(missing)}; espalier's chat form needs these tokens")
    return _guarded(tokenizer)


def read_tokenizer(folder: Path) -> Tokenizer:
    """The tokenizer of a model folder as it is. Raises: InputMissing, CorruptInput."""
    file = folder / "tokenizer.json"
    text = read_text(file)
    try:
        return Tokenizer.from_str(text)
    except Exception as error:  # the library raises bare Exception
        raise CorruptInput(f"{file}: not a tokenizer ({error}); run the stage that made it again, or fetch the model again") from error


def save_chat(chat: Chat, folder: Path, *, context_tokens: int) -> None:
    """Write the files that transformers and vLLM load a tokenizer from."""
    config: dict[str, Any] = {
        "tokenizer_class": "PreTrainedTokenizerFast",
        "model_max_length": context_tokens,
        "pad_token": "<pad>",
        "unk_token": "<unk>",
        "eos_token": "<end>",
        "chat_template": CHAT_TEMPLATE,
        "clean_up_tokenization_spaces": False,
    }
    folder.mkdir(parents=True, exist_ok=True)
    chat.tokenizer.save(str(folder / "tokenizer.json"))
    (folder / "tokenizer_config.json").write_text(json.dumps(config, indent=2) + "\n")


def encode_samples(chat: Chat, prompts: Sequence[Messages], replies: Sequence[str]) -> list[Document]:
    """One training document for each (prompt, reply)."""
    return [Document(prompt + reply, len(prompt)) for prompt, reply in zip(chat.prompts(prompts), chat.replies(replies), strict=True)]


def pack(documents: Sequence[Document], length: int, *, pad_id: int) -> Packed:
    """Documents laid into sequences of `length` tokens, none cut.

    Best fit, longest first: each document goes where it leaves the least room. Raises: ParamsError for a document longer than a sequence.
    """
    sequences = _best_fit([len(document.ids) for document in documents], length)
    packed = Packed(
        np.full((len(sequences), length), pad_id, dtype=np.uint32),
        np.full((len(sequences), length), -1, dtype=np.int32),
        np.zeros((len(sequences), length), dtype=bool),
    )
    for row, sequence in enumerate(sequences):
        at = 0
        for place, document in enumerate(documents[i] for i in sequence):
            end = at + len(document.ids)
            packed.tokens_NT[row, at:end] = document.ids
            packed.documents_NT[row, at:end] = place
            packed.targets_NT[row, at + document.prompt_tokens : end] = True
            at = end
    return packed


def pack_by_branch(documents: Sequence[Document], branches: Sequence[int], length: int, *, pad_id: int) -> Packed:
    """As `pack`, but each branch into sequences of its own, lowest number first. `branches[i]` belongs to document i."""
    members: dict[int, list[Document]] = {branch: [] for branch in sorted(set(branches))}
    for document, branch in zip(documents, branches, strict=True):
        members[branch].append(document)
    parts = [pack(found, length, pad_id=pad_id) for found in members.values()] or [pack([], length, pad_id=pad_id)]
    sizes = [len(part.tokens_NT) for part in parts]
    joined = (np.concatenate([getattr(part, name) for part in parts]) for name in ("tokens_NT", "documents_NT", "targets_NT"))
    return Packed(*joined, np.repeat(np.array([*members] or [0], dtype=np.int8), sizes))


def load_packed(folder: Path, *, by_branch: bool) -> Packed:
    """The packed sequences of a folder, mapped into memory and not read. by_branch: with the branch of each.

    Raises: InputMissing, CorruptInput.
    """
    arrays = []
    for name in ("tokens", "documents", "targets", *(("branches",) if by_branch else ())):
        file = folder / f"{name}.npy"
        if not file.is_file():
            raise InputMissing(f"{file}: no such file; make it with `dvc repro tokens@{folder.name}`")
        try:
            arrays.append(np.load(file, mmap_mode="r"))
        except (ValueError, EOFError, OSError) as error:
            raise CorruptInput(f"{file}: not a readable array ({error}); run `dvc repro tokens@{folder.name}`") from error
    if len({len(array) for array in arrays}) > 1:
        raise CorruptInput(f"{folder}: its arrays hold {' and '.join(str(len(array)) for array in arrays)} sequences; run `dvc repro tokens@{folder.name}`")
    return Packed(*arrays)


def _best_fit(sizes: Sequence[int], length: int) -> list[list[int]]:
    """Which documents go into each sequence, by number."""
    order = sorted(range(len(sizes)), key=lambda i: (-sizes[i], i))
    if order and sizes[order[0]] > length:
        raise ParamsError(f"params.yaml: tokens.context_tokens is {length}, but a sample has {sizes[order[0]]} tokens; raise it")
    rooms: list[list[list[int]]] = [[] for _ in range(length + 1)]  # sequences by the room that is left in them
    sequences: list[list[int]] = []
    for i in order:
        room = next((room for room in range(sizes[i], length + 1) if rooms[room]), None)
        sequence = rooms[room].pop() if room is not None else []
        if room is None:
            sequences.append(sequence)
        sequence.append(i)
        rooms[(length if room is None else room) - sizes[i]].append(sequence)
    return sequences


def _guarded(tokenizer: Tokenizer) -> Chat:
    """Control tokens are special, and text that looks like one is read as ordinary text."""
    tokenizer.add_special_tokens(list(CONTROLS))
    tokenizer.encode_special_tokens = True
    return Chat(tokenizer)
