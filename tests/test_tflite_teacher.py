"""The example that makes networks of TensorFlow Lite teachers, on graphs as tf2onnx writes them."""

from __future__ import annotations

import importlib.util
import sys
from importlib.util import find_spec
from pathlib import Path
from types import ModuleType

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from vidparse.errors import ModelError, UsageError
from vidparse.frame import Frame
from vidparse.inference.load import load_model
from vidparse.inference.preprocess import input_size, to_clip
from vidparse.labels import Labels, load_labels

SCRIPT = Path(__file__).parent.parent / "examples" / "tflite_teacher.py"
SHARED = Path(__file__).resolve().parents[2] / "shared" / "weights"
CORAL = SHARED / "deeplabv3_mnv2_pascal_quant.tflite"
COLOURS = Labels("colours", ("red", "blue"), ((255, 0, 0), (0, 0, 255)), frozenset())
SIDE = 32
ZERO, SCALE = 128.0, 1 / 128
WEIGHTS = np.array([[2.0, 0.0, -1.0], [-1.0, 0.5, 2.0]], np.float32)


@pytest.fixture(scope="module")
def teacher() -> ModuleType:
    spec = importlib.util.spec_from_file_location("tflite_teacher", SCRIPT)
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module  # records look their module up
    spec.loader.exec_module(module)
    return module


def translated(axis: int = 1, kind: int = TensorProto.UINT8) -> onnx.ModelProto:
    """Bytes to floats, one convolution, and the likeliest class, as tf2onnx has them."""
    known = {
        "zero": np.float32(ZERO),
        "scale": np.float32(SCALE),
        "weights": WEIGHTS[:, :, None, None],
        "unused": np.zeros(4, np.float32),
    }
    nodes = [
        helper.make_node("Cast", ["bytes"], ["floats"], to=TensorProto.FLOAT),
        helper.make_node("Sub", ["floats", "zero"], ["signed"]),
        helper.make_node("Mul", ["signed", "scale"], ["real"]),
        helper.make_node("Transpose", ["real"], ["planes"], perm=[0, 3, 1, 2]),
        helper.make_node("Conv", ["planes", "weights"], ["found"]),
        helper.make_node("ArgMax", ["found"], ["ids"], axis=axis, keepdims=0),
        helper.make_node("Cast", ["ids"], ["small"], to=TensorProto.UINT8),
    ]
    graph = helper.make_graph(
        nodes,
        "made",
        [helper.make_tensor_value_info("bytes", kind, [1, SIDE, SIDE, 3])],
        [helper.make_tensor_value_info("small", TensorProto.UINT8, None)],
        [numpy_helper.from_array(np.asarray(value), name) for name, value in known.items()],
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=9)


@pytest.fixture
def packages(teacher: ModuleType, monkeypatch: pytest.MonkeyPatch) -> None:
    """The packages as if they were installed, and a network as tf2onnx would translate it."""
    monkeypatch.setattr(teacher, "NEEDED", ())
    monkeypatch.setattr(teacher, "as_float_onnx", lambda _: translated())


@pytest.fixture
def network(tmp_path: Path) -> Path:
    path = tmp_path / "network.tflite"
    path.write_bytes(b"a network")
    return path


@pytest.mark.usefixtures("packages")
def test_a_teacher_gives_the_scores_of_the_network(
    teacher: ModuleType, network: Path, tmp_path: Path
) -> None:
    teacher.convert(network, COLOURS, tmp_path / "teacher.onnx")
    runner = load_model(tmp_path / "teacher.onnx", device="cpu")
    assert runner.labels == COLOURS

    picture = np.random.default_rng(0).integers(0, 256, (SIDE, SIDE, 3), np.uint8)
    image = Frame.from_rgb(picture).image
    facts = runner.description.preprocess
    assert input_size((200, 300), facts) == (SIDE, SIDE)
    scores = runner.answer(to_clip(image, (SIDE, SIDE), facts)[:, None]).values[0]

    expected = (picture.astype(np.float32) - ZERO) * SCALE @ WEIGHTS.T  # (H, W, K)
    np.testing.assert_allclose(scores, expected.transpose(2, 0, 1), atol=1e-5)


@pytest.mark.usefixtures("packages")
def test_nothing_is_kept_that_the_scores_do_not_need(
    teacher: ModuleType, network: Path, tmp_path: Path
) -> None:
    teacher.convert(network, COLOURS, tmp_path / "teacher.onnx")
    graph = onnx.load(tmp_path / "teacher.onnx").graph
    assert [node.op_type for node in graph.node] == ["Conv", "Identity"]
    assert [tensor.name for tensor in graph.initializer] == ["weights"]


@pytest.mark.usefixtures("packages")
def test_a_label_set_of_other_length_is_refused(
    teacher: ModuleType, network: Path, tmp_path: Path
) -> None:
    three = Labels("three", ("a", "b", "c"), ((0, 0, 0),) * 3, frozenset())
    with pytest.raises(ModelError, match=r"scores \(1, 2, 32, 32\), and three has 3 classes"):
        teacher.convert(network, three, tmp_path / "teacher.onnx")
    assert not (tmp_path / "teacher.onnx").exists()


@pytest.mark.parametrize(
    ("made", "why"),
    [
        (translated(axis=3), "its classes are along axis 3, not 1"),
        (translated(kind=TensorProto.FLOAT), "its input is not one picture of bytes, 1xHxWx3"),
    ],
)
def test_a_graph_of_another_form_is_refused(
    teacher: ModuleType,
    network: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    made: onnx.ModelProto,
    why: str,
) -> None:
    monkeypatch.setattr(teacher, "NEEDED", ())
    monkeypatch.setattr(teacher, "as_float_onnx", lambda _: made)
    with pytest.raises(ModelError, match=why):
        teacher.convert(network, COLOURS, tmp_path / "teacher.onnx")


def test_what_is_missing_is_named(
    teacher: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(teacher, "NEEDED", ("no_such_package",))
    with pytest.raises(UsageError, match="no_such_package: is not installed; pip install"):
        teacher.convert(tmp_path / "none.tflite", COLOURS, tmp_path / "teacher.onnx")
    monkeypatch.setattr(teacher, "NEEDED", ())
    with pytest.raises(ModelError, match=r"none\.tflite: no such file"):
        teacher.convert(tmp_path / "none.tflite", COLOURS, tmp_path / "teacher.onnx")


def test_a_real_network_is_translated(teacher: ModuleType, tmp_path: Path) -> None:
    if any(find_spec(name) is None for name in teacher.NEEDED):
        pytest.skip("tf2onnx and TensorFlow are not installed here")
    if not CORAL.is_file():
        pytest.skip("Coral's network is not beside this checkout")
    teacher.convert(CORAL, load_labels("voc"), tmp_path / "teacher.onnx")
    runner = load_model(tmp_path / "teacher.onnx", device="cpu")
    assert runner.description.preprocess.size_hw == (513, 513)
