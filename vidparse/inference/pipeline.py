"""The program: decode, network, drawing and encoding overlap, and every frame meets its prediction.

source -> prepare | network | bring to full size | sinks        ("|" = a thread border)
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Generator, Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass
from typing import Protocol, TypeVar

from vidparse.errors import InputError, Interrupted, TruncatedError
from vidparse.frame import Frame, VideoInfo
from vidparse.inference.session import Prepared, Scored, Session
from vidparse.inference.stages import StageClock, grouped, in_thread
from vidparse.labels import Labels
from vidparse.maps import Prediction

T = TypeVar("T")


class FrameSource(Protocol):
    """Where frames come from (see vidparse.video)."""

    info: VideoInfo

    def __iter__(self) -> Iterator[Frame]: ...
    def trailing_packets(self) -> Sequence[object]: ...
    def close(self) -> None: ...


class FrameSink(Protocol):
    """Where predictions go (see vidparse.sinks)."""

    def open(self, info: VideoInfo, labels: Labels) -> None: ...
    def write(self, frame: Frame, prediction: Prediction) -> None: ...
    def close(
        self, *, keep: bool, complete: bool = True, packets: Sequence[object] = ()
    ) -> None: ...


@dataclass(frozen=True, slots=True)
class StageTime:
    """Busy wall time of one stage over a run."""

    name: str
    wall_s: float
    items: int

    @property
    def ms_per_item(self) -> float:
        return 1000 * self.wall_s / self.items if self.items else 0.0


@dataclass(frozen=True, slots=True)
class RunReport:
    """What a run did."""

    frames: int
    wall_s: float
    stages: tuple[StageTime, ...]

    @property
    def fps(self) -> float:
        return self.frames / self.wall_s if self.wall_s else 0.0

    @property
    def bottleneck(self) -> str:
        """Name of the stage that was busy longest."""
        return max(self.stages, key=lambda stage: stage.wall_s).name if self.stages else ""


def run(
    source: FrameSource,
    session: Session,
    sinks: Sequence[FrameSink],
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
    outlet = _Outlet(source.info, session.labels, sinks)
    frames = 0
    stuck = threading.Event()
    stop = stop or threading.Event()
    try:
        with closing(_predictions(source, session, clocks, overlap, stuck, stop)) as results:
            for frame, prediction in results:
                with clocks[-1].measure():
                    outlet.write(frame, prediction)
                frames += 1
                on_frame(frame)
                if stop.is_set():
                    break
        if stop.is_set():
            done = f"after {frames} frames; outputs hold these" if frames else "before any frame"
            raise Interrupted(f"{source.info.name}: interrupted {done}")
        if not frames:
            raise InputError(f"{source.info.name}: no frame could be decoded; check the file")
    except TruncatedError:
        outlet.close(keep=frames > 0, packets=source.trailing_packets())
        raise
    except (Interrupted, KeyboardInterrupt):
        outlet.close(keep=True, complete=False)
        raise
    except BaseException:
        outlet.close(keep=False)
        raise
    else:
        with clocks[-1].measure():
            outlet.close(keep=True, packets=source.trailing_packets())
    finally:
        if not stuck.is_set():
            source.close()
    times = tuple(StageTime(c.name, c.wall_s, frames) for c in clocks)
    return RunReport(frames, time.perf_counter() - start, times)


def _predictions(
    source: FrameSource,
    session: Session,
    clocks: list[StageClock],
    overlap: bool,
    stuck: threading.Event,
    stop: threading.Event,
) -> Generator[tuple[Frame, Prediction], None, None]:
    """(frame, prediction) in order. Each stage closes the one before it when it is closed."""
    decode, prepare, network, upsample, _ = clocks

    def border(items: Generator[T, None, None], name: str) -> Generator[T, None, None]:
        return in_thread(items, name=name, stuck=stuck, halt=stop) if overlap else items

    def finish(scored: Scored) -> tuple[Frame, Prediction]:
        return scored.frame, session.finish(scored)

    session.reset()
    prepared = prepare.mapped(session.prepare, decode.timed(source))
    ahead = border(prepared, "decode")
    if session.batch > 1 and source.info.frames is not None:  # nobody waits for a file's frames
        scored = network.flat_mapped(session.infer_many, grouped(ahead, session.batch, _alike))
    else:
        scored = network.mapped(session.infer, ahead)
    return border(upsample.mapped(finish, border(scored, "network")), "upsample")


def _alike(one: Prepared, other: Prepared) -> bool:
    """Whether two frames fit in one pass."""
    sizes = one.frame.image.size_hw == other.frame.image.size_hw
    return sizes and one.clip.shape == other.clip.shape


class _Outlet:
    """The sinks of one run as one thing that opens late and closes once."""

    def __init__(self, info: VideoInfo, labels: Labels, sinks: Sequence[FrameSink]) -> None:
        self._info, self._labels, self._sinks = info, labels, sinks
        self._opened: list[FrameSink] = []
        self._started = False

    def write(self, frame: Frame, prediction: Prediction) -> None:
        if not self._started:
            self._started = True
            for sink in self._sinks:
                self._opened.append(sink)
                sink.open(self._info, self._labels)
        for sink in self._sinks:
            sink.write(frame, prediction)

    def close(self, *, keep: bool, complete: bool = True, packets: Sequence[object] = ()) -> None:
        """Close every opened sink even if one of them fails; the first failure is raised.

        An interrupt does not make the others go away: what they hold is good.
        """
        failure: BaseException | None = None
        interrupt: KeyboardInterrupt | None = None
        while self._opened:
            sink = self._opened.pop(0)
            try:
                sink.close(keep=keep and failure is None, complete=complete, packets=packets)
            except Exception as error:
                failure = failure or error
            except KeyboardInterrupt as error:
                interrupt = error
        if interrupt is not None:
            raise interrupt
        if failure is not None and keep:
            raise failure
