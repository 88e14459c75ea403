"""Tasks of lm-evaluation-harness on a student: against plain passes of transformers and espalier's own engine, on public items and on small ones."""

import gzip
import itertools
import json
import math
import os
import sys
from pathlib import Path

import polars as pl
import pytest
import torch
from click.testing import CliRunner
from transformers import AutoModelForCausalLM, AutoTokenizer

from espalier.errors import EspalierError
from espalier.harness import offline_and_quiet, open_student, run_tasks, task_metrics
from espalier.task_files import find_tasks, open_tasks
from espalier.teachers.base import Request
from espalier.teachers.hf import HfTeacher
from stages import evaluate, exam, taxonomy
from tests.closure import ROOT
from tests.test_task_files import PLAIN, SHIPPED, lines
from tests.worlds import tiny_model, tiny_params

pytest.importorskip("lm_eval", reason="`make .venv/ready` installs lm-evaluation-harness")
pytestmark = pytest.mark.filterwarnings("ignore")  # the harness's and datasets' own are not ours to mend
SHARED = ROOT.parent / "shared/data"
STORIES = Path(os.environ.get("ESPALIER_STORIES", SHARED / "stories260K"))
WORDS = [f"w{i}" for i in range(20)]


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tiny_model(tmp_path_factory.mktemp("model"), words=WORDS)


def asked(model, names, *, files, data, cache, form="text", items=0, batch=8, max_tokens=8):
    """Metrics, rows and student of the tasks."""
    cache.mkdir(exist_ok=True)
    told = []
    with offline_and_quiet():
        opened = open_tasks(find_tasks(names, folder=files), data=data, cache=cache, form=form)
        student = open_student(model, batch=batch, max_tokens=max_tokens, done=lambda *numbers: told.append(numbers))
        metrics, rows = run_tasks(student, opened, items=items)
    return metrics, rows, student, told


def task(folder, name, rows, **changes):
    """A task file over rows of our own."""
    lines(folder / f"data/{name}.jsonl", rows)
    config = {**PLAIN, "task": name, "dataset_kwargs": {"data_files": {"test": f"{name}.jsonl"}}, **changes}
    (folder / f"{name}.yaml").write_text(json.dumps({key: value for key, value in config.items() if value is not None}))


def own(folder, model, names, **options):
    return asked(model, names, files=folder, data=folder / "data", cache=folder / "cache", **options)


def plain_pass(model, context, reply):
    """(log-probability in nats of the ids `reply` after `context`, whether each is the likeliest), by one pass in double precision behind the logits."""
    with torch.inference_mode():
        logprobs = torch.log_softmax(model(input_ids=torch.tensor([context + reply])).logits[0].double(), -1)
    behind = logprobs[len(context) - 1 : -1]
    return sum(float(row[i]) for row, i in zip(behind, reply, strict=True)), behind.argmax(-1).tolist() == reply


@pytest.fixture(scope="module")
def public(tmp_path_factory):
    """Two pairs of each of BLiMP's 67 paradigms and 40 passages of LAMBADA, as they stand in the public files, and a real model of 260 K parameters."""
    for need in (STORIES, SHARED / "blimp", SHARED / "lambada"):
        if not need.is_dir():
            pytest.skip(f"no {need}: public items and a small public model")
    data = tmp_path_factory.mktemp("public")
    with gzip.open(SHARED / "blimp/blimp.jsonl.gz", "rt") as file:
        pairs = [json.loads(line) for line in itertools.islice(file, 0, None, 500)]
    with gzip.open(SHARED / "lambada/lambada_test.jsonl.gz", "rt") as file:
        passages = [json.loads(line) for line in itertools.islice(file, 0, 4000, 100)]
    for name, rows in (("blimp", pairs), ("lambada_test", passages)):
        (data / f"{name}.jsonl.gz").write_bytes(gzip.compress("".join(json.dumps(row) + "\n" for row in rows).encode()))
    return data, pairs, passages


@pytest.fixture(scope="module")
def stories():
    return AutoModelForCausalLM.from_pretrained(STORIES, dtype="float32").eval(), AutoTokenizer.from_pretrained(STORIES)


