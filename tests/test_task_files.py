"""Where tasks of lm-evaluation-harness are found, and what is wrong with those that are refused."""

import gzip
import json
import os
import shutil
from pathlib import Path

import pytest
from ruamel.yaml import YAML

from espalier import task_files
from espalier.errors import EspalierError, InputMissing, ParamsError
from espalier.harness import offline_and_quiet
from espalier.task_files import find_tasks, open_tasks
from tests.closure import ROOT

pytest.importorskip("lm_eval", reason="`make .venv/ready` installs lm-evaluation-harness")
pytestmark = pytest.mark.filterwarnings("ignore")  # the harness's and datasets' own are not ours to mend
SHIPPED = ROOT / "data/seeds/tasks"
PAIRS = [{"good": "w1 w2", "bad": "w2 w1", "uid": "order"}, {"good": "w3", "bad": "w4", "uid": "choice"}]
PLAIN = {
    "task": "pairs", "dataset_path": "json", "dataset_kwargs": {"data_files": {"test": "pairs.jsonl"}}, "test_split": "test", "num_fewshot": 0,
    "output_type": "multiple_choice", "doc_to_text": "", "doc_to_choice": "{{ [good, bad] }}", "doc_to_target": 0, "target_delimiter": "",
    "metric_list": [{"metric": "acc", "aggregation": "mean", "higher_is_better": True}],
}  # fmt: skip


def lines(path, rows):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return path


def write_task(folder, *, text=None, **changes):
    """A task file `pairs.yaml` with some fields changed (None takes one out), or with `text`."""
    config = {name: value for name, value in {**PLAIN, **changes}.items() if value is not None}
    (folder / "pairs.yaml").write_text(json.dumps(config) if text is None else text)
    lines(folder / "data/pairs.jsonl", PAIRS)
    return folder


def opened(folder, *names, form="text", data=None, own=None):
    found = find_tasks(names or ("pairs",), folder=own or folder)
    (folder / "cache").mkdir(exist_ok=True)
    with offline_and_quiet():
        return open_tasks(found, data=data or folder / "data", cache=folder / "cache", form=form)


def refusal(kind, folder, *names, **options):
    with pytest.raises(kind) as raised:
        opened(folder, *names, **options)
    assert type(raised.value) is kind
    return str(raised.value)


@pytest.fixture
def harness(tmp_path):
    """A folder like that of the harness's own tasks: a task, one in JSON's quotes with a tag, a group, a list of tags, a task in a file that is no YAML."""
    folder = tmp_path / "harness"
    (folder / "deep/er").mkdir(parents=True)
    (folder / "deep/er/easy.yaml").write_text("# a comment\ntag:\n  - school\n  - \"exams\"\ntask: easy_one # the first\noutput_type: x\n")
    (folder / "deep/quoted.yaml").write_text('"tag": "quizzes"\n"task": "quoted_(one)"\n  "task": "indented"\n')
    (folder / "all.yaml").write_text("group: everything\ntask:\n  - easy_one\n")
    (folder / "_template").write_text("task: template\ntag: school\n")
    (folder / "readme.md").write_text("task: told\n")
    return folder


def test_a_name_is_a_file_of_the_users_first_then_a_task_group_or_tag_of_the_harness(tmp_path, harness):
    (tmp_path / "easy_one.yaml").write_text("task: easy_one\n")
    (tmp_path / "mine.yml").write_text("task: mine\n")
    names = ("mine", "easy_one", "quoted_(one)", "everything", "school", "exams", "quizzes", str(tmp_path / "mine.yml"))
    found = find_tasks(names, folder=tmp_path, harness=harness)
    assert [(one.name, one.file, one.ours) for one in found] == [
        ("mine", tmp_path / "mine.yml", True), ("easy_one", tmp_path / "easy_one.yaml", True), ("quoted_(one)", harness / "deep/quoted.yaml", False),
        ("everything", None, False), ("school", None, False), ("exams", None, False), ("quizzes", None, False),
        (str(tmp_path / "mine.yml"), tmp_path / "mine.yml", True),
    ]  # fmt: skip


