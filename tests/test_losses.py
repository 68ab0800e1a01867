"""Losses against slow literal transcriptions of their equations, and gradient checks."""

from __future__ import annotations

import itertools
import math

import pytest
import torch

from vidparse.training.losses import class_weights_from_counts, cross_entropy, lovasz_softmax


def test_cross_entropy_by_hand_with_weights_and_ignore() -> None:
    logits = torch.tensor([[[[2.0, 0.0]], [[0.0, 1.0]], [[-1.0, 3.0]]]])  # (1, 3, 1, 2)
    target = torch.tensor([[[0, 255]]])
    expected = -math.log(math.exp(2) / (math.exp(2) + 1 + math.exp(-1)))
    weights = torch.tensor([5.0, 1.0, 1.0])
    assert cross_entropy(logits, target, ignore=255).item() == pytest.approx(expected, rel=1e-6)
    got = cross_entropy(logits, target, ignore=255, class_weights=weights)
    assert got.item() == pytest.approx(expected, rel=1e-6)  # the weighted mean of one pixel


def test_cross_entropy_upsamples_the_scores() -> None:
    logits = torch.randn(1, 3, 4, 5)
    target = torch.randint(0, 3, (1, 8, 10))
    full = torch.nn.functional.interpolate(logits, (8, 10), mode="bilinear", align_corners=False)
    expected = torch.nn.functional.cross_entropy(full, target)
    assert cross_entropy(logits, target, ignore=255).item() == pytest.approx(expected.item())


@pytest.mark.parametrize("loss", [cross_entropy, lovasz_softmax])
def test_all_ignored_is_zero_with_a_gradient(loss) -> None:
    logits = torch.randn(1, 3, 2, 2, requires_grad=True)
    value = loss(logits, torch.full((1, 2, 2), 255), ignore=255)
    value.backward()
    assert value.item() == 0 and logits.grad.abs().max() == 0


@pytest.mark.parametrize("loss", [cross_entropy, lovasz_softmax])
def test_ignored_pixels_have_no_gradient(loss) -> None:
    logits = torch.randn(1, 3, 2, 2, requires_grad=True)
    target = torch.tensor([[[0, 255], [2, 1]]])
    loss(logits, target, ignore=255).backward()
    assert logits.grad[0, :, 0, 1].abs().max() == 0
    assert logits.grad[0, :, 0, 0].abs().max() > 0


def jaccard_loss(truth: list[int], wrong: set[int]) -> float:
    """1 - |intersection| / |union| of a foreground set when `wrong` pixels are mispredicted."""
    foreground = {i for i, t in enumerate(truth) if t}
    predicted = (foreground - wrong) | {i for i in wrong if i not in foreground}
    return 1 - len(foreground & predicted) / len(foreground | predicted)


def test_lovasz_equals_the_definition_by_sorting() -> None:
    """Lovász extension: sum over sorted errors of m_i * (J({1..i}) - J({1..i-1}))."""
    torch.manual_seed(3)
    logits = torch.randn(1, 3, 2, 3)
    target = torch.tensor([[[0, 1, 1], [0, 1, 0]]])
    probabilities = logits.softmax(1).flatten(2)[0]
    flat = target.flatten().tolist()
    losses = []
    for c in (0, 1):
        truth = [int(t == c) for t in flat]
        errors = [abs(truth[i] - probabilities[c, i].item()) for i in range(6)]
        order = sorted(range(6), key=lambda i: -errors[i])
        total = 0.0
        for k, i in enumerate(order):
            step = jaccard_loss(truth, set(order[: k + 1])) - jaccard_loss(truth, set(order[:k]))
            total += errors[i] * step
        losses.append(total)
    expected = sum(losses) / 2
    assert lovasz_softmax(logits, target, ignore=255).item() == pytest.approx(expected, rel=1e-5)


def test_lovasz_of_hard_predictions_is_the_jaccard_loss() -> None:
    target = torch.tensor([[[0, 0, 1, 1]]])
    for said in itertools.product((0, 1), repeat=4):
        logits = torch.full((1, 2, 1, 4), -50.0)
        for x, c in enumerate(said):
            logits[0, c, 0, x] = 50.0
        wrong = {i for i in range(4) if said[i] != target[0, 0, i]}
        both = [jaccard_loss([int(t == c) for t in target.flatten()], wrong) for c in (0, 1)]
        got = lovasz_softmax(logits, target, ignore=255).item()
        assert got == pytest.approx(sum(both) / 2, abs=1e-6)


def test_gradients_are_right() -> None:
    torch.manual_seed(0)
    logits = torch.randn(1, 3, 2, 2, dtype=torch.float64, requires_grad=True)
    target = torch.tensor([[[0, 1], [2, 255]]])
    value = lovasz_softmax(logits, target, ignore=255)
    (gradient,) = torch.autograd.grad(value, logits)
    for index in itertools.product(range(3), range(2), range(2)):
        nudge = torch.zeros_like(logits)
        nudge[(0, *index)] = 1e-3
        up = lovasz_softmax(logits + nudge, target, ignore=255).item()
        down = lovasz_softmax(logits - nudge, target, ignore=255).item()
        assert gradient[(0, *index)].item() == pytest.approx((up - down) / 2e-3, abs=2e-3)


def test_class_weights_favour_the_rare() -> None:
    weights = class_weights_from_counts(torch.tensor([900, 100, 0]), offset=1.02)
    expected = [1 / math.log(1.02 + share) for share in (0.9, 0.1, 0.0)]
    mean = sum(expected) / 3
    assert weights.tolist() == pytest.approx([value / mean for value in expected], rel=1e-6)
