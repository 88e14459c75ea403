"""The seed tree: leaves with their seed examples, in InstructLab's version-3 format plus a sibling file of ours.

    <branch>/<...>/<leaf>/qna.yaml    InstructLab schema v3, unchanged, so that trees can be exchanged
    <branch>/<...>/<leaf>/leaf.yaml   what that schema has no place for: task, topic, rank, verifier

A skill's seed example is {question, answer, context?}; a knowledge leaf's is {context, questions_and_answers: 3 x {question, answer}}.
Source: instructlab/schema v3 (compositional_skills.json, knowledge.json); at least 5 seed examples a leaf.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import PurePosixPath
from typing import TYPE_CHECKING, Any

from espalier.errors import ParamsError
from espalier.params import did_you_mean, load_yaml

if TYPE_CHECKING:
    import polars

BRANCHES = ("knowledge", "foundational_skills", "compositional_skills")
QNA_KEYS = {
    "skill": {"version", "created_by", "task_description", "seed_examples"},
    "knowledge": {"version", "created_by", "domain", "document_outline", "document", "seed_examples"},
}
LEAF_KEYS = {"task", "topic", "rank", "verifier"}
LEAST_EXAMPLES = 5


@dataclass(frozen=True, slots=True)
class SeedExample:
    """One worked example of a leaf; `context` is empty for freeform skills."""

    context: str
    question: str
    answer: str


@dataclass(frozen=True, slots=True)
class SeedLeaf:
    """A leaf of the tree. `rank` orders the leaves by how common they are in natural text, 1 first; `verifier` names a task of the world or is empty."""

    leaf: str
    branch: str
    topic: str
    task: str
    rank: int
    verifier: str
    examples: tuple[SeedExample, ...]


def parse_tree(files: Mapping[str, str]) -> list[SeedLeaf]:
    """The leaves of a tree, sorted by name; `files` maps paths relative to the tree to their texts.

    Raises: ParamsError for the first leaf that is malformed, lacks one of its two files or shares task or rank with another.
    """
    folders = sorted({str(PurePosixPath(path).parent) for path in files if path.endswith(("qna.yaml", "leaf.yaml"))})
    leaves = [_parse_leaf(folder, files) for folder in folders]
    if not leaves:
        raise ParamsError("taxonomy.tree holds no qna.yaml; name a folder with leaves")
    for name in ("task", "rank"):
        _refuse_twins(leaves, name)
    return leaves


def tabulate(tree: Sequence[SeedLeaf]) -> tuple["polars.DataFrame", "polars.DataFrame"]:
    """The tree as two tables: leaves (one row a leaf) and seeds (leaf, place, context, query, answer)."""
    import polars

    leaves = [{name: getattr(leaf, name) for name in ("leaf", "branch", "topic", "task", "rank", "verifier")} for leaf in tree]
    seeds = [
        {"leaf": leaf.leaf, "place": place, "context": example.context, "query": example.question, "answer": example.answer}
        for leaf in tree
        for place, example in enumerate(leaf.examples)
    ]
    return polars.DataFrame(leaves), polars.DataFrame(seeds)


def _parse_leaf(folder: str, files: Mapping[str, str]) -> SeedLeaf:
    texts = {}
    for name in ("qna.yaml", "leaf.yaml"):
        path = f"{folder}/{name}"
        if path not in files:
            raise ParamsError(f"{path}: missing; a leaf is a folder with qna.yaml and leaf.yaml")
        texts[name] = load_yaml(files[path], file=path)
        if not isinstance(texts[name], dict):
            raise ParamsError(f"{path}: found no mapping; see an existing leaf for the keys")
    branch = folder.split("/")[0]
    if branch not in BRANCHES:
        raise ParamsError(f'{folder}: the branch is "{branch}"; {did_you_mean(branch, BRANCHES)}')
    own = _checked_leaf(texts["leaf.yaml"], f"{folder}/leaf.yaml")
    examples = _checked_qna(texts["qna.yaml"], f"{folder}/qna.yaml", branch)
    return SeedLeaf(folder, branch, own["topic"], own["task"], own["rank"], own["verifier"], examples)


def _checked_leaf(value: Mapping[str, Any], file: str) -> Mapping[str, Any]:
    _check_keys(value, LEAF_KEYS, LEAF_KEYS, file)
    for name in ("task", "topic", "verifier"):
        if not isinstance(value[name], str):
            raise ParamsError(f"{file}: {name} is {value[name]}; it must be words (verifier may be '')")
    if type(value["rank"]) is not int or value["rank"] < 1:
        raise ParamsError(f"{file}: rank is {value['rank']}; it must be a whole number from 1, the most common task")
    return value


def _checked_qna(value: Mapping[str, Any], file: str, branch: str) -> tuple[SeedExample, ...]:
    kind = "knowledge" if branch == "knowledge" else "skill"
    _check_keys(value, QNA_KEYS[kind], QNA_KEYS[kind], file)
    if value["version"] != 3:
        raise ParamsError(f"{file}: version is {value['version']}; espalier reads version 3 of InstructLab's schema")
    entries = value["seed_examples"]
    if not isinstance(entries, list) or len(entries) < LEAST_EXAMPLES:
        found = len(entries) if isinstance(entries, list) else entries
        raise ParamsError(f"{file}: seed_examples holds {found}; it must hold at least {LEAST_EXAMPLES}")
    read = _knowledge_examples if kind == "knowledge" else _skill_example
    examples = tuple(example for number, entry in enumerate(entries, 1) for example in read(entry, f"{file}: seed example {number}"))
    if len(set(examples)) < len(examples):
        raise ParamsError(f"{file}: two seed examples are the same; replace one")
    return examples


def _skill_example(entry: Any, at: str) -> tuple[SeedExample, ...]:
    _check_keys(entry, {"question", "answer"}, {"question", "answer", "context"}, at)
    return (SeedExample(_text(entry.get("context", ""), at), _text(entry["question"], at), _text(entry["answer"], at)),)


def _knowledge_examples(entry: Any, at: str) -> tuple[SeedExample, ...]:
    """One example for each question of a context; the schema wants at least three."""
    _check_keys(entry, {"context", "questions_and_answers"}, {"context", "questions_and_answers"}, at)
    pairs = entry["questions_and_answers"]
    if not isinstance(pairs, list) or len(pairs) < 3:
        raise ParamsError(f"{at}: questions_and_answers must hold at least 3 pairs")
    for pair in pairs:
        _check_keys(pair, {"question", "answer"}, {"question", "answer"}, at)
    return tuple(SeedExample(_text(entry["context"], at), _text(pair["question"], at), _text(pair["answer"], at)) for pair in pairs)


def _check_keys(value: Any, wanted: set[str], known: set[str], at: str) -> None:
    if not isinstance(value, dict):
        raise ParamsError(f"{at}: found {value}; it must be a mapping with {', '.join(sorted(wanted))}")
    for key in value:
        if key not in known:
            raise ParamsError(f"{at}: {key} is no key here; {did_you_mean(str(key), known)}")
    for key in sorted(wanted - set(value)):
        raise ParamsError(f"{at}: the key {key} is missing")


def _text(value: Any, at: str) -> str:
    if not isinstance(value, str):
        raise ParamsError(f"{at}: found {value}; it must be text (put it in quotes)")
    return " ".join(value.split())


def _refuse_twins(leaves: list[SeedLeaf], name: str) -> None:
    seen: dict[object, str] = {}
    for leaf in leaves:
        value = getattr(leaf, name)
        if value in seen:
            raise ParamsError(f'{leaf.leaf}/leaf.yaml: {name} "{value}" is taken by {seen[value]}; every leaf has its own')
        seen[value] = leaf.leaf
