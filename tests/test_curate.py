"""`espalier curate`: the funnel adds up, nothing is lost in silence, and nothing half-written looks finished."""

import gzip
import json
import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import polars as pl
import pytest
from click.testing import CliRunner

from espalier import intake
from espalier.cli import cli
from espalier.commands.curate import STANDARD, limits_of, table_of
from espalier.params import parse_params
from espalier.scorers.rules.table import FAMILIES

MEGABYTES = int(os.environ.get("ESPALIER_CURATE_MB", "150"))

ROOT = Path(__file__).parents[1]
DATA = ROOT.parent / "shared/data"
RESULTS = ["dropped.parquet", "funnel.json", "kept.parquet", "rejected.jsonl"]


@pytest.fixture(autouse=True)
def _elsewhere(tmp_path, monkeypatch):
    """A working folder without params.yaml."""
    monkeypatch.chdir(tmp_path)


def run(*arguments):
    """(exit code, stdout, stderr) of a run."""
    result = CliRunner().invoke(cli, ["curate", *map(str, arguments)])
    assert isinstance(result.exception, SystemExit | None), result.exc_info  # no traceback
    return result.exit_code, result.stdout, result.stderr


def write_lines(path, records):
    path.write_text("\n".join(one if isinstance(one, str) else json.dumps(one) for one in records))
    return path


def results(folder):
    """(kept, dropped, rejected, funnel), after the sums that must hold for every run."""
    kept, dropped = pl.read_parquet(folder / "kept.parquet"), pl.read_parquet(folder / "dropped.parquet")
    rejected = [json.loads(line) for line in (folder / "rejected.jsonl").read_text().splitlines()]
    funnel = json.loads((folder / "funnel.json").read_text())
    assert sorted(path.name for path in folder.iterdir()) == RESULTS
    assert funnel["rows"] == funnel["kept"] + sum(sum(reasons.values()) for reasons in funnel["dropped"].values())
    assert (kept.height, dropped.height) == (funnel["kept"], funnel["rows"] - funnel["kept"])
    assert sorted([*kept["id"], *dropped["id"]]) == [f"{row:010}" for row in range(funnel["rows"])]
    assert dropped["reason"].null_count() + dropped["detail"].null_count() + dropped["step"].null_count() == 0
    places = {*kept["place"], *dropped["place"], *(one["place"] for one in rejected)}
    assert len(places) == funnel["records"]
    assert len(rejected) == sum(funnel["rejected"].values())
    return kept, dropped, rejected, funnel


def pair(query, answer, **more):
    return {"instruction": query, "output": answer, **more}


MIXED = [
    pair("Name a river.", "The Rhine is a river.", id=1, kind="geo"),
    pair("Name a river.", " The  Rhine is a river.", id=1, kind="geo"),  # the first again after folding
    pair("Tell me of the ferry.", "The old ferry left the island at noon and the wind turned to the north while we stood at the rail and looked back at it", id=2),
    pair("Tell me of the ferry.", "The old ferry left the island at noon, and the wind turned to the north while we stood at the rail and looked back at it", id=3),
    pair("Write a letter.", "As an AI I cannot write letters."),
    pair("What is the capital city of France, and on which river does it lie?", "Paris, on the Seine."),
    pair("Name a lake.", "Lake Constance.", kind="geo"),
    pair("Name a sea.", "The Baltic.", kind="geo"),
    "{broken",
    {"a": 1},
]


