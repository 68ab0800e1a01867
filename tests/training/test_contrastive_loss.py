"""The spatio-temporal contrastive loss against its formula, pair by pair."""

from __future__ import annotations

import itertools
import math

import pytest
import torch
from torch import Tensor

from vidparse.training.losses import contrastive_loss
from vidparse.training.losses.contrastive import _draw


def by_brute_force(
    anchors: Tensor, reference: Tensor, labels: Tensor, reference_labels: Tensor, tau: float
) -> float:
    """Mean over anchors of the mean over positives, all pixels taking part."""
    terms = []
    for b in range(len(anchors)):
        pixels = [
            (vector / vector.norm(), int(label))
            for x, y in ((anchors, labels), (reference, reference_labels))
            for vector, label in zip(x[b].flatten(1).T, y[b].flatten(), strict=True)
        ]
        for i in range(labels[b].numel()):
            vector, label = pixels[i]
            if label == 255:
                continue
            score = [math.exp(float(vector @ other) / tau) for other, _ in pixels]
            negatives = sum(
                s for s, (_, other) in zip(score, pixels, strict=True) if other not in (label, 255)
            )
            positives = [p for p in range(len(pixels)) if pixels[p][1] == label and p != i]
            losses = [-math.log(score[p] / (score[p] + negatives)) for p in positives]
            if losses:
                terms.append(sum(losses) / len(losses))
    return sum(terms) / len(terms)


@pytest.mark.parametrize("tau", [0.07, 0.5])
def test_six_pixels_by_brute_force(tau: float) -> None:
    torch.manual_seed(0)
    anchors, reference = torch.randn(2, 1, 4, 1, 3)
    labels, reference_labels = torch.tensor([[[0, 1, 0]]]), torch.tensor([[[1, 1, 2]]])
    expected = by_brute_force(anchors, reference, labels, reference_labels, tau)
    got = contrastive_loss(
        anchors, reference, labels, reference_labels, ignore=255, temperature=tau
    )
    assert got.item() == pytest.approx(expected, rel=1e-5)


def test_samples_ignored_pixels_and_unequal_sizes_by_brute_force() -> None:
    torch.manual_seed(1)
    anchors, reference = torch.randn(2, 5, 3, 4), torch.randn(2, 5, 2, 3)
    labels, reference_labels = torch.randint(0, 3, (2, 3, 4)), torch.randint(0, 3, (2, 2, 3))
    labels[0, 1], reference_labels[1, 0] = 255, 255
    expected = by_brute_force(anchors, reference, labels, reference_labels, 0.07)
    got = contrastive_loss(anchors, reference, labels, reference_labels, ignore=255)
    assert got.item() == pytest.approx(expected, rel=1e-5)


def test_labels_come_to_the_size_of_the_features() -> None:
    anchors, reference = torch.randn(2, 1, 4, 3, 2)
    labels, reference_labels = torch.randint(0, 2, (2, 1, 3, 2))
    large = [x.repeat_interleave(4, 1).repeat_interleave(5, 2) for x in (labels, reference_labels)]
    expected = contrastive_loss(anchors, reference, labels, reference_labels, ignore=255)
    got = contrastive_loss(anchors, reference, *large, ignore=255)
    assert got.item() == pytest.approx(expected.item(), rel=1e-5)


def test_an_anchor_alone_of_its_class_is_skipped() -> None:
    anchors, reference = torch.randn(2, 1, 4, 1, 3)
    labels, others = torch.tensor([[[0, 0, 7]]]), torch.tensor([[[255, 255, 255]]])
    got = contrastive_loss(anchors, reference, labels, others, ignore=255)
    expected = by_brute_force(anchors, reference, labels, others, 0.07)  # of two anchors
    assert got.item() == pytest.approx(expected, rel=1e-5)


def test_it_falls_as_a_class_draws_together() -> None:
    torch.manual_seed(2)
    anchors, reference = torch.randn(2, 1, 6, 2, 4)
    labels = torch.tensor([[[0, 0, 1, 1], [1, 1, 0, 0]]])
    centres = torch.randn(2, 6)[labels].permute(0, 3, 1, 2)  # (1, 6, 2, 4)
    losses = [
        contrastive_loss(
            anchors.lerp(centres, pull), reference.lerp(centres, pull), labels, labels, ignore=255
        ).item()
        for pull in (0.0, 0.3, 0.6, 0.9)
    ]
    assert losses == sorted(losses, reverse=True) and losses[-1] < 0.5 * losses[0]