@pytest.mark.parametrize("name", ["easy_two", "template", "told", "indented", "easy_on"])
def test_an_unknown_task_is_named_with_the_nearest_one_or_with_the_way_to_list_them(tmp_path, harness, name):
    with pytest.raises(ParamsError) as raised:
        find_tasks([name], folder=tmp_path, harness=harness)
    start, _, hint = str(raised.value).partition("; ")
    assert start == (
        f'params.yaml: evaluate.tasks names "{name}", which is neither a file of evaluate.task_files nor a task of lm-evaluation-harness 0.4.13'
    )
    assert hint == ('did you mean "easy_one"?' if name.startswith("easy") else "`lm-eval ls tasks` lists the latter")


def test_a_task_file_that_is_not_there_is_named(tmp_path, harness):
    with pytest.raises(ParamsError) as raised:
        find_tasks([f"{tmp_path}/none.yaml"], folder=tmp_path, harness=harness)
    assert str(raised.value) == f'params.yaml: evaluate.tasks names the file "{tmp_path}/none.yaml", which is not there; name a file, or a task without .yaml'


def test_where_the_harness_is_not_installed_the_message_names_the_setting_and_the_install_line(tmp_path, monkeypatch):
    monkeypatch.setattr(task_files, "find_spec", lambda name: None)
    with pytest.raises(EspalierError) as raised:
        find_tasks(["easy_one"], folder=tmp_path)
    assert str(raised.value) == (
        "params.yaml: evaluate.tasks asks for lm-evaluation-harness, which is not installed; run "
        "`pip install -r requirements.txt && pip install --no-deps lm_eval==0.4.13`"
    )
    assert "--no-deps lm_eval==0.4.13" in (ROOT / "Makefile").read_text()


def test_the_installed_harness_has_its_well_known_tasks_and_a_misspelt_one_is_none(tmp_path):
    found = find_tasks(["arc_easy", "blimp", "lambada"], folder=tmp_path)
    assert [one.file.name if one.file else None for one in found] == ["arc_easy.yaml", None, None]
    with pytest.raises(ParamsError, match='did you mean "arc_easy"'):
        find_tasks(["arc_eazy"], folder=tmp_path)


@pytest.mark.parametrize("file", sorted(SHIPPED.glob("*.yaml")), ids=lambda file: file.stem)
def test_a_shipped_task_is_called_as_its_file_and_stands_in_the_readme_with_its_data(file):
    config = YAML(typ="safe").load(file)
    assert config["task"] == file.stem
    assert config["metadata"].get("form", "chat") in task_files.FORMS
    row = next(line for line in (SHIPPED / "README.md").read_text().splitlines() if line.startswith(f"| `{file.name}` |"))
    assert f"`{config['dataset_kwargs']['data_files']['test']}`" in row
    for one in config["metric_list"]:
        assert f"`task_{file.stem}_{one['metric']}`" in row


