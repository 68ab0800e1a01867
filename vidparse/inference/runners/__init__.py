"""Runners: a network on a device, whatever the framework. A new one is a class and a line here."""

from __future__ import annotations

from typing import TYPE_CHECKING

from vidparse.tables import Table, public_member

if TYPE_CHECKING:
    from vidparse.inference.runners.openvino import OpenVinoRunner, has_bf16, has_openvino
    from vidparse.inference.runners.ort import OnnxRunner
    from vidparse.inference.runners.pytorch import TorchRunner
    from vidparse.inference.runners.runner import Runner, engine_and_reason, stored_precision
    from vidparse.inference.runners.transformers import TransformersRunner

RUNNERS: Table[type[Runner]] = Table(
    {
        "torch": "vidparse.inference.runners.pytorch:TorchRunner",
        "onnx": "vidparse.inference.runners.ort:OnnxRunner",
        "openvino": "vidparse.inference.runners.openvino:OpenVinoRunner",
        "transformers": "vidparse.inference.runners.transformers:TransformersRunner",
    }
)
# Public name -> module; loaded on first use.
_PUBLIC = {
    "OnnxRunner": "vidparse.inference.runners.ort",
    "OpenVinoRunner": "vidparse.inference.runners.openvino",
    "Runner": "vidparse.inference.runners.runner",
    "TorchRunner": "vidparse.inference.runners.pytorch",
    "TransformersRunner": "vidparse.inference.runners.transformers",
    "engine_and_reason": "vidparse.inference.runners.runner",
    "has_bf16": "vidparse.inference.runners.openvino",
    "has_openvino": "vidparse.inference.runners.openvino",
    "stored_precision": "vidparse.inference.runners.runner",
}

__all__ = [
    "RUNNERS",
    "OnnxRunner",
    "OpenVinoRunner",
    "Runner",
    "TorchRunner",
    "TransformersRunner",
    "backends",
    "engine_and_reason",
    "has_bf16",
    "has_openvino",
    "stored_precision",
]


def backends() -> tuple[str, ...]:
    """Values of `--backend`. The runner of transformers has none: it is torch's, too."""
    return ("auto", *(name for name in RUNNERS if name != "transformers"))


def __getattr__(name: str) -> object:
    return public_member(_PUBLIC, __name__, name)
