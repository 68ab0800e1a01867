"""Weights that make up for each other's rounding, and the moments that say which can."""

from __future__ import annotations

from itertools import product
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from vidparse.export.parity import cpu_session
from vidparse.export.rounding import input_moments, rounded

ONE = np.ones(1)


def harm(steps: np.ndarray, weights: np.ndarray, moment: np.ndarray) -> float:
    """Mean square error of a channel's output."""
    error = weights - steps
    return float(error @ moment @ error)


class TestRounded:
    def test_inputs_that_have_nothing_in_common_round_to_the_nearest(self) -> None:
        weights = np.array([[0.4, -1.6, 2.5001, 7.2]])
        moment = np.diag([1.0, 3.0, 2.0, 0.5])
        assert rounded(weights, ONE, moment, (-64, 64)).tolist() == [[0, -2, 3, 7]]

    def test_equal_inputs_keep_the_sum(self) -> None:
        """Three times 0.4 of the same input is 1.2 of it: one step, not none."""
        weights = np.full((1, 3), 0.4)
        assert rounded(weights, ONE, np.ones((3, 3)), (-64, 64)).sum() == 1

    def test_steps_stay_within_bounds(self) -> None:
        weights = np.array([[90.0, -90.0, 3.0]])
        assert rounded(weights, ONE, np.eye(3), (-64, 64)).tolist() == [[64, -64, 3]]

    def test_each_channel_has_its_own_step(self) -> None:
        weights = np.array([[1.0, 2.0], [1.0, 2.0]])
        steps = rounded(weights, np.array([0.5, 1.0]), np.eye(2), (-64, 64))
        assert steps.tolist() == [[2, 4], [1, 2]]

    def test_is_far_better_than_the_nearest_steps_and_near_the_best(self) -> None:
        rng = np.random.default_rng(0)
        sums = np.zeros(3)
        for _ in range(40):
            mixed = rng.standard_normal((5, 3)) @ rng.standard_normal((3, 64))
            moment = mixed @ mixed.T / 64
            weights = rng.uniform(-3, 3, (1, 5))
            ways = (np.floor(weights[0]) + up for up in product((0, 1), repeat=5))
            best = min(harm(np.array(way), weights[0], moment) for way in ways)
            found = rounded(weights, ONE, moment, (-64, 64))[0]
            nearest = np.round(weights[0])
            sums += (best, *(harm(way, weights[0], moment) for way in (found, nearest)))
        assert sums[1] < min(2 * sums[0], 0.6 * sums[2])


def one_layer(groups: int, pads: int, *, bias: bool = True, **facts: Any) -> tuple[Any, np.ndarray]:
    """clip (4) -> identity -> a 3x3 convolution (8): the model, and its weights."""
    rng = np.random.default_rng(3)
    weights = rng.standard_normal((8, 4 // groups, 3, 3)).astype(np.float32)
    tensors = [numpy_helper.from_array(weights, "w")]
    if bias:
        tensors.append(numpy_helper.from_array(np.zeros(8, np.float32), "b"))
    inputs = ["x", "w", "b"] if bias else ["x", "w"]
    nodes = [
        helper.make_node("Identity", ["clip"], ["x"]),
        helper.make_node(
            "Conv", inputs, ["logits"], name="it", group=groups, pads=[pads] * 4, **facts
        ),
    ]
    ends = [
        helper.make_tensor_value_info(name, TensorProto.FLOAT, [1, count, "h" + name, "w" + name])
        for name, count in (("clip", 4), ("logits", 8))
    ]
    graph = helper.make_graph(nodes, "layer", ends[:1], ends[1:], tensors)
    return helper.make_model(
        graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=9
    ), weights


class TestMoments:
    """They give what the layer's output has, by running it."""

    @pytest.mark.parametrize(
        ("groups", "pads", "facts"),
        [
            (1, 1, {}),
            (2, 1, {"strides": [2, 2]}),
            (4, 2, {"dilations": [2, 2]}),
            (1, 0, {}),
            (4, 0, {"strides": [1, 2]}),
        ],
    )
    @pytest.mark.parametrize("bias", [True, False])
    def test_are_those_of_the_output(
        self, groups: int, pads: int, facts: dict[str, Any], bias: bool
    ) -> None:
        model, weights = one_layer(groups, pads, bias=bias, **facts)
        rng = np.random.default_rng(1)
        clips = [rng.standard_normal((1, 4, 15, 17)).astype(np.float32) + 1 for _ in range(3)]
        (moment,) = input_moments(model, clips).values()
        assert moment.shape == (groups, weights[0].size, weights[0].size)

        session = cpu_session(model.SerializeToString())
        outputs = np.stack([session.run(None, {"clip": clip})[0][0] for clip in clips], axis=1)
        outputs = outputs.reshape(8, -1).astype(np.float64)
        expected = outputs.var(axis=1) if bias and not pads else (outputs**2).mean(axis=1)
        flat = weights.reshape(groups, 8 // groups, -1).astype(np.float64)
        found = np.einsum("gok,gkl,gol->go", flat, moment, flat).ravel()
        np.testing.assert_allclose(found, expected, rtol=1e-4)

    def test_other_operations_have_none(self) -> None:
        model, _ = one_layer(1, 1)
        del model.graph.node[1]
        model.graph.output[0].name = "x"
        onnx.checker.check_model(model)
        assert input_moments(model, [np.zeros((1, 4, 8, 8), np.float32)]) == {}
