"""Answers of one or two models to the frames of a video, side by side."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack, closing
from dataclasses import dataclass

import cv2
import numpy as np

from vidparse.errors import UsageError
from vidparse.evaluation.metrics.consistency import warp_labels
from vidparse.flow import DisFlow
from vidparse.frame import Frame, VideoInfo
from vidparse.hub import DEFAULT_MODEL
from vidparse.inference import Runner, Session, load_chosen
from vidparse.inference.cuts import CutDetector
from vidparse.labels import Labels
from vidparse.maps import Prediction
from vidparse.models.description import SEMANTIC
from vidparse.requests.disagreement import DisagreementRequest
from vidparse.requests.option import DEFAULT_CUT
from vidparse.video import open_video

_FLOW_SIDE_PX = 360
NOTHING = -1  # a pixel that a model leaves void, or that was not in the picture before


@dataclass(frozen=True, slots=True)
class Answer:
    """A frame, its first model's prediction, and two opinions on every pixel.

    first, second: places in the common list of classes, int16 (h, w), NOTHING for none: of both
        models in the size of the frame; or of one model in this frame and, along the flow, in the
        frame before, in a smaller size. second is None in the first frame of a shot of one model.
    """

    frame: Frame
    prediction: Prediction
    first: np.ndarray
    second: np.ndarray | None


class Answers:
    """One or two models, loaded once, over a video that may be read several times.

    Attributes:
        classes: names of all classes, those of the first model first.
        labels: of the first model.
        compared: how many classes are compared.

    Raises:
        UsageError: two models without a common class. ModelError, DeviceError: as `load_chosen`.
    """

    def __init__(self, request: DisagreementRequest) -> None:
        self._request = request
        self.names = request.models or (DEFAULT_MODEL,)
        self._runners = [load_chosen(request.choice.of(name)) for name in self.names]
        self.labels: Labels = self._runners[0].labels
        keys: dict[str, str] = {}
        for runner in self._runners:
            for name in runner.labels.classes:
                keys.setdefault(name.casefold(), name)
        self.classes = tuple(keys.values())
        self._places = [self._places_of(runner, [*keys]) for runner in self._runners]
        self.notes: list[str] = []
        self.compared = len(self.classes)
        if len(self._runners) > 1:
            self._keep_shared()

    def _keep_shared(self) -> None:
        """Leave classes out that one of two models alone has: about those they cannot differ.

        Raises: UsageError: they share no class.
        """
        shared = sorted(set(self._places[0]) & set(self._places[1]) - {NOTHING})
        if not shared:
            raise UsageError(
                f"-m {self.names[0]} -m {self.names[1]}: have no class of one name; compare models "
                "of the same classes"
            )

        self.compared = len(shared)
        # Add a note, as most of the picture may be left out.
        for table in self._places:
            table[~np.isin(table, shared)] = NOTHING
        if len(shared) < len(self.classes):
            names = ", ".join(self.classes[place] for place in shared)
            self.notes.append(f"only classes that both models have are compared: {names}")

    @property
    def is_panoptic(self) -> bool:
        """True where the first model distinguishes objects."""
        return self._runners[0].description.task != SEMANTIC

    @staticmethod
    def _places_of(runner: Runner, keys: list[str]) -> np.ndarray:
        """Place of every class id in the common list, int16 (void + 1,)."""
        table = np.full(runner.labels.void + 1, NOTHING, np.int16)
        for i, name in enumerate(runner.labels.classes):
            table[i] = keys.index(name.casefold())
        return table

    def info(self) -> tuple[VideoInfo, int | None]:
        """Facts of the video, and the frames that its range should have."""
        request = self._request
        with open_video(request.input, copy_streams=False) as video:
            info = video.info
        return info, info.frames_between(request.start_s, request.end_s, request.every)

    def run(self) -> Iterator[Answer]:
        """Every frame of the range.

        Raises:
            InputError: the video cannot be read. Whatever the models raise.
        """
        with ExitStack() as opened:
            streams = [self._predictions(runner, opened) for runner in self._runners]
            if len(streams) == 1:
                yield from self._in_time(streams[0])
                return
            for (frame, prediction), (_, other) in zip(*streams, strict=True):
                first, second = self._classes(0, prediction), self._classes(1, other)
                yield Answer(frame, prediction, first, second)

    def _in_time(self, stream: Iterator[tuple[Frame, Prediction]]) -> Iterator[Answer]:
        """Answers of one model, each beside the one before, brought along the motion.

        Both are looked at in a smaller size: flow takes long, and borders are no matter of it.
        """
        flow, cuts = DisFlow(), CutDetector(DEFAULT_CUT)
        before: tuple[np.ndarray, np.ndarray] | None = None
        for frame, prediction in stream:
            height, width = frame.image.size_hw
            share = min(1.0, _FLOW_SIDE_PX / min(height, width))
            size = max(1, round(width * share)), max(1, round(height * share))
            picture = frame.image.rgb(size[::-1])
            classes = cv2.resize(
                self._classes(0, prediction), size, interpolation=cv2.INTER_NEAREST_EXACT
            )

            # Look up where each pixel was in the frame before; nothing follows through a cut.
            moved = None
            is_cut = cuts.is_cut(picture[..., 1].astype(np.float32) / 255)
            if before is not None and not is_cut and before[0].shape == picture.shape:
                there = flow.between(picture, before[0])
                moved = warp_labels(before[1], there, outside=NOTHING)
            yield Answer(frame, prediction, classes, moved)
            before = picture, classes

    def _predictions(self, runner: Runner, opened: ExitStack) -> Iterator[tuple[Frame, Prediction]]:
        request = self._request
        video = opened.enter_context(
            open_video(
                request.input,
                start_s=request.start_s,
                end_s=request.end_s,
                stride=request.every,
                copy_streams=False,
            )
        )
        session: Session = opened.enter_context(runner.session(video.info, size=request.size))
        return opened.enter_context(closing(session.run(video)))

    def _classes(self, place: int, prediction: Prediction) -> np.ndarray:
        void = self._runners[place].labels.void
        found: np.ndarray = self._places[place].take(prediction.map.classes(void))
        return found
