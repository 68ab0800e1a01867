"""Predictions as challenges take them: a folder per video, below one that all share.

VSPW's are masks; VIPSeg's are segment ids as RGB PNGs, pan_pred/<video>/<frame>.png, and
pred.json.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from itertools import islice
from pathlib import Path, PurePath
from typing import BinaryIO, ClassVar

import numpy as np
from numpy.typing import NDArray

from vidparse.errors import OutputError
from vidparse.filenames import shortened
from vidparse.files import WholeFile, write_error
from vidparse.frame import Frame, Packet, VideoInfo
from vidparse.labels import Labels, load_labels
from vidparse.labels.colours import class_colours
from vidparse.maps import (
    VOID,
    PanopticRecord,
    Prediction,
    Segment,
    SegmentIds,
    VideoLines,
    annotation_line,
    categories_of,
    check_ids,
    ids_to_rgb,
    image_line,
    read_record,
    regions_of,
    write_record,
)
from vidparse.requests.outputs import SinkOptions
from vidparse.sinks.pictures import (
    PictureFolder,
    check_target,
    is_empty,
    is_made,
    palette_png,
    rgb_png,
)
from vidparse.sinks.sink import Sink, Target
from vidparse.textfiles import Json, as_tables, as_whole

_VSPW_VOID = 255
_DIGITS = 8  # of VSPW's and VIPSeg's picture names
_VIPSEG_CLASSES = 124


class Submission(Sink):
    """One PNG per frame in <target>/<shelf>/<video>/, which appears when complete.

    Args:
        where: the folder that all videos share; never a stream.
        options: as the user gave them.
        video: the name of this one, as the challenge lists it; the stem of `where` unless given.

    Raises:
        UsageError: `where` is a stream.
    """

    is_folder: ClassVar[bool] = True
    shelf: ClassVar[str] = ""  # between the shared folder and those of the videos

    def __init__(
        self,
        where: Target | Path | BinaryIO,
        options: SinkOptions,
        *,
        video: str | None = None,
    ) -> None:
        super().__init__(where, options)
        root = self.target.folder(self.suffix[1:])

        # Refuse names that would leave the folder.
        self.video = root.stem if video is None else video
        parts = PurePath(self.video).parts
        if not parts or ".." in parts or PurePath(self.video).is_absolute():
            raise ValueError(f"'{self.video}' is no name of a video")

        self.root = root
        self.folder = root / self.shelf / self.video
        self.outputs = (str(self.folder),)
        self._pictures = PictureFolder(self.folder, digits=_DIGITS, replace=self.target.replace)
        self._made: list[Path] = []

    def check(self, *, of_pictures: bool = False) -> None:
        """Refuse, before any work, what cannot be written; `of_pictures` as in `check_target`.

        Raises:
            OutputError: the video's folder exists, or cannot be made.
        """
        if self.root.exists() and not self.root.is_dir():
            raise OutputError(
                f"{self.root}: is a file, {self.suffix[1:]} needs a folder; choose another with -o"
            )
        check_target(
            self.folder,
            overwrite=self.target.replace or (self.options.skip_existing and is_empty(self.folder)),
            is_folder=True,
            of_pictures=of_pictures,
            directory=self.root if self.root.exists() else self.root.parent,
        )

    def is_made(self) -> bool:
        """True if this video is there.

        Raises:
            OutputError: the folder holds something that no video can be added to.
        """
        return is_made(self.folder, is_folder=True)

    def end(self, *, keep: bool, complete: bool, packets: Sequence[Packet]) -> Path | None:
        try:
            return self._pictures.close(keep=keep, complete=complete)
        finally:
            self._tidy()

    def _create(self) -> None:
        """Make the folders down to the one the pictures are first written to."""
        # Note which folders are made here, so that a run that fails leaves none behind.
        missing = []
        above = self.folder.parent
        while not above.exists():
            missing.append(above)
            above = above.parent
        try:
            for folder in reversed(missing):
                folder.mkdir(exist_ok=True)
                self._made.append(folder)
        except OSError as error:
            raise write_error(self.folder, error) from error
        self._pictures.create()

    def _tidy(self) -> None:
        """Remove the folders made here that have stayed empty."""
        while self._made:
            with suppress(OSError):
                self._made.pop().rmdir()


class VspwFolder(Submission):
    """8-bit palette PNGs of class ids 0..K-1, void 255.

    With `SinkOptions.raw_ids` ids are as in VSPW's own masks: 1..K, void 0. Pictures have the
    input picture's name, or 8 digits of the frame index.
    """

    suffix: ClassVar[str] = ".vspw"

    def begin(self, info: VideoInfo, labels: Labels) -> None:
        raw = self.options.raw_ids
        most = _VSPW_VOID - 1 if raw else _VSPW_VOID

        if len(labels) > most:
            raise OutputError(
                f"{self.folder}: 8-bit masks hold {most} classes and '{labels.name}' has "
                f"{len(labels)}; use --save masks (16 bits)"
            )

        if labels.classes != load_labels("vspw").classes:
            self.notes.append(
                f"vspw: the ids are of the classes of '{labels.name}', not of VSPW's 124; "
                "VSPW's scorer needs a model with VSPW's own classes"
            )

        self._labels = labels
        stored = np.arange(256, dtype=np.uint8)  # class id -> value in the file
        if raw:
            stored += 1  # 255 becomes 0
        self._stored = stored
        self._palette = np.zeros((256, 3), np.uint8)
        self._palette[stored[: len(labels)]] = class_colours(labels, self.options.palette)
        self._create()

    def add(self, frame: Frame, prediction: Prediction) -> None:
        ids = prediction.map.class_map(self._labels)  # (H, W)
        if self.options.raw_ids:
            ids = self._stored.take(ids)
        self._pictures.write(frame, palette_png(ids, self._palette))


class VipSegFolder(Submission):
    """RGB PNGs of stable segment ids, with one pred.json for all videos.

    Of a semantic prediction each class is a segment; of a panoptic one each object (its class and
    its id), and all stuff of a class is one. Ids are colours, see :class:`SegmentIds`; they depend
    on the video's name and the order in which objects come.

    Records of frames go to a file beside the pictures until the end. pred.json then has this
    video's entry in place of an older one and the others as they were; a pred.json that was not
    written here is held in memory for that, whole.
    """

    suffix: ClassVar[str] = ".vipseg"
    shelf: ClassVar[str] = "pan_pred"

    def __init__(
        self,
        where: Target | Path | BinaryIO,
        options: SinkOptions,
        *,
        video: str | None = None,
    ) -> None:
        super().__init__(where, options, video=video)
        self.record_path = self.root / "pred.json"
        self.outputs = (str(self.folder), str(self.record_path))
        self._frames_path = self.folder  # known once the pictures have their temporary folder
        self._frames: BinaryIO | None = None
        self._count = 0

    def check(self, *, of_pictures: bool = False) -> None:
        super().check(of_pictures=of_pictures)
        self._read_record()

    def is_made(self) -> bool:
        return super().is_made() and self.video in self._read_record().videos

    def begin(self, info: VideoInfo, labels: Labels) -> None:
        self._labels, self._size_hw = labels, info.size_hw
        _check_categories(self._read_record(), labels, self.record_path)
        if len(labels) != _VIPSEG_CLASSES:
            self.notes.append(
                f"vipseg: the categories are the {len(labels)} classes of '{labels.name}', not "
                f"VIPSeg's {_VIPSEG_CLASSES}; VIPSeg's scorer needs a model with VIPSeg's own "
                "classes"
            )

        self._ids = SegmentIds(labels, self.video)
        self._category: dict[int, int] = {}
        self._class_table: np.ndarray | None = None
        self._create()

        # Records wait beside the temporary folder, out of the submission.
        pictures = self._pictures.partial
        self._frames_path = pictures.path.with_name(shortened(pictures.path.name, ".jsonl"))
        with pictures.writing():
            self._frames_path.unlink(missing_ok=True)  # of a killed run
            self._frames = self._frames_path.open("xb")

    def add(self, frame: Frame, prediction: Prediction) -> None:
        assert self._frames is not None
        self.note_if_semantic(prediction, "vipseg")
        ids = self._segment_ids(prediction)
        segments = [
            self._segment(number, area, box)
            for number, (area, box) in regions_of(ids).items()
            if number != VOID
        ]

        # Write picture and record together, or neither.
        path = self._pictures.write(frame, rgb_png(ids_to_rgb(ids)))
        try:
            with self._pictures.partial.writing():
                self._frames.write(annotation_line(path.stem, segments) + b"\n")
                self._frames.flush()
        except BaseException:
            path.unlink(missing_ok=True)  # pictures and records go together
            raise
        self._count += 1

    def _segment(self, number: int, area: int, box: tuple[int, int, int, int]) -> Segment:
        category = self._category[number]
        is_thing = category in self._labels.things
        return Segment(number, category, is_thing, score=None, area=area, box=box)

    def _segment_ids(self, prediction: Prediction) -> NDArray[np.int32]:
        """The ids that are written, int32 (H, W)."""
        segments = prediction.segments
        if segments is None:
            check_ids(prediction.ids, self._labels)
            if self._class_table is None:
                self._class_table = np.full(self._labels.void + 1, VOID, np.int32)
                for category in range(len(self._labels)):
                    self._class_table[category] = self._id_of(category, 0)
            return self._class_table.take(prediction.ids)
        highest = max((segment.id for segment in segments), default=0)

        # Let ids that no segment has fall on the last entry, which is void.
        table: NDArray[np.int32] = np.full(highest + 2, VOID, np.int32)
        for segment in segments:
            table[segment.id] = self._id_of(segment.class_id, segment.id)
        return table.take(prediction.ids, mode="clip")

    def _id_of(self, category: int, instance: int) -> int:
        number = self._ids(category, instance)
        self._category[number] = category
        return number

    def end(self, *, keep: bool, complete: bool, packets: Sequence[Packet]) -> Path | None:
        frames, self._frames = self._frames, None
        keep = keep and frames is not None and not self._pictures.partial.broken
        try:
            if keep and not complete and self.folder.exists():
                # Pictures without their part of pred.json are of no use.
                self.notes.append(f"{self.folder}: interrupted, so the older one stays")
                self.outputs = ()
            elif keep:
                self._commit()
        finally:
            if frames is not None:
                with suppress(OSError):
                    frames.close()
                with suppress(OSError):
                    self._frames_path.unlink(missing_ok=True)
            super().end(keep=False, complete=False, packets=())  # drops all not in place by now
        return None

    def _commit(self) -> None:
        """Pictures and pred.json into place, one right after the other."""
        record = WholeFile(self.record_path)
        try:
            # Prepare pred.json before either is put in place: a full disk leaves both as they were.
            with _alone(self.root):
                record.create()
                with record.writing():
                    self._merge_into(record.path)
                self._pictures.close(keep=True)
                record.close(keep=True)
        finally:
            record.close(keep=False)

    def _merge_into(self, path: Path) -> None:
        """pred.json as it will be."""
        # Read it again under the lock: another process may have added its video.
        old = self._read_record()
        _check_categories(old, self._labels, self.record_path)
        head = {**old.head, "categories": categories_of(self._labels)}
        images = (image_line(line, self._size_hw) for line in self._frame_lines())
        entry = VideoLines(lambda: images, self._frame_lines)
        with path.open("wb") as file:
            write_record(file, head, {**old.videos, self.video: entry})

    def _frame_lines(self) -> Iterator[bytes]:
        with self._frames_path.open("rb") as file:
            for line in islice(file, self._count):
                yield line.rstrip(b"\n")

    def _read_record(self) -> PanopticRecord:
        try:
            return read_record(self.record_path)
        except FileNotFoundError:
            return PanopticRecord({}, {})
        except OSError as error:
            raise write_error(self.record_path, error) from error
        except ValueError as error:
            raise OutputError(
                f"{self.record_path}: {error}, so no video can be added to it; "
                "move it away or use another -o"
            ) from error


def _check_categories(record: PanopticRecord, labels: Labels, path: Path) -> None:
    """Raises: OutputError: ids in the json mean other classes."""
    listed = record.head.get("categories")
    if not listed:
        return
    named: dict[int, Json] = {}
    try:
        named = {
            as_whole(entry["id"], "id"): entry["name"] for entry in as_tables(listed, "categories")
        }
    except (KeyError, TypeError, ValueError):
        named = {}
    if named != dict(enumerate(labels.classes)):
        raise OutputError(
            f"{path}: its categories are not the classes of '{labels.name}'; use another -o"
        )


@contextmanager
def _alone(folder: Path) -> Iterator[None]:
    """Let no other process that writes here merge its video at the same time."""
    from filelock import FileLock  # here, as no other output needs it

    lock = FileLock(folder / ".pred.json.lock")
    with suppress(OSError):  # a file system without locks
        lock.acquire()
    try:
        yield
    finally:
        if lock.is_locked:
            with suppress(OSError):  # Windows removes no open file; filelock does it there
                Path(lock.lock_file).unlink()  # a submission holds nothing else
            lock.release()
