"""The tiny model, and each engine once a session."""

import pytest
import torch

from tests.engines.opening import ENGINES, make_model


@pytest.fixture(scope="session", autouse=True)
def on_the_cpu_without_proxies():
    """In fp32, where numbers are close to those of a plain pass; proxies of the machine have no say about 127.0.0.1."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(torch.cuda, "is_available", lambda: False)
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
