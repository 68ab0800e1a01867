"""Pairwise-frame and multi-frame distillation against their equations, pair by pair."""

from __future__ import annotations

import itertools
import math

import pytest
import torch
from torch import Tensor

from vidparse.training.losses import (
    ConvLSTM,
    multi_frame_loss,
    pairwise_frame_loss,
    single_frame_loss,
)


def cosine(a: list[float], b: list[float]) -> float:
    norms = math.hypot(*a) + 1e-8, math.hypot(*b) + 1e-8
    return sum(x * y for x, y in zip(a, b, strict=True)) / (norms[0] * norms[1])


def positions(x: Tensor) -> list[list[float]]:
    return x.flatten(1).T.tolist()  # (h*w, C)


def block_means(x: Tensor, side: int, *, whole: bool) -> Tensor:
    """Means of blocks of (C, h, w); at the borders smaller blocks, or none if only whole ones."""
    rows, columns = (
        [i for i in range(0, length, side) if not whole or i + side <= length]
        for length in x.shape[1:]
    )
    blocks = [[x[:, r : r + side, c : c + side].mean((1, 2)) for c in columns] for r in rows]
    return torch.stack([torch.stack(line, 1) for line in blocks], 1)


@pytest.mark.parametrize("pool", [1, 2, 5])
def test_pairwise_by_hand(pool: int) -> None:
    torch.manual_seed(0)
    student_a, student_b = torch.randn(2, 2, 3, 3, 4)
    teacher_a, teacher_b = torch.randn(2, 2, 5, 3, 4)
    terms = []
    for sample in range(2):
        maps = [
            positions(block_means(x[sample], pool, whole=False))
            for x in (student_a, student_b, teacher_a, teacher_b)
        ]
        for i, j in itertools.product(range(len(maps[0])), repeat=2):
            gap = cosine(maps[0][i], maps[1][j]) - cosine(maps[2][i], maps[3][j])
            terms.append(gap**2)
    got = pairwise_frame_loss(student_a, student_b, teacher_a, teacher_b, pool=pool)
    assert got.item() == pytest.approx(sum(terms) / len(terms), rel=1e-4)


def test_pairwise_is_zero_for_equals_and_blind_to_lengths() -> None:
    torch.manual_seed(1)
    a, b = torch.randn(2, 2, 4, 3, 3)
    teacher_a, teacher_b = torch.randn(2, 2, 6, 3, 3)
    assert pairwise_frame_loss(a, b, a, b).item() == 0
    expected = pairwise_frame_loss(a, b, teacher_a, teacher_b)
    lengths = torch.rand(2, 1, 3, 3) * 9 + 0.1
    got = pairwise_frame_loss(a * lengths, b, teacher_a, teacher_b * lengths)
    torch.testing.assert_close(got, expected)


def test_pairwise_teacher_comes_to_the_size_of_the_student() -> None:
    torch.manual_seed(2)
    a, b = torch.randn(2, 1, 4, 3, 5)
    large = torch.nn.functional.interpolate(torch.cat([a, b]), scale_factor=2, mode="nearest")
    # bilinear reading of a doubled map in the middle of each pair gives the map back
    assert pairwise_frame_loss(a, b, large[:1], large[1:]).item() < 1e-10


def test_pairwise_gradients() -> None:
    torch.manual_seed(3)
    a, b, teacher_a, teacher_b = torch.randn(4, 1, 2, 3, 2, dtype=torch.float64).unbind(0)
    for x in (a, b, teacher_a, teacher_b):
        x.requires_grad_()
    pairwise_frame_loss(a, b, teacher_a, teacher_b).backward()
    assert teacher_a.grad is None and teacher_b.grad is None
    assert torch.autograd.gradcheck(
        lambda x, y: pairwise_frame_loss(x, y, teacher_a, teacher_b, pool=2), (a, b)
    )


def test_zero_vectors_are_finite() -> None:
    student = torch.zeros(1, 3, 2, 2, requires_grad=True)
    loss = pairwise_frame_loss(student, student, torch.zeros(1, 3, 2, 2), torch.ones(1, 3, 2, 2))
    loss.backward()
    assert loss.item() == 0 and student.grad.abs().max() == 0


def sigmoid(x: float) -> float:
    return 1 / (1 + math.exp(-x))


