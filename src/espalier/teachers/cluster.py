"""Joins a Ray cluster, or starts one of this machine: quiet, without dashboard and usage statistics, and on loopback alone where it is ours."""

import logging
import os
import socket

from espalier.errors import EspalierError
from espalier.log import say
from espalier.settings import Ray

INSTALL = 'pip install "ray[data]==2.60.*"'
LOOK_S = 5.0  # how long a cluster may take to take a connection
VARIABLES = {  # what is set where the user has not
    "RAY_USAGE_STATS_ENABLED": "0",
    "RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO": "0",  # without it a warning on every start
    "RAY_BACKEND_LOG_LEVEL": "fatal",  # else a line of warning for every replica
    "RAY_DEDUP_LOGS_SKIP_REGEX": ".",  # else the cluster's news of retries and lost nodes goes to stdout, which is data
    # Ray's 100 ms are too short: all retries went to a node that had vanished, before the cluster noticed.
    "RAY_task_actor_unavailable_retry_delay_base_ms": "5000",
    "RAY_task_actor_unavailable_retry_max_delay_ms": "40000",
}
SETTINGS = b"\0\0\0\4\0\0\0\0\0"  # length, type, flags, stream
HELLO = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + SETTINGS
SHOWN = 300  # letters of Ray's words in a message


def join_cluster(settings: Ray) -> None:
    """Connect this process to the cluster of the settings, once; says what it holds.

    Raises: EspalierError when Ray is not installed, the cluster cannot be reached, or none of its nodes has room for one replica.
    """
    for name, value in VARIABLES.items():
        os.environ.setdefault(name, value)
    try:
        import ray
        import ray.data
    except ImportError as error:
        raise EspalierError(f"params.yaml: teacher.engine is ray, which is not installed here ({error}); run `{INSTALL}`") from error
    if not ray.is_initialized():
        _connect(settings.address)
    context = ray.data.DataContext.get_current()
    context.enable_progress_bars = context.print_on_execution_start = False
    logging.getLogger("ray.data").setLevel(logging.CRITICAL)  # its errors are raised too; it would print a traceback or three of each
    _check_room(settings)


def failure(error: Exception, settings: Ray) -> EspalierError:
    """What Ray raised in mid-run, as an error for the user."""
    import ray

    words = last_words(error)
    if isinstance(error, ray.exceptions.RayTaskError):
        return EspalierError(f"ray: a replica of {settings.engine} failed: {words}")
    if isinstance(error, ray.exceptions.ActorDiedError) and "creation task" in str(error):
        return EspalierError(f"ray: a replica of {settings.engine} cannot be made ({words}); all nodes need this espalier and all that it imports")
    return EspalierError(
        f"ray: a batch was lost {settings.retries + 1} times with its worker ({words}); see why workers end there (memory: lower ray.batch_requests), "
        "or raise ray.retries; what was answered is in the cache"
    )


def last_words(error: Exception) -> str:
    """The last line of an error that says something, cut."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return (lines[-1] if lines else type(error).__name__)[:SHOWN]


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
        raise _unreachable(address, last_words(error)) from error


def _look(address: str) -> None:
    """Ray itself would try for minutes. Raises: EspalierError when nothing at host:port takes a connection and speaks as Ray does.

    Source: RFC 9113, section 3.4: both sides of HTTP/2, on which Ray's gRPC runs, begin with a frame of settings.
    """
    host, _, port = address.rpartition(":")
    if not host:
        return  # auto: Ray looks on this machine
    try:
        with socket.create_connection((host, int(port)), timeout=LOOK_S) as connection:
            connection.sendall(HELLO)
            found = connection.recv(9)
    except OSError as error:
        raise _unreachable(address, str(error)) from error
    if found[3:4] != SETTINGS[3:4] and os.environ.get("RAY_USE_TLS", "0") == "0":
        raise _unreachable(address, "something else does")


def _unreachable(address: str, words: str) -> EspalierError:
    return EspalierError(f'params.yaml: ray.address is {address}, where no Ray cluster answers ({words}); start one there, or write "" for one of this machine')


def _check_room(settings: Ray) -> None:
    import ray

    nodes = [node["Resources"] for node in ray.nodes() if node["Alive"]]
    cpus, gpus = (sum(node.get(name, 0) for node in nodes) for name in ("CPU", "GPU"))
    has = f"{len(nodes)} nodes with {cpus:g} CPUs and {gpus:g} GPUs in all"
    if not any(node.get("CPU", 0) >= 1 and node.get("GPU", 0) >= settings.gpus for node in nodes):
        raise EspalierError(f"params.yaml: a replica of ray wants 1 CPU and {settings.gpus:g} GPUs of one node; the cluster has {has}; lower ray.gpus")
    say(f"ray: {settings.replicas} replicas of {settings.engine} on {has}")
