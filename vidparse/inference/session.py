"""The path of a frame: three stages, each an iterator of what the one before it yields.

    frames -> prepared -> answered -> finished -> (frame, prediction)

`finished` is `segmented`, which looks at one clip alone, and `linked`, which joins clips in order.
`Session.run` is the three in a row; the pipeline puts thread borders between them. Each stage
begins a new video when it is begun, keeps what it remembers to itself, and closes the stage before
it when it is closed. A stage takes what it remembered after some frame, and goes on from there.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Generator, Iterable, Iterator, Sequence
from dataclasses import replace
from fractions import Fraction
from functools import partial
from itertools import chain
from typing import TYPE_CHECKING, Protocol, Self, TypedDict

import numpy as np

from vidparse.errors import UsageError
from vidparse.frame import Frame
from vidparse.inference.answer import Answer, ClassIds, Scores
from vidparse.inference.clip_segments import ClipSegments, PanopticAnswer
from vidparse.inference.clips import Answered, Prepared, Segmented, clips_of, closed
from vidparse.inference.cuts import CutDetector
from vidparse.inference.keyframes import KeyFrameReport, KeyFrames, check_key_frames
from vidparse.inference.linkers import check_linker, linker_name, linker_of, make_linker
from vidparse.inference.looks import Look, looks_at
from vidparse.inference.memory import Answering, Finishing, Linking
from vidparse.inference.memory_clock import MemoryClock
from vidparse.inference.mixture import Mixture
from vidparse.inference.panoptic import Linker
from vidparse.inference.preprocess import input_size, scaled_size, to_clip
from vidparse.inference.repeats import LastPicture, Repeats, copied, same_bytes
from vidparse.inference.runners.runner import Runner
from vidparse.inference.stabilize import Stabilizer
from vidparse.inference.upsample import upsample_argmax
from vidparse.labels import Labels
from vidparse.maps import Prediction, SegmentMap
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


FramePredictions = Generator[tuple[Frame, Prediction]]


def _never() -> bool:
    return False


class Refine(Protocol):
    """Changes the probabilities of rows of a frame, (K, n, W), before classes are chosen by them.

    labels: the classes of its answer (G, n, W), which may be others.
    """

    labels: Labels

    def __call__(self, frame: Frame, rows: slice, probabilities: np.ndarray) -> np.ndarray: ...


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
        scale: of the sides of the network's input, from the next frame on.
        looks: at some frames of the video under way, where the model has a profile to compare with.
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
        self._size, self.scale = size, 1.0
        self._keep = _keep_table(self.labels, classes)
        self._sample_aspect_ratio = sample_aspect_ratio

        self._key_frames: KeyFrames | None = None
        if keyframes is not None:
            check_key_frames(runner, stabilize=stabilize)
            self._key_frames = KeyFrames(self._network_answer, key_frames(keyframes))
        follows = stabilize or keyframes is not None  # the motion from frame to frame
        if runner.takes_pixels:
            _check_averaged(stabilize=stabilize, mattes=matte is not None)
        runner.view(size, sample_aspect_ratio)

        # Look for cuts only where something is remembered across frames.
        is_panoptic = runner.description.task != SEMANTIC
        remembers = runner.remembers or follows or is_panoptic or matte is not None
        self._matter: Matter | None = None
        if matte is not None:
            from vidparse.matting.matter import Matter

            self._matter = Matter.of(matte, self.labels, is_panoptic=is_panoptic, kept=classes)
        self._window = runner.clip_length(window)
        has_shots = remembers or self._window > 1
        self._cut = cut if has_shots else None
        self._stabilize, self._follows = stabilize, follows
        self._least, self._refine = min_confidence, refine

        # The size of frames with the scale, and that of the input for these.
        self._sized: tuple[tuple[tuple[int, int], float], tuple[int, int]] = (((0, 0), 1.0), (0, 0))

        # Refuse options that would do nothing, before a video is read for them.
        if runner.description.task == SEMANTIC and (linker or merging):
            option = merging.first_set if merging and not linker else "linker"
            raise UsageError(
                f"{option}: the model finds classes and no objects; leave it out, or use a "
                "panoptic model"
            )

        # Refuse an unknown name now: the linker itself is made at the first clip.
        check_linker(linker)
        self._linker_name = linker
        self._merging = replace(merging or Merging(), classes=classes)
        self.linker: Linker | None = None  # of the video under way, from its first clip on
        self._stabilizer: Stabilizer | None = None  # of the video under way
        self.repeated = 0  # frames so far, of all videos, that the network was spared
        self.looks: list[Look] = []

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc: object) -> None:
        self.close()

    def close(self) -> None:
        """Drop the memory of the last video."""
        self._runner.reset()
        self.linker = None

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
        facts = self._runner.description.preprocess
        usual = input_size(
            size_hw, facts, wanted=self._size, sample_aspect_ratio=self._sample_aspect_ratio
        )
        return scaled_size(usual, self.scale, facts.divisor)

    @property
    def can_scale(self) -> bool:
        """True where `scale` changes the network's input: networks may see one size only."""
        facts = self._runner.description.preprocess
        return facts.size_hw is None and not self._runner.takes_pixels

    @property
    def sees_cuts(self) -> bool:
        """True where each frame is compared with the one before it."""
        return self._cut is not None

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
        """First stage: frames as network inputs, with the cuts between shots.

        Args:
            after: the frame before these, where they go on with a video.
        """
        cuts = CutDetector(self._cut) if self._cut is not None else None

        # Seek repeats only where no memory makes equal inputs answer differently.
        picture = LastPicture() if not self._runner.remembers else None
        last: Prepared | None = None
        with closed(frames) as source:
            # Show the frame before once more: all that the past has a say in comes from it.
            shown = source if after is None else chain([after], source)
            for frame in shown:
                is_still = picture is not None and picture.repeats(frame.image)
                now = self._prepared(frame, last, is_still=is_still)
                if cuts is not None and now.green is not None:
                    now = replace(now, begins_shot=cuts.is_cut(now.green))
                if frame.follows_gap:
                    now = replace(now, begins_shot=True)
                if frame is not after:
                    yield now
                last = now

    def _prepared(self, frame: Frame, last: Prepared | None, *, is_still: bool) -> Prepared:
        """A frame with its network input, which repeats that of the last frame or does not.

        is_still: its picture equals the last one.
        """
        if self._runner.takes_pixels:
            return Prepared(frame, frame.image.rgb().transpose(2, 0, 1)[None], repeats=is_still)
        if last is not None and is_still:
            return replace(last, frame=frame, repeats=True)

        facts = self._runner.description.preprocess
        size_hw = frame.image.size_hw
        if self._sized[0] != (size_hw, self.scale):
            self._sized = (size_hw, self.scale), self.input_size(size_hw)
        input_hw = self._sized[1]
        picture = to_clip(frame.image, input_hw, facts)
        now = Prepared(frame, picture)

        # Compare inputs, too: pictures that differ in few samples may shrink to the same.
        if last is not None and not self._runner.remembers and last.sizes == now.sizes:
            now = replace(now, repeats=same_bytes(picture, last.input))

        # Undo the normalisation of green for those who look at pictures, in values 0..1.
        if self._cut is None and not self._follows:
            return now
        return replace(now, green=picture[0, 1] * facts.std[1] + facts.mean[1])

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
        its input changes in size; its memory moves on as its clock says.

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
        ask = self._network_answer if keys is None else keys.answer
        repeats = Repeats(ask, alone=self._window == 1)  # with a memory nothing repeats
        clock = MemoryClock(runner.description.memory_interval_s)
        if memory is not None:
            shape, runner.state, repeats.state = memory.shape, memory.network, memory.repeated
            clock.state = memory.clock
            if keys is not None:
                keys.state = memory.key

        for clip in clips_of(prepared, most, aligned=not runner.remembers, number=number):
            time_s = clip[0].frame.told_s
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
        return Finishing(
            None if self._stabilizer is None else self._stabilizer.state,
            None if self.linker is None else Linking(linker_name(self.linker), self.linker.state),
            None if self._matter is None else self._matter.state,
            tuple(self.looks),
        )

    def segmented(
        self, answered: Iterable[Answered], *, memory: Finishing | None = None
    ) -> Iterator[Segmented]:
        """The segments of each clip at the size of its frames."""
        self._stabilizer = stabilizer = Stabilizer() if self._stabilize else None
        if stabilizer is not None and memory is not None:
            stabilizer.state = memory.stabilizer
        last: tuple[Answer, ClipSegments] | None = None
        with closed(answered) as source:
            for one in source:
                size_hw = one.frames[0].image.size_hw
                if last is not None and one.answer is last[0]:
                    clip = copied(last[1])
                elif isinstance(one.answer, PanopticAnswer):
                    clip = one.answer.segments(
                        size_hw, self.labels, self._merging, margins=self._matter is not None
                    )
                else:
                    clip = ClipSegments(tuple(self._labelled(one, one.answer, stabilizer)))

                # Where nothing else has a say, equal answers have equal segments.
                if not (self._runner.remembers or self._stabilize or self._refine):
                    last = one.answer, copied(clip)
                yield Segmented(one.frames, clip, one.begins_shot, one.repeated, looks=one.looks)

    def linked(
        self, segmented: Iterable[Segmented], *, memory: Finishing | None = None
    ) -> FramePredictions:
        """Predictions of successive clips; ids of panoptic ones are stable through the video."""
        memory = memory or Finishing()
        linking = memory.linking
        self.linker = None if linking is None else linker_of(linking.name, linking.state)
        if self._matter is not None:
            self._matter.state = memory.mattes
        self.looks = [*memory.looks]

        with closed(segmented) as source:
            for one in source:
                self.looks += one.looks
                if one.begins_shot and self._matter is not None:
                    self._matter.reset()
                maps: Sequence[SegmentMap] = one.clip.maps
                if maps[0].segments is not None:
                    # Choose by the first clip, whose keys show what the network gives.
                    if self.linker is None:
                        self.linker = make_linker(self._linker_name, one.clip)
                    if one.begins_shot:
                        self.linker.cut()
                    maps = self.linker.link(one.clip, one.frames)

                for frame, found in zip(one.frames, maps, strict=True):
                    mattes = () if self._matter is None else self._matter.mattes(frame, found)
                    yield frame, Prediction(frame.index, found, self.labels, mattes)

    def _network_answer(self, clip: Sequence[Prepared]) -> Answer:
        """The network's answer to T frames; a fixed window is filled up with the last of them."""
        inputs = [one.input for one in clip]
        if self._runner.fixed_window:
            inputs += inputs[-1:] * (self._window - len(inputs))
        frames = inputs[0] if len(inputs) == 1 else np.concatenate(inputs)  # (T, 3, h, w)

        # Let a device answer with class ids only where nothing after it needs scores.
        scores_wanted = self._follows or self._least is not None or self._matter is not None
        size_hw = None if scores_wanted else clip[0].frame.image.size_hw
        answer = self._runner.checked(self._runner.answer(frames[None], size_hw))
        return answer if len(inputs) == len(clip) else answer.first(len(clip))

    def _labelled(
        self, one: Answered, answer: Scores | ClassIds | Mixture, stabilizer: Stabilizer | None
    ) -> Iterator[SegmentMap]:
        """Semantic maps, one per frame: each pixel goes to the class with the greatest score."""
        if stabilizer is not None and one.begins_shot:
            stabilizer.reset()
        for t, (frame, green) in enumerate(zip(one.frames, one.greens, strict=True)):
            margins = None

            # Take class ids as they are, and choose classes by scores else.
            if isinstance(answer, ClassIds):
                ids = answer.ids[t]
            elif isinstance(answer, Mixture):
                ids = self._confident_ids(answer, frame)
            else:
                scores = answer.values[t]
                if stabilizer is not None:
                    assert green is not None  # made where scores are stabilized
                    scores = stabilizer.step(scores, green)
                ids = self._ids(scores, frame)
                margins = None if self._matter is None else self._matter.margins(scores)

            if self._keep is not None:
                ids = self._keep[ids]
            yield SegmentMap(ids, margins=margins)

    def _ids(self, scores: np.ndarray, frame: Frame) -> np.ndarray:
        """Class ids (H, W) of scores (K, h, w)."""
        size_hw = frame.image.size_hw
        if self._least is None:
            return upsample_argmax(scores, size_hw, dtype=self.labels.dtype.type)
        return self._confident_ids(Mixture.of_scores(scores, size_hw), frame)

    def _confident_ids(self, mixture: Mixture, frame: Frame) -> np.ndarray:
        labels, least = self.labels, self._least or 0.0
        refine = None if self._refine is None else partial(self._refine, frame)
        return mixture.ids(void=labels.void, dtype=labels.dtype, least=least, refine=refine)


def _check_averaged(*, stabilize: bool, mattes: bool) -> None:
    """Raises: UsageError: an option needs scores of one look at a picture."""
    option = "stabilize" if stabilize else "matte" if mattes else ""
    if option:
        raise UsageError(
            f"{option}: needs the scores of one look at a picture, and this is the mean of "
            f"several; leave out {option}, or use one model without --scales, --flip and --slide"
        )


def _keep_table(labels: Labels, classes: tuple[int, ...] | None) -> np.ndarray | None:
    """id -> itself or void, for every id the labels' type can hold."""
    if classes is None:
        return None
    table = np.full(labels.void + 1, labels.void, labels.dtype)
    table[list(classes)] = classes
    return table
