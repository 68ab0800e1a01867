"""A segmentation network of TensorFlow Lite as a model that `vidparse autolabel` takes: a teacher.

    python examples/tflite_teacher.py NETWORK.tflite --labels cityscapes -o teacher.onnx
    vidparse autolabel -m teacher.onnx -m another.safetensors --votes 0.5,0.5 drive.mp4 -o pseudo/

It is for networks of one picture whose last step takes the likeliest class, as Coral's DeepLab
networks do; that step is dropped, so that their scores come out and can be averaged with others.
Networks in int8 compute in float32 afterwards, with the weights as they were rounded. Wants
`pip install tf2onnx tensorflow-cpu`, which vidparse itself never does.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from vidparse.errors import ModelError, UsageError, VidparseError
from vidparse.export.onnx import OPSET, check_target, describe_model, save_model
from vidparse.files import whole_file
from vidparse.labels import Labels, available_labels, load_labels
from vidparse.models.checkpoint import file_sha256
from vidparse.models.description import Preprocess, metadata_of

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from onnx import GraphProto, ModelProto, NodeProto

NEEDED = ("tf2onnx", "tensorflow")


class Input(NamedTuple):
    """The first step of a network: (byte - zero) * scale of a picture, at one size."""

    size_hw: tuple[int, int]
    zero: float
    scale: float

    @property
    def preprocess(self) -> Preprocess:
        """The same in vidparse's words, which divides bytes by 255 first."""
        mean, deviation = self.zero / 255, 1 / (255 * self.scale)
        return Preprocess(
            short_side=min(self.size_hw),
            mean=(mean, mean, mean),
            std=(deviation, deviation, deviation),
            size_hw=self.size_hw,
            resample="bilinear",
        )


def main() -> None:
    run_command(__doc__, convert, "teacher.onnx")


def run_command(description: str | None, convert: Callable[..., None], out: str) -> None:
    """Convert the network that the command line names; an error is one line, and code 1.

    Args:
        description: of the script, of which the help shows the first line.
        convert: takes the network, its labels, the file to write, and `overwrite`.
        out: its file where the command line has none.
    """
    parser = argparse.ArgumentParser(description=(description or "").splitlines()[0])
    parser.add_argument("network", type=Path, help="a .tflite file")
    parser.add_argument("--labels", required=True, choices=available_labels())
    parser.add_argument("-o", "--out", type=Path, default=Path(out))
    parser.add_argument("--overwrite", action="store_true")
    given = parser.parse_args()

    try:
        convert(given.network, load_labels(given.labels), given.out, overwrite=given.overwrite)
    except VidparseError as error:
        sys.exit(f"ERROR: {error}")
    print(f"{given.out}: {given.labels}, {given.out.stat().st_size / 1e6:.1f} MB")


def convert(network: Path, labels: Labels, out: Path, *, overwrite: bool = False) -> None:
    """Write a .tflite network as ONNX of vidparse.

    Raises:
        UsageError: a package is not installed.
        ModelError: no such file, or a network of another form.
        OutputError: the file exists, or cannot be written.
    """
    check_call(network, out, overwrite=overwrite)

    model = as_float_onnx(network)
    try:
        seen = open_input(model.graph)
        open_scores(model.graph)
        check_classes(model, seen, labels)
    except ValueError as error:
        raise ModelError(
            f"{network}: not a network that answers each picture with a class per pixel ({error}); "
            "give one that does"
        ) from error

    record = metadata_of(
        arch="tflite",
        config={},
        labels=labels,
        preprocess=seen.preprocess,
        training={"source": network.name, "source_sha256": file_sha256(network)},
    )
    describe_model(model, record)
    with whole_file(out) as part:
        save_model(model, part)


def check_call(network: Path, out: Path, *, overwrite: bool) -> None:
    """Refuse before anything is computed.

    Raises:
        UsageError: a package is not installed. ModelError: no such file.
        OutputError: `out` exists.
    """
    absent = [name for name in NEEDED if find_spec(name) is None]
    if absent:
        raise UsageError(f"{absent[0]}: is not installed; pip install tf2onnx tensorflow-cpu")
    if not network.is_file():
        raise ModelError(f"{network}: no such file; check the path")
    check_target(out, source=network, overwrite=overwrite)


def as_float_onnx(network: Path) -> ModelProto:
    """The network as tf2onnx translates it, in float32.

    Raises:
        ModelError: it is damaged, or has an operation that tf2onnx does not know.
    """
    import onnx

    with TemporaryDirectory() as folder:
        made = Path(folder) / "made.onnx"
        # Take its command, since its function has no way to compute in float32.
        command = [sys.executable, "-m", "tf2onnx.convert", "--tflite", str(network)]
        command += ["--output", str(made), "--dequantize", "--opset", str(OPSET)]
        ended = subprocess.run(command, capture_output=True, text=True, check=False)
        if ended.returncode or not made.is_file():
            (*_, reason) = ended.stderr.strip().splitlines() or ["no reason given"]
            raise ModelError(f"{network}: tf2onnx cannot read it ({reason}); fetch it again")
        return onnx.load(made)


