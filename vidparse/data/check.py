"""A data set held against its format: its content, and every bad file by name."""

from __future__ import annotations

import glob
import threading
from collections import Counter, deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from vidparse.data.dataset import (
    SPLITS,
    Dataset,
    Format,
    FrameRecord,
    Video,
    format_of,
    labelled_frames,
)
from vidparse.data.folders import PICTURES, is_painted, not_png
from vidparse.data.frame_check import FrameFacts, Problem, check_frame
from vidparse.data.pictures import IGNORE
from vidparse.data.recognition import recognise
from vidparse.data.void_warning import void_warning
from vidparse.errors import InputError, Interrupted, counted
from vidparse.filenames import is_unfinished

MOST_PROBLEMS = 1000  # kept; further ones are counted
_THREADS = 4  # decoding lets go of the interpreter, the rest does not


@dataclass(frozen=True, slots=True)
class SplitReport:
    """The content of a split."""

    split: str
    classes: tuple[str, ...]  # may differ by split where each has a list of its own
    videos: int
    frames: int
    labelled: int
    sizes: tuple[tuple[int, int, int], ...]  # height, width, frames of that size; most first
    pixels: tuple[int, ...]  # of each class; all 0 after a quick check
    void: int  # pixels

    @property
    def seen(self) -> int:
        """Classes that occur."""
        return sum(count > 0 for count in self.pixels)

    @property
    def void_share(self) -> float | None:
        """Void pixels of all labelled ones; None when none was looked at."""
        total = sum(self.pixels) + self.void
        return self.void / total if total else None


@dataclass(frozen=True, slots=True)
class CheckReport:
    """The outcome of a check. `errors` and `warnings` count also what `problems` left out."""

    root: str
    name: str
    quick: bool
    splits: tuple[SplitReport, ...]
    problems: tuple[Problem, ...]
    errors: int
    warnings: int


def check_dataset(
    root: Path,
    name: str | None = None,
    *,
    split: str | None = None,
    quick: bool = False,
    on_frame: Callable[[int, int], None] = lambda done, total: None,
    stop: threading.Event | None = None,
) -> CheckReport:
    """Look at every file of a data set; bad ones are collected, not raised.

    Args:
        root: its folder.
        name: one of FORMATS; that of the layout if not given.
        split: only this one; all that the folder has if not given.
        quick: read sizes and kinds of pictures, not their pixels.
        on_frame: gets the number of frames done, and of all.
        stop: set it to end early.

    Raises:
        UsageError: unknown data set.
        InputError: no such folder, no data set in it, or no such split.
        Interrupted: `stop` was set.
    """
    if not root.is_dir():
        raise InputError(f"{root}: no such folder; give the folder of a data set")
    name = recognise(root) if name is None else name
    layout = format_of(name)
    stop, findings = stop or threading.Event(), _Findings()

    datasets = _open(root, name, split, findings)
    total = sum(len(video.frames) for dataset in datasets for video in dataset.videos)
    if not total and not findings.errors:
        where = "" if split is None else f" in split {split}"
        findings.add_error(
            InputError(f"{root}: no picture laid out as {name} has them{where}; check --dataset")
        )
    reports, done = [], 0

    for dataset in datasets:
        tally = _Tally(dataset)
        for problem in _pairing(root, layout, dataset):
            findings.add(problem)

        # Read the frames, which takes nearly all of the time.
        for facts in _in_order(_jobs(dataset, quick), stop):
            tally.add(facts)
            for problem in facts.problems:
                findings.add(problem)
            done += 1
            on_frame(done, total)
        if stop.is_set():
            raise Interrupted(f"check: stopped after {done} of {total} frames")

        report = tally.report()

        # Look for a class that was stored as void once all pixels of the split are known.
        warning = void_warning(dataset.labels, np.array(report.pixels), report.void)
        if warning is not None and any(map(is_painted, labelled_frames(dataset))):
            findings.add(Problem(str(root), f"split {report.split}: {warning}", warning=True))
        reports.append(report)

    return CheckReport(
        str(root),
        name,
        quick,
        tuple(reports),
        tuple(findings.kept),
        findings.errors,
        findings.warnings,
    )


def _open(root: Path, name: str, split: str | None, findings: _Findings) -> list[Dataset]:
    """The splits to look at. One that is named must open; of all, some may be damaged."""
    known = format_of(name)
    if split is not None:
        return [known.open(root, split, on_missing=findings.add_error)]
    splits = known.splits(root)

    # Open one even so where there is none: the error names the file or folder that it lacks.
    if not splits:
        return [known.open(root, SPLITS[0], on_missing=findings.add_error)]
    datasets: list[Dataset] = []
    for one in splits:
        try:
            datasets.append(known.open(root, one, on_missing=findings.add_error))
        except InputError as error:
            findings.add_error(error)
    return datasets


