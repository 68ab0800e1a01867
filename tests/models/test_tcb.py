"""TCB streams: each frame once through the backbone, the same answers as the published scheme."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from torch import Tensor, nn

from support import streams
from support.streams import stream
from vidparse.models.network import state_bytes, zero_state
from vidparse.models.tcb import (
    MEMORIES,
    Ring,
    TcbOcr,
    TcbOcrConfig,
    TcbPpm,
    TcbPpmConfig,
    support_indices,
)

FRAMES, SIZE_HW = 14, (40, 56)
PPM = TcbPpmConfig(5, backbone="resnet18", width=16)
OCR = TcbOcrConfig(5, backbone="resnet18", width=16, key_width=8, memory="none")
FINE = {"backbone": "mobilenetv2", "output_stride": 16, "skip_channels": 8, "finest": 2}


def network(config: TcbPpmConfig | TcbOcrConfig) -> TcbPpm | TcbOcr:
    torch.manual_seed(0)
    made = TcbPpm(config) if isinstance(config, TcbPpmConfig) else TcbOcr(config)
    for module in made.modules():  # so that features are neither tiny nor all alike
        if isinstance(module, nn.BatchNorm2d):
            module.running_mean.uniform_(-0.1, 0.1)
            module.running_var.uniform_(0.5, 1.5)
    return made.eval()


def video(frames: int = FRAMES) -> Tensor:
    return streams.video(frames, SIZE_HW)


@pytest.mark.parametrize(
    "config",
    [PPM, OCR, replace(PPM, **FINE), replace(OCR, **FINE)],
    ids=["ppm", "ocr", "fine ppm", "fine ocr"],
)
def test_streaming_equals_the_published_scheme(config: TcbPpmConfig | TcbOcrConfig) -> None:
    net, frames = network(config), video()
    streamed = stream(net, frames)
    for t in range(FRAMES):
        past = support_indices(t, FRAMES, config.dilations)
        with torch.inference_mode():
            whole = net.forward_clip(frames[[*past, t]][None]).logits
        torch.testing.assert_close(streamed[t], whole, atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize("memory", ["none", "first_clip"])
def test_published_test_code_with_past_supports_is_streaming(memory: str) -> None:
    net, frames = network(replace(OCR, memory=memory)), video()
    state: tuple[Tensor, ...] = ()
    for t, streamed in enumerate(stream(net, frames)):
        past = support_indices(t, FRAMES, OCR.dilations)
        with torch.inference_mode():
            outputs, state = net.forward_published(frames[[*past, t]][None], state)
        torch.testing.assert_close(outputs.logits, streamed, atol=1e-5, rtol=1e-5)
    assert len(state) == (memory != "none")


@pytest.mark.parametrize("config", [PPM, OCR], ids=["ppm", "ocr"])
def test_identical_frames_equal_the_per_frame_network(config: TcbPpmConfig | TcbOcrConfig) -> None:
    net = network(config)
    frames = video(1).expand(12, -1, -1, -1)
    with torch.inference_mode():
        alone = net.head(net.backbone(frames[:1]))
    for logits in stream(net, frames):
        torch.testing.assert_close(logits, alone, atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize("config", [PPM, OCR], ids=["ppm", "ocr"])
def test_order_of_supports_does_not_matter(config: TcbPpmConfig | TcbOcrConfig) -> None:
    net, frames = network(config), video(4)
    with torch.inference_mode():
        one = net.forward_clip(frames[[0, 1, 2, 3]][None]).logits
        other = net.forward_clip(frames[[2, 0, 1, 3]][None]).logits
    torch.testing.assert_close(one, other, atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize("memory", MEMORIES)
def test_state_is_all_that_is_remembered(memory: str) -> None:
    """A state kept and given back goes on as if nothing had happened; zeros begin anew."""
    net, frames = network(replace(OCR, memory=memory)), video()
    whole = stream(net, frames)
    state = zero_state(net.state_tensors, SIZE_HW, torch.device("cpu"), torch.float32)
    with torch.inference_mode():
        for frame in frames[:6]:
            _, state = net.step(frame[None], state)
        resumed, _ = net.step(frames[6][None], tuple(one.clone() for one in state))
    assert torch.equal(resumed.logits, whole[6])
    again = stream(net, frames[:2])
    assert torch.equal(again[0], whole[0]) and torch.equal(again[1], whole[1])


class TestMemory:
    """Region features that are t everywhere in frame t, as the published code was probed."""

    def contexts(self, memory: str, frames: int = 20, **more: object) -> list[float]:
        net = network(replace(OCR, memory=memory, **more))  # type: ignore[arg-type]
        tensor = net.state_tensors[1]
        held = [torch.zeros(tensor.full_shape(SIZE_HW))]
        found = []
        for t in range(frames):
            blended = torch.full((1, *tensor.shape[1:]), float(t), requires_grad=True)
            seen = torch.full((1, 1), float(t))
            context, held = net._remember(blended, held, seen)
            assert not held[0].requires_grad
            found.append(float(context[0, 0, 0].detach()))
        return found

    def test_first_clip_is_what_the_published_code_does(self) -> None:
        assert self.contexts("first_clip") == pytest.approx([t / 2 for t in range(20)])

    def test_fifo_is_the_mean_of_the_last_frames(self) -> None:
        expected = [sum(range(max(0, t - 8), t + 1)) / min(t + 1, 9) for t in range(20)]
        assert self.contexts("fifo") == pytest.approx(expected)
        short = [sum(range(max(0, t - 2), t + 1)) / min(t + 1, 3) for t in range(20)]
        assert self.contexts("fifo", memory_frames=2) == pytest.approx(short)

    def test_ema_is_a_running_average(self) -> None:
        expected, mean = [], 0.0
        for t in range(20):
            mean = t if t == 0 else 0.9 * mean + 0.1 * t
            expected.append(mean)
        assert self.contexts("ema") == pytest.approx(expected, rel=1e-5)


def test_supports_before_the_start_are_the_first_frame() -> None:
    past = None
    for t in range(5):
        now = torch.full((1, 2), float(t + 1))
        ring = torch.zeros(1, 9, 2) if past is None else past.moved_on()
        past = Ring(ring, torch.full((1, 1), float(t)), now)
        for dilation in (1, 3, 9):
            assert past.ago(dilation)[0, 0] == max(t - dilation, 0) + 1


def test_support_indices_never_wrap() -> None:
    assert support_indices(2, 30, (3, 6, 9)) == (0, 0, 0)
    assert support_indices(10, 30, (3, 6, 9)) == (7, 4, 1)
    assert support_indices(2, 30, (3, 6, 9), support="official") == (5, 8, 11)
    assert support_indices(25, 30, (3, 6, 9), support="official") == (22, 19, 16)
    assert support_indices(4, 8, (3, 6, 9), support="official") == (1, 0, 0)


def test_state_is_small_and_does_not_depend_on_the_picture() -> None:
    with torch.device("meta"):
        published = TcbOcr(TcbOcrConfig(124, auxiliary=False))
        light = TcbOcr(replace(OCR, classes=11, width=128, memory="fifo"))
    assert state_bytes(published.state_tensors, (480, 853)) == 4 * (17 * 512 * 124 + 1)
    assert state_bytes(light.state_tensors, (480, 853)) < 100_000
    assert state_bytes(light.state_tensors, (480, 853)) == state_bytes(
        light.state_tensors, (2160, 3840)
    )


def test_published_sizes() -> None:
    """SPEC: OCRNet's head 15.47 M and PSPNet's 27.92 M on the deep-stem ResNet-101 of 42.624 M."""
    with torch.device("meta"):
        ocr, ppm = TcbOcr(TcbOcrConfig(124)), TcbPpm(TcbPpmConfig(124))

    def millions(module: nn.Module) -> float:
        return sum(p.numel() for p in module.parameters()) / 1e6

    assert millions(ocr) == pytest.approx(42.624 + 15.473, abs=0.002)
    assert millions(ppm) == pytest.approx(42.624 + 27.921, abs=0.002)


@pytest.mark.parametrize(
    "config",
    [PPM, replace(OCR, memory="fifo"), replace(OCR, **FINE)],
    ids=["ppm", "ocr", "fine ocr"],
)
def test_training_step(config: TcbPpmConfig | TcbOcrConfig) -> None:
    net = network(config).train()
    outputs = net.forward_clip(torch.stack([video(4), video(4).flip(0)]))
    assert outputs.logits.shape[:2] == (2, 5)
    assert outputs.auxiliary is not None and outputs.auxiliary.shape[0] == 8
    (outputs.logits.square().mean() + outputs.auxiliary.square().mean()).backward()
    assert all(p.grad is not None for p in net.parameters() if p.requires_grad)


def test_settings_that_make_no_sense_are_refused() -> None:
    with pytest.raises(ValueError, match="memory 'all'"):
        TcbOcr(replace(OCR, memory="all"))
    with pytest.raises(ValueError, match="dilations"):
        TcbPpm(replace(PPM, dilations=(0,)))