def test_blimp_pairs_agree_with_plain_passes(public, stories, tmp_path):
    data, pairs, _ = public
    metrics, rows, _, _ = asked(STORIES, ["minimal_pairs"], files=SHIPPED, data=data, cache=tmp_path / "cache", form="chat")
    model, tokenizer = stories
    start = [tokenizer.bos_token_id]
    direct = [[plain_pass(model, start, tokenizer.encode(pair[side], add_special_tokens=False))[0] for side in ("good", "bad")] for pair in pairs]
    right = [float(good > bad) for good, bad in direct]
    assert len(pairs) == rows.height == 134
    assert rows["value"].to_list() == right
    assert metrics == {"task_minimal_pairs_acc": pytest.approx(sum(right) / 134)}
    assert 0 < sum(right) < 134
    found = [[nats for nats, _ in json.loads(reply)] for reply in rows["reply"]]
    assert found == [pytest.approx(pair, abs=2e-3) for pair in direct]
    assert rows["leaf"].to_list() == [pair["uid"] for pair in pairs]
    assert rows["leaf"].n_unique() == 67


def test_lambada_words_agree_with_plain_passes(public, stories, tmp_path):
    data, _, passages = public
    metrics, rows, student, _ = asked(STORIES, ["last_word"], files=SHIPPED, data=data, cache=tmp_path / "cache", form="chat")
    model, tokenizer = stories
    direct = []
    for passage in passages:
        text, _, word = passage["text"].strip().rpartition(" ")
        context = tokenizer.encode(text)
        whole = tokenizer.encode(f"{text} {word}")
        assert (context[0], whole[: len(context)]) == (tokenizer.bos_token_id, context)
        assert len(whole) <= 512
        direct.append(plain_pass(model, context, whole[len(context) :]))
    assert student.cut == 0
    found = [json.loads(reply) for reply in rows.filter(pl.col("metric") == "acc")["reply"]]
    assert [nats for nats, _ in found] == pytest.approx([nats for nats, _ in direct], abs=2e-3)
    assert [greedy for _, greedy in found] == [greedy for _, greedy in direct]
    assert rows.filter(pl.col("metric") == "acc")["target"].to_list() == [f" {passage['text'].strip().split(' ')[-1]}" for passage in passages]
    assert metrics["task_last_word_acc"] == pytest.approx(sum(greedy for _, greedy in direct) / 40)
    assert math.log(metrics["task_last_word_perplexity"]) == pytest.approx(-sum(nats for nats, _ in direct) / 40, abs=1e-3)


def test_neither_the_batch_nor_a_cut_at_the_first_items_changes_an_item(public, tmp_path):
    data = public[0]
    whole = asked(STORIES, ["minimal_pairs", "last_word"], files=SHIPPED, data=data, cache=tmp_path / "cache", batch=32)[1]
    some = asked(STORIES, ["minimal_pairs", "last_word"], files=SHIPPED, data=data, cache=tmp_path / "again", batch=1, items=7)[1]
    assert some.height == 7 + 7 * 2
    same = whole.filter(pl.col("item") < 7)
    assert same.select("task", "item", "metric", "target").equals(some.select("task", "item", "metric", "target"))
    assert same["value"].to_list() == pytest.approx(some["value"].to_list(), abs=1e-3)


QUESTIONS = [{"question": "w1 w2 ?", "good": "w3", "bad": "w4 w5"}, {"question": "w6", "good": "w7 w8", "bad": "w9"}]


def test_a_task_in_chat_form_is_asked_in_the_form_that_students_are_trained_in(folder, tmp_path):
    task(tmp_path, "choice", QUESTIONS, doc_to_text="{{ question }}", target_delimiter=" ")
    metrics, rows, _, _ = own(tmp_path, folder, ["choice"], form="chat")
    model, tokenizer = AutoModelForCausalLM.from_pretrained(folder), AutoTokenizer.from_pretrained(folder)

    def ids(text):
        return tokenizer.convert_tokens_to_ids(text.split())

    direct = [[plain_pass(model, ids(f"<user> {one['question']} <assistant>"), ids(one[side]))[0] for side in ("good", "bad")] for one in QUESTIONS]
    assert [[nats for nats, _ in json.loads(reply)] for reply in rows["reply"]] == [pytest.approx(pair, abs=1e-5) for pair in direct]
    assert metrics == {"task_choice_acc": sum(good > bad for good, bad in direct) / 2}
    text = own(tmp_path, folder, ["choice"], form="text")[1]
    first = plain_pass(model, ids("w1 w2 ?"), ids("w3"))[0]
    assert json.loads(text["reply"][0])[0][0] == pytest.approx(first, abs=1e-5)


