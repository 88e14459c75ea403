"""The engine ray on a real cluster of two nodes on this machine: whoever answers and whoever dies, the bytes are those of hf."""

import os
import re
import socket
from dataclasses import replace
from functools import partial
from pathlib import Path

import pytest

from espalier.teachers.cluster import VARIABLES

os.environ.update(VARIABLES)  # Ray reads them when it is imported
pytest.importorskip("ray.data", reason="ray is not installed here; `make test-vllm` has it")

import pyarrow
import torch
from torch import set_num_threads  # before an engine of vLLM in this process puts one that does nothing in its place

from espalier.errors import EspalierError
from espalier.settings import Ray
from espalier.teachers.base import NOT_BEGUN, Stoppable, Streaming
from espalier.teachers.cache import Cache, generate_cached
from espalier.teachers.cluster import join_cluster
from espalier.teachers.engines import chunk_rows, open_teacher
from espalier.teachers.hf import HfTeacher
from espalier.teachers.pin import fingerprint
from espalier.teachers.ray import Model, RayTeacher, Replica, write_completions
from tests.engines.noting import Echo, Noting, Other, read_notes
from tests.test_cache import lies, wanted

pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::ResourceWarning")  # Ray's own are not ours to mend

BATCH = 25
REQUESTS = wanted(600)
PLACES = [*range(600)]
FIRSTS = PLACES[::BATCH]
SETTINGS = Ray("", 2, "hf", 0.0, BATCH, 3)


@pytest.fixture(scope="module")
def hf(folder):
    """The same model in this process, with as many threads as Ray gives a worker of one CPU."""
    threads = torch.get_num_threads()
    set_num_threads(1)
    yield HfTeacher(folder)
    set_num_threads(threads)


@pytest.fixture(scope="module")
def undisturbed(hf):
    return [completion for at in FIRSTS for completion in hf.generate(REQUESTS[at : at + BATCH])]


def settings(cluster, **changes):
    return replace(SETTINGS, address=cluster.address, **changes)


def raised(call):
    with pytest.raises(EspalierError) as caught:
        call()
    return str(caught.value)


def test_an_address_without_a_cluster_is_an_error_at_once():
    with socket.socket() as free, socket.socket() as mute, socket.socket() as web:
        for one in (free, mute, web):
            one.bind(("127.0.0.1", 0))
        web.listen()
        refused, other = (f"127.0.0.1:{one.getsockname()[1]}" for one in (free, web))
        web.settimeout(0.1)
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr("espalier.teachers.cluster.LOOK_S", 0.3)
            found = [raised(partial(join_cluster, replace(SETTINGS, address=address))) for address in (refused, other)]
    assert found == [
        f'params.yaml: ray.address is {address}, where no Ray cluster answers ({why}); start one there, or write "" for one of this machine'
        for address, why in ((refused, "[Errno 111] Connection refused"), (other, "timed out"))
    ]


def test_a_replica_that_cannot_open_the_teacher_answers_with_path_node_and_reason(folder, monkeypatch):
    threads = []
    monkeypatch.setattr(torch, "set_num_threads", threads.append)

    def fail(folder):
        raise RuntimeError("a long story\nout of memory")

    def refusal(opener, where):
        batch = Replica(Model(opener, where, "f", 0.0), write_completions)(pyarrow.table({"place": [7], "asked": ["{}"]}))
        assert (batch["place"].to_pylist(), batch["answer"].to_pylist()) == ([7], [""])
        return re.sub(r"node [\d.]+", "node N", batch["refusal"][0].as_py())

    gone = folder / "gone"
    assert refusal(Echo, gone) == f"{gone}: no such folder on node N; put the teacher at this path on every node (a shared file system)"
    assert refusal(fail, folder) == f"{folder}: node N cannot open it: RuntimeError: out of memory"
    assert threads == [1, 1]


def test_the_completions_are_those_of_hf_in_the_same_batches_and_a_second_run_asks_nothing(cluster, folder, hf, undisturbed, tmp_path):
    teacher = open_teacher("ray", folder, ray=settings(cluster))
    assert (isinstance(teacher, Streaming), isinstance(teacher, Stoppable), teacher.fingerprint) == (True, True, hf.fingerprint)
    asked, plain = Cache(tmp_path / "ray.sqlite"), Cache(tmp_path / "hf.sqlite")

    def run(load, cache, chunk):
        seen = []
        return generate_cached(load, REQUESTS, cache, fingerprint=hf.fingerprint, chunk=chunk, progress=lambda *numbers: seen.append(numbers)), seen

    def load():
        raise AssertionError("nothing is missing")

    assert run(lambda: teacher, asked, chunk_rows("ray", 10)) == (undisturbed, [*((done, 0) for done in range(BATCH, 601, BATCH)), (600, 0)])
    assert run(load, asked, chunk_rows("ray", 10)) == (undisturbed, [(600, 600)])
    assert run(lambda: hf, plain, chunk_rows("hf", BATCH))[0] == undisturbed
    assert lies(tmp_path / "ray.sqlite") == lies(tmp_path / "hf.sqlite")
    assert len({completion.text for completion in undisturbed}) > 300  # replies that differ, so that a mix-up would show
    asked.close()
    plain.close()