def test_every_row_is_kept_or_dropped_with_its_reason_and_every_record_is_a_row_or_rejected(tmp_path):
    source = write_lines(tmp_path / "in.jsonl", MIXED)
    benchmark = write_lines(tmp_path / "quiz.jsonl", [{"question": "What is the capital city of France, and on which river does it lie?"}])
    code, table, _ = run(source, "--out", tmp_path / "out", "--benchmark", benchmark, "--quota", 2, "--by", "kind")
    kept, dropped, rejected, funnel = results(tmp_path / "out")
    assert code == 0
    assert (funnel["records"], funnel["rows"], funnel["kept"]) == (10, 8, 4)
    assert funnel["rejected"] == {"json": 1, "no_fields": 1}
    assert funnel["dropped"] == {"rules": {"reply:refusal": 1}, "exact": {"exact": 1}, "near": {}, "benchmark": {"benchmark": 1}, "quota": {"quota": 1}}
    told = {int(row): (step, detail) for row, step, detail in dropped.select("id", "step", "detail").iter_rows()}
    assert told[1] == ("exact", "row 0000000000 stays")
    assert told[4] == ("rules", "refused")
    assert told[5][0] == "benchmark"
    assert told[5][1].startswith("quiz:1: exact")
    assert sum(step == "quota" for step, _ in told.values()) == 1
    assert [(one["place"], one["reason"]) for one in rejected] == [(9, "json"), (10, "no_fields")]
    assert table.splitlines()[1].split() == ["read", "10", "2", "8", "json", "1,", "no_fields", "1"]
    assert [json.loads(record) for record in kept["record"]] == [MIXED[place - 1] for place in kept["place"]]  # nothing of a record is lost


def test_near_duplicates_go_and_the_first_stays(tmp_path):
    words = [f"w{i}" for i in range(400)]
    texts = [" ".join(words), " ".join([*words[:200], "other", *words[201:]]), " ".join(reversed(words))]
    run(write_lines(tmp_path / "in.jsonl", [pair("Recite.", text) for text in texts]), "--out", tmp_path / "out")
    kept, dropped, *_ = results(tmp_path / "out")
    assert (kept["place"].to_list(), dropped.select("place", "step", "detail").rows()) == ([1, 3], [(2, "near", "row 0000000000 stays")])


def test_questions_on_one_long_passage_are_no_duplicates_unless_they_are_alike_themselves(tmp_path):
    passage = " ".join(f"w{i}" for i in range(900))
    asked = [("Which is the first word?", "The first word is w0."), ("How many are there?", "Nine hundred of them."), ("Which is the first word ?", "The first word is w0."), ("How many are there?", "Nine hundred of them.")]
    run(write_lines(tmp_path / "in.jsonl", [{"question": query, "context": passage, "answer": answer} for query, answer in asked]), "--out", tmp_path / "out")
    kept, dropped, *_ = results(tmp_path / "out")
    assert (kept["place"].to_list(), dropped.select("place", "step").rows()) == ([1, 2], [(3, "near"), (4, "exact")])


def test_rows_with_one_id_are_different_rows(tmp_path):
    run(write_lines(tmp_path / "in.jsonl", [pair("A?", "One a.", id=7), pair("B?", "One b.", id=7)]), "--out", tmp_path / "out")
    assert results(tmp_path / "out")[0]["id"].to_list() == ["0000000000", "0000000001"]


def test_batches_and_runs_change_no_byte(tmp_path, monkeypatch):
    source = write_lines(tmp_path / "in.jsonl", MIXED * 3)
    run(source, "--out", tmp_path / "a")
    run(source, "--out", tmp_path / "b")
    monkeypatch.setattr(intake, "BATCH_ROWS", 2)
    run(source, "--out", tmp_path / "c")
    for name in RESULTS:
        assert (tmp_path / "a" / name).read_bytes() == (tmp_path / "b" / name).read_bytes()
    assert pl.read_parquet(tmp_path / "a/kept.parquet").equals(pl.read_parquet(tmp_path / "c/kept.parquet"))
    assert (tmp_path / "a/funnel.json").read_bytes() == (tmp_path / "c/funnel.json").read_bytes()


def test_curating_what_is_kept_drops_nothing_more(tmp_path):
    run(write_lines(tmp_path / "in.jsonl", MIXED), "--out", tmp_path / "a")
    run(tmp_path / "a/kept.parquet", "--out", tmp_path / "b")
    first, second = results(tmp_path / "a")[0], results(tmp_path / "b")[0]
    assert second.select("context", "query", "answer").equals(first.select("context", "query", "answer"))