def test_a_reply_is_greedy_and_that_of_espaliers_own_engine(folder, tmp_path):
    asks = [f"w{i} w{i + 1} ?" for i in range(6)]
    requests = [Request((("user", text),), temperature=0.0, top_p=1.0, max_tokens=5, seed=0) for text in asks]
    replies = [completion.text for completion in HfTeacher(folder).generate(requests)]
    rows = [{"question": text, "answer": reply if i % 3 else "never"} for i, (text, reply) in enumerate(zip(asks, replies, strict=True))]
    lines(tmp_path / "data/questions.jsonl", rows)
    metrics, found, _, _ = asked(folder, ["short_answer"], files=SHIPPED, data=tmp_path / "data", cache=tmp_path / "cache", form="chat", max_tokens=5)
    assert found["reply"].to_list() == replies
    assert metrics == {"task_short_answer_exact_match": pytest.approx(4 / 6)}
    assert found["value"].to_list() == [0, 1, 1, 0, 1, 1]


def test_rolling_likelihoods_keep_the_words_that_they_are_weighed_by(folder, tmp_path):
    rows = [{"text": "w1 w2 w3"}, {"text": "w4"}]
    weighed = [{"metric": "word_perplexity", "aggregation": "weighted_perplexity", "higher_is_better": False}]
    task(tmp_path, "flow", rows, output_type="loglikelihood_rolling", doc_to_choice=None, doc_to_target="{{ text }}", metric_list=weighed)
    metrics, found, _, _ = own(tmp_path, folder, ["flow"])
    model, tokenizer = AutoModelForCausalLM.from_pretrained(folder), AutoTokenizer.from_pretrained(folder)
    direct = [plain_pass(model, [tokenizer.eos_token_id], tokenizer.convert_tokens_to_ids(row["text"].split()))[0] for row in rows]
    assert found["value"].to_list() == pytest.approx(direct, abs=1e-5)
    assert found["weight"].to_list() == [3, 1]
    assert metrics["task_flow_word_perplexity"] == pytest.approx(math.exp(-sum(direct) / 4), rel=1e-5)


def test_a_metric_of_all_items_together_has_no_value_by_item(folder, tmp_path):
    (tmp_path / "scores.py").write_text("def judge(doc, results):\n    return {'both': (doc['good'], results[0][0], 1)}\n\ndef count(values):\n    return len(values)\n")
    task(tmp_path, "whole", QUESTIONS, process_results="JUDGE", metric_list=[{"metric": "both", "aggregation": "COUNT", "higher_is_better": True}])
    file = tmp_path / "whole.yaml"
    file.write_text(file.read_text().replace('"JUDGE"', "!function scores.judge").replace('"COUNT"', "!function scores.count"))
    metrics, found, _, _ = own(tmp_path, folder, ["whole"])
    assert metrics == {"task_whole_both": 2}
    assert found.select("item", "value", "weight").rows() == [(0, None, None), (1, None, None)]


def test_a_group_of_the_harness_is_told_by_its_own_number_and_a_tag_by_those_of_its_tasks(folder, tmp_path, monkeypatch):
    import lm_eval.tasks

    theirs = tmp_path / "theirs"
    for name, rows in (("easy", QUESTIONS[:1]), ("hard", QUESTIONS), ("old", QUESTIONS)):
        packed = {"data_files": {"test": str(theirs / f"data/{name}.jsonl")}, "cache_dir": str(tmp_path / "cache")}
        task(theirs, name, rows, dataset_kwargs=packed)
        config = json.loads((theirs / f"{name}.yaml").read_text())
        (theirs / f"{name}.yaml").write_text("tag: school\n" * (name == "old") + "".join(f"{key}: {json.dumps(value)}\n" for key, value in config.items()))
    (theirs / "both.yaml").write_text("group: both\ntask: [easy, hard]\naggregate_metric_list: [{metric: acc, weight_by_size: true}]\n")
    real = lm_eval.tasks.TaskManager
    monkeypatch.setattr(lm_eval.tasks, "TaskManager", lambda include_defaults=True: real(include_path=str(theirs), include_defaults=False))
    found = find_tasks(["both", "school"], folder=tmp_path / "none", harness=theirs)
    with offline_and_quiet():
        opened = open_tasks(found, data=tmp_path, cache=tmp_path / "cache", form="text")
        metrics, rows = run_tasks(open_student(folder, batch=8, max_tokens=8, done=lambda *_: None), opened, items=0)
    right = {name: rows.filter(pl.col("task") == name)["value"].to_list() for name in ("easy", "hard", "old")}
    assert [len(values) for values in right.values()] == [1, 2, 2]
    assert metrics == {"task_both_acc": pytest.approx(sum(right["easy"] + right["hard"]) / 3), "task_old_acc": sum(right["old"]) / 2}


