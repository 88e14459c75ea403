"""The tasks of `evaluate.tasks`: which file each stands in, and the tasks of lm-evaluation-harness that it makes, with their data.

A name is looked for in the folder `evaluate.task_files` first (NAME.yaml), then among the harness's own tasks, groups and tags, whose 14,000 files are searched
as text (0.4 s; its own index takes 6 to 17 s), so that a misspelt name ends the stage before the harness is even imported. A name that ends in .yaml is the
path of a task file. Nothing is downloaded: data are local files, or data sets that the machine has in its Hugging Face cache already.
Source: EleutherAI/lm-evaluation-harness 0.4.13 (`TaskManager.load`).
"""

import contextlib
import os
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from espalier.errors import EspalierError, InputMissing, ParamsError, shown
from espalier.params import FILE, did_you_mean

VERSION = "0.4.13"
INSTALL = f"pip install -r requirements.txt && pip install --no-deps lm_eval=={VERSION}"
ENDINGS = (".yaml", ".yml")
FORMS = ("chat", "text")
BY_SKLEARN = {"f1_score", "matthews_corrcoef"}  # the harness's ways of summing up that import scikit-learn, and only once all items have run
# `task: name` or `group: name` at the start of a line; `tag:` with a name or a list of them below.
NAMED = re.compile(rb"^['\"]?(task|group|tag)['\"]?:[ \t]*['\"]?([\w.@/()+-]+)['\"]?[ \t]*(?:#.*)?$", re.M)
TAGS = re.compile(rb"^['\"]?tag['\"]?:[ \t]*\n((?:[ \t]*-[ \t]*[^\n]+\n?)+)", re.M)
LISTED = re.compile(rb"^[ \t]*-[ \t]*['\"]?([\w.@/()+-]+)", re.M)


@dataclass(frozen=True, slots=True)
class TaskFile:
    """A task by the name that params.yaml gives it. file: where it stands; None for a group or tag of the harness, which has several."""

    name: str
    file: Path | None
    ours: bool

    @property
    def where(self) -> str:
        """What a message calls it."""
        return str(self.file) if self.ours else f"{FILE}: evaluate.tasks: {self.name}"


@dataclass(frozen=True, slots=True)
class Opened:
    """An entry of `evaluate.tasks` with its data. loaded: the harness's tasks and groups by name. form: how its prompts reach a student, chat or text."""

    loaded: dict[str, Any]
    form: str


def find_tasks(names: Sequence[str], *, folder: Path, harness: Path | None = None) -> list[TaskFile]:
    """The file of each task, in the order of the names. folder: where task files of the user's lie; harness: the package's tasks (None: as installed).

    Raises: ParamsError for a name that nothing bears, with the nearest one; EspalierError when lm-evaluation-harness is not installed.
    """
    harness = harness or _installed()
    own = {file.stem: file for file in sorted(folder.glob("*")) if file.suffix in ENDINGS}
    found = [_own(name, own) for name in names]
    theirs = _names_in(harness) if None in found else {}
    return [one or _theirs(name, own, theirs) for name, one in zip(names, found, strict=True)]


def open_tasks(found: Sequence[TaskFile], *, data: Path, cache: Path, form: str) -> list[Opened]:
    """The tasks with their data read. data: folder of the data files that the user's task files name; cache: an empty folder for what the harness makes of
    them, needed until the tasks have run; form: of the tasks whose file does not say `metadata: {form: ..}`.

    Raises: ParamsError for a task file that is refused, and for a task of pictures or of code that would be run; InputMissing for data that are not there;
    EspalierError for a Python package that a task needs and that is not installed.
    """
    from lm_eval.tasks import TaskManager

    files = TaskManager(include_defaults=False)
    everything = TaskManager() if any(one.file is None for one in found) else files
    opened: list[Opened] = []
    for one in found:
        with told(one.where, Exception):
            spec = _configured(one.file, data, cache) if one.ours and one.file else str(one.file or one.name)
            loaded = dict((files if one.file else everything).load([spec]))
        for name, task in loaded["tasks"].items():
            if any(name in other.loaded["tasks"] for other in opened):
                raise ParamsError(f'{one.where}: its task is called "{name}", as another one of evaluate.tasks is; take one out, or rename it')
            with told(one.where):
                _check_kind(task, one.where)
        opened.append(Opened(loaded, _form(loaded["tasks"], form, one.where)))
    return opened


def metadata(task: Any) -> dict[str, Any]:
    """What a task file says under `metadata`, which the harness hands through."""
    found = getattr(task.config, "metadata", None)
    return found if isinstance(found, dict) else {}


@contextlib.contextmanager
def told(where: str, *kinds: type[Exception]) -> Iterator[None]:
    """What the harness raises, as an error of ours that says where and what to do; of other exceptions only `kinds`."""
    from datasets.exceptions import DatasetNotFoundError
    from huggingface_hub.errors import OfflineModeIsEnabled

    try:
        yield
    except EspalierError:
        raise
    except (ConnectionError, DatasetNotFoundError, OfflineModeIsEnabled) as error:
        raise InputMissing(
            f"{where}: its data set is not on this machine, and a stage downloads nothing ({_line(error)}); fetch it with `datasets.load_dataset` before, or "
            "write a task file over files of your own"
        ) from error
    except ModuleNotFoundError as error:
        package = (error.name or "").partition(".")[0]
        raise EspalierError(
            f"{where}: needs the Python package {package}, which is not installed; install it, or all that tasks use: pip install lm_eval=={VERSION}"
        ) from error
    except kinds as error:
        raise ParamsError(f"{where}: lm-evaluation-harness refuses it ({type(error).__name__}: {_line(error)}); mend the task file, or take it out") from error