def test_a_file_of_which_all_is_rejected_says_so_and_is_no_error(tmp_path):
    code, table, _ = run(write_lines(tmp_path / "in.jsonl", [{"a": 1}, "no"]), "--out", tmp_path / "out")
    kept, dropped, rejected, funnel = results(tmp_path / "out")
    assert (code, kept.height, dropped.height, len(rejected), funnel["wording"]) == (0, 0, 0, 2, {})
    assert "no_fields 1" in table


@pytest.mark.parametrize(
    ("name", "data", "code"),
    [
        ("a.jsonl", b"", 1),
        ("a.json", b'[{"text": "a"}, {"te', 1),
        ("a.jsonl.gz", gzip.compress(b'{"text": "a b"}\n' * 2000)[:-20], 1),
        ("a.parquet", b"no", 1),
        ("a.txt", b"no", 1),
        ("none.jsonl", None, 3),
        ("folder.jsonl", "folder", 3),
    ],
)
def test_a_broken_file_is_one_line_and_an_exit_code_and_changes_nothing(tmp_path, name, data, code):
    write_lines(tmp_path / "good.jsonl", MIXED)
    run(tmp_path / "good.jsonl", "--out", tmp_path / "out")
    before = {path.name: path.read_bytes() for path in (tmp_path / "out").iterdir()}
    if data == "folder":
        (tmp_path / name).mkdir()
    elif data is not None:
        (tmp_path / name).write_bytes(data)
    found, out, talk = run(tmp_path / name, "--out", tmp_path / "out")
    assert (found, out, len([line for line in talk.splitlines() if line.startswith("espalier: ")])) == (code, "", 1)
    assert {path.name: path.read_bytes() for path in (tmp_path / "out").iterdir()} == before


def test_quota_and_field_go_together_and_an_out_that_is_a_file_is_named(tmp_path):
    source = write_lines(tmp_path / "in.jsonl", MIXED)
    assert run(source, "--out", tmp_path / "out", "--quota", 3)[0] == 2
    assert run(source, "--out", source)[0] == 2
    code, _, talk = run(source, "--out", source / "below")
    assert (code, "cannot be written to" in talk) == (1, True)


def test_a_killed_run_leaves_the_old_results_whole_and_the_next_one_cleans_up(tmp_path):
    write_lines(tmp_path / "small.jsonl", MIXED)
    run(tmp_path / "small.jsonl", "--out", tmp_path / "out")
    before = {name: (tmp_path / "out" / name).read_bytes() for name in RESULTS}
    draw = random.Random(5)
    write_lines(tmp_path / "big.jsonl", [pair("Recite.", " ".join(f"w{draw.randrange(5000)}" for _ in range(300))) for _ in range(4000)])
    path = os.pathsep.join([str(ROOT / "src"), *filter(None, [os.environ.get("PYTHONPATH")])])
    child = subprocess.Popen(
        [sys.executable, "-m", "espalier.cli", "curate", "big.jsonl", "--out", "out"], env=os.environ | {"PYTHONPATH": path}, stderr=subprocess.DEVNULL, stdout=subprocess.DEVNULL
    )
    started = time.monotonic()
    while not list((tmp_path / "out").glob(".curate-*/parts")) and time.monotonic() - started < 60:
        time.sleep(0.01)
    child.send_signal(signal.SIGKILL)
    child.wait()
    assert len(list((tmp_path / "out").glob(".curate-*"))) == 1
    assert {name: (tmp_path / "out" / name).read_bytes() for name in RESULTS} == before
    run(tmp_path / "small.jsonl", "--out", tmp_path / "out")
    results(tmp_path / "out")


def test_standard_limits_are_those_of_the_repository(monkeypatch):
    assert limits_of() == STANDARD
    monkeypatch.chdir(ROOT)
    assert limits_of() == STANDARD


