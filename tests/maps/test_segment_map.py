"""Maps of segments: classes, masks and shares of a prediction, and runs of equal pixels."""

from __future__ import annotations

import subprocess
import sys

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from vidparse.errors import OutputError, UsageError
from vidparse.evaluation.metrics.overlaps import count_pairs
from vidparse.labels import Labels
from vidparse.maps import (
    Prediction,
    SegmentMap,
    bands,
    find_runs,
    recode,
    regions_of,
    segments_of_ids,
)

LABELS = Labels("street", ("Road", "Sky", "Car"), ((0, 0, 0),) * 3, frozenset({2}))
CLASSES = np.array([[0, 0, 2], [1, 255, 2]], np.uint8)
OBJECTS = np.array([[4, 4, 9, 0], [4, 70_000, 70_000, 9]], np.uint32)
CLASS_OF = {9: 2, 4: 0, 70_000: 2}

id_maps = arrays.arrays(
    st.sampled_from([np.uint8, np.uint16, np.uint32, np.int64]),
    st.tuples(st.integers(1, 9), st.integers(1, 11)),
    elements=st.integers(0, 3),
)


def panoptic(ids: np.ndarray = OBJECTS) -> SegmentMap:
    return SegmentMap(ids, segments_of_ids(ids, CLASS_OF, things=LABELS.things))


def test_mask_and_share_of_a_class_map() -> None:
    prediction = Prediction(0, SegmentMap(CLASSES), LABELS)
    assert prediction.mask("Road").tolist() == [[True, True, False], [False, False, False]]
    assert prediction.mask("car").tolist() == [[False, False, True], [False, False, True]]
    assert prediction.mask("Road").dtype == bool
    shares = [prediction.share(name) for name in LABELS.classes]
    assert shares == [2 / 6, 1 / 6, 2 / 6]  # of all pixels, void included


def test_mask_and_share_of_objects_are_those_of_all_that_have_the_class() -> None:
    prediction = Prediction(0, panoptic(), LABELS)
    assert prediction.mask("Car").tolist() == [
        [False, False, True, False],
        [False, True, True, True],
    ]
    assert [prediction.share(name) for name in LABELS.classes] == [3 / 8, 0, 4 / 8]
    nothing = Prediction(0, SegmentMap(np.zeros((2, 2), np.uint16), ()), LABELS)
    assert not nothing.mask("Road").any() and nothing.share("Road") == 0


def test_a_class_may_be_given_by_its_number() -> None:
    prediction = Prediction(0, SegmentMap(np.array([[0, 0, 1, 255]], np.uint8)), LABELS)
    assert prediction.share(0) == prediction.share(LABELS.classes[0]) == 0.5
    assert prediction.mask(1).tolist() == [[False, False, True, False]]


def test_an_unknown_class_gets_the_nearest_names() -> None:
    prediction = Prediction(0, panoptic(), LABELS)
    for ask in (prediction.mask, prediction.share):
        with pytest.raises(UsageError, match=r"class 'raod': not in label set 'street'; try Road"):
            ask("raod")


@pytest.mark.parametrize("highest", [70_000, 300])  # looked up by runs, and in a table
def test_classes_and_areas_of_objects(highest: int) -> None:
    ids = np.where(OBJECTS == 70_000, highest, OBJECTS).astype(np.uint32)
    class_of = {9: 2, 4: 0, highest: 2}
    found = SegmentMap(ids, segments_of_ids(ids, class_of, things=LABELS.things))
    assert found.classes().tolist() == [[0, 0, 2, 255], [0, 2, 2, 2]]
    assert found.class_map(LABELS).dtype == np.uint8
    assert found.class_areas(LABELS).tolist() == [3, 0, 4, 1]
    assert found.classes(65535).dtype == np.uint16
    few = SegmentMap(ids, found.segments[:1])  # type: ignore[index]
    assert few.classes().tolist() == [[255, 255, 2, 255], [255, 255, 255, 2]]
    first, second, third = found.segments  # type: ignore[misc]
    assert (first.id, first.area, first.box, first.is_thing) == (9, 2, (2, 0, 2, 2), True)
    assert (second.id, second.area, second.box, second.is_thing) == (4, 3, (0, 0, 2, 2), False)
    assert (third.id, third.area, third.box, third.is_thing) == (highest, 2, (1, 1, 2, 1), True)


