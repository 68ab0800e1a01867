"""Losses of Clip-PanoFCN against values worked out by hand, and against a slow form."""

from __future__ import annotations

from types import SimpleNamespace

import pytest
import torch
import torch.nn.functional as F

from vidparse.training.losses import clip_losses, position_loss, weighted_dice_loss
from vidparse.training.objectives.panoptic import VOID, clip_targets

LOGITS = torch.tensor([2.0, -1.0, 0.0, -3.0])[None, None]
TARGETS = torch.tensor([1.0, 0.5, 0.0, 0.0])[None, None]


def close(value: torch.Tensor, expected: float) -> None:
    assert value.shape == ()
    assert value.item() == pytest.approx(expected, abs=1e-5)


class TestPosition:
    def test_things_add_up(self) -> None:
        close(position_loss(LOGITS, TARGETS), 0.232156)

    def test_stuff_is_a_mean(self) -> None:
        close(position_loss(LOGITS, TARGETS, weights=torch.full((4,), 0.25)), 0.058039)

    def test_neither_is_divided_by_frames_or_classes(self) -> None:
        many, goal = LOGITS.expand(2, 3, 4), TARGETS.expand(2, 3, 4)
        close(position_loss(many, goal), 6 * 0.232156)
        close(position_loss(many, goal, weights=torch.full((4,), 0.25)), 6 * 0.058039)

    def test_half_precision_is_worked_out_in_single(self) -> None:
        close(position_loss(LOGITS.half(), TARGETS.half()), 0.232156)

    def test_alpha_and_gamma(self) -> None:
        plain = F.binary_cross_entropy_with_logits(LOGITS, TARGETS, reduction="sum")
        close(position_loss(LOGITS, TARGETS, alpha=0.5, gamma=0), plain.item() / 2)


class TestDice:
    logits = torch.tensor([[[2.0, -2], [1, -1]], [[3, 0], [3, -3]], [[-1, -1], [-1, -1]]])[None]
    target = torch.tensor([[1.0, 0], [0.75, 0]])[None]

    @pytest.mark.parametrize(
        ("weights", "expected"),
        [
            ((1.0, 0.0, 0.0), 0.034166),
            ((0.0, 1.0, 0.0), 0.081425),
            ((0.0, 0.0, 1.0), 0.491691),
            ((0.6, 0.3, 0.1), 0.094096),
            ((0.3, 0.15, 0.05), 0.094096),
            ((0.0, 0.0, 0.0), 0.0),
        ],
    )
    def test_weights_are_brought_to_a_sum_of_1(self, weights, expected) -> None:
        close(weighted_dice_loss(self.logits, self.target, torch.tensor([weights])), expected)

    def test_masks_add_up(self) -> None:
        twice = self.logits.repeat(2, 1, 1, 1), self.target.repeat(2, 1, 1)
        close(weighted_dice_loss(*twice, torch.tensor([[1.0, 0, 0], [0, 0, 1.0]])), 0.525857)

    def test_no_mask(self) -> None:
        empty = weighted_dice_loss(torch.zeros(0, 3, 2, 2), torch.zeros(0, 2, 2), torch.zeros(0, 3))
        close(empty, 0)

    def test_an_empty_target_and_an_empty_prediction(self) -> None:
        gone = torch.full((1, 1, 2, 2), -1000.0)
        close(weighted_dice_loss(gone, torch.zeros(1, 2, 2), torch.ones(1, 1)), 1)

    def test_weights_have_a_gradient(self) -> None:
        weights = torch.tensor([[0.6, 0.3, 0.1]], requires_grad=True)
        weighted_dice_loss(self.logits, self.target, weights).backward()
        assert weights.grad is not None and weights.grad[0, 2] > 0 > weights.grad[0, 0]


def scene(seed: int, objects: int = 3, frames: int = 2) -> SimpleNamespace:
    """A clip of 64 x 96 pixels with random maps."""
    generator = torch.Generator().manual_seed(seed)
    sizes = [(8, 12), (4, 6), (2, 3), (1, 2), (1, 1)]
    masks = torch.zeros(objects, frames, 64, 96, dtype=torch.bool)
    for n in range(objects):
        for t in range(frames):
            if (n + t) % 4 != 3:  # away now and then
                masks[n, t, 4 + 9 * n : 30 + 11 * n, 5 + 20 * n + 3 * t : 40 + 20 * n] = True
    stuff = torch.randint(1, 3, (frames, 4, 6), generator=generator)
    stuff = stuff.repeat_interleave(16, 1).repeat_interleave(16, 2)
    stuff[:, :5] = VOID
    stuff[masks.any(dim=0)] = 0

    def maps(channels: int) -> list[torch.Tensor]:
        return [
            torch.randn(frames, channels, *size, generator=generator).requires_grad_()
            for size in sizes
        ]

    class_ids = torch.arange(objects) % 2
    return SimpleNamespace(
        centres=maps(2),
        regions=maps(3),
        kernels=maps(5),
        features=torch.randn(frames, 4, 16, 24, generator=generator).requires_grad_(),
        targets=clip_targets(masks, class_ids, stuff, level_sizes=sizes, num_things=2, num_stuff=2),
        class_ids=class_ids,
        thing_embedding=(torch.randn(4, 5, generator=generator), torch.randn(4)),
        stuff_embedding=(torch.randn(4, 5, generator=generator), torch.randn(4)),
    )


