"""SSLTM: windows in space and time, streamed contexts, category centres."""

from __future__ import annotations

from dataclasses import asdict, replace
from itertools import product

import pytest
import torch
from torch import Tensor, nn

from support import streams
from support.streams import stream
from vidparse.models.network import state_bytes, zero_state
from vidparse.models.ssltm import (
    MixFfn,
    SpatialTemporalBlock,
    Ssltm,
    SsltmConfig,
    WindowAttention3d,
    bank_loss,
    frames_of_clip,
    from_windows_3d,
    reference_index,
    to_windows_3d,
)
from vidparse.training.losses import cross_entropy

SIZE_HW = (43, 59)
REFERENCE = SsltmConfig(
    5,
    backbone="resnet18",
    output_stride=16,
    width=16,
    key_width=8,
    heads=2,
    attention_window=(3, 2, 2),
    reference_distance=6,
    reference_stride=2,
    bank_key_width=8,
)
QUERY = replace(REFERENCE, context="query")
CONTEXTS = pytest.mark.parametrize("config", [REFERENCE, QUERY], ids=["reference", "query"])


def network(config: SsltmConfig) -> Ssltm:
    torch.manual_seed(0)
    made = Ssltm(config)
    for module in made.modules():  # so that features are neither tiny nor all alike
        if isinstance(module, nn.BatchNorm2d):
            module.running_mean.uniform_(-0.1, 0.1)
            module.running_var.uniform_(0.5, 1.5)
        if isinstance(module, nn.Linear):
            nn.init.normal_(module.weight, std=0.3)
    return made.eval()


def video(frames: int) -> Tensor:
    return streams.video(frames, SIZE_HW)


@CONTEXTS
def test_streaming_equals_the_whole_clip(config: SsltmConfig) -> None:
    net, frames = network(config), video(14)
    for t, logits in enumerate(stream(net, frames)):
        with torch.inference_mode():
            whole = net.forward_clip(frames[list(frames_of_clip(t, config))][None]).logits
        torch.testing.assert_close(logits, whole, atol=1e-5, rtol=1e-5)


def test_every_frame_of_a_clip_has_a_say() -> None:
    net, frames = network(REFERENCE), video(5)
    with torch.inference_mode():
        whole = net.forward_clip(frames[None, :4]).logits
        for changed in range(4):
            order = [4 if i == changed else i for i in range(4)]
            other = net.forward_clip(frames[order][None]).logits
            assert not torch.allclose(whole, other, atol=1e-4), f"frame {changed}"


def test_reference_is_as_far_away_as_the_ring_reaches() -> None:
    found = [reference_index(t, distance=60, stride=6) for t in (0, 5, 60, 61, 66, 67, 131)]
    assert found == [0, 0, 0, 6, 6, 12, 72]
    assert frames_of_clip(1, SsltmConfig(3)) == (0, 0, 0, 1)
    assert frames_of_clip(70, SsltmConfig(3)) == (12, 68, 69, 70)
    assert frames_of_clip(70, SsltmConfig(3, context="query")) == (68, 69, 70)


def test_a_frame_that_refers_to_itself_is_its_own_query_context() -> None:
    far, near, frame = network(REFERENCE), network(QUERY), video(1)
    with torch.inference_mode():
        one = far.forward_clip(frame[[0, 0, 0, 0]][None]).logits
        other = near.forward_clip(frame[[0, 0, 0]][None]).logits
    torch.testing.assert_close(one, other, atol=1e-6, rtol=1e-6)


def test_the_counter_stays_small() -> None:
    """Half precision counts to 256 only; the state counts just the turns of the ring."""
    net, frames = network(replace(REFERENCE, reference_stride=3)), video(1)
    state = zero_state(net.state_tensors, SIZE_HW, torch.device("cpu"), torch.float32)
    counts = []
    with torch.inference_mode():
        for _ in range(8):
            _, state = net.step(frames, state)
            counts.append(int(state[-1]))
    assert counts == [1, 2, 3, 1, 2, 3, 1, 2]


@CONTEXTS
def test_state_is_all_that_is_remembered_and_has_no_gradient(config: SsltmConfig) -> None:
    net, frames = network(config), video(6)
    whole = stream(net, frames)
    state = zero_state(net.state_tensors, SIZE_HW, torch.device("cpu"), torch.float32)
    for frame in frames[:5]:
        _, state = net.step(frame[None], state)
        assert not any(one.requires_grad for one in state)
    with torch.inference_mode():
        resumed, _ = net.step(frames[5][None], tuple(one.clone() for one in state))
    torch.testing.assert_close(resumed.logits, whole[5], atol=1e-6, rtol=1e-6)
    again = stream(net, frames[:2])
    assert torch.equal(again[0], whole[0]) and torch.equal(again[1], whole[1])


