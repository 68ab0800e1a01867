"""The third stage of a session: answers at the size of the frames, linked to those before."""

from __future__ import annotations

from collections.abc import Generator, Iterable, Iterator, Sequence
from functools import partial
from typing import TYPE_CHECKING, Protocol

import numpy as np

from vidparse.frame import Frame
from vidparse.inference.answer import Answer, ClassIds, Scores
from vidparse.inference.clip_segments import ClipSegments, PanopticAnswer
from vidparse.inference.clips import Answered, Segmented, closed
from vidparse.inference.linkers import linker_name, linker_of, make_linker
from vidparse.inference.looks import Look
from vidparse.inference.memory import Finishing, Linking
from vidparse.inference.mixture import Mixture
from vidparse.inference.panoptic import Linker
from vidparse.inference.repeats import copied
from vidparse.inference.stabilize import Stabilizer
from vidparse.inference.upsample import upsample_argmax
from vidparse.labels import Labels
from vidparse.maps import Prediction, SegmentMap
from vidparse.requests.model import Merging

if TYPE_CHECKING:
    from vidparse.matting.matter import Matter

FramePredictions = Generator[tuple[Frame, Prediction]]


class Refine(Protocol):
    """Changes the probabilities of rows of a frame, (K, n, W), before classes are chosen by them.

    labels: the classes of its answer (G, n, W), which may be others.
    """

    labels: Labels

    def __call__(self, frame: Frame, rows: slice, probabilities: np.ndarray) -> np.ndarray: ...


class Finisher:
    """Makes predictions of a network's answers, of one video after another.

    Args:
        labels: of the predictions.
        remembers: the network has a memory, so that equal answers may differ in segments.
        keep: class ids that stay, the rest becomes void; None: all.
        stabilize: see :class:`~vidparse.inference.session.Session`, as for the next four.
        min_confidence: of pixels, of semantic networks.
        refine: changes probabilities.
        linker: its name.
        merging: how segments are made of masks.
        matter: makes mattes of each prediction.

    Attributes:
        linker: of the video under way, from its first clip on.
        looks: at some frames of the video under way, where the model has a profile.
    """

    def __init__(
        self,
        labels: Labels,
        *,
        remembers: bool,
        keep: tuple[int, ...] | None,
        stabilize: bool,
        min_confidence: float | None,
        refine: Refine | None,
        linker: str | None,
        merging: Merging,
        matter: Matter | None,
    ) -> None:
        self.labels = labels
        self._keep = _keep_table(labels, keep)
        self._stabilize, self._least, self._refine = stabilize, min_confidence, refine
        self._linker_name, self._merging, self._matter = linker, merging, matter

        # Where nothing else counts, equal answers have equal segments.
        self._repeats = not (remembers or stabilize or refine)

        self.linker: Linker | None = None
        self.looks: list[Look] = []
        self._stabilizer: Stabilizer | None = None  # of the video under way

    @property
    def memory(self) -> Finishing:
        """All that is remembered; to be taken between the clips of a video."""
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

                if self._repeats:
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


def _keep_table(labels: Labels, classes: tuple[int, ...] | None) -> np.ndarray | None:
    """id -> itself or void, for every id the labels' type can hold."""
    if classes is None:
        return None
    table = np.full(labels.void + 1, labels.void, labels.dtype)
    table[list(classes)] = classes
    return table
