"""A data set in another format: its splits opened, and each written as a data set again."""

from __future__ import annotations

import threading
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

from vidparse.data.dataset import ALL, SPLITS, Dataset, format_of, labelled_frames
from vidparse.data.recognition import recognise
from vidparse.data.rewriting import Rewriter
from vidparse.data.shrink import check_shorter_side
from vidparse.data.tool_folders import IMAGES, VIDEOS, FramesBeside
from vidparse.data.writers import WRITERS
from vidparse.errors import InputError, OutputError, UsageError
from vidparse.filenames import real_path, same_file
from vidparse.files import WholeFolder, kind_of, write_error
from vidparse.video.inputs import IMAGE_SUFFIXES, VIDEO_SUFFIXES

_SET = "-set"  # of the names of `segment --save` for data sets
_OF_FILES = IMAGE_SUFFIXES | VIDEO_SUFFIXES | {".json", ".md", ".txt", ".xml", ".yaml", ".zip"}
# Folders in which readers look for splits, pictures and labels.
_LOOKED_INTO = frozenset(
    (*SPLITS, IMAGES, VIDEOS, "masks", "labels", "annotations", "data", "imgs", "JPEGImages")
)


@dataclass(frozen=True, slots=True)
class Conversion:
    """The outcome of a conversion.

    read_as: the name for `--dataset` that reads it.
    notes: things that the format could not hold, one line each.
    """

    out: Path
    from_format: str
    to_format: str
    read_as: str
    splits: tuple[str, ...]
    videos: int
    frames: int
    notes: tuple[str, ...]


def convert_dataset(
    source: Path,
    out: Path,
    *,
    to: str,
    dataset: str | None = None,
    split: str | None = None,
    pictures: bool = True,
    video: Path | None = None,
    shrink: int | None = None,
    on_frame: Callable[[int, int], None] = lambda done, total: None,
    stop: threading.Event | None = None,
) -> Conversion:
    """Write the labelled frames of a data set in another format; the folder appears when whole.

    Args:
        source: a folder, or the file of an annotation tool.
        out: a new or empty folder.
        to: one of WRITERS.
        dataset: the format of the source, one of FORMATS; that of its layout if not given.
        split: only this one; all that there are if not given.
        pictures: copy the pictures, too. Formats that consist of pictures always hold them.
        video: that the labels are of, where no pictures of it lie beside them.
        shrink: larger pictures and their labels are brought to this shorter side, in pixels.
        on_frame: gets the number of frames done, and of all.
        stop: set it to end early.

    Raises:
        UsageError: an unknown format, a video of labels that are not of one video, a shorter
            side below 32, or one without pictures.
        InputError: the source cannot be read.
        OutputError: `out` is there, or cannot be written. Interrupted: `stop` was set.
    """
    to = to.removesuffix(_SET)
    if to not in WRITERS:
        raise UsageError(f"--to {to}: no data set is written so; use {', '.join(WRITERS)}")
    check_shorter_side(shrink)
    if shrink is not None and not pictures:
        raise UsageError("--shrink: labels would not fit their pictures; drop --no-pictures")
    if not source.exists():
        raise InputError(f"{source}: no such file or folder; give a data set")

    # Take the name that a format is written by for the one that it is read by.
    dataset = None if dataset is None else dataset.removesuffix(_SET)
    if dataset in WRITERS:
        dataset = WRITERS[dataset].read_as or dataset
    name = dataset or recognise(source, option="--from")
    layout = format_of(name)
    if source.is_file() and not layout.file:
        raise InputError(f"{source}: {name} is a data set in a folder; give {source.parent}")
    _check_place(source, out)

    splits = (layout.splits(source) or (ALL,)) if split is None else (split,)
    datasets = [layout.open(source, one) for one in splits]
    if video is not None:
        datasets = [_of_video(one, video) for one in datasets]
    total = sum(len(labelled_frames(one)) for one in datasets)
    if not total:
        raise InputError(f"{source}: no frame of it has labels; label some first")

    folder, done = WholeFolder(out, replace=False), False
    try:
        folder.create()
        rewriter = Rewriter(
            to,
            folder.path,
            out.name,
            pictures=pictures,
            shrink=shrink,
            total=total,
            on_frame=on_frame,
            stop=stop or threading.Event(),
        )

        # Write a split that is alone, or that was named, without a folder of its own.
        with folder.writing():
            rewriter.write(datasets, apart=splits not in ((ALL,), (split,)))
        done = True
    finally:
        folder.close(keep=done)
    return Conversion(
        out,
        name,
        to,
        WRITERS[to].read_as or to,
        splits,
        rewriter.videos,
        rewriter.done,
        tuple(dict.fromkeys(rewriter.notes)),
    )


def _check_place(source: Path, out: Path) -> None:
    """Raises: OutputError: nothing can be written there, or something is there."""
    if same_file(source, out):
        raise OutputError(f"{out}: is the data set itself; choose another folder")

    # Leave alone what readers look into; a new folder right below the data set is none of it.
    root, place = real_path(source), real_path(out)
    if root in place.parents and (place.parent != root or place.name in _LOOKED_INTO):
        raise OutputError(f"{out}: lies inside the data set {source}; choose a folder outside")
    check_new_folder(out)


def check_new_folder(out: Path) -> None:
    """Refuse a folder that holds something; the folders round it are made.

    Raises:
        OutputError: it does, or it cannot be made.
    """
    kind = kind_of(out)
    if not kind and out.suffix.lower() in _OF_FILES:
        raise OutputError(
            f"{out}: is a name of a file, and a folder is made; choose one without {out.suffix}"
        )
    if kind not in ("", "a directory") or (kind and any(out.iterdir())):
        raise OutputError(f"{out}: exists; choose another folder, or remove it first")
    try:
        out.parent.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise write_error(out, error) from error


def _of_video(dataset: Dataset, video: Path) -> Dataset:
    """The data set, with frames that have no picture from a video.

    Raises:
        UsageError: all of them have one, or they are of several videos. InputError: no such file.
    """
    names = [one.name for one in dataset.videos if any(f.image is None for f in one.frames)]
    if not isinstance(dataset.read_image, FramesBeside) or not names:
        raise UsageError(f"--video {video}: every frame has its picture already; drop it")
    if len(names) > 1:
        raise UsageError(
            f"--video {video}: the labels are of {len(names)} videos ({', '.join(names[:3])}); "
            "put them beside the labels"
        )
    if not video.is_file():
        raise InputError(f"{video}: no such file; name the video that the labels are of")
    return replace(dataset, read_image=FramesBeside({names[0]: video}))