def test_a_task_takes_its_data_from_the_folder_packed_or_not_and_leaves_nothing_outside_the_cache(tmp_path, monkeypatch):
    monkeypatch.setattr("datasets.config.HF_DATASETS_CACHE", tmp_path / "elsewhere")
    folder = write_task(tmp_path, dataset_kwargs={"data_files": {"test": ["pairs.jsonl", "deep/more.jsonl.gz"]}})
    (folder / "data/deep").mkdir()
    (folder / "data/deep/more.jsonl.gz").write_bytes(gzip.compress(json.dumps(PAIRS[0]).encode()))
    (one,) = opened(folder)
    assert [doc["uid"] for doc in one.loaded["tasks"]["pairs"].eval_docs] == ["order", "choice", "order"]
    assert list((folder / "cache").rglob("*.arrow"))
    assert not (tmp_path / "elsewhere").exists()


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({"task": None, "group": "many"}, "task is empty; it must be the name of one task (in place of a group, list tasks in evaluate.tasks)"),
        ({"task": ["a", "b"]}, "task is a list of 2; it must be the name of one task (in place of a group, list tasks in evaluate.tasks)"),
        ({"dataset_kwargs": "pairs.jsonl"}, 'dataset_kwargs is "pairs.jsonl"; it must be a mapping, with the data under data_files'),
        ({"dataset_kwargs": {"data_files": 7}}, "data_files names 7; it must be a file of the folder evaluate.task_data (DATA)"),
        ({"dataset_kwargs": {"data_files": "/etc/passwd"}}, 'data_files names "/etc/passwd"; it must be a file of the folder evaluate.task_data (DATA)'),
        ({"dataset_kwargs": {"data_files": {"test": ["../x"]}}}, 'data_files names "../x"; it must be a file of the folder evaluate.task_data (DATA)'),
        ({"metadata": {"form": "verse"}}, "metadata.form is verse; it must be one of chat, text"),
        ({"unsafe_code": True}, "runs code that the student writes, which espalier does not; take it out"),
        ({"doc_to_image": "good"}, "shows pictures or sounds, and a student reads text; take it out"),
        ({"doc_to_txt": "x"}, "lm-evaluation-harness refuses it (TypeError: TaskConfig.__init__() got an unexpected keyword argument 'doc_to_txt'); REST"),
        ({"output_type": "dance"}, "lm-evaluation-harness refuses it (ValueError: Got invalid output_type 'dance', must be in "
         "'loglikelihood,multiple_choice,loglikelihood_rolling,generate_until'); REST"),
        ({"test_split": "exam"}, "lm-evaluation-harness refuses it (KeyError: 'exam'); REST"),
        ({"doc_to_choice": "{{ [good, bad }}"}, "lm-evaluation-harness refuses it (TemplateSyntaxError: unexpected '}', expected ']'); REST"),
    ],
)  # fmt: skip
def test_a_task_file_with_a_mistake_is_named_with_what_is_wrong(tmp_path, changes, expected):
    expected = expected.replace("DATA", str(tmp_path / "data")).replace("REST", "mend the task file, or take it out")
    assert refusal(ParamsError, write_task(tmp_path, **changes)) == f"{tmp_path}/pairs.yaml: {expected}"


@pytest.mark.parametrize("text", ["task: [", "- a\n- list\n", "just words", ""])
def test_a_task_file_that_is_no_yaml_or_no_mapping_is_refused_in_one_line(tmp_path, text):
    found = refusal(ParamsError, write_task(tmp_path, text=text))
    assert found.startswith(f"{tmp_path}/pairs.yaml: lm-evaluation-harness refuses it (")
    assert "\n" not in found


def test_data_that_are_not_there_are_named_with_the_setting_that_says_where(tmp_path):
    folder = write_task(tmp_path)
    (folder / "data/pairs.jsonl").unlink()
    assert refusal(InputMissing, folder) == (
        f"{tmp_path}/pairs.yaml: its data pairs.jsonl are not in {tmp_path}/data; put them there, or name their folder: -S evaluate.task_data=FOLDER"
    )


def test_a_data_set_of_the_hub_is_not_fetched(tmp_path, monkeypatch):
    monkeypatch.setattr("datasets.config.HF_DATASETS_CACHE", tmp_path / "no data sets")
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path / "nor here"))
    folder = write_task(tmp_path, dataset_path="nobody/has-this-data-set", dataset_kwargs=None)
    found = refusal(InputMissing, folder)
    assert found.startswith(f"{tmp_path}/pairs.yaml: its data set is not on this machine, and a stage downloads nothing (")
    assert "'nobody/has-this-data-set' on the Hub (OfflineModeIsEnabled)" in found  # refused here, not by a network that is down
    found = refusal(InputMissing, tmp_path, "arc_easy", own=tmp_path / "none")
    assert found.startswith("params.yaml: evaluate.tasks: arc_easy: its data set is not on this machine, and a stage downloads nothing (")


