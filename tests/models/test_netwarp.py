"""NetWarp: the per-frame network at first, two frames decide, flow in the right units."""

from __future__ import annotations

import math
from dataclasses import asdict, replace
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file
from torch import Tensor, nn

from support import streams
from support.streams import stream
from vidparse.errors import ModelError
from vidparse.flow import RaftFlow
from vidparse.flow.raft import Raft
from vidparse.models.checkpoint import save_checkpoint
from vidparse.models.netwarp import (
    FlowCnn,
    NetWarp,
    NetWarpConfig,
    PictureFlow,
    flow_in_cells,
    warp_features,
)
from vidparse.models.network import state_bytes, zero_state
from vidparse.models.perframe import PerFrame, PerFrameConfig
from vidparse.training.losses import cross_entropy

SIZE_HW = (43, 59)
PSP = NetWarpConfig(5, backbone="resnet18", width=16, key_width=8, flow="none", auxiliary=False)
OCR = replace(PSP, head="ocr")
HEADS = pytest.mark.parametrize("config", [PSP, OCR], ids=["psp", "ocr"])


class AnyFlow(nn.Module):
    """Motion that depends on both pictures, with some of it out of the picture."""

    def forward(self, now: Tensor, past: Tensor) -> Tensor:
        return 20 * (now - past)[:, :2] + torch.tensor([9.0, -4.0])[:, None, None]


def network(config: NetWarpConfig, *, trained: bool = False) -> NetWarp:
    """Untrained, with a motion of its own; `trained` gives every part of it a say."""
    torch.manual_seed(0)
    made = NetWarp(config)
    made.flow = AnyFlow()
    for module in made.modules():  # so that features are neither tiny nor all alike
        if isinstance(module, nn.BatchNorm2d):
            module.running_mean.uniform_(-0.1, 0.1)
            module.running_var.uniform_(0.5, 1.5)
    if trained:
        nn.init.normal_(made.flow_cnn.last.weight)
        nn.init.uniform_(made.warp_deep.w1)
        nn.init.uniform_(made.warp_head.w1)
    return made.eval()


def video(frames: int) -> Tensor:
    return streams.video(frames, SIZE_HW)


@HEADS
def test_untrained_it_is_the_per_frame_network_whatever_the_flow(config: NetWarpConfig) -> None:
    net = network(config)
    options = {"key_width": 8} if config.head == "ocr" else {}
    alone = PerFrame(
        PerFrameConfig(
            5, backbone="resnet18", width=16, head=config.head, auxiliary=False, **options
        )
    )
    missing = alone.load_state_dict(net.state_dict(), strict=False).missing_keys
    assert missing == []
    frames = video(3)
    for frame, logits in zip(frames, stream(net, frames), strict=True):
        with torch.inference_mode():
            expected = alone.eval().step(frame[None])[0].logits
        torch.testing.assert_close(logits, expected, atol=1e-5, rtol=1e-5)


@HEADS
def test_streaming_equals_pairs_of_frames(config: NetWarpConfig) -> None:
    net, frames = network(config, trained=True), video(4)
    streamed = stream(net, frames)
    for t in range(4):
        with torch.inference_mode():
            pair = net.forward_clip(frames[[max(t - 1, 0), t]][None]).logits
        torch.testing.assert_close(streamed[t], pair, atol=1e-5, rtol=1e-5)
    with torch.inference_mode():
        still = net.forward_clip(frames[[1, 1]][None]).logits
    assert not torch.allclose(streamed[1], still, atol=1e-2), "the frame before has a say"


def test_videos_of_a_batch_do_not_meet() -> None:
    net, frames = network(PSP, trained=True), video(4).reshape(2, 2, 3, *SIZE_HW)
    with torch.inference_mode():
        both = net.forward_clip(frames).logits
        for one, logits in zip(frames, both, strict=True):
            alone = net.forward_clip(one[None]).logits[0]
            torch.testing.assert_close(logits, alone, atol=1e-5, rtol=1e-5)


@HEADS
def test_state_keeps_no_gradient(config: NetWarpConfig) -> None:
    net = network(config)
    state = zero_state(net.state_tensors, SIZE_HW, torch.device("cpu"), torch.float32)
    outputs, after = net.step(video(1), state)
    assert outputs.logits.requires_grad
    assert not any(one.requires_grad for one in after)


