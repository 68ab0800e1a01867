"""TCB as its published test code runs it: with later frames, the backbone on every support.

Frames t + 3, t + 6 and t + 9 where the video has them all, else those before. `segment` can not
look ahead; this is for comparing with published scores.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from vidparse.data import Dataset, FrameRecord, Video
from vidparse.errors import InputError, UsageError
from vidparse.evaluation.entries.entry import Wanted, stamp_of
from vidparse.evaluation.entries.model import ModelEntry
from vidparse.frame import Frame
from vidparse.hub import resolve
from vidparse.image import Rgb
from vidparse.inference import Session
from vidparse.inference.runners import TorchRunner
from vidparse.inference.session import Scored
from vidparse.maps import Prediction
from vidparse.models.checkpoint import read_description

SUPPORTS = ("past", "official")


def check_published(name: str, *, backend: str, stabilize: bool) -> None:
    """Raises: UsageError: this can not be run as the published code of TCB does."""
    if backend not in ("auto", "torch"):
        raise UsageError(f"--support official: runs in PyTorch; leave out --backend {backend}")
    if stabilize:
        raise UsageError("--support official: the published code has no --stabilize; drop one")
    weights = resolve(name).weights
    if weights is None:
        raise UsageError(f"--support official: {name} has no .safetensors weights; give a TCB's")
    from vidparse.models.zoo import MODELS

    arch = read_description(weights).arch
    if arch not in MODELS or not MODELS[arch][1].has_published_form:
        raise UsageError(
            f"--support official: {name} is {arch}, not TCB; choose a TCB or --support past"
        )


class PublishedTcbEntry:
    """Predictions of a TCB network by the published scheme.

    What is kept of a video are the network's inputs of as many frames as its supports lie apart.

    Args:
        name: for table heads.
        runner: a TCB network (see :func:`check_published`).
        dataset: where later frames are read.
        size: as for :class:`Session`.
    """

    needs_images = True
    is_panoptic = False
    notes: tuple[str, ...] = ()

    def __init__(
        self,
        name: str,
        runner: TorchRunner,
        dataset: Dataset,
        *,
        size: int | tuple[int, int] | None = None,
    ) -> None:
        self.name = name
        self._runner, self._dataset = runner, dataset
        self._model = ModelEntry(name, runner, size=size)
        self._session = Session(runner, size=size, cut=None)
        self.detail = f"{self._model.detail}, official supports"
        self._video = Video("", ())
        self._clips: dict[int, np.ndarray] = {}  # index -> float32 (1, 3, h, w)
        self._begun = False

    def check(self, dataset: Dataset, videos: Sequence[Wanted]) -> None:
        self._model.check(dataset, videos)
        self.notes = self._model.notes

    def fingerprint(self, video: Video) -> str:
        stamps = [stamp_of(frame.image) for frame in video.frames if frame.image]
        return " ".join([self._model.fingerprint(video), *stamps])

    def begin(self, video: Video) -> None:
        self._runner.reset()
        self._video, self._begun = video, False
        self._clips.clear()

    def feed(self, frame: FrameRecord, image: np.ndarray | None) -> list[Prediction]:
        assert image is not None  # needs_images
        if not self._begun and frame.index:  # a memory begins with the first frame, asked or not
            self._scores(0)
        self._begun = True
        scores = self._scores(frame.index, image)
        asked = Frame(frame.index, frame.index, Rgb(image), name=frame.stem)
        return [self._session.finish(Scored(asked, scores))]

    def finish(self) -> list[Prediction]:
        return []

    def hint_for_offset(self, offset: int) -> str:
        return self._model.hint_for_offset(offset)

    def _scores(self, index: int, image: np.ndarray | None = None) -> np.ndarray:
        """float32 (K, h, w) of a frame with its supports; its image where it was read already."""
        frames = self._video.frames
        supports = self._runner.published_supports(index, len(frames))
        reach = max(abs(i - index) for i in supports)
        for i in [i for i in self._clips if abs(i - index) > reach]:
            del self._clips[i]
        for i in (*supports, index):
            if i not in self._clips:
                known = image if i == index else None
                rgb = self._dataset.load_image(frames[i]) if known is None else known
                self._clips[i] = self._session.prepare(Frame(i, i, Rgb(rgb))).clip
        clips = [self._clips[i] for i in (*supports, index)]
        for i, clip in zip(supports, clips, strict=False):
            if clip.shape != clips[-1].shape:
                raise InputError(
                    f"{frames[i]}: differs in size from {frames[index]}; check the data folder"
                )
        return self._runner.run_published(np.concatenate(clips))