def test_rules_that_params_names_are_the_ones_that_drop(tmp_path):
    text = (ROOT / "params.yaml").read_text().replace("  rules: []   ", "  rules: [form]   ")
    assert parse_params(text).filter.rules == ("form",)
    (tmp_path / "params.yaml").write_text(text)
    run(write_lines(tmp_path / "in.jsonl", [pair("A?", "As an AI I cannot help."), pair("B?", "One (of two.")]), "--out", tmp_path / "out")
    assert results(tmp_path / "out")[1]["reason"].to_list() == ["form:brackets"]
    assert set(FAMILIES) > {"form"}


def test_the_table_counts_down_to_what_is_kept():
    funnel = {"records": 12, "rejected": {"json": 2}, "rows": 10, "dropped": {"rules": {"a": 1, "b": 2, "c": 1, "d": 1, "e": 1}, "exact": {"exact": 1}}, "kept": 3}
    assert table_of(funnel) == [
        "step   in  dropped  left  reasons",
        "read   12        2    10  json 2",
        "rules  10        6     4  b 2, a 1, c 1, d 1 and 1 more",
        "exact   4        1     3",
    ]


SETS = [
    *(f"alpaca_subsets/{name}.json.gz" for name in ("random_9k", "claude_t45", "dolly_3k", "helpfulness_t45")),
    *(f"codealpaca/{name}.json.gz" for name in ("code_alpaca_2k", "new_codealpaca")),
    *(f"gpteacher_dedup_ladder/{name}.json.gz" for name in ("toolformer-dedupe-only-dataset", "toolformer-similarity-0.6-dataset", "roleplay-simple-deduped-roleplay-dataset")),
    *(f"gsm8k/{name}.jsonl.gz" for name in ("train", "test")),
    "self_instruct/seed_tasks.jsonl",
    *(f"llamafactory_demos/{name}" for name in ("alpaca_en_demo.json", "c4_demo.jsonl", "dpo_en_demo.json", "kto_en_demo.json")),
    "xquad_en/xquad_en.jsonl",
]


@pytest.mark.parametrize("name", SETS)
def test_the_funnel_of_real_data_adds_up(tmp_path, name):
    if not (DATA / name).exists():
        pytest.skip(f"shared/data/{name} is not here")
    code, *_ = run(DATA / name, "--out", tmp_path / "out")
    funnel = results(tmp_path / "out")[-1]
    assert (code, funnel["rows"] > 0.9 * funnel["records"]) == (0, True)


@pytest.mark.slow
def test_a_large_file_is_curated_in_bounded_memory(tmp_path, capsys):
    """Of MEGABYTES; the figures of LOG.md are those of 1,000."""
    draw = random.Random(7)
    lexicon = [f"{draw.choice('bcdfgklmnprst')}{draw.choice('aeiou')}{draw.choice('bdklmnrst')}{i % 977}" for i in range(20_000)]
    sentences = [" ".join(["the", *draw.choices(lexicon, k=11)]) + "." for _ in range(200_000)]
    rows = 0
    with (tmp_path / "big.jsonl").open("w") as file:
        while file.tell() < MEGABYTES * 10**6:
            answer = " ".join(draw.choices(sentences, k=14))
            file.write(json.dumps(pair(f"Write number {rows}.", answer)) + "\n")
            rows += 1
    path = os.pathsep.join([str(ROOT / "src"), *filter(None, [os.environ.get("PYTHONPATH")])])
    command = [sys.executable, "-m", "espalier.cli", "curate", "big.jsonl", "--out", "out"]
    done = subprocess.run(command, env=os.environ | {"PYTHONPATH": path}, capture_output=True, text=True, check=True)
    peak_mib = int(done.stderr.rsplit("peak memory ", 1)[1].split(" MiB")[0].replace(",", ""))
    with capsys.disabled():
        print(f"\n{rows:,} rows, {MEGABYTES:,} MB: peak {peak_mib:,} MiB\n{done.stdout}")
    assert results(tmp_path / "out")[-1]["rows"] == rows
    assert peak_mib < 2000