def test_requests_that_lose_their_beginning_are_counted_and_an_answer_without_room_ends_the_stage(folder, tmp_path):
    long = [{"good": "w1 " * 60 + "w2", "bad": "w3"}, {"good": "w1", "bad": "w2"}]  # the model's context has 64 tokens
    task(tmp_path, "long", [{"question": "w4 " * 10, **row} for row in long], doc_to_text="{{ question }}")
    assert own(tmp_path, folder, ["long"])[2].cut == 1
    task(tmp_path, "longer", [{"good": "w1 " * 70, "bad": "w2"}])
    with pytest.raises(EspalierError) as raised:
        own(tmp_path, folder, ["longer"])
    assert str(raised.value) == "params.yaml: evaluate.tasks: an answer has 70 tokens, but the student's context 64; take its task out"


def test_a_reply_longer_than_the_context_ends_the_stage_with_what_was_asked(folder, tmp_path):
    task(tmp_path, "talk", QUESTIONS, output_type="generate_until", doc_to_choice=None, doc_to_text="{{ question }}", doc_to_target="{{ good }}",
         generation_kwargs={"until": ["w9"], "max_gen_toks": 100}, metric_list=[{"metric": "exact_match", "aggregation": "mean", "higher_is_better": True}])  # fmt: skip
    with pytest.raises(EspalierError, match=r"requested max tokens to generate \(100\) must be less than model's maximum sequence length \(64\)"):
        own(tmp_path, folder, ["talk"])


def test_likelihoods_are_told_in_pieces_and_cut_there_they_stay_the_same(folder, tmp_path, monkeypatch):
    task(tmp_path, "choice", QUESTIONS * 5)
    whole, told = own(tmp_path, folder, ["choice"])[1:4:2]
    monkeypatch.setattr("espalier.harness.PIECE", 8)
    pieces, told_pieces = own(tmp_path, folder, ["choice"])[1:4:2]
    assert (told, told_pieces) == ([(20, 20)], [(8, 20), (16, 20), (20, 20)])
    assert [json.loads(reply)[0][0] for reply in pieces["reply"]] == pytest.approx([json.loads(reply)[0][0] for reply in whole["reply"]], abs=1e-5)


def test_a_groups_number_stands_for_its_members_and_what_is_no_number_is_left_out():
    results = {
        "results": {
            "apart": {"alias": "apart", "sample_len": 9, "acc,none": 0.5, "acc_stderr,none": 0.1, "perplexity,none": math.inf, "best,none": "N/A"},
            "inner a": {"acc,none": 0.1},
            "outer/b": {"acc,strict-match": 1},
            "lone": {"acc,none": 0.2},
        },
        "groups": {"inner": {"acc,none": 0.3}, "outer": {"acc,none": 0.4}},
    }
    members = {"outer": ["inner", "outer/b"], "inner": ["inner a"], "numberless": ["lone"]}
    assert task_metrics(results, members) == {"task_apart_acc": 0.5, "task_lone_acc": 0.2, "task_outer_acc": 0.4}
    assert task_metrics({**results, "groups": {}}, members) == {
        "task_apart_acc": 0.5, "task_inner_a_acc": 0.1, "task_outer_b_acc_strict_match": 1, "task_lone_acc": 0.2
    }  # fmt: skip


