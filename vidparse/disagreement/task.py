"""The chosen frames as a task for people: pictures, and labels of the models to correct."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np

from vidparse.data.convert import check_new_folder
from vidparse.data.rewriting import write_frames
from vidparse.data.writers import WRITERS
from vidparse.disagreement.answers import NOTHING, Answer, Answers
from vidparse.disagreement.areas import FIRST_AREA, with_all_things, with_areas
from vidparse.disagreement.ranking import RankedFrame
from vidparse.errors import Interrupted, UsageError
from vidparse.files import WholeFolder
from vidparse.frame import Frame
from vidparse.labels import Labels
from vidparse.maps import VOID, SegmentMap
from vidparse.requests.disagreement import DisagreementRequest
from vidparse.requests.outputs import RunHeader, SinkOptions
from vidparse.sinks.picture_set import PictureSet


def check_task(request: DisagreementRequest) -> None:
    """Refuse, before any work, a task that cannot be written.

    Raises:
        UsageError: an unknown format, or one of whole videos. OutputError: its folder is there.
    """
    if request.to not in WRITERS:
        raise UsageError(f"--to {request.to}: unknown; use {', '.join(WRITERS)}")
    kind = WRITERS[request.to].sink
    if issubclass(kind, PictureSet) and not kind.copies_files:
        raise UsageError(
            f"--to {request.to}: holds whole videos, and frames in doubt are single pictures; "
            "use label-studio"
        )
    if request.out is not None:
        check_new_folder(request.out)


def write_task(
    request: DisagreementRequest,
    answers: Answers,
    ranked: tuple[RankedFrame, ...],
    *,
    on_frame: Callable[[int, int], None] = lambda done, total: None,
    stop: threading.Event | None = None,
) -> Path:
    """Read the video once more, up to the last of the frames, and write these with labels.

    Raises:
        OutputError: the folder cannot be written. Interrupted: `stop` was set.
    """
    assert request.out is not None
    info, _ = answers.info()
    wanted = {one.index for one in ranked}
    stem = Path(request.input).stem or "video"

    # Make areas of classes objects where a format holds nothing else; else nobody is to look for
    # ids of objects that a model of classes does not know.
    labels = answers.labels
    holds_things_alone = "stuff" in dict(WRITERS[request.to].loses)
    if holds_things_alone:
        labels = with_all_things(labels)
    elif not answers.is_panoptic:
        labels = replace(labels, things=frozenset())

    def frames() -> Iterator[tuple[Frame, SegmentMap]]:
        done, last, free = 0, max(wanted), FIRST_AREA
        for answer in answers.run():
            if stop is not None and stop.is_set():
                raise Interrupted("disagree: stopped; nothing of the task is kept")
            if answer.frame.index in wanted:
                done += 1
                on_frame(done, len(wanted))
                name = answer.frame.name or f"{stem}_{answer.frame.index:06d}"
                number = done - 1
                frame = replace(answer.frame, index=number, pts=number, name=name)
                found = prelabel(answer, answers.labels, request.prelabels)
                if holds_things_alone:
                    found = with_areas(found, labels, first=free)
                    free += len(found.segments or ())
                yield frame, found
            if answer.frame.index >= last:
                return

    options = SinkOptions(header=RunHeader(model="+".join(answers.names)))
    folder, done = WholeFolder(request.out, replace=False), False
    try:
        folder.create()
        with folder.writing():
            write_frames(
                request.to,
                folder.path,
                stem,
                info,
                labels,
                frames(),
                shown=request.out.name,
                options=options,
            )
        done = True
    finally:
        folder.close(keep=done)
    return request.out


def prelabel(answer: Answer, labels: Labels, kind: str) -> SegmentMap:
    """The labels that people begin with.

    first: the prediction of the first model. agreed: the same, with nothing where the two opinions
    differ.
    """
    found = answer.prediction.map
    if kind == "first" or answer.second is None:
        return found
    doubt = (answer.first != answer.second) & (answer.second != NOTHING)
    if doubt.shape != found.size_hw:
        height, width = found.size_hw
        grown = cv2.resize(
            doubt.astype(np.uint8), (width, height), interpolation=cv2.INTER_NEAREST_EXACT
        )
        doubt = grown > 0
    ids = found.ids.copy()
    ids[doubt] = labels.void if found.segments is None else VOID
    return SegmentMap(ids, found.segments)
