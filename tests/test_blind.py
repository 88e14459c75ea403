"""No scorer can look at a gold answer: not by an import, not by a column, not by a file."""

import ast
import importlib
import os
import shutil
import sys
from functools import partial
from pathlib import Path

import polars as pl
import pytest

from espalier.score import SEEN, score_rows
from espalier.scorers.heuristics import heuristic_scores
from espalier.scorers.leafwise import leaf_scores
from espalier.scorers.learned import learned_scores
from espalier.scorers.likelihood import likelihood_scores, open_model
from espalier.scorers.neighbours import neighbour_columns
from espalier.scorers.round_trip import round_trip_scores
from espalier.scorers.rules.table import rule_scores
from espalier.scorers.table import SCORERS as SCORED
from espalier.scorers.vote import agreement_scores
from espalier.verdicts import Judged
from tests.closure import ROOT, imported
from tests.worlds import tiny_model

SCORERS = sorted((ROOT / "src/espalier/scorers").rglob("*.py"))
KEYS = {  # what knows an answer: the worlds and their verifiers, the exam, and what reads seed trees with their answers
    "world", "worlds", "general", "verifiers", "exam", "evaluate", "taxonomy", "qna", "old_qna", "round_trip", "generate", "audit",
}  # fmt: skip
GOLD = ("data/exam", "data/taxonomy", "data/seeds", "data/plan", "data/evaluate")
GOLD_COLUMNS = {"solution", "checks", "verifier", "gold", "example", "examples", "pool", "verdict", "problem_key", "reason"}
N = 120


@pytest.mark.parametrize("file", SCORERS, ids=lambda file: file.name)
def test_a_scorer_imports_no_module_that_knows_an_answer(file):
    words = {Path(path).relative_to("src/espalier").parts[0].removesuffix(".py") for path in imported(file) if path.startswith("src/espalier/")}
    assert words & KEYS == set()
    assert not any(path.startswith("stages/") for path in imported(file))


@pytest.mark.parametrize("file", SCORERS, ids=lambda file: file.name)
def test_a_scorer_names_no_file_of_gold_answers(file):
    texts = [node.value for node in ast.walk(ast.parse(file.read_text())) if isinstance(node, ast.Constant) and isinstance(node.value, str)]
    named = GOLD_COLUMNS if file.name != "table.py" else set()  # which is no scorer: it orders rows that have been scored
    assert [text for text in texts if any(place in text for place in GOLD) or text in named] == []


def test_the_columns_of_gold_answers_are_not_among_those_that_scorers_see():
    assert GOLD_COLUMNS & set(SEEN) == set()


@pytest.fixture
def study(tmp_path, monkeypatch):
    """A working folder that holds gold answers in all the places of a study, and a small model."""
    for place in GOLD:
        (tmp_path / place).mkdir(parents=True)
        pl.DataFrame({"id": ["r0"], "gold": ["9"]}).write_parquet(tmp_path / place / "gold.parquet")
    tiny_model(tmp_path / "small", words=["list", ":", ".", "?", *map(str, range(10))])
    monkeypatch.chdir(tmp_path)
    return tmp_path


def rows():
    """Rows as the step answer leaves them, with all that a verifier may see."""
    return pl.DataFrame(
        [
            {"id": f"r{i}", "leaf": "a", "context": "", "query": f"list : {i % 10} ?", "answer": str(i % 7), "answers": [str(i % 7), "1"], "second_answers": ["1"],
             "asked_back": f"list {i % 10} ?", "finish": "stop", "status": "ok", "logprob_mean": -0.5 - i / N, "solution": "THE GOLD", "checks": "THE GOLD",
             "verifier": "math", "example": "THE GOLD", "examples": "THE GOLD", "pool": "THE GOLD"}
            for i in range(N)
        ]
    )  # fmt: skip


