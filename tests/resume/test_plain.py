"""Records as bytes, and what comes back of them."""

from __future__ import annotations

import numpy as np
import pytest

from vidparse.inference.answer import ClassIds, Scores
from vidparse.inference.memory import Answering, Finishing, Linking
from vidparse.inference.network_state import NetworkState
from vidparse.inference.numbered import Followed
from vidparse.inference.panoptic import Numbers
from vidparse.inference.track_linker import TrackMemory
from vidparse.maps import SegmentMap
from vidparse.maps.segment_map import Segment
from vidparse.resume.plain import pack, unpack


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16, np.uint32, bool, np.float16, np.float64])
@pytest.mark.parametrize("level", [0, 1])
def test_arrays_come_back_under_their_types_and_may_be_written_to(dtype, level) -> None:
    for array in (
        np.zeros((40, 60), dtype),
        np.arange(2400).reshape(40, 60).astype(dtype),
        np.repeat(np.arange(40), 60).reshape(40, 60).astype(dtype),
        np.zeros((0, 3), dtype),
        np.array(5, dtype),
    ):
        back = unpack(ClassIds, pack(ClassIds(array), level=level)).ids
        assert back.dtype == array.dtype and back.shape == array.shape
        assert np.array_equal(back, array)
        back[...] = 0


def test_arrays_keep_their_layout() -> None:
    array = np.arange(120, dtype=np.float32).reshape(1, 4, 5, 6).transpose(0, 3, 1, 2)
    back = unpack(Scores, pack(Scores(array))).values
    assert back.strides[1:] == array.strides[1:] and np.array_equal(back, array)


def test_maps_become_small() -> None:
    ids = np.zeros((720, 1280), np.uint16)
    ids[100:300, 200:500] = 7
    assert len(pack(SegmentMap(ids), level=1)) < 2000


def test_segments_and_their_scores_are_exact() -> None:
    segments = (
        Segment(1, 2, True, 0.1 + 0.2, 7, (1, 2, 3, 4)),
        Segment(70000, 3, False, None, 0, (0, 0, 0, 0), is_crowd=True),
    )
    found = SegmentMap(np.zeros((2, 3), np.uint32), segments)
    assert unpack(SegmentMap, pack(found)).segments == segments
    assert unpack(SegmentMap, pack(SegmentMap(found.ids))).segments is None
    assert unpack(SegmentMap, pack(SegmentMap(found.ids, ()))).segments == ()


@pytest.mark.parametrize("repeated", [None, Scores(np.ones((1, 2, 3, 4), np.float32))])
def test_one_of_several_kinds_is_known_by_its_name(repeated) -> None:
    state = NetworkState((np.ones(3, np.float32),), ("bfloat16",))
    back = unpack(Answering, pack(Answering(state, (1, 3, 4, 5), repeated)))
    assert (back.shape, back.network.kinds, back.key) == ((1, 3, 4, 5), ("bfloat16",), None)
    assert type(back.repeated) is type(repeated)


def test_the_state_of_a_linker_is_of_its_own_kind() -> None:
    numbers = Numbers({3: 1}, 9)
    followed = Followed({(4, 1): (7, 0.25)}, numbers)
    back = unpack(Finishing, pack(Finishing(linking=Linking("queries", followed))))
    assert back.linking == Linking("queries", followed)

    tracks = Finishing(linking=Linking("tracks", TrackMemory(numbers=numbers)))
    linking = unpack(Finishing, pack(tracks)).linking
    assert linking is not None and isinstance(linking.state, TrackMemory)
    assert linking.state.numbers == numbers and len(linking.state.tracks) == 0


def test_numbers_of_numpy_are_refused_on_the_way_in() -> None:
    """Some outputs would write them otherwise than the numbers that they come back as."""
    with pytest.raises(TypeError, match="no plain value"):
        pack(Segment(1, 2, True, np.float32(0.1), 7, (1, 2, 3, 4)))


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"no zlib",
        pack(ClassIds(np.zeros(3, np.uint8)))[:-6],
        pack(Scores(np.zeros(3, np.float32))),
        pack(Segment(1, 2, True, None, 7, (1, 2, 3, 4))),
    ],
)
def test_bytes_of_something_else_are_refused(data: bytes) -> None:
    with pytest.raises(ValueError, match="no ClassIds"):
        unpack(ClassIds, data)
