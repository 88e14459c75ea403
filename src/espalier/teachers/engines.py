"""From the word in params.yaml to an engine with the run's teacher in it."""

import os
import sys
from dataclasses import replace
from functools import partial
from pathlib import Path

from espalier.settings import Ray, Server, Vllm
from espalier.teachers.base import Teacher
from espalier.teachers.key import read_key
from espalier.teachers.pin import check_served, fingerprint, teacher_fingerprint, teacher_folder


def chunk_rows(engine: str, wanted: int) -> int:
    """How many requests an engine is asked at a time: `wanted`, but all of them for ray, whose replicas start anew with each call.

    Nothing is lost by it: ray hands back a batch at a time, and each goes into the cache.
    """
    return sys.maxsize if engine == "ray" else wanted


def open_teacher(engine: str, folder: Path, *, server: Server | None = None, vllm: Vllm | None = None, ray: Ray | None = None) -> Teacher:
    """The teacher of a folder (or of its pin), ready to be asked. `server`, `vllm` and `ray` want their settings.

    `hf` and `vllm` import torch; `server` reads its key from the environment; `ray` joins or starts a cluster.
    Raises: what the engine raises for a bad model; EspalierError when it is another one than was pinned.
    """
    if engine == "server":
        return _open_server(folder, server)
    check_served(folder, None)
    if engine == "vllm":
        return _open_vllm(teacher_folder(folder), vllm)
    if engine == "ray":
        return _open_ray(teacher_folder(folder), ray, vllm)
    from espalier.teachers.hf import HfTeacher

    assert engine == "hf", engine
    return HfTeacher(teacher_folder(folder))


def _open_server(folder: Path, settings: Server | None) -> Teacher:
    from espalier.teachers.server import ServerTeacher, ask_served

    assert settings is not None
    key = read_key(settings.key_variable)
    check_served(folder, ask_served(settings, key=key))
    return ServerTeacher(settings, fingerprint=teacher_fingerprint(folder), key=key, folder=teacher_folder(folder))


def _open_vllm(folder: Path, settings: Vllm | None) -> Teacher:
    """One engine in this process, or several in processes of their own."""
    from espalier.teachers.replicas import Opener, Replicas, split_devices
    from espalier.teachers.vllm import VllmTeacher, check_installed

    assert settings is not None
    if settings.replicas == 1:
        return VllmTeacher(folder, settings)
    check_installed()
    devices = split_devices(_visible_gpus(), replicas=settings.replicas, tensor_parallel=settings.tensor_parallel)
    opener = partial(VllmTeacher, folder, settings)
    return Replicas([Opener(opener, some) for some in devices], fingerprint=fingerprint(folder))


def _open_ray(folder: Path, settings: Ray | None, vllm: Vllm | None) -> Teacher:
    """A replica is an engine of its own, so its vLLM has one copy of the model."""
    from espalier.teachers.ray import RayTeacher

    assert settings is not None
    one = replace(vllm, replicas=1) if vllm else None
    return RayTeacher(settings, folder, open_replica=partial(open_teacher, settings.engine, vllm=one))


def _visible_gpus() -> list[str]:
    """The names of the GPUs that this process sees."""
    import torch

    named = os.environ.get("CUDA_VISIBLE_DEVICES")
    return named.split(",") if named else [str(i) for i in range(torch.cuda.device_count())]
