"""The same as segment.cpp in Python: an ONNX file of vidparse and its state, by ONNX Runtime.

python examples/state_in_cpp/state.py MODEL.onnx WIDTHxHEIGHT < frames.rgb > classes.gray
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO

import numpy as np
import onnxruntime as ort

MEAN = np.array((0.485, 0.456, 0.406), np.float32)  # of RGB / 255
DEVIATION = np.array((0.229, 0.224, 0.225), np.float32)


def class_ids(model: Path, frames: Iterator[np.ndarray]) -> Iterator[np.ndarray]:
    """Class of every position, uint8 (h, w), of frames uint8 (H, W, 3) of one video."""
    session = ort.InferenceSession(str(model), providers=["CPUExecutionProvider"])
    state = {
        one.name: np.zeros(one.shape, np.float32)  # zeros: nothing has been seen
        for one in session.get_inputs()
        if one.name != "clip"
    }
    for frame in frames:
        clip = ((frame / np.float32(255) - MEAN) / DEVIATION).transpose(2, 0, 1)[None]
        wanted = ["logits", *(f"{name}_next" for name in state)]
        logits, *after = session.run(wanted, {"clip": clip, **state})

        # What comes out is what goes in with the next frame.
        state = dict(zip(state, after, strict=True))
        yield logits[0].argmax(0).astype(np.uint8)


def raw_frames(stream: BinaryIO, width: int, height: int) -> Iterator[np.ndarray]:
    while len(data := stream.read(width * height * 3)) == width * height * 3:
        yield np.frombuffer(data, np.uint8).reshape(height, width, 3)


if __name__ == "__main__":
    if len(sys.argv) != 3:
        sys.exit(f"usage: {sys.argv[0]} MODEL.onnx WIDTHxHEIGHT < frames.rgb > classes.gray")
    width, height = map(int, sys.argv[2].split("x"))
    for ids in class_ids(Path(sys.argv[1]), raw_frames(sys.stdin.buffer, width, height)):
        sys.stdout.buffer.write(ids.tobytes())
