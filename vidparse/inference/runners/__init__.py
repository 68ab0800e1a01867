"""Runners: a network on a device, whatever the framework."""

from vidparse.inference.runners.openvino import (
    OpenVinoRunner,
    has_bf16,
    has_openvino,
    import_openvino,
)
from vidparse.inference.runners.ort import OnnxRunner
from vidparse.inference.runners.pytorch import TorchRunner
from vidparse.inference.runners.runner import (
    PRECISIONS,
    DeviceArgmax,
    Runner,
    engine_and_reason,
    stored_precision,
)

__all__ = [
    "PRECISIONS",
    "DeviceArgmax",
    "OnnxRunner",
    "OpenVinoRunner",
    "Runner",
    "TorchRunner",
    "engine_and_reason",
    "has_bf16",
    "has_openvino",
    "import_openvino",
    "stored_precision",
]
