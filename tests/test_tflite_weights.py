"""The example that starts from TensorFlow Lite's weights, on graphs as tf2onnx writes them."""

from __future__ import annotations

import importlib
from pathlib import Path
from types import ModuleType

import numpy as np
import onnx
import pytest
import torch
from onnx import TensorProto, helper, numpy_helper
from torch import nn

from vidparse.errors import ModelError
from vidparse.labels import load_labels
from vidparse.models.checkpoint import load_network, read_description
from vidparse.models.description import Preprocess
from vidparse.models.network import VideoNetwork
from vidparse.models.zoo import build

EXAMPLES = Path(__file__).parent.parent / "examples"
LABELS = load_labels("voc")
MEAN, STD = np.array(Preprocess(1).mean), np.array(Preprocess(1).std)
ZERO, SCALE = 128.0, 1 / 127


@pytest.fixture
def weights(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    monkeypatch.syspath_prepend(str(EXAMPLES))
    monkeypatch.setattr(importlib.import_module("tflite_teacher"), "NEEDED", ())
    return importlib.import_module("tflite_weights")


@pytest.fixture
def network(tmp_path: Path) -> Path:
    path = tmp_path / "network.tflite"
    path.write_bytes(b"a network")
    return path


def published(weights: ModuleType) -> VideoNetwork:
    """A network whose norms have seen something."""
    torch.manual_seed(0)
    net = build("perframe", weights.CONFIG | {"classes": len(LABELS)}).eval()
    for module in net.modules():
        if isinstance(module, nn.BatchNorm2d):
            module.running_mean.uniform_(-0.2, 0.2)
            module.running_var.uniform_(0.5, 2.0)
            nn.init.uniform_(module.weight, 0.5, 1.5)
            nn.init.uniform_(module.bias, -0.2, 0.2)
    return net


def folded(convolution: nn.Conv2d, norm: nn.BatchNorm2d) -> tuple[np.ndarray, np.ndarray]:
    times = norm.weight / (norm.running_var + norm.eps).sqrt()
    bias = norm.bias - norm.running_mean * times
    kernel = convolution.weight * times[:, None, None, None]
    return kernel.detach().numpy(), bias.detach().numpy()


def in_slim(net: VideoNetwork) -> dict[str, tuple[np.ndarray, np.ndarray]]:
    """Slim's name of each convolution -> kernel and bias, norms folded in, in its order."""
    found = {}
    for number, block in enumerate(net.backbone.features):
        if number == 0:
            found["MobilenetV2/Conv/BatchNorm_Fold/bias"] = folded(block[0], block[1])
            continue
        scope = "expanded_conv" + (f"_{number - 1}" if number > 1 else "")
        steps = [folded(part[0], part[1]) for part in block.conv if isinstance(part, nn.Sequential)]
        steps.append(folded(*block.conv[-2:]))
        names = ["expand", "depthwise", "project"][-len(steps) :]
        for name, step in zip(names, steps, strict=True):
            found[f"MobilenetV2/{scope}/{name}/BatchNorm_Fold/bias"] = step

    head = net.head
    found["aspp0/BatchNorm_Fold/bias"] = folded(*head.aspp.branches[0][:2])
    found["image_pooling/BatchNorm_Fold/bias"] = folded(*head.aspp.image[:2])
    kernel, bias = folded(*head.aspp.fuse[:2])
    half = kernel.shape[1] // 2
    found["concat_projection/BatchNorm_Fold/bias"] = (
        np.concatenate([kernel[:, half:], kernel[:, :half]], axis=1),
        bias,
    )
    coarse = head.coarse
    found["logits/semantic/biases"] = (coarse.weight.detach().numpy(), coarse.bias.detach().numpy())
    return found


def graph_of(convolutions: dict[str, tuple[np.ndarray, np.ndarray]]) -> onnx.ModelProto:
    """Bytes to floats, and the convolutions one behind the other."""
    known = {"zero": np.float32(ZERO), "scale": np.float32(SCALE)}
    nodes = [
        helper.make_node("Cast", ["bytes"], ["floats"], to=TensorProto.FLOAT),
        helper.make_node("Sub", ["floats", "zero"], ["signed"]),
        helper.make_node("Mul", ["signed", "scale"], ["real"]),
        helper.make_node("Transpose", ["real"], ["planes"], perm=[0, 3, 1, 2]),
    ]
    last = "planes"
    for i, (name, (kernel, bias)) in enumerate(convolutions.items()):
        known[f"kernel_{i}"], known[f"{name}_dequant__{i}"] = kernel, bias
        inputs = [last, f"kernel_{i}", f"{name}_dequant__{i}"]
        last = f"found_{i}"
        nodes.append(helper.make_node("Conv", inputs, [last]))
    graph = helper.make_graph(
        nodes,
        "made",
        [helper.make_tensor_value_info("bytes", TensorProto.UINT8, [1, 64, 64, 3])],
        [helper.make_tensor_value_info(last, TensorProto.FLOAT, None)],
        [numpy_helper.from_array(np.asarray(value, np.float32), n) for n, value in known.items()],
    )
    return helper.make_model(graph)


def test_the_network_answers_as_the_published_one(
    weights: ModuleType, network: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Ours sees ImageNet's normalisation, the published one (byte - 128) / 127."""
    reference = published(weights)
    monkeypatch.setattr(weights, "as_float_onnx", lambda _: graph_of(in_slim(reference)))
    weights.convert(network, LABELS, tmp_path / "start.safetensors")
    description = read_description(tmp_path / "start.safetensors")
    assert description.labels == LABELS
    assert description.preprocess.divisor == 8  # as after training, so that both can be averaged
    made = load_network(description).eval()

    picture = np.random.default_rng(0).integers(0, 256, (1, 3, 64, 96)).astype(np.float32)
    theirs = (picture - ZERO) * SCALE
    ours = (picture / 255 - MEAN[:, None, None]) / STD[:, None, None]
    with torch.inference_mode():
        expected = reference.step(torch.from_numpy(theirs))[0].logits
        scores = made.step(torch.from_numpy(ours.astype(np.float32)))[0].logits

    # Leave the border out: zeros around the two pictures are not the same colour.
    inside = expected[..., 16:, 16:], scores[..., 16:, 16:]
    assert expected.std() > 0.05
    assert (inside[0] - inside[1]).abs().mean() < 0.05 * expected.std()


def test_the_first_convolution_sees_the_same(weights: ModuleType) -> None:
    """Exactly, where no border is near."""
    random = np.random.default_rng(0)
    kernel, bias = random.normal(size=(4, 3, 3, 3)), random.normal(size=4)
    picture = random.uniform(size=(3, 3, 3))  # channels first, in 0..1
    seen = Preprocess(513, mean=(0.5, 0.4, 0.3), std=(0.5, 0.6, 0.7))
    theirs = (picture - np.reshape(seen.mean, (3, 1, 1))) / np.reshape(seen.std, (3, 1, 1))
    ours = (picture - MEAN[:, None, None]) / STD[:, None, None]
    own_kernel, own_bias = weights.for_our_pictures(kernel, bias, seen)
    np.testing.assert_allclose(
        (own_kernel * ours).sum(axis=(1, 2, 3)) + own_bias,
        (kernel * theirs).sum(axis=(1, 2, 3)) + bias,
    )


@pytest.mark.parametrize(
    ("name", "why"),
    [("aspp1_depthwise/biases", "aspp1_depthwise"), ("Conv_7/bias", "it has a layer Conv_7/bias")],
)
def test_another_network_is_refused(
    weights: ModuleType,
    network: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    name: str,
    why: str,
) -> None:
    convolutions = {name: (np.zeros((4, 3, 3, 3)), np.zeros(4))}
    monkeypatch.setattr(weights, "as_float_onnx", lambda _: graph_of(convolutions))
    with pytest.raises(ModelError, match=rf"not a DeepLabV3 for phones on MobileNetV2 \(.*{why}"):
        weights.convert(network, LABELS, tmp_path / "start.safetensors")
    assert not (tmp_path / "start.safetensors").exists()


def test_other_sizes_are_refused(
    weights: ModuleType, network: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    convolutions = {"MobilenetV2/Conv/bias": (np.zeros((24, 3, 3, 3)), np.zeros(24))}
    monkeypatch.setattr(weights, "as_float_onnx", lambda _: graph_of(convolutions))
    with pytest.raises(ModelError, match=r"its backbone\.features\.0 is \(24, 3, 3, 3\), not \(32"):
        weights.convert(network, LABELS, tmp_path / "start.safetensors")


def test_a_part_of_one_is_refused(
    weights: ModuleType, network: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    convolutions = in_slim(published(weights))
    del convolutions["logits/semantic/biases"]
    monkeypatch.setattr(weights, "as_float_onnx", lambda _: graph_of(convolutions))
    with pytest.raises(ModelError, match=r"it has no head\.coarse\.bias"):
        weights.convert(network, LABELS, tmp_path / "start.safetensors")
