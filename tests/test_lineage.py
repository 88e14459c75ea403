"""`espalier show`, on files that the stages wrote with a teacher from a script."""

import importlib
import re
import shutil
from collections import Counter

import polars as pl
import pytest
from click.testing import CliRunner

from espalier.cli import cli
from espalier.errors import EspalierError, ParamsError
from espalier.io import read_rows, write_rows
from espalier.lineage import drop_words, find_id, plain
from espalier.tokens import save_chat, word_chat
from tests.closure import ROOT
from tests.worlds import Scripted, spoken, tiny_params

STEPS = ("context", "query", "evolve", "answer")
PARAMS = {"filter.require_verified": "true", "filter.min_vote": "0.6", "mix.budget_tokens": "300", "gen.answers": "3", "score.likelihood_model": '""'}  # the teacher is a script


def reply(request):
    """Three digits, a question about them, a fourth digit for two of three, and mostly the right answer."""
    text, seed = request.messages[-1][1], request.seed
    digits = re.findall(r"\d", text)
    if text == "write a text .":
        return "list : \x1b[2J" if seed % 29 == 0 else f"list : {seed % 10} {seed // 10 % 10} {seed // 100 % 10} ."
    if text.endswith("ask about it ."):
        return spoken("what is the", finish="length") if seed % 17 == 0 else "what is the largest digit ?"
    if text.endswith("deepen it .") or text.endswith("widen it ."):
        return f"list : {' '.join(digits)} {'' if seed % 3 == 0 else seed // 7 % 10} . what is the largest digit ?"
    return max(digits, default="none") if seed % 4 else "0"


def stages(names, recipe, teacher):
    """Run stages of a recipe, in the working folder, with a teacher of ours."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("espalier.teachers.ask.open_teacher", lambda engine, folder, **settings: teacher)
        for name in names:
            result = CliRunner().invoke(importlib.import_module(f"stages.{name}").main, [recipe] if recipe else [])
            assert result.exit_code == 0, result.output


def run(*arguments):
    """(exit code, stdout, stderr) of a command."""
    result = CliRunner().invoke(cli, [str(one) for one in arguments])
    assert isinstance(result.exception, SystemExit | None), result.exc_info  # no traceback
    return result.exit_code, result.stdout, result.stderr


def start(folder, patch):
    """A folder with params, seeds and something that has the fingerprint and the words of a teacher, as working folder."""
    patch.chdir(folder)
    patch.setenv("ESPALIER_CACHE", str(folder / "cache.sqlite"))
    (folder / "params.yaml").write_text(tiny_params(**PARAMS))
    shutil.copytree(ROOT / "data/seeds", folder / "data/seeds")
    (folder / "models/teacher").mkdir(parents=True)
    (folder / "models/teacher/config.json").write_text("{}")
    save_chat(word_chat("list : . what is the largest digit ? none 0 1 2 3 4 5 6 7 8 9".split()), folder / "models/teacher", context_tokens=64)
    stages(["taxonomy"], None, None)


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """A recipe that has gone all the way; one row that dedup kept is made an item of the exam."""
    folder = tmp_path_factory.mktemp("study")
    with pytest.MonkeyPatch.context() as patch:
        start(folder, patch)
        stages(["plan", *STEPS, "score", "audit", "filter", "dedup"], "multistage", Scripted(reply))
        leaked = read_rows("data/dedup/multistage/kept.parquet").head(1)
        write_rows("data/exam/items.parquet", leaked.select(pl.lit("item 7").alias("item"), pl.lit("key").alias("split"), "context", "query", "problem_key"))
        stages(["decontaminate", "mix"], "multistage", None)
    return folder


@pytest.fixture
def study(made, tmp_path, monkeypatch):
    """A copy of it to be changed, as working folder."""
    shutil.copytree(made, tmp_path / "study")
    monkeypatch.chdir(tmp_path / "study")
    return tmp_path / "study"


def rows(stage, name="rows"):
    return list(read_rows(f"data/{stage}/multistage/{name}.parquet").iter_rows(named=True))


def ended(row):
    code, out, err = run("show", row["id"])
    assert (code, err) == (0, "")
    return out.splitlines()[-1]


def test_show_tells_the_whole_way_of_a_row_that_was_evolved_and_kept(study):
    row = next(row for row in rows("mix") if row["parent_id"] and row["operation"] == "deepen" and row["vote_share"] == 1)
    parent = next(one for one in rows("query") if one["id"] == row["parent_id"])
    answer = row["answer"]
    expected = f"""\
