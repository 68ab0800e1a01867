"""Panoptic predictions on disk: VIPSeg's pan_pred + pred.json, and COCO panoptic."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path, PurePosixPath

from vidparse.data import Dataset, FrameRecord, Video
from vidparse.errors import InputError, counted
from vidparse.evaluation.entries.entry import InputFrame, VideoFrames, stamp_of
from vidparse.labels import Labels
from vidparse.maps import (
    ListedPicture,
    PanopticJson,
    Prediction,
    read_panoptic_json,
    read_segment_map,
)


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
        if missing:
            rest = f" and {len(missing) - 1} more" if len(missing) > 1 else ""
            raise InputError(
                f"{missing[0]}{rest}: missing, of {len(self._paths)} predictions that "
                f"{dataset.name} {dataset.split} asks for; predict every frame"
            )

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
        if matched:
            return matched, ()

        # Take category ids for class ids where no name is known, and say so.
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
        name = row.file_name if row.file_name.endswith(".png") else f"{row.file_name}.png"
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
