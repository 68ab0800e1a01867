"""Warping, visibility and the temporal loss against their equations, pixel by pixel."""

from __future__ import annotations

import itertools
import math

import pytest
import torch
from torch import Tensor

from vidparse.training.losses import temporal_loss, visibility, warp


def sample(x: Tensor, row: float, column: float) -> list[float]:
    """Bilinear sample of (C, h, w) at a position in pixels, 0 outside."""
    height, width = x.shape[1:]
    top, left = math.floor(row), math.floor(column)
    values = [0.0] * len(x)
    for r, c in itertools.product((top, top + 1), (left, left + 1)):
        if 0 <= r < height and 0 <= c < width:
            share = (1 - abs(row - r)) * (1 - abs(column - c))
            values = [v + share * float(x[k, r, c]) for k, v in enumerate(values)]
    return values


def within(x: Tensor, row: float, column: float) -> bool:
    return 0 <= row <= x.shape[-2] - 1 and 0 <= column <= x.shape[-1] - 1


@pytest.mark.parametrize("size", [(5, 7), (1, 6), (4, 1), (1, 1), (97, 161)])
def test_no_flow_is_the_identity(size: tuple[int, int]) -> None:
    x = torch.randn(2, 3, *size)
    warped, inside = warp(x, torch.zeros(2, 2, *size))
    torch.testing.assert_close(warped, x, atol=2e-4, rtol=0)
    assert inside.all() and inside.shape == (2, 1, *size)


def test_warp_by_hand() -> None:
    torch.manual_seed(0)
    x, flow = torch.randn(2, 3, 4, 5), 2 * torch.randn(2, 2, 4, 5)
    warped, inside = warp(x, flow)
    for b, y, column in itertools.product(range(2), range(4), range(5)):
        at = y + float(flow[b, 1, y, column]), column + float(flow[b, 0, y, column])
        assert warped[b, :, y, column].tolist() == pytest.approx(sample(x[b], *at), abs=1e-5)
        assert bool(inside[b, 0, y, column]) == within(x, *at)


def test_warp_agrees_with_aligned_corners() -> None:
    x, flow = torch.randn(1, 2, 6, 9), 3 * torch.randn(1, 2, 6, 9)
    columns = (torch.arange(9) + flow[:, 0]) * 2 / 8 - 1
    rows = (torch.arange(6)[:, None] + flow[:, 1]) * 2 / 5 - 1
    at = torch.stack([columns, rows], 3)
    expected = torch.nn.functional.grid_sample(x, at, align_corners=True)
    torch.testing.assert_close(warp(x, flow)[0], expected, atol=1e-5, rtol=1e-5)


def test_a_side_of_one_pixel_has_an_outside() -> None:
    warped, inside = warp(torch.ones(1, 1, 3, 1), torch.full((1, 2, 3, 1), 4.0))
    assert warped.abs().max() == 0 and not inside.any()


def test_warp_keeps_half_precision_and_exact_positions() -> None:
    x = torch.randn(1, 2, 3, 301).bfloat16()
    shift = torch.zeros(1, 2, 3, 301)
    shift[:, 0] = 1
    warped, _ = warp(x, shift)
    assert warped.dtype == torch.bfloat16
    torch.testing.assert_close(warped[..., :-1], x[..., 1:], atol=1e-2, rtol=1e-2)


@pytest.mark.parametrize("cancelling", [False, True])
def test_visibility_by_hand(cancelling: bool) -> None:
    torch.manual_seed(1)
    image, other = torch.randn(2, 3, 4, 5), torch.randn(2, 3, 4, 5)
    flow = torch.randn(2, 2, 4, 5)
    visible = visibility(image, other, flow, cancelling=cancelling)
    assert visible.shape == (2, 1, 4, 5)
    for b, y, x in itertools.product(range(2), range(4), range(5)):
        at = y + float(flow[b, 1, y, x]), x + float(flow[b, 0, y, x])
        aligned = sample(other[b], *at)
        gaps = [float(image[b, c, y, x]) - aligned[c] for c in range(3)]
        distance = abs(sum(gaps)) if cancelling else sum(map(abs, gaps))
        expected = math.exp(-distance) if within(other, *at) else 0.0
        assert visible[b, 0, y, x].item() == pytest.approx(expected, abs=1e-5)


def test_visibility_is_one_for_a_still_picture() -> None:
    image = torch.randn(1, 3, 6, 7)
    visible = visibility(image.requires_grad_(), image, torch.zeros(1, 2, 6, 7))
    assert not visible.requires_grad
    torch.testing.assert_close(visible, torch.ones(1, 1, 6, 7), atol=1e-4, rtol=0)


def probabilities(scores: Tensor) -> Tensor:
    return (scores.exp() / scores.exp().sum(0)).double()  # (K, h, w)


def test_kl_by_hand_at_image_size() -> None:
    torch.manual_seed(2)
    now, later = torch.randn(2, 3, 4, 5), torch.randn(2, 3, 4, 5)
    flow, visible = torch.randn(2, 2, 4, 5), torch.rand(2, 1, 4, 5)
    total = 0.0
    for b, y, x in itertools.product(range(2), range(4), range(5)):
        at = y + float(flow[b, 1, y, x]), x + float(flow[b, 0, y, x])
        if not within(later, *at):
            continue
        q = probabilities(now[b])[:, y, x].tolist()
        other = sample(probabilities(later[b]), *at)
        divergence = sum(p * math.log(p / r) for p, r in zip(q, other, strict=True))
        total += float(visible[b, 0, y, x]) * divergence
    got = temporal_loss(now, later, visible, flow)
    assert got.item() == pytest.approx(total / 40, rel=1e-4)


