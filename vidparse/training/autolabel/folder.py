"""The folder that labels are written to: a `folder` data set, and a record of how it was made."""

from __future__ import annotations

import json
import shutil
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np

from vidparse.data import IGNORE
from vidparse.data.folders import PICTURES
from vidparse.data.pictures import read_indices
from vidparse.errors import OutputError, UsageError, counted
from vidparse.files import whole_file, write_error
from vidparse.labels import Labels, labels_to_json
from vidparse.sinks.pictures import palette_png
from vidparse.textfiles import JsonTable, as_number, as_table, as_tables, as_word, parse_json
from vidparse.training.autolabel.pictures import Picture

RECORD = "autolabel.json"
_VOID_COLOUR = (224, 224, 192)  # as in the masks of VOC
_OURS = ("images", "masks", "labels.json", RECORD, "autolabel.part.json", "labels.part.json")


@dataclass(frozen=True, slots=True)
class Counts:
    """What the masks of a folder hold."""

    frames: int
    pixels: int
    kept_share: float  # of all pixels: those that have a label
    class_shares: tuple[float, ...]  # of the kept pixels; 0 where nothing is kept


class LabelFolder:
    """images/<video>/NAME, masks/<video>/NAME.png, labels.json and autolabel.json.

    Every file appears whole or not at all, the mask after its picture: what has a mask is done.

    Args:
        settings: plain JSON values, everything that decides what a mask says.
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
        self._settings: JsonTable = json.loads(json.dumps(settings))
        self._palette = labels.palette()
        self._palette[IGNORE] = _VOID_COLOUR  # black is often a class: VOC's background
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
        for path in self.root.glob("masks/*/*.png"):
            self._count(read_indices(path))
        self.write_record(complete=False)  # first: without it the folder is not known as ours
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

    def has(self, picture: Picture) -> bool:
        """True for a picture that is done."""
        return self._mask(picture).is_file()

    def write(self, picture: Picture, rgb: np.ndarray, ids: np.ndarray) -> None:
        """Add a picture and its mask.

        Args:
            rgb: uint8 (H, W, 3), written as JPEG where it is no file that can be copied as it is.
            ids: uint8 (H, W), IGNORE where there is no label.

        Raises:
            OutputError: disk full and the like.
        """
        images, mask = self.root / "images" / picture.video, self._mask(picture)
        try:
            images.mkdir(parents=True, exist_ok=True)
            mask.parent.mkdir(parents=True, exist_ok=True)
            if picture.file is not None and picture.file.suffix.lower() in PICTURES:
                data = picture.file.read_bytes()
                _write(images / f"{picture.stem}{picture.file.suffix}", data)
            else:
                _write(images / f"{picture.stem}.jpg", _jpeg(rgb))
            _write(mask, palette_png(np.ascontiguousarray(ids), self._palette))
        except OSError as error:
            raise write_error(self.root, error) from error
        self._count(ids)

    def write_record(self, *, complete: bool) -> Counts:
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

    def counts(self) -> Counts:
        """Of all masks in the folder, those of earlier runs too."""
        of_class = self._pixels[: len(self._labels)]
        pixels, kept = int(self._pixels.sum()), int(of_class.sum())
        shares = tuple((of_class / max(kept, 1)).tolist())
        return Counts(self._frames, pixels, kept / max(pixels, 1), shares)

    def _count(self, ids: np.ndarray) -> None:
        self._frames += 1
        self._pixels += np.bincount(ids.ravel(), minlength=IGNORE + 1)

    def _mask(self, picture: Picture) -> Path:
        return self.root / "masks" / picture.video / f"{picture.stem}.png"

    def _write_json(self, name: str, record: Mapping[str, object]) -> None:
        text = json.dumps(record, indent=2, ensure_ascii=False) + "\n"
        _write(self.root / name, text.encode("utf-8", "backslashreplace"))


def _compared(settings: JsonTable, key: str) -> object:
    """A setting as it decides the result: models by their content, in any order."""
    if key == "models":
        models = as_tables(settings[key], key)
        even = 1 / max(1, len(models))
        return sorted(
            (as_word(one["sha256"], "sha256"), round(as_number(one.get("share", even), "share"), 6))
            for one in models
        )
    return settings.get(key)


def _write(path: Path, data: bytes) -> None:
    with whole_file(path) as part:
        part.write_bytes(data)


def _jpeg(rgb: np.ndarray) -> bytes:
    """JPEG of RGB uint8 (H, W, 3), quality 92."""
    options = [cv2.IMWRITE_JPEG_QUALITY, 92]
    done, data = cv2.imencode(".jpg", cv2.cvtColor(rgb, cv2.COLOR_RGB2BGR), options)
    if not done:
        raise OutputError(f"a picture of {rgb.shape[1]}x{rgb.shape[0]}: is too large for JPEG")
    return data.tobytes()
