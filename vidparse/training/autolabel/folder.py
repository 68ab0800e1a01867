"""The folder that labels are written to: a `folder` data set, and a record of how it was made."""

from __future__ import annotations

import json
import shutil
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

import numpy as np

from vidparse.data import IGNORE
from vidparse.data.pictures import read_indices
from vidparse.errors import OutputError, UsageError, counted
from vidparse.filenames import PART, is_unfinished
from vidparse.files import whole_file, write_error
from vidparse.frame import Frame, Packet, VideoInfo
from vidparse.labels import Labels, labels_to_json
from vidparse.maps import Prediction
from vidparse.sinks import Sink, SinkOptions
from vidparse.sinks.picture_set import jpeg
from vidparse.sinks.pictures import palette_png
from vidparse.textfiles import JsonTable, as_number, as_table, as_tables, as_word, parse_json
from vidparse.training.autolabel.pictures import Picture, mask_name

RECORD = "autolabel.json"
_VOID_COLOUR = (224, 224, 192)  # as in the masks of VOC
_OURS = ("images", "masks", "labels.json", RECORD, f"autolabel{PART}.json", f"labels{PART}.json")


@dataclass(frozen=True, slots=True)
class FolderCounts:
    """Sums over the masks of a folder."""

    frames: int
    pixels: int
    kept_share: float  # of all pixels: those that have a label
    class_shares: tuple[float, ...]  # of the kept pixels; 0 where nothing is kept


class LabelFolder:
    """images/<video>/NAME, masks/<video>/NAME.png, labels.json and autolabel.json.

    Every file appears whole or not at all, the mask after its picture: what has a mask is done.

    Args:
        settings: plain JSON values, everything that decides the labels in a mask.
        overwrite: begin anew where there is something that was written by it before.

    Raises:
        OutputError: it cannot be written, holds other files, or labels of other settings.
        UsageError: more classes than masks of 8 bits hold.
    """

    def __init__(
        self, root: Path, labels: Labels, settings: Mapping[str, object], *, overwrite: bool
    ) -> None:
        if len(labels) > IGNORE:
            raise UsageError(
                f"labels '{labels.name}': {counted(len(labels), 'class')}; masks of 8 bits hold "
                f"{IGNORE} at most, use a smaller label set"
            )
        self.root = root
        self._labels = labels

        # Send the settings through JSON, so that they compare with those that are read.
        self._settings: JsonTable = json.loads(json.dumps(settings))
        self._palette = labels.palette()

        # Give void a colour: black is often a class, as VOC's background.
        self._palette[IGNORE] = _VOID_COLOUR
        self._frames = 0
        self._pixels = np.zeros(IGNORE + 1, np.int64)  # by class id
        try:
            self._prepare(overwrite)
        except OSError as error:
            raise write_error(root, error) from error

    def _prepare(self, overwrite: bool) -> None:
        if self.root.is_dir() and any(self.root.iterdir()):
            if overwrite:
                self._clear()
            else:
                self._check_same()
        self.root.mkdir(parents=True, exist_ok=True)

        # Count the masks of earlier runs, too: the record is of the whole folder.
        for path in self.root.glob("masks/*/*.png"):
            if not is_unfinished(path):  # of a run that was killed
                self._count(read_indices(path))

        # Write the record first: without it the folder is not known as ours.
        self.write_record(complete=False)
        self._write_json("labels.json", labels_to_json(self._labels))

    def _clear(self) -> None:
        others = [path.name for path in self.root.iterdir() if path.name not in _OURS]
        if others or not (self.root / RECORD).is_file():
            what = f"holds '{others[0]}'" if others else f"has no {RECORD}"
            raise OutputError(
                f"{self.root}: {what}, so it is not ours to replace; choose another folder with -o"
            )
        for name in ("masks", "images"):
            if (self.root / name).is_dir():
                shutil.rmtree(self.root / name)

    def _check_same(self) -> None:
        path = self.root / RECORD
        if not path.is_file():
            raise OutputError(
                f"{self.root}: is not empty and has no {RECORD}; choose another folder with -o"
            )

        # Compare with the settings that the folder was begun with.
        try:
            record = as_table(parse_json(path.read_bytes()), "the record")
            before = as_table(record["settings"], "settings")
            changed = [
                key
                for key in self._settings | before
                if _compared(self._settings, key) != _compared(before, key)
            ]
        except (ValueError, KeyError, TypeError) as error:
            raise OutputError(f"{path}: damaged ({error}); begin anew with --overwrite") from error

        if changed:
            raise OutputError(
                f"{self.root}: was made with other settings ({', '.join(changed)}); "
                "choose another folder with -o, or begin anew with --overwrite"
            )

    def has(self, video: str, name: str) -> bool:
        """True where a frame of a video is done."""
        return self.mask_path(video, name).is_file()

    def mask_path(self, video: str, name: str) -> Path:
        return self.root / "masks" / video / f"{name}.png"

    def write_mask(self, video: str, name: str, ids: np.ndarray) -> None:
        """Add a mask, behind its picture.

        Args:
            ids: uint8 (H, W), IGNORE where there is no label.

        Raises:
            OSError: disk full and the like.
        """
        path = self.mask_path(video, name)
        path.parent.mkdir(parents=True, exist_ok=True)
        _write(path, palette_png(np.ascontiguousarray(ids), self._palette))
        self._count(ids)

    def write_record(self, *, complete: bool) -> FolderCounts:
        """Bring autolabel.json up to date.

        Raises:
            OutputError: disk full and the like.
        """
        counts = self.counts()
        shares = dict(zip(self._labels.classes, counts.class_shares, strict=True))
        record = {
            "settings": self._settings,
            "complete": complete,
            "frames": counts.frames,
            "pixels": counts.pixels,
            "kept_share": counts.kept_share,
            "class_shares_of_kept": shares,
        }

        try:
            self._write_json(RECORD, record)
        except OSError as error:
            raise write_error(self.root / RECORD, error) from error
        return counts

    def counts(self) -> FolderCounts:
        """Of all masks in the folder, those of earlier runs too."""
        of_class = self._pixels[: len(self._labels)]
        pixels, kept = int(self._pixels.sum()), int(of_class.sum())
        shares = tuple((of_class / max(kept, 1)).tolist())
        return FolderCounts(self._frames, pixels, kept / max(pixels, 1), shares)

    def _count(self, ids: np.ndarray) -> None:
        self._frames += 1
        self._pixels += np.bincount(ids.ravel(), minlength=IGNORE + 1)

    def _write_json(self, name: str, record: Mapping[str, object]) -> None:
        text = json.dumps(record, indent=2, ensure_ascii=False) + "\n"
        _write(self.root / name, text.encode("utf-8", "backslashreplace"))


