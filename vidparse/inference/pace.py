"""Keeping up with a rate: a smaller input of the network, then fewer frames, and back again."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace

import numpy as np

from vidparse.errors import UsageError
from vidparse.frame import Frame
from vidparse.hub import resolve
from vidparse.inference.clips import Answered, Prepared, closed
from vidparse.inference.finishing import FramePredictions
from vidparse.inference.load import load_chosen
from vidparse.inference.looks import Look
from vidparse.inference.preprocess import input_size
from vidparse.inference.runners import Runner
from vidparse.inference.session import Session
from vidparse.labels import Labels
from vidparse.requests.model import ModelChoice

SCALES = (1.0, 0.85, 0.7, 0.6, 0.5)  # of the sides of the network's input
STRIDES = (2, 3, 4, 6, 8, 12, 16, 24, 32)  # at the smallest scale

_WINDOW_S, _WINDOW_FRAMES = 0.5, 4  # least time and frames between two decisions
_ROOM = 0.95  # of the time for a frame, that a step may be expected to take
_SPARE = 0.8  # of it, that the network may take after a step back up
_STARVED = 0.75  # of the time spent waiting for frames: then nothing here is to blame
_UNDER_WAY = 8  # frames that may wait between the stages when a step is taken
_PATIENCE_S, _LONGEST_S = 4.0, 64.0  # before a step back up; doubled after one that failed


@dataclass(frozen=True, slots=True)
class Step:
    """A way to spend less time on a frame.

    scale: of the sides of the network's input. stride: every n-th frame is taken.
    """

    scale: float = 1.0
    stride: int = 1


@dataclass(frozen=True, slots=True)
class PaceReport:
    """The rate that was wanted, the one that was reached, and the price.

    shares: of the frames that were read, by step, from the dearest on.
    """

    wanted_fps: float
    reached_fps: float
    shares: tuple[tuple[Step, float], ...]

    @property
    def kept_up(self) -> bool:
        """True where the frames came no slower than was wanted, or the source was slower."""
        return self.reached_fps >= _ROOM * self.wanted_fps

    @property
    def note(self) -> str:
        """One line for the user; "" where nothing was given up."""
        given_up = [_words(step, share) for step, share in self.shares if step != Step()]
        if self.kept_up and not given_up:
            return ""
        wanted = f"{self.wanted_fps:g} frames per second"
        if self.kept_up:
            return f"to keep up with {wanted}: {'; '.join(given_up)}"
        least = f", though with {'; '.join(given_up)}" if given_up else ""
        return f"{wanted} not reached: {self.reached_fps:.1f}{least}"


def _words(step: Step, share: float) -> str:
    """A step in words."""
    size = f"{100 * step.scale:.0f} % of the network's input size"
    words = {
        (True, False): size,
        (False, True): f"every {_ordinal(step.stride)} frame",
        (True, True): f"{size} and every {_ordinal(step.stride)} frame",
    }[step.scale < 1, step.stride > 1]
    return f"{words} for {100 * share:.0f} % of the frames"


def _ordinal(number: int) -> str:
    ending = {1: "st", 2: "nd", 3: "rd"}.get(number % 10 if number // 10 % 10 != 1 else 0, "th")
    return f"{number}{ending}"


def check_rate(fps: float) -> None:
    """Raises: UsageError: a rate that is not positive, or without end."""
    if not 0 < fps < float("inf"):
        raise UsageError(f"--fps {fps:g}: is no rate; give frames per second, as in --fps 30")


class Pace:
    """Chooses a step such that frames are done at a rate, again and again as the load changes.

    Every half second it compares the time per frame with the wanted one. Where frames come too
    slowly, it takes the dearest step that should be quick enough: the network's time goes with the
    pixels of its input, all time with the frames that are taken. Where the network has time to
    spare for some seconds, it goes one step back; after a step back that was too much it waits
    twice as long.

    Time that is spent waiting for frames counts as theirs: a camera of 25 frames per second is no
    reason to give anything up for 30.

    Args:
        fps: frames per second of the source.
        can_shrink: the size of the network's input may be changed.
        clock: seconds.

    Raises:
        UsageError: a rate that is not positive.
    """

    def __init__(
        self,
        fps: float,
        *,
        can_shrink: bool = True,
        clock: Callable[[], float] = time.perf_counter,
    ) -> None:
        check_rate(fps)
        self._fps, self._clock = fps, clock
        scales = SCALES if can_shrink else (1.0,)
        self._steps = [Step(scale) for scale in scales]
        self._steps += [Step(scales[-1], stride) for stride in STRIDES]
        self._place = 0
        self._read: Counter[Step] = Counter()

        # Write each of these in one thread only: the stages do not wait for each other.
        self._network_s, self._network_frames = 0.0, 0
        self._waited_s = 0.0
        self._since: _Marks | None = None
        self._settled = 1  # answers of the network, before which nothing is counted
        self._patience_s, self._changed_s, self._raised_s = _PATIENCE_S, 0.0, float("-inf")
        self._begun_s: float | None = None
        self._ended_s = 0.0

    @property
    def step(self) -> Step:
        """The step in use."""
        return self._steps[self._place]

    def taken(self, frames: Iterable[Frame]) -> Iterator[Frame]:
        """The frames that are taken, the last one always; a step is chosen on the way."""
        skip = 0
        dropped: Frame | None = None
        with closed(self._noted(frames)) as source:
            for frame in source:
                now = frame if dropped is None else frame.following(dropped)
                if skip:
                    skip, dropped = skip - 1, now
                    continue
                self._choose(self._ended_s)
                skip, dropped = self.step.stride - 1, None
                yield now
        if dropped is not None:
            yield dropped

    def _noted(self, frames: Iterable[Frame]) -> Iterator[Frame]:
        """The frames, as they are counted and waited for."""
        with closed(frames) as source:
            while True:
                began_s = self._clock()
                frame = next(source, None)
                self._ended_s = self._clock()
                if frame is None:
                    return
                self._waited_s += self._ended_s - began_s
                if self._begun_s is None:
                    self._begun_s = self._ended_s
                self._read[self.step] += 1
                yield frame

    def spent(self, seconds: float, frames: int) -> None:
        """Note the time that the network took for some frames."""
        self._network_s += seconds
        self._network_frames += frames

    def report(self) -> PaceReport:
        """The rate and the price so far."""
        read = self._read.total()
        lasted_s = self._ended_s - (self._begun_s or 0.0)

        # Leave out the wait for frames where it was what took the time.
        if self._waited_s > _STARVED * lasted_s:
            reached = self._fps
        else:
            reached = read / lasted_s if lasted_s > 0 else self._fps
        shares = [(step, self._read[step] / read) for step in self._steps if self._read[step]]
        return PaceReport(self._fps, reached, tuple(shares))

    def _choose(self, now_s: float) -> None:
        """Change the step where the last frames took too long, or the network has time to spare."""
        marks = _Marks(
            now_s, self._read.total(), self._network_s, self._network_frames, self._waited_s
        )

        # Begin to count when the frames of the step before, or none at first, are out of the way.
        if self._since is None:
            if marks.network_frames >= self._settled:
                self._since = marks
            return
        past = marks.since(self._since)
        if past.now_s < _WINDOW_S or past.read < _WINDOW_FRAMES or not past.network_frames:
            return
        self._since = marks

        # Split the time for a frame that is taken into the network's and the rest.
        stride, scale = self.step.stride, self.step.scale
        period_s = past.now_s / past.read
        network_s = past.network_s / past.network_frames
        rest_s = max(0.0, period_s * stride - network_s)
        is_starved = past.waited_s > _STARVED * past.now_s

        def expected_s(step: Step, rest_s: float) -> float:
            return (network_s * (step.scale / scale) ** 2 + rest_s) / step.stride

        wanted_s = 1 / self._fps
        if period_s > wanted_s and not is_starved:
            lower = range(self._place + 1, len(self._steps))
            fits = (at for at in lower if expected_s(self._steps[at], rest_s) <= _ROOM * wanted_s)
            if lower:
                self._go(next(fits, lower[-1]), now_s)
            return

        # Demand no more of a slow source than that the network keeps up.
        if self._place and now_s - self._changed_s > self._patience_s:
            above = self._steps[self._place - 1]
            others_s = 0.0 if is_starved else rest_s
            if (
                expected_s(above, 0.0) <= _SPARE * wanted_s
                and expected_s(above, others_s) <= _ROOM * wanted_s
            ):
                self._raised_s = now_s
                self._go(self._place - 1, now_s)

    def _go(self, place: int, now_s: float) -> None:
        """Take another step."""
        if place > self._place:
            # Wait longer next time if this undoes a step back up that was too much.
            failed = now_s - self._raised_s < 2 * _PATIENCE_S
            longer_s = min(2 * self._patience_s, _LONGEST_S)
            self._patience_s = longer_s if failed else self._patience_s
        self._place, self._changed_s = place, now_s
        self._since, self._settled = None, self._network_frames + _UNDER_WAY


def load_paced(choice: ModelChoice, fps: float) -> Runner:
    """The network of a choice; in int8, if float32 is too slow for the rate and int8 is quicker.

    Raises:
        UsageError, ModelError, DeviceError: as `load_chosen`.
    """
    runner = load_chosen(choice)
    is_free = choice.precision == "auto" and choice.backend in ("auto", "onnx")
    if not is_free or runner.device != "cpu" or runner.precision == "int8":
        return runner
    if resolve(choice.name).int8 is None or (usual_s := _answer_s(runner)) < _ROOM / fps:
        return runner

    int8 = load_chosen(replace(choice, precision="int8"))
    if _answer_s(int8) >= usual_s:
        return runner
    int8.chosen = f"int8, to keep up with {fps:g} frames per second"
    return int8


def _answer_s(runner: Runner) -> float:
    """Seconds that the network takes per frame of 16:9, the median of three."""
    height, width = input_size((720, 1280), runner.description.preprocess)
    frames = runner.clip_length(None)
    clip = np.zeros((1, frames, 3, height, width), np.float32)
    taken_s = []
    for _ in range(4):
        begun_s = time.perf_counter()
        runner.answer(clip, None)
        taken_s.append(time.perf_counter() - begun_s)
    runner.reset()
    return sorted(taken_s[1:])[1] / frames


class PacedStages:
    """The stages of a session that keeps up with a rate.

    Args:
        session: whose stages they are.
        fps: frames per second of the source.

    Raises:
        UsageError: as `Pace`.
    """

    def __init__(self, session: Session, fps: float) -> None:
        self._session = session
        self.labels: Labels = session.labels
        self._pace = Pace(fps, can_shrink=session.can_scale)

    @property
    def repeated(self) -> int:
        return self._session.repeated

    @property
    def looks(self) -> Sequence[Look]:
        return self._session.looks

    @property
    def key_frames(self) -> None:
        """None: key frames keep a pace of their own."""
        return None

    @property
    def report(self) -> PaceReport:
        """The rate and its price so far."""
        return self._pace.report()

    def prepared(self, frames: Iterable[Frame]) -> Iterator[Prepared]:
        return self._session.prepared(self._scaled(frames))

    def answered(self, prepared: Iterable[Prepared], *, live: bool) -> Iterator[Answered]:
        waited_s = 0.0

        def noted() -> Iterator[Prepared]:
            nonlocal waited_s
            with closed(prepared) as source:
                while True:
                    began_s = time.perf_counter()
                    one = next(source, None)
                    waited_s += time.perf_counter() - began_s
                    if one is None:
                        return
                    yield one

        # Time the network without its waits for frames.
        with closed(self._session.answered(noted(), live=live)) as source:
            while True:
                begun_s, waited_s = time.perf_counter(), 0.0
                one = next(source, None)
                if one is None:
                    return
                spent_s = time.perf_counter() - begun_s - waited_s
                self._pace.spent(spent_s, len(one.frames))
                yield one

    def finished(self, answered: Iterable[Answered]) -> FramePredictions:
        return self._session.finished(answered)

    def _scaled(self, frames: Iterable[Frame]) -> Iterator[Frame]:
        with closed(self._pace.taken(frames)) as source:
            for frame in source:
                self._session.scale = self._pace.step.scale
                yield frame


@dataclass(frozen=True, slots=True)
class _Marks:
    """Counts at a moment, or between two."""

    now_s: float = 0.0
    read: int = 0
    network_s: float = 0.0
    network_frames: int = 0
    waited_s: float = 0.0

    def since(self, then: _Marks) -> _Marks:
        return _Marks(
            self.now_s - then.now_s,
            self.read - then.read,
            self.network_s - then.network_s,
            self.network_frames - then.network_frames,
            self.waited_s - then.waited_s,
        )
