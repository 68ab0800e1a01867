"""The redacted video: some classes made unknowable, with a margin, and over a span of frames.

A frame is written once the frames after it are known: what is found in them is hidden in it, too.
Nothing is written of frames whose turn does not come. A report beside the video names the frames in
which an object was lost for a moment.
"""

from __future__ import annotations

from collections import Counter, deque
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import BinaryIO, ClassVar

import cv2
import numpy as np

from vidparse.errors import UsageError, counted
from vidparse.filenames import one_or_several
from vidparse.frame import Frame, Packet, VideoInfo
from vidparse.labels import Labels
from vidparse.maps import Prediction
from vidparse.matting.gaps import LONGEST, Gap, GapFinder
from vidparse.matting.redaction import redacted, with_margin
from vidparse.requests.outputs import SinkOptions
from vidparse.sinks.overlay import Overlay
from vidparse.sinks.pictures import NUMBER, check_target, is_numbered
from vidparse.sinks.sink import Target, in_no_frame
from vidparse.sinks.stream import ByteStream, JsonLists

SCHEMA = "vidparse-redaction/1"
_PLACES = ("location", "gps", "geo")  # in keys of metadata that hold where a video was taken


@dataclass(frozen=True, slots=True)
class _Waiting:
    """A frame with its mask, 0 or 255 (H, W), which frames before and after look at."""

    number: int
    frame: Frame | None  # None once it is written
    mask: np.ndarray
    shows: tuple[str, ...]  # classes to hide