class LabelSink(Sink):
    """The pictures and masks of one recording in a label folder.

    A frame is done when it is there: an error later takes nothing away, so that the next run goes
    on behind it. It is no output of `segment`, since its folder keeps count over runs.

    Args:
        folder: that all recordings share.
        video: name of this one.
    """

    suffix: ClassVar[str] = ".labels"
    is_folder: ClassVar[bool] = True

    def __init__(self, folder: LabelFolder, video: str) -> None:
        super().__init__(folder.root, SinkOptions())
        self._folder, self._video = folder, video
        self._images = folder.root / "images" / video

    def begin(self, info: VideoInfo, labels: Labels) -> None:
        try:
            self._images.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise write_error(self._folder.root, error) from error

    def add(self, frame: Frame, prediction: Prediction) -> None:
        """Write picture, then mask; the picture as JPEG where no file can be copied as it is."""
        name, file = mask_name(frame), frame.file if isinstance(frame, Picture) else None
        try:
            # Write the picture first, since a frame that has a mask is done.
            if file is None:
                _write(self._images / f"{name}.jpg", jpeg(frame.image.rgb(), quality=92))
            else:
                _write(self._images / f"{name}{file.suffix}", file.read_bytes())
            self._folder.write_mask(self._video, name, prediction.ids)
        except OSError as error:
            raise write_error(self._folder.root, error) from error

    def end(self, *, keep: bool, complete: bool, packets: Sequence[Packet]) -> None:
        """See the class: whole frames stay."""


def _compared(settings: JsonTable, key: str) -> object:
    """A setting as it decides the result: models by their content, in any order."""
    if key == "models":
        models = as_tables(settings[key], key)

        # Take even shares for records of before, which have none.
        even = 1 / max(1, len(models))
        return sorted(
            (as_word(one["sha256"], "sha256"), round(as_number(one.get("share", even), "share"), 6))
            for one in models
        )
    return settings.get(key)


def _write(path: Path, data: bytes) -> None:
    with whole_file(path) as part:
        part.write_bytes(data)
