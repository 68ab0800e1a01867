"""Clips segmented by workers: joined they are the serial result, whatever happens on the way."""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Iterable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from vidparse.batch import Batch, InputResult, Silent
from vidparse.cli.segment import _done, summary_record
from vidparse.errors import DeviceError, InputError, ModelError, TruncatedError, UsageError
from vidparse.inference import Masks, Runner, RunReport, Session
from vidparse.labels import load_labels
from vidparse.limits import Limits
from vidparse.models.description import Description, Preprocess
from vidparse.requests.model import ModelChoice
from vidparse.requests.segment import SegmentOptions
from vidparse.run import Summary
from vidparse.video import Input, Source, Stamps, open_video
from vidparse.workers.crew import Crew, Returned
from vidparse.workers.job import Cutting, Job, PackedClip, Range, RangeSetup, RangeWorker
from vidparse.workers.sharing import Begun, InputQueue, SharedSession

FRAMES = 60
MANY = settings(
    max_examples=12, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)


class Blocks(Runner):
    """Finds the bright and the dark parts of a clip as two things; its answer is that clip's."""

    backend, device, precision, engine = "test", "cpu", "fp32", "test"
    window, any_window = 3, True

    def __init__(self, *, fail_at: float | None = None) -> None:
        self.description = Description(
            Path("none"), "", "toy", {}, load_labels("camvid"),
            Preprocess(32, mean=(0.0, 0.0, 0.0), std=(1 / 255,) * 3), {}, task="panoptic",
        )  # fmt: skip
        self._fail_at = fail_at

    def answer(self, clip: np.ndarray, size_hw: tuple[int, int] | None = None) -> Masks:
        grey = clip[0].mean(1)  # (T, h, w)
        if self._fail_at is not None and float(grey[0, 0, 0]) >= self._fail_at:
            raise ModelError("the network does not like this picture")
        low, high = float(grey.min()), float(grey.max())
        cuts = [low + (high - low) * part for part in (0.3, 0.6)]
        inside = np.stack([grey < cuts[0], grey >= cuts[1]]).astype(np.float32)
        mean = float(grey.mean())  # of the whole clip: other clips have other scores
        scores = np.array([0.9, 0.7 + mean / 2000], np.float32)
        keys = np.array([[1, mean], [0, mean]], np.float32)
        return Masks(inside, scores, np.array([8, 9]), keys)


