"""Which operations of a graph carry what a network remembers."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

_ACTIVATIONS = ("Relu", "Clip")


def temporal_nodes(graph: Any, state: Sequence[str]) -> set[str]:
    """Names of the operations between the state and the nearest convolutions, either way.

    Args:
        graph: onnx.GraphProto whose nodes have names. state: names of its state inputs, whose
            outputs are called {name}_next.
    """
    readers: dict[str, list[Any]] = {}
    maker: dict[str, Any] = {}
    for node in graph.node:
        for name in node.input:
            readers.setdefault(name, []).append(node)
        for name in node.output:
            maker[name] = node
    found: set[str] = set()
    ahead = list(state)
    while ahead:
        for node in readers.get(ahead.pop(), ()):
            if node.name not in found and node.op_type != "Conv":
                found.add(node.name)
                ahead += node.output
    behind = [f"{name}_next" for name in state]
    seen: set[str] = set()
    while behind:
        node = maker.get(behind.pop())
        if node is None or node.name in seen or _is_convolution(node, maker):
            continue
        seen.add(node.name)
        behind += node.input
    return found | seen


def _is_convolution(node: Any, maker: dict[str, Any]) -> bool:
    """A convolution, or the activation right behind one."""
    if node.op_type in _ACTIVATIONS:
        before = maker.get(node.input[0])
        return before is not None and before.op_type == "Conv"
    return node.op_type == "Conv"
