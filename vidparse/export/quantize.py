"""Int8 ONNX models (QDQ), calibrated on frames and measured on others before they are kept.

Weights are int8 with a scale a channel, activations uint8 with the range seen in calibration. What
a network remembers, and the operations that blend it, stay float.
"""

from __future__ import annotations

import contextlib
import logging
import tempfile
from collections.abc import Callable, Collection, Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from vidparse.errors import ModelError, UsageError
from vidparse.export.onnx import (
    check_target,
    describe_model,
    export_metadata,
    save_model,
    temporal_nodes,
    to_onnx,
)
from vidparse.export.parity import (
    Parity,
    check_parity,
    cpu_session,
    rendered_clips,
    replay,
    windows_of,
    winners,
)
from vidparse.files import whole_file
from vidparse.labels import Labels, load_labels
from vidparse.models.checkpoint import load_network
from vidparse.models.description import Description, Preprocess, StateTensor

LEAST_AGREEMENT = 0.98
CALIBRATION_FRAMES = 40  # half of them to calibrate on, half to measure on
_LEAST_DRAWN = 0.25  # share of a network's classes that a rendered street must show
_HARM_FRAMES = 2  # that the harm of single layers is measured on
_WITH_WEIGHTS = ("Conv", "ConvTranspose", "Gemm", "MatMul")
_JOINS = ("Add", "Concat", "Resize", "MaxPool", "AveragePool")
_ACTIVATIONS = ("Relu", "Clip")  # become part of the layer before them

if TYPE_CHECKING:
    from onnx import ModelProto, NodeProto
    from onnxruntime import InferenceSession
    from onnxruntime.quantization.calibrate import TensorsData

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class FloatLayer:
    """A layer that stays float, and the share of positions that it alone in int8 would change."""

    name: str
    harm: float


@dataclass(frozen=True, slots=True)
class Quantized:
    """The result of an export to int8."""

    parity: Parity  # with torch in float32, on frames that calibration did not see
    calibration_frames: int
    rendered: bool  # the frames were rendered, for want of real ones
    weight_bits: int  # 8, or 7 where 8 overflow in this CPU's 16-bit sums (no VNNI)
    layers: int  # convolutions and products with weights
    float_layers: tuple[FloatLayer, ...]
    temporal_operations: int  # that blend what is remembered; they stay float


