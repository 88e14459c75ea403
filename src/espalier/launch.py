"""Starts a stage in several processes of one machine by torchrun, and says which of them this one is.

Several nodes: start the same stage by `torchrun --nnodes N --nproc-per-node K ... -m stages.train RECIPE SEED` on each; a process of torchrun's launches none.
"""

import os
import subprocess
import sys
from collections.abc import Sequence

from espalier.errors import EspalierError


def is_launched() -> bool:
    """Whether torchrun (or a scheduler that speaks its variables) started this process."""
    return "WORLD_SIZE" in os.environ


def is_main() -> bool:
    """Whether this process is the one that writes and talks: the first of all, or the only one."""
    return os.environ.get("RANK", "0") == "0"


def process_counts() -> tuple[int, int]:
    """How many processes train together, and how many of them on this machine."""
    return int(os.environ.get("WORLD_SIZE", "1")), int(os.environ.get("LOCAL_WORLD_SIZE", "1"))


def local_place() -> int:
    """Which of the processes of this machine this one is, from 0: the number of its card."""
    return int(os.environ.get("LOCAL_RANK", "0"))


def launch(module: str, arguments: Sequence[str], *, processes: int) -> None:
    """Run `python -m module arguments` in `processes` processes and wait. Raises: EspalierError when one fails, and KeyboardInterrupt."""
    meeting = ["--rdzv-backend", "c10d", "--rdzv-endpoint", "127.0.0.1:0", "--local-addr", "127.0.0.1"]
    command = [sys.executable, "-m", "torch.distributed.run", "--nproc-per-node", str(processes), *meeting, "-m", module, *arguments]
    code = subprocess.run(command, check=False, env={**os.environ, "TORCH_CPP_LOG_LEVEL": "ERROR"}).returncode
    if code == 130:
        raise KeyboardInterrupt
    if code:
        raise EspalierError(f"one of {processes} processes ended early (exit code {code}); its own lines above say why")
