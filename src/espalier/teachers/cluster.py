"""Joins a Ray cluster, or starts one of this machine: quiet, without dashboard and usage statistics, and on loopback alone where it is ours."""

import logging
import os
import socket

from espalier.errors import EspalierError
from espalier.log import say
from espalier.settings import Ray

INSTALL = 'pip install "ray[data]==2.60.*"'
LOOK_S = 5.0  # how long a cluster may take to take a connection
QUIET = {
    "RAY_USAGE_STATS_ENABLED": "0",
    "RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO": "0",  # without it a warning on every start
    "RAY_BACKEND_LOG_LEVEL": "fatal",  # else a line of warning for every replica
}
SHOWN = 300  # letters of Ray's words in a message


def join_cluster(settings: Ray) -> None:
    """Connect this process to the cluster of the settings, once; says what it holds.

    Raises: EspalierError when Ray is not installed, the cluster cannot be reached, or none of its nodes has room for one replica.
    """
    for name, value in QUIET.items():
        os.environ.setdefault(name, value)
    try:
        import pyarrow  # noqa: F401
        import ray
        import ray.data
    except ImportError as error:
        raise EspalierError(f"params.yaml: teacher.engine is ray, which is not installed here ({error}); run `{INSTALL}`") from error
    if not ray.is_initialized():
        _connect(settings.address)
    context = ray.data.DataContext.get_current()
    context.enable_progress_bars = context.print_on_execution_start = False
    logging.getLogger("ray.data").setLevel(logging.ERROR)
    _check_room(settings)


def failure(error: Exception, settings: Ray) -> EspalierError:
    """What Ray raised in mid-run, as an error for the user."""
    import ray

    words = _words(error)
    if isinstance(error, ray.exceptions.RayTaskError):
        return EspalierError(f"ray: a replica of {settings.engine} failed: {words}")
    return EspalierError(
        f"ray: a batch was lost {settings.retries + 1} times with its worker ({words}); see why workers end there (memory: lower ray.batch_requests), "
        "or raise ray.retries; what was answered is in the cache"
    )


def _connect(address: str) -> None:
    import ray

    talk = {"log_to_driver": False, "logging_level": logging.ERROR}
    if not address:
        ray.init(address="local", include_dashboard=False, _node_ip_address="127.0.0.1", **talk)
        return
    _look(address)
    try:
        ray.init(address=address, **talk)
    except (ConnectionError, RuntimeError, ValueError, TimeoutError) as error:
        raise _unreachable(address, _words(error)) from error


def _look(address: str) -> None:
    """Ray itself tries for a minute and more. Raises: EspalierError when nobody takes a connection at host:port."""
    host, _, port = address.rpartition(":")
    if not host:
        return
    try:
        socket.create_connection((host, int(port)), timeout=LOOK_S).close()
    except OSError as error:
        raise _unreachable(address, str(error)) from error


def _unreachable(address: str, words: str) -> EspalierError:
    return EspalierError(
        f'params.yaml: ray.address is {address}, where no Ray cluster answers ({words}); start one there, or write "" for one of this machine'
    )


def _check_room(settings: Ray) -> None:
    import ray

    nodes = [node["Resources"] for node in ray.nodes() if node["Alive"]]
    cpus, gpus = (sum(node.get(name, 0) for node in nodes) for name in ("CPU", "GPU"))
    has = f"{len(nodes)} nodes with {cpus:g} CPUs and {gpus:g} GPUs in all"
    if not any(node.get("CPU", 0) >= 1 and node.get("GPU", 0) >= settings.gpus for node in nodes):
        raise EspalierError(f"params.yaml: a replica of ray wants 1 CPU and {settings.gpus:g} GPUs of one node; the cluster has {has}; lower ray.gpus")
    say(f"ray: {settings.replicas} replicas of {settings.engine} on {has}")


def _words(error: Exception) -> str:
    """The last line of an error that says something, cut."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return (lines[-1] if lines else type(error).__name__)[:SHOWN]