@pytest.fixture(scope="module")
def study(tmp_path_factory):
    """A folder in which the stage `evaluate` has all that it reads, and a task of our own."""
    place = tmp_path_factory.mktemp("study")
    (place / "data").mkdir()
    (place / "data/seeds").symlink_to(ROOT / "data/seeds")
    tiny_model(place / "data/train/lab/1/model", words=WORDS)
    task(place / "mine", "choice", QUESTIONS * 3, metadata={"leaf": "question"})
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(place)
        (place / "params.yaml").write_text(tiny_params())
        for stage in (taxonomy, exam):
            assert CliRunner().invoke(stage.main, []).exit_code == 0
    return place


def evaluated(study, monkeypatch, code=0, **changes):
    """Run the stage; its talk."""
    monkeypatch.chdir(study)
    (study / "params.yaml").write_text(tiny_params(**{f"evaluate.{name}": value for name, value in changes.items()}))
    done = CliRunner().invoke(evaluate.main, ["lab", "1"])
    assert done.exit_code == code, done.output
    return done.output


def written(study):
    numbers = json.loads((study / "metrics/evaluate/lab/1.json").read_text())["evaluate"]["lab"]["1"]
    files = {file.name: file.read_bytes() for file in (study / "data/evaluate/lab/1").iterdir()}
    return numbers, files


def test_without_tasks_the_stage_imports_nothing_of_the_harness(study, monkeypatch):
    for name in ("lm_eval", "datasets", "sacrebleu", "espalier.harness"):
        monkeypatch.setitem(sys.modules, name, None)  # an import of it would fail
    evaluated(study, monkeypatch)
    numbers, files = written(study)
    assert set(files) == {"items.parquet", "reference.parquet"}
    assert not any(name.startswith("task") for name in numbers)
    reference = pl.read_parquet(study / "data/evaluate/lab/1/reference.parquet")
    assert reference.height == pl.read_parquet(study / "data/exam/reference.parquet").height
    assert reference["bits"].sum() / reference["bytes"].sum() == pytest.approx(numbers["bits_per_byte"], rel=1e-12)


def test_tasks_are_added_to_what_the_stage_writes_and_change_none_of_it(study, monkeypatch):
    evaluated(study, monkeypatch)
    before, files = written(study)
    setting = {"tasks": "[choice]", "task_files": "mine", "task_data": "mine/data", "task_items": "5"}
    said = evaluated(study, monkeypatch, **setting)
    numbers, more = written(study)
    assert {name: value for name, value in numbers.items() if name in before} == before
    assert set(numbers) - set(before) == {"task_choice_acc"}
    assert {name: more[name] for name in files} == files
    rows = pl.read_parquet(study / "data/evaluate/lab/1/tasks.parquet")
    assert rows.select("task", "item", "leaf", "metric").rows() == [("choice", i, QUESTIONS[i % 2]["question"], "acc") for i in range(5)]
    assert rows["value"].mean() == numbers["task_choice_acc"]
    assert "evaluate: 1 tasks beside the exam: choice\n" in said
    evaluated(study, monkeypatch, **setting)
    assert written(study)[1] == more  # the same bytes


def test_an_unknown_task_ends_the_stage_before_a_student_is_opened(study, monkeypatch):
    monkeypatch.setattr(evaluate, "HfTeacher", lambda *_, **__: pytest.fail("a student was opened"))
    monkeypatch.setitem(sys.modules, "espalier.harness", None)  # and before the harness is imported, which takes seconds
    said = evaluated(study, monkeypatch, code=2, tasks="[arc_eazy]")
    assert said == (
        'evaluate@lab-1: params.yaml: evaluate.tasks names "arc_eazy", which is neither a file of evaluate.task_files nor a task of lm-evaluation-harness '
        '0.4.13; did you mean "arc_easy"?\n'
    )


def test_data_that_are_missing_end_the_stage_before_a_student_is_opened(study, monkeypatch):
    monkeypatch.setattr(evaluate, "HfTeacher", lambda *_, **__: pytest.fail("a student was opened"))
    said = evaluated(study, monkeypatch, code=3, tasks="[last_word]")
    assert said.startswith("evaluate@lab-1: data/seeds/tasks/last_word.yaml: its data lambada_test.jsonl.gz are not in data/seeds/task_data;")
