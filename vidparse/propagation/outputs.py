"""Outputs that only propagation has: how sure each pixel is, and where the keys disagree."""

from __future__ import annotations

import heapq
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import ClassVar

from vidparse.frame import Frame, Packet, VideoInfo
from vidparse.labels import Labels
from vidparse.maps import Prediction
from vidparse.propagation.prediction import KEY, Propagated
from vidparse.sinks import Sink
from vidparse.sinks.masks import FFV1_CONTAINERS, ffv1_options
from vidparse.sinks.pictures import gray_png, pictures_at
from vidparse.sinks.stream import ByteStream, EncodedVideo, Encoding, JsonLists

MOST_WORST = 1000  # frames that a report lists as the worst


def _propagated(prediction: Prediction) -> Propagated:
    if not isinstance(prediction, Propagated):
        raise TypeError("only propagated segments have a confidence")
    return prediction


class Confidence(Sink):
    """One gray PNG per frame: 0 where no key shows what is there, 255 of key frames."""

    suffix: ClassVar[str] = ".confidence"
    is_folder: ClassVar[bool] = True
    picture_endings: ClassVar[tuple[str, ...]] = (".png",)

    def begin(self, info: VideoInfo, labels: Labels) -> None:
        place = self.target.folder("confidence")
        self._pictures = pictures_at(
            place, digits=6, replace=self.target.replace, endings=self.picture_endings
        )
        self._pictures.create()

    def add(self, frame: Frame, prediction: Prediction) -> None:
        self._pictures.write(frame, gray_png(_propagated(prediction).confidence))

    def end(self, *, keep: bool, complete: bool, packets: Sequence[Packet]) -> Path | None:
        return self._pictures.close(keep=keep, complete=complete)


class ConfidenceVideo(Sink):
    """The same as one lossless FFV1 video."""

    suffix: ClassVar[str] = ".confidence.mkv"
    endings: ClassVar[tuple[str, ...]] = tuple(FFV1_CONTAINERS)
    by_ending: ClassVar[bool] = False

    def begin(self, info: VideoInfo, labels: Labels) -> None:
        self._video = EncodedVideo(self.target)
        container = FFV1_CONTAINERS.get(self.target.ending, "matroska")
        encoding = Encoding(container, "ffv1", "gray")
        self._video.open(info, encoding, options=ffv1_options(info.size_hw))

    def add(self, frame: Frame, prediction: Prediction) -> None:
        confidence = _propagated(prediction).confidence
        self._video.write(confidence, frame.pts, duration=frame.duration)

    def end(self, *, keep: bool, complete: bool, packets: Sequence[Packet]) -> Path | None:
        try:
            return self._video.close(keep=keep, complete=complete)
        finally:
            self.notes += self._video.notes


@dataclass(frozen=True, slots=True)
class Doubt:
    """A frame in which the masks from the two keys differ."""

    frame: int
    time_s: float
    disagreement: float
    worst: str | None  # class on which they agree least; None: void
    confidence: float  # mean over the picture, 0..1

    def record(self) -> dict[str, object]:
        """Plain JSON values."""
        return {
            "frame": self.frame,
            "time_s": round(self.time_s, 6),
            "disagreement": round(self.disagreement, 4),
            "worst": self.worst,
            "confidence": round(self.confidence, 4),
        }


@dataclass(slots=True)
class Doubts:
    """The frames of most disagreement, and counts of all.

    origins: frames by where their masks come from.
    """

    origins: dict[str, int] = field(default_factory=dict)
    _heap: list[tuple[float, int, Doubt]] = field(default_factory=list)

    def see(self, frame: Frame, prediction: Propagated) -> Doubt | None:
        """Count a frame, and keep it if it is one of the worst."""
        self.origins[prediction.origin] = self.origins.get(prediction.origin, 0) + 1
        if prediction.disagreement is None:
            return None
        worst = None if prediction.worst is None else prediction.labels.classes[prediction.worst]
        doubt = Doubt(
            frame.index,
            frame.time_s,
            prediction.disagreement,
            worst,
            float(prediction.confidence.mean()) / 255,
        )
        entry = (doubt.disagreement, -frame.index, doubt)
        push = heapq.heappush if len(self._heap) < MOST_WORST else heapq.heappushpop
        push(self._heap, entry)
        return doubt

    def worst_first(self) -> list[Doubt]:
        """The frames of most disagreement, those first; of equal ones the earlier."""
        return [doubt for *_, doubt in sorted(self._heap, key=lambda one: one[:2], reverse=True)]


class Report(Sink):
    """JSON: every frame with the origin of its masks, and the frames in doubt, worst first.

    "frames" is a list by time, "worst" by disagreement, of at most 1000 frames.
    """

    suffix: ClassVar[str] = ".propagation.json"
    endings: ClassVar[tuple[str, ...]] = (".json",)
    by_ending: ClassVar[bool] = False
    is_text: ClassVar[bool] = True
    _lists: JsonLists | None = None

    def begin(self, info: VideoInfo, labels: Labels) -> None:
        self._stream = ByteStream(self.target)
        self._stream.open()
        self._doubts = Doubts()
        header = self.options.header
        head = {
            "schema": "vidparse-propagation/1",
            "version": header.version,
            "argv": list(header.argv),
            "name": info.name,
            "size": list(info.size_hw[::-1]),
            "labels": list(labels.classes),
        }
        self._lists = JsonLists(
            self.target.name, self._stream.write, head, straight="frames", waiting=("worst",)
        )

    def add(self, frame: Frame, prediction: Prediction) -> None:
        assert self._lists is not None
        found = _propagated(prediction)
        doubt = self._doubts.see(frame, found)
        row: dict[str, object] = {"frame": frame.index, "origin": found.origin}
        if frame.name is not None:
            row["name"] = frame.name
        if found.origin != KEY:
            row["confidence"] = round(float(found.confidence.mean()) / 255, 4)
        if doubt is not None:
            row["disagreement"] = round(doubt.disagreement, 4)
        self._lists.add("frames", row)

    def end(self, *, keep: bool, complete: bool, packets: Sequence[Packet]) -> Path | None:
        lists, self._lists = self._lists, None
        keep = keep and lists is not None
        try:
            if lists is not None and keep:
                for doubt in self._doubts.worst_first():
                    lists.add("worst", doubt.record())
                lists.finish()
        except BaseException:
            keep = False
            raise
        finally:
            if lists is not None:
                lists.close()
            left = self._stream.close(keep=keep, complete=complete)
        return left
