"""The texts of ONNX files: as the library of that name reads them, or an error with the reason."""

from __future__ import annotations

from pathlib import Path

import onnx
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from onnx import TensorProto, helper

from vidparse.models.onnx_file import onnx_metadata

WEIGHTS = sorted((Path(__file__).parents[2] / "weights").glob("*.onnx"))


def model_with(table: dict[str, str], *, nodes: int = 1) -> onnx.ModelProto:
    """An identity; fields of all forms stand around its graph."""
    value = helper.make_tensor_value_info("x", TensorProto.FLOAT, [1])
    node = helper.make_node("Identity", ["x"], ["y"])
    out = helper.make_tensor_value_info("y", TensorProto.FLOAT, [1])
    model = helper.make_model(helper.make_graph([node] * nodes, "toy", [value], [out]))
    model.model_version = -1  # the longest number
    helper.set_model_props(model, table)
    return model


@pytest.mark.parametrize("path", WEIGHTS, ids=lambda path: path.name)
def test_our_weights(path: Path) -> None:
    known = onnx.load(str(path), load_external_data=False).metadata_props
    assert onnx_metadata(path) == {entry.key: entry.value for entry in known}


@settings(max_examples=50, deadline=None)
@given(st.dictionaries(st.text(max_size=300), st.text(max_size=300), max_size=5))
def test_any_table(tmp_path_factory: pytest.TempPathFactory, table: dict[str, str]) -> None:
    path = tmp_path_factory.mktemp("table") / "x.onnx"
    path.write_bytes(model_with(table).SerializeToString())
    assert onnx_metadata(path) == table


def test_a_file_that_was_cut_anywhere(tmp_path: Path) -> None:
    whole = model_with({"a": "b" * 200}).SerializeToString()
    path = tmp_path / "x.onnx"
    known = {}
    for size in range(len(whole)):
        path.write_bytes(whole[:size])
        try:
            known[size] = onnx_metadata(path)
        except ValueError:
            continue
    assert all(table == {} for table in known.values()), "cut between two fields"


@settings(max_examples=300, deadline=None)
@given(st.binary(max_size=80))
def test_any_bytes_are_a_table_or_an_error(
    tmp_path_factory: pytest.TempPathFactory, data: bytes
) -> None:
    path = tmp_path_factory.mktemp("bytes") / "x.onnx"
    path.write_bytes(data)
    try:
        assert isinstance(onnx_metadata(path), dict)
    except ValueError as error:
        assert str(error)


def test_a_graph_without_nodes_is_none(tmp_path: Path) -> None:
    path = tmp_path / "x.onnx"
    path.write_bytes(model_with({}, nodes=0).SerializeToString())
    with pytest.raises(ValueError, match="holds no graph"):
        onnx_metadata(path)
