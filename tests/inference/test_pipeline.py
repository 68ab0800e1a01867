"""The program: every frame meets its prediction, sinks open late and close once."""

from __future__ import annotations

import threading
import time
from fractions import Fraction

import numpy as np
import pytest

from vidparse.errors import InputError, Interrupted, OutputError, TruncatedError
from vidparse.frame import Frame, VideoInfo
from vidparse.image import ColourTags, Rgb
from vidparse.inference import Runner, Scores, Session, run
from vidparse.labels import Labels, load_labels
from vidparse.maps import Prediction
from vidparse.models.description import Description, Preprocess
from vidparse.video import Source

SIZE = (36, 64)


class BrightnessRunner(Runner):
    """A network that answers class = grey level // 20 everywhere; no framework needed."""

    backend, device, precision, engine = "test", "cpu", "fp32", "test"

    def __init__(self, labels: Labels, fail_at: int | None = None) -> None:
        preprocess = Preprocess(32, mean=(0.0, 0.0, 0.0), std=(1 / 255,) * 3)
        self.description = Description(
            path=None, sha256="", arch="", config={}, labels=labels, preprocess=preprocess,
            training={},
        )  # fmt: skip
        self.calls = self.resets = 0
        self.fail_at = fail_at

    def answer(self, clip: np.ndarray, size_hw: tuple[int, int] | None = None) -> Scores:
        self.calls += 1
        if self.calls == self.fail_at:
            raise MemoryError("no room")
        scores = np.zeros((1, len(self.labels), 4, 6), np.float32)
        scores[:, round(float(clip.mean())) // 20] = 1
        return Scores(scores)

    def reset(self) -> None:
        self.resets += 1


class ListSource(Source):
    def __init__(self, count: int, error: Exception | None = None) -> None:
        self.info = VideoInfo(
            "clip", SIZE, Fraction(1, 1000), None, count, None, Fraction(1), ColourTags()
        )
        self.count, self.error, self.closed = count, error, 0
        self.left = ["last words"]

    def __iter__(self):
        for i in range(self.count):
            grey = np.full((*SIZE, 3), (i % 10) * 20 + 5, np.uint8)
            yield Frame(i, i * i, Rgb(grey))
        if self.error:
            raise self.error

    def trailing_packets(self):
        left, self.left = self.left, []  # as a demuxer, it gives them once
        return left

    def close(self) -> None:
        self.closed += 1


class ListSink:
    keeps_parts = True

    def __init__(self, fail_at: int | None = None) -> None:
        self.seen: list[tuple[Frame, Prediction]] = []
        self.opened = 0
        self.closed: list[tuple[bool, tuple]] = []
        self.complete: list[bool] = []
        self.fail_at = fail_at

    def open(self, info, labels) -> None:
        self.opened += 1

    def write(self, frame, prediction) -> None:
        if len(self.seen) == self.fail_at:
            raise OutputError("clip.out: disk full; free some space")
        self.seen.append((frame, prediction))

    def close(self, *, keep, complete=True, packets=()) -> None:
        self.closed.append((keep, tuple(packets)))
        self.complete.append(complete)


def session(**more) -> Session:
    return Session(BrightnessRunner(load_labels("camvid"), **more))


@pytest.mark.parametrize("overlap", [True, False])
def test_every_frame_meets_its_own_prediction(overlap: bool) -> None:
    sink, source = ListSink(), ListSource(60)
    report = run(source, session(), [sink], overlap=overlap)
    assert [frame.index for frame, _ in sink.seen] == list(range(60))
    for frame, prediction in sink.seen:
        assert prediction.index == frame.index
        assert prediction.ids.shape == SIZE and prediction.ids.dtype == np.uint8
        assert (prediction.ids == frame.index % 10).all()
        assert frame.pts == frame.index**2
    assert sink.closed == [(True, ("last words",))]
    assert (report.frames, sink.opened, source.closed) == (60, 1, 1)
    assert {stage.name for stage in report.stages} == {
        "decode", "prepare", "network", "upsample", "sinks",
    }  # fmt: skip


def test_every_sink_gets_the_packets_behind_the_last_frame() -> None:
    sinks = [ListSink(), ListSink(), ListSink()]
    run(ListSource(2), session(), sinks)
    assert [sink.closed for sink in sinks] == [[(True, ("last words",))]] * 3


class GreySource(Source):
    """No more than a source must have."""

    info = VideoInfo("grey", SIZE, Fraction(1), None, None, None, Fraction(1), ColourTags())

    def __iter__(self):
        return (Frame(i, i, Rgb(np.full((*SIZE, 3), 45, np.uint8))) for i in range(4))


def test_a_source_is_one_class_of_frames_and_their_facts() -> None:
    sink = ListSink()
    with GreySource() as source:
        report = run(source, session(), [sink])
    assert (report.frames, source.skipped, source.notes) == (4, 0, [])
    assert [int(p.ids[0, 0]) for _, p in sink.seen] == [2] * 4
    assert sink.closed == [(True, ())]


def test_class_filter_turns_the_rest_into_void() -> None:
    sink = ListSink()
    runner = BrightnessRunner(load_labels("camvid"))
    run(ListSource(10), Session(runner, classes=(3, 5)), [sink])
    assert [int(p.ids[0, 0]) for _, p in sink.seen] == [255, 255, 255, 3, 255, 5, *[255] * 4]


def test_truncated_source_keeps_what_was_good() -> None:
    sink = ListSink()
    with pytest.raises(TruncatedError):
        run(ListSource(7, TruncatedError("clip: ends early; mend it")), session(), [sink])
    assert len(sink.seen) == 7
    assert sink.closed == [(True, ("last words",))]


@pytest.mark.parametrize("overlap", [True, False])
def test_network_failure_leaves_nothing(overlap: bool) -> None:
    sink, source = ListSink(), ListSource(1_000_000)
    with pytest.raises(MemoryError):
        run(source, session(fail_at=12), [sink], overlap=overlap)
    assert len(sink.seen) == 11
    assert sink.closed == [(False, ())]
    assert source.closed == 1


def test_one_failing_sink_closes_all_once() -> None:
    good, bad, source = ListSink(), ListSink(fail_at=5), ListSource(1_000_000)
    with pytest.raises(OutputError, match="disk full"):
        run(source, session(), [good, bad])
    assert good.closed == bad.closed == [(False, ())]
    assert threading.active_count() == 1 or source.closed == 1


class SlowRunner(BrightnessRunner):
    """Counts the answers that are worked at side by side."""

    now = most = 0

    def answer(self, clip: np.ndarray, size_hw: tuple[int, int] | None = None) -> Scores:
        self.now += 1
        self.most = max(self.most, self.now)
        time.sleep(0.5)
        self.now -= 1
        return super().answer(clip, size_hw)


def test_the_next_run_has_the_network_alone_after_an_output_failed(monkeypatch) -> None:
    monkeypatch.setattr("vidparse.threads._JOIN_S", 0.1)
    runner = SlowRunner(load_labels("camvid"))
    with pytest.raises(OutputError, match="disk full"):
        run(ListSource(9), Session(runner), [ListSink(fail_at=0)])
    sink = ListSink()
    run(ListSource(2), Session(runner), [sink])
    assert (len(sink.seen), runner.most) == (2, 1)


def test_a_failed_output_does_not_wait_for_a_silent_source() -> None:
    release = threading.Event()

    class Silent(ListSource):
        def __iter__(self):
            yield from super().__iter__()
            release.wait()

    source, begun_s = Silent(1), time.monotonic()
    with pytest.raises(OutputError, match="disk full"):
        run(source, session(), [ListSink(fail_at=0)])
    assert time.monotonic() - begun_s < 10 and not source.closed
    release.set()


def test_stop_finalises_and_reports_how_far_it_came() -> None:
    sink, stop = ListSink(), threading.Event()

    def watch(frame: Frame) -> None:
        if frame.index == 8:
            stop.set()

    with pytest.raises(Interrupted, match="after 9 frames"):
        run(ListSource(1_000_000), session(), [sink], on_frame=watch, stop=stop)
    assert len(sink.seen) == 9
    assert sink.closed == [(True, ())]


def test_no_frames_is_an_input_error_and_opens_nothing() -> None:
    sink = ListSink()
    with pytest.raises(InputError, match="no frame"):
        run(ListSource(0), session(), [sink])
    assert sink.opened == 0 and sink.closed == []


def test_session_is_reset_for_each_video() -> None:
    runner = BrightnessRunner(load_labels("camvid"))
    one = Session(runner)
    for _ in range(3):
        run(ListSource(2), one, [ListSink()])
    assert runner.resets == 3


class Stubborn(ListSink):
    """An output that fails when it is finalised."""

    def close(self, *, keep, complete=True, packets=()) -> None:
        super().close(keep=keep, complete=complete, packets=packets)
        if keep:
            raise OutputError("clip.out: disk full; free some space")


def test_an_output_that_cannot_be_finalised_takes_the_later_ones_with_it() -> None:
    first, bad, last, source = ListSink(), Stubborn(), ListSink(), ListSource(3)
    with pytest.raises(OutputError, match="disk full"):
        run(source, session(), [first, bad, last])
    assert [[keep for keep, _ in sink.closed] for sink in (first, bad, last)] == [
        [True], [True], [False],
    ]  # fmt: skip
    assert source.closed == 1


@pytest.mark.parametrize("overlap", [True, False])
def test_ctrl_c_keeps_what_was_done(overlap: bool) -> None:
    sinks, source = [ListSink(), ListSink()], ListSource(1_000_000)

    def interrupt(frame: Frame) -> None:
        if frame.index == 4:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        run(source, session(), sinks, on_frame=interrupt, overlap=overlap)
    for sink in sinks:
        assert len(sink.seen) == 5 and sink.closed == [(True, ())] and sink.complete == [False]
    assert source.closed == 1