def export_int8(
    description: Description,
    path: Path,
    *,
    clips: Sequence[np.ndarray] | None = None,
    least_agreement: float = LEAST_AGREEMENT,
    overwrite: bool = False,
    on_step: Callable[[int, int], None] = lambda done, total: None,
    on_note: Callable[[str], None] = lambda text: None,
) -> Quantized:
    """Write an ONNX model that computes in int8.

    Layers stay float, the most harmful first, until the winning class at feature resolution is that
    of torch in float32 at `least_agreement` of the positions.

    Args:
        clips: network inputs float32 (1, 3, H, W) of one size in the order of a video: the first
            half calibrates, the second half measures. None: frames of a rendered street.
        on_step: steps done, and of how many as far as that is known; a step takes seconds.
        on_note: gets what a user should know while it goes on.

    Raises:
        UsageError: fewer than two clips; or none are given, and a street shows too little of what
            the network knows. ModelError: the exporter failed, or int8 does not do.
        OutputError: the file exists and is not to be replaced, or cannot be written.
    """
    check_target(path, source=description.path, overwrite=overwrite)
    rendered = clips is None
    if clips is None:
        check_rendered(description.labels)
        clips = rendered_clips(CALIBRATION_FRAMES, _rendered_size(description.preprocess))
    if len(clips) < 2:
        raise UsageError(f"int8 calibration: {len(clips)} frame is too few; give a longer clip")

    # Judge on frames that calibration has not seen, or it would praise itself.
    known, unseen = clips[: len(clips) // 2], clips[len(clips) // 2 :]
    network = load_network(description)
    tensors, window = network.state_tensors, network.window

    with tempfile.TemporaryDirectory(prefix="vidparse-int8-") as folder:
        work = _Quantizer(
            to_onnx(network),
            tensors,
            windows_of(known, window, any_window=network.any_window),
            windows_of(unseen, window, any_window=network.any_window),
            Path(folder),
        )
        try:
            model, weight_bits, kept = _search(work, least_agreement, _Watched(on_step, on_note))
        except ModelError as error:
            way_out = "add --calibrate with a clip of yours" if rendered else "try a longer clip"
            raise ModelError(f"{path}: {error}; {way_out}, or export without --int8") from error

    # Measure the very file, and write it again with what was measured.
    with whole_file(path) as part:
        save_model(model, part)
        parity = check_parity(network, part, unseen)
        facts = {
            "weight_bits": weight_bits,
            "argmax_agreement": parity.argmax_agreement,
            "float_layers": [layer.name for layer in kept],
        }
        describe_model(
            model,
            export_metadata(
                description, state=tensors, source_sha256=description.sha256, int8=facts
            ),
        )
        save_model(model, part)

    return Quantized(
        parity, len(known), rendered, weight_bits, len(work.layers), kept, len(work.temporal)
    )


def _rendered_size(preprocess: Preprocess) -> tuple[int, int]:
    side = preprocess.short_side or 360
    return preprocess.size_hw or (side, side * 16 // 9 // 2 * 2)


def check_rendered(labels: Labels) -> None:
    """Raises: UsageError: a rendered street shows too few of these classes to calibrate on."""
    from vidparse.scenes import LABELS

    drawn = {name.casefold() for name in load_labels(LABELS).classes}
    shown = sum(name.casefold() in drawn for name in labels.classes)
    if shown < _LEAST_DRAWN * len(labels):
        raise UsageError(
            f"int8: by default it is calibrated on a rendered street, which shows {shown} of the "
            f"{len(labels)} classes of {labels.name}; add --calibrate with a clip of what the "
            "model is for"
        )


class _Watched:
    """Counts the steps of a search for whoever watches."""

    def __init__(
        self,
        on_step: Callable[[int, int], None] = lambda done, total: None,
        on_note: Callable[[str], None] = lambda text: None,
    ) -> None:
        self._on_step, self.note = on_step, on_note
        self._done, self.total = 0, 2

    def step(self) -> None:
        self._done += 1
        self._on_step(self._done, max(self._done, self.total))


def _search(
    work: _Quantizer, least_agreement: float, watched: _Watched | None = None
) -> tuple[ModelProto, int, tuple[FloatLayer, ...]]:
    """The model with the fewest float layers (in steps of two) that agrees well enough.

    Returns:
        The model, the bits of its weights, and the layers that stay float.

    Raises:
        ModelError: none does; without what to do next.
    """
    watched = watched or _Watched()
    tried = {}

    # Try 7 bits too: without VNNI, 8 may overflow the CPU's 16-bit sums.
    for bits in (8, 7):
        model = work.build(bits)
        tried[bits] = work.agreement(model)
        log.info("int8, %d-bit weights: agreement %.4f", bits, tried[bits])
        watched.step()
        if tried[bits] >= least_agreement:
            return model, bits, ()

    # Measure what each layer does by itself, because the worst few decide.
    bits = max(tried, key=lambda bits: tried[bits])
    watched.total += len(work.candidates) + len(work.candidates).bit_length()
    watched.note(
        f"int8: whole, the class is float32's at {tried[bits]:.1%} of positions (wanted: "
        f"{least_agreement:.1%}); measuring {len(work.candidates)} layers one by one, to keep the "
        "most harmful ones float"
    )
    harms = []
    for node in work.candidates:
        harms.append(FloatLayer(work.title(node), work.harm(node, bits)))
        watched.step()

    order = sorted(range(len(harms)), key=lambda i: -harms[i].harm)
    count = 1
    while count < len(order):
        worst = order[:count]
        model = work.build(bits, leave={work.candidates[i].name for i in worst})
        agreement = work.agreement(model)
        log.info("int8, %d operations float: agreement %.4f", count, agreement)
        watched.step()
        if agreement >= least_agreement:
            return model, bits, tuple(harms[i] for i in worst)

        # Double the number: each try takes seconds, and few layers do the harm.
        count *= 2
    raise ModelError(
        f"in int8 the winning class is float32's at only {max(tried.values()):.1%} of positions "
        f"(wanted: {least_agreement:.1%}), whichever layer stays float"
    )


class _Quantizer:
    """One network with the ranges of its activations, to be quantised in several ways.

    Args:
        model: onnx.ModelProto in float32. known, unseen: clips to calibrate and to measure on.
        folder: for files of ONNX Runtime's calibration.
    """

    def __init__(
        self,
        model: ModelProto,
        tensors: Sequence[StateTensor],
        known: Sequence[np.ndarray],
        unseen: Sequence[np.ndarray],
        folder: Path,
    ) -> None:
        import onnx

        self._tensors, self._known, self._unseen = tensors, known, unseen
        path = folder / "float.onnx"
        save_model(model, path)
        session = cpu_session(path)
        self._ranges = _ranges(path, session, known, tensors)

        # Compare with the float graph: parity at the end has the distance from torch.
        self._expected = _winners(session, unseen, tensors)
        self._expected_known = _winners(session, known[:_HARM_FRAMES], tensors)
        self._model = onnx.shape_inference.infer_shapes(model)
        graph = self._model.graph
        self._weights = {tensor.name for tensor in graph.initializer}
        self.temporal = temporal_nodes(graph, [tensor.name for tensor in tensors])

        # Leave out what the calibration saw no value of: it has no range.
        nodes = [
            node
            for node in graph.node
            if node.name not in self.temporal and node.output[0] in self._ranges
        ]
        self.layers = [node for node in nodes if self._has_weights(node)]
        self.candidates = [*self.layers, *(n for n in nodes if n.op_type in _JOINS)]

        # Note the activations, which become part of the layer before them.
        self._activation = {
            node.input[0]: node.name for node in graph.node if node.op_type in _ACTIVATIONS
        }

    def build(
        self, weight_bits: int, *, leave: Collection[str] = (), only: str | None = None
    ) -> ModelProto:
        """The model in int8 but for the nodes called so, or with a single node in int8."""
        from onnx import ModelProto
        from onnxruntime.quantization import QuantType
        from onnxruntime.quantization.qdq_quantizer import QDQQuantizer

        model = ModelProto()

        # Copy the model, since the quantiser changes the one that it is given.
        model.CopyFrom(self._model)

        # Leave a float layer's activation float too: they are joined into one.
        behind = [
            self._activation[node.output[0]]
            for node in self.candidates
            if node.name in leave and node.output[0] in self._activation
        ]
        with _quiet():
            quantizer = QDQQuantizer(
                model,
                per_channel=True,
                reduce_range=weight_bits == 7,
                weight_qType=QuantType.QInt8,
                activation_qType=QuantType.QUInt8,
                tensors_range=self._ranges,
                nodes_to_quantize=[only] if only else [],
                nodes_to_exclude=[*self.temporal, *leave, *behind],
                op_types_to_quantize=[*_WITH_WEIGHTS, *_JOINS, *_ACTIVATIONS],
                extra_options={"MatMulConstBOnly": True},
            )
            quantizer.quantize_model()
        return quantizer.model.model

    def agreement(self, model: ModelProto) -> float:
        """Share of positions of the unseen clips with float32's winning class."""
        return self._agreement(model, self._unseen, self._expected)

    def harm(self, node: NodeProto, weight_bits: int) -> float:
        """Share of positions of some known clips that change when this node alone is int8."""
        model = self.build(weight_bits, only=node.name)
        return 1 - self._agreement(model, self._known[:_HARM_FRAMES], self._expected_known)

    def title(self, node: NodeProto) -> str:
        """A layer by the name of its weights, as in the checkpoint."""
        weights = [name for name in node.input if name in self._weights and "." in name]
        if not weights:
            return f"{node.op_type} {node.name}"
        return weights[0].removeprefix("network.").removesuffix(".weight")

    def _agreement(
        self, model: ModelProto, clips: Sequence[np.ndarray], expected: Sequence[np.ndarray]
    ) -> float:
        found = _winners(cpu_session(model.SerializeToString()), clips, self._tensors)
        same = [(one == other).mean() for one, other in zip(expected, found, strict=True)]
        return float(np.mean(same))

    def _has_weights(self, node: NodeProto) -> bool:
        return node.op_type in _WITH_WEIGHTS and node.input[1] in self._weights


def _winners(
    session: InferenceSession, clips: Sequence[np.ndarray], tensors: Sequence[StateTensor]
) -> list[np.ndarray]:
    """Winning classes (T, h, w) of each clip."""
    return [winners(answer) for _, answer in replay(session, clips, tensors)]


def _ranges(
    path: Path,
    session: InferenceSession,
    clips: Sequence[np.ndarray],
    tensors: Sequence[StateTensor],
) -> TensorsData:
    """Smallest and largest value of every activation, over all clips."""
    from onnxruntime.quantization import CalibrationDataReader, CalibrationMethod
    from onnxruntime.quantization.calibrate import create_calibrator

    class Feeds(CalibrationDataReader):
        def __init__(self) -> None:
            self._replayed = replay(session, clips, tensors)

        def get_next(self) -> dict[str, np.ndarray] | None:
            feeds, _ = next(self._replayed, (None, None))
            return feeds

    with _quiet():
        calibrator = create_calibrator(
            path,
            [*_WITH_WEIGHTS, *_JOINS, *_ACTIVATIONS],
            augmented_model_path=str(path.with_name("observed.onnx")),
            calibrate_method=CalibrationMethod.MinMax,
        )
        calibrator.collect_data(Feeds())
        return calibrator.compute_data()


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """ONNX Runtime's quantiser talks to the root logger about nothing a user can act on."""
    # Set the root's level: the quantiser logs there, not to a logger of its own.
    root = logging.getLogger()
    level = root.level
    root.setLevel(logging.ERROR)
    try:
        yield
    finally:
        root.setLevel(level)


def quantized_record(quantized: Quantized) -> dict[str, object]:
    """Plain values for --json, parity first."""
    record = asdict(quantized)
    return {**record.pop("parity"), "precision": "int8", **record}
