"""Losses against slow literal transcriptions of their equations, and gradient checks."""

from __future__ import annotations

import itertools
import math

import pytest
import torch

from vidparse.training.losses import (
    bootstrapped_cross_entropy,
    class_weights_from_counts,
    confident_labels,
    cross_entropy,
    lovasz_softmax,
    pseudo_cross_entropy,
    union_cross_entropy,
)

UNIONS = torch.tensor([[True, True, False], [False, True, True]])  # ids 3 and 4 of 3 classes


def partial_cross_entropy(logits, target, *, ignore):
    return union_cross_entropy(logits, target, UNIONS, ignore=ignore)


EVERY_LOSS = pytest.mark.parametrize(
    "loss",
    [cross_entropy, partial_cross_entropy, bootstrapped_cross_entropy, lovasz_softmax],
)


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


@EVERY_LOSS
def test_all_ignored_is_zero_with_a_gradient(loss) -> None:
    logits = torch.randn(1, 3, 2, 2, requires_grad=True)
    value = loss(logits, torch.full((1, 2, 2), 255), ignore=255)
    value.backward()
    assert value.item() == 0 and logits.grad.abs().max() == 0


@EVERY_LOSS
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
    for predicted in itertools.product((0, 1), repeat=4):
        logits = torch.full((1, 2, 1, 4), -50.0)
        for x, c in enumerate(predicted):
            logits[0, c, 0, x] = 50.0
        wrong = {i for i in range(4) if predicted[i] != target[0, 0, i]}
        both = [jaccard_loss([int(t == c) for t in target.flatten()], wrong) for c in (0, 1)]
        got = lovasz_softmax(logits, target, ignore=255).item()
        assert got == pytest.approx(sum(both) / 2, abs=1e-6)


def test_lovasz_ignores_unions() -> None:
    logits = torch.randn(1, 3, 2, 3)
    labelled = torch.tensor([[[0, 3, 1], [4, 255, 2]]])
    ignored = labelled.masked_fill(labelled > 2, 255)
    expected = lovasz_softmax(logits, ignored, ignore=255)
    assert torch.equal(lovasz_softmax(logits, labelled, ignore=255), expected)
    only_unions = torch.full((1, 2, 3), 4)
    assert lovasz_softmax(logits, only_unions, ignore=255).item() == 0


@EVERY_LOSS
def test_gradients_are_right(loss) -> None:
    torch.manual_seed(0)
    logits = torch.randn(2, 3, 1, 2, dtype=torch.float64, requires_grad=True)
    target = torch.tensor([[[0, 1]], [[4, 255]]])
    if loss in (cross_entropy, bootstrapped_cross_entropy):
        target[target > 2] = 255
    assert torch.autograd.gradcheck(lambda x: loss(x, target, ignore=255), logits)


@EVERY_LOSS
def test_half_precision_is_lifted_and_double_kept(loss) -> None:
    logits = torch.randn(1, 3, 2, 2)
    target = torch.tensor([[[0, 1], [2, 255]]])
    for given, gives in [(torch.bfloat16, torch.float32), (torch.float64, torch.float64)]:
        value = loss(logits.to(given), target, ignore=255)
        assert value.dtype == gives
        assert value.item() == pytest.approx(loss(logits, target, ignore=255).item(), abs=0.05)


def pixel_loss(scores: list[float], members: list[int]) -> float:
    """-log of the probability that the class is one of the members."""
    return -math.log(
        sum(math.exp(scores[c]) for c in members) / sum(math.exp(score) for score in scores)
    )


@pytest.mark.parametrize("weights", [None, [1.0, 2.0, 0.5]])
def test_union_cross_entropy_by_hand(weights: list[float] | None) -> None:
    torch.manual_seed(1)
    logits = torch.randn(2, 3, 2, 2)
    target = torch.tensor([[[0, 3], [4, 255]], [[2, 3], [1, 1]]])
    members = {0: [0], 1: [1], 2: [2], 3: [0, 1], 4: [1, 2]}
    total = mass = 0.0
    for b, y, x in itertools.product(range(2), repeat=3):
        label = int(target[b, y, x])
        if label == 255:
            continue
        named = members[label]
        weight = sum(weights[c] for c in named) / len(named) if weights else 1.0
        total += weight * pixel_loss(logits[b, :, y, x].tolist(), named)
        mass += weight
    given = None if weights is None else torch.tensor(weights)
    got = union_cross_entropy(logits, target, UNIONS, ignore=255, class_weights=given)
    assert got.item() == pytest.approx(total / mass, rel=1e-6)


def test_without_a_union_it_is_cross_entropy_exactly() -> None:
    logits, weights = torch.randn(2, 3, 4, 4), torch.rand(3)
    target = torch.randint(0, 3, (2, 8, 8))
    target[0, :3] = 255
    for given in (None, weights):
        expected = cross_entropy(logits, target, ignore=255, class_weights=given)
        got = union_cross_entropy(logits, target, UNIONS, ignore=255, class_weights=given)
        assert torch.equal(got, expected)
        none = torch.zeros(0, 3, dtype=torch.bool)
        got = union_cross_entropy(logits, target, none, ignore=255, class_weights=given)
        assert torch.equal(got, expected)


