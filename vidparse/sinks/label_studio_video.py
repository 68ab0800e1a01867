"""Label Studio's tasks of videos: the box of each object, with key frames where it turns.

The videos are written anew, since the tool counts frames evenly, by a rate in its interface.
"""

from __future__ import annotations

import os
import struct
from dataclasses import dataclass, field, replace
from fractions import Fraction
from typing import BinaryIO, ClassVar
from urllib.parse import quote

from vidparse.frame import Frame, VideoInfo
from vidparse.image import FULL_RANGE, Image, Yuv420, effective_matrix
from vidparse.maps import Prediction, Segment, object_map
from vidparse.sinks.chains import Chains
from vidparse.sinks.label_studio import CONFIG, SERVED, TASKS, label_elements
from vidparse.sinks.picture_set import LABELS_FILE, PictureSet
from vidparse.sinks.sink import Target, other_size
from vidparse.sinks.stream import EncodedVideo, Encoding, dumped, encoded

VIDEOS = "videos"
_ENCODING = Encoding("mp4", "libx264", "yuv420p")  # which every browser plays
_KEYFRAME = struct.Struct("<6i")  # frame, x, y, width, height, enabled
_Box = tuple[int, int, int, int]


class LabelStudioVideo(PictureSet):
    """tasks.json with a task per video, config.xml with the classes, and videos/ (H.264, mp4).

    A thing is a box through the video, which bounds its mask in every frame. Key frames that lie
    on the straight line between others are left out. Frames count from 1, as the tool counts them.
    """

    suffix: ClassVar[str] = ".label-studio-video"
    beside: ClassVar[tuple[str, ...]] = (TASKS, CONFIG, VIDEOS, LABELS_FILE)
    copies_files: ClassVar[bool] = False
    _file: BinaryIO | None = None
    _film: _Film | None = None

    def start(self) -> None:
        self.save(CONFIG, encoded(self._config()))
        self._file = (self.folder.path / TASKS).open("xb")
        self._file.write(b"[")
        self._is_first = True
        self.notes.append(
            "label-studio-video: holds boxes: of each mask the one round it, in key frames between "
            "which straight lines are exact"
        )

    def next_video(self, info: VideoInfo, *, alone: bool) -> None:
        self._end_film(keep=True)
        self.info, self.video = info, info.name

    def add_picture(self, frame: Frame, prediction: Prediction) -> None:
        self.note_if_semantic(prediction, self.suffix[1:])
        if self._film is None:
            self._film = self._begin_film(frame)
        film, size_hw = self._film, frame.image.size_hw
        if size_hw != film.size_hw:
            advice = "use label-studio, which holds pictures"
            raise other_size(self.folder.final, size_hw, film.size_hw, advice)
        film.add(frame, object_map(prediction.map, self.labels).segments or ())

    def finish(self, *, keep: bool) -> None:
        try:
            self._end_film(keep=keep)
        finally:
            file, self._file = self._file, None
            if file is not None:
                with file:
                    file.write(b"\n]\n" if keep else b"")
        if keep:
            self.save_labels()

    def _begin_film(self, frame: Frame) -> _Film:
        name = self.video or self.lone_name
        path = self.folder.path / VIDEOS / f"{name}.mp4"
        path.parent.mkdir(exist_ok=True)
        film = _Film(name, replace(self.info, size_hw=frame.image.size_hw))
        film.open(Target(str(self.folder.final / VIDEOS / path.name), path, replace=False))

        # Note what changes: the tool knows no times of single frames, and H.264 no odd sides.
        what = self.suffix[1:]
        notes = []
        if self.info.rate is None:
            rate = float(film.rate)
            notes.append(f"{what}: frames of {name} are evenly spaced, {rate:.6g} per second")
        if film.coded_hw != film.size_hw:
            notes.append(f"{what}: the sides of {name} are made even, as H.264 has them")
        self.notes += [note for note in notes if note not in self.notes]
        return film

    def _end_film(self, *, keep: bool) -> None:
        """Put away the video that is open, and write its task."""
        film, self._film = self._film, None
        if film is None:
            return
        try:
            film.close(keep=keep)
            if keep:
                assert self._file is not None
                self._file.write(b"\n" if self._is_first else b",\n")
                self._is_first = False
                self._write_task(self._file, film)
        finally:
            film.chains.close()

    def _write_task(self, file: BinaryIO, film: _Film) -> None:
        """The JSON of a task, box by box: no list of them is in memory."""
        model = self.options.header.model
        place = quote(os.fsencode(f"{self.place}/{VIDEOS}/{film.name}.mp4"))
        data = {"video": f"{SERVED}{place}", "fps": float(film.rate)}
        key = "predictions" if model else "annotations"
        version = f'"model_version":{dumped(model)},' if model else ""
        file.write(encoded(f'{{"data":{dumped(data)},"{key}":[{{{version}"result":['))
        for i, (number, life) in enumerate(film.lives.items()):
            head = self._region(number, life, film)
            file.write(encoded((",\n" if i else "\n") + dumped(head)[:-1] + ',"value":{'))
            file.write(encoded(dumped(self._value(life, film))[1:-1] + ',"sequence":['))
            for k, place_of in enumerate(film.chains.places(number)):
                row = film.keyframe(film.chains.read(place_of))
                file.write(encoded(("," if k else "") + dumped(row)))
            file.write(b"]}}")
        file.write(b"\n]}]}")

    def _region(self, number: int, life: _Life, film: _Film) -> dict[str, object]:
        region: dict[str, object] = {
            "id": f"r{number}",
            "type": "videorectangle",
            "from_name": "box",
            "to_name": "video",
            "meta": {"text": [f"id {number}"]},  # which the tool keeps and shows
        }
        if life.scored:
            region["score"] = round(life.score / life.scored, 4)
        return region

    def _value(self, life: _Life, film: _Film) -> dict[str, object]:
        class_id = min(life.votes, key=lambda one: (-life.votes[one], one))
        return {
            "framesCount": film.frames,
            "duration": float(film.frames / film.rate),
            "labels": [self.labels.classes[class_id]],
        }

    def _config(self) -> str:
        return (
            '<View>\n  <Labels name="label" toName="video">\n'
            f"{label_elements(self.labels)}\n  </Labels>\n"
            '  <Video name="video" value="$video" framerate="$fps"/>\n'
            '  <VideoRectangle name="box" toName="video"/>\n</View>\n'
        )


