"""The engine ray where there is no Ray."""

import sys

import pytest

from espalier.errors import EspalierError
from espalier.settings import Ray
from espalier.teachers.cluster import join_cluster


def test_without_the_package_the_message_names_the_setting_and_the_install_line(monkeypatch):
    monkeypatch.setitem(sys.modules, "ray", None)
    with pytest.raises(EspalierError) as caught:
        join_cluster(Ray("", 1, "hf", 0.0, 256, 3))
    assert str(caught.value) == (
        "params.yaml: teacher.engine is ray, which is not installed here (import of ray halted; None in sys.modules); "
        'run `pip install "ray[data]==2.60.*"`'
    )
