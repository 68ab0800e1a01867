"""From weights to ONNX with dynamic height and width, checked against torch before it is kept."""

from __future__ import annotations

import contextlib
import io
import logging
import os
import warnings
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from vidparse.errors import ModelError, OutputError
from vidparse.models.checkpoint import Description, load_network, metadata_of, save_checkpoint
from vidparse.models.state import StateTensor

OPSET = 18
PARITY_FRAMES = 20
PARITY_MEAN, PARITY_STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)


@dataclass(frozen=True, slots=True)
class Parity:
    """How far the exported model is from torch on the same input."""

    frames: int
    max_abs_difference: float  # of logits
    argmax_agreement: float  # share of positions with the same winning class


def export_weights(description: Description, path: Path) -> None:
    """Rewrite a checkpoint for distribution: inference tensors only, in float16.

    Raises:
        ModelError: the weights do not fit. OutputError: the file can not be written.
    """
    import torch

    _check_target(description, path)
    network = load_network(description)
    tensors = {
        name: tensor.to(torch.float16) if tensor.is_floating_point() else tensor
        for name, tensor in network.state_dict().items()
    }
    with _removing_part(path):
        save_checkpoint(path, tensors, _metadata(description))


def export_onnx(
    description: Description,
    path: Path,
    *,
    half_storage: bool = True,
    clips: Sequence[np.ndarray] | None = None,
) -> Parity:
    """Write an ONNX model that computes in float32.

    Args:
        half_storage: keep large tensors as float16 in the file (half the size; ONNX Runtime turns
            them into float32 once, on loading).
        clips: consecutive network inputs float32 (1, 3, H, W) for the parity check; rendered frames
            when None.

    Raises:
        ModelError: the exporter failed, or the result does not agree with torch.
        OutputError: the file can not be written.
    """
    import onnx

    _check_target(description, path)
    network: Any = load_network(description)  # torch does not know of state_tensors
    model = _to_onnx(network)
    _forget_origin(model)
    if half_storage:
        _store_as_half(model)
    metadata = _metadata(description, state=network.state_tensors, source_sha256=description.sha256)
    for key, value in metadata.items():
        entry = model.metadata_props.add()
        entry.key, entry.value = key, value
    with _removing_part(path) as part:
        onnx.save(model, str(part))
        parity = check_parity(network, part, clips)
        if parity.argmax_agreement < 0.999:
            raise ModelError(
                f"{path}: the ONNX model agrees with torch on only {parity.argmax_agreement:.4%} "
                "of positions; it was not kept, report this"
            )
        part.replace(path)
    return parity


def _check_target(description: Description, path: Path) -> None:
    """Say before the work, not after it, that a file can not be written there."""
    folder = path.parent
    if path.is_dir() or not folder.is_dir() or not os.access(folder, os.W_OK | os.X_OK):
        raise OutputError(f"{path}: can not be written; name a file in a folder you may write to")
    if path.exists() and path.samefile(description.path):
        raise OutputError(f"{path}: holds the weights to export; choose another name")


@contextlib.contextmanager
def _removing_part(path: Path) -> Iterator[Path]:
    """The temporary name of `path`; nothing of it is left behind by a failure."""
    from safetensors import SafetensorError

    part = path.with_name(path.name + ".part")
    try:
        yield part
    except (OSError, SafetensorError) as error:
        reason = getattr(error, "strerror", None) or str(error)
        raise OutputError(f"{path}: can not be written ({reason}); choose another place") from error
    finally:
        part.unlink(missing_ok=True)


def check_parity(network: Any, path: Path, clips: Sequence[np.ndarray] | None = None) -> Parity:
    """Run torch and ONNX Runtime over the same frames, each with its own state.

    Args:
        clips: float32 (1, 3, H, W), consecutive frames of one size; rendered ones when None.
    """
    import onnxruntime as ort
    import torch

    clips = rendered_clips() if clips is None else clips
    options = ort.SessionOptions()
    options.log_severity_level = 4
    session = ort.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
    size_hw = (clips[0].shape[2], clips[0].shape[3])
    names = [tensor.name for tensor in network.state_tensors]
    state = network.init_state(size_hw, torch.device("cpu"), torch.float32)
    kept = [tensor.numpy() for tensor in state]
    worst, same, total = 0.0, 0, 0
    for clip in clips:
        with torch.inference_mode():
            outputs, state = network(torch.from_numpy(clip), state)
        expected = outputs.logits.numpy()
        got, *kept = session.run(
            ["logits", *(f"{name}_next" for name in names)],
            {"clip": clip, **dict(zip(names, kept, strict=True))},
        )
        worst = max(worst, float(np.abs(expected - got).max()))
        same += int((expected.argmax(1) == got.argmax(1)).sum())
        total += expected[:, 0].size
    return Parity(len(clips), worst, same / total)


