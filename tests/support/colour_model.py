"""A model that takes no time, whose classes are colours."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from vidparse.models.profile import Profile


def save_nearest_colour(path: Path, names: str, *, swapped: tuple[int, int] | None = None) -> Path:
    """As below, but the class is that of the nearest colour; two of them may be swapped."""
    from vidparse.labels import load_labels
    from vidparse.models.description import Preprocess

    facts = Preprocess(short_side=96)
    colours = np.array(load_labels(names).colours, np.float32) / 255
    colours = (colours - np.array(facts.mean)) / np.array(facts.std)
    weights, biases = colours[..., None, None], -0.5 * (colours**2).sum(axis=1)
    if swapped is not None:
        order = np.arange(len(colours))
        order[list(swapped)] = swapped[::-1]
        weights, biases = weights[order], biases[order]
    return save_colour_model(path, names, weights=weights, biases=biases)


def save_colour_model(
    path: Path,
    names: str,
    *,
    weights: np.ndarray | None = None,
    biases: np.ndarray | None = None,
    profile: Profile | None = None,
) -> Path:
    """An ONNX model that any machine runs in no time: a pixel's class depends on its colour.

    Blocks of 8x8 pixels are averaged and each class scored by a linear function.
    """
    import onnx
    from onnx import TensorProto, helper, numpy_helper

    from vidparse.labels import load_labels
    from vidparse.models.description import Preprocess, metadata_of

    labels = load_labels(names)
    scores = [1, len(labels), "rows", "columns"]
    if weights is None:
        weights = np.random.default_rng(5).standard_normal((len(labels), 3, 1, 1))
    weights = weights.astype(np.float32)
    biases = np.zeros(len(labels)) if biases is None else biases
    graph = helper.make_graph(
        [
            helper.make_node(
                "AveragePool", ["clip"], ["pooled"], kernel_shape=[8, 8], strides=[8, 8]
            ),
            helper.make_node("Conv", ["pooled", "weights", "biases"], ["logits"]),
        ],
        "colours",
        [helper.make_tensor_value_info("clip", TensorProto.FLOAT, [1, 3, "height", "width"])],
        [helper.make_tensor_value_info("logits", TensorProto.FLOAT, scores)],
        [
            numpy_helper.from_array(weights, "weights"),
            numpy_helper.from_array(biases.astype(np.float32), "biases"),
        ],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=9)
    metadata = metadata_of(
        arch="colours",
        config={},
        labels=labels,
        preprocess=Preprocess(short_side=96),
        training={},
        profile=profile,
    )
    helper.set_model_props(model, metadata)
    onnx.save(model, path)
    return path