def slowly(clip: SimpleNamespace, positions: int, *, whole_clip: bool = False) -> list[float]:
    """The four losses, one object, frame and level after another."""
    targets = clip.targets
    place_things = place_stuff = mask_things = mask_stuff = 0.0
    things = pairs = 0
    for level, kernels in enumerate(clip.kernels):
        place_things += position_loss(clip.centres[level], targets.centres[level]).item()
        share = torch.tensor(1 / clip.regions[level][0, 0].numel())
        place_stuff += position_loss(
            clip.regions[level], targets.regions[level], weights=share
        ).item()
        frames, _, height, width = kernels.shape
        for n in range(len(clip.class_ids)):
            for t in range(frames):
                if not targets.members[level][n, t]:
                    continue
                things += 1
                mask = targets.masks[n, t]
                inside = F.interpolate(mask[None, None], (height, width), mode="bilinear")[0, 0]
                score = clip.centres[level][t, clip.class_ids[n]].sigmoid()
                guide = (score * (inside > 0.1)).flatten()
                best = guide.argsort(descending=True, stable=True)[:positions]
                weight, bias = clip.thing_embedding
                total, loss = guide[best].sum().clamp(min=1e-8), 0.0
                seen = slice(None) if whole_clip else slice(t, t + 1)
                mask = targets.masks[n, seen]
                for cell in best:
                    kernel = weight @ kernels[t].flatten(1)[:, cell] + bias
                    p = torch.einsum("d,tdhw->thw", kernel, clip.features[seen]).sigmoid()
                    dice = 1 - 2 * (p * mask).sum() / ((p**2).sum() + (mask**2).sum())
                    loss += (dice * guide[cell] / total).item()
                mask_things += loss
        for t in range(frames):
            for kind in range(3):
                cells = targets.regions[level][t, kind] > 0
                if not cells.any():
                    continue
                pairs += 1
                weight, bias = clip.stuff_embedding
                kernel = (kernels[t] * cells).sum(dim=(1, 2)) / (height * width)
                embedded = weight @ kernel + bias
                p = torch.einsum("d,dhw->hw", embedded, clip.features[t]).sigmoid()
                mask = targets.region_masks[t, kind]
                dice = 1 - 2 * (p * mask).sum() / ((p**2).sum() + (mask**2).sum())
                mask_stuff += dice.item()
    return [
        place_things / max(1, things),
        place_stuff / len(clip.features),
        mask_things / max(1, things),
        mask_stuff / max(1, pairs),
        0.0,
    ]


