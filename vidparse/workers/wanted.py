"""The workers that a user wants; what they need is loaded only where there are any."""

from __future__ import annotations

import os
import threading
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from vidparse.errors import UsageError
from vidparse.inference.devices import cpu_count
from vidparse.limits import max_pixels
from vidparse.requests.model import ModelChoice

if TYPE_CHECKING:
    from vidparse.inference import Runner
    from vidparse.workers.crew import Crew


@dataclass(frozen=True, slots=True)
class Sharing:
    """The workers that a user wants; true if there are any beside this process.

    workers: processes, each with its own network. 0 or 1 means no other process or, with a
        cluster, all that the cluster has room for.
    cluster: address of a Ray cluster, or "auto"; None for workers on this machine.
    """

    workers: int = 0
    cluster: str | None = None

    def __bool__(self) -> bool:
        return self.workers > 1 or self.cluster is not None

    def check(self) -> None:
        """Raises: UsageError: the number is negative, or far above the number of CPUs."""
        most = max(64, 4 * cpu_count())
        if self.workers < 0 or (self.cluster is None and self.workers > most):
            raise UsageError(
                f"workers {self.workers}: this process may use {cpu_count()} CPUs; give 2 to "
                f"{most}, or leave --workers out"
            )

    def check_memory(self, runner: Runner, *, stabilize: bool, keyframes: bool) -> None:
        """Check that the ranges of a video can be segmented independently.

        Raises:
            UsageError: the network, the stabiliser or key frames need the frames before each frame.
        """
        if not self:
            return
        if runner.remembers:
            raise UsageError(
                f"--workers: {os.fspath(runner.description.path)} remembers the frames before, so "
                "that a video cannot be cut into parts; leave --workers and --cluster out"
            )

        # Refuse the options that join each frame to those before.
        option, does = (
            ("--stabilize", "blends each frame with those before")
            if stabilize
            else ("--keyframes", "carries scores from frame to frame")
        )
        if stabilize or keyframes:
            raise UsageError(
                f"--workers: {option} {does}, so that a video cannot be cut into parts; leave one "
                "of them out"
            )

    def threads(self, wanted: int) -> int:
        """CPU threads per network: `wanted` or, where it is 0, an equal share of the CPUs."""
        if not self or wanted:
            return wanted

        # Give a worker of a cluster one thread: Ray reserves so many CPUs for it.
        return 1 if self.cluster is not None else max(1, cpu_count() // self.workers)

    def crew(self, choice: ModelChoice, stop: threading.Event) -> Crew:
        """The workers, not started yet.

        Args:
            stop: set it to end the wait for results.

        Raises:
            UsageError, DeviceError: as `ClusterCrew`.
        """
        from vidparse.workers.crew import ClusterCrew, ProcessCrew
        from vidparse.workers.job import Setup

        if Path(choice.name).exists():  # a worker may be in another folder
            choice = choice.of(Path(choice.name).absolute())
        setup = Setup(choice, max_pixels())
        if self.cluster is not None:
            return ClusterCrew(self.cluster, self.workers, setup, stop)
        return ProcessCrew(self.workers, setup, stop)
