"""Where the device brings scores to full size itself, the ids are those of the usual way."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from vidparse.frame import Frame
from vidparse.image import Rgb
from vidparse.inference import Session, load_model
from vidparse.inference.runners import DeviceArgmax
from vidparse.inference.runners.pytorch import upsampled_argmax
from vidparse.inference.upsample import upsample_argmax


@pytest.mark.parametrize("classes", [2, 11, 16, 17, 124, 300])
def test_argmax_in_parts_equals_the_argmax_of_all(classes: int) -> None:
    logits = torch.randn(1, classes, 9, 13, generator=torch.Generator().manual_seed(classes))
    ids = upsampled_argmax(logits, (50, 71)).numpy()
    dtype = np.uint8 if classes <= 255 else np.uint16
    assert ids.dtype == dtype and ids.shape == (50, 71)
    usual = upsample_argmax(logits[0].numpy(), (50, 71), dtype=dtype)
    assert (ids != usual).mean() < 0.001  # ties of rounding


def test_session_uses_it_and_says_the_same(tiny_weights: Path) -> None:
    rng = np.random.default_rng(0)
    blocks = np.repeat(np.repeat(rng.integers(0, 255, (8, 12, 3), np.uint8), 12, 0), 12, 1)
    frame = Frame(0, 0, Rgb(blocks))
    runner = load_model(str(tiny_weights), backend="torch", device="cpu", threads=1)
    assert isinstance(runner, DeviceArgmax) and not runner.argmax_on_device
    (usual,) = Session(runner).step(frame)
    runner.argmax_on_device = True  # as on a GPU
    (found,) = Session(runner).step(frame)
    assert found.ids.dtype == usual.ids.dtype
    assert (found.ids != usual.ids).mean() < 0.001
    (kept,) = Session(runner, classes=(3,)).step(frame)
    assert set(np.unique(kept.ids)) <= {3, 255}
    (steady,) = Session(runner, stabilize=True).step(frame)  # blending needs the scores
    assert (steady.ids != usual.ids).mean() < 0.001
