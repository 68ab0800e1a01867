"""The workers that a user wants; what they need is loaded only where there are any."""

from __future__ import annotations

import os
import threading
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

from vidparse.errors import UsageError
from vidparse.inference.devices import cpu_count
from vidparse.limits import Limits
from vidparse.requests.model import ModelChoice

if TYPE_CHECKING:
    from vidparse.inference import Runner
    from vidparse.workers.crew import Crew
    from vidparse.workers.job import Setup

Shared = TypeVar("Shared")  # as in vidparse/workers/job.py, which is not loaded here
Part = TypeVar("Part")
Answer = TypeVar("Answer")


@dataclass(frozen=True, slots=True)
class Sharing:
    """The workers that a user wants; true if there are any beside this process.

    workers: processes that share each video. jobs: processes that segment one video each. 0 or 1
        means no other process or, with a cluster, all that the cluster has room for.
    cluster: address of a Ray cluster, or "auto"; None for workers on this machine.
    """

    workers: int = 0
    cluster: str | None = None
    jobs: int = 0

    def __bool__(self) -> bool:
        return self.workers > 1 or self.has_jobs or self.cluster is not None

    @property
    def has_jobs(self) -> bool:
        """True where each worker segments whole videos, and writes their outputs."""
        return self.jobs > 1 or (self.jobs == 1 and self.cluster is not None)

    def check(self) -> None:
        """Raises: UsageError: a number is negative, or far above that of the CPUs, or both are."""
        most = max(64, 4 * cpu_count())
        for name, wanted in (("workers", self.workers), ("jobs", self.jobs)):
            if wanted < 0 or (self.cluster is None and wanted > most):
                raise UsageError(
                    f"{name} {wanted}: this process may use {cpu_count()} CPUs; give 2 to {most}, "
                    f"or leave --{name} out"
                )
        if self.jobs and self.workers:
            raise UsageError(
                "--jobs and --workers: give one; --jobs segments many videos at once, --workers "
                "one video in parts"
            )

    def check_memory(self, runner: Runner, *, stabilize: bool, keyframes: bool) -> None:
        """Check that the ranges of a video can be segmented independently.

        Raises:
            UsageError: the network, the stabiliser or key frames need the frames before each frame.
        """
        if not self or self.has_jobs:
            return
        if runner.remembers:
            raise UsageError(
                f"--workers: {os.fspath(runner.description.path)} remembers the frames before, so "
                "that a video cannot be cut into parts; use --jobs, which cuts none"
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
                "of them out, or use --jobs, which cuts none"
            )

    def threads(self, wanted: int) -> int:
        """CPU threads per network: `wanted` or, where it is 0, an equal share of the CPUs."""
        if not self or wanted:
            return wanted

        # Give a worker of a cluster one thread: Ray reserves so many CPUs for it.
        if self.cluster is not None:
            return 1
        return max(1, cpu_count() // (self.jobs or self.workers))

    def crew(
        self,
        kind: type[Setup[Shared, Part, Answer]],
        choice: ModelChoice,
        stop: threading.Event,
    ) -> Crew[Shared, Part, Answer]:
        """The workers, not started yet.

        Args:
            kind: of the work.
            stop: set it to end the wait for results.

        Raises:
            UsageError, DeviceError: as `ClusterCrew`.
        """
        from vidparse.workers.cluster_crew import ClusterCrew
        from vidparse.workers.process_crew import ProcessCrew

        if Path(choice.name).exists():  # a worker may be in another folder
            choice = choice.of(Path(choice.name).absolute())
        setup, count = kind(choice, Limits.of_this_process()), self.jobs or self.workers
        if self.cluster is not None:
            return ClusterCrew(self.cluster, count, setup, stop)
        return ProcessCrew(count, setup, stop)