@dataclass(slots=True)
class _Life:
    """A box on its way: votes and scores of its thing, and what its next key frame depends on.

    before: the last key frame that was written, in the same stretch. last: seen, not yet written.
    """

    votes: dict[int, int] = field(default_factory=dict)  # frames by class id
    score: float = 0.0
    scored: int = 0
    before: tuple[int, _Box] | None = None
    last: tuple[int, _Box] | None = None


class _Film:
    """One video of the task, as it grows: its file, and the boxes of its things."""

    def __init__(self, name: str, info: VideoInfo) -> None:
        self.name, self._info = name, info
        self.rate: Fraction = info.nominal_rate
        self.size_hw = info.size_hw
        height, width = info.size_hw
        self.coded_hw = height + height % 2, width + width % 2
        self.frames = 0
        self.lives: dict[int, _Life] = {}
        self._matrix = effective_matrix(info.colour, height)
        self._full_range = info.colour.range == FULL_RANGE

    def open(self, target: Target) -> None:
        """Raises: OutputError: the file or the encoder cannot be opened."""
        self.chains = Chains(target.name)
        self._video = EncodedVideo(target)
        even = replace(self._info, time_base=1 / self.rate, rate=self.rate, copied=())
        self._video.open(even, _ENCODING)

    def add(self, frame: Frame, segments: tuple[Segment, ...]) -> None:
        """Write a picture, and note the boxes of its things. Raises: OutputError: disk full."""
        self._video.write(self._planes(frame.image), self.frames, (), 1)
        for segment in segments:
            if segment.is_thing:
                life = self.lives.setdefault(segment.id, _Life())
                life.votes[segment.class_id] = life.votes.get(segment.class_id, 0) + 1
                life.score += segment.score or 0.0
                life.scored += segment.score is not None
                self._see(segment.id, life, (self.frames, segment.box))
        self.frames += 1

    def close(self, *, keep: bool) -> None:
        """Put the file in place, or remove it. Raises: OutputError: disk full."""
        self._video.close(keep=keep)
        for number, life in self.lives.items() if keep else ():
            self._write(number, life, enabled=False)

    def keyframe(self, entry: bytes) -> dict[str, object]:
        """A key frame as the tool has it: from 1 on, in percent of the sides."""
        index, x, y, width, height, enabled = _KEYFRAME.unpack(entry)
        rows, columns = self.coded_hw
        return {
            "frame": index + 1,
            "enabled": bool(enabled),
            "rotation": 0,
            "x": 100 * x / columns,
            "y": 100 * y / rows,
            "width": 100 * width / columns,
            "height": 100 * height / rows,
            "time": float((index + 1) / self.rate),
        }

    def _planes(self, image: Image) -> Yuv420:
        if isinstance(image, Yuv420):
            return image
        return image.yuv420(self._matrix, self._full_range)

    def _see(self, number: int, life: _Life, seen: tuple[int, _Box]) -> None:
        """Take a box in; the one before becomes a key frame unless it lies on a straight line."""
        if life.last is not None and life.last[0] + 1 < seen[0]:
            self._write(number, life, enabled=False)  # it was out of sight: a stretch ends
        elif life.last is not None and not _is_straight(life.before, life.last, seen):
            self._write(number, life, enabled=True)
        life.last = seen

    def _write(self, number: int, life: _Life, *, enabled: bool) -> None:
        """Make a key frame of the last box; `enabled`: its stretch goes on."""
        assert life.last is not None
        index, box = life.last
        self.chains.add(number, _KEYFRAME.pack(index, *box, enabled))
        life.before = life.last if enabled else None
        life.last = None


def _is_straight(
    before: tuple[int, _Box] | None, middle: tuple[int, _Box], after: tuple[int, _Box]
) -> bool:
    """True if the box in the middle lies exactly on the line from the one before to that after."""
    if before is None:
        return False
    steps, all_steps = middle[0] - before[0], after[0] - before[0]
    return all(
        (one - start) * all_steps == (end - start) * steps
        for start, one, end in zip(before[1], middle[1], after[1], strict=True)
    )
