"""Runners: a network on a device, whatever the framework. A new one is a class and a line here."""

from vidparse.inference.runners.openvino import OpenVinoRunner, has_bf16, has_openvino
from vidparse.inference.runners.ort import OnnxRunner
from vidparse.inference.runners.pytorch import TorchRunner
from vidparse.inference.runners.runner import (
    PRECISIONS,
    Runner,
    engine_and_reason,
    stored_precision,
)
from vidparse.inference.runners.transformers import TransformersRunner

RUNNERS: dict[str, type[Runner]] = {
    "torch": TorchRunner,
    "onnx": OnnxRunner,
    "openvino": OpenVinoRunner,
    "transformers": TransformersRunner,
}

__all__ = [
    "PRECISIONS",
    "RUNNERS",
    "OnnxRunner",
    "OpenVinoRunner",
    "Runner",
    "TorchRunner",
    "TransformersRunner",
    "engine_and_reason",
    "has_bf16",
    "has_openvino",
    "stored_precision",
]