class Inline(Crew[Job, Range, tuple[PackedClip, ...]]):
    """Workers of this process, which die at the tasks that a list names."""

    def __init__(self, runner: Runner, count: int = 2, dies: Sequence[bool] = ()) -> None:
        super().__init__(
            count, RangeSetup(ModelChoice("none"), Limits.of_this_process()), threading.Event()
        )
        self._worker, self._dies = RangeWorker(runner), deque(dies)
        self._sent: deque[tuple[int, int, Job, Range]] = deque()
        self.done: list[Range] = []
        self.names: list[str] = []  # of the videos of these
        self.most = self.starts = 0

    def start(self, worker: int) -> None:
        self.starts += 1

    def send(self, worker: int, ticket: int, job: Job, wanted: Range) -> None:
        self._sent.append((worker, ticket, job, wanted))

    def news(self, wait_s: float) -> Iterable[Returned]:
        self.most = max(self.most, len(self._outcomes) + len(self._sent))
        if not self._sent:
            return
        worker, ticket, job, wanted = self._sent.popleft()
        if self._dies and self._dies.popleft():
            self._sent = deque(one for one in self._sent if one[0] != worker)
            yield Returned(worker)
            return
        self.done.append(wanted)
        self.names.append(Path(job.input.name).name)
        try:
            yield Returned(worker, ticket, self._worker.clips(job, wanted))
        except ModelError as error:
            yield Returned(worker, ticket, error)

    def end(self) -> None:
        self._sent.clear()


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Pictures with five shots, the borders of which are no multiples of a window."""
    at = tmp_path_factory.mktemp("shots")
    for index in range(FRAMES):
        rng = np.random.default_rng(index // 13)
        blocks = rng.integers(0, 255, (6, 8, 3), np.uint8).repeat(6, 0).repeat(8, 1)
        cv2.imwrite(str(at / f"{index:03d}.png"), np.roll(blocks, index % 13, 1))
    for index in (20, 41):  # promised, and missing in all runs
        (at / f"{index:03d}.png").write_text("no picture")
    return at


def found(session: Any, path: Path, **reading: Any) -> list[Any]:
    """All that a run gives: times, ids, segments."""
    listed = []
    with open_video(path, **reading) as source:
        session = session(source)
        prepared = session.prepared(source)
        for frame, one in session.finished(session.answered(prepared, live=False)):
            segments = None if one.segments is None else list(one.segments)
            listed.append((frame.index, frame.pts, one.ids.tobytes(), segments))
    return listed


def shared_by(crew: Crew, runner: Runner, path: Path, stamps: Stamps | None = None, **how: Any):
    """A maker of the shared session for `found`."""
    session_settings, stride = how.get("session", {}), how.get("stride", 1)

    def make(source: Any) -> SharedSession:
        known = stamps or source.stamps()
        one = replace(Input.named(str(path)), images=None)
        job = Job(one, known.first, source.info.time_base, stride, session=session_settings)
        return SharedSession(Session(runner, **session_settings), crew, job, known)

    return make


@pytest.mark.parametrize("window", [1, 3, 4])
@pytest.mark.parametrize("stride", [1, 2])
@pytest.mark.parametrize("cut", [None, 0.08])
def test_joined_clips_are_the_serial_result(
    window: int, stride: int, cut: float | None, folder: Path
) -> None:
    runner, how = Blocks(), {"window": window, "cut": cut}
    serial = found(lambda source: Session(runner, **how), folder, stride=stride)
    crew = Inline(runner)
    make = shared_by(crew, runner, folder, session=how, stride=stride)
    assert found(make, folder, stride=stride) == serial
    assert len(crew.done) >= 2 and make is not None
    ids = {segment.id for *_, segments in serial for segment in segments}
    assert len(ids) > 2 or cut is None


def test_a_part_of_a_video_is_shared_like_the_whole(folder: Path) -> None:
    runner, crew = Blocks(), Inline(Blocks())
    reading = {"start_s": 0.2, "end_s": 2.6}
    serial = found(lambda source: Session(runner), folder, **reading)
    assert found(shared_by(crew, runner, folder), folder, **reading) == serial
    assert crew.done[0].number == 0 and len(crew.done) > 1


@MANY
@given(
    dies=st.lists(st.booleans(), max_size=3),
    lost=st.sets(st.integers(0, FRAMES - 1), max_size=4),
    moved=st.sets(st.integers(0, FRAMES - 1), max_size=2),
    count=st.integers(1, 4),
)
def test_killed_workers_and_wrong_stamps_change_nothing(
    dies: list[bool], lost: set[int], moved: set[int], count: int, folder: Path
) -> None:
    runner = Blocks()
    serial = found(lambda source: Session(runner), folder)
    pts = tuple(at for at in range(FRAMES + 5) if at not in lost)
    stamps = Stamps(pts, tuple(at not in moved for at in pts), 0)
    crew = Inline(runner, count, [one and at != 1 for at, one in enumerate(dies)])
    assert found(shared_by(crew, runner, folder, stamps), folder) == serial


def test_a_killed_worker_costs_its_ranges_only(folder: Path) -> None:
    runner = Blocks()
    crew = Inline(runner, 2, [False, True])
    sessions = []
    make = shared_by(crew, runner, folder)

    def kept(source: Source) -> SharedSession:
        sessions.append(make(source))
        return sessions[-1]

    found(kept, folder)
    assert len(crew.done) == len(set(crew.done)) and crew.starts == 3
    assert sessions[0].redone in (1, 2)  # the range under way, and the one that waited behind it


def test_the_summary_counts_redone_ranges() -> None:
    report = RunReport(70, 2.0, ())
    for redone, words in ((0, "70 frames in"), (1, "70 frames, 1 range redone in")):
        result = InputResult("a.mp4", frames=70, redone=redone, report=report)
        assert words in _done(result, "")
        summary = Summary("m", "", "onnx", "cpu", "fp32", "", "", (result,), 1.0)
        (record,) = summary_record(summary)["inputs"]
        assert record["redone"] == redone


def test_a_range_that_kills_every_worker_ends_the_run(folder: Path) -> None:
    crew = Inline(Blocks(), 2, [True] * 20)
    with pytest.raises(DeviceError, match="3 were killed at one part"):
        found(shared_by(crew, Blocks(), folder), folder)


def test_an_error_of_the_network_is_the_serial_one(folder: Path) -> None:
    runner = Blocks(fail_at=200)
    with pytest.raises(ModelError) as serial:
        found(lambda source: Session(runner), folder)
    with pytest.raises(ModelError) as shared:
        found(shared_by(Inline(runner), runner, folder), folder)
    assert str(shared.value) == str(serial.value)


def test_no_more_than_three_ranges_each_are_under_way(folder: Path) -> None:
    runner, crew = Blocks(), Inline(Blocks(), 2)
    cutting = Cutting(1, 3, 2, True)
    assert len(list(cutting.ranges(Stamps.even(0, 5000)))) > 10
    found(shared_by(crew, runner, folder), folder)
    assert crew.most <= 3 * crew.count


def test_a_stopped_run_waits_for_nobody(folder: Path) -> None:
    crew = Inline(Blocks())
    crew._stop.set()
    crew.news = lambda wait_s: ()  # type: ignore[method-assign]
    assert found(shared_by(crew, Blocks(), folder), folder) == []


def test_a_thread_that_waits_is_let_go_when_nobody_reads(folder: Path) -> None:
    crew, waits = Inline(Blocks()), threading.Event()

    def news(wait_s: float) -> Iterable[Returned]:
        waits.set()
        return ()

    crew.news = news  # type: ignore[method-assign]
    with open_video(folder) as source:
        session = shared_by(crew, Blocks(), folder)(source)
        joined = session.answered(source)
        results = session.finished(serial_clips(folder))
        next(results)
        waiting = threading.Thread(target=next, args=(joined, None))
        waiting.start()
        assert waits.wait(60)
        results.close()
        waiting.join(60)
        assert not waiting.is_alive()


def serial_clips(folder: Path) -> Any:
    session = Session(Blocks())
    with open_video(folder) as source:
        yield from session.segmented(session.answered(session.prepared(source)))


def test_a_truncated_video_gives_all_its_good_frames(clip: Any, tmp_path: Path) -> None:
    whole = clip("whole.mkv", frames=60, options={"g": "10"}).read_bytes()
    cut = tmp_path / "cut.mkv"
    cut.write_bytes(whole[: int(len(whole) * 0.7)])
    runner = Blocks()

    def collected(make: Any) -> list[Any]:
        listed: list[Any] = []
        with open_video(cut) as source:
            session = make(source)
            stages = session.finished(session.answered(session.prepared(source), live=True))
            with pytest.raises(TruncatedError) as ended:
                for frame, one in stages:
                    listed.append((frame.index, frame.pts, one.ids.tobytes(), one.segments))
        return [*listed, str(ended.value)]

    serial = collected(lambda source: Session(runner))
    assert len(serial) > 20
    assert collected(shared_by(Inline(runner), runner, cut)) == serial


@MANY
@given(
    count=st.integers(1, 900),
    keys=st.integers(1, 300),
    stride=st.integers(1, 5),
    unit=st.integers(1, 8),
    workers=st.integers(1, 9),
    sees_cuts=st.booleans(),
)
def test_ranges_hold_every_frame_once(
    count: int, keys: int, stride: int, unit: int, workers: int, sees_cuts: bool
) -> None:
    pts = tuple(range(0, 7 * count, 7))
    stamps = Stamps(pts, tuple(at % keys == 0 for at in range(count)), 0)
    taken = pts[::stride]
    ranges = list(Cutting(stride, unit, workers, sees_cuts).ranges(stamps))
    held = [at for one in ranges for at in taken if one.start <= at < one.end]
    assert held == list(taken)
    for one in ranges:
        assert one.start == taken[one.number] and one.number % unit == 0
        wanted = taken[one.number - 1] if sees_cuts and one.number else None
        assert one.before == wanted
        assert (one.end - one.start) / (7 * stride) <= 370


def test_ranges_begin_at_key_frames_where_they_can() -> None:
    stamps = Stamps(tuple(range(2000)), tuple(at % 50 == 0 for at in range(2000)), 0)
    starts = [one.start for one in Cutting(1, 1, 2).ranges(stamps)]
    assert all(start % 50 == 0 for start in starts) and len(starts) > 6
    befores = [one.before for one in Cutting(1, 3, 2, True).ranges(stamps)][1:]
    assert all(before is not None and before % 50 <= 3 for before in befores)


def test_a_video_that_went_away_is_an_error(folder: Path) -> None:
    with pytest.raises(InputError):
        RangeWorker(Blocks()).clips(
            Job(Input("gone.mp4", Path("gone.mp4")), 0, cut_base(folder)), Range(0, 0, 5)
        )


def cut_base(folder: Path) -> Any:
    with open_video(folder) as source:
        return source.info.time_base


@pytest.fixture(scope="module")
def shorts(folder: Path, tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    """Videos of one range and of several, cut out of the folder."""
    made = []
    for number, (first, last) in enumerate([(0, 9), (9, 60), (5, 12), (14, 30), (31, 60), (2, 4)]):
        at = tmp_path_factory.mktemp("short") / f"v{number}"
        at.mkdir()
        for index in range(first, last):
            (at / f"{index:03d}.png").symlink_to(folder / f"{index:03d}.png")
        made.append(at)
    return made


class InLine:
    """The videos of a run that share a crew, one after the other."""

    def __init__(self, crew: Crew, paths: Sequence[Path], uncut: str = "", done: str = "") -> None:
        self._crew, self._inputs = crew, [Input.named(str(path)) for path in paths]
        self._uncut, self._open = uncut, 0
        self.most_open = 0
        self.queue = InputQueue(
            crew, self._inputs, wanted=lambda one: one.folder_name != done, opened=self._opened
        )

    def _opened(self, one: Input) -> Begun | None:
        if one.folder_name == self._uncut:
            return None
        source = open_video(one)
        self._open += 1
        self.most_open = max(self.most_open, self._open)
        return Begun(source, self._session(source, one))

    def _session(self, source: Source, one: Input) -> SharedSession:
        stamps = source.stamps()
        assert stamps is not None
        job = Job(one, stamps.first, source.info.time_base)
        on_room = self.queue.begin_next
        return SharedSession(Session(Blocks()), self._crew, job, stamps, on_room)

    def found(self, place: int) -> list[Any]:
        """All that the turn of a video gives, as `found`."""
        begun = self.queue.begun(place)
        if begun is None:
            source = open_video(self._inputs[place])
            begun = Begun(source, self._session(source, self._inputs[place]))
        else:
            self._open -= 1
        listed = []
        try:
            session = begun.session
            prepared = session.prepared(begun.source)
            for frame, one in session.finished(session.answered(prepared, live=False)):
                segments = None if one.segments is None else list(one.segments)
                listed.append((frame.index, frame.pts, one.ids.tobytes(), segments))
        finally:
            begun.close()
        return listed


def runs_of(names: Sequence[str]) -> list[str]:
    """Names without their repeats in a row."""
    return [one for at, one in enumerate(names) if at == 0 or names[at - 1] != one]


@pytest.mark.parametrize("dies", [(), (False, True, False, True), (True, True)])
def test_videos_in_line_are_what_each_is_alone(dies: Sequence[bool], shorts: list[Path]) -> None:
    crew = Inline(Blocks(), 2, dies)
    videos = InLine(crew, shorts)
    for place, path in enumerate(shorts):
        assert videos.found(place) == found(lambda source: Session(Blocks()), path)
    assert len(crew.done) == len({*zip(crew.names, crew.done, strict=True)}), "nothing twice"
    assert crew.most <= 3 * crew.count and 1 < videos.most_open <= 3 * crew.count
    assert {*crew.names} == {path.name for path in shorts}


def test_workers_begin_with_later_videos_while_one_is_joined(shorts: list[Path]) -> None:
    crew = Inline(Blocks(), 2)
    videos = InLine(crew, shorts)
    videos.found(0)
    crew.attend()
    assert "v1" in crew.names, "the first has one range, which leaves room"
    for place in range(1, 5):
        videos.found(place)
    assert runs_of(crew.names)[:3] == ["v0", "v1", "v2"], "in the order of their turns"


def test_a_video_that_cannot_be_begun_waits_for_its_turn(shorts: list[Path]) -> None:
    crew = Inline(Blocks(), 2)
    videos = InLine(crew, shorts, uncut="v2", done="v3")
    for place in (0, 1, 4, 5):  # v2 in another process, v3 not at all
        videos.found(place)
    assert {*crew.names} == {"v0", "v1", "v4", "v5"}


def test_a_video_that_is_opened_at_the_end_of_the_run_is_closed(shorts: list[Path]) -> None:
    opening, goes_on, closed = threading.Event(), threading.Event(), threading.Event()

    class Slow:
        """A video whose opening takes longer than the run."""

        session = property(lambda self: self)

        def begin(self) -> None: ...

        def close(self) -> None:
            closed.set()

    def opened(one: Input) -> Any:
        opening.set()
        assert goes_on.wait(20)
        return Slow()

    inputs = [Input.named(str(path)) for path in shorts[:1]]
    queue = InputQueue(Inline(Blocks()), inputs, wanted=lambda _: True, opened=opened)
    beginning = threading.Thread(target=queue.begin_next)
    beginning.start()
    assert opening.wait(20)
    threading.Timer(0.2, goes_on.set).start()
    queue.close()
    beginning.join()
    assert closed.is_set()


def test_a_video_whose_session_fails_before_its_turn_is_closed(
    shorts: list[Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    closed: list[str] = []

    def refused(batch: Batch, one: Input, source: Source) -> None:
        monkeypatch.setattr(source, "close", lambda: closed.append(one.name))
        raise UsageError("no session")

    monkeypatch.setattr(Batch, "session", refused)
    inputs = [Input.named(str(path)) for path in shorts[:2]]
    options = SegmentOptions(save=("masks",))
    crew = Inline(Blocks())
    batch = Batch(inputs, options, Blocks(), Silent(), threading.Event(), crew)
    assert batch.queue is not None
    batch.queue.begin_next()
    assert closed == [inputs[0].name] and batch.queue.begun(0) is None


def test_what_had_no_turn_is_closed_and_leaves_the_room(shorts: list[Path]) -> None:
    crew = Inline(Blocks(), 2)
    videos = InLine(crew, shorts)
    for place in range(len(shorts)):
        begun = videos.queue.begun(place)
        if begun is None:
            videos.found(place)
        else:
            begun.close()  # its outputs cannot be made, say
    assert crew.has_room and not crew._wanted
    videos.queue.begin_next()
    assert crew.has_room and not crew._wanted, "all had their turn"
    again = InLine(crew, shorts)
    again.queue.begin_next()
    assert crew._wanted
    again.queue.close()
    assert not crew._wanted
    again.queue.begin_next()
    assert not crew._wanted


def test_an_error_in_one_video_is_not_of_the_next(shorts: list[Path]) -> None:
    crew = Inline(Blocks(), 2, [True] * 5)
    videos = InLine(crew, shorts)
    with pytest.raises(DeviceError, match="3 were killed at one part"):
        videos.found(0)
    for place in range(1, 4):
        assert videos.found(place) == found(lambda source: Session(Blocks()), shorts[place])
