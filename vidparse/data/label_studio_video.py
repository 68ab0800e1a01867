"""Label Studio's boxes in videos: key frames of each, and the boxes between them."""

from __future__ import annotations

import math
from bisect import bisect_right
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from vidparse.data.folders import PICTURES, sorted_files
from vidparse.data.pictures import image_size
from vidparse.data.shapes import Region, TurnedBox
from vidparse.data.tool_folders import IMAGES, video_beside
from vidparse.errors import InputError
from vidparse.textfiles import JsonTable, as_flag, as_list, as_number, as_tables, as_whole
from vidparse.video import open_video

KIND = "videorectangle"
NOTE = "boxes in videos are read as masks that fill them, each with an id"
_MOST_FRAMES = 10**7
_SLACK = 1.5  # frames by which a browser's count may be off


@dataclass(frozen=True, slots=True)
class Keyframe:
    """A box at a frame of the tool, which counts from 1.

    enabled: the box goes on behind it; it is seen in this frame whichever it is.
    """

    frame: int
    box: TurnedBox
    enabled: bool


@dataclass(frozen=True, slots=True)
class Track:
    """A box through a video: key frames in the order of time, one or more."""

    class_id: int
    number: int
    keyframes: tuple[Keyframe, ...]

    def at(self, position: float) -> TurnedBox | None:
        """The box at a frame of the tool, which may lie between two; None where there is none."""
        after = bisect_right(self.keyframes, position, key=lambda one: one.frame)
        if not after:
            return None
        last = self.keyframes[after - 1]
        if last.frame == position:
            return last.box
        if not last.enabled:
            return None
        if after == len(self.keyframes):
            return last.box

        # Interpolate in straight lines, the turn as well, as the tool shows it.
        following = self.keyframes[after]
        share = (position - last.frame) / (following.frame - last.frame)
        one, other = last.box, following.box
        return TurnedBox(
            one.x + (other.x - one.x) * share,
            one.y + (other.y - one.y) * share,
            one.width + (other.width - one.width) * share,
            one.height + (other.height - one.height) * share,
            one.rotation + (other.rotation - one.rotation) * share,
        )


@dataclass(frozen=True, slots=True)
class Film:
    """The frames of a task: a video, or pictures of it.

    video: None where pictures lie in images/. frames: as many as there are labels or frames.
    step: frames of the tool from one frame to the next. interval_s: seconds, where they are known.
    """

    size_hw: tuple[int, int]
    frames: int
    step: float
    interval_s: float | None
    video: Path | None
    pictures: tuple[Path, ...]


def film_of(record: Path, names: Sequence[str], values: Sequence[JsonTable]) -> Film:
    """The frames that a task is about, from the video or the pictures beside its JSON.

    The tool counts frames at the rate that its interface names, 24 per second by default: where
    that is not the video's own, its frames are found by their times.

    Args:
        names: that the video may have. values: of the task's regions.

    Raises:
        InputError: neither lies there, or it cannot be read.
        TypeError, ValueError: a count or duration that cannot be.
    """
    counts = [as_whole(one.get("framesCount", 0), "framesCount", 0, _MOST_FRAMES) for one in values]
    lasts = [as_number(one.get("duration", 0), "duration") for one in values]
    counted, duration_s = max(counts, default=0), max(lasts, default=0.0)
    shelf = record.parent / IMAGES / Path(names[-1]).stem
    pictures = tuple(sorted_files(shelf, PICTURES))
    if pictures:
        return Film(image_size(pictures[0]), len(pictures), 1.0, None, None, pictures)

    path = video_beside(record, names)
    if path is None:
        raise InputError(
            f"{record}: no video {names[-1]} beside it; put it there, or its frames into {shelf}"
        )
    source = open_video(path, copy_streams=False)
    info = source.info
    source.close()

    # Go by the tool's own count where there is no other, and never beyond the video's.
    rate = info.known_rate
    known = info.frames_between(None, None)
    step = _step(counted, duration_s, None if rate is None else float(rate))
    frames = known if known is not None else math.ceil(counted / step)
    interval_s = None if rate is None else float(1 / rate)
    return Film(info.size_hw, min(frames, _MOST_FRAMES), step, interval_s, path, ())


def _step(counted: int, duration_s: float, rate_hz: float | None) -> float:
    """Frames of the tool per frame of the video: 1 unless it counted at another rate."""
    if not counted or not duration_s > 0 or rate_hz is None:
        return 1.0
    if abs(counted - duration_s * rate_hz) <= _SLACK:
        return 1.0

    # Take the whole rate that the count was rounded from.
    counted_hz = counted / duration_s
    whole = round(counted_hz)
    if whole and abs(counted - duration_s * whole) <= _SLACK:
        counted_hz = whole
    return counted_hz / rate_hz


def tracks_of(
    result: Sequence[JsonTable], class_ids: Mapping[str, int], numbers: Sequence[int]
) -> list[Track]:
    """The boxes of a task, one for each label of a region.

    Args:
        numbers: of the objects that regions' notes name, 0 for none; others get the numbers above.

    Raises:
        KeyError, TypeError, ValueError: a region has an invalid value.
    """
    found, free = list[Track](), max(numbers, default=0) + 1
    for region, number in zip(result, numbers, strict=True):
        value = region["value"]
        assert isinstance(value, dict)
        names = as_list(value.get("labels", value.get(KIND, [])), "labels")
        if not names:
            raise ValueError(f"box {region.get('id')} has no label")
        keyframes = _keyframes(value)

        # Make an object of each label: masks hold one class each.
        for name in names:
            if name not in class_ids:
                raise ValueError(f"label '{name}' is none of the classes")
            if not number:
                number, free = free, free + 1
            if keyframes:
                found.append(Track(class_ids[str(name)], number, keyframes))
            number = 0
    return found


def check_frames(tracks: Sequence[Track], film: Film) -> None:
    """Refuse boxes behind the end: they belong to another video, or one that was cut.

    Raises:
        ValueError: a key frame lies there.
    """
    last = max((track.keyframes[-1].frame for track in tracks), default=1)
    end = film.frames * film.step
    if last > end + _SLACK:
        raise ValueError(f"a box at frame {last}, but its video ends with frame {round(end)}")


def regions_at(tracks: Sequence[Track], position: float) -> Iterator[Region]:
    """Boxes at a frame of the tool, small ones last, so that large ones do not cover them."""
    seen = [(box, track) for track in tracks if (box := track.at(position)) is not None]
    for box, track in sorted(seen, key=lambda one: -one[0].width * one[0].height):
        yield Region(track.class_id, box, track.number)


def box_of(value: JsonTable) -> TurnedBox:
    """Raises: KeyError, TypeError: it is no rectangle."""
    x, y, width, height = (as_number(value[key], key) for key in ("x", "y", "width", "height"))
    return TurnedBox(x, y, width, height, as_number(value.get("rotation", 0), "rotation"))


def _keyframes(value: JsonTable) -> tuple[Keyframe, ...]:
    """Raises: KeyError, TypeError, ValueError: it is no sequence of boxes."""
    found: dict[int, Keyframe] = {}
    for one in as_tables(value["sequence"], "sequence"):
        frame = as_whole(one["frame"], "frame", 1, _MOST_FRAMES)
        enabled = as_flag(one.get("enabled", True), "enabled")
        found[frame] = Keyframe(frame, box_of(one), enabled)
    return tuple(found[frame] for frame in sorted(found))
