"""Weights of convolutions rounded one after the other, so that each makes up for those before it.

Rounding to the nearest step is best for each weight, not for their sum. Here the error of a weight
is passed on to the weights of its channel that are not rounded yet, as far as their inputs go
together: Frantar, Ashkboos, Hoefler and Alistarh, "GPTQ: Accurate Post-Training Quantization for
Generative Pre-trained Transformers", ICLR 2023, with the second moments of what calibration saw.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np

from vidparse.export.parity import cpu_session, replay
from vidparse.models.description import StateTensor

if TYPE_CHECKING:
    from onnx import ModelProto, NodeProto

_PLACES = 500  # of each clip that moments are taken of
_DAMPING = 0.01  # of the mean moment, added to each: few clips have few of the rare inputs
_BLOCK = 64
_MOST_INPUTS = 4096  # a moment has the square of it
_BOUNDS = {7: (-64, 64), 8: (-127, 127)}  # steps of weights; two of 64 fit the sums of any CPU


def input_moments(
    model: ModelProto, clips: Sequence[np.ndarray], tensors: Sequence[StateTensor] = ()
) -> dict[str, np.ndarray]:
    """Second moments of what each convolution multiplies its weights with, over places.

    Args:
        model: float32. clips: inputs in the order of a video, see `replay`.

    Returns:
        By the name of the convolution: float64 (groups, K, K) with K the weights of an output
        channel. Moments are around the mean where a bias can make up for it: without padding.
    """
    from onnx import ModelProto

    shapes = {tensor.name: tuple(tensor.dims) for tensor in model.graph.initializer}
    layers = [node for node in model.graph.node if _is_known(node, shapes)]
    watched = ModelProto()
    watched.CopyFrom(model)
    given = {value.name for value in (*model.graph.output, *model.graph.input)}
    for name in dict.fromkeys(node.input[0] for node in layers if node.input[0] not in given):
        watched.graph.output.add().name = name

    rng = np.random.default_rng(0)
    sums: dict[str, np.ndarray] = {}
    totals: dict[str, np.ndarray] = {}
    counts: dict[str, int] = {}
    session = cpu_session(watched.SerializeToString())
    for feeds, values in replay(session, clips, tensors):
        values = {**feeds, **values}
        for node in layers:
            if node.input[0] not in values:
                continue
            seen = _patches(node, values[node.input[0]], shapes[node.input[1]], rng)
            sums[node.name] = sums.get(node.name, 0) + seen @ seen.transpose(0, 2, 1)
            totals[node.name] = totals.get(node.name, 0) + seen.sum(axis=2)
            counts[node.name] = counts.get(node.name, 0) + seen.shape[2]

    makes = {name for node in model.graph.node for name in node.output}
    moments = {}
    for node in layers:
        if node.name not in counts:
            continue
        moment = sums[node.name] / counts[node.name]
        has_bias = len(node.input) > 2 and node.input[0] in makes
        if has_bias and not any(_integers(node, "pads", (0,))):
            mean = totals[node.name] / counts[node.name]
            moment = moment - mean[:, :, None] * mean[:, None, :]
        moments[node.name] = moment.astype(np.float64)
    return moments


def rounded(
    weights: np.ndarray, scale: np.ndarray, moment: np.ndarray, bounds: tuple[int, int]
) -> np.ndarray:
    """The steps, int8 (N, K), of weights (N, K) whose inputs have a moment (K, K).

    Args:
        scale: (N,), the step of each channel. bounds: least and greatest step.
    """
    left = weights.astype(np.float64)
    steps = np.zeros(weights.shape, np.int8)
    step = scale.astype(np.float64)

    # Begin with the inputs that vary most: their errors have most others to go to.
    order = np.argsort(-np.diag(moment), kind="stable")
    damping = max(_DAMPING * float(np.diag(moment).mean()), 1e-12)
    ordered = moment[np.ix_(order, order)] + damping * np.eye(len(moment))
    spread = np.linalg.cholesky(np.linalg.inv(ordered)).T  # upper
    left = left[:, order]
    for begin in range(0, len(order), _BLOCK):
        end = min(begin + _BLOCK, len(order))
        errors = np.empty((len(left), end - begin))
        for i in range(begin, end):
            nearest = np.clip(np.round(left[:, i] / step), *bounds)
            steps[:, order[i]] = nearest
            errors[:, i - begin] = (left[:, i] - nearest * step) / spread[i, i]
            left[:, i + 1 : end] -= errors[:, i - begin, None] * spread[i, i + 1 : end]

        # Pass on what a block left in one product: one weight at a time takes ten times as long.
        left[:, end:] -= errors @ spread[begin:end, end:]
    return steps


class Rounding:
    """The weights of one model rounded for its moments, each layer once.

    Args:
        exact: the float model. moments: of :func:`input_moments`.
    """

    def __init__(self, exact: ModelProto, moments: Mapping[str, np.ndarray]) -> None:
        self._floats = {tensor.name: tensor for tensor in exact.graph.initializer}
        self._before = {node.name: node for node in exact.graph.node if node.op_type == "Conv"}
        self._moments = moments
        self._steps: dict[tuple[str, int], np.ndarray] = {}

    def round(self, rough: ModelProto, bits: int) -> int:
        """Round the weights of convolutions anew, with the scales that they have.

        Args:
            rough: QDQ; it is changed. bits: of the weights, 7 or 8.

        Returns:
            The number of convolutions.
        """
        from onnx import numpy_helper

        stored = {tensor.name: tensor for tensor in rough.graph.initializer}
        makers = {name: node for node in rough.graph.node for name in node.output}
        done = 0
        for node in rough.graph.node:
            made = makers.get(node.input[1]) if node.op_type == "Conv" else None
            if made is None or made.input[0] not in stored or node.name not in self._moments:
                continue
            scale = numpy_helper.to_array(stored[made.input[1]]).reshape(-1)
            steps = self._layer(node.name, scale, bits)
            stored[made.input[0]].CopyFrom(numpy_helper.from_array(steps, made.input[0]))
            done += 1
        return done

    def _layer(self, name: str, scale: np.ndarray, bits: int) -> np.ndarray:
        """The steps of a layer, in the shape of its weights."""
        from onnx import numpy_helper

        if (name, bits) in self._steps:
            return self._steps[name, bits]
        wanted = numpy_helper.to_array(self._floats[self._before[name].input[1]])
        flat, moment = wanted.reshape(len(wanted), -1), self._moments[name]
        scales = np.broadcast_to(scale, len(flat))

        # Round each group with the moment of the channels that it reads.
        shares = np.array_split(np.arange(len(flat)), len(moment))
        parts = [
            rounded(flat[rows], scales[rows], one, _BOUNDS[bits])
            for rows, one in zip(shares, moment, strict=True)
        ]
        self._steps[name, bits] = np.concatenate(parts).reshape(wanted.shape)
        return self._steps[name, bits]


def _is_known(node: NodeProto, shapes: Mapping[str, tuple[int, ...]]) -> bool:
    """A convolution of maps with weights that are stored, and not too many."""
    shape = shapes.get(node.input[1], ()) if node.op_type == "Conv" else ()
    return len(shape) == 4 and int(np.prod(shape[1:])) <= _MOST_INPUTS


def _patches(
    node: NodeProto, values: np.ndarray, shape: tuple[int, ...], rng: np.random.Generator
) -> np.ndarray:
    """Values that weights (N, C, kh, kw) meet at some places: (groups, C * kh * kw, n)."""
    groups = _integers(node, "group", (1,))[0]
    top, left, bottom, right = _integers(node, "pads", (0, 0, 0, 0))
    down, across = _integers(node, "strides", (1, 1))
    apart = _integers(node, "dilations", (1, 1))
    padded = np.pad(values[0], ((0, 0), (top, bottom), (left, right)))
    reach = [(side - 1) * gap for side, gap in zip(shape[2:], apart, strict=True)]

    height = (padded.shape[1] - reach[0] - 1) // down + 1
    width = (padded.shape[2] - reach[1] - 1) // across + 1
    places = rng.permutation(height * width)[:_PLACES]
    rows, columns = places // width * down, places % width * across
    taps = [
        padded[:, rows + i * apart[0], columns + j * apart[1]]
        for i in range(shape[2])
        for j in range(shape[3])
    ]
    seen = np.stack(taps, axis=1)  # (channels, taps, n)
    return seen.reshape(groups, -1, len(places))


def _integers(node: NodeProto, name: str, otherwise: tuple[int, ...]) -> tuple[int, ...]:
    """An attribute as whole numbers."""
    for attribute in node.attribute:
        if attribute.name == name:
            return tuple(attribute.ints) or (attribute.i,)
    return otherwise
