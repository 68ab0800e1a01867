"""Predictions as index masks: VSPW folders, flat folders, what `segment` writes, mask videos."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

import cv2
import numpy as np

from vidparse.data import IGNORE, Dataset, FrameRecord, Video
from vidparse.data.pictures import read_indices
from vidparse.errors import InputError, counted
from vidparse.evaluation.entries.entry import InputFrame, VideoFrames, stamp_of
from vidparse.labels import Labels
from vidparse.maps import Prediction, SegmentMap
from vidparse.video import read_mask_video

_STRAY = 65534  # table entry of values that mean nothing
_VIDEO_ENDINGS = (".mkv", ".nut", ".masks.mkv", ".masks.nut", ".avi", ".mov", ".y4m")


class MaskEntry:
    """One mask a frame, class ids 0..K-1 with 255 (or the labels' void) for nothing.

    For a video V and a frame called S, found in this order: V/S.png (VSPW), V.masks/S.png or
    V.masks/<index in 6 digits>.png (written by `segment`), S.png (a flat folder), and then a
    lossless mask video V.mkv, V.masks.mkv or V.nut with a frame for each of the video's.

    Args:
        folder: where they lie.
        raw_ids: values are raw VSPW ids: 1..K, 0 for nothing.
    """

    needs_images = False
    is_panoptic = False
    notes: tuple[str, ...] = ()

    def __init__(self, folder: Path, *, name: str, raw_ids: bool = False) -> None:
        self.name = name
        self.detail = f"masks in {folder}"
        self._folder, self._raw_ids = folder, raw_ids
        self._labels: Labels | None = None
        self._table: np.ndarray | None = None
        self._where: dict[str, dict[int, Path] | Path] = {}

    def check(self, dataset: Dataset, videos: Sequence[VideoFrames]) -> None:
        self._labels, self._table = dataset.labels, _table_of(dataset, raw_ids=self._raw_ids)
        missing: list[Path] = []
        stems = [frame.stem for _, frames in videos for frame in frames]
        count, flat = len(stems), len(set(stems)) == len(stems)
        for video, frames in videos:
            found = self._find(video, frames, flat=flat)
            self._where[video.name] = found
            if isinstance(found, dict):
                missing += [
                    self._folder / video.name / f"{frame.stem}.png"
                    for frame in frames
                    if frame.index not in found
                ]
        if missing:
            rest = f" and {len(missing) - 1} more" if len(missing) > 1 else ""
            raise InputError(
                f"{missing[0]}{rest}: missing, of {count} predictions that "
                f"{dataset.name} {dataset.split} asks for; predict every frame"
            )

    def _find(
        self, video: Video, frames: Sequence[FrameRecord], *, flat: bool
    ) -> dict[int, Path] | Path:
        """Masks by frame index, or the video that holds them all.

        A flat folder is taken only where no two videos have frames of the same name.
        """
        own, ours = self._folder / video.name, self._folder / f"{video.name}.masks"
        places = [folder for folder in (own, ours) if folder.is_dir()]

        # Prefer names of frames; our own folders number them when the frames had no names.
        for folder in [*places, self._folder] if flat else places:
            stems = {path.stem: path for path in folder.glob("*.png")}
            found = {frame.index: stems[frame.stem] for frame in frames if frame.stem in stems} or {
                frame.index: stems[f"{frame.index:06d}"]
                for frame in frames
                if folder == ours and f"{frame.index:06d}" in stems
            }
            if found:
                return found

        for ending in _VIDEO_ENDINGS:
            movie = self._folder / f"{video.name}{ending}"
            if movie.is_file():
                return movie
        return {}

    def fingerprint(self, video: Video) -> str:
        found = self._where[video.name]
        files = [found] if isinstance(found, Path) else list(found.values())
        return f"{self._raw_ids} " + " ".join(stamp_of(path) for path in files)

    def answers(self, video: Video, frames: Iterable[InputFrame]) -> Iterator[Prediction]:
        found = self._where[video.name]
        if isinstance(found, Path):
            yield from self._from_movie(found, video, frames)
            return
        for frame, _ in frames:
            path = found[frame.index]
            yield self._prediction(frame.index, read_indices(path), str(path))

    def _from_movie(
        self, path: Path, video: Video, frames: Iterable[InputFrame]
    ) -> Iterator[Prediction]:
        """Answers from a mask video, which has one frame for each of the video."""
        expected = f"{video.name} has {len(video.frames)}, give one mask for each"
        movie = enumerate(read_mask_video(path))
        count = 0
        for frame, _ in frames:
            for index, ids in movie:
                count = index + 1
                if index == frame.index:
                    yield self._prediction(index, ids, f"{path} frame {index}")
                    break
            else:
                raise InputError(f"{path}: ends after {counted(count, 'frame')}; {expected}")
        count += sum(1 for _ in movie)
        if count != len(video.frames):
            raise InputError(f"{path}: has {counted(count, 'frame')}; {expected}")

    def _prediction(self, index: int, stored: np.ndarray, name: str) -> Prediction:
        assert self._labels is not None
        return Prediction(index, SegmentMap(self._ids(stored, name)), self._labels)

    def hint_for_offset(self, offset: int) -> str:
        if offset < 0 and not self._raw_ids:
            return "Give --raw-ids if its masks hold ids 1, 2, ... and 0 for nothing."
        if offset > 0 and self._raw_ids:
            return "Leave out --raw-ids if its masks hold ids 0, 1, ..."
        return "Write its masks again with the data set's class ids."

    def _ids(self, stored: np.ndarray, name: str) -> np.ndarray:
        """Stored values as class ids; the labels' void id where there is none."""
        assert self._labels is not None and self._table is not None
        if stored.dtype != np.uint8 and stored.max(initial=0) >= len(self._table):
            value = int(stored.max())
        else:
            wide = len(self._table) > 256
            ids = np.take(self._table, stored) if wide else _lut(stored, self._table)
            if not (ids == _STRAY).any():
                return ids.astype(self._labels.dtype)
            value = int(stored[ids == _STRAY][0])
        count, first = len(self._labels), int(self._raw_ids)
        hint = "; write class ids"
        if value == count and not self._raw_ids:
            hint = "; are these raw ids that begin at 1? then say --raw-ids"
        raise InputError(
            f"{name}: holds id {value}; the classes are {first}..{count - 1 + first}{hint}"
        )


def _lut(stored: np.ndarray, table: np.ndarray) -> np.ndarray:
    return cv2.LUT(stored.astype(np.uint8, copy=False), table)


def _table_of(dataset: Dataset, *, raw_ids: bool) -> np.ndarray:
    """Stored value -> class id, void or _STRAY; uint16 (256,) or, for many classes, (65536,).

    Where every value of the data set's own masks means a class (DAVIS: whatever is not 0 is the
    object), predictions are read as the masks are.
    """
    values = dataset.values
    if values is not None and not (values.table == IGNORE).any():
        return values.table.astype(np.uint16)
    labels = dataset.labels
    table = np.full(256 if labels.void == IGNORE else 65536, _STRAY, np.uint16)
    first = int(raw_ids)
    table[first : first + len(labels)] = np.arange(len(labels))
    table[labels.void] = labels.void
    if raw_ids:
        table[0] = labels.void
    return table