row {row["id"]} made of {row["parent_id"]}
  recipe         multistage, row {row["index"]} of its plan
  leaf asked     none, the teacher picks
context          data/seeds/prompts/builtin/context.multistage.yaml
  user           write a text .
  reply          {parent["context"]}
query            data/seeds/prompts/builtin/query.multistage.yaml
  user           {parent["context"]} ask about it .
  reply          what is the largest digit ?
evolve           data/seeds/prompts/builtin/evolve.multistage.yaml
  user           {parent["context"]} what is the largest digit ? deepen it .
  reply          {row["query"]}
                 deepen made {row["id"]}
answer           data/seeds/prompts/builtin/answer.plain.yaml
  user           {row["query"]}
  reply 1        {answer}
  reply 2        {answer}
  reply 3        {answer}
  vote           3 x "{answer}"
score
  verdict        right
  delivered_leaf {row["delivered_leaf"]}
  problem_key    {row["problem_key"]}
  vote_share     1.000
  answer_entropy 0.000
  words          1
  repeat_share   0.000
  echo_share     0.000
  is_truncated   False
  logprob_mean   -0.250
  logprob_z      0.000
  nearest_similarity {row["nearest_similarity"]:.3f}
  neighbour_cluster {row["neighbour_cluster"]}
ended            kept in the mix, {row["tokens"]} tokens
"""
    for given in (row["id"], row["parent_id"], row["id"][:8], row["parent_id"][:8].upper()):
        assert run("show", given) == (0, expected, "")


def test_show_says_of_every_row_where_it_ended(study):
    left = {row["id"] for row in rows("decontaminate", "kept")} - {row["id"] for row in rows("mix")}
    said = Counter(re.sub(r"[0-9a-f]{32}|[\d.]+", "#", ended(row)) for row in rows("score"))
    reasons = Counter(row["reason"] for row in rows("filter", "dropped"))
    duplicates = Counter(row["reason"] for row in rows("dedup", "dropped"))
    assert said["ended            kept in the mix, # tokens"] == len(rows("mix"))
    assert said["ended            kept by every filter, but the mix was full before its turn"] == len(left) > 0
    assert {kind: said[f"ended            dropped by dedup: {kind} duplicate of # (Jaccard similarity #)"] for kind in duplicates} == duplicates
    assert said["ended            dropped by decontaminate: key, exam item item # of the split key (coverage #)"] == len(rows("decontaminate", "dropped")) == 1
    for reason in ("status:truncated", "verdict:wrong", "verdict:unparseable", "vote"):
        assert sum(n for line, n in said.items() if line.startswith(f"ended            dropped by filter: {reason}")) == reasons[reason] > 0
    assert sum(said.values()) == 120


def test_show_says_why_a_step_was_not_asked_or_gave_nothing(study):
    cut = next(row for row in rows("query") if row["status"] == "truncated")
    lines = run("show", cut["id"])[1].splitlines()
    at = next(i for i, line in enumerate(lines) if line.startswith("query"))
    assert lines[at + 2 : at + 9] == [
        "  reply          what is the",
        "                 truncated: cut off after 4 tokens",
        "evolve           data/seeds/prompts/builtin/evolve.multistage.yaml",
        "                 not asked, the row is truncated",
        "answer           data/seeds/prompts/builtin/answer.plain.yaml",
        "                 not asked, the row is truncated",
        "score",
    ]
    stayed = next(row for row in rows("evolve") if row["status"] == "ok" and not row["operation"])
    operation = ("deepen", "widen")[stayed["index"] % 2]
    assert f"                 {operation}: no other problem; the parent stays\n" in run("show", stayed["id"])[1]


def test_show_spells_out_what_would_steer_a_terminal(study):
    row = next(row for row in rows("context") if "\x1b" in row["context"])
    out = run("show", row["id"])[1]
    assert "  reply          list : \\x1b[2J\n" in out
    assert re.fullmatch(r"[\n -~]*", out)


@pytest.mark.parametrize(
    ("gone", "last"),
    [
        ("mix/multistage/rows", "mix@multistage"),
        ("filter/multistage/kept", "filter@multistage"),
        ("score/multistage/rows", "score@multistage"),
        ("query/multistage/rows", "query@multistage"),
    ],
)
def test_show_tells_what_there_is_and_names_the_command_that_makes_the_rest(study, gone, last):
    row = rows("mix")[0]
    whole = run("show", row["root_id"])[1].splitlines()
    (study / f"data/{gone}.parquet").unlink()
    code, out, err = run("show", row["root_id"])
    lines = out.splitlines()
    assert (code, err, lines[-1]) == (0, "", f"not further      data/{gone}.parquet: no such file; make it with `dvc repro {last}`")
    assert lines[3:-1] == whole[3 : len(lines) - 1]


def test_show_of_files_of_another_run_says_so(study):
    row = rows("mix")[0]
    file = "data/score/multistage/rows.parquet"
    write_rows(file, read_rows(file).filter(pl.col("id") != row["id"]))
    assert ended(row) == f"not further      {file}: does not hold the row, so it is of another run; make it anew with `dvc repro score@multistage`"


def test_show_without_a_plan_and_with_a_damaged_one_is_one_line(study):
    (study / "data/plan/multistage/rows.parquet").write_bytes(b"PAR1 no PAR1")
    code, out, err = run("show", "abcdef")
    assert (code, out, len(err.splitlines())) == (1, "", 1)
    assert err.endswith("; delete it and run `dvc repro plan@multistage`\n")
    shutil.rmtree(study / "data/plan")
    assert run("show", "abcdef") == (3, "", "espalier: data/plan: holds no rows; make them with `dvc repro plan`\n")


def test_an_unknown_id_is_named_with_the_closest_ones(study):
    ids = sorted({row["id"] for row in rows("plan")} | {row["id"] for row in rows("evolve")})
    typo = ids[5][:10] + ("0" if ids[5][10] != "0" else "1") + ids[5][11:]
    code, out, err = run("show", typo)
    assert (code, out) == (1, "")
    assert err.startswith(f'espalier: "{typo}" is no id of a row in data/plan or data/evolve; closest are {ids[5]}, ')


def test_find_id_wants_six_characters_and_one_row():
    known = ["abcdef01", "abcdef02", "abc99999"]
    assert [find_id(given, known) for given in ("abcdef01", "ABC999", "abcdef02")] == ["abcdef01", "abc99999", "abcdef02"]
    with pytest.raises(ParamsError, match='^"abc99" has 5 characters; give an id, or at least its first 6$'):
        find_id("abc99", known)
    with pytest.raises(ParamsError, match=r'^"abcdef" begins 2 ids \(abcdef01, abcdef02\); give more characters$'):
        find_id("abcdef", known)
    with pytest.raises(EspalierError, match='^"abc999990" is no id of a row in data/plan or data/evolve; closest are abc99999, abcdef01, abcdef02$'):
        find_id("abc999990", known)


def test_all_reasons_of_a_drop_are_told():
    assert drop_words("filter", {"reason": "echo", "reasons": ["echo", "vote", "repeats"]}) == "dropped by filter: echo (also vote, repeats)"
    assert drop_words("filter", {"reason": "echo", "reasons": ["echo"]}) == "dropped by filter: echo"


def test_plain_text_keeps_letters_and_spells_out_line_ends_and_directions():
    assert plain("żółw 漢\n\t\u202e\x9b") == "żółw 漢\\n\\t\\u202e\\x9b"
