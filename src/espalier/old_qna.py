"""What must change in a qna.yaml of version 1 or 2 to make it one of version 3.

Version 1 is also what a file without the key `version` has. A skill of version 2 needs the number alone. Knowledge of versions 1 and 2 has a
task_description, and pairs of question and answer that hang on no passage of a document.
Source: instructlab/schema v1, v2 and v3 (compositional_skills.json, knowledge.json).
"""

from collections.abc import Iterable, Mapping
from typing import Any

from espalier.errors import bare, shown

OLD = ("1", "1 (absent)", "2")
SKILL = ("task_description", "seed_examples")
EXAMPLE_KEYS = {"question", "answer", "context", "questions_and_answers"}
LEAST_EXAMPLES, MOST_NAMED = 5, 5
ADDED = {
    "document_outline": "document_outline (a summary of the document)",
    "domain": "domain (the field in a few words)",
    "document": "document with repo, commit and patterns",
    "created_by": "created_by (the contributor's name)",
    "task_description": "task_description (what the task is)",
    "seed_examples": "seed_examples (5 or more)",
}


def label_of(value: Mapping[Any, Any] | None) -> str:
    """The version that a file gives itself, in a word; None is a file that could not be read.

    >>> label_of({"version": 2}), label_of({"version": "2"}), label_of({}), label_of(None)
    ('2', '"2"', '1 (absent)', 'unreadable')
    """
    if value is None:
        return "unreadable"
    return shown(value["version"]) if "version" in value else "1 (absent)"


def changes_to_v3(value: Mapping[Any, Any], keys: set[str]) -> list[str]:
    """What to change in a file of another version beside its number, in words; `keys` are those of version 3 for its kind.

    >>> changes_to_v3({"version": 2, "created_by": "me", "task_description": "add", "seed_examples": []}, {"version", "created_by", *SKILL})
    ['have at least 5 seed examples, not 0']
    """
    extra = [key for key in value if key not in keys]
    missing = [key for key in ADDED if key in keys and key not in value]
    changes = []
    if "task_description" in extra and "document_outline" in missing:
        changes.append("rename task_description to document_outline and make it a summary of the document")
        extra.remove("task_description")
        missing.remove("document_outline")
    if extra:
        changes.append(f"take out {_named(extra)}")
    if missing:
        changes.append(f"add {', '.join(ADDED[key] for key in missing)}")
    if "seed_examples" in value:
        changes += _changes_of_examples(value["seed_examples"], knowledge="document" in keys)
    return changes


def _changes_of_examples(entries: Any, *, knowledge: bool) -> list[str]:
    if not isinstance(entries, list):
        return [f"make seed_examples a list of {LEAST_EXAMPLES} or more, not {shown(entries)}"]
    changes = []
    mappings = [entry for entry in entries if isinstance(entry, dict)]
    extra = {key: None for entry in mappings for key in entry if key not in EXAMPLE_KEYS}
    if extra:
        changes.append(f"take {_named(extra)} out of the seed examples")
    if knowledge and any("questions_and_answers" not in entry for entry in mappings):
        changes.append(
            "give each seed example a context (a passage of the document) and questions_and_answers, a list of 3 or more pairs of question and answer"
        )
    if len(entries) < LEAST_EXAMPLES:
        changes.append(f"have at least {LEAST_EXAMPLES} seed examples, not {len(entries)}")
    return changes


def _named(keys: Iterable[Any]) -> str:
    return ", ".join(list(map(bare, keys))[:MOST_NAMED])
