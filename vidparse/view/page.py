"""Pages of results: whole by themselves, they open without a network and however long the video.

The first view stands first: names, timelines and one picture. Ids and the video follow in
blocks that the page opens when it needs them.
"""

from __future__ import annotations

import os
import tempfile
import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import quote

from vidparse.errors import InputError, OutputError, UsageError, VidparseError, counted
from vidparse.filenames import home_path, shortened
from vidparse.files import whole_file
from vidparse.page import check_page, render
from vidparse.requests.view import ViewRequest
from vidparse.sinks.stream import Rows
from vidparse.video.inputs import is_image, is_video
from vidparse.view.blocks import video_elements
from vidparse.view.contents import Made, OnFrame, collect, contents_of
from vidparse.view.result import find_records, find_video, open_results, stem_of

ENDING = ".view.html"
_TEXTS = (".json", ".jsonl", ".md", ".txt", ".pdf", ".xml", ".zip")  # which no folder is called
_HERE = "BLOCKS GO HERE"  # in the template; names are escaped and cannot close a comment


@dataclass(frozen=True, slots=True)
class Page:
    """A page that was written, with the frames it shows and its size in bytes."""

    path: Path
    frames: int
    size: int


def write_pages(
    request: ViewRequest,
    *,
    on_page: Callable[[Page], None] = lambda page: None,
    on_error: Callable[[VidparseError], None] = lambda error: None,
    on_frame: OnFrame = lambda done, total: None,
    stop: threading.Event | None = None,
) -> list[Page]:
    """Write the page of each video; each appears whole or not at all.

    Of several pages one that cannot be written does not stop the others.

    Args:
        on_page: gets each page once it is written.
        on_error: gets why a page was not written, where there are several.
        on_frame: gets the frames of a page that are done, and how many there may be.
        stop: set it to end early.

    Raises:
        InputError: results, ids or the video are missing, damaged, or do not belong together.
        UsageError: the request does not fit what was found.
        OutputError: a page cannot be written, or is there already.
        Interrupted: `stop` was set.
    """
    groups = find_records(request.results)
    if len(groups) > 1 and request.video is not None:
        raise UsageError(
            f"-i {request.video}: there are results of {len(groups)} videos; name one .jsonl"
        )
    places = [_place(request, group[0], is_single=len(groups) == 1) for group in groups]
    for place in places:
        check_page(place)
        if place.exists() and not request.overwrite:
            raise OutputError(f"{place}: exists; use --overwrite or -o")

    pages, failures = [], []
    for group, place in zip(groups, places, strict=True):
        try:
            page = _write(request, group, place, on_frame, stop or threading.Event())
        except (InputError, OutputError) as error:
            if len(groups) == 1:
                raise
            on_error(error)
            failures.append(error)
            continue
        on_page(page)
        pages.append(page)

    # End with an error that counts them: the caller has seen the reasons.
    if failures:
        raise type(failures[0])(
            f"view: {len(failures)} of {counted(len(groups), 'page')} could not be written; "
            "see the reasons above"
        )
    return pages


def _place(request: ViewRequest, records: Path, *, is_single: bool) -> Path:
    """The path of a page: clip.view.html beside the first records, or at -o."""
    name = shortened(stem_of(records), ENDING)
    if request.out is None:
        return records.with_name(name)
    out = home_path(str(request.out))
    if out.suffix.lower() in (".html", ".htm") and not out.is_dir():
        if not is_single:
            raise UsageError(f"-o {out}: there are several pages; give a folder for them")
        return out
    if (is_video(out) or is_image(out) or out.suffix.lower() in _TEXTS) and not out.is_dir():
        raise UsageError(f"-o {out}: a page is HTML; end it in .html, or name a folder")

    # Keep the folders that results of namesakes lie in.
    place = request.results[0]
    return out / (records.parent.relative_to(place) if place.is_dir() else "") / name


def _write(
    request: ViewRequest,
    paths: tuple[Path, ...],
    place: Path,
    on_frame: OnFrame,
    stop: threading.Event,
) -> Page:
    """Write one page: first everything into files that wait, then those in order."""
    group = open_results(paths)
    with ExitStack() as stack:
        rows = Rows(str(place))
        stack.callback(rows.close)
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="vidparse-view-")))
        movie = folder / "page.mp4"
        video = find_video(group[0], request.video)
        made = collect(request, group, video, movie, rows, on_frame, stop)

        link = quote(_relative(video.path, place)) if request.link and video.path else None
        contents = contents_of(made, link=link)
        html = render("view.html", **contents).encode("utf-8", "backslashreplace")
        head, found, tail = html.partition(f"<!-- {_HERE} -->\n".encode())
        assert found

        with whole_file(place) as part, part.open("wb") as file:
            file.write(head)
            for data in _blocks(made, rows, None if link else movie):
                file.write(data)
            file.write(tail)
        return Page(place, made.frames, place.stat().st_size)


def _relative(video: Path, place: Path) -> str:
    return Path(os.path.relpath(video.absolute(), place.absolute().parent)).as_posix()


def _blocks(made: Made, rows: Rows, movie: Path | None) -> Iterator[bytes]:
    """Elements of blocks: short ones first, then the ids, and the video last."""
    yield from made.columns
    yield from rows.blocks()
    if movie is not None:
        yield from video_elements(movie)
