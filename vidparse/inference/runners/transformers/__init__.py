"""Checkpoints of Hugging Face transformers as networks of vidparse."""

from vidparse.inference.runners.transformers.checkpoint import read_checkpoint
from vidparse.inference.runners.transformers.runner import TransformersRunner

__all__ = ["TransformersRunner", "read_checkpoint"]
