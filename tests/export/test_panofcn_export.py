"""Clip-PanoFCN as ONNX: any number of frames, the maps of torch, and int8."""

from __future__ import annotations

import logging
from pathlib import Path

import numpy as np
import onnx
import pytest
import torch

from vidparse.export import export_onnx, rendered_clips
from vidparse.export.parity import cpu_session, kernel_winners, windows_of
from vidparse.export.quantizer import Quantizer
from vidparse.inference import load_model
from vidparse.inference.clip_segments import Merging
from vidparse.inference.kernel_maps import KernelMaps
from vidparse.inference.runners import Runner, has_openvino
from vidparse.labels import load_labels
from vidparse.models.checkpoint import load_network, read_description, save_checkpoint
from vidparse.models.description import Preprocess, metadata_of
from vidparse.models.zoo import build, facts_of

CONFIG = {
    "things": 3, "stuff": 8, "backbone": "efficientnet-lite0", "width": 16, "kernel_width": 16,
    "feature_width": 8, "norm": "batch",
}  # fmt: skip


@pytest.fixture(scope="module")
def weights(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An untrained network whose norms know a rendered street, and whose classes all win cells."""
    torch.manual_seed(4)
    network = build("clip-panofcn", CONFIG)
    for name, module in network.named_modules():
        if isinstance(module, torch.nn.BatchNorm2d):
            module.momentum = None
        if name.rpartition(".")[2] in ("centres", "regions", "last") or "embedding" in name:
            spread = 0.3 if name == "thing_embedding" else 0.05
            torch.nn.init.normal_(module.weight, std=spread)
            torch.nn.init.zeros_(module.bias)
    torch.nn.init.constant_(network.thing_embedding.bias, -1)  # things, but not everywhere
    clip = torch.from_numpy(np.stack(rendered_clips(6, (128, 160)), axis=1))
    with torch.no_grad():
        network.train()(clip, ())
    path = tmp_path_factory.mktemp("panofcn") / "small.safetensors"
    metadata = metadata_of(
        arch="clip-panofcn", **facts_of(network), labels=load_labels("camvid"),
        preprocess=Preprocess(128, divisor=32), training={},
    )  # fmt: skip
    save_checkpoint(path, network.state_dict(), metadata)
    return path


@pytest.fixture(scope="module")
def exported(weights: Path) -> Path:
    path = weights.with_suffix(".onnx")
    parity = export_onnx(read_description(weights), path, half_storage=False)
    assert parity.argmax_agreement > 0.9999 and parity.max_abs_difference < 1e-3
    assert parity.frames == 18, "of whole clips"
    return path


def test_the_number_of_frames_is_free(exported: Path) -> None:
    (clip,) = onnx.load(exported).graph.input
    frames, channels, height, width = clip.type.tensor_type.shape.dim
    assert channels.dim_value == 3
    assert all(one.dim_param for one in (frames, height, width))


@pytest.mark.parametrize(
    "shape", [(1, 3, 128, 160), (2, 3, 97, 130), (5, 3, 64, 96), (1, 3, 32, 32)]
)
def test_maps_are_those_of_torch(weights: Path, exported: Path, shape: tuple[int, ...]) -> None:
    clip = np.random.default_rng(1).normal(size=shape).astype(np.float32)
    with torch.inference_mode():
        answer, _ = load_network(read_description(weights))(torch.from_numpy(clip)[None], ())
    session = cpu_session(exported)
    names = [output.name for output in session.get_outputs()]
    assert names == list(answer.outputs())
    for (name, expected), got in zip(
        answer.outputs().items(), session.run(names, {"clip": clip}), strict=True
    ):
        np.testing.assert_allclose(got, expected.detach(), atol=1e-3, rtol=1e-4, err_msg=name)


def test_its_description_allows_any_window(weights: Path, exported: Path) -> None:
    from vidparse.models.checkpoint import read_onnx_description

    for description in (read_description(weights), read_onnx_description(exported)):
        assert (description.task, description.window, description.any_window) == (
            "panoptic", 3, True,
        )  # fmt: skip


def answers_of(runner: Runner) -> list[KernelMaps]:
    """To three clips of a rendered street, the last of them short."""
    assert runner.any_window and not runner.fixed_window and runner.window == 3
    frames = np.concatenate(rendered_clips(8, (120, 160)))
    answers = [runner.answer(frames[None, i : i + 3]) for i in (0, 3, 6)]
    assert all(isinstance(answer, KernelMaps) for answer in answers)
    return answers


@pytest.mark.parametrize("backend", ["onnx", "openvino"])
def test_backends_find_the_segments_of_torch(weights: Path, exported: Path, backend: str) -> None:
    if backend == "openvino" and not has_openvino():
        pytest.skip("openvino is not installed: pip install 'vidparse[openvino]'")
    labels = load_labels("camvid")
    torch_runner = load_model(weights, backend="torch", device="cpu", threads=1)
    runner = load_model(exported, backend=backend, device="cpu", precision="fp32", threads=1)
    found = 0
    for one, other in zip(answers_of(torch_runner), answers_of(runner), strict=True):
        expected, got = (answer.segments((120, 160), labels, Merging()) for answer in (one, other))
        assert len(expected.maps) == len(got.maps) == len(one.features)
        for mine, theirs in zip(expected.maps, got.maps, strict=True):
            classes = [[segment.class_id for segment in one.segments] for one in (mine, theirs)]
            assert classes[0] == classes[1]
            assert (mine.ids == theirs.ids).mean() > 0.999
            found += sum(one in labels.things for one in classes[0])
    assert found, "things are among them"


def test_int8_calibrates_on_clips_and_keeps_their_number_free(
    exported: Path, tmp_path: Path
) -> None:
    """Random weights are no measure of int8, but most positions keep their class."""
    frames = rendered_clips(12, (96, 128))
    known, unseen = (windows_of(half, 3, any_window=True) for half in (frames[:6], frames[6:]))
    assert [one.shape for one in known] == [(3, 3, 96, 128)] * 2
    work = Quantizer(onnx.load(exported), (), known, unseen, tmp_path)
    model = work.build(8)
    assert work.agreement(model) > 0.7
    session = cpu_session(model.SerializeToString())
    (features,) = session.run(["features"], {"clip": np.concatenate([*known, *unseen])})
    assert features.shape == (12, 8, 24, 32)


def made_outputs() -> dict[str, np.ndarray]:
    """Two frames of 32 x 32: the left half is class 1, the right half class 0; class 2 is rare."""
    outputs = {f"centres{i}": np.full((2, 2, max(1, 32 >> i), 1), -5.0) for i in range(3, 8)}
    regions = np.zeros((2, 3, 4, 4))
    regions[:, 1, :, :2], regions[:, 0, :, 2:], regions[:, 2] = 5, 5, -9
    kernels = np.zeros((2, 2, 4, 4))
    kernels[:, 0, :, :2] = 1
    kernels[:, 1, :, 2:] = 1
    features = np.zeros((2, 2, 8, 8))
    features[:, 0, :, :4] = 1
    features[:, 1, :, 4:] = 1
    return outputs | {
        "regions3": regions, "kernels3": kernels, "features": features,
        "stuff_weight": np.eye(2), "stuff_bias": np.zeros(2),
    }  # fmt: skip


def test_winners_are_masks_of_stuff_and_centres_of_things() -> None:
    outputs = made_outputs()
    outputs["centres3"][1, 1, 2, 0] = 3
    found = kernel_winners(outputs)
    assert found.shape == (2, 64 + 4 + 2 + 1 + 1 + 1)
    stuff = found[:, :64].reshape(2, 8, 8)
    assert (stuff[:, :, :4] == 1).all() and (stuff[:, :, 4:] == 0).all()
    assert found[0, 64:].tolist() == [-1] * 9
    assert found[1, 64:].tolist() == [-1, -1, 1, *[-1] * 6]


def test_pooled_kernels_are_exported_in_place_of_the_regions(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    torch.manual_seed(4)
    network = build("clip-panofcn", {**CONFIG, "backbone": "resnet18", "pooled": True}).eval()
    metadata = metadata_of(
        arch="clip-panofcn", **facts_of(network), labels=load_labels("camvid"),
        preprocess=Preprocess(128, divisor=32), training={},
    )  # fmt: skip
    weights, path = tmp_path / "pooled.safetensors", tmp_path / "pooled.onnx"
    save_checkpoint(weights, network.state_dict(), metadata)
    export_onnx(read_description(weights), path, half_storage=False)
    warned = [one.getMessage() for one in caplog.records if one.levelno >= logging.WARNING]
    assert warned == [], "the exporter keeps its notes to itself"
    session = cpu_session(path)
    names = [one.name for one in session.get_outputs()]
    assert "pooled" in names and not [one for one in names if one.startswith("regions")]

    # Sizes that are no multiples of 32 pool the cells of the picture alone.
    clip = torch.randn(1, 2, 3, 100, 130)
    with torch.inference_mode():
        wanted = network(clip, ())[0].outputs()
    for name, found in zip(names, session.run(None, {"clip": clip[0].numpy()}), strict=True):
        np.testing.assert_allclose(found, wanted[name].detach().numpy(), atol=2e-4, rtol=1e-3)
