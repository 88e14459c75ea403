import gzip
import json

import pytest
from click.testing import CliRunner

from espalier.cli import cli
from espalier.commands.taxonomy import read_lines
from espalier.errors import CorruptInput

SKILL = {
    "version": 3,
    "created_by": "someone",
    "task_description": "largest digit",
    "seed_examples": [{"question": f"{i} or 9 ?", "answer": "9"} for i in range(5)],
}
RIGHT = {"foundational_skills/a/qna.yaml": json.dumps(SKILL)}
WRONG = {"knowledge/b/qna.yaml": "a: [", "foundational_skills/c/qna.yaml": json.dumps(SKILL | {"version": 2})}
LINE = 'foundational_skills/c/qna.yaml: version is 2; espalier reads version 3: write `version: 3`\n'


def run(path):
    return CliRunner().invoke(cli, ["taxonomy", str(path)])


def folder(path, files):
    for name, text in files.items():
        file = path / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(text if isinstance(text, bytes) else text.encode())
    return path


def packed(path, files):
    path.write_bytes(gzip.compress("".join(json.dumps({"path": name, "text": text, "more": 1}) + "\n" for name, text in files.items()).encode()))
    return path


def test_a_tree_that_loads_prints_nothing_on_stdout_and_ends_with_0(tmp_path):
    result = run(folder(tmp_path, RIGHT | {"README.md": "x"}))
    assert (result.exit_code, result.stdout) == (0, "")
    assert result.stderr == "taxonomy: 1 files of leaves, 1 leaves load, none refused\ntaxonomy: versions of qna.yaml: 1 x 3\n"


@pytest.mark.parametrize("make", [folder, packed])
def test_a_refused_file_is_one_line_on_stdout_and_ends_with_2(make, tmp_path):
    result = run(make(tmp_path / "tree", RIGHT | WRONG))
    assert result.exit_code == 2
    first, second = result.stdout.splitlines(keepends=True)
    assert first == LINE
    assert second.startswith("knowledge/b/qna.yaml: line 1, column 5, is not YAML (")
    assert result.stderr == (
        "taxonomy: 3 files of leaves, 1 leaves load, 2 refused\n"
        "taxonomy: refused: 1 x old version, 1 x not YAML\n"
        "taxonomy: versions of qna.yaml: 1 x 3, 1 x 2, 1 x unreadable\n"
    )


def test_a_file_that_cannot_be_read_is_refused_like_the_others(tmp_path):
    tree = folder(tmp_path, RIGHT | {"knowledge/b/qna.yaml": b"\xff\xfe"})
    (tree / "knowledge/c").mkdir()
    (tree / "knowledge/c/qna.yaml").symlink_to("nowhere")
    result = run(tree)
    assert result.exit_code == 2
    assert [line.split(" (")[0] for line in result.stdout.splitlines()] == [f"knowledge/{name}/qna.yaml: the text cannot be read" for name in "bc"]


@pytest.mark.parametrize(("name", "expected"), [
    ("absent", "absent: no such folder or file; name a seed tree\n"),
    ("empty", "empty: holds no qna.yaml; name the folder that holds knowledge, foundational_skills or compositional_skills\n"),
])  # fmt: skip
def test_a_path_without_leaves_ends_with_3(name, expected, tmp_path):
    (tmp_path / "empty").mkdir()
    result = run(tmp_path / name)
    assert (result.exit_code, result.stdout) == (3, "")
    assert result.stderr.endswith(expected)


@pytest.mark.parametrize(
    ("data", "expected"),
    [
        (b"# a page\n", "t, line 1: not JSON ("),
        (b"[" * 100_000, "t, line 1: not JSON ("),
        (b'\n{"path": "a"}\n', "t, line 2: found no object with path and text"),
        (b'{"path": "a", "text": 1}\n', "t, line 1: found no object with path and text"),
        (b'{"path": "a", "text": ""}\n' * 2, "t, line 2: path 'a' stands twice; keep one"),
        (gzip.compress(b"{}" * 100)[:-9], "t: not whole gzip ("),
    ],
)
def test_lines_that_are_no_tree_are_refused(data, expected):
    with pytest.raises(CorruptInput) as raised:
        read_lines(data, file="t")
    assert str(raised.value).startswith(expected)


def test_lines_give_path_and_text_packed_or_not():
    data = b'{"path": "a", "text": "x\\ny"}\n\n{"path": "b", "text": ""}'
    assert read_lines(data, file="t") == read_lines(gzip.compress(data), file="t") == {"a": "x\ny", "b": ""}
