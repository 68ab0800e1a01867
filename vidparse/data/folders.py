"""Lists of splits, of frames and of segments, as they are found in the wild."""

from __future__ import annotations

import statistics
from collections import deque
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path

from vidparse.data.dataset import ALL, SPLITS, FrameRecord, OnMissing, Video
from vidparse.errors import InputError
from vidparse.filenames import is_unfinished, name_below, natural_key
from vidparse.labels import Labels
from vidparse.maps import ListedPicture, PanopticJson, SegmentMap, read_segment_map
from vidparse.textfiles import read_json, read_text, xml_events

PICTURES = (".jpg", ".jpeg", ".png", ".bmp", ".webp")
_MOST_RECORDS = 100  # that are looked into for damage


def is_painted(frame: FrameRecord) -> bool:
    """True for a mask that is a picture; others are rendered, or shapes in a text."""
    return frame.mask is not None and frame.mask.suffix.lower() in PICTURES


def check_split(name: str, split: str, known: Iterable[str]) -> None:
    """Raises: InputError: the data set has no such split."""
    if split not in known:
        raise InputError(f"{name} split '{split}': unknown; use {', '.join(known)}")


def check_served(root: Path, split: str, has: Sequence[str]) -> None:
    """Refuse a split that a folder would open whole by mistake.

    Args:
        has: splits with a place of their own; where there are none, the folder serves all usual.

    Raises:
        InputError: the split is none of them.
    """
    check_split(str(root), split, has if set(has) - {ALL} else (*SPLITS, ALL))


def has_match(root: Path, pattern: str) -> bool:
    """True if a folder holds something that a glob pattern matches."""
    return next(root.glob(pattern), None) is not None


def listed_splits(root: Path) -> tuple[str, ...]:
    """Those of train, val and test that a folder has a list of, {split}.txt."""
    return tuple(split for split in SPLITS if (root / f"{split}.txt").is_file())


def read_split(root: Path, split: str) -> list[str]:
    """Video names of {split}.txt, one per line; a missing last newline and blank lines are fine.

    Raises:
        InputError: unknown split, no such file, nothing in it, or a name outside the folder.
    """
    check_split(str(root), split, SPLITS)
    path = root / f"{split}.txt"
    if not path.exists():
        raise InputError(f"{path}: no such file; it lists the videos of the split")
    names = [line.strip() for line in read_text(path).splitlines() if line.strip()]
    if not names:
        raise InputError(f"{path}: names no video; fetch it again")
    return [name_below(name, path) for name in names]


def sorted_files(folder: Path, endings: tuple[str, ...]) -> list[Path]:
    """Files of a folder in natural order, without hidden and unfinished ones.

    None when there is no folder.
    """
    return [path for path in _visible(folder) if path.suffix.lower() in endings]


def sorted_folders(folder: Path) -> list[Path]:
    """Folders in a folder in natural order, likewise."""
    return [path for path in _visible(folder) if path.is_dir()]


def _visible(folder: Path) -> list[Path]:
    """Raises: InputError: the folder is there, but cannot be listed."""
    try:
        # Leave out what a killed program was writing: it may be half a file.
        paths = [
            path
            for path in folder.iterdir()
            if not path.name.startswith(".") and not is_unfinished(path)
        ]
    except (FileNotFoundError, NotADirectoryError):
        return []
    except OSError as error:
        raise InputError(f"{folder}: {error.strerror}; check its name and permissions") from error
    return sorted(paths, key=lambda path: natural_key(path.name))


def damaged_record(root: Path) -> InputError | None:
    """The fault of the first file that is no JSON or XML, against its name; None: there is none.

    Args:
        root: the file, or the folder of a data set; files lie in it or in those of its splits.
    """
    paths = [root]
    if not root.is_file():
        folders = (root / name for name in ("", "annotations", *SPLITS))
        paths = [path for folder in folders for path in sorted_files(folder, (".json", ".xml"))]
    for path in paths[:_MOST_RECORDS]:
        try:
            if path.suffix.lower() == ".json":
                read_json(path)
            elif path.suffix.lower() == ".xml":
                deque(xml_events(path), maxlen=0)
        except InputError as error:
            return error
    return None


