"""The processes of a run: one, or those that torchrun started."""

from __future__ import annotations

import gc
import os
import sys
import traceback
import warnings
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import timedelta
from typing import TYPE_CHECKING, TypeGuard

import torch
from torch import Tensor, distributed, nn
from torch.distributed.device_mesh import init_device_mesh
from torch.nn.parallel import DistributedDataParallel

from vidparse.errors import DeviceError, UsageError, VidparseError
from vidparse.training.recipe import Recipe

if TYPE_CHECKING:
    from torch.distributed.tensor import DTensor

_PATIENCE = timedelta(hours=2)  # validation runs in the first process alone
_LOST = ("Connection closed", "Connection reset", "Broken pipe", "timed out", "Timed out", "closed")


@dataclass(frozen=True, slots=True)
class Processes:
    """This process among its kin; rank 0 alone writes files and validates."""

    rank: int = 0
    count: int = 1
    device: torch.device = field(default_factory=lambda: torch.device("cpu"))

    @property
    def is_first(self) -> bool:
        return self.rank == 0

    def wrapped(self, objective: nn.Module, *, shard: bool = False) -> nn.Module:
        """The objective with its gradients averaged over processes.

        Args:
            shard: each process keeps its part of weights, gradients and moments alone (PyTorch's
                `fully_shard`); `whole` brings them together again.
        """
        if self.count == 1:
            return objective
        if shard:
            from torch.distributed.fsdp import fully_shard  # takes 2 s, for few runs

            mesh = init_device_mesh(self.device.type, (self.count,))
            fully_shard(objective, mesh=mesh)
            return objective
        ids = [self.device.index] if self.device.type == "cuda" else None
        # An objective may leave parameters out of a step; that none did is no news.
        warnings.filterwarnings("ignore", message=".*find_unused_parameters=True was specified")
        # batch norms that are not synchronised keep the first process's statistics
        return DistributedDataParallel(objective, device_ids=ids, find_unused_parameters=True)

    def mean(self, values: dict[str, float]) -> dict[str, float]:
        """Each value's mean over the processes."""
        if self.count == 1 or not values:
            return values

        # Send all values in one message, in float64, so that sums lose nothing.
        gathered = torch.tensor(list(values.values()), dtype=torch.float64)

        # Move them to where the group talks: nccl knows GPUs alone.
        gathered = gathered.to(self.device if self.device.type == "cuda" else "cpu")
        distributed.all_reduce(gathered)
        return dict(zip(values, (gathered / self.count).tolist(), strict=True))

    def any(self, flag: bool) -> bool:
        """True if the flag is up in one process at least."""
        return self.mean({"flag": float(flag)})["flag"] > 0

    def wait(self) -> None:
        """Until every process is here."""
        if self.count > 1:
            distributed.barrier()


def whole(tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Each tensor in full, sharded ones gathered; every process has to call it."""
    return {
        name: tensor.full_tensor() if _is_sharded(tensor) else tensor
        for name, tensor in tensors.items()
    }


def placed_like(tensor: Tensor, example: Tensor) -> Tensor:
    """A full tensor as the example is kept: sharded over the same processes, or as it is."""
    if not _is_sharded(example):
        return tensor
    from torch.distributed.tensor import distribute_tensor

    return distribute_tensor(tensor.to(example.device), example.device_mesh, example.placements)


def _is_sharded(tensor: Tensor) -> TypeGuard[DTensor]:
    """True for a part of a tensor; whoever made it has imported its kind."""
    kinds = sys.modules.get("torch.distributed.tensor")
    return kinds is not None and isinstance(tensor, kinds.DTensor)


def check_parts(recipe: Recipe, processes: Processes) -> None:
    """Before the first step: these processes can work through the batches of a recipe.

    Raises:
        UsageError: a batch that cannot be shared out, or what is for GPUs only.
    """
    check_shares(recipe, processes.count)
    if recipe.optimiser.precision == "fp16" and processes.device.type != "cuda":
        raise UsageError("precision fp16: trains on GPUs only; use bf16 or fp32")
    if recipe.optimiser.norm == "sync" and processes.device.type != "cuda":
        raise UsageError("norm sync: PyTorch has it for GPUs only; use batch or frozen")


def check_shares(recipe: Recipe, count: int) -> None:
    """Raises: UsageError: a batch cannot be shared out over `count` processes."""
    schedule = recipe.schedule
    each = schedule.accumulate * count
    if schedule.batch_size % each:
        raise UsageError(
            f"batch_size {schedule.batch_size}: cannot be shared out evenly over "
            f"{count} processes and {schedule.accumulate} parts; use a multiple of {each}"
        )


@contextmanager
def join_processes(device: torch.device) -> Iterator[Processes]:
    """Join the processes that torchrun started; alone when it did not.

    The block must keep no name of a module that was wrapped in it: see `Processes.wrapped`.

    Args:
        device: its kind decides the means of talking (nccl or gloo); on GPUs every process takes
            the one of its own number.

    Raises:
        DeviceError: more processes than GPUs.
        VidparseError: another process ended.
    """
    count = int(os.environ.get("WORLD_SIZE", "1"))
    if count == 1:
        yield Processes(device=device)
        return

    # Give every process its own GPU.
    rank, local = int(os.environ["RANK"]), int(os.environ["LOCAL_RANK"])
    if device.type == "cuda":
        if local >= torch.cuda.device_count():
            raise DeviceError(
                f"process {rank}: there is no GPU {local}; "
                f"use --nproc-per-node {torch.cuda.device_count()}"
            )
        device = torch.device("cuda", local)
        torch.cuda.set_device(device)

    kind = "nccl" if device.type == "cuda" else "gloo"
    distributed.init_process_group(kind, timeout=_PATIENCE)
    try:
        yield Processes(rank, count, device)
    except RuntimeError as error:
        # Go by words: a connection that ends is a plain RuntimeError in torch.
        if not any(word in str(error) for word in _LOST):
            raise
        raise VidparseError(
            f"training: process {rank} lost another one, which was killed or failed; see its "
            "message, then go on with --resume"
        ) from error
    finally:
        # What wraps a network talks to the group when it goes; past the group's end it waits for
        # ever. The frames of an error keep it, and cycles do until they are collected.
        _clear_frames(sys.exception())
        gc.collect()
        distributed.destroy_process_group()


def _clear_frames(error: BaseException | None) -> None:
    """Drop the local names of all calls that an error ended, and those that it came from."""
    while error is not None:
        traceback.clear_frames(error.__traceback__)
        error = error.__cause__ or error.__context__