def rendered_clips(
    frames: int = PARITY_FRAMES, size_hw: tuple[int, int] = (231, 333)
) -> list[np.ndarray]:
    """Consecutive frames of a rendered street as network input, float32 (1, 3, H, W)."""
    from vidparse.scenes import Scene, parse_scene

    height, width = size_hw
    scene = Scene(parse_scene(f"sample://street?size={width}x{height}&frames={frames}"))
    mean, std = np.array(PARITY_MEAN, np.float32), np.array(PARITY_STD, np.float32)
    pictures = ((scene.picture(i) / np.float32(255) - mean) / std for i in range(frames))
    return [np.ascontiguousarray(picture.transpose(2, 0, 1)[None]) for picture in pictures]


def _to_onnx(network: Any) -> Any:
    """torch -> onnx.ModelProto, batch 1, any height and width from 32 to 8192.

    The state goes in under its names and comes out as {name}_next.
    """
    import torch

    class WithState(torch.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.network = network

        def forward(
            self, clip: torch.Tensor, state: list[torch.Tensor]
        ) -> tuple[torch.Tensor, ...]:
            outputs, after = self.network(clip, tuple(state))
            return outputs.logits, *after

    sides = {
        2: torch.export.Dim("height", min=32, max=8192),
        3: torch.export.Dim("width", min=32, max=8192),
    }
    tensors = network.state_tensors
    free = {axis: torch.export.Dim.AUTO for axis in (-2, -1)}
    spatial = [
        {len(tensor.shape) + 3 + axis: free[axis] for axis in free} if tensor.stride else None
        for tensor in tensors
    ]
    example_hw = (352, 640)
    state = network.init_state(example_hw, torch.device("cpu"), torch.float32)
    names = [tensor.name for tensor in tensors]
    exporter_log = logging.getLogger("torch.onnx")
    level = exporter_log.level
    exporter_log.setLevel(logging.ERROR)
    try:
        with warnings.catch_warnings(), contextlib.redirect_stdout(io.StringIO()):
            warnings.simplefilter("ignore")
            program = torch.onnx.export(
                WithState().eval(),
                (torch.zeros(1, 3, *example_hw), list(state)),
                dynamo=True,
                input_names=["clip", *names],
                output_names=["logits", *(f"{name}_next" for name in names)],
                dynamic_shapes={"clip": sides, "state": spatial},
                opset_version=OPSET,
                verbose=False,
            )
            if program is None:
                raise ModelError("ONNX export: torch produced nothing; update torch")
            program.optimize()
            return program.model_proto
    except (RuntimeError, torch.onnx.errors.OnnxExporterError) as error:
        reason = str(error).strip().splitlines()[0]
        raise ModelError(f"ONNX export: torch failed ({reason}); use --backend torch") from error
    finally:
        exporter_log.setLevel(level)


def _forget_origin(model: Any) -> None:
    """Drop the exporter's stack traces: they hold paths of the machine it ran on."""
    graphs = [model.graph, *model.functions]
    for graph in graphs:
        for part in (*graph.node, *graph.value_info):
            del part.metadata_props[:]
            part.doc_string = ""
        del graph.metadata_props[:]
        graph.doc_string = ""
    for part in (*model.graph.input, *model.graph.output, *model.graph.initializer):
        del part.metadata_props[:]
        part.doc_string = ""


def _store_as_half(model: Any) -> None:
    """Keep large float32 initialisers as float16 behind a Cast node, folded when loaded."""
    from onnx import TensorProto, helper, numpy_helper

    graph = model.graph
    casts = []
    for tensor in graph.initializer:
        if tensor.data_type != TensorProto.FLOAT:
            continue
        values = numpy_helper.to_array(tensor)
        if values.size < 1024:
            continue
        name = tensor.name
        half = numpy_helper.from_array(values.astype(np.float16), f"{name}.half")
        tensor.CopyFrom(half)
        casts.append(helper.make_node("Cast", [half.name], [name], to=TensorProto.FLOAT))
    for i, cast in enumerate(casts):
        graph.node.insert(i, cast)
    halves = {cast.output[0] for cast in casts}
    for value in [v for v in graph.value_info if v.name in halves]:
        graph.value_info.remove(value)


def _metadata(
    description: Description, *, state: Sequence[StateTensor] = (), **more: str
) -> dict[str, str]:
    return metadata_of(
        arch=description.arch,
        config=description.config,
        labels=description.labels,
        preprocess=description.preprocess,
        training={**description.training, **more},
        state=state,
    )


def parity_record(parity: Parity) -> dict[str, Any]:
    """Plain values for --json."""
    return asdict(parity)
