"""A model as an entry: the session of `segment`, or TCB as its published test code runs it.

That code looks ahead: it blends with frames t + 3, t + 6 and t + 9 where the video has them all,
else with those before, the backbone on every support. `segment` cannot; this is for comparing with
published scores.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import replace
from fractions import Fraction
from itertools import tee

import numpy as np

from vidparse.data import Dataset, FrameRecord, Video
from vidparse.errors import InputError, UsageError, counted
from vidparse.evaluation.entries.entry import InputFrame, VideoFrames, stamp_of
from vidparse.frame import Frame
from vidparse.hub import resolve
from vidparse.image import Rgb
from vidparse.inference import Merging, Runner, Scores, Session
from vidparse.inference.memory_clock import FORGETS_AFTER
from vidparse.inference.preprocess import to_clip
from vidparse.inference.runners import TorchRunner
from vidparse.labels import Labels, class_ids_in
from vidparse.maps import Prediction, SegmentMap
from vidparse.models.checkpoint import read_description
from vidparse.models.description import SEMANTIC, Description

_USUAL_INTERVAL_S = 0.1  # of video that networks with a memory are meant for, or a shorter one
_MUCH_FURTHER = 3  # times as far apart as in training
_NO_VIDEO_S = 86400.0  # from picture to picture where they are none, so that no memory lasts
_FINEST = 10**6  # parts of a second that intervals are taken to
SUPPORTS = ("past", "official")


class ModelEntry:
    """Predictions of a network, brought back to the size of the frames as `segment` does.

    Args:
        name: for table heads.
        runner: the network on its device.
        size, stabilize, keyframes, window, linker, merging: as for :class:`Session`.
        labels: the label set of the answers, whose classes those of the network are parts of; its
            own if not given.

    Raises:
        UsageError: its classes are not known as parts of those.
    """

    needs_images = True
    notes: tuple[str, ...] = ()
    _pace: tuple[str, ...] = ()

    def __init__(
        self,
        name: str,
        runner: Runner,
        *,
        size: int | tuple[int, int] | None = None,
        stabilize: bool = False,
        keyframes: int | str | None = None,
        window: int | None = None,
        linker: str | None = None,
        merging: Merging | None = None,
        labels: Labels | None = None,
    ) -> None:
        self.name = name
        self._labels = labels or runner.description.labels
        self._table = _table(name, runner, self._labels)

        self._runner, self._size = runner, size
        self._session = Session(
            runner,
            size=size,
            stabilize=stabilize,
            keyframes=keyframes,
            window=window,
            linker=linker,
            merging=merging,
        )

        # Name the settings that differ from the model's own: they are part of the key of results.
        settings = {
            "key frames": keyframes,
            "window": window,
            "linker": linker,
            "merging": merging,
        }
        self._settings = "".join(
            f" {name} {one}" for name, one in settings.items() if one is not None
        )
        facts = runner.description
        self.is_panoptic = facts.task != SEMANTIC
        self._looks_back = runner.remembers or stabilize

        self.detail = (
            f"model {name}, sha256 {facts.sha256[:12]}, {runner.backend} {runner.precision} "
            f"on {runner.device}{', stabilized' if stabilize else ''}"
            f"{'' if keyframes is None else f', key frames {keyframes}'}"
            f"{'' if self._table is None else f', as {self._labels.name}'}"
        )

    def check(self, dataset: Dataset, videos: Sequence[VideoFrames]) -> None:
        labels = self._labels
        if labels.classes != dataset.labels.classes:
            raise UsageError(
                f"model {self.name}: its labels '{labels.name}' are not those of {dataset.name} "
                f"({labels.difference(dataset.labels)}); {_way_out(labels, dataset.labels)}"
            )
        if self._looks_back:
            self._pace = _pace_notes(self.name, self._runner.description, videos)
            self.notes = self._pace

    def fingerprint(self, video: Video) -> str:
        facts = self._runner.description
        task = "" if facts.task == SEMANTIC else f" {facts.task}"
        how = f"{self._runner.backend} {self._runner.precision} {self._size}{self._settings}{task}"
        pace = "" if facts.memory_interval_s is None else f" {video.interval_s} s"
        return f"{facts.sha256} {how}{pace}"

    def answers(self, video: Video, frames: Iterable[InputFrame]) -> Iterator[Prediction]:
        for prediction in predictions_of(self._session, frames, interval_s=video.interval_s):
            yield prediction if self._table is None else self._regrouped(prediction, self._table)
        keys = self._session.key_frames
        if keys is not None:
            done = f"{self.name}: {keys.keys} of {counted(keys.frames, 'frame')} were key frames."
            self.notes = (*self._pace, done)

    def _regrouped(self, prediction: Prediction, table: np.ndarray) -> Prediction:
        ids = np.take(table, prediction.ids)
        return replace(prediction, map=SegmentMap(ids), labels=self._labels)

    def hint_for_offset(self, offset: int) -> str:
        return "Convert the model again with the classes in the order of the data set's."


def _table(name: str, runner: Runner, labels: Labels) -> np.ndarray | None:
    """Ids of other labels by the ids that a network answers with; None where they are the same."""
    own = runner.description.labels
    class_ids = class_ids_in(own, labels)
    if class_ids is None:
        return None
    if runner.description.task != SEMANTIC:
        raise UsageError(f"{name}: is panoptic, and --labels is for classes; use --task semantic")
    table = np.full(own.void + 1, labels.void, labels.dtype)
    table[: len(class_ids)] = class_ids
    return table


def _way_out(own: Labels, truth: Labels) -> str:
    """The advice for a model whose classes are not those of the data."""
    for fine, coarse in ((own, truth), (truth, own)):
        try:
            class_ids_in(fine, coarse)
        except UsageError:
            continue
        return f"score in the coarser ones with --labels {coarse.name}"
    return "choose a model trained for it"


def predictions_of(
    session: Session, frames: Iterable[InputFrame], *, interval_s: float | None = None
) -> Iterator[Prediction]:
    """The predictions of a session for frames of one video that come with their images.

    Args:
        interval_s: from frame to frame; None where not known.
    """
    return (prediction for _, prediction in session.run(_frame(*one, interval_s) for one in frames))


def _frame(record: FrameRecord, image: np.ndarray | None, interval_s: float | None) -> Frame:
    assert image is not None  # needs_images
    index, picture = record.index, Rgb(image)
    if not interval_s:
        return Frame(index, index, picture, name=record.stem, is_timed=False)
    base = Fraction(min(interval_s, _NO_VIDEO_S)).limit_denominator(_FINEST)
    return Frame(index, index, picture, name=record.stem, time_base=base)


def _pace_notes(name: str, facts: Description, videos: Sequence[VideoFrames]) -> tuple[str, ...]:
    """A note if the frames lie much further apart than those that a memory learnt on."""
    # Compare with the pace that the memory was trained at, where the file has it.
    stored = facts.training.get("frame_interval_s")
    learnt_s = facts.memory_interval_s or _USUAL_INTERVAL_S
    if facts.memory_interval_s is None and isinstance(stored, int | float) and stored > 0:
        learnt_s = float(stored)
    interval_s = _interval_s(videos)
    if interval_s is None or interval_s <= _MUCH_FURTHER * learnt_s:
        return ()

    forgets = interval_s > FORGETS_AFTER * (facts.memory_interval_s or math.inf)
    far = "are no video" if math.isinf(interval_s) else f"lie {interval_s:.3g} s apart"
    return (
        f"{name} blends each frame with those before, and the frames here {far}; it is for video "
        f"with a frame every {learnt_s:.2g} s. "
        + (
            "So far apart it answers each by itself."
            if forgets
            else "What it remembers may be too old to help: compare with a model without a memory."
        ),
    )


def _interval_s(videos: Sequence[VideoFrames]) -> float | None:
    """Seconds between the frames that are fed, the median over videos; None if unknown."""
    known = []
    for video, frames in videos:
        steps = np.diff([frame.index for frame in frames])
        if video.interval_s is not None and len(steps):
            known.append(video.interval_s * float(np.median(steps)))
    return float(np.median(known)) if known else None


def check_published(name: str, *, backend: str, changed_by: str) -> None:
    """Refuse what cannot be run as the published code of TCB does.

    Args:
        changed_by: the option that changes scores, if one is given.

    Raises:
        UsageError: it cannot.
    """
    if backend not in ("auto", "torch"):
        raise UsageError(f"--support official: runs in PyTorch; leave out --backend {backend}")
    if changed_by:
        raise UsageError(f"--support official: the published code has no {changed_by}; drop one")
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

    remembers = True

    def __init__(
        self,
        runner: TorchRunner,
        frames: Sequence[FrameRecord],
        wanted: Iterator[int],
        load_input: Callable[[int], np.ndarray],
    ) -> None:
        # Give the published memory every frame, whatever their pace.
        self.description = replace(runner.description, memory_interval_s=None)
        self.engine = runner.engine
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
        # Keep inputs within reach of this frame, so that memory stays bounded.
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
