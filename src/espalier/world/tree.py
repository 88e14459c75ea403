"""The built-in world's seed tree as files: qna.yaml in InstructLab's version-3 form, and our leaf.yaml beside it.

The files are in git, so that a user sees what a leaf looks like; `espalier seeds` writes them anew and a test says when they are stale.
"""

import io
from collections.abc import Sequence

from ruamel.yaml import YAML

from espalier.taxonomy import SeedExample, SeedLeaf

AUTHOR = "espalier"


def tree_files(tree: Sequence[SeedLeaf]) -> dict[str, str]:
    """Path in the tree -> text, for every leaf; a leaf of rank 0 has none."""
    files = {}
    for leaf in tree:
        files[f"{leaf.leaf}/qna.yaml"] = _yaml(_knowledge(leaf) if leaf.branch == "knowledge" else _skill(leaf))
        own = {"task": leaf.task, "topic": leaf.topic} | ({"rank": leaf.rank} if leaf.rank else {}) | {"verifier": leaf.verifier}
        files[f"{leaf.leaf}/leaf.yaml"] = _yaml(own)
    return files


def _skill(leaf: SeedLeaf) -> dict[str, object]:
    examples = [{"question": example.context + example.question, "answer": example.answer} for example in leaf.examples]
    return {"version": 3, "created_by": AUTHOR, "task_description": leaf.task, "seed_examples": examples}


def _knowledge(leaf: SeedLeaf) -> dict[str, object]:
    by_context: dict[str, list[SeedExample]] = {}
    for example in leaf.examples:
        by_context.setdefault(example.context, []).append(example)
    return {
        "version": 3,
        "created_by": AUTHOR,
        "domain": leaf.topic,
        "document_outline": leaf.task,
        "document": {"repo": "built-in world", "commit": "none", "patterns": ["*.md"]},
        "seed_examples": [
            {"context": context, "questions_and_answers": [{"question": one.question, "answer": one.answer} for one in examples]}
            for context, examples in by_context.items()
        ],
    }


def _yaml(value: object) -> str:
    writer = YAML()
    writer.width = 200
    buffer = io.StringIO()
    writer.dump(value, buffer)
    return buffer.getvalue()
