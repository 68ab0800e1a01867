"""Runners of one network answer alike, clip by clip, whatever its window, task and memory."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from support.blobs import Blobs, BlobsConfig
from vidparse.errors import ModelError
from vidparse.export.onnx import describe_model, save_model, to_onnx
from vidparse.frame import Frame
from vidparse.image import Rgb
from vidparse.inference import RUNNERS, Masks, Runner, Session
from vidparse.inference.devices import Device
from vidparse.inference.runners import OnnxRunner, OpenVinoRunner, TorchRunner, has_openvino
from vidparse.labels import Labels
from vidparse.models.description import Description, Preprocess, metadata_of

LABELS = Labels("blobs", ("sky", "car", "tree"), ((9, 9, 9),) * 3, frozenset({1}))
SEEN = Preprocess(64)


@pytest.fixture(scope="module")
def network() -> Blobs:
    """A network of three frames per call, with a memory and masks."""
    torch.manual_seed(3)
    return Blobs(BlobsConfig()).eval()


@pytest.fixture(scope="module")
def onnx_path(network: Blobs, tmp_path_factory: pytest.TempPathFactory) -> Path:
    model = to_onnx(network)
    facts = metadata_of(
        arch="blobs", config={}, labels=LABELS, preprocess=SEEN, training={}, task=network.task,
        window=network.window, state=network.state_tensors,
    )  # fmt: skip
    describe_model(model, facts)
    path = tmp_path_factory.mktemp("blobs") / "blobs.onnx"
    save_model(model, path)
    return path


@pytest.fixture(scope="module")
def in_torch(network: Blobs) -> TorchRunner:
    description = Description(
        Path("blobs"), "", "blobs", {}, LABELS, SEEN, {}, task="panoptic", window=3
    )
    return TorchRunner(
        description, device=Device("cpu"), precision="fp32", threads=1, network=network
    )


def frames(count: int) -> list[Frame]:
    """Textures, of which the fifth begins another shot and the eighth has another size."""
    rng = np.random.default_rng(0)
    shots = [rng.integers(0, 255, (8, 10, 3), np.uint8) for _ in range(2)]
    return [
        Frame(i, i, Rgb(shots[i >= 4].repeat(8 + 4 * (i >= 7), 0).repeat(8 + 4 * (i >= 7), 1)))
        for i in range(count)
    ]


def answers(runner: Runner) -> list[Masks]:
    session = Session(runner)
    found = [one.answer for one in session.answered(session.prepared(frames(9)))]
    assert [one.inside.shape[1] for one in found if isinstance(one, Masks)] == [3, 1, 3, 2]
    return [one for one in found if isinstance(one, Masks)]


@pytest.mark.parametrize("backend", ["onnx", "openvino"])
def test_masks_and_memory_are_those_of_torch(
    in_torch: TorchRunner, onnx_path: Path, backend: str
) -> None:
    """Whole clips agree to rounding; short ones are filled up where graphs have a fixed length."""
    if backend == "openvino" and not has_openvino():
        pytest.skip("OpenVINO is not installed")
    other: Runner = (
        OnnxRunner(onnx_path, device=Device("cpu"), precision="fp32", threads=1)
        if backend == "onnx"
        else OpenVinoRunner(onnx_path, precision="fp32", threads=1)
    )
    assert (in_torch.window, in_torch.fixed_window, in_torch.remembers) == (3, False, True)
    assert (other.window, other.fixed_window, other.remembers) == (3, True, True)
    for one, theirs in zip(answers(in_torch)[::2], answers(other)[::2], strict=True):
        assert np.array_equal(one.class_ids, theirs.class_ids) and len(one.class_ids)
        np.testing.assert_allclose(one.inside, theirs.inside, atol=1e-4)
        np.testing.assert_allclose(one.scores, theirs.scores, atol=1e-4)
        assert one.keys is not None and theirs.keys is not None
        np.testing.assert_allclose(one.keys, theirs.keys, atol=1e-4)
        assert one.inside.min() >= 0 and one.inside.max() <= 1


def test_predictions_come_for_every_frame(in_torch: TorchRunner) -> None:
    with in_torch.session() as session:
        found = list(session.run(frames(9)))
    assert [frame.index for frame, _ in found] == list(range(9))
    for frame, prediction in found:
        assert prediction.segments is not None
        assert prediction.ids.shape == frame.image.size_hw


def test_every_runner_of_the_table_is_loaded_by_name() -> None:
    assert list(RUNNERS) == ["torch", "onnx", "openvino", "transformers"]
    for name, kind in RUNNERS.items():
        assert kind.backend == name and kind.load.__func__ is not Runner.load.__func__


def renamed(path: Path, place: Path, *, ends: str, old: str, new: str) -> Path:
    """The model of a file with another name of an input or output, in another file."""
    import onnx

    model = onnx.load(str(path))
    for node in model.graph.node:
        for names in (node.input, node.output):
            names[:] = [new if name == old else name for name in names]
    (one,) = (one for one in getattr(model.graph, ends) if one.name == old)
    one.name = new
    onnx.save(model, str(place))
    return place


@pytest.mark.parametrize("kind", ["onnx", "openvino"])
@pytest.mark.parametrize(
    ("ends", "old", "new", "why"),
    [
        ("input", "clip", "images", "has the inputs .*images.* in place of .*clip"),
        ("output", "masks", "pred_masks", "has the outputs .*pred_masks.* and none of .*masks"),
    ],
)
def test_graphs_with_names_of_other_programs_are_refused_when_they_are_loaded(
    onnx_path: Path, tmp_path: Path, kind: str, ends: str, old: str, new: str, why: str
) -> None:
    path = renamed(onnx_path, tmp_path / "other.onnx", ends=ends, old=old, new=new)
    with pytest.raises(ModelError, match=why) as caught:
        if kind == "onnx":
            OnnxRunner(path, device=Device("cpu"), precision="auto", threads=1)
        elif not has_openvino():
            pytest.skip("OpenVINO is not installed")
        else:
            OpenVinoRunner(path, precision="auto", threads=1)
    assert str(path) in str(caught.value) and str(caught.value).endswith("with these names")
