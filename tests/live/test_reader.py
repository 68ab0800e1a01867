"""Connections that break and come back, and the frames that are given on, newest or all."""

from __future__ import annotations

import itertools
import threading
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from fractions import Fraction

import numpy as np
import pytest

from vidparse.errors import InputError, OutputError, TruncatedError, Unreachable
from vidparse.frame import Frame, VideoInfo
from vidparse.image import ColourTags
from vidparse.inference import run
from vidparse.live import LiveSource, LiveStages, Opening
from vidparse.live.backoff import Backoff
from vidparse.requests.live import LiveOptions
from vidparse.video import Input
from vidparse.video.source import Selection, Source

QUICK = {"first_s": 0.001, "longest_s": 0.002}
Script = Sequence[Exception | Callable[[], Iterator[int]]]


class Counted(Source):
    """Frames of these numbers; their pts are 0, 1, 2, ... at 25 a second."""

    def __init__(self, numbers: Iterator[int]) -> None:
        self._numbers = numbers
        first = Frame.from_rgb(np.zeros((8, 8, 3), np.uint8))
        self.frame = first
        self.info = VideoInfo(
            "cam", (8, 8), first.time_base, 1 / first.time_base, None, None, 1, ColourTags()
        )

    def __iter__(self) -> Iterator[Frame]:
        for pts, number in enumerate(self._numbers):
            yield replace(self.frame, pts=pts, name=str(number))


class Scripted(Opening):
    """Connections by a list: each an error, or a function of frames' numbers."""

    def __init__(self, script: Script, **options: object) -> None:
        one = Input.named("rtsp://joe:secret@cam/live")
        super().__init__(one, LiveOptions(**options), threading.Event())
        self.script, self.opened = list(script), 0

    def __call__(self) -> Source:
        self.opened += 1
        if not self.script:
            raise Unreachable("cam: gone")
        now = self.script.pop(0)
        if isinstance(now, Exception):
            raise now
        return Counted(now())


def live(script: Script, messages: list[str] | None = None, **options: object) -> LiveSource:
    notify = (lambda _: None) if messages is None else messages.append
    return LiveSource(Scripted(script, **options), notify=notify, backoff=Backoff(**QUICK))


@dataclass(frozen=True)
class Taken:
    """A frame on its way through `Passing`."""

    frame: Frame
    begins_shot: bool = False


class Passing:
    """A session whose predictions are frames."""

    labels, repeated, key_frames, looks = None, 0, None, ()

    def prepared(self, frames: Iterable[Frame]) -> Iterator[Taken]:
        return map(Taken, frames)

    def answered(self, taken: Iterable[Taken], *, live: bool) -> Iterator[Taken]:
        yield from taken

    def finished(self, taken: Iterable[Taken]) -> Iterator[tuple[Frame, Frame]]:
        for one in taken:
            yield one.frame, one.frame


def broken() -> Iterator[int]:
    yield from (1, 2)
    raise TruncatedError("cam: lost; it was closed by the server")


def test_frames_of_all_connections_come_in_order_with_the_gap_between():
    gone = Unreachable("rtsp://***@cam/live: nothing listens there")
    messages: list[str] = []
    with live([broken, gone, gone, lambda: iter((3, 4))], messages, reconnect_s=0.2) as source:
        frames: list[Frame] = []
        with pytest.raises(TruncatedError, match=r"gone for 0.2 s .*outputs hold the frames"):
            frames.extend(source)
        assert [frame.name for frame in frames] == ["1", "2", "3", "4"]
        assert [frame.index for frame in frames] == [0, 1, 2, 3]
        assert [frame.follows_gap for frame in frames] == [False, False, True, False]
        pts = [frame.pts for frame in frames]
        assert pts == sorted(set(pts))
        assert source.live.gaps == 1
        assert any("1 gap of" in note for note in source.notes)
    assert messages[0].endswith("lost; it was closed by the server; trying again")
    assert messages[1].startswith("rtsp://***@cam/live: back after ")
    assert not [line for line in messages if "secret" in line]


def test_without_reconnection_an_end_is_the_end_and_a_break_is_an_error():
    with live([lambda: iter((1, 2))], reconnect_s=0.0) as source:
        assert [frame.name for frame in source] == ["1", "2"]
    with live([broken], reconnect_s=0.0) as source, pytest.raises(TruncatedError) as caught:
        list(source)
    assert caught.value.exit_code == 3


