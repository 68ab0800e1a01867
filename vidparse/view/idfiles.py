"""The ids of every frame of a run, from whichever output holds them."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np

from vidparse.data.pictures import read_indices
from vidparse.errors import InputError
from vidparse.maps import read_panoptic_png
from vidparse.sinks import SINKS
from vidparse.textfiles import as_list, as_table, as_word
from vidparse.video import read_id_video, read_mask_video
from vidparse.view.records import FrameRecord, read_frames, read_header

Kind = Literal["objects", "classes", "records"]
# Outputs that hold ids, those that distinguish objects first.
_PLACES: tuple[tuple[str, Kind], ...] = (
    ("ids", "objects"),
    ("id-video", "objects"),
    ("panoptic", "objects"),
    ("masks", "classes"),
    ("masks-gray", "classes"),
    ("mask-video", "classes"),
)


@dataclass(frozen=True, slots=True)
class IdFiles:
    """The place of the ids: a folder of PNGs, a lossless video, or the records themselves.

    kind: "objects": ids of segments, of semantic models class + 1; "classes": class ids;
        "records": run lengths of each segment.
    """

    path: Path
    kind: Kind

    def reader(self, size_hw: tuple[int, int]) -> Callable[[FrameRecord], np.ndarray]:
        """A function that gives the ids (H, W) of one frame after another.

        Args:
            size_hw: of the video.

        Raises:
            InputError: from the function: ids are missing or damaged.
        """
        if self.kind == "records":
            return lambda record: _of_run_lengths(self.path, size_hw, record)
        if self.path.is_dir():
            return self._of_folder
        read = read_id_video if self.kind == "objects" else read_mask_video
        movie = read(self.path)
        return lambda record: _next_of(movie, self.path, record)

    def _of_folder(self, record: FrameRecord) -> np.ndarray:
        """The PNG of the frame's name, or of its number."""
        names = [record.name or "", f"{record.number:06d}"]
        paths = [self.path / f"{name}.png" for name in names if name]
        path = next((one for one in paths if one.is_file()), None)
        if path is None:
            raise InputError(f"{paths[-1]}: missing, though the records have the frame; {_AGAIN}")

        # Ids above 65535 are colours, and so are all of COCO's panoptic pictures.
        if self.kind == "objects" and _is_colour(path):
            return read_panoptic_png(path)
        return read_indices(path)


_AGAIN = "segment the video again with --save masks,jsonl"


def find_ids(folder: Path, stem: str, records: Path) -> IdFiles:
    """The ids that belong to records, those of objects before those of classes.

    Args:
        stem: of the outputs' names. records: the jsonl file.

    Raises:
        InputError: none are there.
    """
    for output, kind in _PLACES:
        sink = SINKS[output]
        places = [folder / f"{stem}{sink.suffix}"]
        if not sink.is_folder:
            bare = places[0].with_suffix("")
            places += [bare.with_name(bare.name + ending) for ending in sink.endings]
        for place in places:
            if place.is_dir() if sink.is_folder else place.is_file():
                return IdFiles(place, kind)

    # Fall back on the records themselves: with --rle they hold every mask.
    if _has_run_lengths(records):
        return IdFiles(records, "records")
    raise InputError(
        f"{records}: no masks or ids beside it; segment the video with --save masks,jsonl "
        "(ids,jsonl for objects)"
    )


def _has_run_lengths(records: Path) -> bool:
    """True if the first frame with a segment has its mask."""
    labels = read_header(records).labels
    for frame in read_frames(records, labels):
        if frame.regions:
            return frame.regions[0].rle is not None
    return False


def _is_colour(path: Path) -> bool:
    """By the head of a PNG: more than one channel, and no palette."""
    with path.open("rb") as file:
        head = file.read(26)
    return len(head) == 26 and head[25] in (2, 6)


def _next_of(movie: Iterator[np.ndarray], path: Path, record: FrameRecord) -> np.ndarray:
    ids = next(movie, None)
    if ids is None:
        raise InputError(f"{path}: ends before frame {record.number} of the records; {_AGAIN}")
    return ids


def _of_run_lengths(path: Path, size_hw: tuple[int, int], record: FrameRecord) -> np.ndarray:
    """Ids + 1 (H, W) of the segments' own masks, uint32; 0 where there is none."""
    ids = np.zeros((size_hw[1], size_hw[0]), np.uint32)  # COCO goes down the columns
    for region in record.regions:
        try:
            table = as_table(region.rle, "rle")
            if as_list(table["size"], "size") != [*size_hw]:
                raise ValueError("it is of another size than the video")
            mask = _mask(as_word(table["counts"], "counts"), ids.size)
        except (ValueError, TypeError, KeyError) as error:
            raise InputError(
                f"{path}: frame {record.number} has a damaged mask ({error}); make it again with "
                "segment --save jsonl --rle"
            ) from error
        ids.reshape(-1)[mask] = region.id + 1
    return ids.T


def _mask(packed: str, pixels: int) -> np.ndarray:
    """bool (pixels,) of COCO's compressed run lengths.

    Not by pycocotools, which trusts lengths that come to more than the picture has.

    Raises:
        ValueError: they do not come to the pixels.
    """
    counts: list[int] = []
    value = shift = 0
    for sign in packed.encode("ascii", "replace"):
        # Each sign holds five bits, and a sixth that shows if more follow (maskApi.c).
        bits = sign - 48
        value |= (bits & 31) << shift
        shift += 5
        if shift > 40:
            raise ValueError("a run length is out of range")
        if bits & 32:
            continue
        if bits & 16:
            value -= 1 << shift
        counts.append(value + (counts[-2] if len(counts) > 2 else 0))
        value = shift = 0
    lengths = np.array(counts, np.int64)
    if shift or lengths.sum() != pixels or (lengths < 0).any():
        raise ValueError("its run lengths do not come to the picture")
    return np.repeat(np.arange(len(lengths)) % 2 == 1, lengths)
