"""CutMix and ClassMix: masks known by hand, and all that moves along with them."""

from __future__ import annotations

import pytest
import torch

from vidparse.training.mixing import boxes, class_masks, mixed, partners


def seeded(seed: int) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def test_each_clip_is_mixed_with_the_next_that_may_be() -> None:
    def of(*which: bool) -> list[int]:
        return partners(torch.tensor(which)).tolist()

    assert of(True, True, True) == [1, 2, 0]
    assert of(True, False, True, False, True) == [2, 1, 4, 3, 0]
    assert of(False, True, False) == [0, 1, 2], "alone it stays as it is"
    assert of(False, False) == [0, 1]


def test_values_are_a_clips_own_within_its_mask_and_its_partners_outside() -> None:
    mask = torch.zeros(2, 2, 3, dtype=torch.bool)
    mask[0, 0, 1] = mask[1, 1] = True
    labels = torch.tensor([[[1, 2, 3], [4, 5, 6]], [[11, 12, 13], [14, 15, 16]]])
    partner = torch.tensor([1, 0])
    wanted = [[[11, 2, 13], [14, 15, 16]], [[1, 2, 3], [14, 15, 16]]]
    assert mixed(labels, mask, partner).tolist() == wanted

    # Every frame and channel of a clip by the same mask.
    clips = labels[:, None, None].expand(2, 4, 3, 2, 3).clone()
    assert (mixed(clips, mask, partner) == torch.tensor(wanted)[:, None, None]).all()
    assert torch.equal(mixed(labels, mask, torch.tensor([0, 1])), labels)


def test_boxes_are_whole_rectangles_of_half_a_picture_at_any_place() -> None:
    masks = boxes(400, (40, 60), seeded(0))
    assert masks.shape == (400, 40, 60) and masks.dtype == torch.bool
    rows, columns = masks.any(2), masks.any(1)
    heights, widths = rows.sum(1), columns.sum(1)
    assert torch.equal(masks, rows[:, :, None] & columns[:, None, :])
    assert torch.equal(masks.sum((1, 2)), heights * widths), "in one piece"
    for line in (*rows, *columns):
        ends = line.nonzero()[[0, -1], 0].tolist()
        assert ends[1] - ends[0] + 1 == int(line.sum())
    areas = heights * widths / 2400
    assert areas.min() > 0.47 and areas.max() < 0.53
    assert heights.min() < 22 and heights.max() > 38 and widths.min() < 33 and widths.max() > 56

    # Every pixel is in some and out of others, those in the middle most often.
    share = masks.float().mean(0)
    assert 0 < share.min() < 0.3 and 0.7 < share.max() <= 1
    assert torch.equal(masks, boxes(400, (40, 60), seeded(0)))
    assert not torch.equal(masks, boxes(400, (40, 60), seeded(1)))


@pytest.mark.parametrize(("classes", "taken"), [(1, 1), (2, 1), (3, 2), (4, 2), (5, 3)])
def test_half_of_the_classes_are_taken_whole(classes: int, taken: int) -> None:
    ids = torch.arange(20).reshape(1, 4, 5) % classes + 2
    seen = set()
    for seed in range(30):
        mask = class_masks(ids, torch.ones_like(ids, dtype=torch.bool), seeded(seed))[0]
        drawn = ids[0][mask].unique().tolist()
        assert len(drawn) == taken and torch.equal(mask, torch.isin(ids[0], torch.tensor(drawn)))
        seen |= {*drawn}
    assert seen == {*range(2, 2 + classes)}


def test_classes_are_those_of_each_picture_within_its_view() -> None:
    ids = torch.tensor([[[0, 0, 7, 7]], [[3, 3, 3, 3]], [[1, 2, 1, 2]]])
    counted = torch.tensor([[[True, True, False, False]], [[True] * 4], [[False] * 4]])
    masks = class_masks(ids, counted, seeded(0))
    assert masks.tolist() == [[[True, True, False, False]], [[True] * 4], [[False] * 4]]
