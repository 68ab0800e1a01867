"""The description inside an ONNX file, read without running it."""

from __future__ import annotations

from pathlib import Path

from vidparse.models.checkpoint import file_sha256, unreadable
from vidparse.models.description import Description, describe


def read_onnx_description(path: Path) -> Description:
    """Description of an ONNX file of vidparse.

    Raises:
        ModelError: damaged, or not ours.
    """
    import onnx
    from google.protobuf.message import DecodeError

    try:
        model = onnx.load(str(path), load_external_data=False)
    except (DecodeError, OSError) as error:
        raise unreadable(path, error, what="a readable ONNX file") from error
    if not model.graph.node:
        raise unreadable(path, "it holds no graph", what="a readable ONNX file")
    metadata = {entry.key: entry.value for entry in model.metadata_props}
    return describe(path, metadata, file_sha256(path))
