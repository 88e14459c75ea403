"""The public InstructLab taxonomy with its history, where it lies beside the repository: every file loads or is refused with a reason."""

import gzip
import json
import re
from collections import Counter

import pytest

from espalier.qna import load_mapping, parse_qna
from espalier.taxonomy import BRANCHES, check_tree
from tests.closure import ROOT

REAL = ROOT.parent / "shared/data/instructlab_taxonomy"
UNREAD = ("not YAML", "no mapping", "repeated key")


@pytest.fixture(scope="module")
def real():
    """Path -> text of every qna.yaml of the public taxonomy's history."""
    if not REAL.is_dir():
        pytest.skip(f"{REAL.name} is not beside the repository: no real trees to read")
    with gzip.open(REAL / "all_refs_union.jsonl.gz", "rt", encoding="utf-8") as lines:
        return {row["path"]: row["text"] for row in map(json.loads, lines)}


@pytest.fixture(scope="module")
def checked(real):
    return check_tree(real)


def test_every_real_file_loads_or_is_refused_once(real, checked):
    assert (len(real), checked.files) == (1256, 1256)
    found = [f"{leaf.leaf}/qna.yaml" for leaf in checked.leaves] + [refusal.file for refusal in checked.refusals]
    assert sorted(found) == sorted(real)


def test_the_real_files_are_counted_by_version_and_reason(checked):
    assert checked.versions == {"1 (absent)": 973, "3": 158, "2": 90, "unreadable": 29, "1": 5, "24": 1}
    assert Counter(refusal.reason for refusal in checked.refusals) == {
        "old version": 1065, "not YAML": 21, "no mapping": 6, "unknown key": 3, "mixed contexts": 2, "repeated key": 2, "file name": 2,
        "branch": 2, "no text": 2, "missing key": 1, "unknown version": 1,
    }  # fmt: skip


def test_every_real_refusal_is_one_line_with_file_and_field(real, checked):
    for refusal in checked.refusals:
        assert str(refusal).startswith(f"{refusal.file}: {refusal.field} ")
        assert refusal.file in real
        assert len(refusal.field) >= 4
        assert str(refusal).isprintable()
        assert len(str(refusal)) < 520


def test_all_real_files_of_version_3_load_but_nine(real, checked):
    """InstructLab's own schema refuses seven of the nine for the same fields, and lets the two pass that mix contexts: 158 - 7 - 2 = 149."""
    refused = [refusal for refusal in checked.refusals if refusal.reason not in UNREAD and re.search(r"^version: 3\b", real[refusal.file], re.MULTILINE)]
    assert Counter(refusal.field for refusal in refused) == {
        "seed_examples": 2, "seed examples": 2, "created_by": 2, "repo": 1, "document, patterns": 1, "the file's name": 1,
    }  # fmt: skip
    assert Counter(leaf.branch for leaf in checked.leaves) == {"knowledge": 122, "compositional_skills": 27}
    assert {leaf.rank for leaf in checked.leaves} == {1}
    assert len({" ".join(leaf.task.split()) for leaf in checked.leaves}) == 149


def test_old_real_files_told_to_change_the_number_alone_load_with_it(real, checked):
    told = [refusal for refusal in checked.refusals if str(refusal).endswith("write `version: 3`")]
    assert len(told) == 434
    for refusal in told:
        value = load_mapping(real[refusal.file], file=refusal.file) | {"version": 3}
        assert len(parse_qna(value, file=refusal.file, knowledge=False).examples) >= 5


def test_real_text_keeps_its_line_breaks(checked):
    texts = [text for leaf in checked.leaves for example in leaf.examples for text in (example.context, example.answer)]
    assert sum("\n" in text for text in texts) > 1000


@pytest.mark.parametrize(("tree", "leaves", "refused"), [("head_2025-04-25", 5, 12), ("release-04102024", 0, 154), ("pr712_2024-04-17", 0, 347)])
def test_every_file_of_the_real_trees_loads_or_is_refused(tree, leaves, refused):
    if not REAL.is_dir():
        pytest.skip(f"{REAL.name} is not beside the repository: no real trees to read")
    files = {str(file.relative_to(REAL / tree)): file.read_text() for file in sorted((REAL / tree).rglob("*")) if file.is_file()}
    checked = check_tree(files)
    assert (len(checked.leaves), len(checked.refusals), checked.files) == (leaves, refused, leaves + refused)
    assert {leaf.branch for leaf in checked.leaves} <= set(BRANCHES)
