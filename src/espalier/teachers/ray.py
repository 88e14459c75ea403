"""The engine `ray`: replicas of another engine on the nodes of a Ray cluster, fed by Ray Data, for those who outgrow one machine.

Ray places the replicas, hands them batches, restarts one that dies and asks its batches again; nothing here schedules. Requests are cut into batches in
their order before Ray sees them, and each batch is a block of its own. So a batch holds the same rows whoever answers it and however often it is asked, and
what depends on the batch (the last bits of floating-point sums) comes out the same after a kill; nodes with different processors may differ there.
All nodes need this package and the teacher's folder at the same path; each replica compares the fingerprint of what it sees there.
Source: arXiv 2501.12407 (Ray Data's streaming batch model).
"""

import json
import os
import warnings
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, astuple, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from espalier.errors import EspalierError
from espalier.prompts import Messages
from espalier.settings import Ray
from espalier.teachers.base import NOT_BEGUN, Completion, Done, Request, Teacher, never
from espalier.teachers.cluster import failure, join_cluster, last_words
from espalier.teachers.pin import fingerprint

if TYPE_CHECKING:
    import pyarrow
    import ray

Work = Callable[[Teacher, Any], Sequence[object]]


@dataclass(frozen=True, slots=True)
class Model:
    """What a replica holds. Small: Ray sends it again to a replica that it restarts."""

    open: Callable[[Path], Teacher]
    folder: Path
    fingerprint: str
    gpus: float


class RayTeacher:
    """Replicas of an engine with one model folder; see teachers/base.py for the interface. They start with each call and end with it."""

    def __init__(self, settings: Ray, folder: Path, *, open_replica: Callable[[Path], Teacher]) -> None:
        """Joins or starts the cluster. open_replica: makes the engine of the folder, on a node. Raises: EspalierError when there is no cluster to be had."""
        self.fingerprint = fingerprint(folder)
        self._settings = settings
        self._stop: Callable[[], bool] = never
        self._model = Model(open_replica, folder.resolve(), self.fingerprint, settings.gpus)
        join_cluster(settings)

    def stop_when(self, wanted: Callable[[], bool]) -> None:
        """Once `wanted()` is true, no further batch is waited for; those under way are given up, and come back as NOT_BEGUN."""
        self._stop = wanted

    def generate(self, requests: Sequence[Request]) -> list[Completion]:
        """One completion for each request, in their order."""
        return self.stream(requests, lambda completions: None)

    def stream(self, requests: Sequence[Request], done: Done) -> list[Completion]:
        """As generate; `done` has a batch's completions when the batch is back. Raises: EspalierError when a replica refuses, or dies too often."""
        completions: dict[int, Completion] = {}
        for answers in self._answers(write_completions, [asdict(request) for request in requests]):
            some = {place: Completion(*values) for place, values in answers.items()}
            completions |= some
            done(some)
        return [completions.get(place, NOT_BEGUN) for place in range(len(requests))]

    def score(self, pairs: Sequence[tuple[Messages, str]]) -> list[tuple[float, int]]:
        """Log-probability in nats and number of tokens of each reply, the end token included."""
        sums = {place: sum for answers in self._answers(write_scores, pairs) for place, sum in answers.items()}
        return [tuple(sums[place]) for place in range(len(pairs))]

    def _answers(self, work: Work, asked: Sequence[object]) -> Iterator[dict[int, Any]]:
        """The answers to a batch of `asked` by their places, as they come back; each place once."""
        import ray

        if not asked:
            return
        answers = self._ask(list(_tables(asked, self._settings.batch_requests)), work)
        try:
            for batch in answers.iter_batches(batch_size=None, batch_format="pyarrow", prefetch_batches=0):
                yield _read(batch)
                if self._stop():
                    return
        except ray.exceptions.RayError as error:
            raise failure(error, self._settings) from error

    def _ask(self, tables: Sequence["pyarrow.Table"], work: Work) -> "ray.data.Dataset":
        """What Ray Data will run when it is read."""
        import ray

        with warnings.catch_warnings():
            warnings.simplefilter("ignore", DeprecationWarning)  # the last two: Ray 2.60 asks for "named parameters" and names none for them
            return ray.data.from_arrow(tables).map_batches(
                Replica,
                fn_constructor_args=(self._model, work),
                batch_size=self._settings.batch_requests,  # as long as a block, so that each block is a batch
                batch_format="pyarrow",
                compute=ray.data.ActorPoolStrategy(size=min(self._settings.replicas, len(tables))),
                num_cpus=1,
                num_gpus=self._settings.gpus or None,
                max_restarts=-1,
                max_task_retries=self._settings.retries,
            )


