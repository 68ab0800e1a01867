"""Losses of ViP-DeepLab against plain forms of them, and their gradients."""

from __future__ import annotations

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from vidparse.training.losses import hard_cross_entropy, heat_loss, offset_loss

VOID = 255
SIZE_HW = (12, 16)


def drawn(seed: int, *shape: int) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


def labelled(seed: int, pictures: int = 3, classes: int = 4) -> Tensor:
    """Labels (N, H, W), a good part of them void."""
    rng = np.random.default_rng(seed)
    labels = rng.integers(0, classes, (pictures, *SIZE_HW))
    labels[rng.random(labels.shape) < 0.3] = VOID
    return torch.from_numpy(labels)


def at_size(maps: Tensor) -> np.ndarray:
    return F.interpolate(maps, SIZE_HW, mode="bilinear", align_corners=False).double().numpy()


class TestHardCrossEntropy:
    def plain(self, logits: Tensor, target: Tensor, weights: Tensor, share: float) -> list[float]:
        found = []
        for scores, labels, heavy in zip(at_size(logits), target.numpy(), weights, strict=True):
            costs = []
            for y, x in np.argwhere(labels != VOID):
                row = scores[:, y, x]
                cost = np.log(np.exp(row).sum()) - row[labels[y, x]]
                costs.append(cost * float(heavy[y, x]))
            count = round(share * labels.size)
            found.append(np.mean(sorted(costs, reverse=True)[:count]))
        return found

    @pytest.mark.parametrize("share", [0.05, 0.2, 0.6, 1.0])
    def test_it_is_the_plain_form(self, share: float) -> None:
        logits, target = drawn(0, 3, 4, 3, 4), labelled(1)
        weights = torch.where(drawn(2, 3, *SIZE_HW) > 1, 3.0, 1.0)
        found = hard_cross_entropy(logits, target, ignore=VOID, weights=weights, share=share)
        assert found.tolist() == pytest.approx(self.plain(logits, target, weights, share), rel=1e-5)

    def test_all_pixels_without_weights_are_the_usual_mean(self) -> None:
        logits, target = drawn(0, 1, 4, *SIZE_HW), labelled(1, pictures=1)
        usual = F.cross_entropy(logits, target, ignore_index=VOID)
        assert hard_cross_entropy(logits, target, ignore=VOID, share=1.0).item() == pytest.approx(
            usual.item(), rel=1e-5
        )

    def test_void_neither_costs_nor_counts(self) -> None:
        logits = torch.zeros(1, 4, *SIZE_HW)
        target = torch.full((1, *SIZE_HW), VOID)
        target[0, 0, :3] = 1
        found = hard_cross_entropy(logits, target, ignore=VOID, share=0.9)
        assert found.item() == pytest.approx(np.log(4), rel=1e-5)

    def test_easy_pixels_have_no_gradient_and_void_has_none(self) -> None:
        logits = drawn(0, 1, 4, *SIZE_HW).requires_grad_()
        target = labelled(1, pictures=1)
        hard_cross_entropy(logits, target, ignore=VOID, share=0.1).sum().backward()
        moved = logits.grad.abs().sum(dim=1)[0] > 0
        assert moved.sum() == round(0.1 * target.numel())
        assert not moved[target[0] == VOID].any()

    def test_a_picture_without_labels_is_0_with_a_gradient(self) -> None:
        logits = drawn(0, 2, 4, 3, 4).requires_grad_()
        target = labelled(1, pictures=2)
        target[1] = VOID
        found = hard_cross_entropy(logits, target, ignore=VOID)
        assert found[0] > 0 and found[1] == 0
        found[1].backward()
        assert logits.grad is not None and not logits.grad.any()

    def test_heavy_pixels_cost_more(self) -> None:
        logits, target = torch.zeros(1, 4, *SIZE_HW), torch.zeros(1, *SIZE_HW, dtype=torch.int64)
        weights = torch.ones(1, *SIZE_HW)
        weights[0, 3, 4] = 3
        found = hard_cross_entropy(logits, target, ignore=VOID, weights=weights, share=2 / 192)
        assert found.item() == pytest.approx(2 * np.log(4), rel=1e-5)

    def test_half_precision_is_worked_out_in_single(self) -> None:
        logits, target = drawn(0, 3, 4, 3, 4).half(), labelled(1)
        exact = hard_cross_entropy(logits.float(), target, ignore=VOID)
        torch.testing.assert_close(hard_cross_entropy(logits, target, ignore=VOID), exact)


class TestHeat:
    def test_it_is_the_plain_form(self) -> None:
        heat, target = drawn(0, 3, 1, 3, 4), drawn(1, 3, *SIZE_HW).abs()
        known = drawn(2, 3, *SIZE_HW) > 0
        pairs = zip(at_size(heat)[:, 0], target.numpy(), known.numpy(), strict=True)
        expected = [((one - goal)[where] ** 2).mean() for one, goal, where in pairs]
        assert heat_loss(heat, target, known).tolist() == pytest.approx(expected, rel=1e-5)

    def test_what_is_not_known_has_no_gradient(self) -> None:
        heat = drawn(0, 1, 1, *SIZE_HW).requires_grad_()
        known = torch.zeros(1, *SIZE_HW, dtype=torch.bool)
        known[0, 2:4, 5:7] = True
        heat_loss(heat, torch.ones(1, *SIZE_HW), known).sum().backward()
        assert torch.equal(heat.grad[0] != 0, known)

    def test_nothing_known(self) -> None:
        heat = drawn(0, 1, 1, 3, 4).requires_grad_()
        none = torch.zeros(1, *SIZE_HW, dtype=torch.bool)
        found = heat_loss(heat, torch.ones(1, *SIZE_HW), none)
        found.sum().backward()
        assert found.item() == 0 and not heat.grad.any()


class TestOffsets:
    def test_they_are_the_plain_form(self) -> None:
        offsets, target = drawn(0, 3, 2, 3, 4), drawn(1, 3, 2, *SIZE_HW) * 5
        where = drawn(2, 3, *SIZE_HW) > 0.5
        pairs = zip(at_size(offsets), target.numpy(), where.numpy(), strict=True)
        expected = [np.abs(one - goal)[:, there].mean() for one, goal, there in pairs]
        assert offset_loss(offsets, target, where).tolist() == pytest.approx(expected, rel=1e-5)

    def test_pixels_without_a_centre_have_no_gradient(self) -> None:
        offsets = drawn(0, 1, 2, *SIZE_HW).requires_grad_()
        where = torch.zeros(1, *SIZE_HW, dtype=torch.bool)
        where[0, 2:4, 5:7] = True
        offset_loss(offsets, torch.zeros(1, 2, *SIZE_HW), where).sum().backward()
        assert torch.equal((offsets.grad[0] != 0).all(dim=0), where[0])
        assert offsets.grad.abs().max().item() == pytest.approx(1 / 8)

    def test_no_thing(self) -> None:
        offsets = drawn(0, 2, 2, 3, 4).requires_grad_()
        none = torch.zeros(2, *SIZE_HW, dtype=torch.bool)
        found = offset_loss(offsets, torch.zeros(2, 2, *SIZE_HW), none)
        found.sum().backward()
        assert found.tolist() == [0, 0] and not offsets.grad.any()
