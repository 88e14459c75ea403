"""Profiles: whole studies as overlays on params.yaml, data/seeds/profiles/<name>.yaml -> a new text of params.yaml with its comments.

A profile file holds
    about      one line
    extends    optional: the profile that is laid down first
    params     values in the nesting of params.yaml; what it does not name stays. The section `recipes` is replaced as a whole, with its comments
"""

import copy
import io
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from espalier.errors import ParamsError, shown
from espalier.params import did_you_mean, load_yaml

KEYS = ("about", "extends", "params")
REPLACED = ("recipes",)  # sections that are not merged value by value: recipes of another world would stay among them


@dataclass(frozen=True, slots=True)
class Profile:
    """One checked profile file; extends: "" for none; changes: ruamel's mapping, which holds the comments too."""

    file: str
    about: str
    extends: str
    changes: Any


def parse_profile(text: str, *, file: str) -> Profile:
    """The profile of one file. Raises: ParamsError with file, what was found and what is wanted."""
    value = load_yaml(text, file=file)
    if not isinstance(value, dict):
        raise ParamsError(f"{file}: found {shown(value)}; a profile has the keys {', '.join(KEYS)}")
    for key in value:
        if key not in KEYS:
            raise ParamsError(f"{file}: {key} is no key of a profile; {did_you_mean(str(key), KEYS)}")
    about, extends, changes = value.get("about"), value.get("extends", ""), value.get("params")
    if not isinstance(about, str) or not about.strip() or "\n" in about:
        raise ParamsError(f"{file}: about is {shown(about)}; it must be one line that says what the profile is for")
    if not isinstance(extends, str):
        raise ParamsError(f"{file}: extends is {shown(extends)}; it must be the name of another profile, or be left out")
    if not isinstance(changes, dict) or not changes:
        raise ParamsError(f"{file}: params is {shown(changes)}; it must hold values in the nesting of params.yaml")
    return Profile(file, about, extends, _yaml().load(text)["params"])


def chain(name: str, profiles: Mapping[str, Profile]) -> list[Profile]:
    """A profile with all that it extends, in the order in which they are laid down. Raises: ParamsError for a name that is not there, and for a circle."""
    found: list[str] = []
    while name:
        at = f"{profiles[found[-1]].file}: extends names" if found else "there is no profile"
        if name not in profiles:
            raise ParamsError(f'{at} "{name}"; {did_you_mean(name, profiles)}')
        if name in found:
            raise ParamsError(f'{at} "{name}", which extends it in turn; take one of them out')
        found.append(name)
        name = profiles[name].extends
    return [profiles[one] for one in reversed(found)]


def overlay(text: str, profiles: Sequence[Profile], *, teacher: str | None = None) -> str:
    """The text of params.yaml with the values of all profiles, later ones last; teacher: what teacher.path becomes.

    Comments, order and empty lines of `text` stay. The result is not checked; parse_params does that.
    Raises: ParamsError for a value that `text` has no place for.
    """
    yaml = _yaml()
    whole = yaml.load(text)
    for profile in profiles:
        _merge(whole, profile.changes, profile.file, "")
    if teacher is not None:
        whole["teacher"]["path"] = teacher
    stream = io.StringIO()
    yaml.dump(whole, stream)
    return _with_gaps(stream.getvalue(), re.findall(r"\n\n(\w+):", text))


def _yaml() -> Any:
    """Reads and writes params.yaml without changing a byte of what is not changed."""
    from ruamel.yaml import YAML

    yaml = YAML()
    yaml.width, yaml.preserve_quotes = 4096, True
    yaml.indent(mapping=2, sequence=2, offset=0)
    return yaml


def _merge(into: Any, changes: Mapping[str, Any], file: str, at: str) -> None:
    for name, value in changes.items():
        if name not in into:
            raise ParamsError(f"{file}: params.{at}{name} is not in params.yaml; {did_you_mean(str(name), map(str, into))}")
        old = into[name]
        if isinstance(old, dict) != isinstance(value, dict):
            raise ParamsError(f"{file}: params.{at}{name} is {shown(value)}; params.yaml has {shown(old)} there")
        if isinstance(value, dict) and f"{at}{name}" not in REPLACED:
            _merge(old, value, file, f"{at}{name}.")
        else:
            into[name] = _list(old, value) if isinstance(old, list) and isinstance(value, list) else copy.deepcopy(value)


def _list(old: Any, new: Sequence[Any]) -> Any:
    """`new` as a list of ruamel's that ends with the comment (or the empty line) of the old one, and not with its own."""
    made = copy.deepcopy(new)
    made.ca.items.pop(len(new) - 1, None)
    if old and new and (last := old.ca.items.get(len(old) - 1)):
        made.ca.items[len(new) - 1] = last
    return made


def _with_gaps(text: str, sections: Sequence[str]) -> str:
    """Exactly one empty line before each of `sections`: they hang on the end of the section before, which may have been replaced."""
    for name in sections:
        text = re.sub(rf"\n+(?={name}:)", "\n\n", text, count=1)
    return text