class _Findings:
    """The first problems, and the number of all; a problem that comes twice counts once."""

    def __init__(self) -> None:
        self.kept: dict[Problem, None] = {}
        self.errors = self.warnings = 0

    def add(self, problem: Problem) -> None:
        if problem in self.kept:
            return

        # Keep the first and count the rest, or a set with one fault throughout would fill memory.
        if len(self.kept) < MOST_PROBLEMS:
            self.kept[problem] = None
        self.warnings += problem.warning
        self.errors += not problem.warning

    def add_error(self, error: InputError) -> None:
        path, _, what = str(error).partition(": ")
        self.add(Problem(path, what))


class _Tally:
    """Sums over the frames of a split."""

    def __init__(self, dataset: Dataset) -> None:
        self._dataset = dataset
        self._sizes: Counter[tuple[int, int]] = Counter()
        self._pixels = np.zeros(IGNORE + 1, np.int64)

    def add(self, facts: FrameFacts) -> None:
        if facts.size_hw is not None:
            self._sizes[facts.size_hw] += 1
        if facts.pixels is not None:
            self._pixels += facts.pixels

    def report(self) -> SplitReport:
        videos = self._dataset.videos
        return SplitReport(
            self._dataset.split,
            tuple(self._dataset.labels.classes),
            len(videos),
            sum(len(video.frames) for video in videos),
            sum(frame.labelled for video in videos for frame in video.frames),
            tuple((*size, count) for size, count in self._sizes.most_common()),
            tuple(self._pixels[: len(self._dataset.labels)].tolist()),
            int(self._pixels[IGNORE]),
        )


def _pairing(root: Path, layout: Format, dataset: Dataset) -> Iterator[Problem]:
    """Images without masks in a labelled split, and masks without images."""
    # Leave splits without any mask alone: a test split is no fault.
    labelled = any(frame.labelled for video in dataset.videos for frame in video.frames)
    for video in dataset.videos if layout.every_frame and labelled else ():
        bare = [frame for frame in video.frames if not frame.labelled]
        if len(bare) == len(video.frames) > 1:
            yield Problem(
                str(_folder(bare[0])),
                f"no masks for the {counted(len(bare), 'image')} of the video",
            )
        else:
            yield from (Problem(str(frame), "no mask for this image") for frame in bare)
    for pattern in layout.masks:
        yield from _lonely_masks(root, pattern, layout, dataset)


def _lonely_masks(root: Path, pattern: str, layout: Format, dataset: Dataset) -> Iterator[Problem]:
    """Masks that a pattern finds and no image goes with."""
    # Pair within a video where each has a folder: stems repeat from video to video.
    groups: Iterable[tuple[str, Iterable[Video]]] = [("", dataset.videos)]
    if "{video}" in pattern:
        groups = [(video.name, (video,)) for video in dataset.videos]
    ending = pattern.rpartition("*")[2]
    if ending.endswith(".png"):
        yield from _other_masks(root, pattern, layout, dataset)
    for name, videos in groups:
        stems = {frame.stem for video in videos for frame in video.frames}
        found = root.glob(pattern.format(split=dataset.split, video=glob.escape(name)))
        for path in sorted(found):
            stem = path.name.removesuffix(ending)
            passed_by = stem.startswith(".") or is_unfinished(path)
            if stem not in stems and not passed_by and layout.owns(stem, dataset.split):
                yield Problem(str(path), "no image for this mask")


def _other_masks(root: Path, pattern: str, layout: Format, dataset: Dataset) -> Iterator[Problem]:
    """Folders where a pattern for PNGs finds pictures of other kinds, which are not read."""
    folders: dict[Path, list[Path]] = {}
    names = [video.name for video in dataset.videos] if "{video}" in pattern else [""]
    prefix, _, ending = pattern.rpartition("*")
    ending = ending.removesuffix(".png")
    for name in names:
        place = prefix.format(split=dataset.split, video=glob.escape(name))
        for path in sorted(root.glob(f"{place}*")):
            other = path.suffix.lower() in set(PICTURES) - {".png"}
            if other and path.stem.endswith(ending) and not path.name.startswith("."):
                folders.setdefault(path.parent, []).append(path)
    for folder, paths in folders.items():
        yield Problem(str(folder), not_png(paths))


def _folder(frame: FrameRecord) -> Path | str:
    return frame.image.parent if frame.image is not None else frame.video


def _jobs(dataset: Dataset, quick: bool) -> Iterator[Callable[[], FrameFacts]]:
    for video in dataset.videos:
        for frame in video.frames:
            yield lambda frame=frame: check_frame(dataset, frame, quick=quick)  # type: ignore[misc]


def _in_order(
    jobs: Iterable[Callable[[], FrameFacts]], stop: threading.Event
) -> Iterator[FrameFacts]:
    """Results of jobs in their order; only a few are under way at a time. Ends early at `stop`."""
    waiting: deque[Future[FrameFacts]] = deque()
    with ThreadPoolExecutor(_THREADS, thread_name_prefix="check") as pool:
        for job in jobs:
            waiting.append(pool.submit(job))

            # Keep few results waiting, or frames read ahead would fill memory.
            if len(waiting) >= 4 * _THREADS:
                yield waiting.popleft().result()
            if stop.is_set():
                break
        while waiting and not stop.is_set():
            yield waiting.popleft().result()
        pool.shutdown(cancel_futures=True)
