"""An iterator in a thread of its own, a few items ahead of its reader."""

from __future__ import annotations

import queue
import threading
import time
from collections.abc import Generator, Iterable
from typing import TypeVar

T = TypeVar("T")

_POLL_S = 0.1  # how soon a blocked producer notices that nobody listens any more
_JOIN_S = 2.0  # patience with a producer that is stuck in a read


class End:
    """Last thing in a queue: the producer is done, or failed with `error`."""

    def __init__(self, error: BaseException | None = None) -> None:
        self.error = error


END = End()


def in_thread(
    source: Iterable[T],
    *,
    name: str,
    stuck: threading.Event,
    halt: threading.Event,
    depth: int = 4,
    over: threading.Event | None = None,
    computes: bool = False,
) -> Generator[T, None, None]:
    """Run an iterator in a thread of its own, at most `depth` items ahead.

    An error of the producer is raised here after every item before it was delivered. When the
    consumer stops early (or fails), closing this generator stops the producer, which closes
    `source` in its own thread.

    Args:
        stuck: set when the producer could not be stopped in time (it may wait in a read); then
            nothing it uses may be touched.
        halt: when set while nothing is ready, the iteration ends.
        over: the same, where whoever reads this one's items is closed himself.
        computes: the producer reads nothing, so that it ends by itself, if late: it is waited for
            until then, or until `halt` is set.
    """
    box: queue.Queue[T | End] = queue.Queue(depth)
    stop = threading.Event()

    def put(item: T | End) -> bool:
        while not stop.is_set():
            try:
                # Wait in short turns: a reader that left would never make room.
                box.put(item, timeout=_POLL_S)
            except queue.Full:
                continue
            return True
        return False

    def produce() -> None:
        end = End()
        try:
            for item in source:
                if not put(item):
                    break
        except BaseException as error:  # handed over, not swallowed
            end = End(error)
        finally:
            try:
                close_iterator(source)
            except Exception as error:  # a failed clean-up must not hide the first failure
                end = end if end.error else End(error)
            put(end)

    # Make it a daemon, so that a thread stuck in a read cannot keep the process alive.
    thread = threading.Thread(target=produce, name=f"vidparse-{name}", daemon=True)
    thread.start()
    try:
        while True:
            try:
                # Wait in short turns, to see a halt while the producer is stuck in a read.
                item = box.get(timeout=_POLL_S)
            except queue.Empty:
                if halt.is_set() or (over is not None and over.is_set()):
                    return
                continue
            if isinstance(item, End):
                if item.error is not None:
                    raise item.error
                return
            yield item
    finally:
        stop.set()
        until_s = time.monotonic() + _JOIN_S
        while thread.is_alive() and (
            (computes and not halt.is_set()) or time.monotonic() < until_s
        ):
            thread.join(_POLL_S)
        if thread.is_alive():
            stuck.set()


def close_iterator(iterator: object) -> None:
    """Close a generator in the thread that runs it; other iterators need none."""
    close = getattr(iterator, "close", None)
    if close is not None:
        close()