def full_attention(module: WindowAttention3d, x: Tensor) -> Tensor:
    """Every cell (T, H, W, C) attends to every other, a pair at a time."""
    places = list(product(*(range(side) for side in x.shape[:3])))
    query, key, value = module.qkv(x).split(x.shape[3], dim=3)
    t, h, w = module.window
    heads, depth = module.heads, x.shape[3] // module.heads
    out = torch.zeros_like(x)
    for a in places:
        for head in range(heads):
            part = slice(head * depth, (head + 1) * depth)
            scores = []
            for b in places:
                steps = [p - q + s - 1 for p, q, s in zip(a, b, (t, h, w), strict=True)]
                row = (steps[0] * (2 * h - 1) + steps[1]) * (2 * w - 1) + steps[2]
                bias = module.relative_position_bias_table[row, head]
                scores.append(query[a][part] @ key[b][part] / depth**0.5 + bias)
            weights = torch.stack(scores).softmax(dim=0)
            out[a][part] = sum(one * value[b][part] for one, b in zip(weights, places, strict=True))
    return module.proj(out)


@pytest.mark.parametrize(
    ("size", "window"),
    [((2, 3, 2), (2, 3, 2)), ((2, 3, 2), (3, 4, 4))],
    ids=["one window", "one padded window"],
)
@torch.inference_mode()
def test_one_window_is_full_attention(size: tuple, window: tuple) -> None:
    torch.manual_seed(0)
    module = WindowAttention3d(8, 2, window)
    nn.init.normal_(module.relative_position_bias_table)
    x = torch.randn(2, *size, 8)
    expected = torch.stack([full_attention(module, one) for one in x])
    torch.testing.assert_close(module(x), expected, atol=1e-5, rtol=1e-5)


