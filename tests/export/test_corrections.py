"""Corrections of int8: quiet channels made louder, which float does not notice, and biases."""

from __future__ import annotations

from typing import Any

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from vidparse.export.corrections import correct_biases, equalise, equalise_sums, input_means
from vidparse.export.parity import cpu_session
from vidparse.export.quantizer import Quantizer

CHANNELS = 8


def separable(activation: str, *, quietest: float = 0.05, is_read_twice: bool = False) -> Any:
    """clip (3) -> 1x1 (8) -> activation -> depthwise 3x3 -> 1x1 -> logits (4).

    quietest: loudness of one of the 8 channels, relative to the loudest.
    """
    loudness = np.geomspace(1, quietest, CHANNELS)
    rng = np.random.default_rng(0)
    parts = {
        "first": rng.standard_normal((CHANNELS, 3, 1, 1)) * loudness[:, None, None, None],
        "depthwise": rng.standard_normal((CHANNELS, 1, 3, 3)) / loudness[:, None, None, None],
        "last": rng.standard_normal((4, CHANNELS, 1, 1)),
    }
    tensors = [
        numpy_helper.from_array(np.array(value, np.float32), name)
        for name, value in ({"low": 0, "high": 6} if activation == "Clip" else {}).items()
    ]
    for name, weights in parts.items():
        bias = 0.1 * rng.standard_normal(len(weights)) * (loudness if name == "first" else 1)
        tensors.append(numpy_helper.from_array(weights.astype(np.float32), f"{name}.weight"))
        tensors.append(numpy_helper.from_array(bias.astype(np.float32), f"{name}.bias"))

    def conv(name: str, given: str, made: str, **facts: Any) -> Any:
        return helper.make_node(
            "Conv", [given, f"{name}.weight", f"{name}.bias"], [made], name=name, **facts
        )

    bounds = ["low", "high"] if activation == "Clip" else []
    nodes = [
        conv("first", "clip", "a"),
        helper.make_node(activation, ["a", *bounds], ["b"], name="act"),
        conv("depthwise", "b", "c", group=CHANNELS, pads=[1, 1, 1, 1]),
        conv("last", "c", "logits"),
    ]
    answers = [("logits", 4), *([("b", CHANNELS)] if is_read_twice else [])]
    graph = helper.make_graph(
        nodes,
        "separable",
        [helper.make_tensor_value_info("clip", TensorProto.FLOAT, [1, 3, "height", "width"])],
        [
            helper.make_tensor_value_info(name, TensorProto.FLOAT, [1, count, "height", "width"])
            for name, count in answers
        ],
        tensors,
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=9)


def clips(count: int, seed: int = 0) -> list[np.ndarray]:
    rng = np.random.default_rng(seed)
    return [rng.standard_normal((1, 3, 24, 32)).astype(np.float32) for _ in range(count)]


def logits(model: Any, clip: np.ndarray) -> np.ndarray:
    return cpu_session(model.SerializeToString()).run(["logits"], {"clip": clip})[0]


def copied(model: Any) -> Any:
    copy = onnx.ModelProto()
    copy.CopyFrom(model)
    return copy


class TestEqualised:
    @pytest.mark.parametrize("activation", ["Relu", "Clip"])
    def test_float_does_not_notice(self, activation: str) -> None:
        model, seen = separable(activation), clips(4)
        made = copied(model)
        assert equalise(made, seen) == 1
        for clip in seen:
            np.testing.assert_allclose(
                logits(made, clip), logits(model, clip), rtol=1e-4, atol=1e-4
            )

    def test_a_relu_has_no_ceiling_in_other_pictures_either(self) -> None:
        model = separable("Relu")
        made = copied(model)
        equalise(made, clips(4))
        loud = 10 * clips(1, seed=1)[0]
        np.testing.assert_allclose(logits(made, loud), logits(model, loud), rtol=1e-4, atol=1e-3)

    @pytest.mark.parametrize(("activation", "ceiling"), [("Relu", None), ("Clip", 6 / 1.2)])
    def test_channels_are_equally_loud(self, activation: str, ceiling: float | None) -> None:
        model, seen = separable(activation), clips(4)
        equalise(model, seen)
        model.graph.output.add().name = "b"
        session = cpu_session(model.SerializeToString())
        found = [session.run(["b"], {"clip": clip})[0].max(axis=(0, 2, 3)) for clip in seen]
        top = np.max(found, axis=0)
        raised = top[1:]  # the loudest may stay as it is
        np.testing.assert_allclose(raised, ceiling or top.max(), rtol=1e-3)

    def test_what_a_user_reads_stays(self) -> None:
        model = separable("Relu", is_read_twice=True)
        before = model.SerializeToString()
        assert equalise(model, clips(2)) == 0
        assert model.SerializeToString() == before

    def test_int8_gains(self, tmp_path, monkeypatch) -> None:
        """In the distance of the scores from those of float."""
        model, seen = separable("Relu", quietest=0.005), clips(6)
        with_it = Quantizer(copied(model), (), seen[:3], seen[3:], tmp_path).build(7)
        monkeypatch.setattr("vidparse.export.quantizer.equalise", lambda *_: 0)
        without = Quantizer(copied(model), (), seen[:3], seen[3:], tmp_path).build(7)

        def apart(made: Any) -> float:
            moved = [logits(made, clip) - logits(model, clip) for clip in seen[3:]]
            return float(np.linalg.norm(moved))

        assert apart(with_it) < 0.7 * apart(without)