def encode(encoder: ConvLSTM, maps: list[Tensor]) -> tuple[Tensor, Tensor]:
    """The ConvLSTM written out: cell and hidden state (4, n, n) after a list of (n, n)."""
    weight, bias = encoder.gates.weight, encoder.gates.bias
    n = maps[0].shape[0]
    cell, hidden = torch.zeros(2, 4, n, n)
    for now in maps:
        channels = torch.cat([now[None], hidden])
        gates = torch.zeros(16, n, n)
        for o, y, x in itertools.product(range(16), range(n), range(n)):
            value = float(bias[o])
            for i, dy, dx in itertools.product(range(5), range(3), range(3)):
                row, column = y + dy - 1, x + dx - 1
                if 0 <= row < n and 0 <= column < n:
                    value += float(weight[o, i, dy, dx]) * float(channels[i, row, column])
            gates[o, y, x] = value
        for k, y, x in itertools.product(range(4), range(n), range(n)):
            take, keep, show = (sigmoid(float(gates[g * 4 + k, y, x])) for g in range(3))
            candidate = math.tanh(float(gates[12 + k, y, x]))
            cell[k, y, x] = keep * cell[k, y, x] + take * candidate
            hidden[k, y, x] = show * math.tanh(float(cell[k, y, x]))
    return cell, hidden


def self_similarity(features: Tensor, side: int) -> Tensor:
    cells = positions(block_means(features, side, whole=True))
    return torch.tensor([[cosine(a, b) for b in cells] for a in cells])


@torch.no_grad()
def test_multi_frame_by_hand() -> None:
    torch.manual_seed(4)
    encoder = ConvLSTM()
    student, teacher = torch.randn(1, 2, 3, 2, 5), torch.randn(1, 2, 4, 2, 5)
    ours = encode(encoder, [self_similarity(x, 2) for x in student[0]])
    theirs = encode(encoder, [self_similarity(x, 2) for x in teacher[0]])
    expected = sum(float(((a - b) ** 2).mean()) for a, b in zip(ours, theirs, strict=True))
    loss, helper = multi_frame_loss(encoder, student, teacher, cell=2)
    assert loss.item() == pytest.approx(expected, rel=1e-4)
    assert helper.item() == pytest.approx(float((1 - theirs[0]).mean()), rel=1e-5)


def test_cells_of_a_published_crop_and_of_a_tiny_one() -> None:
    seen = []
    encoder = ConvLSTM()
    encoder.register_forward_pre_hook(lambda _, inputs: seen.append(inputs[0].shape))
    for size in (97, 16, 5):
        features = torch.randn(1, 1, 2, size, size)
        multi_frame_loss(encoder, features, features)
    assert [tuple(shape) for shape in seen[::2]] == [(1, 1, 36, 36), (1, 1, 1, 1), (1, 1, 1, 1)]


def test_multi_frame_is_zero_for_equals_and_samples_do_not_mix() -> None:
    torch.manual_seed(5)
    encoder = ConvLSTM()
    student, teacher = torch.randn(2, 3, 3, 4, 4), torch.randn(2, 3, 5, 4, 4)
    assert multi_frame_loss(encoder, student, student, cell=2)[0].item() == 0
    both, _ = multi_frame_loss(encoder, student, teacher, cell=2)
    each = [
        multi_frame_loss(encoder, student[i, None], teacher[i, None], cell=2)[0] for i in (0, 1)
    ]
    torch.testing.assert_close(both, (each[0] + each[1]) / 2)


def test_multi_frame_gradients() -> None:
    torch.manual_seed(6)
    encoder = ConvLSTM().double()
    student = torch.randn(1, 2, 2, 2, 2, dtype=torch.float64, requires_grad=True)
    teacher = torch.randn(1, 2, 2, 2, 2, dtype=torch.float64, requires_grad=True)
    loss, helper = multi_frame_loss(encoder, student, teacher, cell=1)
    helper.backward(retain_graph=True)
    assert student.grad is None and teacher.grad is None
    assert encoder.gates.weight.grad.abs().max() > 0, "the helper trains the encoder"
    loss.backward()
    assert student.grad.abs().max() > 0 and teacher.grad is None
    assert torch.autograd.gradcheck(
        lambda x: multi_frame_loss(encoder, x, teacher, cell=1), (student,)
    )