def test_warp_without_motion_is_the_identity() -> None:
    for size in [(7, 11), (8, 6), (1, 5)]:
        features = torch.randn(2, 3, *size)
        still = warp_features(features, torch.zeros(2, 2, *size))
        torch.testing.assert_close(still, features, atol=1e-5, rtol=1e-5)


def test_warp_takes_from_where_the_flow_points() -> None:
    features = torch.randn(1, 3, 6, 9)
    flow = torch.zeros(1, 2, 6, 9)
    flow[:, 0], flow[:, 1] = 2.0, -1.0  # 2 right, 1 up
    warped = warp_features(features, flow)
    torch.testing.assert_close(warped[..., 1:, :7], features[..., :5, 2:], atol=1e-5, rtol=1e-5)
    assert warped[..., 0, :].abs().max() < 1e-5, "nothing is known outside the map"
    between = warp_features(features, torch.full_like(flow, 0.5))[0, 0, 2, 3]
    assert float(between) == pytest.approx(float(features[0, 0, 2:4, 3:5].mean()), abs=1e-5)


def test_flow_is_scaled_with_its_size() -> None:
    flow = torch.zeros(1, 2, 48, 80)
    flow[:, 0], flow[:, 1] = 16.0, -8.0
    cells = flow_in_cells(flow, torch.zeros(1, 4, 6, 10))
    torch.testing.assert_close(cells[:, 0], torch.full((1, 6, 10), 2.0))
    torch.testing.assert_close(cells[:, 1], torch.full((1, 6, 10), -1.0))


def test_refined_flow_starts_as_the_flow_and_may_be_negative() -> None:
    refine = FlowCnn().eval()
    flow, now, past = torch.randn(1, 2, 9, 7), torch.randn(1, 3, 9, 7), torch.randn(1, 3, 9, 7)
    with torch.inference_mode():
        assert torch.equal(refine(flow, now, past), flow)
    nn.init.normal_(refine.last.weight)
    with torch.inference_mode():
        assert refine(flow, now, past).min() < 0


@HEADS
def test_training_moves_every_weight_but_those_of_the_flow(config: NetWarpConfig) -> None:
    torch.manual_seed(0)
    net = NetWarp(replace(config, flow="raft", flow_iterations=1, auxiliary=True)).train()
    nn.init.normal_(net.warp_deep.w1)  # where the first step alone would come from
    nn.init.normal_(net.warp_head.w1)
    nn.init.normal_(net.flow_cnn.last.weight)
    before = {name: weight.detach().clone() for name, weight in net.state_dict().items()}
    optimizer = torch.optim.AdamW(net.parameters(), lr=1e-3)
    outputs = net.forward_clip(torch.randn(2, 2, 3, 48, 64))
    target = torch.randint(0, 5, (2, 2, 48, 64))
    assert outputs.auxiliary is not None and outputs.auxiliary.shape[:2] == (4, 5)
    loss = cross_entropy(outputs.logits, target[:, 1], ignore=255)
    (loss + cross_entropy(outputs.auxiliary, target.flatten(0, 1), ignore=255)).backward()
    optimizer.step()
    after = net.state_dict()
    flow = {name for name in after if name.startswith("flow.")}
    assert flow and all(torch.equal(after[name], before[name]) for name in flow)
    trained = {name for name, _ in net.named_parameters()} - flow
    assert [name for name in sorted(trained) if torch.equal(after[name], before[name])] == []


