"""Runs of several processes that are forked from one which has loaded torch and the trainer.

torchrun loads torch in itself and in each process that it starts: most of the time of a small run.
"""

from __future__ import annotations

import faulthandler
import multiprocessing
import os
import socket
import sys
import time
from collections.abc import Sequence
from pathlib import Path

_LOADED = [
    "support.parting",
    "torch.distributed.fsdp",
    "vidparse.cli.train",
    "vidparse.training.trainer",
]


class ForkedRun:
    """The command line in `count` processes of one group, as torchrun starts it.

    Args:
        folder: for what they print.
    """

    def __init__(self, words: Sequence[str], count: int, folder: Path) -> None:
        self._folder = folder
        folder.mkdir()
        context = multiprocessing.get_context("forkserver")
        context.set_forkserver_preload(_LOADED)
        group = {"WORLD_SIZE": str(count), "MASTER_ADDR": "localhost", "MASTER_PORT": _free_port()}
        self._members = [
            context.Process(
                target=_run, args=(words, folder, {**group, "RANK": rank, "LOCAL_RANK": rank})
            )
            for rank in map(str, range(count))
        ]
        for member in self._members:
            member.start()

    def poll(self) -> int | None:
        """The first exit code that is not 0, or 0; None while all processes run well."""
        codes = [member.exitcode for member in self._members]
        return next((code for code in codes if code), None if None in codes else 0)

    def communicate(self, timeout: float) -> tuple[str, str]:
        """What all processes print, to standard output and error, until they end."""
        deadline = time.monotonic() + timeout
        for member in self._members:
            member.join(max(0, deadline - time.monotonic()))
            assert member.exitcode is not None, "it hangs"
        out, err = ((self._folder / name).read_text() for name in ("stdout", "stderr"))
        return out, err

    @property
    def returncode(self) -> int | None:
        return self.poll()


def _run(words: Sequence[str], folder: Path, group: dict[str, str]) -> None:
    from support.parting import run

    for number, name in ((1, "stdout"), (2, "stderr")):
        os.dup2(os.open(folder / name, os.O_WRONLY | os.O_CREAT | os.O_APPEND), number)
    os.environ.update(group, OMP_NUM_THREADS="1")
    faulthandler.enable()  # a crash shows where
    sys.argv[:] = ["vidparse", *words]
    run()


def _free_port() -> str:
    with socket.socket() as found:
        found.bind(("localhost", 0))
        return str(found.getsockname()[1])