def test_the_first_opening_is_tried_once_unless_patience_is_requested():
    gone = Unreachable("cam: nothing listens there")
    with pytest.raises(Unreachable):
        live([gone, lambda: iter((1,))])
    with live([gone, gone, lambda: iter((1,))], reconnect_s=30.0) as source:
        assert next(iter(source)).name == "1"
    with pytest.raises(InputError, match="password"):
        live([InputError("cam: refuses the user or password (401)")], reconnect_s=30.0)


def test_stop_ends_the_waiting_for_a_source_that_is_gone():
    opening = Scripted([broken])
    source = LiveSource(opening, backoff=Backoff(**QUICK))
    seen = []
    for frame in source:
        seen.append(frame.name)
        if len(seen) == 2:
            threading.Timer(0.05, opening.stop.set).start()
    assert seen == ["1", "2"]
    source.close()
    assert not [one for one in threading.enumerate() if one.name == "vidparse-live"]


def test_every_frame_waits_for_room_and_the_newest_takes_the_place_of_older_ones():
    read: list[int] = []
    begun, done = threading.Event(), threading.Event()

    def numbers() -> Iterator[int]:
        for number in range(100):
            read.append(number)
            yield number
            begun.wait(60)
        done.set()

    with live([numbers], reconnect_s=0.0) as source:
        frames = iter(source)
        next(frames)
        begun.set()
        assert not done.wait(0.3)
        assert len(read) < 10
        assert len(list(frames)) == 99

    begun.clear()
    done.clear()
    with live([numbers], reconnect_s=0.0, policy="latest") as source:
        frames = iter(source)
        next(frames)
        begun.set()
        assert done.wait(20)
        (last,) = frames
        assert (last.name, last.index) == ("99", 99)
        assert source.live.passed_over == 98


class Sounding(Counted):
    """Each frame brings its sound along."""

    def __iter__(self) -> Iterator[Frame]:
        for frame in super().__iter__():
            yield replace(frame, packets=(f"sound {frame.name}",))


def test_sound_before_the_range_is_dropped_and_that_of_a_stride_is_kept():
    class Spoken(Scripted):
        def __call__(self) -> Source:
            return Sounding(iter(range(8)))

    wanted = Selection(start_s=Fraction(4, 25), stride=2)
    with LiveSource(Spoken([], reconnect_s=0.0), wanted) as source:
        found = [(frame.name, frame.packets) for frame in source]
    assert found == [("4", ("sound 4",)), ("6", ("sound 5", "sound 6"))]


@pytest.mark.parametrize("policy", ["latest", "every"])
def test_a_failed_output_lets_go_of_a_source_that_goes_on(policy):
    before = threading.active_count()
    source = live([itertools.count], policy=policy)
    stages = LiveStages(Passing(), source)

    class Full:
        def open(self, *facts: object) -> None:
            raise OutputError("disk full")

        def close(self, **how: object) -> None: ...

    with pytest.raises(OutputError, match="disk full"):
        run(source, stages, [Full()])
    assert threading.active_count() == before


def test_a_gap_before_a_frame_that_is_passed_over_belongs_to_the_next():
    begun, again = threading.Event(), threading.Event()

    def more() -> Iterator[int]:
        begun.wait(60)
        yield from (3, 4, 5)
        again.set()
        opening.stop.wait(60)

    opening = Scripted([lambda: iter((1,)), more], policy="latest")
    with LiveSource(opening, backoff=Backoff(**QUICK)) as source:
        frames = iter(source)
        next(frames)
        begun.set()
        assert again.wait(20)
        frame = next(frames)
        opening.stop.set()
        assert frame.name == "5"
        assert frame.follows_gap


def test_a_hundred_reconnections_leave_no_thread_behind():
    before = threading.active_count()
    script = [(lambda: iter((1,)))] * 100
    with live(script, reconnect_s=30.0) as source:
        frames = iter(source)
        for _ in range(100):
            next(frames)
            assert threading.active_count() <= before + 1
        assert source.live.gaps == 99
        source._stop.set()
    assert threading.active_count() <= before


def test_pauses_double_up_to_a_bound_and_are_shortened_at_random():
    backoff = Backoff(1.0, 8.0)
    pauses = [backoff.pause_s() for _ in range(40)]
    for pause, most in zip(pauses, [1, 2, 4] + [8] * 37, strict=True):
        assert most / 2 <= pause <= most
    assert len(set(pauses)) == 40
    backoff.lasted(1.0)
    assert backoff.pause_s() >= 4
    backoff.lasted(60.0)
    assert backoff.pause_s() <= 1