def residual(*, reader: str = "Conv", shared: bool = False) -> Any:
    """clip (3) -> first (8) -> inner (8), ReLU, outer (8) + first -> last (4).

    reader: what reads the first map beside the sum. shared: inner and outer have the same weights.
    """
    rng = np.random.default_rng(0)
    loudness = np.geomspace(1, 0.01, CHANNELS)[:, None, None, None]
    parts = {
        "first": rng.standard_normal((CHANNELS, 3, 1, 1)) * loudness,
        "inner": rng.standard_normal((CHANNELS, CHANNELS, 1, 1)),
        "outer": rng.standard_normal((CHANNELS, CHANNELS, 3, 3)) * loudness / 10,
        "last": rng.standard_normal((4, CHANNELS, 3, 3)),
    }
    tensors = []
    for name, weights in parts.items():
        bias = rng.standard_normal(len(weights)) * weights.std(axis=(1, 2, 3))
        tensors.append(numpy_helper.from_array(weights.astype(np.float32), f"{name}.weight"))
        tensors.append(numpy_helper.from_array(bias.astype(np.float32), f"{name}.bias"))

    def conv(name: str, given: str, made: str, **facts: Any) -> Any:
        weights = "outer" if shared and name == "inner" else name
        inputs = [given, f"{weights}.weight", f"{weights}.bias"]
        return helper.make_node("Conv", inputs, [made], name=name, **facts)

    wide = {"pads": [1, 1, 1, 1]}
    nodes = [
        conv("first", "clip", "a"),
        conv("inner", "a", "b", **(wide if shared else {}))
        if reader == "Conv"
        else helper.make_node(reader, ["a"], ["b"], name="inner"),
        helper.make_node("Relu", ["b"], ["c"], name="act"),
        conv("outer", "c", "d", **wide),
        helper.make_node("Add", ["a", "d"], ["e"], name="sum"),
        conv("last", "e", "logits", **wide),
    ]
    ends = [
        helper.make_tensor_value_info(name, TensorProto.FLOAT, [1, count, "height", "width"])
        for name, count in (("clip", 3), ("logits", 4))
    ]
    graph = helper.make_graph(nodes, "residual", ends[:1], ends[1:], tensors)
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=9)


def loudest(model: Any, seen: list[np.ndarray], names: list[str]) -> np.ndarray:
    """The greatest magnitude of each channel in any of these maps."""
    watched = copied(model)
    for name in names:
        watched.graph.output.add().name = name
    session = cpu_session(watched.SerializeToString())
    found = np.zeros(CHANNELS)
    for clip in seen:
        for one in session.run(names, {"clip": clip}):
            found = np.maximum(found, np.abs(one).max(axis=(0, 2, 3)))
    return found


class TestEqualisedSums:
    def test_float_does_not_notice(self) -> None:
        model = residual()
        made = copied(model)
        assert equalise_sums(made, clips(4)) == 1
        for clip in clips(2, seed=1):
            np.testing.assert_allclose(
                logits(made, clip), logits(model, clip), rtol=1e-4, atol=1e-4
            )

    def test_channels_are_nearer_by_the_root(self) -> None:
        model, seen, stage = residual(), clips(4), ["a", "d", "e"]
        before = loudest(model, seen, stage)
        equalise_sums(model, seen)
        np.testing.assert_allclose(
            loudest(model, seen, stage), np.sqrt(before * before.max()), rtol=1e-3
        )

    @pytest.mark.parametrize("facts", [{"reader": "Sigmoid"}, {"shared": True}])
    def test_what_else_would_notice_is_left(self, facts: dict[str, Any]) -> None:
        model = residual(**facts)
        before = model.SerializeToString()
        assert equalise_sums(model, clips(2)) == 0
        assert model.SerializeToString() == before

    def test_what_a_user_reads_stays(self) -> None:
        model = residual()
        model.graph.output.add().name = "d"
        assert equalise_sums(model, clips(2)) == 0


class TestBiases:
    def test_make_up_for_the_rounding_of_weights(self, tmp_path, monkeypatch) -> None:
        """The mean of each class is nearer to that in float."""
        model, seen = separable("Relu"), clips(6)
        work = Quantizer(model, (), seen[:3], seen[3:], tmp_path)
        corrected = work.build(7)
        monkeypatch.setattr("vidparse.export.quantizer.correct_biases", lambda *_: 0)
        plain = work.build(7)

        def apart(made: Any) -> float:
            moved = [logits(made, clip) - logits(model, clip) for clip in seen[:3]]
            return float(np.abs(np.mean(moved, axis=(0, 1, 3, 4))).mean())

        assert apart(corrected) < 0.6 * apart(plain)

    def test_are_those_of_the_convolutions_whose_inputs_are_known(self, tmp_path) -> None:
        model, seen = separable("Relu"), clips(4)
        made = Quantizer(model, (), seen[:2], seen[2:], tmp_path).build(7)
        means = input_means(model, seen)
        assert {name: mean.shape for name, mean in means.items()} == {"b": (8,), "c": (8,)}
        assert correct_biases(made, model, {}) == 0
        assert correct_biases(made, model, means) == 2