def test_kl_brings_flow_and_visibility_to_the_logits() -> None:
    """8 pixels to the right and 4 up are 2 positions and 1 at a quarter of the size."""
    torch.manual_seed(3)
    now, later = torch.randn(1, 3, 4, 6), torch.randn(1, 3, 4, 6)
    flow = torch.tensor([8.0, -4.0])[None, :, None, None].expand(1, 2, 16, 24)
    small = torch.tensor([2.0, -1.0])[None, :, None, None].expand(1, 2, 4, 6)
    visible = torch.rand(1, 1, 16, 24)
    means = visible.reshape(1, 1, 4, 4, 6, 4).mean((3, 5))
    got = temporal_loss(now, later, visible, flow)
    assert got.item() == pytest.approx(temporal_loss(now, later, means, small).item(), rel=1e-5)


def test_mse_by_hand() -> None:
    torch.manual_seed(4)
    now, later = torch.randn(1, 2, 3, 4), torch.randn(1, 2, 3, 4)
    flow, visible = torch.randn(1, 2, 6, 8), torch.rand(1, 1, 6, 8)
    large = [
        torch.nn.functional.interpolate(x, (6, 8), mode="bilinear", align_corners=False)[0]
        for x in (now, later)
    ]
    total = 0.0
    for y, x in itertools.product(range(6), range(8)):
        aligned = sample(large[1], y + float(flow[0, 1, y, x]), x + float(flow[0, 0, y, x]))
        for c in range(2):
            gap = float(large[0][c, y, x]) - aligned[c]
            total += (float(visible[0, 0, y, x]) * gap) ** 2
    got = temporal_loss(now, later, visible, flow, kind="mse")
    assert got.item() == pytest.approx(total / (2 * 6 * 8), rel=1e-4)


@pytest.mark.parametrize("kind", ["kl", "mse"])
@pytest.mark.parametrize("size_hw", [(8, 10), (17, 23), (5, 3), (1, 1)])
def test_nothing_to_pay_without_change(kind: str, size_hw: tuple[int, int]) -> None:
    logits = 3 * torch.randn(2, 4, 5, 3)
    flow, visible = torch.zeros(2, 2, *size_hw), torch.ones(2, 1, *size_hw)
    loss = temporal_loss(logits, logits, visible, flow, kind=kind)
    assert abs(loss.item()) < 1e-6


@pytest.mark.parametrize("certain", [1e4, math.inf])
def test_kl_is_finite_for_one_hot_probabilities(certain: float) -> None:
    now = torch.full((1, 3, 2, 2), -certain)
    now[:, 0] = 0
    later = torch.full((1, 3, 2, 2), -certain)
    later[:, 1] = 0
    now.requires_grad_(), later.requires_grad_()
    flow, visible = torch.zeros(1, 2, 2, 2), torch.ones(1, 1, 2, 2)
    loss = temporal_loss(now, later, visible, flow)
    loss.backward()
    assert loss.item() == pytest.approx(-math.log(1e-8), rel=1e-5)
    assert now.grad.isfinite().all() and later.grad.isfinite().all()
    assert abs(temporal_loss(now, now, visible, flow).item()) < 1e-6


@pytest.mark.parametrize("kind", ["kl", "mse"])
def test_no_gradient_through_visibility_and_flow(kind: str) -> None:
    torch.manual_seed(5)
    now = torch.randn(1, 2, 2, 3, dtype=torch.float64, requires_grad=True)
    later = torch.randn(1, 2, 2, 3, dtype=torch.float64, requires_grad=True)
    flow = torch.randn(1, 2, 6, 6, requires_grad=True)
    visible = torch.rand(1, 1, 6, 6, requires_grad=True)
    loss = temporal_loss(now, later, visible, flow, kind=kind)
    loss.backward()
    assert flow.grad is None and visible.grad is None
    assert now.grad.abs().max() > 0 and later.grad.abs().max() > 0
    assert torch.autograd.gradcheck(
        lambda a, b: temporal_loss(a, b, visible, flow, kind=kind), (now, later)
    )


@pytest.mark.parametrize("kind", ["kl", "mse"])
def test_all_out_of_the_picture_costs_nothing(kind: str) -> None:
    picture = torch.randn(1, 3, 8, 8)
    flow = torch.full((1, 2, 8, 8), 50.0)
    visible = visibility(picture, picture, flow)
    logits = torch.randn(1, 3, 2, 2, requires_grad=True)
    loss = temporal_loss(logits, logits, visible, flow, kind=kind)
    loss.backward()
    assert loss.item() == 0 and logits.grad.abs().max() == 0


def test_half_precision_is_lifted() -> None:
    now, later = torch.randn(2, 1, 3, 4, 4)
    flow, visible = torch.zeros(1, 2, 8, 8), torch.ones(1, 1, 8, 8)
    loss = temporal_loss(now.half(), later.half(), visible, flow)
    assert loss.dtype == torch.float32
    expected = temporal_loss(now, later, visible, flow)
    assert loss.item() == pytest.approx(expected.item(), rel=1e-2)


def test_an_unknown_kind_is_refused() -> None:
    x = torch.zeros(1, 2, 2, 2)
    with pytest.raises(ValueError, match="use kl or mse"):
        temporal_loss(x, x, x[:, :1], x, kind="l1")