def test_a_python_package_that_a_task_wants_is_named_with_the_install_line(tmp_path):
    folder = write_task(tmp_path, text=json.dumps({**PLAIN, "process_docs": "DOCS"}).replace('"DOCS"', "!function words.docs"))
    (folder / "words.py").write_text("import a_package_that_nobody_has\n\ndef docs(rows):\n    return rows\n")
    assert refusal(EspalierError, folder) == (
        f"{tmp_path}/pairs.yaml: needs the Python package a_package_that_nobody_has, which is not installed; install it, or all that tasks use: "
        "pip install lm_eval==0.4.13"
    )


@pytest.mark.parametrize("metric", ["f1", "mcc"])
def test_a_metric_that_would_miss_scikit_learn_after_all_items_have_run_is_told_before(tmp_path, monkeypatch, metric):
    folder = write_task(tmp_path, metric_list=[{"metric": metric}])
    real = task_files.find_spec
    monkeypatch.setattr(task_files, "find_spec", lambda name: None if name == "sklearn" else real(name))
    assert refusal(EspalierError, folder) == (
        f"{tmp_path}/pairs.yaml: needs the Python package scikit-learn, which is not installed; install it, or all that tasks use: pip install lm_eval==0.4.13"
    )
    monkeypatch.setattr(task_files, "find_spec", lambda name: real("json"))
    assert list(opened(folder)[0].loaded["tasks"]["pairs"].aggregation()) == [metric]


def test_two_entries_with_a_task_of_one_name_are_refused(tmp_path):
    folder = write_task(tmp_path)
    shutil.copy(folder / "pairs.yaml", folder / "again.yaml")
    assert refusal(ParamsError, folder, "pairs", "again") == (
        f'{tmp_path}/again.yaml: its task is called "pairs", as another one of evaluate.tasks is; take one out, or rename it'
    )


def test_opening_tasks_changes_neither_the_environment_nor_whether_the_hub_may_be_asked(tmp_path, monkeypatch):
    import datasets
    import huggingface_hub.constants

    monkeypatch.setenv("HF_HUB_OFFLINE", "0")
    monkeypatch.delenv("HF_DATASETS_OFFLINE", raising=False)
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_OFFLINE", False)
    monkeypatch.setattr(datasets.config, "HF_HUB_OFFLINE", False)
    with offline_and_quiet():
        assert (os.environ["HF_HUB_OFFLINE"], os.environ["HF_DATASETS_OFFLINE"]) == ("1", "1")
        assert (huggingface_hub.constants.HF_HUB_OFFLINE, datasets.config.HF_HUB_OFFLINE) == (True, True)
    assert (os.environ["HF_HUB_OFFLINE"], "HF_DATASETS_OFFLINE" in os.environ) == ("0", False)
    assert (huggingface_hub.constants.HF_HUB_OFFLINE, datasets.config.HF_HUB_OFFLINE) == (False, False)


def test_the_shipped_files_of_pairs_and_words_open_over_public_items(tmp_path):
    shared = Path(ROOT.parent / "shared/data")
    if not (shared / "blimp").is_dir():
        pytest.skip("no ../shared/data with BLiMP and LAMBADA")
    (pairs,) = opened(tmp_path, "minimal_pairs", data=shared / "blimp", own=SHIPPED, form="chat")
    (words,) = opened(tmp_path, "last_word", data=shared / "lambada", own=SHIPPED, form="chat")
    assert [len(one.loaded["tasks"][name].eval_docs) for one, name in ((pairs, "minimal_pairs"), (words, "last_word"))] == [67_000, 5_153]
    assert (pairs.form, words.form) == ("text", "text")
