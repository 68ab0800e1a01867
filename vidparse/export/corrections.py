"""Corrections that int8 needs: quiet channels made louder, and biases that make up for rounding.

Both are of Nagel, van Baalen, Blankevoort and Welling, "Data-Free Quantization Through Weight
Equalization and Bias Correction", ICCV 2019. There the weights alone decide how channels are
scaled; here the values that calibration saw do, as frames are at hand.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from vidparse.export.parity import cpu_session, replay
from vidparse.models.description import StateTensor

if TYPE_CHECKING:
    from onnx import ModelProto, NodeProto

_MARGIN, _LOUDEST = 1.2, 64.0  # headroom above what was seen; most that a channel is raised by
_QUIETEST = 1e-6


def equalise(
    model: ModelProto, clips: Sequence[np.ndarray], tensors: Sequence[StateTensor] = ()
) -> int:
    """Raise quiet channels between a convolution and the depthwise one behind its ReLU or ReLU6.

    All channels of an activation share one scale in int8, so that a channel of small values has
    few steps. Here its weights and bias grow by a factor, and the depthwise weights that read it,
    which have a scale of their own for each channel, shrink by the same. In float nothing changes,
    but for values behind ReLU6 above 1.2 times the greatest of the calibration: they saturate
    at that, as they would in int8.

    Args:
        model: float32; it is changed. clips: inputs in the order of a video, see `replay`.

    Returns:
        The number of activations whose channels were raised.
    """
    pairs = list(_before_depthwise(model))
    names = [second.input[0] for _, _, second in pairs]
    seen = observed(model, clips, tensors, names, np.max)
    stored = _Stored(model)
    for first, activation, second in pairs:
        top, ceiling, margin = seen[second.input[0]], float(seen[second.input[0]].max()), 1.0

        # Keep below the ceiling of ReLU6, where a raised channel would lose values.
        if activation.op_type == "Clip":
            ceiling, margin = float(stored.values(activation.input[2])), _MARGIN
        factors = np.clip(ceiling / np.maximum(top * margin, _QUIETEST), 1, _LOUDEST)
        for name in first.input[1:]:
            stored.scale(name, factors)
        stored.scale(second.input[1], 1 / factors)
    return len(pairs)


def equalise_sums(
    model: ModelProto, clips: Sequence[np.ndarray], tensors: Sequence[StateTensor] = ()
) -> int:
    """Raise quiet channels of what convolutions write and others read, with sums on the way.

    Those are the residual stages of a network: nothing in them bends, so that a channel may grow
    in all of a stage's tensors if the weights that read it shrink. By the root of what would make
    channels equal, because dense weights have no scale of their own for each input. In float
    nothing changes.

    Args:
        model: float32; it is changed. clips: inputs in the order of a video, see `replay`.

    Returns:
        The number of stages.
    """
    stages = list(_stages(model))
    names = [name for stage in stages for name in stage.names]
    seen = observed(model, clips, tensors, names, _loudest)

    # Give a stage one factor for each channel, or its sums would add unlike things.
    stored = _Stored(model)
    for stage in stages:
        top = np.max([seen[name] for name in stage.names], axis=0)
        factors = np.clip(np.sqrt(top.max() / np.maximum(top, _QUIETEST)), 1, _LOUDEST)
        for node in stage.writers:
            for name in node.input[1:]:
                stored.scale(name, factors)
        for node in stage.readers:
            stored.scale(node.input[1], 1 / factors, axis=1)
    return len(stages)


def _loudest(values: np.ndarray, axis: int | tuple[int, ...]) -> np.ndarray:
    loudest: np.ndarray = np.abs(values).max(axis=axis)
    return loudest


def correct_biases(rough: ModelProto, exact: ModelProto, means: Mapping[str, np.ndarray]) -> int:
    """Add to each bias what rounding the weights takes from the mean of the output.

    A layer's output moves by (W - W') E[x], where W' are its rounded weights and E[x] is the mean
    of each input channel.

    Args:
        rough: QDQ; it is changed. exact: the float model that it was made of.
        means: by the name of a convolution's input in `exact`, (C,).

    Returns:
        The number of biases that were corrected.
    """
    stored, floats = _Stored(rough), _Stored(exact)
    makers = {name: node for node in rough.graph.node for name in node.output}
    before = {node.name: node for node in exact.graph.node if node.op_type == "Conv"}
    corrected = 0
    for node in rough.graph.node:
        made = [makers.get(name) for name in node.input[1:3]]
        if node.name not in before or len(made) != 2:
            continue
        weight, bias = made
        if not weight or not bias or before[node.name].input[0] not in means:
            continue

        # Put the error of each group's weights to the means of that group's channels.
        wanted = floats.values(before[node.name].input[1])
        scale = stored.values(weight.input[1]).reshape(-1, *[1] * (wanted.ndim - 1))
        error = wanted - stored.values(weight.input[0]) * scale
        error = error.sum(axis=tuple(range(2, wanted.ndim)))
        mean = means[before[node.name].input[0]].reshape(-1, error.shape[1])
        owner = np.arange(len(error)) * len(mean) // len(error)
        moved = (error * mean[owner]).sum(axis=1)

        steps = np.round(moved / stored.values(bias.input[1]))
        stored.put(bias.input[0], stored.values(bias.input[0]) + steps.astype(np.int32))
        corrected += 1
    return corrected


def input_means(
    model: ModelProto, clips: Sequence[np.ndarray], tensors: Sequence[StateTensor] = ()
) -> dict[str, np.ndarray]:
    """The mean of each channel of what convolutions read, by name; of clips in a video's order."""
    made = {name for node in model.graph.node for name in node.output}
    names = [node.input[0] for node in model.graph.node if node.op_type == "Conv"]
    return observed(model, clips, tensors, [name for name in names if name in made], np.mean)