class Replica:
    """A worker of Ray's with the engine in it. One that cannot start answers with its reason: an exception would come back wrapped, restarted and logged."""

    def __init__(self, model: Model, work: Work) -> None:
        self._work, self._refusal = work, ""
        try:
            self._teacher = _open(model)
        except EspalierError as error:
            self._refusal = str(error)
        except Exception as error:  # for want of memory, say
            self._refusal = f"{model.folder}: node {_node()} cannot open it: {type(error).__name__}: {last_words(error)}"

    def __call__(self, batch: "pyarrow.Table") -> "pyarrow.Table":
        """place, asked -> place, answer, refusal."""
        import pyarrow

        asked = [json.loads(line) for line in batch["asked"].to_pylist()]
        answers = [] if self._refusal else self._work(self._teacher, asked)
        lines = [json.dumps(answer) for answer in answers] or [""] * len(asked)
        return pyarrow.table({"place": batch["place"], "answer": lines, "refusal": [self._refusal] * len(asked)})


def write_completions(teacher: Teacher, asked: Sequence[dict[str, Any]]) -> Sequence[object]:
    """What a replica does with requests."""
    requests = [Request(**{**words, "messages": _messages(words["messages"])}) for words in asked]
    return [astuple(completion) for completion in teacher.generate(requests)]


def write_scores(teacher: Teacher, asked: Sequence[tuple[Any, str]]) -> Sequence[object]:
    """What a replica does with pairs of messages and reply."""
    return teacher.score([(_messages(messages), reply) for messages, reply in asked])


def _open(model: Model) -> Teacher:
    import torch

    node = _node()
    if not model.gpus:
        os.environ["CUDA_VISIBLE_DEVICES"] = ""  # Ray leaves the devices of its machine in sight of a replica that has none
        torch.set_num_threads(1)  # its CPU, and the same sums everywhere; Ray's OMP_NUM_THREADS comes too late for a worker that has torch in it already
    if not model.folder.is_dir():
        raise EspalierError(f"{model.folder}: no such folder on node {node}; put the teacher at this path on every node (a shared file system)")
    found = (teacher := model.open(model.folder)).fingerprint
    if found != model.fingerprint:
        raise EspalierError(
            f"{model.folder}: node {node} sees another teacher there ({found}) than the run's ({model.fingerprint}); give all nodes the same files"
        )
    return teacher


def _node() -> str:
    import ray

    return ray.util.get_node_ip_address()


def _tables(asked: Sequence[object], size: int) -> Iterator["pyarrow.Table"]:
    """`asked` in pieces of `size`, in order. JSON keeps floats to the last bit, and half a surrogate pair, which Arrow's strings refuse."""
    import pyarrow

    for at in range(0, len(asked), size):
        lines = [json.dumps(one) for one in asked[at : at + size]]
        yield pyarrow.table({"place": range(at, at + len(lines)), "asked": lines})


def _read(batch: "pyarrow.Table") -> dict[int, Any]:
    if refusal := batch["refusal"][0].as_py():
        raise EspalierError(refusal)
    return dict(zip(batch["place"].to_pylist(), map(json.loads, batch["answer"].to_pylist()), strict=True))


def _messages(lists: Sequence[Sequence[str]]) -> Messages:
    return tuple((role, text) for role, text in lists)
