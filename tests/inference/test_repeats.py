"""Frames that repeat cost no network, and nothing in the results shows it."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from vidparse.arrival import Arrival
from vidparse.frame import Frame
from vidparse.hub import DEFAULT_MODEL, resolve
from vidparse.image import Rgb, Yuv420
from vidparse.inference import Runner, Scores, Session, load_model
from vidparse.inference.clips import Prepared
from vidparse.inference.repeats import LastPicture, Repeats, same_bytes
from vidparse.inference.runners import has_openvino

SHOWN = [0, 0, 0, 1, 1, 2, 0, 0, 3, 3, 3, 3, 3, 4]  # the picture of each frame
NEW = [0, 3, 5, 6, 8, 13]  # frames that repeat none
SIZE_HW = (72, 128)


def frames(shown: Sequence[int] = SHOWN, *, planar: bool = False) -> list[Frame]:
    """Moving blocks, each frame with a picture in memory of its own."""
    blocks = np.random.default_rng(3).integers(0, 255, (9, 16, 3), np.uint8)
    made = []
    for index, number in enumerate(shown):
        moved = np.roll(blocks.repeat(8, 0).repeat(8, 1), 5 * number, 1)
        image = Rgb(np.ascontiguousarray(moved))
        made.append(Frame(index, index, image.yuv420(5, True) if planar else image))
    return made


def ids_of(session: Session, given: list[Frame], **how: bool) -> list[tuple[bytes, object]]:
    return [(one.ids.tobytes(), one.segments) for _, one in session.run(given, **how)]


def counted(runner: Runner) -> list[int]:
    """Frames of each call of the network from now on."""
    calls: list[int] = []
    answer = runner.answer

    def noted(clip: np.ndarray, size_hw: tuple[int, int] | None = None):
        calls.append(clip.shape[1])
        return answer(clip, size_hw)

    runner.answer = noted  # type: ignore[method-assign]
    return calls


@pytest.fixture(scope="module")
def runners(tiny_weights: Path) -> Iterator[Callable[[str], Runner]]:
    made: dict[str, Runner] = {}

    def runner(backend: str) -> Runner:
        if backend == "openvino" and not has_openvino():
            pytest.skip("openvino is not installed: pip install 'vidparse[openvino]'")
        name = str(tiny_weights) if backend == "torch" else str(resolve(DEFAULT_MODEL).onnx)
        if backend not in made:
            made[backend] = load_model(name, backend=backend, device="cpu", threads=1)
        return made[backend]

    yield runner


@pytest.mark.parametrize("backend", ["onnx", "torch", "openvino"])
@pytest.mark.parametrize("options", [{}, {"stabilize": True}, {"min_confidence": 0.1}])
@pytest.mark.parametrize("planar", [False, True])
def test_the_answers_are_the_same(runners, without_repeats, backend, options, planar) -> None:
    session = Session(runners(backend), size=96, **options)
    calls = counted(runners(backend))
    given = frames(planar=planar)
    found = ids_of(session, given)
    assert sum(calls) == len(NEW) and session.repeated == len(SHOWN) - len(NEW)
    without_repeats()
    assert ids_of(session, given) == found
    assert sum(calls) == len(NEW) + len(SHOWN)
    assert len(set(found)) >= len(set(SHOWN)), "the network must see something"


@pytest.mark.parametrize("linker", ["none", "overlap", "tracks", "kernels"])
@pytest.mark.parametrize("window", [1, 3])
def test_objects_keep_their_ids(
    without_repeats, panoptic: Runner, linker: str, window: int
) -> None:
    shown = [0, 1] + 7 * [2] + [3] + 5 * [4]
    session = Session(panoptic, linker=linker, window=window, size=96, cut=None)
    calls = counted(panoptic)
    found = ids_of(session, frames(shown))
    # Of threes, [2, 2, 2] repeats [2, 2, 2] and [4, 4, 4] follows [3, 4, 4].
    assert len(calls) == (5 if window == 1 else 4)
    assert session.repeated == (10 if window == 1 else 3)
    without_repeats()
    assert ids_of(session, frames(shown)) == found
    assert any(segments for _, segments in found)


def test_a_gap_begins_one_shot_however_long_its_picture_stands(runners) -> None:
    given = frames([0, 1, 1, 1, 1, 2])
    given[2] = replace(given[2], arrival=Arrival(0.0, 0.0, gap_s=3.0))
    session = Session(runners("onnx"), size=96, cut=None)
    begun = [one.frame.index for one in session.prepared(given) if one.begins_shot]
    assert begun == [2]


@pytest.fixture(scope="module")
def panoptic() -> Runner:
    return load_model("street-panoptic", device="cpu", threads=1)


class Batches(Runner):
    """The mean of each frame decides its class; up to four frames are one call."""

    backend, device, precision, engine = "test", "cpu", "fp32", "test"
    batch = 4

    def __init__(self, description: object) -> None:
        self.description = description  # type: ignore[assignment]

    def answer(self, clip: np.ndarray, size_hw: tuple[int, int] | None = None) -> Scores:
        cells = clip[0, :, :, ::8, ::8].mean(1, keepdims=True)  # (T, 1, h, w)
        kinds = np.arange(len(self.labels), dtype=np.float32)[:, None, None]
        return Scores(-np.abs(3 * cells + 5 - kinds))


@pytest.mark.parametrize("shown", [SHOWN, [7] * 13, [7] * 5 + [8] * 2 + [9] * 6, [1, 2, 3, 4, 5]])
def test_of_a_batch_only_new_frames_are_computed(
    runners, without_repeats, shown: list[int]
) -> None:
    runner = Batches(runners("onnx").description)
    session, calls = Session(runner, size=96), counted(runner)
    found = ids_of(session, frames(shown), live=False)
    new = sum(i == 0 or shown[i] != shown[i - 1] for i in range(len(shown)))
    starts = sum(shown[i] == shown[i - 1] for i in range(4, len(shown), 4))  # of batches
    assert new <= sum(calls) <= new + starts
    assert session.repeated == len(shown) - sum(calls)
    without_repeats()
    assert ids_of(session, frames(shown), live=False) == found


def test_a_network_with_a_memory_sees_every_frame(runners) -> None:
    class Remembering(Batches):
        remembers = True

    runner = Remembering(runners("onnx").description)
    session, calls = Session(runner), counted(runner)
    list(session.run(frames()))
    assert sum(calls) == len(SHOWN) and session.repeated == 0


def test_a_picture_that_the_network_sees_alike_repeats(runners) -> None:
    """Sides of 8 pixels become one: a pair of pixels that change places is not seen."""
    pictures = [np.full((768, 768, 3), 90, np.uint8) for _ in range(2)]
    pictures[0][0, :2], pictures[1][0, :2] = [[80], [100]], [[100], [80]]
    runner = Batches(runners("onnx").description)
    session, calls = Session(runner, size=(96, 96)), counted(runner)
    list(session.run(Frame(i, i, Rgb(one)) for i, one in enumerate(pictures)))
    assert calls == [1]


def test_memory_that_is_used_again_and_results_that_are_changed_do_no_harm(runners) -> None:
    given = frames()
    truth = [one for one, _ in ids_of(Session(runners("onnx"), size=96), given)]
    buffer = np.empty((*SIZE_HW, 3), np.uint8)

    def camera() -> Iterator[Frame]:
        for frame in given:
            buffer[:] = frame.image.rgb()
            yield Frame(frame.index, frame.index, Rgb(buffer))

    session = Session(runners("onnx"), size=96)
    found: list[bytes] = []
    for _, prediction in session.run(camera()):
        found.append(prediction.ids.tobytes())
        prediction.ids[:] = 9
        buffer[:] = 9
    assert found == truth and session.repeated == len(SHOWN) - len(NEW)


def test_bytes_decide() -> None:
    rng = np.random.default_rng(0)
    a = rng.integers(0, 255, (400, 700, 3), np.uint8)
    for row, column in ((0, 0), (399, 699), (200, 3)):
        b = a.copy()
        assert same_bytes(a, b)
        b[row, column, 2] ^= 1
        assert not same_bytes(a, b)
    wide = rng.integers(0, 255, (50, 90), np.uint8)
    assert same_bytes(wide[:, :64], wide[:, :64].copy()) and not same_bytes(wide, wide[:49])
    nan = np.full((1, 3, 5, 4), np.nan, np.float32)
    zero = np.zeros((1, 3, 5, 4), np.float32)
    assert same_bytes(nan, nan.copy()) and not same_bytes(zero, -zero)


def test_equal_samples_of_other_colours_do_not_repeat() -> None:
    y, c = np.full((8, 8), 90, np.uint8), np.full((4, 4), 60, np.uint8)
    last = LastPicture()
    images = [Yuv420(y, c, c, 5, True), Yuv420(y, c, c, 1, True), Rgb(np.dstack([y, y, y]))]
    for image in images:
        assert [last.repeats(image), last.repeats(image)] == [False, True]


def test_the_first_clip_of_a_part_is_computed(runners) -> None:
    """A worker prepares the frame before its part, and does not answer it."""
    runner = Batches(runners("onnx").description)
    session = Session(runner)
    prepared = list(session.prepared(frames([1, 1, 1])))
    assert [one.repeats for one in prepared] == [False, True, True]
    calls = counted(runner)
    assert len(list(session.answered(prepared[1:]))) == 2 and calls == [1]


def test_equal_clips_have_one_answer() -> None:
    lengths: list[int] = []

    def answer(clip: Sequence[Prepared]) -> Scores:
        lengths.append(len(clip))
        return Scores(np.zeros((len(clip), 2, 1, 1), np.float32))

    still = [Prepared(frame, np.zeros(1), repeats=True) for frame in frames([0, 0, 0])]
    repeats = Repeats(answer, alone=False)
    first, second, shorter = (repeats.answer(clip) for clip in (still, still, still[:2]))
    assert second[0] is first[0] and (first[1], second[1], shorter[1]) == (0, 3, 0)
    assert lengths == [3, 2]
