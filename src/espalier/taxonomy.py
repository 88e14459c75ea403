"""The seed tree: leaves with their seed examples, in InstructLab's version-3 format, with a sibling file of ours where there is one.

    <branch>/<...>/<leaf>/qna.yaml    InstructLab schema v3, unchanged, so that trees can be exchanged; see `qna`
    <branch>/<...>/<leaf>/leaf.yaml   optional, what that schema has no place for: task, topic, verifier, and (may be left out) rank and checks

Without leaf.yaml a leaf's task is its task_description (knowledge: domain and document_outline), its topic is the path of the folder that holds it, in words,
and no verifier knows it. Ranks are frequencies in natural text, and nobody knows those of an outside tree: leaves without a rank share the one after the
last that is given, so in a tree without any all count alike (`stats.weights_by_rank`), and none is made up from the order of names.
"""

import json
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import PurePosixPath
from typing import TYPE_CHECKING, Any, ParamSpec, TypeVar

from espalier.errors import LeafError, ParamsError, shown
from espalier.old_qna import label_of
from espalier.params import did_you_mean
from espalier.qna import Qna, SeedExample, check_keys, load_mapping, parse_qna

if TYPE_CHECKING:
    import polars

BRANCHES = ("knowledge", "foundational_skills", "compositional_skills")
REQUIRED_KEYS = {"task", "topic", "verifier"}
LEAF_KEYS = REQUIRED_KEYS | {"rank", "checks"}
LEAST_SHOWN = 3  # seed examples that stay for the prompts when others are held out
YAML_ENDINGS = (".yaml", ".yml")

_P, _T = ParamSpec("_P"), TypeVar("_T")


@dataclass(frozen=True, slots=True)
class SeedLeaf:
    """A leaf of the tree. `rank` orders the leaves by how common they are in natural text, 1 first; `verifier` names a task of the world or is empty.

    `checks` holds constraints that every answer must meet, as mappings; the world knows what they mean.
    """

    leaf: str
    branch: str
    topic: str
    task: str
    rank: int
    verifier: str
    examples: tuple[SeedExample, ...]
    checks: tuple[Mapping[str, Any], ...] = ()


@dataclass(frozen=True, slots=True)
class CheckedTree:
    """Leaves sorted by name, refusals by file; `files` counts qna.yaml and leaf.yaml, `versions` those of the former by the version they give themselves."""

    leaves: tuple[SeedLeaf, ...]
    refusals: tuple[LeafError, ...]
    files: int
    versions: Mapping[str, int]


def parse_tree(files: Mapping[str, str], *, folder: str) -> list[SeedLeaf]:
    """The leaves of a tree, sorted by name; `files` maps paths relative to the folder to their texts, the folder's name is for messages.

    Raises: ParamsError for the first file that is refused, with the count of all; for a tree without leaves.
    """
    checked = check_tree(files)
    if checked.refusals:
        count = len(checked.refusals)
        words = "it alone is refused" if count == 1 else f"{count:,} of {checked.files:,} files are refused"
        raise ParamsError(f"{folder}/{checked.refusals[0]}; {words}, see `espalier taxonomy {folder}`")
    if not checked.leaves:
        raise ParamsError(f"{folder}: holds no qna.yaml; taxonomy.tree in params.yaml names a folder with leaves")
    return list(checked.leaves)


def check_tree(files: Mapping[str, str]) -> CheckedTree:
    """All leaves of a tree that load and all files of it that do not, each with its first fault; `files` as in `parse_tree`.

    Files without leaves are passed: what is no YAML, and YAML outside of the branches whose name does not hold "qna".
    """
    refusals: list[LeafError] = []
    texts = {path: files[path] for path in sorted(files) if _is_of_leaf(PurePosixPath(path))}
    values = {path: _tried(refusals, load_mapping, text, file=path) for path, text in texts.items()}
    qnas: dict[str, Any] = {}
    owns: dict[str, Any] = {}
    for path, value in values.items():
        place = PurePosixPath(path)
        parse = _parse_own if place.name == "leaf.yaml" else _parse_placed
        found = None if value is None else _tried(refusals, parse, value, file=path)
        if place.name in ("qna.yaml", "leaf.yaml"):
            (owns if place.name == "leaf.yaml" else qnas)[str(place.parent)] = found
    for folder in sorted(set(owns) - set(qnas)):
        words = "is missing; a leaf is a folder with qna.yaml, and leaf.yaml beside it if you like: add it"
        refusals.append(LeafError(f"{folder}/qna.yaml", "the file", words, reason="no file"))
    leaves = _joined(qnas, owns, refusals)
    versions = Counter(label_of(value) for path, value in values.items() if PurePosixPath(path).name != "leaf.yaml")
    return CheckedTree(tuple(leaves), tuple(sorted(refusals, key=lambda refusal: refusal.file)), len(texts), dict(versions.most_common()))


def tabulate(tree: Sequence[SeedLeaf], *, held_out: int = 0) -> tuple["polars.DataFrame", "polars.DataFrame"]:
    """The tree as two tables: leaves (one row a leaf) and seeds (leaf, place, context, query, answer, held_out).

    held_out: how many of a leaf's last examples no teacher may see (of a knowledge leaf: whole contexts, so that none is half known); LEAST_SHOWN stay.
    """
    import polars

    names = ("leaf", "branch", "topic", "task", "rank", "verifier")
    leaves = [{name: getattr(leaf, name) for name in names} | {"checks": json.dumps(leaf.checks, sort_keys=True)} for leaf in tree]
    seeds = [
        {"leaf": leaf.leaf, "place": place, "context": one.context, "query": one.question, "answer": one.answer, "held_out": place >= shown}
        for leaf in tree
        for shown in [_shown(leaf.examples, held_out)]
        for place, one in enumerate(leaf.examples)
    ]
    return polars.DataFrame(leaves), polars.DataFrame(seeds)


