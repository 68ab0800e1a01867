"""The path of a frame: three stages, each an iterator of what the one before it yields.

    frames -> prepared -> answered -> finished -> (frame, prediction)

`finished` is `segmented`, which looks at one clip alone, and `linked`, which joins clips in order.
`Session.run` is the three in a row; the pipeline puts thread borders between them. Each stage
begins a new video when it is begun, keeps what it remembers to itself, and closes the stage before
it when it is closed. A stage takes what it remembered after some frame, and goes on from there.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import replace
from fractions import Fraction
from typing import TYPE_CHECKING, Self, TypedDict

import numpy as np

from vidparse.errors import UsageError
from vidparse.frame import Frame
from vidparse.inference.answer import Answer
from vidparse.inference.clips import Answered, Prepared, Segmented, clips_of
from vidparse.inference.finishing import Finisher, FramePredictions, Refine
from vidparse.inference.keyframes import KeyFrameReport, KeyFrames, check_key_frames
from vidparse.inference.linkers import check_linker
from vidparse.inference.looks import Look, looks_at
from vidparse.inference.memory import Answering, Finishing
from vidparse.inference.memory_clock import MemoryClock
from vidparse.inference.panoptic import Linker
from vidparse.inference.preparing import Preparer
from vidparse.inference.repeats import Repeats
from vidparse.inference.runners.runner import Runner
from vidparse.labels import Labels
from vidparse.models.description import SEMANTIC
from vidparse.requests.matte import MatteOptions
from vidparse.requests.model import Merging
from vidparse.requests.option import DEFAULT_CUT, key_frames

if TYPE_CHECKING:
    from vidparse.matting.matter import Matter


class SessionOptions(TypedDict, total=False):
    """Keyword arguments of a :class:`Session`."""

    size: int | tuple[int, int] | None
    classes: tuple[int, ...] | None
    sample_aspect_ratio: Fraction
    cut: float | None
    stabilize: bool
    keyframes: int | str | None
    min_confidence: float | None
    refine: Refine | None
    linker: str | None
    merging: Merging | None
    window: int | None
    matte: MatteOptions | None


def _never() -> bool:
    return False


class Session:
    """Semantic or panoptic segmentation of one video after another.

    Args:
        runner: the network on its device.
        size: short side or exact (h, w) of the network's input; None: what it was trained at.
        classes: only these ids are kept, the rest becomes void; None keeps all.
        sample_aspect_ratio: of the video, so that the network sees undistorted pictures.
        cut: threshold of the :class:`CutDetector` that makes a network with a memory forget at hard
            cuts, and ids of things end there; None: nothing is forgotten within a video.
        stabilize: blend the scores of semantic networks with those of the frames before, along the
            motion (see :class:`Stabilizer`).
        keyframes: run a semantic network that looks at each frame alone at key frames only: every
            so many frames, or "auto" (see :class:`KeyFrames`); None: at every frame.
        min_confidence: probability below which a pixel of a semantic network becomes void; None:
            the greatest score wins, however small.
        refine: see :class:`Refine`; with `min_confidence` only.
        linker: name of the linker of panoptic networks; None: the one that fits their answers.
        merging: how panoptic networks make segments of their masks.
        window: frames of a clip, of networks that take any number; None: the usual one.
        matte: which mattes to make of each prediction; None: none.

    Raises:
        UsageError: no linker has this name, the network takes no such clips, it finds no objects
            to be linked or merged, or its scores cannot be carried from key frames.

    Attributes:
        labels: of the predictions.
        repeated: frames so far, of all videos, that the network was spared.
    """

    def __init__(
        self,
        runner: Runner,
        *,
        size: int | tuple[int, int] | None = None,
        classes: tuple[int, ...] | None = None,
        sample_aspect_ratio: Fraction = Fraction(1),
        cut: float | None = DEFAULT_CUT,
        stabilize: bool = False,
        keyframes: int | str | None = None,
        min_confidence: float | None = None,
        refine: Refine | None = None,
        linker: str | None = None,
        merging: Merging | None = None,
        window: int | None = None,
        matte: MatteOptions | None = None,
    ) -> None:
        self.labels: Labels = runner.labels if refine is None else refine.labels
        self._runner = runner
        self.repeated = 0  # frames so far, of all videos, that the network was spared

        # Refuse options that do not fit the network, before a video is read for them.
        if keyframes is not None:
            check_key_frames(runner, stabilize=stabilize)
        if runner.takes_pixels:
            _check_averaged(stabilize=stabilize, mattes=matte is not None)
        _check_objects(runner, linker, merging)
        runner.view(size, sample_aspect_ratio)
        self._window = runner.clip_length(window)

        self._key_frames: KeyFrames | None = None
        if keyframes is not None:
            self._key_frames = KeyFrames(self._network_answer, key_frames(keyframes))
        is_panoptic = runner.description.task != SEMANTIC
        matter: Matter | None = None
        if matte is not None:
            from vidparse.matting.matter import Matter

            matter = Matter.of(matte, self.labels, is_panoptic=is_panoptic, kept=classes)

        # Look for cuts only where something is remembered across frames.
        self._follows = stabilize or keyframes is not None  # the motion from frame to frame
        remembers = runner.remembers or self._follows or is_panoptic or matter is not None
        self._preparer = Preparer(
            runner,
            size=size,
            sample_aspect_ratio=sample_aspect_ratio,
            cut=cut if remembers or self._window > 1 else None,
            has_green=self._follows,
        )

        # Let a device answer with class ids only where nothing after it needs scores.
        self._needs_scores = self._follows or min_confidence is not None or matter is not None
        self._finisher = Finisher(
            self.labels,
            remembers=runner.remembers,
            keep=classes,
            stabilize=stabilize,
            min_confidence=min_confidence,
            refine=refine,
            linker=linker,
            merging=replace(merging or Merging(), classes=classes),
            matter=matter,
        )

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc: object) -> None:
        self.close()

    def close(self) -> None:
        """Drop the memory of the last video."""
        self._runner.reset()
        self._finisher.linker = None

    def run(self, frames: Iterable[Frame], *, live: bool = True) -> FramePredictions:
        """Every frame of a video with its prediction, in order.

        Args:
            live: give each prediction as soon as the network can have it; False lets frames wait
                for later ones where that is faster.

        Raises:
            whatever `frames` raises, after the predictions of the frames before it.
        """
        return self.finished(self.answered(self.prepared(frames), live=live))

    def input_size(self, size_hw: tuple[int, int]) -> tuple[int, int]:
        """Size (h, w) of the network's input for frames of `size_hw`."""
        return self._preparer.input_size(size_hw)

    @property
    def can_scale(self) -> bool:
        """True where `scale` changes the network's input: networks may see one size only."""
        return self._preparer.can_scale

    @property
    def scale(self) -> float:
        """Of the sides of the network's input, from the next frame on."""
        return self._preparer.scale

    @scale.setter
    def scale(self, scale: float) -> None:
        self._preparer.scale = scale

    @property
    def sees_cuts(self) -> bool:
        """True where each frame is compared with the one before it."""
        return self._preparer.sees_cuts

    @property
    def key_frames(self) -> KeyFrameReport | None:
        """Key frames so far, of all videos; None where the network runs at every frame."""
        return None if self._key_frames is None else self._key_frames.report()

    def clip_frames(self, *, live: bool) -> int:
        """Frames of a clip, where no cut ends it before."""
        # Batch frames only where nobody waits for one, and none needs the one before.
        if live or self._follows:
            return self._window
        return max(self._window, self._runner.batch)

    def prepared(
        self, frames: Iterable[Frame], *, after: Frame | None = None
    ) -> Iterator[Prepared]:
        """First stage: see :meth:`Preparer.prepared`."""
        return self._preparer.prepared(frames, after=after)

    def answered(
        self,
        prepared: Iterable[Prepared],
        *,
        live: bool = True,
        number: int = 0,
        memory: Answering | None = None,
        is_due: Callable[[], bool] = _never,
    ) -> Iterator[Answered]:
        """Second stage: clips through the network.

        A clip is successive frames of one size, one shot and one `number // window`, where frames
        are numbered from 0: where clips begin does not depend on the cuts before. A network with a
        memory gets whole windows from each cut on instead. The network forgets at a cut, and where
        its input changes in size; its memory moves on by its clock.

        Args:
            number: of the first frame, where the frames are a part of a video.
            memory: of the clips before, where the frames go on with a video.
            is_due: called after each clip; true where its answer is to have the memory along.
        """
        runner = self._runner
        most = self.clip_frames(live=live)
        shape: tuple[int, ...] = ()
        keys = self._key_frames
        if keys is not None:
            keys.reset()
        predict = self._network_answer if keys is None else keys.answer
        repeats = Repeats(predict, alone=self._window == 1)  # with a memory nothing repeats
        clock = MemoryClock(runner.description.memory_interval_s)
        if memory is not None:
            shape, runner.state, repeats.state = memory.shape, memory.network, memory.repeated
            clock.state = memory.clock
            if keys is not None:
                keys.state = memory.key

        for clip in clips_of(prepared, most, aligned=not runner.remembers, number=number):
            time_s = clip[0].frame.known_time_s
            begins = clip[0].begins_shot or clip[0].input.shape != shape or clock.forgets(time_s)
            if begins:
                runner.reset()
            runner.holds = not clock.moves(time_s, begins=begins)
            shape = clip[0].input.shape
            begun_s = time.perf_counter()
            try:
                answer, repeated = repeats.answer(clip)
            finally:
                runner.holds = False
            self.repeated += repeated
            if keys is not None:
                keys.count(time.perf_counter() - begun_s)
            yield Answered(
                tuple(one.frame for one in clip),
                answer,
                clip[0].begins_shot,
                tuple(one.green for one in clip),
                repeated,
                self._answering(shape, repeats, clock) if is_due() else None,
                () if runner.description.profile is None else looks_at(answer, number),
            )
            number += len(clip)

    def _answering(self, shape: tuple[int, ...], repeats: Repeats, clock: MemoryClock) -> Answering:
        runner, keys = self._runner, self._key_frames
        repeated = None if runner.remembers else repeats.state
        key = None if keys is None else keys.state
        return Answering(runner.state, shape, repeated, key, clock.state)

    def finished(
        self, answered: Iterable[Answered], *, memory: Finishing | None = None
    ) -> FramePredictions:
        """Third stage: answers brought to the size of the frames, and linked to those before.

        Args:
            memory: of the frames before, where these go on with a video.
        """
        return self.linked(self.segmented(answered, memory=memory), memory=memory)

    @property
    def finishing(self) -> Finishing:
        """The memory of the third stage; to be taken between the clips of a video."""
        return self._finisher.memory

    def segmented(
        self, answered: Iterable[Answered], *, memory: Finishing | None = None
    ) -> Iterator[Segmented]:
        """The segments of each clip at the size of its frames."""
        return self._finisher.segmented(answered, memory=memory)

    def linked(
        self, segmented: Iterable[Segmented], *, memory: Finishing | None = None
    ) -> FramePredictions:
        """Predictions of successive clips; ids of panoptic ones are stable through the video."""
        return self._finisher.linked(segmented, memory=memory)

    @property
    def linker(self) -> Linker | None:
        """Of the video under way, from its first clip on."""
        return self._finisher.linker

    @property
    def looks(self) -> list[Look]:
        """At some frames of the video under way, where the model has a profile to compare with."""
        return self._finisher.looks

    def _network_answer(self, clip: Sequence[Prepared]) -> Answer:
        """The network's answer to T frames; a fixed window is filled up with the last of them."""
        inputs = [one.input for one in clip]
        if self._runner.fixed_window:
            inputs += inputs[-1:] * (self._window - len(inputs))
        frames = inputs[0] if len(inputs) == 1 else np.concatenate(inputs)  # (T, 3, h, w)
        size_hw = None if self._needs_scores else clip[0].frame.image.size_hw
        answer = self._runner.checked(self._runner.answer(frames[None], size_hw))
        return answer if len(inputs) == len(clip) else answer.first(len(clip))


def _check_objects(runner: Runner, linker: str | None, merging: Merging | None) -> None:
    """Raises: UsageError: an option does nothing for this network, or no linker has this name."""
    if runner.description.task == SEMANTIC and (linker or merging):
        option = merging.first_set if merging and not linker else "linker"
        raise UsageError(
            f"{option}: the model finds classes and no objects; leave it out, or use a "
            "panoptic model"
        )
    check_linker(linker)  # the linker itself is made at the first clip


def _check_averaged(*, stabilize: bool, mattes: bool) -> None:
    """Raises: UsageError: an option needs scores of one look at a picture."""
    option = "stabilize" if stabilize else "matte" if mattes else ""
    if option:
        raise UsageError(
            f"{option}: needs the scores of one look at a picture, and this is the mean of "
            f"several; leave out {option}, or use one model without --scales, --flip and --slide"
        )
