"""Panoptic answers say how sure they are of each pixel of a segment, and mattes are made of it."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from vidparse.frame import Frame
from vidparse.inference import Runner
from vidparse.inference.centre_maps import CentreMaps
from vidparse.inference.kernel_maps import KernelMaps, within_input
from vidparse.inference.masks import Masks, QueryMasks
from vidparse.inference.overlap import OverlapLinker
from vidparse.labels import load_labels
from vidparse.maps import Segment, SegmentMap
from vidparse.matting.matter import object_inside
from vidparse.models.description import Description, Preprocess
from vidparse.requests.matte import MatteOptions
from vidparse.requests.model import Merging

CAMVID = load_labels("camvid")
CAR, SKY = CAMVID.classes.index("Car"), CAMVID.classes.index("Sky")


def logit(probability: float) -> float:
    return float(np.log(probability / (1 - probability)))


def by_class(found: SegmentMap) -> dict[int, np.ndarray]:
    assert found.margins is not None and found.margins.dtype == np.float16
    assert len(found.margins) == len(found.segments or ())
    pairs = zip(found.segments or (), found.margins, strict=True)
    return {one.class_id: plane for one, plane in pairs}


def test_queries_have_their_logits_or_the_lead_if_it_is_less() -> None:
    """A car in 6 of 12 columns, and sky of two queries in the others."""
    logits = np.full((3, 1, 4, 12), logit(0.01), np.float32)
    logits[0, 0, :, :6] = logit(0.9)
    logits[1, 0, :2, 5:] = logits[2, 0, 2:, 5:] = logit(0.8)
    answer = QueryMasks(logits, np.full(3, 0.9, np.float32), np.array([CAR, SKY, SKY]))
    planes = by_class(answer.segments((4, 12), CAMVID, Merging(), margins=True).maps[0])

    # Alone the car has its logit, 2.2, or ln(0.9 / 0.01), 4.5: the less. In column 5 ln(0.9 / 0.8).
    np.testing.assert_allclose(planes[CAR][:, :5], logit(0.9), atol=0.01)
    np.testing.assert_allclose(planes[CAR][:, 5], np.log(0.9 / 0.8), atol=0.01)
    np.testing.assert_allclose(planes[SKY][:, 5], -np.log(0.9 / 0.8), atol=0.01)
    np.testing.assert_allclose(planes[SKY][:, 6:], logit(0.8), atol=0.01)
    assert (planes[CAR][:, 6:] < -4).all()


def test_masks_have_the_lead_of_their_weighted_probabilities() -> None:
    inside = np.full((2, 1, 4, 8), 0.05, np.float32)
    inside[0, 0, :, :5], inside[1, 0, :, 5:] = 0.9, 0.6
    answer = Masks(inside, np.array([0.5, 0.9]), np.array([CAR, SKY]))
    planes = by_class(answer.segments((4, 8), CAMVID, Merging(), margins=True).maps[0])
    np.testing.assert_allclose(planes[SKY][:, 5:], np.log(0.54 / 0.025), atol=0.01)
    assert CAR not in planes  # its score is too low for a segment


def test_nobody_pays_for_margins_that_nobody_wants() -> None:
    inside = np.full((1, 1, 4, 8), 0.9, np.float32)
    answer = Masks(inside, np.array([0.9]), np.array([CAR]))
    assert answer.segments((4, 8), CAMVID, Merging()).maps[0].margins is None


def kernel_maps(input_hw: tuple[int, int]) -> KernelMaps:
    """A car in the left half of 16 x 16 nodes, and the first class of stuff in the right one."""
    features = np.zeros((1, 3, 16, 16), np.float32)
    features[:, 0, :, :8], features[:, 1, :, 8:], features[:, 2] = 1, 1, 1
    centres = np.full((1, 1, 8, 8), -9, np.float32)
    kernels = np.zeros((1, 3, 8, 8), np.float32)
    centres[0, 0, 3, 3], kernels[0, :, 3, 3] = 5, (5, 0, -3)
    regions = np.full((1, 3, 8, 8), -9, np.float32)
    regions[0, 1, 5, 5], kernels[0, :, 5, 5] = 5, (0, 8, -2)
    identity = (np.eye(3, dtype=np.float32), np.zeros(3, np.float32))
    return KernelMaps((centres,), (regions,), (kernels,), features, identity, identity, input_hw)


def test_kernels_have_logits_above_the_bound_of_things() -> None:
    answer = kernel_maps((64, 64))
    found = answer.segments((64, 64), CAMVID, Merging(), margins=True).maps[0]
    (thing,) = (one for one in found.segments or () if one.is_thing)
    assert found.margins is not None and found.margins.shape[1:] == (16, 16)
    plane = found.margins[[one.id for one in found.segments or ()].index(thing.id)]
    np.testing.assert_allclose(plane[:, :8], 2 - logit(0.4), atol=0.01)
    np.testing.assert_allclose(plane[:, 8:], -3 - logit(0.4), atol=0.01)
    assert (found.ids[:, :30] == thing.id).all() and (found.ids[:, 34:] != thing.id).all()


def test_padding_is_no_part_of_margins() -> None:
    ramp = np.arange(16, dtype=np.float32)
    planes = np.stack([np.tile(ramp, (16, 1)), np.tile(ramp[:, None], (1, 16))])
    np.testing.assert_array_equal(within_input(planes, (48, 64)), planes[:, :12])

    # 50 columns are 13 nodes of 50/13 pixels: the middle of the last lies at 48.08, node 11.52.
    found = within_input(planes, (64, 50))
    assert found.shape == (2, 16, 13)
    np.testing.assert_allclose(found[0, 0, -1], (12.5 * 50 / 13) / 4 - 0.5, atol=1e-5)


def test_objects_of_one_class_share_its_lead() -> None:
    """Sky beside two cars, whose pixels point to two centres."""
    classes = np.zeros((1, len(CAMVID), 8, 16), np.float32)
    classes[0, CAR, :, 8:], classes[0, SKY, :, :8] = 6, 4
    centres = np.zeros((1, 1, 8, 16), np.float32)
    centres[0, 0, 4, 10], centres[0, 0, 4, 14] = 1, 0.9
    offsets = np.zeros((1, 2, 8, 16), np.float32)
    nothing = np.zeros_like(centres), np.zeros_like(offsets)
    answer = CentreMaps(classes, centres, offsets, *nothing, np.zeros(1, np.float32), (32, 64))
    found = answer.segments((8, 16), CAMVID, Merging(), margins=True).maps[0]
    planes = dict(zip((one.class_id for one in found.segments or ()), found.margins, strict=True))
    assert len(found.segments or ()) == 3
    np.testing.assert_allclose(planes[CAR][:, 8:], 6)
    np.testing.assert_allclose(planes[SKY][:, :8], 4)


def test_margins_go_with_their_segments_through_a_linker() -> None:
    ids = np.array([[1, 2]], np.uint16)
    segments = tuple(Segment(i, CAR, True, 0.9, 1, (i - 1, 0, 1, 1)) for i in (1, 2))
    first = SegmentMap(ids, segments, np.array([[[1.0]], [[2.0]]], np.float16))
    swapped = SegmentMap(ids[:, ::-1], segments, np.array([[[5.0]], [[6.0]]], np.float16))
    linker = OverlapLinker()
    for found, wanted in ((first, [1, 2]), (swapped, [6, 5])):
        linked = linker.follow(found)
        assert [one.id for one in linked.segments or ()] == [1, 2]
        assert linked.margins is not None and linked.margins.ravel().tolist() == wanted


def test_scores_decide_where_the_map_agrees_and_the_map_elsewhere() -> None:
    margins = np.array([[[1.0, 1.0, -1.0, -1.0]]], np.float16)
    mask = np.array([[255, 0, 255, 0]], np.uint8)
    soft = np.array([[0.9, 0.2, 0.8, 0.1]], np.float32)
    sure = 1 / (1 + np.exp(-1))
    found = object_inside(margins, mask, soft)
    np.testing.assert_allclose(found, [[sure, 0.2, 0.8, 1 - sure]], atol=1e-3)
    assert not object_inside(margins[:0], np.zeros_like(mask), np.zeros_like(soft)).any()


def test_between_two_objects_that_touch_there_is_no_seam() -> None:
    margins = np.array([[[4.0, 0.0, -4.0]], [[-4.0, 0.0, 4.0]]], np.float16)
    found = object_inside(margins, np.full((1, 3), 255, np.uint8), np.ones((1, 3), np.float32))
    assert found.min() > 0.99


class TwoCars(Runner):
    """Two cars side by side, of which the second is unsure, and sky."""

    backend, device, precision, engine = "test", "cpu", "fp32", "test"

    def __init__(self) -> None:
        self.description = Description(
            Path("none"), "", "toy", {}, CAMVID, Preprocess(64), {}, task="panoptic"
        )
        self.window, self.remembers, self.fixed_window = 1, False, False

    def answer(self, clip: np.ndarray, size_hw: tuple[int, int] | None = None) -> QueryMasks:
        logits = np.full((3, 1, 8, 12), -6, np.float32)
        logits[0, 0, :, :4], logits[1, 0, :, 4:8], logits[2, 0, :, 8:] = 6, 1, 6
        return QueryMasks(logits, np.full(3, 0.9, np.float32), np.array([CAR, CAR, SKY]))

    def reset(self) -> None:
        """It remembers nothing."""


@pytest.mark.parametrize(("words", "logits"), [("car:1", 6), ("car:2", 1), ("each", None)])
def test_the_alpha_of_an_object_is_its_own_probability(words, logits) -> None:
    frame = Frame.from_rgb(np.full((96, 144, 3), 120, np.uint8))
    options = MatteOptions((words,), edges="scores", smooth=False)
    with TwoCars().session(matte=options) as session:
        ((_, prediction),) = session.run([frame])
    mattes = {one.name: one.alpha for one in prediction.mattes}
    if logits is None:
        assert mattes.keys() == {"Car-1", "Car-2", "Sky"}
        return
    (alpha,) = mattes.values()
    left = {6: 0, 1: 48}[logits]
    wanted = 255 / (1 + np.exp(-logits))
    assert abs(int(alpha[48, left + 24]) - wanted) < 2
    assert alpha[48, 130] < 2


@pytest.mark.filterwarnings("error")
def test_a_query_without_a_pixel_of_its_own_is_no_segment() -> None:
    """In float32 the probability of a logit of -1e-9 is 0.5, which is inside."""
    logits = np.full((1, 1, 4, 8), -1e-9, np.float32)
    answer = QueryMasks(logits, np.full(1, 0.9, np.float32), np.array([SKY]))
    (found,) = answer.segments((4, 8), CAMVID, Merging()).maps
    assert not found.segments and not found.ids.any()
