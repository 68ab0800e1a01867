"""From weights to ONNX with dynamic height and width, checked against torch before it is kept."""

from __future__ import annotations

import contextlib
import io
import logging
import os
import warnings
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from vidparse.errors import ModelError, OutputError
from vidparse.models.checkpoint import Description, load_network, metadata_of, save_checkpoint

OPSET = 18
SHAPES_CHECKED = ((360, 640), (231, 333))  # network inputs (h, w) of the parity check


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
    description: Description, path: Path, *, half_storage: bool = True, clips: Any = None
) -> Parity:
    """Write an ONNX model that computes in float32.

    Args:
        half_storage: keep large tensors as float16 in the file (half the size; ONNX Runtime turns
            them into float32 once, on loading).
        clips: inputs float32 (1, 3, H, W) for the parity check; seeded noise when None.

    Raises:
        ModelError: the exporter failed, or the result does not agree with torch.
        OutputError: the file can not be written.
    """
    import onnx

    _check_target(description, path)
    network = load_network(description)
    model = _to_onnx(network)
    _forget_origin(model)
    if half_storage:
        _store_as_half(model)
    for key, value in _metadata(description, source_sha256=description.sha256).items():
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


def check_parity(network: Any, path: Path, clips: Any = None) -> Parity:
    """Run torch and ONNX Runtime on the same clips."""
    import onnxruntime as ort
    import torch

    if clips is None:
        rng = np.random.default_rng(0)
        clips = [rng.standard_normal((1, 3, *hw), dtype=np.float32) for hw in SHAPES_CHECKED]
    options = ort.SessionOptions()
    options.log_severity_level = 4
    session = ort.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
    worst, same, total, frames = 0.0, 0, 0, 0
    for clip in clips:
        with torch.inference_mode():
            expected = network(torch.from_numpy(clip))[0].logits.numpy()
        (got,) = session.run(["logits"], {"clip": clip})
        worst = max(worst, float(np.abs(expected - got).max()))
        same += int((expected.argmax(1) == got.argmax(1)).sum())
        total += expected[:, 0].size
        frames += 1
    return Parity(frames, worst, same / total)


def _to_onnx(network: Any) -> Any:
    """torch -> onnx.ModelProto, batch 1, any height and width from 32 to 8192."""
    import torch

    class LogitsOnly(torch.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.network = network

        def forward(self, clip: torch.Tensor) -> torch.Tensor:
            return self.network(clip)[0].logits

    sides = {
        2: torch.export.Dim("height", min=32, max=8192),
        3: torch.export.Dim("width", min=32, max=8192),
    }
    exporter_log = logging.getLogger("torch.onnx")
    level = exporter_log.level
    exporter_log.setLevel(logging.ERROR)
    try:
        with warnings.catch_warnings(), contextlib.redirect_stdout(io.StringIO()):
            warnings.simplefilter("ignore")
            program = torch.onnx.export(
                LogitsOnly().eval(),
                (torch.zeros(1, 3, 352, 640),),
                dynamo=True,
                input_names=["clip"],
                output_names=["logits"],
                dynamic_shapes={"clip": sides},
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


def _metadata(description: Description, **more: str) -> dict[str, str]:
    return metadata_of(
        arch=description.arch,
        config=description.config,
        labels=description.labels,
        preprocess=description.preprocess,
        training={**description.training, **more},
    )


def parity_record(parity: Parity) -> dict[str, Any]:
    """Plain values for --json."""
    return asdict(parity)
