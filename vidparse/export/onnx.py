"""Exports to ONNX with dynamic height and width, checked against torch."""

from __future__ import annotations

import contextlib
import io
import logging
import warnings
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from vidparse.errors import ModelError
from vidparse.export.parity import Parity, as_clip, check_parity
from vidparse.export.weights import LARGEST_HALF, check_target, export_metadata
from vidparse.files import whole_file
from vidparse.models.checkpoint import load_network
from vidparse.models.description import Description

if TYPE_CHECKING:
    import torch
    from onnx import ModelProto

    from vidparse.models.network import VideoNetwork


OPSET = 18
_EXAMPLE_HW = (352, 640)  # that the graph is traced with
_TALKATIVE = ("onnx_ir", "torch.onnx", "torch.fx.experimental.symbolic_shapes", "torch.export")
LEAST_AGREEMENT = 0.999  # with torch; below it an export in float32 is wrong, not rounded


def export_onnx(
    description: Description,
    path: Path,
    *,
    half_storage: bool = True,
    clips: Sequence[np.ndarray] | None = None,
    overwrite: bool = False,
) -> Parity:
    """Write an ONNX model that computes in float32.

    Args:
        half_storage: keep large tensors as float16 in the file (half the size; ONNX Runtime turns
            them into float32 once, on loading).
        clips: consecutive network inputs float32 (1, 3, H, W) for the parity check; rendered frames
            when None.

    Raises:
        ModelError: the exporter failed, or the result does not agree with torch.
        OutputError: the file exists and is not to be replaced, or cannot be written.
    """
    # Check the place first: the export takes long.
    check_target(path, source=description.path, overwrite=overwrite)
    network = load_network(description)
    model = to_onnx(network)

    if half_storage:
        _store_as_half(model)
    tensors = network.state_tensors
    describe_model(
        model, export_metadata(description, state=tensors, source_sha256=description.sha256)
    )

    # Check the file as it lies on disk, before it takes the place of an older one.
    with whole_file(path) as part:
        save_model(model, part)
        parity = check_parity(network, part, clips)
        if parity.argmax_agreement < LEAST_AGREEMENT:
            raise ModelError(
                f"{path}: the ONNX model agrees with torch on only {parity.argmax_agreement:.4%} "
                "of positions; it was not kept, report this"
            )
    return parity


def describe_model(model: ModelProto, metadata: Mapping[str, str]) -> None:
    """Put the string table into the file's metadata."""
    for key, value in metadata.items():
        entry = model.metadata_props.add()
        entry.key, entry.value = key, value


def save_model(model: ModelProto, path: Path) -> None:
    """Write an onnx.ModelProto."""
    import onnx

    onnx.save(model, str(path))


def to_onnx(network: VideoNetwork) -> ModelProto:
    """torch -> onnx.ModelProto, batch 1, any height and width from 32 to 8192.

    Its input `clip` is (1, 3, H, W) for networks of window 1, else (1, T, 3, H, W) with T the
    window, and (T, 3, H, W) with any T for networks whose frames are independent of each other
    (`any_window`). The state goes in under its names and comes out as {name}_next. The answer has
    the names of its `outputs`; scores are (1, K, h, w) or (1, T, K, h, w), masks (N, T, h, w).
    """
    import torch

    # Wrap the network: graphs have flat tensors where it has an answer and a state.
    class WithState(torch.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.network = network

        def forward(
            self, clip: torch.Tensor, state: list[torch.Tensor]
        ) -> tuple[torch.Tensor, ...]:
            answer, after = self.network(as_clip(clip, network), tuple(state))
            return *answer.outputs().values(), *after

    window = (1,) if network.window == 1 else (1, network.window)

    # Trace with two frames where any number will do: torch fixes axes of length 1.
    clip = torch.zeros(*((2,) if network.any_window else window), 3, *_EXAMPLE_HW)
    sides = {
        clip.dim() - 2: torch.export.Dim("height", min=32, max=8192),
        clip.dim() - 1: torch.export.Dim("width", min=32, max=8192),
    }
    if network.any_window:
        sides[0] = torch.export.Dim("frames", min=1, max=256)
    state = network.first_state(as_clip(clip, network))
    with torch.inference_mode():
        answer, _ = network(as_clip(clip, network), state)
    answers = list(answer.outputs())

    tensors = network.state_tensors

    # Leave the sides of states to the tracer, which derives them from the picture's.
    free = {axis: torch.export.Dim.AUTO for axis in (-2, -1)}
    spatial = [
        {len(tensor.shape) + 3 + axis: free[axis] for axis in free} if tensor.stride else None
        for tensor in tensors
    ]
    names = [tensor.name for tensor in tensors]

    try:
        with _silent_exporter():
            program = torch.onnx.export(
                WithState().eval(),
                (clip, list(state)),
                dynamo=True,
                input_names=["clip", *names],
                output_names=[*answers, *(f"{name}_next" for name in names)],
                dynamic_shapes={"clip": sides, "state": spatial},
                opset_version=OPSET,
                verbose=False,
            )
            if program is None:
                raise ModelError("ONNX export: torch produced nothing; update torch")
            program.optimize()

            # Take it once: it is made anew at every look.
            model = program.model_proto
            _forget_origin(model)
            return model
    except (RuntimeError, torch.onnx.errors.OnnxExporterError) as error:
        reason = str(error).strip().splitlines()[0]
        raise ModelError(f"ONNX export: torch failed ({reason}); use --backend torch") from error


@contextlib.contextmanager
def _silent_exporter() -> Iterator[None]:
    """Hide torch's messages on the way, tracebacks included: a real failure raises."""
    # Quieten the loggers and stdout: the exporter shows tracebacks of what it recovers from.
    loggers = [logging.getLogger(name) for name in _TALKATIVE]
    levels = [logger.level for logger in loggers]
    for logger in loggers:
        logger.setLevel(logging.ERROR)
    try:
        with warnings.catch_warnings(), contextlib.redirect_stdout(io.StringIO()):
            warnings.simplefilter("ignore")
            yield
    finally:
        for logger, level in zip(loggers, levels, strict=True):
            logger.setLevel(level)


def _forget_origin(model: ModelProto) -> None:
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


def _store_as_half(model: ModelProto) -> None:
    """Keep large float32 initialisers as float16 behind a Cast node, folded when loaded."""
    from onnx import TensorProto, helper, numpy_helper

    graph = model.graph
    casts = []
    for tensor in graph.initializer:
        if tensor.data_type != TensorProto.FLOAT:
            continue
        values = numpy_helper.to_array(tensor)

        # Leave small tensors as they are, and values that half would make infinite.
        if values.size < 1024 or np.abs(values).max() > LARGEST_HALF:
            continue
        name = tensor.name
        half = numpy_helper.from_array(values.astype(np.float16), f"{name}.half")
        tensor.CopyFrom(half)
        casts.append(helper.make_node("Cast", [half.name], [name], to=TensorProto.FLOAT))

    # Put the casts first, since ONNX wants nodes in the order of use.
    for i, cast in enumerate(casts):
        graph.node.insert(i, cast)

    # Drop what is known of their shapes: a cast's output is no initialiser.
    halves = {cast.output[0] for cast in casts}
    for value in [v for v in graph.value_info if v.name in halves]:
        graph.value_info.remove(value)