def _shown(examples: Sequence[SeedExample], held_out: int) -> int:
    """How many of a leaf's examples stay for the prompts; all where fewer than LEAST_SHOWN would."""
    shown = len(examples) - held_out
    while 0 < shown < len(examples) and examples[shown].context and examples[shown].context == examples[shown - 1].context:
        shown -= 1
    return shown if shown >= LEAST_SHOWN else len(examples)


def _is_of_leaf(path: PurePosixPath) -> bool:
    return path.suffix.lower() in YAML_ENDINGS and (path.parts[0] in BRANCHES or "qna" in path.name.lower() or path.name == "leaf.yaml")


def _tried(refusals: list[LeafError], step: Callable[_P, _T], *args: _P.args, **options: _P.kwargs) -> _T | None:
    """What a step returns; None when it refuses, with the refusal kept."""
    try:
        return step(*args, **options)
    except LeafError as error:
        refusals.append(error)
        return None


def _parse_placed(value: Mapping[Any, Any], *, file: str) -> Qna:
    """A loaded file that must be a qna.yaml in a folder of a branch."""
    place = PurePosixPath(file)
    if place.name != "qna.yaml":
        words = f"is {shown(place.name)}; it must be qna.yaml, as in InstructLab: rename it, in a folder of its own"
        raise LeafError(file, "the file's name", words, reason="file name")
    branch = place.parts[0] if len(place.parts) > 1 else ""
    if branch not in BRANCHES:
        raise LeafError(file, "the branch", f"is {shown(branch)}; move the leaf into a branch; {did_you_mean(branch, BRANCHES)}", reason="branch")
    return parse_qna(value, file=file, knowledge=branch == "knowledge")


def _parse_own(value: Mapping[Any, Any], *, file: str) -> Mapping[str, Any]:
    check_keys(value, REQUIRED_KEYS, LEAF_KEYS, file=file)
    for name in ("task", "topic", "verifier"):
        if not isinstance(value[name], str):
            raise LeafError(file, name, f"is {shown(value[name])}; it must be words (verifier may be '')", reason="no text")
    if "rank" in value and (type(value["rank"]) is not int or value["rank"] < 1):
        raise LeafError(file, "rank", f"is {shown(value['rank'])}; it must be a whole number from 1, the most common task", reason="wrong type")
    checks = value.get("checks", [])
    if not isinstance(checks, list) or not all(isinstance(check, dict) and check for check in checks):
        raise LeafError(file, "checks", f"is {shown(checks)}; it must be a list of mappings such as {{kind: max_words, n: 60}}", reason="wrong type")
    return {**value, **({"checks": tuple(checks)} if checks else {})}


def _joined(qnas: Mapping[str, Qna | None], owns: Mapping[str, Mapping[str, Any] | None], refusals: list[LeafError]) -> list[SeedLeaf]:
    """The leaves whose files are all right, with tasks that tell them apart; those that claim another's task or rank are refused."""
    good = {folder: qna for folder, qna in sorted(qnas.items()) if qna and owns.get(folder, {}) is not None}
    shared_rank = max(((owns.get(folder) or {}).get("rank", 0) for folder in good), default=0) + 1
    leaves = [_leaf(folder, qna, owns.get(folder) or {}, shared_rank) for folder, qna in good.items()]
    count = Counter(_folded(leaf.task) for leaf in leaves)
    taken: dict[tuple[str, object], str] = {}
    kept = []
    for leaf in leaves:
        own = owns.get(leaf.leaf) or {}
        if "task" not in own and count[_folded(leaf.task)] > 1:
            leaf = replace(leaf, task=f"{leaf.task} ({leaf.leaf})")
        if _tried(refusals, _claim, taken, leaf, ranked="rank" in own):
            kept.append(leaf)
    return kept


def _leaf(folder: str, qna: Qna, own: Mapping[str, Any], shared_rank: int) -> SeedLeaf:
    leaf = SeedLeaf(folder, folder.split("/")[0], _topic(folder), qna.task, shared_rank, "", qna.examples)
    return replace(leaf, **own)


def _claim(taken: dict[tuple[str, object], str], leaf: SeedLeaf, *, ranked: bool) -> bool:
    """Notes the leaf's task and its own rank as taken; refuses those that are."""
    for name, value in [("task", _folded(leaf.task)), *([("rank", leaf.rank)] if ranked else [])]:
        other = taken.setdefault((name, value), leaf.leaf)
        if other != leaf.leaf:
            raise LeafError(f"{leaf.leaf}/leaf.yaml", name, f"{shown(value)} is taken by {other}; every leaf has its own: change one", reason="taken")
    return True


def _topic(folder: str) -> str:
    """The folders that hold a leaf, below the branch, in words; for a leaf right below its branch its own name.

    >>> _topic("knowledge/arts/pop_music/fandom"), _topic("knowledge/arts")
    ('arts, pop music', 'arts')
    """
    branch, *folders = folder.split("/")
    return ", ".join(folders[:-1] or folders or [branch]).replace("_", " ").replace("-", " ")


def _folded(task: str) -> str:
    """A task as prompts show it, with blanks folded."""
    return " ".join(task.split())
