"""An API key: read from the environment, sent in one header, shown nowhere.

A server may echo it in an error, so every foreign text passes through `redact` before it goes into a message or a row.
"""

import json
import os
from dataclasses import dataclass, field
from urllib.parse import quote

from espalier.errors import EspalierError

SHOWN = "***"
PLACEHOLDER = 8  # a shorter value is a placeholder such as EMPTY, a word that a reply may hold


@dataclass(frozen=True, slots=True)
class Key:
    """A secret whose repr hides it. variable: the environment variable it came from; value "": none is sent."""

    variable: str
    value: str = field(repr=False)

    @property
    def headers(self) -> dict[str, str]:
        """The header that carries the key, if there is one."""
        return {"Authorization": f"Bearer {self.value}"} if self.value else {}

    def redact(self, text: str) -> str:
        """`text` without the key, as it is and as JSON and URLs spell it.

        >>> Key("API_KEY", "ab/cd").redact("no such key: Bearer ab/cd, ab%2Fcd")
        'no such key: Bearer ***, ***'
        """
        spellings = {self.value, json.dumps(self.value)[1:-1], self.value.replace("/", "\\/"), quote(self.value, safe="")} - {""}
        for spelling in sorted(spellings, key=len, reverse=True):
            text = text.replace(spelling, SHOWN)
        return text

    def redact_reply(self, text: str) -> str:
        """As `redact`, but a placeholder stays: a model may say EMPTY."""
        return self.redact(text) if len(self.value) >= PLACEHOLDER else text


def read_key(variable: str) -> Key:
    """The key in an environment variable. Raises: EspalierError, without the value, when no header can carry it."""
    value = os.environ.get(variable, "").strip()
    if not (value.isascii() and value.isprintable() and " " not in value):
        raise EspalierError(f"${variable}: holds a space, a control character or a letter beyond ASCII; set it to the key alone")
    return Key(variable, value)
