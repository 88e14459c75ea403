"""Real documents, cut into passages that fit into a prompt.

A folder may hold .txt and .md files (paragraphs apart by an empty line) and .jsonl files (one object a line, with the key `text`).
Source of the size: Rephrasing the Web (arXiv 2401.16380, section 3.1) rewrites passages of at most 300 tokens, for longer ones lose content.
"""

import json
import re
from collections.abc import Mapping

from espalier.errors import CorruptInput
from espalier.text import words

PASSAGE_WORDS = 220  # 300 tokens of English, at 1.35 tokens a word
ENDINGS = (".txt", ".md", ".jsonl")


def passages(files: Mapping[str, str]) -> list[str]:
    """The passages of all files (path -> text), in the order of the paths. Raises: CorruptInput with file and line for a .jsonl line that holds no text."""
    found: list[str] = []
    for path in sorted(files):
        texts = _lines(files[path], path) if path.endswith(".jsonl") else [files[path]]
        found += [passage for text in texts for passage in cut(text)]
    return found


def cut(text: str, *, most_words: int = PASSAGE_WORDS) -> list[str]:
    """Whole paragraphs together up to `most_words`; a longer paragraph is cut between sentences, a longer sentence between words."""
    made: list[str] = []
    held: list[str] = []
    size = 0
    for piece in (piece for paragraph in re.split(r"\n\s*\n", text) for piece in _pieces(paragraph, most_words)):
        length = len(words(piece))
        if held and size + length > most_words:
            made.append("\n\n".join(held))
            held, size = [], 0
        held.append(piece)
        size += length
    return [*made, "\n\n".join(held)] if held else made


def _pieces(paragraph: str, most_words: int) -> list[str]:
    """A paragraph on one line, in pieces of at most `most_words`."""
    found = words(paragraph)
    if len(found) <= most_words:
        return [" ".join(found)] if found else []
    pieces: list[list[str]] = [[]]
    for sentence in re.split(r"(?<=[.!?])\s+", " ".join(found)):
        for at in range(0, len(sentence.split()), most_words):
            part = sentence.split()[at : at + most_words]
            if len(pieces[-1]) + len(part) > most_words:
                pieces.append([])
            pieces[-1] += part
    return [" ".join(piece) for piece in pieces if piece]


def _lines(text: str, path: str) -> list[str]:
    found = []
    for number, line in enumerate(text.split("\n"), 1):
        if line.strip():
            try:
                value = json.loads(line)
            except (ValueError, RecursionError) as error:
                raise CorruptInput(f"{path}, line {number}: not JSON ({error}); every line is one object with the key text") from error
            if not isinstance(value, dict) or not isinstance(value.get("text"), str):
                raise CorruptInput(f"{path}, line {number}: has no text; every line is one object with the key text")
            found.append(value["text"])
    return found
