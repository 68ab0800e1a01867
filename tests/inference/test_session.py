"""The path of a frame: clips of one size and one shot, memories, cuts, errors, early ends."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
import pytest

from vidparse.errors import UsageError
from vidparse.frame import Frame
from vidparse.image import Rgb
from vidparse.inference import LINKERS, Masks, Runner, Scores, Session
from vidparse.inference.clip_segments import ClipSegments, Merging
from vidparse.inference.overlap import OverlapLinker
from vidparse.inference.panoptic import renumbered
from vidparse.inference.pipeline import in_thread
from vidparse.labels import Labels, load_labels
from vidparse.maps import Prediction, SegmentMap
from vidparse.models.description import Description, Preprocess

SIZE_HW = (36, 64)
LEVELS = 8  # grey levels that the toys distinguish


class Clips(Runner):
    """Scores class = grey level of each frame, plus the frames remembered so far (modulo classes).

    Args:
        window: frames of a clip.
        remembers: its answer depends on how many frames came since the last reset.
        fixed: refuses clips of fewer frames.
    """

    backend, device, precision, engine = "test", "cpu", "fp32", "test"

    def __init__(
        self,
        window: int = 1,
        *,
        remembers: bool = False,
        fixed: bool = False,
        task: str = "semantic",
    ) -> None:
        self.description = Description(
            Path("none"), "", "toy", {}, load_labels("camvid"),
            Preprocess(32, mean=(0.0, 0.0, 0.0), std=(1 / 255,) * 3), {}, task=task,
        )  # fmt: skip
        self.window, self.remembers, self.fixed_window = window, remembers, fixed
        self.calls: list[int] = []  # frames of each
        self.resets = self.seen = 0
        self.fail_at: int | None = None

    def answer(self, clip: np.ndarray, size_hw: tuple[int, int] | None = None) -> Scores:
        assert clip.ndim == 5 and clip.flags.c_contiguous and clip.dtype == np.float32
        assert self.any_window or clip.shape[1] <= max(self.window, self.batch)
        assert not self.fixed_window or clip.shape[1] == self.window
        if len(self.calls) == self.fail_at:
            raise MemoryError("no room")
        self.calls.append(clip.shape[1])
        scores = np.zeros((clip.shape[1], len(self.labels), 4, 6), np.float32)
        for t, frame in enumerate(clip[0]):
            past = self.seen + t if self.remembers else 0
            scores[t, (level_of(frame) + past) % len(self.labels)] = 1
        self.seen += clip.shape[1]
        return Scores(scores)

    def reset(self) -> None:
        self.resets += 1
        self.seen = 0


def level_of(frame: np.ndarray) -> int:
    """The grey level that a network input (3, H, W) was made with."""
    return round(float(np.median(frame))) // 30


def frame_of(index: int, level: int = 0, size_hw: tuple[int, int] = SIZE_HW) -> Frame:
    """A picture of one grey, with a texture of its own that cuts are seen in."""
    grain = np.random.default_rng(level).integers(-10, 11, (*size_hw, 1))
    return Frame(
        index, index, Rgb((30 * level + 15 + grain).clip(0, 255).repeat(3, 2).astype(np.uint8))
    )


def shots(*levels: int) -> list[Frame]:
    """Frames whose level is the number of their shot, brightness and structure of it."""
    frames = []
    for index, level in enumerate(levels):
        rng = np.random.default_rng(level)
        blocks = rng.integers(0, 255, (6, 8, 3), np.uint8).repeat(6, 0).repeat(8, 1)
        frames.append(Frame(index, index, Rgb(np.ascontiguousarray(blocks))))
    return frames


def classes_of(results: Iterator[tuple[Frame, Prediction]]) -> list[int]:
    """The class of every prediction, each of which covers its frame."""
    found = []
    for frame, prediction in results:
        assert prediction.index == frame.index
        assert prediction.ids.shape == frame.image.size_hw
        assert len(np.unique(prediction.ids)) == 1
        found.append(int(prediction.ids[0, 0]))
    return found


class TestClips:
    @pytest.mark.parametrize("count", [1, 2, 3, 4, 7, 9])
    def test_windows_end_in_a_short_one(self, count: int) -> None:
        runner = Clips(3)
        levels = [i % LEVELS for i in range(count)]
        frames = (frame_of(i, level) for i, level in enumerate(levels))
        assert classes_of(Session(runner, cut=None).run(frames)) == levels
        assert runner.calls == [3] * (count // 3) + [count % 3] * (count % 3 > 0)

    def test_a_fixed_window_is_filled_up_and_its_surplus_dropped(self) -> None:
        runner = Clips(3, fixed=True)
        frames = (frame_of(i, i) for i in range(5))
        assert classes_of(Session(runner, cut=None).run(frames)) == [0, 1, 2, 3, 4]
        assert runner.calls == [3, 3]

    def test_no_frames_ask_nothing(self) -> None:
        runner = Clips(3)
        assert list(Session(runner).run([])) == [] and runner.calls == []

    def test_a_clip_holds_one_size(self) -> None:
        runner = Clips(3, remembers=True)
        sizes = [SIZE_HW, SIZE_HW, (50, 50), (50, 50), (50, 50), (50, 50), SIZE_HW]
        frames = [frame_of(i, 0, size_hw) for i, size_hw in enumerate(sizes)]
        # A memory has the size of its input: it begins anew with each.
        assert classes_of(Session(runner, cut=None).run(frames)) == [0, 1, 0, 1, 2, 3, 0]
        assert runner.calls == [2, 3, 1, 1]
        assert runner.resets == 3

    def test_frames_of_two_sizes_do_not_share_a_clip_of_one_input(self) -> None:
        runner = Clips(3)
        frames = [frame_of(0, 1), frame_of(1, 2, (72, 128)), frame_of(2, 3, (72, 128))]
        assert classes_of(Session(runner, size=(32, 48), cut=None).run(frames)) == [1, 2, 3]
        assert runner.calls == [1, 2]

    @pytest.mark.parametrize("fixed", [False, True])
    def test_a_cut_empties_the_window_before_the_memory(self, fixed: bool) -> None:
        """Frames before a cut are answered with their past, those after it without."""
        runner = Clips(3, remembers=True, fixed=fixed)
        frames = shots(*[1] * 5, *[2] * 4)
        answered = list(Session(runner).answered(Session(runner).prepared(frames)))
        assert [len(one.frames) for one in answered] == [3, 2, 3, 1]
        assert [one.begins_shot for one in answered] == [False, False, True, False]
        assert runner.resets == 2 and runner.seen == (6 if fixed else 4)

    def test_without_a_memory_a_clip_still_ends_at_a_cut(self) -> None:
        runner = Clips(3)
        list(Session(runner).run(shots(1, 1, 2, 2, 2, 2)))
        assert runner.calls == [2, 1, 3]
        blind = Clips(3)
        list(Session(blind, cut=None).run(shots(1, 1, 2, 2, 2, 2)))
        assert blind.calls == [3, 3]

    @pytest.mark.parametrize("first", range(0, 12, 3))
    def test_clips_begin_where_they_would_in_a_range_of_their_own(self, first: int) -> None:
        frames = shots(*[1] * 4, *[2] * 2, *[4] * 5)
        whole, part = (
            [
                [frame.index for frame in one.frames]
                for one in Session(Clips(3)).answered(Session(Clips(3)).prepared(given))
            ]
            for given in (frames, frames[first:])
        )
        assert whole == [[0, 1, 2], [3], [4, 5], [6, 7, 8], [9, 10]]
        assert part == [clip for clip in whole if clip[0] >= first]

    @pytest.mark.parametrize("wanted", [1, 2, 5, 8])
    def test_a_network_that_takes_any_window_takes_the_wanted_one(self, wanted: int) -> None:
        runner = Clips(3)
        runner.any_window = True
        frames = (frame_of(i, i % LEVELS) for i in range(11))
        found = list(Session(runner, window=wanted, cut=None).answered(
            Session(runner, cut=None).prepared(frames)
        ))  # fmt: skip
        whole, rest = divmod(11, wanted)
        assert [len(one.frames) for one in found] == [wanted] * whole + [rest] * (rest > 0)

    def test_a_window_that_cannot_be_is_refused(self) -> None:
        runner = Clips(3)
        with pytest.raises(UsageError, match="window 2: this network takes 3 frames at a time"):
            Session(runner, window=2)
        Session(runner, window=3)
        runner.any_window = True
        for wrong in (0, 9, -1):
            with pytest.raises(UsageError, match=f"window {wrong}: must lie in 1..8 frames"):
                Session(runner, window=wrong)

    def test_every_run_is_a_new_video(self) -> None:
        runner = Clips(2, remembers=True)
        session = Session(runner, cut=None)
        frames = [frame_of(i) for i in range(3)]
        assert classes_of(session.run(frames)) == classes_of(session.run(frames)) == [0, 1, 2]

    def test_scores_of_a_window_are_stabilized_one_by_one(self) -> None:
        frames = [frame_of(i, 3, (72, 128)) for i in range(5)]
        several = Session(Clips(3), stabilize=True, cut=None).run(frames)
        assert classes_of(several) == classes_of(Session(Clips(), stabilize=True).run(frames))


class TestConfidence:
    """The toys give e / (e + 10) = 0.214 to the class that they name."""

    @pytest.mark.parametrize(("least", "expected"), [(0.21, 3), (0.22, 255)])
    def test_below_it_a_pixel_is_void(self, least: float, expected: int) -> None:
        session = Session(Clips(), min_confidence=least)
        assert classes_of(session.run([frame_of(0, 3)])) == [expected]

    def test_probabilities_can_be_refined_before(self) -> None:
        class WithoutThree:
            labels = Clips().labels

            def __call__(self, of: Frame, rows: slice, probabilities: np.ndarray) -> np.ndarray:
                assert of is frame and probabilities.shape == (
                    11,
                    rows.stop - rows.start,
                    SIZE_HW[1],
                )
                return probabilities * (np.arange(11) != 3)[:, None, None]

        frame, refine = frame_of(0, 3), WithoutThree()
        session = Session(Clips(), min_confidence=0.05, refine=refine)
        assert classes_of(session.run([frame])) == [0]
        strict = Session(Clips(), min_confidence=0.1, refine=refine, classes=(3,))
        assert classes_of(strict.run([frame])) == [255]

    def test_a_refinement_may_have_classes_of_its_own(self) -> None:
        class OddOrEven:
            labels = Labels("parity", ("even", "odd"), ((0, 0, 0), (9, 9, 9)), frozenset())

            def __call__(self, _: Frame, rows: slice, probabilities: np.ndarray) -> np.ndarray:
                return np.stack([probabilities[::2].sum(0), probabilities[1::2].sum(0)])

        session = Session(Clips(), min_confidence=0.1, refine=OddOrEven())
        ((_, prediction),) = session.run([frame_of(0, 3)])
        assert prediction.labels is session.labels is OddOrEven.labels
        assert set(np.unique(prediction.ids)) == {1}

    def test_a_device_that_gives_ids_gives_scores_where_needed(self) -> None:
        class Eager(Clips):
            def answer(self, clip: np.ndarray, size_hw: tuple[int, int] | None = None) -> Scores:
                assert size_hw is None
                return super().answer(clip)

        for wishes in ({"min_confidence": 0.2}, {"stabilize": True}):
            session = Session(Eager(), **wishes)
            assert classes_of(session.run([frame_of(0, 3)])) == [3]


class TestLive:
    @pytest.mark.parametrize(("window", "ahead"), [(1, 1), (3, 3)])
    def test_no_frame_is_taken_before_it_is_needed(self, window: int, ahead: int) -> None:
        taken = 0

        def camera() -> Iterator[Frame]:
            nonlocal taken
            while True:
                taken += 1
                yield frame_of(taken - 1)

        results = Session(Clips(window), cut=None).run(camera())
        for wanted in range(4):
            frame, _ = next(results)
            assert frame.index == wanted
            assert taken == (wanted // ahead + 1) * ahead
        results.close()

    def test_frames_that_nobody_waits_for_go_in_batches(self) -> None:
        runner = Clips()
        runner.batch = 4
        frames = [frame_of(i, i % LEVELS) for i in range(6)]
        assert classes_of(Session(runner).run(frames, live=False)) == [0, 1, 2, 3, 4, 5]
        assert runner.calls == [4, 2]
        list(Session(runner).run(frames))
        assert runner.calls[2:] == [1] * 6


class TestErrors:
    def test_of_the_source_come_after_the_frames_before_it(self) -> None:
        def broken() -> Iterator[Frame]:
            yield from (frame_of(i, i) for i in range(4))
            raise OSError("cable out")

        seen = []
        with pytest.raises(OSError, match="cable out"):
            for frame, _ in Session(Clips(3), cut=None).run(broken()):
                seen.append(frame.index)
        assert seen == [0, 1, 2, 3]

    def test_of_the_network_end_the_run_and_close_the_source(self) -> None:
        closed = []
        runner = Clips(2)
        runner.fail_at = 1
        results = Session(runner, cut=None).run(endless(closed))
        with pytest.raises(MemoryError):
            classes_of(results)
        assert closed == [True]

    def test_of_the_last_stage_close_the_source(self, monkeypatch: pytest.MonkeyPatch) -> None:
        class KeyLinker(OverlapLinker):
            @classmethod
            def fits(cls, clip: ClipSegments) -> bool:
                return bool(clip.key_kind)

        monkeypatch.setitem(LINKERS, "keys", KeyLinker)
        closed: list[bool] = []
        runner = Drawn([Masks(np.zeros((0, 1, 4, 4), np.float32), np.zeros(0), np.zeros(0, int))])
        with pytest.raises(UsageError, match=r"linker 'keys': needs more .*; use none, overlap"):
            list(Session(runner, linker="keys").run(endless(closed)))
        assert closed == [True]

    def test_an_unknown_linker_is_known_before_the_first_frame(self) -> None:
        with pytest.raises(UsageError, match="linker 'nearest': unknown; use none, overlap"):
            Session(Clips(task="panoptic"), linker="nearest")

    @pytest.mark.parametrize("stages", ["serial", "threads"])
    def test_an_early_end_leaves_no_thread_and_no_open_source(self, stages: str) -> None:
        before = threading.active_count()
        closed: list[bool] = []
        session = Session(Clips(3), cut=None)
        events = {"stuck": threading.Event(), "halt": threading.Event()}

        def border(items):
            return in_thread(items, name="test", **events) if stages == "threads" else items

        results = session.finished(
            border(session.answered(border(session.prepared(endless(closed)))))
        )
        for _ in range(4):
            next(results)
        results.close()
        deadline = time.monotonic() + 3
        while threading.active_count() > before and time.monotonic() < deadline:
            time.sleep(0.01)
        assert threading.active_count() == before
        assert closed == [True] and not events["stuck"].is_set()


def endless(closed: list[bool]) -> Iterator[Frame]:
    """Frames without end, that note when they are closed."""
    try:
        index = 0
        while True:
            yield frame_of(index, index % LEVELS)
            index += 1
    finally:
        closed.append(True)


class Drawn(Runner):
    """A panoptic toy that answers with prepared masks, one record per clip."""

    backend, device, precision, engine = "test", "cpu", "fp32", "test"
    description = Clips(task="panoptic").description
    remembers = True  # which answers it has given

    def __init__(self, answers: list[Masks]) -> None:
        self.window = max(one.inside.shape[1] for one in answers)
        self._answers = iter(answers)

    def answer(self, clip: np.ndarray, size_hw: tuple[int, int] | None = None) -> Masks:
        return next(self._answers)


def squares(*columns: tuple[float, ...], keys: list[list[float]] | None = None) -> Masks:
    """Cars at these columns (of the width), one row per car and one value per frame; NaN: away.

    A last mask, too weak to count, wins the pixels around them.
    """
    car, rows = load_labels("camvid").classes.index("Car"), len(columns) + 1
    inside = np.zeros((rows, len(columns[0]), 9, 16), np.float32)
    inside[-1] = 0.3
    for n, places in enumerate(columns):
        for t, place in enumerate(places):
            if not np.isnan(place):
                left = round(place * 16)
                inside[n, t, 3:6, left : left + 3] = 0.99
    held = None if keys is None else np.array([*keys, [0.0]], np.float32)
    return Masks(inside, np.full(rows, 0.95), np.full(rows, car), held)


def drawn_ids(*answers: Masks, **options: object) -> list[list[int]]:
    """Ids of the segments of every frame, from left to right."""
    count = sum(one.inside.shape[1] for one in answers)
    session = Session(Drawn(list(answers)), cut=None, **options)  # type: ignore[arg-type]
    found = []
    for _, prediction in session.run(frame_of(i) for i in range(count)):
        rows = sorted(prediction.segments or (), key=lambda segment: segment.box[0])
        assert {segment.id for segment in rows} == set(np.unique(prediction.ids)) - {0}
        found.append([segment.id for segment in rows])
    return found


AWAY = float("nan")


class TestLinking:
    def test_a_mask_is_one_object_throughout_its_clip(self) -> None:
        """However far it jumps, and also when it is away for a frame."""
        assert drawn_ids(squares((0.1, 0.6, AWAY, 0.1), (0.4, 0.4, 0.4, 0.4))) == [
            [1, 2], [2, 1], [2], [1, 2],
        ]  # fmt: skip

    def test_from_clip_to_clip_overlap_decides(self) -> None:
        first, second = squares((0.1, 0.2), (0.6, 0.6)), squares((0.6, 0.6), (0.2, 0.3))
        assert drawn_ids(first, second) == [[1, 2]] * 4

    def test_an_id_of_the_clip_is_not_given_away_while_its_object_is_hidden(self) -> None:
        clip = squares((0.1, AWAY, 0.1), (AWAY, 0.1, 0.5))
        assert drawn_ids(clip) == [[1], [2], [1, 2]]

    def test_a_linker_is_a_class_and_a_line(self, monkeypatch: pytest.MonkeyPatch) -> None:
        class KeyLinker(OverlapLinker):
            """The id of an object is the first number of its key."""

            @classmethod
            def fits(cls, clip: ClipSegments) -> bool:
                return clip.key_kind == "vectors"

            def link(self, clip: ClipSegments, frames: Sequence[Frame]) -> list[SegmentMap]:
                assert len(clip.maps) == len(frames)
                stable = {number: int(key[0]) for number, key in clip.keys.items()}
                return [renumbered(one, stable) for one in clip.maps]

        monkeypatch.setitem(LINKERS, "keys", KeyLinker)
        with_keys = squares((0.1,), (0.6,), keys=[[7.0], [5.0]])
        assert drawn_ids(with_keys) == [[7, 5]]
        assert drawn_ids(squares((0.1,), (0.6,))) == [[1, 2]]
        assert drawn_ids(with_keys, linker="overlap") == [[1, 2]]

    def test_what_it_remembers_can_be_put_back(self) -> None:
        first, second = OverlapLinker(), OverlapLinker()
        labels, frames = load_labels("camvid"), (frame_of(0),)
        before, after = (
            squares(*places).segments(SIZE_HW, labels, Merging())
            for places in (((0.1,), (0.6,)), ((0.6,), (0.3,), (0.1,)))
        )
        first.link(before, frames)
        second.state = first.state
        for linker in (first, second):
            (found,) = linker.link(after, frames)
            assert [(one.id, one.box[0] // 16) for one in found.segments or ()] == [
                (1, 0),
                (2, 2),
                (3, 1),
            ]


def test_a_session_is_a_context_and_forgets_at_its_end() -> None:
    runner = Clips(remembers=True)
    with runner.session(cut=None) as session:
        assert session.labels == runner.labels == load_labels("camvid")
        assert classes_of(session.run([frame_of(0), frame_of(1)])) == [0, 1]
        before = runner.resets
    assert runner.resets == before + 1 and runner.seen == 0
