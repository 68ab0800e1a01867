"""One network in int8 (QDQ), whole or with some layers in float, and what that does to its answer.

Weights are int8 with a scale a channel, activations uint8 with the range seen in calibration. What
a network remembers, and the operations that blend it, stay float.
"""

from __future__ import annotations

import contextlib
import logging
import math
import time
from collections.abc import Collection, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from vidparse.export.corrections import correct_biases, equalise, equalise_sums, input_means
from vidparse.export.graph import multiplications, temporal_nodes
from vidparse.export.onnx import save_model
from vidparse.export.parity import cpu_session, replay, winners
from vidparse.export.rounding import Rounding, input_moments
from vidparse.models.description import StateTensor

_HARM_FRAMES = 2  # that the harm of single layers is measured on
_TIMED = 5  # times that both models take a frame
_WITH_WEIGHTS = ("Conv", "ConvTranspose", "Gemm", "MatMul")
_JOINS = ("Add", "Concat", "Resize", "MaxPool", "AveragePool")
_ACTIVATIONS = ("Relu", "Clip")  # become part of the layer before them

if TYPE_CHECKING:
    from onnx import ModelProto, NodeProto
    from onnxruntime import InferenceSession
    from onnxruntime.quantization.calibrate import TensorsData


class Quantizer:
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
        self._exact = cpu_session(model.SerializeToString())

        # Compare with the float graph: parity at the end has the distance from torch.
        self._expected = _winners(self._exact, unseen, tensors)
        self._expected_known = _winners(self._exact, known[:_HARM_FRAMES], tensors)
        self._model = onnx.shape_inference.infer_shapes(model)
        equalise(self._model, known, tensors)
        equalise_sums(self._model, known, tensors)
        path = folder / "float.onnx"
        save_model(self._model, path)
        self._ranges = _ranges(path, cpu_session(path), known, tensors)
        self._means = input_means(self._model, known, tensors)
        self._rounding = Rounding(self._model, input_moments(self._model, known, tensors))
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
        self,
        weight_bits: int,
        *,
        corrects: bool = True,
        leave: Collection[str] = (),
        only: str | None = None,
    ) -> ModelProto:
        """The model in int8 but for the nodes called so, or with a single node in int8.

        Args:
            corrects: weights make up for the rounding of others, and biases for what it takes from
                means; else each is rounded to the nearest step.
        """
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
        made: ModelProto = quantizer.model.model
        if corrects:
            self._rounding.round(made, weight_bits)
            correct_biases(made, self._model, self._means)
        return made

    def agreement(self, model: ModelProto) -> float:
        """Share of positions of the unseen clips with float32's winning class."""
        return self._agreement(model, self._unseen, self._expected)

    def harm(self, node: NodeProto, weight_bits: int, *, corrects: bool = True) -> float:
        """Share of positions of some known clips that change when this node alone is int8."""
        model = self.build(weight_bits, corrects=corrects, only=node.name)
        return 1 - self._agreement(model, self._known[:_HARM_FRAMES], self._expected_known)

    def int8_share(self, leave: Collection[str] = ()) -> float:
        """Share of the multiplications of convolutions in int8, but for nodes called so."""
        feeds, _ = next(replay(self._exact, self._unseen, self._tensors))
        costs = multiplications(self._model, feeds)
        kept = sum(costs.get(node.name, 0) for node in self.layers if node.name not in leave)
        return kept / max(1, sum(costs.values()))

    def speed(self, model: ModelProto) -> float:
        """Speed of a model on this machine, as a multiple of float32's."""
        sessions = (self._exact, cpu_session(model.SerializeToString()))
        best = [math.inf, math.inf]

        # Take turns, and the least of each: another program may be busy meanwhile.
        for _ in range(_TIMED):
            for i, session in enumerate(sessions):
                begun = time.perf_counter()
                for _ in replay(session, self._unseen[:1], self._tensors):
                    best[i] = min(best[i], time.perf_counter() - begun)
        return best[0] / best[1]

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