@torch.inference_mode()
def test_windows_do_not_see_each_other() -> None:
    torch.manual_seed(0)
    module = WindowAttention3d(8, 2, (2, 3, 3))
    nn.init.normal_(module.relative_position_bias_table)
    x = torch.randn(1, 3, 5, 4, 8)
    whole = module(x)
    pieces = [(slice(0, 2), slice(3, 5), slice(0, 3)), (slice(2, 3), slice(0, 3), slice(3, 4))]
    for t, h, w in pieces:
        alone = module(x[:, t, h, w])
        torch.testing.assert_close(whole[:, t, h, w], alone, atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize("size", [(1, 1, 1), (2, 5, 9), (3, 8, 7), (4, 7, 15)])
@torch.inference_mode()
def test_blocks_keep_any_shape(size: tuple[int, int, int]) -> None:
    x = torch.randn(2, *size, 8)
    assert MixFfn(8)(x).shape == x.shape
    out = SpatialTemporalBlock(8, 2, (2, 4, 4))(x)
    assert out.shape == x.shape and out.isfinite().all()


@torch.inference_mode()
def test_mix_ffn_is_local_and_does_not_mix_frames() -> None:
    torch.manual_seed(0)
    ffn, x = MixFfn(4), torch.randn(1, 2, 5, 6, 4)
    other = x.clone()
    other[0, 1, 2, 3] += 1.0
    changed = (ffn(x) - ffn(other)).abs().amax(dim=4)[0] > 1e-7  # (T, H, W)
    assert not changed[0].any()
    assert changed[1, 1:4, 2:5].all() and changed.sum() == 9


def test_windows_come_back_together() -> None:
    x = torch.randn(2, 4, 6, 10, 3)
    tokens = to_windows_3d(x, (2, 2, 5), (2, 3, 2))
    assert tokens.shape == (2 * 2 * 2 * 5, 12, 3)
    assert torch.equal(tokens[0, :2, 0], x[0, 0, 0, :2, 0])
    assert torch.equal(from_windows_3d(tokens, (2, 2, 5), (2, 3, 2)), x)


def test_bank_loss_is_the_distance_to_the_nearest_centre() -> None:
    torch.manual_seed(0)
    centres = torch.randn(3, 2, 4, requires_grad=True)
    features = torch.randn(2, 4, 3, 5, requires_grad=True)
    labels = torch.randint(0, 2, (2, 3, 5))  # no pixel of class 2
    labels[0, 0] = 255
    expected, moved = [], set()
    for picture, truth in zip(features.detach(), labels, strict=True):
        for k in truth.unique().tolist():
            if k == 255:
                continue
            mean = picture[:, truth == k].mean(dim=1)
            errors = [((centre - mean) ** 2).mean() for centre in centres[k].detach()]
            expected.append(min(errors))
            moved.add((k, int(torch.stack(errors).argmin())))
    loss = bank_loss(centres, features, labels, ignore=255)
    assert float(loss.detach()) == pytest.approx(float(torch.stack(expected).mean()), rel=1e-5)
    loss.backward()
    assert features.grad is None, "features are not pulled to the centres"
    assert centres.grad is not None
    assert {tuple(at) for at in centres.grad.abs().sum(dim=2).nonzero().tolist()} == moved


def test_bank_loss_of_nothing_is_zero() -> None:
    centres = torch.randn(3, 2, 4, requires_grad=True)
    loss = bank_loss(centres, torch.randn(1, 4, 2, 2), torch.full((1, 8, 8), 255), ignore=255)
    loss.backward()
    assert loss == 0 and centres.grad is not None and not centres.grad.any()


def test_centres_learn_the_mean_of_their_class() -> None:
    """Two kinds of pictures, one class: two of its centres find them."""
    torch.manual_seed(0)
    centres = nn.Parameter(torch.randn(1, 3, 4).relu())
    kinds = torch.tensor([[3.0, 0, 0, 1], [0.0, 0, 2, 0]])
    features = kinds[:, :, None, None].expand(-1, -1, 2, 2)
    optimizer = torch.optim.SGD([centres], lr=1.0)
    for _ in range(200):
        optimizer.zero_grad()
        bank_loss(centres, features, torch.zeros(2, 2, 2).long(), ignore=255).backward()
        optimizer.step()
    nearest = torch.cdist(kinds, centres.detach()[0]).amin(dim=1)
    assert nearest.max() < 0.05


def test_a_training_step_moves_every_weight() -> None:
    torch.manual_seed(0)
    net = Ssltm(REFERENCE).train()
    before = {name: weight.detach().clone() for name, weight in net.named_parameters()}
    optimizer = torch.optim.AdamW(net.parameters(), lr=1e-3, weight_decay=0.0)
    outputs = net.forward_clip(torch.randn(2, 4, 3, 64, 96))
    target = torch.randint(0, 5, (2, 64, 96))
    assert outputs.auxiliary is not None and outputs.auxiliary.shape == (8, 5, 4, 6)
    loss = cross_entropy(outputs.logits, target, ignore=255)
    loss = loss + net.own_terms(outputs, target, ignore=255)["bank"]
    scores = outputs.auxiliary.unflatten(0, (2, 4))[:, -1]
    (loss + 0.4 * cross_entropy(scores, target, ignore=255)).backward()
    optimizer.step()
    still = [k for k, weight in net.named_parameters() if torch.equal(weight, before[k])]
    assert still == []


def test_scores_alone_do_not_move_the_centres() -> None:
    net = Ssltm(REFERENCE).train()
    net.forward_clip(torch.randn(2, 4, 3, 48, 48)).logits.square().sum().backward()
    assert net.bank.centres.grad is None and net.bank.key[0].weight.grad is not None


def test_published_size_and_small_state() -> None:
    with torch.device("meta"):
        swin = Ssltm(SsltmConfig(124, backbone="swin-s", output_stride=32))
        resnet = Ssltm(SsltmConfig(124))
    size = sum(p.numel() for p in swin.parameters()) / 1e6
    assert size == pytest.approx(59.3, abs=0.1)  # SSLTM, supplementary (SPEC 4.2)
    regions = 10 * 512 * 124
    cells = 60 * 107
    assert state_bytes(resnet.state_tensors, (480, 853)) == 4 * (2 * 512 * cells + regions + 1)
    cells = 15 * 27
    assert state_bytes(swin.state_tensors, (480, 853)) == 4 * (2 * 512 * cells + regions + 1)


def test_config_travels_as_plain_values() -> None:
    plain = asdict(REFERENCE) | {"attention_window": [3, 2, 2], "auxiliary": False}  # as from JSON
    net = Ssltm(SsltmConfig(**plain))
    net.load_state_dict(network(REFERENCE).state_dict())


@pytest.mark.parametrize(
    ("change", "word"),
    [
        ({"backbone": "vgg"}, "vgg"),
        ({"context": "both"}, "both"),
        ({"reference_distance": 7}, "multiple"),
        ({"short_term_frames": 0}, "short_term_frames"),
        ({"heads": 3}, "heads"),
        ({"attention_window": (3, 0, 2)}, "window"),
    ],
)
def test_configs_that_make_no_sense_are_refused(change: dict, word: str) -> None:
    with pytest.raises(ValueError, match=word):
        Ssltm(replace(REFERENCE, **change))
    with pytest.raises(ValueError, match="a clip has 4"):
        network(REFERENCE).forward_clip(video(3)[None])
