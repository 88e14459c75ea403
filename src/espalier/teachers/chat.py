"""The chat form of a teacher: messages to token ids and back, for models of ours and for those of a hub with a chat template of their own.

Text of a row is encoded apart from the template around it, by a tokenizer that knows no control tokens, so whatever a text spells (`<|im_end|>`, `<s>`,
`<tool_call>`), it stays text. The template is rendered once for each order of roles, with marks in place of the texts.
"""

import json
import re
from collections.abc import Sequence
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

from tokenizers import Tokenizer

from espalier.errors import ParamsError
from espalier.io import read_json, read_text
from espalier.prompts import OPEN_USER, Messages
from espalier.tokens import CONTROLS, load_chat, read_tokenizer

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

MARK = "\ue000{}\ue001"  # private use: stands in a rendered template for the text of a message
DATE = "26 Jul 2024"  # what Llama 3's template says where it is given no date; the day of a run would change every prompt


class ChatForm(Protocol):
    """What engines need of a chat form."""

    def end_ids(self, messages: Messages) -> tuple[int, ...]: ...
    @property
    def pad_id(self) -> int: ...
    def prompts(self, asked: Sequence[Messages]) -> list[list[int]]: ...
    def replies(self, texts: Sequence[str]) -> list[list[int]]: ...
    def decode(self, ids: Sequence[Sequence[int]]) -> list[str]: ...


def open_chat(folder: Path) -> ChatForm:
    """The chat form of a model folder: ours where its tokenizer has our control tokens, else that of its chat template.

    Raises: InputMissing, CorruptInput, ParamsError for a tokenizer with neither.
    """
    known = read_tokenizer(folder)
    if all(known.token_to_id(token) is not None for token in CONTROLS):
        return load_chat(folder)
    return TemplateChat(folder)


def open_text(folder: Path) -> ChatForm:
    """As `open_chat`; a tokenizer without a chat form reads plain text."""
    known = read_tokenizer(folder)
    ours = all(known.token_to_id(token) is not None for token in CONTROLS)
    return open_chat(folder) if ours or _library(folder).chat_template else PlainText(folder)


def _library(folder: Path) -> "PreTrainedTokenizerBase":
    from transformers import AutoTokenizer

    return AutoTokenizer.from_pretrained(folder)


class PlainText:
    """The form of a base model, which knows no chat: the token that starts a text, the messages with an empty line after each, the reply, the end token.

    Text of a row never becomes a control token.
    """

    def __init__(self, folder: Path) -> None:
        """Raises: ParamsError when the tokenizer names no token that ends a text."""
        library = _library(folder)
        self._structure, self._plain = read_tokenizer(folder), _without_controls(read_text(folder / "tokenizer.json"))
        ends = [library.eos_token_id, *_named_ends(folder)]
        self._end_ids = tuple(dict.fromkeys(i for i in ends if i is not None))
        if not self._end_ids:
            raise ParamsError(f"{folder}: its tokenizer names no token that ends a text (eos_token); name another model")
        self._start_id = library.bos_token_id if library.bos_token_id is not None else self._end_ids[0]
        self.pad_id = library.pad_token_id if library.pad_token_id is not None else self._end_ids[0]

    def end_ids(self, messages: Messages) -> tuple[int, ...]:
        """Every id that ends a text."""
        return self._end_ids

    def prompts(self, asked: Sequence[Messages]) -> list[list[int]]:
        """The ids of each conversation; without text, the start alone."""
        texts = ["".join(f"{text}\n\n" for _, text in messages if text) for messages in asked]
        return [[self._start_id, *ids] for ids in self._encoded(texts)]

    def replies(self, texts: Sequence[str]) -> list[list[int]]:
        """The ids of each reply, with the id that ends it."""
        return [[*ids, self._end_ids[0]] for ids in self._encoded(texts)]

    def decode(self, ids: Sequence[Sequence[int]]) -> list[str]:
        """The text of each reply, without control tokens."""
        return self._structure.decode_batch([list(one) for one in ids], skip_special_tokens=True)

    def _encoded(self, texts: Sequence[str]) -> list[list[int]]:
        return [encoding.ids for encoding in self._plain.encode_batch(list(texts), add_special_tokens=False)]