def watched(work):
    """What `work` gives, and every path below the working folder that was opened or listed meanwhile: by Python or, as their arguments show, by libraries."""
    opened, here, on = set(), f"{os.getcwd()}{os.sep}", [True]

    def audit(event, arguments):
        if on and event in ("open", "os.listdir", "os.scandir") and isinstance(arguments[0], str | bytes | os.PathLike):
            path = os.path.abspath(os.fsdecode(arguments[0]))
            opened.add(path.removeprefix(here))

    def refuse(*arguments, **options):
        raise AssertionError(f"a scorer reads {arguments[0]} through polars")

    sys.addaudithook(audit)  # which stays for the rest of the process, and is idle then
    with pytest.MonkeyPatch.context() as patch:
        for name in ("read_parquet", "scan_parquet", "read_csv", "scan_csv", "read_json", "read_ndjson", "scan_ndjson", "read_ipc", "scan_ipc"):
            patch.setattr(pl, name, refuse)  # polars opens files in Rust, where no audit hook hears of it
        found = work()
    on.clear()
    return found, opened


def test_all_scorers_together_open_their_model_and_no_file_with_a_gold_answer(study):
    labels = {f"r{i}": i % 3 == 0 for i in range(N)}
    handed = []

    def look(frame):
        handed.append(frame)
        return pl.DataFrame({f"look{len(handed)}": [0] * frame.height})

    def work():
        scorers = [
            partial(heuristic_scores, repeat_words=3), partial(rule_scores, openings=["once upon"]), agreement_scores, round_trip_scores,
            partial(likelihood_scores, score=open_model("small").score_within), leaf_scores, partial(neighbour_columns, clusters=4, seed=1, embed=None),
            partial(learned_scores, labels=labels, file="labels.jsonl"),
        ]  # fmt: skip
        looked = [one for scorer in scorers for one in (look, scorer)]
        return score_rows(rows(), verify=lambda row: Judged("right", "a", "THE GOLD"), read=lambda row, answer: answer, scorers=looked)

    scored, opened = watched(work)
    assert "small/model.safetensors" in opened or "small/config.json" in opened  # the hook hears what is opened
    assert [path for path in opened if path.startswith(("data/", *GOLD))] == []
    assert scored["learned"].null_count() == scored["ifd"].null_count() == scored["round_trip"].null_count() == 0
    assert len(handed) == 8
    assert {scorer.column for scorer in SCORED.values()} <= set(scored.columns)
    for frame in handed:
        assert GOLD_COLUMNS & set(frame.columns) == set()
        assert not any("THE GOLD" in str(value) for row in frame.rows() for value in row)


def test_a_scorer_that_opened_a_gold_file_would_be_heard(study):
    _, opened = watched(lambda: Path("data/exam/gold.parquet").read_bytes())
    assert opened == {"data/exam/gold.parquet"}
    with pytest.raises(AssertionError, match=r"a scorer reads data/exam/gold.parquet through polars"):
        watched(lambda: pl.read_parquet("data/exam/gold.parquet"))
    with pytest.raises(pl.exceptions.ColumnNotFoundError):
        score_rows(rows(), verify=lambda row: Judged("right", "a", ""), read=lambda row, answer: answer, scorers=[lambda frame: frame.select("solution")])


def test_scores_are_the_same_when_every_gold_answer_is_gone(study):
    """The frame without the gold columns, the files removed: the scorers' columns do not change."""
    scorers = [partial(heuristic_scores, repeat_words=3), agreement_scores, round_trip_scores, partial(likelihood_scores, score=open_model("small").score_within), leaf_scores]
    judge = {"verify": lambda row: Judged("unknown", "a", ""), "read": lambda row, answer: answer, "scorers": scorers}
    before = score_rows(rows(), **judge)
    shutil.rmtree(study / "data")
    after = score_rows(rows().drop(*(GOLD_COLUMNS & set(rows().columns))), **judge)
    assert after.equals(before.select(after.columns))


def test_the_modules_of_scorers_can_be_imported_without_those_that_know_an_answer():
    """In a fresh process: importing every scorer loads no world, verifier or exam."""
    import subprocess

    names = [".".join(file.relative_to(ROOT / "src").with_suffix("").parts) for file in SCORERS if file.name != "__init__.py"]
    assert all(importlib.util.find_spec(name) for name in names)
    code = f"import sys; {'; '.join(f'import {name}' for name in names)}; print(sorted(n.split('.')[1] for n in sys.modules if n.startswith('espalier.')))"
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True, env={**os.environ, "PYTHONPATH": str(ROOT / "src")})
    assert set(ast.literal_eval(done.stdout)) & (KEYS - {"taxonomy", "qna", "old_qna"}) == set()  # prompts and samples know the branches of the taxonomy