class TestRaft:
    """The flow network inside the module."""

    @pytest.fixture
    def weights(self, tmp_path: Path) -> Path:
        torch.manual_seed(3)
        path = tmp_path / "raft.pth"
        torch.save({f"module.{name}": one for name, one in Raft().state_dict().items()}, path)
        return path

    @pytest.fixture
    def net(self) -> NetWarp:
        return NetWarp(replace(PSP, flow="raft", flow_iterations=2)).eval()

    def test_nothing_moves_before_weights_are_loaded(self, net: NetWarp) -> None:
        assert not net.flow(video(1), video(2)[1:]).any()

    def test_loaded_it_finds_what_the_estimator_finds(self, net: NetWarp, weights: Path) -> None:
        net.load_flow(weights)
        random = np.random.default_rng(0)
        a, b = random.integers(0, 256, (2, 133, 150, 3), dtype=np.uint8)
        expected = RaftFlow(weights, iterations=2, padding="replicate").between(a, b)
        mean, std = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
        now, past = (
            ((torch.from_numpy(one) / 255 - torch.tensor(mean)) / torch.tensor(std)).movedim(2, 0)
            for one in (a, b)
        )
        with torch.inference_mode():
            found = net.flow(now[None], past[None])
            twice = net.flow(torch.stack([past, now]), torch.stack([now, past]))
        assert np.abs(expected).max() > 0.5
        np.testing.assert_allclose(found[0].numpy(), expected, atol=1e-3)
        torch.testing.assert_close(twice[1:], found, atol=1e-4, rtol=1e-4)

    def test_it_stays_frozen(self, net: NetWarp) -> None:
        net.train()
        assert net.flow_cnn.training and not any(one.training for one in net.flow.modules())
        assert not any(weight.requires_grad for weight in net.flow.parameters())

    def test_its_weights_travel_in_the_checkpoint(
        self, net: NetWarp, weights: Path, tmp_path: Path
    ) -> None:
        net.load_flow(weights)
        path = tmp_path / "net.safetensors"
        save_checkpoint(path, net.state_dict(), {"vidparse": "{}"})
        again = NetWarp(NetWarpConfig(**asdict(net.config)))
        again.load_state_dict(load_file(path))
        pictures = video(2)
        with torch.inference_mode():
            flow = again.eval().flow(pictures[:1], pictures[1:])
            assert torch.equal(flow, net.flow(pictures[:1], pictures[1:]))
        assert flow.any() and flow.isfinite().all()

    def test_wrong_weights_are_named(self, net: NetWarp, tmp_path: Path) -> None:
        with pytest.raises(ModelError, match=r"gone\.pth"):
            net.load_flow(tmp_path / "gone.pth")
        with pytest.raises(ValueError, match="none"):
            NetWarp(PSP).load_flow(tmp_path / "gone.pth")


@pytest.mark.parametrize("change", [{"head": "upernet"}, {"flow": "dis"}, {"backbone": "vgg"}])
def test_configs_that_make_no_sense_are_refused(change: dict) -> None:
    with pytest.raises(ValueError, match=next(iter(change.values()))):
        NetWarp(replace(PSP, **change))
    with pytest.raises(ValueError, match="flow_iterations"):
        NetWarp(replace(PSP, flow="raft", flow_iterations=0))


def test_sizes() -> None:
    """Over PSPNet and OCRNet (SPEC 2.1, 2.2): the flow network, FlowCNN and the channel weights."""
    with torch.device("meta"):
        psp, ocr = (NetWarp(NetWarpConfig(124, head=head)) for head in ("psp", "ocr"))
        small = NetWarp(NetWarpConfig(124, backbone="swin-s", output_stride=32, head="ocr"))

    def millions(*modules: nn.Module) -> float:
        return sum(p.numel() for module in modules for p in module.parameters()) / 1e6

    assert millions(psp.backbone, psp.head, psp.auxiliary) == pytest.approx(70.545, abs=0.002)
    assert millions(ocr) - millions(ocr.flow) == pytest.approx(58.097 + 0.012, abs=0.002)
    assert millions(small) - millions(small.flow) == pytest.approx(55.5, abs=0.05)  # SSLTM's table
    assert millions(ocr.flow) == pytest.approx(5.2575, abs=0.001)
    cells = math.ceil(480 / 8) * math.ceil(853 / 8)
    picture = 3 * 480 * 853
    assert state_bytes(psp.state_tensors, (480, 853)) == 4 * (picture + 2048 * cells + 1)
    assert state_bytes(ocr.state_tensors, (480, 853)) == 4 * (picture + 2560 * cells + 1)


def test_flow_network_is_made_for_pictures_of_any_size() -> None:
    flow = PictureFlow(1)
    nn.init.normal_(flow.raft.update_block.flow_head.conv2.weight)
    with torch.inference_mode():
        for size in [(31, 200), (130, 129)]:
            found = flow(torch.randn(1, 3, *size), torch.randn(1, 3, *size))
            assert found.shape == (1, 2, *size) and found.isfinite().all()