class TestClip:
    @pytest.mark.parametrize("positions", [1, 3, 7])  # P6 and P7 have fewer cells than 3
    @pytest.mark.parametrize("seed", [0, 1])
    def test_equals_its_slow_form(self, seed: int, positions: int) -> None:
        clip = scene(seed)
        found = clip_losses(**vars(clip), positions=positions)
        assert [one.item() for one in found] == pytest.approx(slowly(clip, positions), rel=1e-4)

    @pytest.mark.parametrize("positions", [1, 3])
    def test_masks_of_whole_clips_equal_their_slow_form(self, positions: int) -> None:
        clip = scene(0)
        found = clip_losses(**vars(clip), positions=positions, whole_clip=True)
        slow = slowly(clip, positions, whole_clip=True)
        assert [one.item() for one in found] == pytest.approx(slow, rel=1e-4)
        assert found.mask_things.item() != pytest.approx(slowly(clip, positions)[2], rel=1e-3)

    def test_cells_whose_centres_are_unknown_teach_none(self) -> None:
        clip = scene(0)
        known = [torch.ones_like(one) for one in clip.centres]
        everywhere = clip_losses(**vars(clip), known_centres=known)
        assert everywhere == clip_losses(**vars(clip))
        known[0][1, 0, 2:5] = 0
        clip_losses(**vars(clip), known_centres=known).position_things.backward()
        assert not clip.centres[0].grad[1, 0, 2:5].any()
        assert clip.centres[0].grad[1, 1, 2:5].all() and clip.centres[0].grad[0, 0, 2:5].all()

    def test_nothing_at_all(self) -> None:
        clip = scene(0, objects=0)
        clip.targets = clip_targets(
            torch.zeros(0, 2, 64, 96, dtype=torch.bool),
            clip.class_ids,
            torch.full((2, 64, 96), VOID),
            level_sizes=[tuple(one.shape[2:]) for one in clip.kernels],
            num_things=2,
            num_stuff=2,
        )
        found = clip_losses(**vars(clip))
        assert (found.mask_things.item(), found.mask_stuff.item()) == (0, 0)
        assert found.position_things > 0 and found.position_stuff > 0
        sum(found).backward()  # every parameter takes part, for distributed training
        assert clip.features.grad is not None

    def test_pooled_kernels_learn_the_regions_in_view_and_every_pixel(self) -> None:
        clip = scene(0)
        generator = torch.Generator().manual_seed(9)
        pooled = torch.randn(2, 3, 5 + 2, generator=generator).requires_grad_()
        found = clip_losses(**vars(clip), pooled=pooled)
        assert found[:3] == clip_losses(**vars(clip))[:3]

        # The definition, one frame and region after another.
        weight, bias = clip.stuff_embedding
        wanted = clip.targets.region_masks
        dice, pixels = [], 0.0
        for t in range(2):
            logits = torch.stack(
                [
                    torch.einsum("d,dhw->hw", weight @ pooled[t, kind, :5] + bias, clip.features[t])
                    for kind in range(3)
                ]
            )
            for kind in wanted[t].flatten(1).any(dim=1).nonzero().flatten().tolist():
                p, y = logits[kind].sigmoid(), wanted[t, kind]
                dice.append(1 - 2 * (p * y).sum() / (p.square().sum() + y.square().sum()))
            pixels -= (logits.softmax(dim=0).log() * wanted[t]).sum()
        assert found.mask_stuff.item() == pytest.approx(torch.stack(dice).mean().item(), rel=1e-4)
        assert found.pixel_stuff.item() == pytest.approx((pixels / wanted.sum()).item(), rel=1e-4)

        # The sums behind a kernel are no part of it.
        (found.mask_stuff + found.pixel_stuff).backward()
        assert pooled.grad is not None and pooled.grad[..., :5].all()
        assert not pooled.grad[..., 5:].any()

    def test_pixels_weigh_as_their_regions_do(self) -> None:
        clip, weights = scene(0), torch.tensor([1.0, 0.0, 3.0])
        pooled = torch.randn(2, 3, 5, generator=torch.Generator().manual_seed(9))
        found = clip_losses(**vars(clip), pooled=pooled, region_weights=weights)
        plain = clip_losses(**vars(clip), pooled=pooled)
        assert found[:4] == plain[:4]

        weight, bias = clip.stuff_embedding
        logits = torch.stack(
            [
                torch.einsum("kd,dhw->khw", pooled[t] @ weight.T + bias, clip.features[t])
                for t in range(2)
            ]
        )
        mass = clip.targets.region_masks * weights[:, None, None]
        expected = -(mass * logits.log_softmax(dim=1)).sum() / mass.sum()
        assert found.pixel_stuff.item() == pytest.approx(expected.item(), rel=1e-5)
        assert found.pixel_stuff.item() != pytest.approx(plain.pixel_stuff.item(), rel=1e-4)

    def test_centres_of_things_may_weigh_more(self) -> None:
        clip = scene(0)
        found, plain = clip_losses(**vars(clip), centre_alpha=0.75), clip_losses(**vars(clip))
        things = int(sum(one.sum() for one in clip.targets.members))
        by_level = zip(clip.centres, clip.targets.centres, strict=True)
        wanted = sum(position_loss(*one, alpha=0.75).item() for one in by_level)
        assert found.position_things.item() == pytest.approx(wanted / things, rel=1e-4)
        assert found[1:] == plain[1:]

    def test_one_frame_in_half_precision(self) -> None:
        clip = scene(3, frames=1)
        exact = clip_losses(**vars(clip))
        for name in ("centres", "regions", "kernels"):
            setattr(clip, name, [one.half() for one in getattr(clip, name)])
        clip.features = clip.features.half()
        rounded = clip_losses(**vars(clip))
        assert all(one.dtype == torch.float32 for one in rounded)
        assert [a.item() for a in rounded] == pytest.approx([b.item() for b in exact], rel=0.01)

    def test_every_map_has_a_gradient(self) -> None:
        clip = scene(1)
        sum(clip_losses(**vars(clip))).backward()
        for maps in (clip.centres, clip.regions, clip.kernels[:2], [clip.features]):
            assert all(one.grad is not None and one.grad.any() for one in maps)
