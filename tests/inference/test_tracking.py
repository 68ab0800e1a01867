"""Objects known again by their kernels, by a worked example and through the linker."""

from __future__ import annotations

from itertools import permutations
from typing import Any

import numpy as np
import pytest

from vidparse.inference import ClipSegments, KernelMemory
from vidparse.inference.linkers import make_linker
from vidparse.inference.tracking import KernelLinker
from vidparse.maps import SegmentMap, segments_of_ids

CLIPS = [
    ([(1, 0, 0), (0, 1, 0), (0, 0, 2)], [0, 0, 1], [0, 1, 0]),
    ([(0, 1, 1), (1, 0, -1)], [0, 0], [1, 0]),
    ([(0, 0.5, -2), (0, 1, 3), (0, 1, 3), (1, 0.2, 0)], [0, 0, 1, 0], [2, 1, 0, 0]),
]
CAR, PERSON, SKY = 0, 1, 2


@pytest.mark.parametrize("dtype", [np.float16, np.float32, np.float64])
def test_three_clips(dtype: type) -> None:
    memory = KernelMemory(cost_limit=0.3, keep=0.8)
    for i, (kernels, classes, tracks) in enumerate(CLIPS):
        found = memory.match(np.array(kernels, dtype), np.array(classes))
        assert found.dtype == np.int64 and found.tolist() == tracks
        if i == 1:
            after = [[0.9889, 0, -0.1486], [0, 0.9889, 0.1486]]
            np.testing.assert_allclose(memory.state[0], after, atol=1e-4)
    expected = [[0.9921, 0.0394, -0.1194], [0, 0.9405, 0.3397], [0, 0.2425, -0.9701]]
    np.testing.assert_allclose(memory.state[0], expected, atol=1e-4)
    np.testing.assert_allclose(memory.state[1], [[0, 0.0638, 0.9980]], atol=1e-4)


def test_the_best_sum_is_taken_and_not_the_nearest_first() -> None:
    """Neither greedy (which takes the pair of cost 0.05 and leaves one row alone)."""
    memory = KernelMemory(cost_limit=0.3)
    memory.match(unit(0, 60), np.zeros(2, int))
    # costs of the rows: 40 degrees from 0 and 20 from 60; 75 from 0 and 15 from 60
    assert memory.match(unit(40, 75), np.zeros(2, int)).tolist() == [0, 1]


def test_no_cheaper_full_assignment_takes_pairs_above_the_limit() -> None:
    """The cheapest full assignment would pair both rows at a cost just above the limit."""
    memory = KernelMemory(cost_limit=0.1)
    memory.match(unit(0, 80), np.zeros(2, int))
    # 38 degrees: cost 0.106; 2 degrees: cost 0.0003
    assert memory.match(unit(38, 2), np.zeros(2, int)).tolist() == [2, 0]


def unit(*degrees: float) -> np.ndarray:
    turned = np.deg2rad(degrees)
    return np.stack([np.cos(turned), np.sin(turned)], axis=1)


def test_of_all_pairings_the_best_is_taken() -> None:
    rng = np.random.default_rng(0)
    for _ in range(60):
        rows, held = rng.integers(1, 5, 2)
        memory, kernels = rng.normal(size=(held, 3)), rng.normal(size=(rows, 3))
        tracker = KernelMemory()
        tracker.match(memory, np.zeros(held, int))
        cosine = (kernels / norm(kernels)) @ (memory / norm(memory)).T
        gain = np.maximum(0.3 - (1 - (cosine + 1) / 2), 0)
        padded = np.zeros((rows, held + rows))
        padded[:, :held] = gain
        best = max(
            permutations(range(held + rows), int(rows)),
            key=lambda columns: sum(padded[i, j] for i, j in enumerate(columns)),
        )
        tracks = tracker.match(kernels, np.zeros(rows, int))
        got = sum(gain[i, j] for i, j in enumerate(tracks) if j < held)
        assert got == pytest.approx(sum(padded[i, j] for i, j in enumerate(best)))
        new = [j for j in tracks.tolist() if j >= held]
        assert new == list(range(held, held + len(new))), "in row order"


def norm(vectors: np.ndarray) -> np.ndarray:
    return np.linalg.norm(vectors, axis=1, keepdims=True)


def test_nothing_resembles_a_kernel_of_zeros() -> None:
    memory = KernelMemory(cost_limit=0.9)
    zeros, classes = np.zeros((2, 3)), np.zeros(2, int)
    assert memory.match(zeros, classes).tolist() == [0, 1]
    assert memory.match(zeros, classes).tolist() == [2, 3]
    assert memory.match(np.ones((1, 3)), np.zeros(1, int)).tolist() == [4]
    assert memory.match(np.ones((1, 3)), np.zeros(1, int)).tolist() == [4]


def test_the_limit_itself_is_too_much() -> None:
    memory = KernelMemory(cost_limit=0.5)
    memory.match(np.array([[1.0, 0]]), np.array([4]))
    assert memory.match(np.array([[0.0, 2]]), np.array([4])).tolist() == [1]


