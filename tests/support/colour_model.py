"""A model that takes no time, whose classes are colours."""

from __future__ import annotations

from pathlib import Path

import numpy as np


def save_colour_model(path: Path, names: str) -> Path:
    """An ONNX model that any machine runs in no time: a pixel's class depends on its colour.

    Blocks of 8x8 pixels are averaged and each class scored by a linear function.
    """
    import onnx
    from onnx import TensorProto, helper, numpy_helper

    from vidparse.labels import load_labels
    from vidparse.models.description import Preprocess, metadata_of

    labels = load_labels(names)
    scores = [1, len(labels), "rows", "columns"]
    weights = np.random.default_rng(5).standard_normal((len(labels), 3, 1, 1)).astype(np.float32)
    graph = helper.make_graph(
        [
            helper.make_node(
                "AveragePool", ["clip"], ["pooled"], kernel_shape=[8, 8], strides=[8, 8]
            ),
            helper.make_node("Conv", ["pooled", "weights"], ["logits"]),
        ],
        "colours",
        [helper.make_tensor_value_info("clip", TensorProto.FLOAT, [1, 3, "height", "width"])],
        [helper.make_tensor_value_info("logits", TensorProto.FLOAT, scores)],
        [numpy_helper.from_array(weights, "weights")],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=9)
    metadata = metadata_of(
        arch="colours",
        config={},
        labels=labels,
        preprocess=Preprocess(short_side=96),
        training={},
    )
    helper.set_model_props(model, metadata)
    onnx.save(model, path)
    return path