def observed(
    model: ModelProto,
    clips: Sequence[np.ndarray],
    tensors: Sequence[StateTensor],
    names: Sequence[str],
    measure: Callable[..., np.ndarray],
) -> dict[str, np.ndarray]:
    """A measure (`numpy.max` or `numpy.mean`) of each channel of tensors (N, C, ...), by name."""
    from onnx import ModelProto

    watched = ModelProto()
    watched.CopyFrom(model)
    answers = {output.name for output in model.graph.output}
    wanted = [name for name in dict.fromkeys(names) if name not in answers]
    for name in wanted:
        watched.graph.output.add().name = name

    found: dict[str, list[np.ndarray]] = {name: [] for name in wanted}
    for _, values in replay(cpu_session(watched.SerializeToString()), clips, tensors):
        for name in wanted:
            sides = tuple(range(2, values[name].ndim))
            found[name].append(measure(values[name], axis=(0, *sides)))
    return {name: measure(np.stack(parts), axis=0) for name, parts in found.items()}


@dataclass(frozen=True, slots=True)
class _Stage:
    """Tensors of the same channels, and the convolutions that write and read them."""

    names: list[str]
    writers: list[NodeProto]
    readers: list[NodeProto]


def _stages(model: ModelProto) -> Iterator[_Stage]:
    """Tensors that nothing but sums joins, and nothing but convolutions reads."""
    stored = _Stored(model)
    maker = {name: node for node in model.graph.node for name in node.output}
    readers: dict[str, list[NodeProto]] = {}
    for node in model.graph.node:
        for name in node.input:
            readers.setdefault(name, []).append(node)

    # Join the tensors of a sum: they share their channels' factors.
    stage_of = {node.output[0]: [node.output[0]] for node in model.graph.node if node.output}
    for node in model.graph.node:
        if node.op_type == "Add" and all(name in stage_of for name in node.input):
            joined = list(
                dict.fromkeys(n for x in (*node.input, *node.output) for n in stage_of[x])
            )
            stage_of.update(dict.fromkeys(joined, joined))

    answers = {output.name for output in model.graph.output}
    for names in {id(one): one for one in stage_of.values()}.values():
        made = [maker[name] for name in names]
        used = [(name, node) for name in names for node in readers.get(name, [])]
        writers = [node for node in made if node.op_type == "Conv"]
        dense = [node for _, node in used if node.op_type == "Conv"]
        others = {node.op_type for node in (*made, *(node for _, node in used))} - {"Conv", "Add"}
        if others or answers & {*names} or not writers or not dense:
            continue

        # Leave what a sum takes from outside, and weights that are shared or not stored.
        own = [*(x for one in writers for x in one.input[1:]), *(one.input[1] for one in dense)]
        kept = all(stored.has(name) and len(readers[name]) == 1 for name in own)
        sums = [node for node in made if node.op_type == "Add"]
        inside = all(name in names for node in sums for name in node.input)
        if not kept or not inside or any(name not in names for n in dense for name in n.input[:1]):
            continue
        counts = {len(stored.values(one.input[1])) for one in writers}
        counts |= {stored.values(one.input[1]).shape[1] for one in dense}
        if len(counts) == 1:
            yield _Stage(names, writers, dense)


