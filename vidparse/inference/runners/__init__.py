"""Runners: a network on a device, whatever the framework."""

from vidparse.inference.runners.ort import OnnxRunner
from vidparse.inference.runners.pytorch import TorchRunner
from vidparse.inference.runners.runner import PRECISIONS, Runner

__all__ = ["PRECISIONS", "OnnxRunner", "Runner", "TorchRunner"]