def test_weights_are_clipped() -> None:
    encoder = ConvLSTM()
    encoder.clip_weights()
    assert all((weight.abs() <= 0.1 + 1e-6).all() for weight in encoder.parameters())
    before = encoder.gates.weight.clone()
    encoder.clip_weights(0.05)
    torch.testing.assert_close(encoder.gates.weight, before.clamp(-0.05, 0.05))
    assert encoder.gates.weight.requires_grad


def test_distillation_keeps_its_precision_under_autocast() -> None:
    torch.manual_seed(7)
    encoder = ConvLSTM()
    student, teacher = torch.randn(1, 2, 3, 4, 4), torch.randn(1, 2, 5, 4, 4)
    frames = student[:, 0], student[:, 1], teacher[:, 0], teacher[:, 1]
    expected = multi_frame_loss(encoder, student, teacher, cell=2)[0], pairwise_frame_loss(*frames)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        got = multi_frame_loss(encoder, student, teacher, cell=2)[0], pairwise_frame_loss(*frames)
    assert torch.equal(torch.stack(got), torch.stack(expected))
    half = multi_frame_loss(encoder, student.bfloat16(), teacher.bfloat16(), cell=2)[0]
    assert half.dtype == torch.float32
    assert half.item() == pytest.approx(expected[0].item(), rel=0.2)


@pytest.mark.parametrize("weights", [None, [1.0, 0.25, 4.0]])
def test_single_frame_by_hand(weights: list[float] | None) -> None:
    torch.manual_seed(4)
    student, teacher = torch.randn(2, 2, 3, 2, 3)
    counted = torch.tensor([[[1, 1, 0], [1, 0, 1]], [[0, 1, 1], [1, 1, 1]]]).bool()
    total = weight = 0.0
    for n, y, x in itertools.product(range(2), range(2), range(3)):
        if not counted[n, y, x]:
            continue
        p = [math.exp(v) for v in teacher[n, :, y, x].tolist()]
        q = [math.exp(v) for v in student[n, :, y, x].tolist()]
        p, q = [v / sum(p) for v in p], [v / sum(q) for v in q]
        share = 1.0 if weights is None else sum(v * w for v, w in zip(p, weights, strict=True))
        total += share * sum(v * math.log(v / u) for v, u in zip(p, q, strict=True))
        weight += share
    given = None if weights is None else torch.tensor(weights)
    got = single_frame_loss(student, teacher, counted, class_weights=given)
    assert got.item() == pytest.approx(total / weight, rel=1e-5)


def test_single_frame_takes_other_sizes_and_half_precision() -> None:
    torch.manual_seed(5)
    student, teacher = torch.randn(1, 4, 2, 3), torch.randn(1, 4, 4, 6)
    counted = torch.ones(1, 8, 12, dtype=torch.bool)
    counted[:, :, 4:] = False
    small = torch.nn.functional.interpolate(teacher, (2, 3), mode="bilinear")
    expected = single_frame_loss(student[..., :1], small[..., :1], counted[:, :2, :1])
    assert single_frame_loss(student, teacher, counted).item() == pytest.approx(expected.item())
    half = single_frame_loss(student.bfloat16(), teacher, counted)
    assert half.dtype == torch.float32
    assert half.item() == pytest.approx(expected.item(), rel=0.05)


def test_single_frame_gradients() -> None:
    torch.manual_seed(6)
    student = torch.randn(1, 3, 2, 2, dtype=torch.float64, requires_grad=True)
    teacher = torch.randn(1, 3, 2, 2, dtype=torch.float64, requires_grad=True)
    counted = torch.tensor([[[True, True], [False, True]]])
    weights = torch.tensor([1.0, 2.0, 5.0])
    assert torch.autograd.gradcheck(
        lambda x: single_frame_loss(x, teacher, counted, class_weights=weights), (student,)
    )
    single_frame_loss(student, teacher, counted).backward()
    assert teacher.grad is None
    nothing = single_frame_loss(student, teacher, torch.zeros_like(counted))
    assert nothing.item() == 0
    assert torch.equal(torch.autograd.grad(nothing, student)[0], torch.zeros_like(student))