def test_a_listed_id_without_a_pixel_has_no_area() -> None:
    (segment,) = segments_of_ids(np.zeros((2, 3), np.uint8), {5: 1}, things=())
    assert (segment.area, segment.box) == (0, (0, 0, 0, 0))


def test_class_ids_that_are_none_are_refused() -> None:
    wrong = SegmentMap(np.array([[3]], np.uint8))
    for ask in (wrong.class_map, wrong.class_areas):
        with pytest.raises(OutputError, match="id 3: neither one of the 3 classes"):
            ask(LABELS)


@settings(max_examples=60, deadline=None)
@given(ids=id_maps, down=st.booleans())
def test_regions_agree_with_looking_at_every_pixel(ids: np.ndarray, down: bool) -> None:
    found = list(find_runs(ids, down_columns=down).regions())
    assert [number for number, _, _ in found] == np.unique(ids).tolist()
    for number, area, (x, y, width, height) in found:
        rows, columns = np.nonzero(ids == number)
        assert area == len(rows)
        assert (x, y) == (columns.min(), rows.min())
        assert (x + width, y + height) == (columns.max() + 1, rows.max() + 1)


@settings(max_examples=60, deadline=None)
@given(ids=id_maps, down=st.booleans(), seed=st.integers(0, 99))
def test_runs_put_together_are_the_maps(ids: np.ndarray, down: bool, seed: int) -> None:
    other = np.random.default_rng(seed).integers(0, 3, ids.shape)
    runs = find_runs(ids, other, down_columns=down)
    for values, one in ((runs.values, ids), (runs.others[0], other)):
        flat = (one.T if down else one).ravel()
        assert np.repeat(values, runs.lengths).tolist() == flat.tolist()
        assert values.dtype == one.dtype
    assert runs.starts.tolist() == (np.cumsum(runs.lengths) - runs.lengths).tolist()
    lines = runs.starts // (ids.shape[0] if down else ids.shape[1])
    ends = (runs.starts + runs.lengths - 1) // (ids.shape[0] if down else ids.shape[1])
    assert (lines == ends).all()  # no run spans two lines


def test_runs_of_maps_of_two_sizes_are_refused() -> None:
    with pytest.raises(ValueError, match=r"\(2, 3\) and \(2, 2\)"):
        find_runs(np.zeros((2, 3)), np.zeros((2, 2)))
    with pytest.raises(ValueError, match="down the columns"):
        find_runs(np.zeros((2, 3), np.uint8)).run_lengths(0)


def test_codes_without_a_key_take_the_value_for_others() -> None:
    codes, keys = np.array([[1, 5, 9, 9]]), np.array([1, 9])
    values = np.array([10, 90], np.uint8)
    assert recode(codes, keys, values, otherwise=255).tolist() == [[10, 255, 90, 90]]
    assert recode(codes, keys[:0], values[:0], otherwise=7).tolist() == [[7, 7, 7, 7]]


def test_bands_of_a_large_map_add_up_to_the_whole(monkeypatch: pytest.MonkeyPatch) -> None:
    ids, other = np.random.default_rng(1).integers(0, 40, (2, 23, 31)) // 3
    keys, values = np.arange(14), np.arange(14)[::-1]
    whole = regions_of(ids), count_pairs(ids, other), recode(ids, keys, values)
    monkeypatch.setattr("vidparse.maps.runs._BAND_PX", 100)  # three rows
    assert [rows.stop - rows.start for rows in bands(ids)] == [3] * 7 + [2]
    assert regions_of(ids) == whole[0]
    assert list(regions_of(ids)) == sorted(whole[0])
    for mine, theirs in zip(count_pairs(ids, other), whole[1], strict=True):
        np.testing.assert_array_equal(mine, theirs)
    np.testing.assert_array_equal(recode(ids, keys, values), whole[2])


def test_a_large_map_of_noise_takes_little_memory() -> None:
    """Every pixel is a run of its own; whole, the runs of this picture take 1 GB."""
    code = """if True:
        import resource, numpy as np
        from vidparse.maps import regions_of
        ids = np.zeros((4096, 4096), np.uint32)
        ids[:, ::2] = 1
        before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        assert {k: area for k, (area, _) in regions_of(ids).items()} == {0: 1 << 23, 1: 1 << 23}
        print((resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) // 1024)
    """
    out = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert int(out.stdout) < 400  # MB
