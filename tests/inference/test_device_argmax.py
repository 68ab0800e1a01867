"""Where the device brings scores to full size itself, the ids are those of the usual way."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from vidparse.frame import Frame
from vidparse.image import Rgb
from vidparse.inference import Session, load_model, run
from vidparse.inference.runners import TorchRunner
from vidparse.inference.runners.pytorch import upsampled_argmax
from vidparse.inference.upsample import upsample_argmax
from vidparse.maps import Prediction
from vidparse.video import open_video


@pytest.mark.parametrize("classes", [2, 11, 16, 17, 124, 300])
def test_argmax_in_parts_equals_the_argmax_of_all(classes: int) -> None:
    logits = torch.randn(2, classes, 9, 13, generator=torch.Generator().manual_seed(classes))
    ids = upsampled_argmax(logits, (50, 71)).numpy()
    dtype = np.uint8 if classes <= 255 else np.uint16
    assert ids.dtype == dtype and ids.shape == (2, 50, 71)
    usual = np.stack([upsample_argmax(one.numpy(), (50, 71), dtype=dtype) for one in logits])
    assert (ids != usual).mean() < 0.001  # ties of rounding


def test_session_uses_it_and_answers_the_same(tiny_weights: Path) -> None:
    rng = np.random.default_rng(0)
    blocks = np.repeat(np.repeat(rng.integers(0, 255, (8, 12, 3), np.uint8), 12, 0), 12, 1)
    frame = Frame(0, 0, Rgb(blocks))
    runner = load_model(str(tiny_weights), backend="torch", device="cpu", threads=1)
    assert isinstance(runner, TorchRunner) and not runner.argmax_on_device
    ((_, usual),) = Session(runner).run([frame])
    runner.argmax_on_device = True  # as on a GPU
    ((_, found),) = Session(runner).run([frame])
    assert found.ids.dtype == usual.ids.dtype
    assert (found.ids != usual.ids).mean() < 0.001
    ((_, kept),) = Session(runner, classes=(3,)).run([frame])
    assert set(np.unique(kept.ids)) <= {3, 255}
    ((_, steady),) = Session(runner, stabilize=True).run([frame])  # blending needs the scores
    assert (steady.ids != usual.ids).mean() < 0.001


@pytest.mark.parametrize("overlap", [True, False])
@pytest.mark.parametrize("frames", [8, 9])
def test_frames_of_a_file_go_through_in_groups(
    clip, tiny_weights: Path, frames: int, overlap: bool
) -> None:
    """Every frame comes out once, in order, with the answer it has alone."""
    path = clip("x.mp4", frames=frames)
    runner = load_model(str(tiny_weights), backend="torch", device="cpu", threads=1)
    assert isinstance(runner, TorchRunner) and runner.batch == 1
    alone = predictions(path, runner, overlap)
    runner.argmax_on_device, runner.batch = True, 4  # as on a GPU
    sizes: list[int] = []
    answer = runner.answer
    runner.answer = lambda clip, size_hw: sizes.append(clip.shape[1]) or answer(clip, size_hw)  # type: ignore[assignment,func-returns-value]
    together = predictions(path, runner, overlap)
    assert sizes == [4, 4, 1][: -(-frames // 4)]
    live = Session(runner).run(open_video(str(path)))
    assert len(list(live)) == frames and sizes[-frames:] == [1] * frames
    assert [p.index for p in together] == [p.index for p in alone] == list(range(frames))
    for one, other in zip(together, alone, strict=True):
        assert (one.ids != other.ids).mean() < 0.001


def predictions(path: Path, runner: TorchRunner, overlap: bool) -> list[Prediction]:
    kept: list[Prediction] = []

    class Keep:
        def open(self, info: object, labels: object) -> None: ...
        def write(self, frame: Frame, prediction: Prediction) -> None:
            assert frame.index == prediction.index
            kept.append(prediction)

        def close(self, **ending: object) -> None: ...

    run(open_video(str(path)), Session(runner), [Keep()], overlap=overlap)
    return kept