class Redact(Overlay):
    """H.264 in mp4, mkv or mov, pictures and streams, as `Overlay`; with a report as JSON."""

    suffix: ClassVar[str] = ".redacted.mp4"
    by_ending: ClassVar[bool] = False
    picture_suffix: ClassVar[str] = ".redacted.png"

    def __init__(self, where: Target | Path | BinaryIO, options: SinkOptions) -> None:
        """Raises: OutputError: as `Overlay`, or the report is there already."""
        super().__init__(where, options)
        self._window: deque[_Waiting] = deque()
        self._gaps, self._lost = GapFinder(), set[int]()
        self._met: list[tuple[Gap, int, float]] = []  # of frames that are not written yet
        self._found = Counter[str]()  # written frames with each class
        self._times: deque[tuple[int, int, float]] = deque(maxlen=LONGEST + 1)
        self._count = self._written = 0
        self._ahead = options.redaction.redact_union
        self._lists: JsonLists | None = None
        self._report: ByteStream | None = None
        path = self.target.path
        if path is not None:
            beside = report_path(path, (self.suffix, self.picture_suffix))
            check_target(beside, overwrite=self.target.replace, is_folder=False)
            self._report = ByteStream(Target.of(beside, replace=self.target.replace))
            self.outputs = (*self.outputs, str(beside))

    @classmethod
    def refuse(cls, options: SinkOptions, labels: Labels) -> None:
        redacted_classes(options, labels)

    def prepare(self, info: VideoInfo, labels: Labels) -> None:
        wanted, options = self.options.redaction, self.options
        self._way = wanted.redact or "blur"
        self._class_ids = redacted_classes(options, labels)
        self._labels = labels
        self._hidden: np.ndarray = np.zeros(labels.void + 1, np.uint8)
        self._hidden[list(self._class_ids)] = 255
        self._margin = wanted.redact_margin.of(info.size_hw[0])
        self._start_report(info)
        if info.copied and options.audio:
            self.notes.append("redact: sound is kept, and voices identify speakers; see --no-audio")

    def begin(self, info: VideoInfo, labels: Labels) -> None:
        # Leave places out of the metadata: a street shows who lives there.
        places = [key for key, _ in info.metadata if any(one in key.lower() for one in _PLACES)]
        if places:
            self.notes.append(f"redact: left out of the metadata: {', '.join(places)}")
            kept = tuple((key, text) for key, text in info.metadata if key not in places)
            info = replace(info, metadata=kept)
        super().begin(info, labels)

    def add(self, frame: Frame, prediction: Prediction) -> None:
        classes = prediction.map.class_map(self._labels)
        mask = self._hidden.take(classes)
        self._times.append((self._count, frame.index, frame.time_s))
        masks = {
            self._labels.classes[one]: (classes == one).view(np.uint8) * np.uint8(255)
            for one in self._class_ids
        }
        self._meet(self._gaps.add(masks))
        shows = tuple(name for name, one in masks.items() if one.any())
        self._window.append(_Waiting(self._count, frame, mask, shows))
        self._count += 1
        if self._count - self._written > self._ahead:
            self._write_next()
        self._report_gaps()

    def end(self, *, keep: bool, complete: bool, packets: Sequence[Packet]) -> Path | None:
        failure: Exception | None = None
        try:
            if keep and complete:
                while self._written < self._count:
                    self._write_next()
            elif keep and self._count > self._written:
                self._note_left_out()

                # Leave no file without a picture: players take it for damaged.
                keep = self._written > 0
            self._meet(self._gaps.finish())
            self._report_gaps()

            # Write all of the report before the video is put in place: none is without the other.
            if keep and self._lists is not None:
                self._finish_lists(self._lists, complete=complete)
        except Exception as error:
            failure, keep = error, False
        self._window.clear()
        try:
            left = super().end(keep=keep, complete=complete, packets=packets)
        except BaseException:
            keep = False  # the disk may be full at the last pictures
            raise
        finally:
            self._end_report(keep=keep, complete=complete)
        if failure is not None:
            raise failure
        return left

    def _note_left_out(self) -> None:
        held = f"the first {self._written} of these {self._count} frames"
        if not self._written:
            held = f"none of these {counted(self._count, 'frame')}, so it is not kept"
        self.notes.append(
            f"{Path(self.target.name).name}: holds {held}: what comes after a frame decides, too, "
            "what is hidden in it"
        )

    def _write_next(self) -> None:
        """Write the oldest frame that waits, with all that is hidden round its time."""
        number = self._written
        place = next(i for i, one in enumerate(self._window) if one.number == number)
        chosen = self._window[place]
        assert chosen.frame is not None
        union = chosen.mask.copy()
        for one in self._window:
            if abs(one.number - number) <= self._ahead and one.mask.shape == union.shape:
                cv2.bitwise_or(union, one.mask, dst=union)
        image = self.as_planes(chosen.frame.image)
        self.put(chosen.frame, redacted(image, with_margin(union, self._margin), self._way))

        # Let go of the picture now, and of masks that no other frame looks back to.
        self._window[place] = replace(chosen, frame=None)
        self._found.update(chosen.shows)
        self._written += 1
        while self._window and self._window[0].number < self._written - self._ahead:
            self._window.popleft()

    def _start_report(self, info: VideoInfo) -> None:
        if self._report is None:
            return

        # Record what was hidden and how, so that it can be judged and made again.
        self._report.open()
        header = self.options.header
        head = {
            "schema": SCHEMA,
            "video": info.name,
            "model": header.model,
            "weights_sha256": header.weights_sha256,
            "way": self._way,
            "classes": [self._labels.classes[one] for one in self._class_ids],
            "margin_px": self._margin,
            "union_frames": self._ahead,
        }
        self._lists = JsonLists(
            self._report_name, self._report.write, head, straight="gaps", waiting=("totals",)
        )

    @property
    def _report_name(self) -> str:
        return self.outputs[-1]

    def _meet(self, gaps: Iterable[Gap]) -> None:
        """Keep gaps, with the place and time of their frames, until these are written."""
        for gap in gaps:
            index, time_s = next(
                (index, time_s) for number, index, time_s in self._times if number == gap.number
            )
            self._met.append((gap, index, time_s))

    def _report_gaps(self) -> None:
        """Put the gaps of written frames into the report."""
        written = [one for one in self._met if one[0].number < self._written]
        self._met = [one for one in self._met if one[0].number >= self._written]
        for gap, index, time_s in written:
            self._lost.add(gap.number)
            if self._lists is None:
                continue
            self._lists.add(
                "gaps",
                {
                    "frame": index,
                    "time_s": round(time_s, 6),
                    "class": gap.name,
                    "box": gap.box,
                    "hidden": self._ahead >= LONGEST,
                },
            )

    def _end_report(self, *, keep: bool, complete: bool) -> None:
        """Put the report in place, or remove it; notes on what was hidden."""
        if self._lost and keep:
            hidden = "hidden by the union" if self._ahead >= LONGEST else "NOT all hidden"
            self.notes.append(
                f"redact: objects were lost for 1 to {LONGEST} frames in "
                f"{counted(len(self._lost), 'frame')}, {hidden}"
            )
        if keep and complete and not self._found:
            words = self.options.redaction.redact_classes
            self.notes.append(in_no_frame("redact", words, "nothing is hidden"))
        if self._lists is not None:
            self._lists.close()
        if self._report is not None:
            self._report.close(keep=keep, complete=complete)

    def _finish_lists(self, lists: JsonLists, *, complete: bool) -> None:
        """Write the totals; they mark an interrupted run as a part."""
        totals = {
            "frames": self._written,
            "frames_with_gaps": len(self._lost),
            "frames_with": dict(self._found),
            "complete": complete,
        }
        lists.add("totals", totals)
        lists.finish()


def report_path(path: Path, suffixes: Sequence[str]) -> Path:
    """The place of the report on a redacted video or picture, or on numbered pictures.

    Args:
        suffixes: that default names end in; else the ending alone makes room for the report's.
    """
    stem = next((path.name.removesuffix(one) for one in suffixes if path.name.endswith(one)), None)
    if stem is None:
        stem = NUMBER.sub("", path.stem).rstrip("_-. ") if is_numbered(path) else path.stem
    return path.with_name(f"{stem}.redact.json" if stem else "redact.json")


def redacted_classes(options: SinkOptions, labels: Labels) -> tuple[int, ...]:
    """Ids of the classes to hide: those that were named, else all countable things.

    Raises:
        UsageError: an unknown class, one that the run does not keep, or no class at all.
    """
    words, kept = options.redaction.redact_classes, options.classes
    names = None if words is None else one_or_several(words)
    class_ids = tuple(sorted(labels.things)) if names is None else labels.select(names)
    if not class_ids:
        raise UsageError(
            f"--redact: label set '{labels.name}' has no countable things; "
            f"name classes, as in --redact-classes {labels.classes[0]}"
        )

    lost = [labels.classes[one] for one in class_ids if kept is not None and one not in kept]
    if lost:
        raise UsageError(f"--redact-classes {lost[0]}: --classes leaves it out; name it there, too")
    return class_ids
