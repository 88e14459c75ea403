"""One model on several processes: each takes a part of every step's sequences (DDP), or holds a part of the model as well (FSDP2).

A tensor of a sharded model is a DTensor; `local` is the part that this process holds, `whole` the tensor that all parts make. Else they are the same.
Source: arXiv 2304.11277 (FSDP); torch.distributed.fsdp.fully_shard.
"""

import contextlib
from collections.abc import Iterator
from typing import Any

import torch
import torch.distributed as dist
from accelerate import Accelerator
from torch.distributed.tensor import DTensor, distribute_tensor
from transformers import LlamaForCausalLM


def distribute(model: LlamaForCausalLM, accelerator: Accelerator, *, sharding: str) -> torch.nn.Module:
    """The module to call. fsdp: `model` itself, each layer of it a unit that is gathered when it is needed; its parameters are new objects."""
    if accelerator.num_processes == 1 or sharding == "ddp":
        return accelerator.prepare(model)
    from torch.distributed.device_mesh import init_device_mesh
    from torch.distributed.fsdp import MixedPrecisionPolicy, fully_shard

    mesh = init_device_mesh(accelerator.device.type, (accelerator.num_processes,))
    mixed = MixedPrecisionPolicy(torch.bfloat16, torch.float32) if accelerator.mixed_precision == "bf16" else MixedPrecisionPolicy()
    for layer in model.to(accelerator.device).model.layers:
        fully_shard(layer, mesh=mesh, mp_policy=mixed)
    return fully_shard(model, mesh=mesh, mp_policy=mixed)


@contextlib.contextmanager
def gradients_stay(model: torch.nn.Module, stay: bool) -> Iterator[None]:
    """While `stay`, gradients add up in each process and are not exchanged: the last micro-batch of a step exchanges them all."""
    if hasattr(model, "set_requires_gradient_sync"):
        model.set_requires_gradient_sync(not stay)
        yield
    else:
        with model.no_sync() if stay and hasattr(model, "no_sync") else contextlib.nullcontext():
            yield


def in_any(holds: bool) -> bool:
    """Whether something holds in any of the processes that train together; all of them must call it."""
    if not dist.is_initialized():
        return holds
    flag = torch.tensor(int(holds), device=_device())
    dist.all_reduce(flag, dist.ReduceOp.MAX)
    return bool(flag)


def from_main(value: Any) -> Any:
    """A plain value of the main process, in every process; all of them must call it."""
    if not dist.is_initialized():
        return value
    values = [value]
    dist.broadcast_object_list(values, device=_device())
    return values[0]


def local(tensor: torch.Tensor) -> torch.Tensor:
    """The part of a tensor that this process holds; writing into it changes the tensor."""
    return tensor.to_local() if isinstance(tensor, DTensor) else tensor


def whole(tensor: torch.Tensor) -> torch.Tensor:
    """All of a tensor, in every process; all of them must call it."""
    return tensor.full_tensor() if isinstance(tensor, DTensor) else tensor


def join(part: torch.Tensor, like: torch.Tensor) -> torch.Tensor:
    """The whole tensor of which each process has a part, cut as `like` is."""
    if not isinstance(like, DTensor):
        return part
    return DTensor.from_local(part, like.device_mesh, like.placements, shape=like.shape, stride=like.stride()).full_tensor()


def cut(tensor: torch.Tensor, like: torch.Tensor) -> torch.Tensor:
    """A whole tensor, the same in all processes, cut as `like` is."""
    return distribute_tensor(tensor, like.device_mesh, like.placements, src_data_rank=None) if isinstance(like, DTensor) else tensor


def _device() -> torch.device:
    """Where the processes' backend wants what they exchange."""
    return torch.device("cuda", torch.cuda.current_device()) if "nccl" in dist.get_backend() else torch.device("cpu")
