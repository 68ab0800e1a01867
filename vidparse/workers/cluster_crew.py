"""Workers as actors of a Ray cluster."""

from __future__ import annotations

import logging
import threading
from collections.abc import Iterable
from types import ModuleType
from typing import TYPE_CHECKING

from vidparse.errors import DeviceError, UsageError, expected
from vidparse.workers.crew import AnsweringWorker, Crew, Returned
from vidparse.workers.job import Answer, Part, Setup, Shared

if TYPE_CHECKING:
    import ray

log = logging.getLogger(__name__)


class ClusterCrew(Crew[Shared, Part, Answer]):
    """Actors of Ray, each with as many CPUs as its network has threads.

    The videos must have the same path on all machines.

    Args:
        address: of a cluster, host:port or ray://host:port; "auto": the one that runs here.
        count: of workers; 0: as many as the CPUs of the cluster allow.
        setup: of each worker.

    Raises:
        UsageError: Ray is not installed.
        DeviceError: no cluster answers at the address.
    """

    def __init__(
        self, address: str, count: int, setup: Setup[Shared, Part, Answer], stop: threading.Event
    ) -> None:
        self._ray = _connected(address)
        cpus = max(1, setup.choice.threads)
        has = int(self._ray.cluster_resources().get("CPU", 1))
        super().__init__(count or max(1, has // cpus), setup, stop)

        on_gpu = setup.choice.device.startswith("cuda")
        # An actor that is lost is started anew by this side, which knows what it had to do.
        self._kind = self._ray.remote(
            num_cpus=cpus, num_gpus=1 if on_gpu else 0, scheduling_strategy="SPREAD"
        )(AnsweringWorker)
        self._actors: dict[int, ray.actor.ActorHandle] = {}
        # Worker and ticket by the promise of an answer.
        self._sent: dict[ray.ObjectRef, tuple[int, int]] = {}
        # What the last part shares with others, and where the cluster keeps it.
        self._known: list[tuple[Shared, ray.ObjectRef]] = []

    def start(self, worker: int) -> None:
        self._actors[worker] = self._kind.remote(self._setup)

    def send(self, worker: int, ticket: int, shared: Shared, part: Part) -> None:
        if not self._known or self._known[0][0] is not shared:
            self._known = [(shared, self._ray.put(shared))]
        promise = self._actors[worker].answer.remote(self._known[0][1], part)
        self._sent[promise] = worker, ticket

    def news(self, wait_s: float) -> Iterable[Returned[Answer]]:
        if not self._sent:
            return
        ready, _ = self._ray.wait(list(self._sent), num_returns=1, timeout=wait_s)
        for promise in ready:
            worker, ticket = self._sent.pop(promise)
            try:
                yield Returned(worker, ticket, self._ray.get(promise))
            except self._ray.exceptions.RayTaskError as error:
                yield Returned(worker, ticket, expected(error))
            except self._ray.exceptions.RayError as error:
                log.debug("worker %d: %s", worker, error)

                # Forget its other parts, too, or the same loss would be reported for each.
                self._sent = {one: to for one, to in self._sent.items() if to[0] != worker}
                del self._actors[worker]
                yield Returned(worker)

    def request_end(self) -> None:
        super().request_end()
        self.end()  # an actor hears nothing while it works

    def end(self) -> None:
        for actor in self._actors.values():
            self._ray.kill(actor)
        self._actors.clear()
        self._sent.clear()
        self._held.clear()
        self._ray.shutdown()


def _connected(address: str) -> ModuleType:
    """Ray, as a client of the cluster."""
    try:
        import ray
        import ray.exceptions
    except ImportError as error:
        raise UsageError(
            "--cluster: Ray is not installed; pip install 'vidparse[cluster]'"
        ) from error

    try:
        ray.init(address=address, log_to_driver=False, logging_level=logging.ERROR)
    except (ConnectionError, OSError, RuntimeError, ValueError) as error:
        log.debug("%s", address, exc_info=error)
        raise DeviceError(
            f"--cluster {address}: no Ray cluster answers; start one with 'ray start --head', or "
            "give the address of one"
        ) from error
    package: ModuleType = ray
    return package
