"""The tiny model, each engine once a session, and a Ray cluster of two nodes."""

import os

import pytest

from espalier.settings import Ray
from espalier.teachers.cluster import join_cluster
from tests.closure import ROOT
from tests.engines.opening import ENGINES, make_model


@pytest.fixture(scope="session", autouse=True)
def without_proxies():
    """Proxies of the machine have no say about 127.0.0.1."""
    with pytest.MonkeyPatch.context() as patch:
        for name in ("HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY"):
            patch.delenv(name, raising=False)
            patch.delenv(name.lower(), raising=False)
        yield


@pytest.fixture(scope="session")
def folder(tmp_path_factory):
    return make_model(tmp_path_factory.mktemp("teacher") / "model")


@pytest.fixture(scope="session", params=[pytest.param(name, marks=marks, id=name.replace(" ", "-")) for name, (_, marks) in ENGINES.items()])
def engine(request, folder):
    """(name, teacher)."""
    opener, _ = ENGINES[request.param]
    with opener(folder) as teacher:
        yield request.param, teacher


@pytest.fixture(scope="module")
def cluster():
    """Two nodes of Ray with one CPU each; this process stands on the first."""
    import ray
    from ray.cluster_utils import Cluster

    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PYTHONPATH", f"{ROOT / 'src'}{os.pathsep}{ROOT}")
        started = Cluster(initialize_head=True, head_node_args={"num_cpus": 1, "include_dashboard": False})
        started.add_node(num_cpus=1)
        join_cluster(Ray(started.address, 2, "hf", 0.0, 25, 3))
        yield started
        ray.shutdown()
        started.shutdown()
