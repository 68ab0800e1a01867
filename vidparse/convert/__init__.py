"""Checkpoints of other people's code in, checkpoints of ours out."""

from vidparse.convert.conversion import SOURCES, CodeBase, Conversion, convert
from vidparse.convert.starts import by_our_names
from vidparse.convert.tensors import read_tensors

__all__ = ["SOURCES", "CodeBase", "Conversion", "by_our_names", "convert", "read_tensors"]