def test_ignored_pixels_have_no_gradient() -> None:
    anchors = torch.randn(1, 4, 2, 3, requires_grad=True)
    reference = torch.randn(1, 4, 2, 3, requires_grad=True)
    labels = torch.tensor([[[0, 1, 255], [0, 1, 255]]])
    contrastive_loss(anchors, reference, labels, labels, ignore=255).backward()
    for x in (anchors, reference):
        assert x.grad[..., 2].abs().max() == 0
        assert x.grad[..., :2].abs().amax(1).min() > 0


def test_gradients_are_right() -> None:
    torch.manual_seed(3)
    anchors = torch.randn(1, 3, 2, 2, dtype=torch.float64, requires_grad=True)
    reference = torch.randn(1, 3, 2, 2, dtype=torch.float64, requires_grad=True)
    labels = torch.tensor([[[0, 1], [1, 0]]])
    assert torch.autograd.gradcheck(
        lambda a, b: contrastive_loss(a, b, labels, labels, ignore=255, temperature=0.3),
        (anchors, reference),
    )


@pytest.mark.filterwarnings("ignore:Anomaly Detection")
@pytest.mark.parametrize(
    ("labels", "reference_labels"),
    [([255, 255], [255, 255]), ([255, 255], [0, 1]), ([0, 1], [2, 3]), ([0, 0], [0, 255])],
    ids=["nothing", "no anchor", "no positive", "one class"],
)
def test_nothing_to_compare_is_zero_with_a_graph(labels, reference_labels) -> None:
    anchors = torch.randn(1, 3, 1, 2, requires_grad=True)
    reference = torch.randn(1, 3, 1, 2, requires_grad=True)
    with torch.autograd.detect_anomaly(check_nan=True):
        loss = contrastive_loss(
            anchors,
            reference,
            torch.tensor([[labels]]),
            torch.tensor([[reference_labels]]),
            ignore=255,
        )
        loss.backward()
    assert loss.item() == 0
    assert anchors.grad.abs().max() == 0 and reference.grad.abs().max() == 0


def test_an_empty_batch_is_zero() -> None:
    features, labels = torch.randn(0, 3, 2, 2, requires_grad=True), torch.zeros(0, 4, 4).long()
    loss = contrastive_loss(features, features, labels, labels, ignore=255)
    loss.backward()
    assert loss.item() == 0


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_half_precision_is_lifted(dtype: torch.dtype) -> None:
    torch.manual_seed(4)
    anchors, reference = torch.randn(2, 1, 8, 3, 3)
    labels = torch.randint(0, 2, (1, 3, 3))
    anchors[:, :, 0, 0] = 0  # a dead pixel
    expected = contrastive_loss(anchors, reference, labels, labels, ignore=255)
    with torch.autocast("cpu", dtype=dtype):
        same = contrastive_loss(anchors, reference, labels, labels, ignore=255)
        half = anchors.to(dtype).requires_grad_()
        loss = contrastive_loss(half * 100, reference.to(dtype), labels, labels, ignore=255)
    loss.backward()
    torch.testing.assert_close(same, expected)  # drawn in another order
    assert loss.dtype == torch.float32 and half.grad.isfinite().all()
    assert loss.item() == pytest.approx(expected.item(), rel=0.05)


def test_the_draw_takes_some_of_each_class() -> None:
    ids = torch.tensor([0] * 50 + [255] * 20 + [7] * 3 + [4] * 30)
    ids = ids[torch.randperm(len(ids))]
    drawn = _draw(ids, 255, 8, torch.Generator().manual_seed(0))
    assert len(drawn.unique()) == len(drawn)
    assert ids[drawn].sort().values.tolist() == [0] * 8 + [4] * 8 + [7] * 3
    counts = torch.zeros(len(ids))
    for seed in range(300):
        counts[_draw(ids, 255, 8, torch.Generator().manual_seed(seed))] += 1
    fair = 300 * 8 / 50
    assert (counts[ids == 0] - fair).abs().max() < 4.5 * math.sqrt(fair), "evenly by chance"
    assert (counts[ids == 7] == 300).all()


def test_a_generator_makes_it_repeat() -> None:
    anchors, reference = torch.randn(2, 1, 4, 8, 8)
    labels = torch.randint(0, 3, (1, 8, 8))
    values = [
        contrastive_loss(
            anchors,
            reference,
            labels,
            labels,
            ignore=255,
            per_class=4,
            generator=torch.Generator().manual_seed(seed),
        ).item()
        for seed in (5, 5, 6)
    ]
    assert values[0] == values[1] != values[2]
    assert all(math.isfinite(value) for value in itertools.chain(values))
