"""Folders of predictions as entries: index masks, and panoptic pictures with their tables."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path, PurePosixPath

import cv2
import numpy as np

from vidparse.data import IGNORE, Dataset, FrameRecord, Video
from vidparse.data.folders import PICTURES
from vidparse.data.pictures import read_indices
from vidparse.errors import InputError, counted
from vidparse.evaluation.entries.entry import InputFrame, VideoFrames, stamp_of
from vidparse.labels import Labels
from vidparse.maps import (
    ListedPicture,
    PanopticJson,
    Prediction,
    SegmentMap,
    read_panoptic_json,
    read_segment_map,
)
from vidparse.video import read_mask_video

_STRAY = 65534  # table entry of values that mean nothing
_VIDEO_ENDINGS = (".mkv", ".nut", ".masks.mkv", ".masks.nut", ".avi", ".mov", ".y4m")


def _refuse_missing(missing: Sequence[Path], count: int, dataset: Dataset) -> None:
    """Raises: InputError: some of the `count` predictions for a data set are not there."""
    if missing:
        rest = f" and {len(missing) - 1} more" if len(missing) > 1 else ""
        raise InputError(
            f"{missing[0]}{rest}: missing, of {count} predictions that "
            f"{dataset.name} {dataset.split} needs; predict every frame"
        )


class MaskEntry:
    """One mask per frame, class ids 0..K-1 with 255 (or the labels' void) for nothing.

    For a video V and a frame called S, found in this order: V/S.png (VSPW), V.masks/S.png or
    V.masks/<index in 6 digits>.png (written by `segment`), S.png (a flat folder), and then a
    lossless mask video V.mkv, V.masks.mkv or V.nut with one frame for each frame of the video.

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

        # Read a flat folder only where stems are unique over all videos.
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
        _refuse_missing(missing, count, dataset)

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

        # Read on to the end: a video of another length belongs to other frames.
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
            hint = "; are these raw ids that begin at 1? then add --raw-ids"
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
    # Read as the data set's own masks where every value is a class there, as DAVIS has it.
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


class PanopticEntry:
    """One RGB picture of ids per frame, and a json with the segments of each.

    Args:
        folder: of the pictures. table: the json.
        by_number: the pictures are those of one video, and may have the number of their frame, in
            6 digits, for a name.
    """

    needs_images = False
    is_panoptic = True
    notes: tuple[str, ...] = ()

    def __init__(self, folder: Path, table: Path, *, name: str, by_number: bool = False) -> None:
        self.name = name
        self._by_number = by_number
        self.detail = f"panoptic predictions in {folder} with {table.name}"
        self._folder, self._json = folder, table
        self._labels: Labels | None = None
        self._table: PanopticJson | None = None
        self._category: dict[int, int] = {}
        self._listed: dict[tuple[str, str], ListedPicture] = {}
        self._paths: dict[tuple[str, str], Path] = {}

    def check(self, dataset: Dataset, videos: Sequence[VideoFrames]) -> None:
        self._labels = dataset.labels
        self._table = read_panoptic_json(self._json)
        self._category, self.notes = self._categories(self._table, dataset)
        if self._table.videos is not None:
            self._index_videos(self._table.videos, videos)
        else:
            self._index_images(self._table.pictures, videos)
        missing = [path for path in self._paths.values() if not path.is_file()]
        _refuse_missing(missing, len(self._paths), dataset)

    def _categories(
        self, table: PanopticJson, dataset: Dataset
    ) -> tuple[dict[int, int], tuple[str, ...]]:
        """json category -> class id: by the names that the json has, else as they are.

        Also a note where ids stand for themselves although the json has names.
        """
        classes = dataset.labels.classes
        known = {name.casefold(): i for i, name in enumerate(classes)}
        matched = {
            category: known[name.casefold()]
            for category, name in table.categories.items()
            if name.casefold() in known
        }

        # Go by names where any is known: category ids differ from tool to tool.
        if matched:
            return matched, ()

        # Take category ids for class ids where no name is known, with a note.
        notes = [
            f"{self.name}: none of the categories in {self._json.name} ('{name}', ...) is a class "
            f"of {dataset.name}; their ids are taken for class ids 0..{len(classes) - 1}."
            for name in list(table.categories.values())[:1]
        ]
        return {i: i for i in range(len(classes))}, tuple(notes)

    def hint_for_offset(self, offset: int) -> str:
        return (
            f"Count category_id in {self._json.name} from 0, or give the data set's names in "
            "its categories."
        )

    def _index_videos(
        self, listed: dict[str, tuple[ListedPicture, ...]], videos: Sequence[VideoFrames]
    ) -> None:
        """VIPSeg: the same frames in the same order, video by video."""
        for video, frames in videos:
            if video.name not in listed:
                raise InputError(
                    f"{self._json}: video {video.name} is not in it; predict every video"
                )

            # Compare names one by one: a shifted list would score every frame against its
            # neighbour.
            rows = listed[video.name]
            stems = [row.stem for row in rows]
            wanted = [frame.stem for frame in frames]
            if len(stems) != len(wanted):
                raise InputError(
                    f"{self._json}: video {video.name} lists {counted(len(stems), 'frame')}, the "
                    f"ground truth has {len(wanted)}; list every frame once"
                )
            odd = next((i for i in range(len(wanted)) if stems[i] != wanted[i]), None)
            if odd is not None:
                raise InputError(
                    f"{self._json}: video {video.name}: frame {odd} is '{stems[odd]}', the ground "
                    f"truth has '{wanted[odd]}'; list the frames in order"
                )

            for frame, row in zip(frames, rows, strict=True):
                self._add(frame, row)

    def _index_images(
        self, pictures: Sequence[ListedPicture], videos: Sequence[VideoFrames]
    ) -> None:
        """COCO: a flat list of pictures, found by video/stem or by stem alone."""
        listed: dict[str, ListedPicture] = {}
        for picture in pictures:
            name = PurePosixPath(picture.file_name)
            for key in {str(name.with_suffix("")), name.stem}:
                # A stem that two videos share cannot stand for either.
                listed[key] = picture if key not in listed else ListedPicture("", ())
        for video, frames in videos:
            for frame in frames:
                row = listed.get(f"{video.name}/{frame.stem}") or listed.get(frame.stem)
                if row is None and self._by_number:
                    row = listed.get(f"{frame.index:06d}")
                if row is None or not row.file_name:
                    raise InputError(
                        f"{self._json}: no annotation for {video.name}/{frame.stem}; "
                        "list every frame once"
                    )
                self._add(frame, row, flat=True)

    def _add(self, frame: FrameRecord, row: ListedPicture, *, flat: bool = False) -> None:
        key = (frame.video, frame.stem)
        self._listed[key] = row

        # Change the ending: some tools list the photograph, whose ids are in a PNG.
        path = PurePosixPath(row.file_name)
        bare = path.with_suffix("") if path.suffix.lower() in PICTURES else path
        name = row.file_name if path.suffix == ".png" else f"{bare}.png"
        own = self._folder / frame.video / PurePosixPath(name).name
        self._paths[key] = self._folder / name if flat and not own.is_file() else own

    def fingerprint(self, video: Video) -> str:
        files = [path for (name, _), path in self._paths.items() if name == video.name]
        return " ".join([stamp_of(self._json), *(stamp_of(path) for path in files)])

    def answers(self, video: Video, frames: Iterable[InputFrame]) -> Iterator[Prediction]:
        for frame, _ in frames:
            yield self._read(frame)

    def _read(self, frame: FrameRecord) -> Prediction:
        assert self._labels is not None and self._table is not None
        key = (frame.video, frame.stem)
        found = read_segment_map(
            self._paths[key],
            self._listed[key],
            self._table,
            self._labels,
            categories=self._category,
            is_truth=False,
        )
        return Prediction(frame.index, found, self._labels)


class PanopticFolders:
    """A folder of pictures with a json for each video V: V.panoptic, as `segment` writes it.

    Args:
        folder: where they lie.
    """

    needs_images = False
    is_panoptic = True
    notes: tuple[str, ...] = ()

    def __init__(self, folder: Path, *, name: str) -> None:
        self.name = name
        self.detail = f"panoptic predictions in {folder / '*.panoptic'}"
        self._folder = folder
        self._entries: dict[str, PanopticEntry] = {}

    def check(self, dataset: Dataset, videos: Sequence[VideoFrames]) -> None:
        for video, frames in videos:
            own = self._folder / f"{video.name}.panoptic"
            entry = PanopticEntry(own, own / "panoptic.json", name=self.name, by_number=True)
            entry.check(dataset, [(video, frames)])
            self._entries[video.name] = entry
        self.notes = tuple(dict.fromkeys(n for one in self._entries.values() for n in one.notes))

    def hint_for_offset(self, offset: int) -> str:
        return "Count category_id in panoptic.json from 0, or give the data set's names there."

    def fingerprint(self, video: Video) -> str:
        return self._entries[video.name].fingerprint(video)

    def answers(self, video: Video, frames: Iterable[InputFrame]) -> Iterator[Prediction]:
        return self._entries[video.name].answers(video, frames)
