"""The program: decode, network, drawing and encoding overlap, and every frame meets its prediction.

source -> prepared | answered | finished | sinks        ("|" = a thread border)
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Generator, Iterable, Iterator, Sequence
from contextlib import ExitStack, closing, contextmanager, suppress
from dataclasses import dataclass
from functools import cache, partial
from typing import TYPE_CHECKING, Any, Protocol, TypeVar

from vidparse.errors import InputError, Interrupted, TruncatedError, counted
from vidparse.frame import Frame, Packet
from vidparse.maps import Prediction
from vidparse.threads import END, End, close_iterator, in_thread

if TYPE_CHECKING:
    from vidparse.inference.keyframes import KeyFrameReport
    from vidparse.inference.looks import Look
    from vidparse.labels import Labels
    from vidparse.sinks import Sink
    from vidparse.video import Source

T = TypeVar("T")
R = TypeVar("R")
Items = Generator[T, None, None]


@dataclass(frozen=True, slots=True)
class StageTime:
    """Busy time of one stage over a run.

    cpu_s: CPU seconds of the whole process meanwhile; of the stage alone in a serial run.
    """

    name: str
    wall_s: float
    cpu_s: float
    items: int

    @property
    def ms_per_item(self) -> float:
        return 1000 * self.wall_s / self.items if self.items else 0.0


@dataclass(frozen=True, slots=True)
class RunReport:
    """Frames, time and stages of a run.

    repeated: frames whose network input was that of the frame before, so that it was not run.
    key_frames: None where the network runs at every frame.
    looks: at some frames; none where the model has no profile, or no scores are at hand.
    """

    frames: int
    wall_s: float
    stages: tuple[StageTime, ...]
    repeated: int = 0
    key_frames: KeyFrameReport | None = None
    looks: tuple[Look, ...] = ()

    @property
    def fps(self) -> float:
        return self.frames / self.wall_s if self.wall_s else 0.0

    @property
    def bottleneck(self) -> str:
        """Name of the stage that was busy longest."""
        return max(self.stages, key=lambda stage: stage.wall_s).name if self.stages else ""


class Stages(Protocol):
    """The work that the pipeline runs: a `Session`, or another with its stages.

    Each stage is an iterator of what the one before it yields.
    """

    labels: Labels

    @property
    def repeated(self) -> int:
        """Frames so far, of all videos, that the network was spared."""
        ...

    @property
    def key_frames(self) -> KeyFrameReport | None:
        """Key frames so far, of all videos; None where the network runs at every frame."""
        ...

    @property
    def looks(self) -> Sequence[Look]:
        """Looks at frames of the video under way."""
        ...

    def prepared(self, frames: Iterable[Frame]) -> Iterator[Any]: ...
    def answered(self, prepared: Any, *, live: bool) -> Iterator[Any]: ...
    def finished(self, answered: Any) -> Iterator[tuple[Frame, Prediction]]: ...


def run(
    source: Source,
    session: Stages,
    sinks: Sequence[Sink],
    *,
    on_frame: Callable[[Frame], None] = lambda _: None,
    stop: threading.Event | None = None,
    overlap: bool = True,
) -> RunReport:
    """Push every frame of `source` through `session` into `sinks`.

    Sinks are opened at the first frame and closed exactly once. They are kept when the source ends,
    is truncated or is stopped (also by KeyboardInterrupt); on any other error what they wrote is
    removed. The source is closed here, too.

    Args:
        stop: when set, no further frame is taken and the run ends with Interrupted.
        overlap: run the stages in threads of their own; False runs them in turn.

    Raises:
        Interrupted: `stop` was set; outputs hold the frames done so far.
        TruncatedError: the source ended early; outputs hold every good frame.
        InputError: the source holds no frame at all.
        VidparseError: whatever else a stage raised.
    """
    clocks = [StageClock(name) for name in ("decode", "prepare", "network", "upsample", "sinks")]
    start = time.perf_counter()
    frames, repeated_before = 0, session.repeated
    stuck = threading.Event()
    stop = stop or threading.Event()
    try:
        with (
            ExitStack() as outputs,
            closing(_predictions(source, session, clocks, overlap, stuck, stop)) as results,
        ):
            for frame, prediction in results:
                with clocks[-1].measure():
                    if not frames:
                        # Register all before any is opened: a failure puts every one away.
                        trailing = cache(source.trailing_packets)  # given out once, for all
                        for sink in reversed(sinks):  # they are closed in order
                            outputs.push(partial(_put_away, sink, trailing))
                        for sink in sinks:
                            sink.open(source.info, session.labels)
                    for sink in sinks:
                        sink.write(frame, prediction)
                frames += 1
                on_frame(frame)
                if stop.is_set():
                    break

            if stop.is_set():
                done = "before any frame"
                if frames:
                    kept = any(sink.keeps_parts for sink in sinks)
                    left = "outputs hold these" if kept else "nothing of them is kept"
                    done = f"after {counted(frames, 'frame')}; {left}"
                raise Interrupted(f"{source.info.name}: interrupted {done}")
            if not frames:
                raise InputError(f"{source.info.name}: no frame could be decoded; check the file")

            # Close them here, within the clock: encoders write their last frames now.
            with clocks[-1].measure():
                outputs.close()
    finally:
        # Leave the source to a thread that is stuck in it: it must not be closed in use.
        if not stuck.is_set():
            source.close()
    times = tuple(StageTime(c.name, c.wall_s, c.cpu_s, frames) for c in clocks)
    repeated = session.repeated - repeated_before
    wall_s = time.perf_counter() - start
    return RunReport(frames, wall_s, times, repeated, session.key_frames, tuple(session.looks))


def _predictions(
    source: Source,
    session: Stages,
    clocks: list[StageClock],
    overlap: bool,
    stuck: threading.Event,
    stop: threading.Event,
) -> Items[tuple[Frame, Prediction]]:
    """(frame, prediction) in order. Each stage closes the one before it when it is closed."""
    decode, prepare, network, upsample, _ = clocks
    live = source.info.frames is None  # somebody may be waiting for the frames of a pipe

    over = threading.Event()  # nobody reads any more

    def border(items: Items[T], name: str, *, computes: bool = True) -> Items[T]:
        if not overlap:
            return items
        depth = source.queued
        return in_thread(
            items, name=name, stuck=stuck, halt=stop, depth=depth, over=over, computes=computes
        )

    decoded = prepare.through(session.prepared, decode.timed(source))
    prepared = border(decoded, "decode", computes=False)
    answered = network.through(lambda ahead: session.answered(ahead, live=live), prepared)
    results = border(upsample.through(session.finished, border(answered, "network")), "upsample")

    # Wait for the network's last answer before all is closed: the next run has the same network.
    try:
        while (one := next(results, None)) is not None:  # `yield from` would close them first
            yield one
    finally:
        over.set()
        results.close()


class StageClock:
    """Busy time of one stage: seconds inside the work, not in queues or other stages."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.wall_s = self.cpu_s = 0.0

    @contextmanager
    def measure(self, sign: int = 1) -> Iterator[None]:
        wall, cpu = time.perf_counter(), time.process_time()
        try:
            yield
        finally:
            self.wall_s += sign * (time.perf_counter() - wall)
            self.cpu_s += sign * (time.process_time() - cpu)

    def through(self, stage: Callable[[Items[T]], Iterable[R]], source: Iterable[T]) -> Items[R]:
        """Items of `stage(source)`, timing the stage without its waits for the source."""
        return self.timed(stage(self.timed(source, sign=-1)))

    def timed(self, source: Iterable[T], sign: int = 1) -> Items[T]:
        """Items of `source`, timing how long each takes to make."""
        iterator = iter(source)
        try:
            while True:
                with self.measure(sign):
                    item = next(iterator, END)
                if isinstance(item, End):
                    return
                yield item
        finally:
            close_iterator(iterator)


def _put_away(
    sink: Sink,
    trailing: Callable[[], Sequence[Packet]],
    kind: type[BaseException] | None,
    error: BaseException | None,
    trace: object,
) -> None:
    """Close a sink at the end of a run, and keep its output unless `error` makes it worthless."""
    # Keep what a source that ended early gave: all frames of it are good.
    if error is None or isinstance(error, TruncatedError):
        sink.close(keep=True, packets=trailing())
    elif isinstance(error, Interrupted | KeyboardInterrupt):
        sink.close(keep=True, complete=False)
    else:
        with suppress(Exception):  # the error that ended the run is the one to report
            sink.close(keep=False)