def test_a_union_of_one_is_that_class_and_a_union_of_all_costs_nothing() -> None:
    logits = 30 * torch.randn(1, 3, 5, 7)
    unions = torch.tensor([[False, True, False], [True, True, True]])
    one = union_cross_entropy(logits, torch.full((1, 5, 7), 3), unions, ignore=255)
    expected = cross_entropy(logits, torch.full((1, 5, 7), 1), ignore=255)
    torch.testing.assert_close(one, expected)
    everything = union_cross_entropy(logits, torch.full((1, 5, 7), 4), unions, ignore=255)
    assert everything.item() == pytest.approx(0, abs=1e-6)


def test_unions_stay_finite_for_certain_scores() -> None:
    logits = torch.tensor([1e4, -1e4, -1e4])[None, :, None, None].requires_grad_()  # (1, 3, 1, 1)
    loss = union_cross_entropy(logits, torch.tensor([[[4]]]), UNIONS, ignore=255)
    loss.backward()
    assert loss.item() == pytest.approx(2e4 - math.log(2))
    assert logits.grad.flatten().tolist() == pytest.approx([1, -0.5, -0.5], rel=1e-3)


def test_impossible_unions_are_refused() -> None:
    logits, target = torch.randn(1, 3, 1, 1), torch.tensor([[[3]]])
    with pytest.raises(ValueError, match="ignore 4 is also"):
        union_cross_entropy(logits, target, UNIONS, ignore=4)
    with pytest.raises(ValueError, match="no member"):
        union_cross_entropy(logits, target, torch.zeros_like(UNIONS), ignore=255)


@pytest.mark.parametrize(("threshold", "least"), [(0.3, 2), (0.3, 7), (1.5, 3), (9.0, 100)])
def test_bootstrapped_cross_entropy_by_hand(threshold: float, least: int) -> None:
    torch.manual_seed(2)
    logits = torch.randn(2, 3, 3, 3)
    target = torch.randint(0, 3, (2, 3, 3))
    target[0, 0] = 255
    means = []
    for b in range(2):
        losses = sorted(
            (
                pixel_loss(logits[b, :, y, x].tolist(), [int(target[b, y, x])])
                for y, x in itertools.product(range(3), repeat=2)
                if target[b, y, x] != 255
            ),
            reverse=True,
        )
        above = [loss for loss in losses if loss > threshold]
        hard = above if len(above) >= least else losses[:least]
        means.append(sum(hard) / len(hard))
    got = bootstrapped_cross_entropy(logits, target, ignore=255, threshold=threshold, least=least)
    assert got.item() == pytest.approx(sum(means) / 2, rel=1e-5)


def test_a_picture_without_labels_is_left_out_of_the_bootstrap() -> None:
    logits, target = torch.randn(2, 3, 4, 4), torch.randint(0, 3, (2, 4, 4))
    target[1] = 255
    both = bootstrapped_cross_entropy(logits, target, ignore=255, least=4)
    alone = bootstrapped_cross_entropy(logits[:1], target[:1], ignore=255, least=4)
    assert both.item() == pytest.approx(alone.item(), rel=1e-6)


def test_confident_labels_ignore_what_is_unsure() -> None:
    probabilities = torch.tensor([[0.9, 0.2, 0.5, math.nan], [0.1, 0.8, 0.5, math.nan]])
    labels = confident_labels(probabilities[None, :, None], threshold=0.85, ignore=255)
    assert labels.dtype == torch.int64
    assert labels.tolist() == [[[0, 255, 255, 255]]]
    half = confident_labels(probabilities[None, :, None], threshold=0.5, ignore=-1)
    assert half.tolist() == [[[0, 1, 0, -1]]]


def test_class_weights_favour_the_rare() -> None:
    weights = class_weights_from_counts(torch.tensor([900, 100, 0]), offset=1.02)
    expected = [1 / math.log(1.02 + share) for share in (0.9, 0.1, 0.0)]
    mean = sum(expected) / 3
    assert weights.tolist() == pytest.approx([value / mean for value in expected], rel=1e-6)


def test_pseudo_labels_are_divided_by_all_pixels_that_count() -> None:
    """One of four pixels has a label, a fifth one is the border: a quarter of its loss."""
    logits = torch.zeros(1, 3, 1, 5)
    logits[0, 0] = math.log(2)  # probabilities 2/4, 1/4, 1/4 everywhere
    pseudo = torch.full((1, 1, 5), 255)
    pseudo[0, 0, 0], pseudo[0, 0, 4] = 1, 2
    counted = torch.tensor([[[True, True, True, True, False]]])
    loss = pseudo_cross_entropy(logits, pseudo, counted, ignore=255)
    assert loss.item() == pytest.approx(math.log(4) / 4)
    nothing = pseudo_cross_entropy(logits, pseudo, counted & (pseudo == 255), ignore=255)
    assert nothing.item() == 0
    beyond = pseudo_cross_entropy(logits, pseudo, torch.zeros_like(counted), ignore=255)
    assert beyond.item() == 0
    logits.requires_grad_()
    pseudo_cross_entropy(logits, pseudo, counted, ignore=255).backward()
    moved = logits.grad.abs().sum(dim=1)[0, 0]
    assert (moved > 0).tolist() == [True, False, False, False, False]