def check_flat(folder: Path, on_missing: OnMissing) -> None:
    """Name the folders of pictures within that of a video: nobody looks into them."""
    for inside in sorted_folders(folder):
        if sorted_files(inside, PICTURES):
            on_missing(
                InputError(
                    f"{inside}: its pictures are not read, as {folder.name} is a video; move them "
                    "into it, or the folder beside it"
                )
            )


def paired_frames(video: str, images: Path, masks: Path) -> tuple[FrameRecord, ...]:
    """Pictures of a folder in natural order, each with the PNG mask of the same stem if any.

    Raises:
        InputError: two pictures of one stem, so that the mask could be of either; masks that are
            not PNG.
    """
    known = {path.stem: path for path in sorted_files(masks, (".png",))}

    # Refuse masks of other kinds: JPEG changes the ids that it stores.
    others = [] if known else sorted_files(masks, PICTURES)
    if others:
        raise InputError(f"{masks}: {not_png(others)}")

    # Refuse two pictures of one stem, since their one mask could be of either.
    pictures = sorted_files(images, PICTURES)
    seen: dict[str, Path] = {}
    for path in pictures:
        other = seen.setdefault(path.stem, path)
        if other is not path:
            raise InputError(f"{path}: {other.name} has the same name; keep one of them")
    return tuple(
        FrameRecord(video, path.stem, i, path, known.get(path.stem), path.stem in known)
        for i, path in enumerate(pictures)
    )


def not_png(masks: Sequence[Path]) -> str:
    """In words, the reason why masks of other kinds are not read."""
    more = f" and {len(masks) - 1} more" if len(masks) > 1 else ""
    return (
        f"masks are PNGs, and {masks[0].name}{more} {'are' if more else 'is'} none; make them anew "
        "as PNG (other kinds change the class ids)"
    )


def paired_video(
    video: str, images: Path, masks: Path, *, interval_s: float | None = None
) -> Video:
    """A video that must not be empty.

    Raises:
        InputError: the folder is missing or holds no image.
    """
    frames = paired_frames(video, images, masks)
    if not frames:
        raise InputError(f"{images}: holds no images for {video}; fetch them again")
    return Video(video, frames, interval_s)


def paired_videos(
    names: Iterable[str],
    folders: Callable[[str], tuple[Path, Path]],
    on_missing: OnMissing,
    *,
    interval_s: float | None = None,
) -> tuple[Video, ...]:
    """Videos by name, less those without images, which go to `on_missing`.

    Args:
        folders: of the images and of the masks of a video.
        interval_s: seconds from frame to frame, where the format fixes them.
    """
    videos = []
    for name in names:
        try:
            videos.append(paired_video(name, *folders(name), interval_s=interval_s))
        except InputError as error:
            on_missing(error)
    return tuple(videos)


def counted_interval_s(numbers: Sequence[int], rate_hz: float) -> float | None:
    """Seconds between frames, the median, from their numbers in the recording.

    Args:
        numbers: of the frames, ascending. rate_hz: frames per second of the recording.
    """
    steps = [after - before for before, after in pairwise(numbers)]
    return statistics.median(steps) / rate_hz if steps else None


@dataclass(frozen=True, slots=True)
class ListedSegments:
    """The `read_segments` of masks whose colours are ids, in the order of a panoptic json.

    table: the json; None where no frame is labelled.
    rows: its entries, by mask.
    categories: class id by category of the json; None: they are class ids.
    """

    table: PanopticJson | None
    rows: Mapping[Path, ListedPicture]
    labels: Labels
    categories: Mapping[int, int] | None = None

    def __call__(self, frame: FrameRecord) -> SegmentMap:
        """Raises: InputError: as `read_segment_map`, or the json does not list the mask."""
        assert frame.mask is not None and self.table is not None
        listed = self.rows.get(frame.mask)
        if listed is None:
            name = self.table.path.name
            raise InputError(f"{frame.mask}: {name} does not list it; make the json again")

        return read_segment_map(
            frame.mask, listed, self.table, self.labels, categories=self.categories, is_truth=True
        )