class TemplateChat:
    """A hub tokenizer with its chat template."""

    def __init__(self, folder: Path) -> None:
        """Raises: ParamsError when there is no chat template."""
        self._folder = folder
        self._library = _library(folder)
        if not self._library.chat_template:
            raise ParamsError(f"{folder}: its tokenizer has neither a chat template nor espalier's chat form; name an instruct model in teacher.path")
        self._structure = read_tokenizer(folder)
        self._plain = _without_controls(read_text(folder / "tokenizer.json"))
        self._pieces: dict[tuple[str, ...], list[list[int] | int]] = {}

    def end_ids(self, messages: Messages) -> tuple[int, ...]:
        """Every id that ends a turn, whoever's it is."""
        return self._end_ids

    @cached_property
    def _end_ids(self) -> tuple[int, ...]:
        """Those of the generation config and of the tokenizer, and the one that the template puts behind a reply."""
        ids = [*_named_ends(self._folder), self._library.eos_token_id, self._turn_end()]
        return tuple(dict.fromkeys(i for i in ids if i is not None))

    @property
    def pad_id(self) -> int:
        """The id that fills up batches; never looked at."""
        return self._library.pad_token_id if self._library.pad_token_id is not None else self._end_ids[0]

    def prompts(self, asked: Sequence[Messages]) -> list[list[int]]:
        """The ids of each conversation up to the point where the teacher writes: the reply, or the user's turn where that is left open."""
        texts = iter(self._encoded([text for messages in asked for _, text in messages]))
        made = []
        for messages in asked:
            parts = [next(texts) for _ in messages]
            pieces = self._template(tuple(role for role, _ in messages))
            made.append([i for piece in pieces for i in (parts[piece] if isinstance(piece, int) else piece)])
        return made

    def replies(self, texts: Sequence[str]) -> list[list[int]]:
        """The ids of each reply, with the id that ends it."""
        return [[*ids, self._turn_end() or self._end_ids[0]] for ids in self._encoded(texts)]

    def decode(self, ids: Sequence[Sequence[int]]) -> list[str]:
        """The text of each reply, without control tokens."""
        return self._structure.decode_batch([list(one) for one in ids], skip_special_tokens=True)

    def _encoded(self, texts: Sequence[str]) -> list[list[int]]:
        return [encoding.ids for encoding in self._plain.encode_batch(list(texts), add_special_tokens=False)]

    def _template(self, roles: tuple[str, ...]) -> list[list[int] | int]:
        """What stands around the texts: ids of the template, and the places of the messages among them."""
        if roles not in self._pieces:
            rendered = self._render(roles, generation=roles[-1] != OPEN_USER)
            if roles[-1] == OPEN_USER:
                rendered = rendered[: rendered.index(MARK.format(len(roles) - 1))]
            parts = re.split(r"\ue000(\d+)\ue001", rendered)
            encoded = [int(part) if place % 2 else self._structure.encode(part, add_special_tokens=False).ids for place, part in enumerate(parts)]
            self._pieces[roles] = encoded
        return self._pieces[roles]

    def _render(self, roles: tuple[str, ...], *, generation: bool) -> str:
        from jinja2 import TemplateError

        messages = [{"role": "user" if role == OPEN_USER else role, "content": MARK.format(place)} for place, role in enumerate(roles)]
        try:
            text = str(self._library.apply_chat_template(messages, tokenize=False, add_generation_prompt=generation, date_string=DATE))
        except TemplateError as error:
            raise ParamsError(f"{self._folder}: its chat template refuses the roles {', '.join(roles)} ({error}); write the prompt without them") from error
        if any(text.count(MARK.format(place)) != 1 for place in range(len(roles))):
            raise ParamsError(f"{self._folder}: its chat template does not show every message once; espalier cannot use it")
        return text

    def _turn_end(self) -> int | None:
        """The first control token that the template puts behind a reply."""
        text = self._render(("user", "assistant"), generation=False)
        behind = self._structure.encode(text[text.index(MARK.format(1)) + len(MARK.format(1)) :], add_special_tokens=False).ids
        controls = self._structure.get_added_tokens_decoder()
        return next((i for i in behind if i in controls), None)


def _named_ends(folder: Path) -> list[int | None]:
    """What the generation config says ends a text."""
    file = folder / "generation_config.json"
    named = read_json(file).get("eos_token_id") if file.is_file() else None
    return named if isinstance(named, list) else [named]


def _without_controls(text: str) -> Tokenizer:
    """The tokenizer in which no added token, special or not, is read out of a text."""
    value: dict[str, Any] = json.loads(text)
    value["added_tokens"] = [{**token, "special": True} for token in value.get("added_tokens", [])]
    tokenizer = Tokenizer.from_str(json.dumps(value))
    tokenizer.encode_special_tokens = True
    return tokenizer
