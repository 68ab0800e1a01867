"""Facts of an ONNX graph that int8 needs: operations around a state, and the cost of layers."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np

from vidparse.export.parity import cpu_session

if TYPE_CHECKING:
    from onnx import GraphProto, ModelProto, NodeProto

_ACTIVATIONS = ("Relu", "Clip")


def temporal_nodes(graph: GraphProto, state: Sequence[str]) -> set[str]:
    """Names of the operations between the state and the nearest convolutions, either way.

    Args:
        graph: onnx.GraphProto whose nodes have names. state: names of its state inputs, whose
            outputs are called {name}_next.
    """
    readers: dict[str, list[NodeProto]] = {}
    maker: dict[str, NodeProto] = {}
    for node in graph.node:
        for name in node.input:
            readers.setdefault(name, []).append(node)
        for name in node.output:
            maker[name] = node

    # Go ahead from the state, up to the first convolutions.
    found: set[str] = set()
    ahead = list(state)
    while ahead:
        for node in readers.get(ahead.pop(), ()):
            if node.name not in found and node.op_type != "Conv":
                found.add(node.name)
                ahead += node.output

    # Go back from the new state, over the same kind of operations.
    behind = [f"{name}_next" for name in state]
    seen: set[str] = set()
    while behind:
        node = maker.get(behind.pop())
        if node is None or node.name in seen or _is_convolution(node, maker):
            continue
        seen.add(node.name)
        behind += node.input
    return found | seen


def _is_convolution(node: NodeProto, maker: dict[str, NodeProto]) -> bool:
    """A convolution, or the activation right behind one."""
    if node.op_type in _ACTIVATIONS:
        before = maker.get(node.input[0])
        return before is not None and before.op_type == "Conv"
    return node.op_type == "Conv"


def multiplications(model: ModelProto, feeds: Mapping[str, np.ndarray]) -> dict[str, int]:
    """Multiplications of each convolution for one input, by name.

    Args:
        model: float32. feeds: its inputs.
    """
    from onnx import ModelProto

    watched = ModelProto()
    watched.CopyFrom(model)
    shapes = {tensor.name: tuple(tensor.dims) for tensor in model.graph.initializer}
    layers = [n for n in model.graph.node if n.op_type == "Conv" and n.input[1] in shapes]
    answers = {output.name for output in model.graph.output}
    names = [node.output[0] for node in layers]
    for name in names:
        if name not in answers:
            watched.graph.output.add().name = name
    made = cpu_session(watched.SerializeToString()).run(names, dict(feeds))
    return {
        node.name: values.size * int(np.prod(shapes[node.input[1]][1:]))
        for node, values in zip(layers, made, strict=True)
    }
