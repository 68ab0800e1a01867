"""Threads that cannot hang: errors travel both ways, nothing is left running, order is kept."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator

import pytest

from vidparse.inference.pipeline import StageClock, in_thread


@pytest.fixture(autouse=True)
def no_thread_left() -> Iterator[None]:
    before = threading.active_count()
    yield
    deadline = time.monotonic() + 3
    while threading.active_count() > before and time.monotonic() < deadline:
        time.sleep(0.01)
    assert threading.active_count() == before


def stage(source, **more):
    events = {"stuck": threading.Event(), "halt": threading.Event(), **more}
    return in_thread(source, name="test", **events)


def test_order_is_kept_through_two_stages() -> None:
    assert list(stage(x * 2 for x in stage(iter(range(500))))) == [2 * x for x in range(500)]


def test_never_more_than_depth_ahead() -> None:
    made: list[int] = []

    def source() -> Iterator[int]:
        for i in range(1000):
            made.append(i)
            yield i

    results = stage(source(), depth=3)
    for _ in range(10):
        next(results)
    time.sleep(0.2)
    assert len(made) <= 10 + 3 + 2  # queue, the one waiting to enter it, the one being made
    results.close()


def test_producer_error_arrives_after_every_good_item() -> None:
    def source() -> Iterator[int]:
        yield from range(20)
        raise OSError("disk on fire")

    seen = []
    with pytest.raises(OSError, match="disk on fire"):
        seen.extend(stage(x for x in stage(source())))
    assert seen == list(range(20))


def test_consumer_stop_closes_the_source_in_its_own_thread() -> None:
    closed_in = []

    def source() -> Iterator[int]:
        try:
            while True:
                yield 1
        finally:
            closed_in.append(threading.current_thread().name)

    clock = StageClock("x")
    results = stage(clock.through(iter, stage(clock.timed(source()))))
    assert next(results) == 1
    results.close()
    assert closed_in == ["vidparse-test"]


def test_stuck_producer_is_reported_not_waited_for() -> None:
    release, stuck = threading.Event(), threading.Event()

    def source() -> Iterator[int]:
        yield 1
        release.wait()

    results = stage(source(), stuck=stuck)
    next(results)
    time.sleep(0.05)
    start = time.monotonic()
    results.close()
    assert time.monotonic() - start < 5
    assert stuck.is_set()
    release.set()


def test_halt_ends_a_wait_for_a_silent_source() -> None:
    release, halt = threading.Event(), threading.Event()

    def source() -> Iterator[int]:
        yield 1
        release.wait()

    results = stage(source(), halt=halt)
    assert next(results) == 1
    threading.Timer(0.2, halt.set).start()
    threading.Timer(0.4, release.set).start()
    assert list(results) == []


def test_clock_counts_the_work_and_not_the_waits() -> None:
    def slow(items: Iterator[int], seconds: float) -> Iterator[int]:
        for item in items:
            time.sleep(seconds)
            yield item

    first, second = StageClock("first"), StageClock("second")
    source = first.through(lambda items: slow(items, 0.02), iter(range(5)))
    assert list(second.through(lambda items: slow(items, 0.01), source)) == list(range(5))
    assert 0.1 <= first.wall_s < 0.5
    assert 0.05 <= second.wall_s < 0.1
    assert max(first.cpu_s, second.cpu_s) < 0.04