def open_input(graph: GraphProto) -> Input:
    """Make the graph begin with `clip`, float32 (1, 3, H, W) normalised, in place of its bytes.

    Raises:
        ValueError: it does not begin with bytes (1, H, W, 3) that become floats.
    """
    from onnx import TensorProto, helper, numpy_helper

    if len(graph.input) != 1:
        raise ValueError(f"{len(graph.input)} inputs")
    (first,) = graph.input
    shape = [side.dim_value for side in first.type.tensor_type.shape.dim]
    is_bytes = first.type.tensor_type.elem_type == TensorProto.UINT8
    if not is_bytes or len(shape) != 4 or shape[0] != 1 or shape[3] != 3 or 0 in shape:
        raise ValueError("its input is not one picture of bytes, 1xHxWx3")

    # Follow the bytes to the convolutions, and read on the way what is done to them.
    known = {tensor.name: numpy_helper.to_array(tensor) for tensor in graph.initializer}
    steps, name = [], first.name
    numbers: dict[str, float] = {}
    for kind in ("Cast", "Sub", "Mul", "Transpose"):
        takers = [one for one in graph.node if name in one.input]
        if len(takers) != 1 or takers[0].op_type != kind:
            raise ValueError(f"its input meets no {kind} where one is expected")
        (node,) = takers
        if kind in ("Sub", "Mul"):
            numbers[kind] = _number(node, known)
        steps.append(node)
        name = node.output[0]
    if not numbers["Mul"] > 0:
        raise ValueError(f"its bytes are multiplied by {numbers['Mul']}, not by a scale above 0")

    # Put the clip in their place: vidparse normalises, and puts channels first.
    for node in steps:
        graph.node.remove(node)
    for node in graph.node:
        for place, one in enumerate(node.input):
            if one == name:
                node.input[place] = "clip"
    clip_shape = [1, 3, shape[1], shape[2]]
    first.CopyFrom(helper.make_tensor_value_info("clip", TensorProto.FLOAT, clip_shape))
    return Input((shape[1], shape[2]), zero=numbers["Sub"], scale=numbers["Mul"])


def _number(node: NodeProto, known: Mapping[str, np.ndarray]) -> float:
    """The number that a node subtracts or multiplies by. Raises: ValueError: it has no such."""
    values = [known[name] for name in node.input if name in known]
    if len(values) != 1 or values[0].size != 1:
        raise ValueError(f"its {node.op_type} has no number of its own")
    return float(values[0].reshape(-1)[0])


def open_scores(graph: GraphProto) -> None:
    """Make the graph end with `logits`, float32 (1, K, h, w), the input of its ArgMax.

    Raises:
        ValueError: there is no such step, or it is not over channels.
    """
    from onnx import TensorProto, helper

    last = [node for node in graph.node if node.op_type == "ArgMax"]
    if len(last) != 1:
        raise ValueError(f"{len(last)} steps that take the likeliest class")
    (axis,) = [one.i for one in last[0].attribute if one.name == "axis"] or [0]
    if axis != 1:
        raise ValueError(f"its classes are along axis {axis}, not 1")

    # Drop the step, and every one behind it whose outputs nothing wanted needs.
    scores = last[0].input[0]
    wanted, kept = {scores}, []
    for node in reversed(graph.node):
        if wanted & {*node.output}:
            wanted |= {*node.input}
            kept.insert(0, node)
    del graph.node[:]
    graph.node.extend([*kept, helper.make_node("Identity", [scores], ["logits"])])
    for tensor in [one for one in graph.initializer if one.name not in wanted]:
        graph.initializer.remove(tensor)
    del graph.output[:]
    free = [1, "classes", "height", "width"]
    graph.output.append(helper.make_tensor_value_info("logits", TensorProto.FLOAT, free))


def check_classes(model: ModelProto, seen: Input, labels: Labels) -> None:
    """Run it on a black picture, and count its classes.

    Raises:
        ValueError: as many as the label set has do not come out.
    """
    import onnxruntime

    black = np.zeros((1, 3, *seen.size_hw), np.float32)
    try:
        session = onnxruntime.InferenceSession(model.SerializeToString())
        (scores,) = session.run(["logits"], {"clip": black})
    except Exception as error:  # ONNX Runtime's exceptions share no base but this one
        raise ValueError(f"ONNX Runtime cannot run it ({str(error).splitlines()[0]})") from error
    if scores.ndim != 4 or scores.shape[1] != len(labels):
        raise ValueError(f"scores {scores.shape}, and {labels.name} has {len(labels)} classes")


if __name__ == "__main__":
    main()