def test_no_kernels() -> None:
    memory = KernelMemory()
    empty = memory.match(np.zeros((0, 3)), np.zeros(0, int))
    assert empty.shape == (0,) and empty.dtype == np.int64
    memory.match(np.ones((1, 3)), np.zeros(1, int))
    memory.match(np.zeros((0, 3)), np.zeros(0, int))
    assert memory.match(np.ones((1, 3)), np.zeros(1, int)).tolist() == [0]


def test_a_stored_memory_goes_on_and_is_not_changed() -> None:
    first = KernelMemory()
    first.match(*(np.array(one) for one in CLIPS[0][:2]))
    stored = first.state
    copied = {kind: one.copy() for kind, one in stored.items()}
    second = KernelMemory()
    second.state = stored
    for kernels, classes, tracks in CLIPS[1:]:
        for memory in (first, second):
            assert memory.match(np.array(kernels), np.array(classes)).tolist() == tracks
    for kind, one in stored.items():
        np.testing.assert_array_equal(one, copied[kind])
        with pytest.raises(ValueError, match="read-only"):
            one[0] = 0


def clip_of(
    *frames: str, things: dict[str, tuple[int, tuple[float, ...]]], hidden: str = ""
) -> ClipSegments:
    """Frames of one row: letters are things (class and kernel), '~' is sky, '.' nothing."""
    letters = {name: number for number, name in enumerate((*things, "~"), start=1)}
    maps = []
    for frame in frames:
        ids = np.array([[letters.get(name, 0) for name in frame]], np.uint16)
        class_of = {
            letters[name]: SKY if name == "~" else things[name][0]
            for name in letters
            if name in frame
        }
        maps.append(SegmentMap(ids, segments_of_ids(ids, class_of, things={CAR, PERSON})))
    keys = {letters[name]: np.array(kernel) for name, (_, kernel) in things.items()}
    gone = {letters[name]: things[name][0] for name in hidden}
    return ClipSegments(tuple(maps), keys, "kernels", gone)


def linked(linker: KernelLinker, clip: ClipSegments) -> list[list[int]]:
    found = linker.link(clip, ())
    for one in found:
        ids = sorted(segment.id for segment in one.segments or ())
        assert ids == np.setdiff1d(one.ids, [0]).tolist()
    return [one.ids[0].tolist() for one in found]


RIGHT, UP, LEFT = (1.0, 0.0, 0.0), (0.0, 1.0, 0.0), (-1.0, 0.1, 0.0)


def test_it_is_the_linker_of_answers_with_kernels() -> None:
    empty = clip_of("...", things={})
    assert isinstance(make_linker(None, empty), KernelLinker), "also where no object was found"


def test_an_object_that_was_away_comes_back_under_its_id() -> None:
    linker = KernelLinker()
    both: dict[str, Any] = {"a": (CAR, RIGHT), "b": (CAR, UP)}
    assert linked(linker, clip_of("a~b", ".~b", things=both)) == [[1, 3, 2], [0, 3, 2]]
    assert linked(linker, clip_of("~~b", things={"b": (CAR, UP)})) == [[3, 3, 2]]
    assert linked(linker, clip_of("...", things={})) == [[0, 0, 0]]
    turned: dict[str, Any] = {"b": (CAR, (0.1, 2.0, 0.0)), "a": (CAR, (3.0, 0.2, 0.0))}
    assert linked(linker, clip_of("ab~", things=turned)) == [[1, 2, 3]]


def test_classes_are_apart_and_a_new_object_has_a_new_id() -> None:
    linker = KernelLinker()
    assert linked(linker, clip_of("a.", things={"a": (CAR, RIGHT)})) == [[1, 0]]
    both: dict[str, Any] = {"a": (PERSON, RIGHT), "b": (CAR, LEFT)}
    assert linked(linker, clip_of("ab", things=both)) == [[2, 3]]
    assert linked(linker, clip_of(".c", things={"c": (CAR, RIGHT)})) == [[0, 1]]


def test_a_cut_ends_tracks_and_ids_go_on() -> None:
    linker = KernelLinker()
    assert linked(linker, clip_of("a~", things={"a": (CAR, RIGHT)})) == [[1, 2]]
    linker.cut()
    assert linked(linker, clip_of("a~", things={"a": (CAR, RIGHT)})) == [[3, 2]]
    assert linked(linker, clip_of("a~", things={"a": (CAR, RIGHT)})) == [[3, 2]]


def test_a_hidden_object_is_remembered_and_takes_no_id_until_it_is_seen() -> None:
    linker = KernelLinker()
    both: dict[str, Any] = {"a": (CAR, RIGHT), "b": (CAR, UP)}
    assert linked(linker, clip_of("aa", things=both, hidden="b")) == [[1, 1]]
    assert linker.state.kernels[CAR].shape == (2, 3)
    assert linked(linker, clip_of("c.", things={"c": (CAR, LEFT)})) == [[2, 0]]
    assert linked(linker, clip_of("ba", things=both)) == [[3, 1]]


def test_what_the_linker_remembers_can_be_put_back() -> None:
    first, second = KernelLinker(), KernelLinker()
    linked(first, clip_of("ab", things={"a": (CAR, RIGHT), "b": (CAR, UP)}))
    second.state = first.state
    later = clip_of("cba~", things={"c": (PERSON, UP), "b": (CAR, UP), "a": (CAR, RIGHT)})
    assert linked(first, later) == linked(second, later) == [[3, 2, 1, 4]]