def _before_depthwise(model: ModelProto) -> Iterator[tuple[NodeProto, NodeProto, NodeProto]]:
    """Convolution, activation and depthwise convolution that alone read each other."""
    stored = _Stored(model)
    readers: dict[str, list[NodeProto]] = {}
    for node in model.graph.node:
        for name in node.input:
            readers.setdefault(name, []).append(node)
    answers = {output.name for output in model.graph.output}

    for first in model.graph.node:
        # Follow the answer while a single node reads it, and no user does.
        chain = [first]
        while len(chain) < 3 and chain[-1].output[0] not in answers:
            following = readers.get(chain[-1].output[0], [])
            if len(following) != 1:
                break
            chain += following
        if [node.op_type for node in chain[::2]] != ["Conv", "Conv"]:
            continue

        # Leave weights that another layer shares, and what is not nought at nought.
        own = [*first.input[1:], chain[2].input[1]]
        if not all(stored.has(name) and len(readers[name]) == 1 for name in own):
            continue
        is_depthwise = stored.values(own[-1]).shape[:2] == (len(stored.values(own[0])), 1)
        if is_depthwise and _passes_nought(chain[1], stored):
            yield first, chain[1], chain[2]


def _passes_nought(activation: NodeProto, stored: _Stored) -> bool:
    """A ReLU, or a clip from 0 to a number: factors pass through below that number."""
    if activation.op_type == "Relu":
        return True
    bounds = list(activation.input[1:])
    is_clip = activation.op_type == "Clip" and len(bounds) == 2
    return is_clip and all(map(stored.has, bounds)) and float(stored.values(bounds[0])) == 0


class _Stored:
    """The initialisers of a model, by name."""

    def __init__(self, model: ModelProto) -> None:
        self._tensors = {tensor.name: tensor for tensor in model.graph.initializer}

    def has(self, name: str) -> bool:
        return name in self._tensors

    def values(self, name: str) -> np.ndarray:
        from onnx import numpy_helper

        values: np.ndarray = numpy_helper.to_array(self._tensors[name])
        return values

    def put(self, name: str, values: np.ndarray) -> None:
        from onnx import numpy_helper

        self._tensors[name].CopyFrom(numpy_helper.from_array(values, name))

    def scale(self, name: str, factors: np.ndarray, axis: int = 0) -> None:
        """Multiply the part of each output channel (axis 1: of each input's) by its factor."""
        values = self.values(name)
        shaped = factors.reshape(-1, *[1] * (values.ndim - 1 - axis))
        self.put(name, (values * shaped).astype(np.float32))
