"""Threads joined by bounded queues, through which items and errors travel in order."""

from __future__ import annotations

import queue
import threading
import time
from collections.abc import Callable, Generator, Iterable, Iterator
from contextlib import closing, contextmanager
from typing import TypeVar

T = TypeVar("T")
R = TypeVar("R")

_POLL_S = 0.1  # how soon a blocked producer notices that nobody listens any more
_JOIN_S = 2.0  # patience with a producer that is stuck in a read


class _End:
    """Last thing in a queue: the producer is done, or failed with `error`."""

    def __init__(self, error: BaseException | None = None) -> None:
        self.error = error


_END = _End()


def _close(iterator: object) -> None:
    """Close a generator in the thread that runs it."""
    close = getattr(iterator, "close", None)
    if close is not None:
        close()


class StageClock:
    """Busy time of one stage: wall seconds inside the work, not in queues."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.wall_s = 0.0
        self.items = 0

    @contextmanager
    def measure(self) -> Iterator[None]:
        start = time.perf_counter()
        try:
            yield
        finally:
            self.wall_s += time.perf_counter() - start

    def timed(self, source: Iterable[T]) -> Generator[T, None, None]:
        """Items of `source`, timing how long each takes to make."""
        iterator = iter(source)
        try:
            while True:
                with self.measure():
                    item = next(iterator, _END)
                if isinstance(item, _End):
                    return
                self.items += 1
                yield item
        finally:
            _close(iterator)

    def mapped(self, work: Callable[[T], R], source: Iterable[T]) -> Generator[R, None, None]:
        """`work` applied to every item, timed."""
        iterator = iter(source)
        try:
            for item in iterator:
                with self.measure():
                    result = work(item)
                self.items += 1
                yield result
        finally:
            _close(iterator)

    def flat_mapped(
        self, work: Callable[[T], Iterable[R]], source: Iterable[T]
    ) -> Generator[R, None, None]:
        """The results of `work` on every item, one after another, timed."""
        with closing(self.mapped(work, source)) as every:
            for results in every:
                yield from results


def grouped(
    source: Iterable[T], size: int, alike: Callable[[T, T], bool]
) -> Generator[list[T], None, None]:
    """Runs of at most `size` items that are alike, in order.

    What `source` raises is raised after the items before it were given.
    """
    group: list[T] = []
    try:
        try:
            for item in source:
                if group and not alike(group[0], item):
                    yield group
                    group = []
                group.append(item)
                if len(group) == size:
                    yield group
                    group = []
        except Exception:
            if group:
                yield group
            raise
        if group:
            yield group
    finally:
        _close(source)


def in_thread(
    source: Iterable[T],
    *,
    name: str,
    stuck: threading.Event,
    halt: threading.Event,
    depth: int = 4,
) -> Generator[T, None, None]:
    """Run an iterator in a thread of its own, at most `depth` items ahead.

    What the producer raises is raised here after every item before it was delivered. When the
    consumer stops early (or fails), closing this generator stops the producer, which closes
    `source` in its own thread. `stuck` is set when the producer could not be stopped in time (it
    waits in a read, say); then nothing it uses may be touched. When `halt` is set while nothing is
    ready, the iteration ends.
    """
    box: queue.Queue[T | _End] = queue.Queue(depth)
    stop = threading.Event()

    def put(item: T | _End) -> bool:
        while not stop.is_set():
            try:
                box.put(item, timeout=_POLL_S)
            except queue.Full:
                continue
            return True
        return False

    def produce() -> None:
        end = _End()
        try:
            for item in source:
                if not put(item):
                    break
        except BaseException as error:  # handed over, not swallowed
            end = _End(error)
        finally:
            try:
                _close(source)
            except Exception as error:  # a failed clean-up must not hide the first failure
                end = end if end.error else _End(error)
            put(end)

    thread = threading.Thread(target=produce, name=f"vidparse-{name}", daemon=True)
    thread.start()
    try:
        while True:
            try:
                item = box.get(timeout=_POLL_S)
            except queue.Empty:
                if halt.is_set():
                    return
                continue
            if isinstance(item, _End):
                if item.error is not None:
                    raise item.error
                return
            yield item
    finally:
        stop.set()
        thread.join(_JOIN_S)
        if thread.is_alive():
            stuck.set()
