"""Targets of Clip-PanoFCN: sizes, places and shares, worked out by hand."""

from __future__ import annotations

import math

import pytest
import torch

from vidparse.training.objectives.panoptic import (
    MOST_OBJECTS,
    VOID,
    ClipTargets,
    clip_targets,
    gaussian_radius,
    known_centres,
)

SIZES = [(16, 16), (8, 8), (4, 4), (2, 2), (1, 1)]


def blank(objects: int, frames: int = 1, side: int = 128) -> torch.Tensor:
    return torch.zeros(objects, frames, side, side, dtype=torch.bool)


def of(masks: torch.Tensor, class_ids: list[int] | None = None, things: int = 3) -> ClipTargets:
    """Targets of objects alone, on one stuff class."""
    stuff = torch.where(masks.any(dim=0), 0, 1)
    ids = torch.zeros(len(masks), dtype=torch.int64) if class_ids is None else class_ids
    side = masks.shape[-1]
    sizes = [(side // s, side // s) for s in (8, 16, 32, 64, 128)]
    return clip_targets(
        masks, torch.as_tensor(ids), stuff, level_sizes=sizes, num_things=things, num_stuff=1
    )


@pytest.fixture
def example() -> ClipTargets:
    """One object of class 2 in two frames."""
    masks = blank(1, 2)
    masks[0, 0, 40:100, 24:64] = True
    masks[0, 1, 10:30, 50:60] = True
    return of(masks, [2])


def test_members_are_by_the_root_of_the_boxs_area(example: ClipTargets) -> None:
    members = [level.tolist() for level in example.members]
    assert members == [[[True, True]], [[True, False]], *[[[False, False]]] * 3]


def test_centres_of_the_first_level(example: ClipTargets) -> None:
    expected = torch.zeros(2, 3, 16, 16)
    side, corner = math.exp(-0.5), math.exp(-1)
    expected[0, 2, 7:10, 4:7] = torch.tensor(
        [[corner, side, corner], [side, 1, side], [corner, side, corner]]
    )
    expected[1, 2, 2, 6] = 1  # the half-covered border of the mask counts
    torch.testing.assert_close(example.centres[0], expected, atol=1e-4, rtol=0)


def test_an_object_is_drawn_in_all_frames_of_a_level_that_fits_one(example: ClipTargets) -> None:
    drawn = example.centres[1].nonzero().tolist()
    assert drawn == [[0, 2, 4, 2], [1, 2, 1, 3]]
    assert not any(level.any() for level in example.centres[2:])


def test_regions(example: ClipTargets) -> None:
    regions = example.regions[2][0]  # P5 of the first frame
    assert regions[0].nonzero().tolist() == [[1, 1], [2, 1]]
    assert int((regions[1] > 0).sum()) == 14
    assert set(regions.unique().tolist()) <= {0.0, 1.0} | set(
        regions[(regions >= 0.5) & (regions <= 1)].tolist()
    )


def test_regions_of_a_lesser_share() -> None:
    """A column of 4 pixels is no target of cells of 8 by half, and one by a tenth."""
    stuff = torch.ones(1, 32, 32, dtype=torch.int64)
    stuff[:, :, 10:13] = 2
    nothing = torch.zeros(0, 1, 32, 32, dtype=torch.bool)
    sizes = [(4, 4), (2, 2), (1, 1), (1, 1), (1, 1)]
    for share, columns in ((0.5, []), (0.1, [1])):
        found = clip_targets(
            nothing,
            torch.zeros(0, dtype=torch.int64),
            stuff,
            level_sizes=sizes,
            num_things=1,
            num_stuff=2,
            least_share=share,
        )
        thin = found.regions[0][0, 2]
        assert thin.any(dim=0).nonzero().flatten().tolist() == columns


def test_masks_are_soft_and_at_stride_4(example: ClipTargets) -> None:
    assert example.masks.shape == (1, 2, 32, 32)
    assert example.region_masks.shape == (2, 2, 32, 32)
    assert example.masks[0, 1, 2].max() == 0.5  # rows 10 and 11 of the rows 8 to 11
    both = example.region_masks.sum(dim=1)
    torch.testing.assert_close(both, torch.ones_like(both))


def test_void_has_no_channel() -> None:
    stuff = torch.full((1, 64, 64), VOID)
    stuff[:, :32] = 2
    found = clip_targets(
        blank(0, 1, 64),
        torch.zeros(0, dtype=torch.int64),
        stuff,
        level_sizes=[(8, 8), (4, 4), (2, 2), (1, 1), (1, 1)],
        num_things=1,
        num_stuff=3,
    )
    assert found.region_masks.sum() == 16 * 8
    assert found.regions[0][0].sum(dim=(1, 2)).tolist() == [0, 0, 32, 0]
    assert found.regions[3][0, 2].item() == 0.5  # half of the cell: still there
    assert found.masks.shape == (0, 1, 16, 16)
    assert [level.shape for level in found.members] == [(0, 1)] * 5


@pytest.mark.parametrize(
    ("pixels", "levels"), [(65, [True, True]), (66, [False, True]), (33, [True, True]), (2, [True])]
)
def test_boxes_are_counted_without_the_last_pixel(pixels: int, levels: list[bool]) -> None:
    masks = blank(1)
    masks[0, 0, :pixels, :pixels] = True
    found = [bool(level) for level in of(masks).members]
    assert found[: len(levels)] == levels


def test_a_line_of_one_pixel_fits_no_level() -> None:
    masks = blank(1)
    masks[0, 0, 5, 10:90] = True
    found = of(masks)
    assert not any(level.any() for level in found.members)
    assert not any(level.any() for level in found.centres)


def test_an_object_in_the_first_cell_is_drawn() -> None:
    masks = blank(1)
    masks[0, 0, :6, :6] = True
    assert of(masks).centres[0][0, 0, 0, 0] == 1


def test_an_object_that_vanishes_at_stride_4_is_a_member_and_not_drawn() -> None:
    masks = blank(1)
    masks[0, 0, 4, 4] = masks[0, 0, 7, 7] = True  # between the points that stride 4 looks at
    found = of(masks)
    assert found.members[0].tolist() == [[True]]
    assert found.masks.sum() == 0 and not found.centres[0].any()


def test_where_objects_meet_the_greater_value_stays() -> None:
    masks = blank(2)
    masks[0, 0, 20:80, 20:80] = True
    masks[1, 0, 24:84, 24:84] = True
    both = of(masks).centres[0]
    apart = [of(masks[i : i + 1]).centres[0] for i in range(2)]
    torch.testing.assert_close(both, torch.maximum(*apart))


def test_the_largest_objects_of_a_crowded_level_stay() -> None:
    masks = blank(MOST_OBJECTS + 2, side=256)
    for n in range(len(masks)):
        row, column = divmod(n, 16)
        side = 4 if n in (3, 50) else 8
        masks[n, 0, 16 * row : 16 * row + side, 16 * column : 16 * column + side] = True
    kept = of(masks).members[0][:, 0]
    assert (~kept).nonzero().flatten().tolist() == [3, 50]


@pytest.mark.parametrize(
    ("box", "radius"), [((7.375, 4.875), 1), ((2.375, 1.125), 0), ((0, 0), 0), ((40, 40), 10)]
)
def test_radius(box: tuple[float, float], radius: int) -> None:
    assert gaussian_radius(*box) == radius == gaussian_radius(*box[::-1])


def test_scales_of_height_and_width_are_their_own() -> None:
    """A level may have other ratios of rows than of columns."""
    masks = torch.zeros(1, 1, 96, 160, dtype=torch.bool)
    masks[0, 0, 10:70, 20:80] = True
    stuff = torch.where(masks[0], 0, VOID)
    sizes = [(12, 20), (6, 10), (3, 5), (2, 3), (1, 2)]
    found = clip_targets(
        masks,
        torch.tensor([0]),
        stuff,
        level_sizes=sizes,
        num_things=1,
        num_stuff=1,
    )
    peaks = [(level[0, 0] == 1).nonzero().tolist() for level in found.centres[:2]]
    assert peaks == [[[4, 6]], [[2, 3]]]


def test_centres_are_unknown_in_cells_that_a_crowd_of_their_class_reaches() -> None:
    crowds = torch.zeros(2, 3, 32, 64, dtype=torch.bool)
    crowds[1, 2, 7:9, 40] = True  # the last row of one cell at stride 8, the first of the next
    fine, coarse = known_centres(crowds, [(4, 8), (1, 2)])
    assert fine.shape == (2, 3, 4, 8) and coarse.shape == (2, 3, 1, 2)
    assert (fine == 0).nonzero().tolist() == [[1, 2, 0, 5], [1, 2, 1, 5]]
    assert (coarse == 0).nonzero().tolist() == [[1, 2, 0, 1]]