def _own(name: str, own: dict[str, Path]) -> TaskFile | None:
    """The user's task of that name or path; None where the harness is to be asked."""
    if not name.endswith(ENDINGS):
        return TaskFile(name, own[name], ours=True) if name in own else None
    if not Path(name).is_file():
        raise ParamsError(f'{FILE}: evaluate.tasks names the file "{name}", which is not there; name a file, or a task without .yaml')
    return TaskFile(name, Path(name), ours=True)


def _theirs(name: str, own: dict[str, Path], theirs: dict[str, Path | None]) -> TaskFile:
    if name not in theirs:
        near = did_you_mean(name, [*own, *theirs])
        raise ParamsError(
            f'{FILE}: evaluate.tasks names "{name}", which is neither a file of evaluate.task_files nor a task of lm-evaluation-harness {VERSION}; '
            f"{near if near.startswith('did') else '`lm-eval ls tasks` lists the latter'}"
        )
    return TaskFile(name, theirs[name], ours=False)


def _names_in(folder: Path) -> dict[str, Path | None]:
    """The harness's names: a task's with its file, a group's and a tag's with None."""
    tasks: dict[str, Path | None] = {}
    several: set[str] = set()
    for path in sorted(Path(at) / file for at, _, files in os.walk(folder) for file in files if not file.endswith((".py", ".pyc", ".md"))):
        text = path.read_bytes()
        for kind, name in NAMED.findall(text):
            if kind == b"task" and path.suffix in ENDINGS:
                tasks.setdefault(name.decode(), path)
            elif kind != b"task":
                several.add(name.decode())
        several.update(name.decode() for names in TAGS.findall(text) for name in LISTED.findall(names))
    return tasks | dict.fromkeys(several)


def _installed() -> Path:
    """The folder of the harness's own tasks."""
    spec = find_spec("lm_eval")
    if spec is None or not spec.submodule_search_locations:
        raise EspalierError(f"{FILE}: evaluate.tasks asks for lm-evaluation-harness, which is not installed; run `{INSTALL}`")
    return Path(next(iter(spec.submodule_search_locations))) / "tasks"


def _configured(file: Path, data: Path, cache: Path) -> dict[str, Any]:
    """What a task file says, with its data files taken from the folder `data`."""
    from lm_eval.tasks._yaml_loader import load_yaml

    config = load_yaml(file)
    if not isinstance(config.get("task"), str):
        raise ParamsError(f"{file}: task is {shown(config.get('task'))}; it must be the name of one task (in place of a group, list tasks in evaluate.tasks)")
    given = config.get("dataset_kwargs") or {}
    if not isinstance(given, dict):
        raise ParamsError(f"{file}: dataset_kwargs is {shown(given)}; it must be a mapping, with the data under data_files")
    if "data_files" in given:
        given = {**given, "data_files": _placed(given["data_files"], data, file)}
    return {**config, "dataset_kwargs": {**given, "cache_dir": str(cache)}}


def _placed(named: Any, data: Path, file: Path) -> Any:
    """The paths of data files, which may stand in lists and by split."""
    if isinstance(named, dict):
        return {split: _placed(one, data, file) for split, one in named.items()}
    if isinstance(named, list):
        return [_placed(one, data, file) for one in named]
    if not isinstance(named, str) or Path(named).is_absolute() or ".." in Path(named).parts:
        raise ParamsError(f"{file}: data_files names {shown(named)}; it must be a file of the folder evaluate.task_data ({data})")
    if not (data / named).is_file():
        raise InputMissing(f"{file}: its data {named} are not in {data}; put them there, or name their folder: -S evaluate.task_data=FOLDER")
    return str((data / named).absolute())


def _form(tasks: Mapping[str, Any], form: str, where: str) -> str:
    said = {metadata(task).get("form", form) for task in tasks.values()}
    if len(said) > 1 or not said <= set(FORMS):
        raise ParamsError(f"{where}: metadata.form is {', '.join(sorted(map(str, said)))}; it must be one of {', '.join(FORMS)}")
    return said.pop()


def _check_kind(task: Any, where: str) -> None:
    if getattr(task, "UNSAFE_CODE", False):
        raise ParamsError(f"{where}: runs code that the student writes, which espalier does not; take it out")
    if getattr(task, "MULTIMODAL", False):
        raise ParamsError(f"{where}: shows pictures or sounds, and a student reads text; take it out")
    if find_spec("sklearn") is None and any(getattr(how, "__name__", "") in BY_SKLEARN for how in task.aggregation().values()):
        raise ModuleNotFoundError(name="scikit-learn")


def _line(error: Exception) -> str:
    return " ".join(str(error).split())[:300]