def test_scores_are_those_of_hf(cluster, folder, hf, undisturbed):
    pairs = [(request.messages, reply.text) for request, reply in zip(REQUESTS, undisturbed, strict=True)]
    expected = [score for at in FIRSTS for score in hf.score(pairs[at : at + BATCH])]
    assert open_teacher("ray", folder, ray=settings(cluster)).score(pairs) == expected


def test_a_worker_killed_in_mid_batch_costs_nothing_but_time(cluster, folder, undisturbed, tmp_path):
    notes, had = tmp_path / "notes", []
    teacher = RayTeacher(settings(cluster), folder, open_replica=partial(Noting, inside=HfTeacher, notes=notes, dies_at=150, deaths=1))
    assert teacher.stream(REQUESTS, lambda completions: had.extend(completions.items())) == undisturbed
    assert sorted(had, key=lambda one: one[0]) == [*enumerate(undisturbed)]  # each place once
    done = read_notes(notes)
    assert [seed for _, _, seed in done].count(150) == 2  # done, lost with its worker, and done again
    assert {seed for _, _, seed in done} == set(FIRSTS)
    assert len({process for process, _, _ in done}) == 3


def test_a_node_removed_in_mid_run_costs_nothing_but_time(cluster, folder, undisturbed, tmp_path):
    notes, had = tmp_path / "notes", []
    teacher = RayTeacher(settings(cluster), folder, open_replica=partial(Noting, inside=HfTeacher, notes=notes))
    (node,) = cluster.worker_nodes

    def done(completions):
        had.extend(completions)
        if node in cluster.worker_nodes and node.node_id in {one for _, one, _ in read_notes(notes)}:
            cluster.remove_node(node, allow_graceful=False)

    try:
        assert teacher.stream(REQUESTS, done) == undisturbed
        assert sorted(had) == PLACES
        assert node not in cluster.worker_nodes
        done_by = read_notes(notes)
        assert {seed for _, _, seed in done_by} == set(FIRSTS)
        assert len({process for process, _, _ in done_by}) == 3  # the lost replica went on on the other node when that had room
        assert len({one for _, one, _ in done_by}) == 2
    finally:
        cluster.add_node(num_cpus=1)


def test_a_batch_that_kills_its_worker_each_time_is_an_error_after_the_retries(cluster, folder, tmp_path):
    notes, had = tmp_path / "notes", []
    few = settings(cluster, replicas=1, retries=1)
    teacher = RayTeacher(few, folder, open_replica=partial(Noting, inside=Echo, notes=notes, dies_at=100, deaths=9))
    message = raised(lambda: teacher.stream(REQUESTS[: 5 * BATCH], had.extend))
    assert re.fullmatch(
        r"ray: a batch was lost 2 times with its worker \(.+\); see why workers end there \(memory: lower ray.batch_requests\), or raise ray.retries; "
        "what was answered is in the cache",
        message,
    )
    assert [seed for _, _, seed in read_notes(notes)].count(100) == 2
    assert had == PLACES[: 4 * BATCH]


def test_a_replica_that_sees_another_model_is_an_error_with_path_node_and_both_fingerprints(cluster, folder):
    teacher = RayTeacher(settings(cluster), folder, open_replica=Other)
    found, wanted_here = "0" * 32, fingerprint(Path(folder))
    assert re.fullmatch(
        rf"{folder}: node [\d.]+ sees another teacher there \({found}\) than the run's \({wanted_here}\); give all nodes the same files",
        raised(lambda: teacher.generate(REQUESTS)),
    )


def test_a_stop_keeps_what_is_back_and_leaves_the_rest_for_the_next_run(cluster, folder):
    teacher, had = RayTeacher(settings(cluster), folder, open_replica=Echo), []
    teacher.stop_when(lambda: len(had) >= 2 * BATCH)
    completions = teacher.stream(REQUESTS, had.extend)
    assert len(had) == 2 * BATCH
    assert [place for place, completion in enumerate(completions) if completion != NOT_BEGUN] == sorted(had)
    assert [completions[place] for place in had] == Echo(folder).generate([REQUESTS[place] for place in had])


def test_a_replica_that_wants_more_than_any_node_has_is_an_error(cluster, folder):
    assert raised(lambda: open_teacher("ray", folder, ray=settings(cluster, gpus=1.0))) == (
        "params.yaml: a replica of ray wants 1 CPU and 1 GPUs of one node; the cluster has 2 nodes with 2 CPUs and 0 GPUs in all; lower ray.gpus"
    )


def test_no_requests_and_no_pairs_are_no_replies(cluster, folder):
    teacher = RayTeacher(settings(cluster), folder, open_replica=Echo)
    assert (teacher.generate([]), teacher.score([])) == ([], [])
