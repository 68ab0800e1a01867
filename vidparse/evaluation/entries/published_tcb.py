"""TCB as its published test code runs it: with later frames, the backbone on every support.

Frames t + 3, t + 6 and t + 9 where the video has them all, else those before. `segment` cannot
look ahead; this is for comparing with published scores.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from itertools import tee

import numpy as np

from vidparse.data import Dataset, FrameRecord, Video
from vidparse.errors import InputError, UsageError
from vidparse.evaluation.entries.entry import InputFrame, VideoFrames, stamp_of
from vidparse.evaluation.entries.model import ModelEntry, predictions_of
from vidparse.hub import resolve
from vidparse.image import Rgb
from vidparse.inference import Runner, Scores, Session
from vidparse.inference.preprocess import to_clip
from vidparse.inference.runners import TorchRunner
from vidparse.maps import Prediction
from vidparse.models.checkpoint import read_description

SUPPORTS = ("past", "official")


def check_published(name: str, *, backend: str, stabilize: bool) -> None:
    """Raises: UsageError: this cannot be run as the published code of TCB does."""
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


class PublishedTcb(Runner):
    """A TCB network that sees each frame of a video with the published supports.

    Inputs are kept of as many frames as the supports lie apart.

    Args:
        runner: the network.
        frames: of the video, all of them.
        wanted: indices of the frames that clips will be of, in order.
        load_input: network input float32 (1, 3, h, w) of the frame with this index.
    """

    def __init__(
        self,
        runner: TorchRunner,
        frames: Sequence[FrameRecord],
        wanted: Iterator[int],
        load_input: Callable[[int], np.ndarray],
    ) -> None:
        self.description, self.engine = runner.description, runner.engine
        self.backend, self.device, self.precision = runner.backend, runner.device, runner.precision
        self._runner, self._frames, self._wanted, self._load = runner, frames, wanted, load_input
        self.inputs: dict[int, np.ndarray] = {}  # by index
        self._begun = False

    def answer(self, clip: np.ndarray, size_hw: tuple[int, int] | None = None) -> Scores:
        index = next(self._wanted)
        if not self._begun and index:  # a memory begins with the first frame, wanted or not
            self._scores(0, self._input(0))
        self._begun = True
        return Scores(self._scores(index, clip[0])[None])

    def reset(self) -> None:
        self._runner.reset()
        self._begun = False

    def _scores(self, index: int, target: np.ndarray) -> np.ndarray:
        """float32 (K, h, w) of a frame with this input, and its supports."""
        supports = self._runner.published_supports(index, len(self._frames))
        reach = max(abs(i - index) for i in supports)
        for i in [i for i in self.inputs if abs(i - index) > reach]:
            del self.inputs[i]
        self.inputs[index] = target
        inputs = [self._input(i) for i in (*supports, index)]
        for i, one in zip(supports, inputs, strict=False):
            if one.shape != target.shape:
                raise InputError(
                    f"{self._frames[i]}: differs in size from {self._frames[index]}; "
                    "check the data folder"
                )
        return self._runner.run_published(np.concatenate(inputs)[None])

    def _input(self, index: int) -> np.ndarray:
        if index not in self.inputs:
            self.inputs[index] = self._load(index)
        return self.inputs[index]


class PublishedTcbEntry:
    """Predictions of a TCB network by the published scheme.

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
        self._runner, self._dataset, self._size = runner, dataset, size
        self._model = ModelEntry(name, runner, size=size)
        self.detail = f"{self._model.detail}, official supports"
        self.official: PublishedTcb | None = None  # the runner of the video under way

    def check(self, dataset: Dataset, videos: Sequence[VideoFrames]) -> None:
        self._model.check(dataset, videos)
        self.notes = self._model.notes

    def fingerprint(self, video: Video) -> str:
        stamps = [stamp_of(frame.image) for frame in video.frames if frame.image]
        return " ".join([self._model.fingerprint(video), *stamps])

    def answers(self, video: Video, frames: Iterable[InputFrame]) -> Iterator[Prediction]:
        wanted, again = tee(frames)
        indices = (frame.index for frame, _ in again)
        facts = self._runner.description.preprocess

        def load_input(index: int) -> np.ndarray:
            image = Rgb(self._dataset.load_image(video.frames[index]))
            return to_clip(image, session.input_size(image.size_hw), facts)

        self.official = PublishedTcb(self._runner, video.frames, indices, load_input)
        session = Session(self.official, size=self._size, cut=None)
        return predictions_of(session, wanted)

    def hint_for_offset(self, offset: int) -> str:
        return self._model.hint_for_offset(offset)
