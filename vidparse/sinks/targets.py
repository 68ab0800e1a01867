"""From what the user asked for to sinks: which outputs, called what, and may they be written."""

from __future__ import annotations

import difflib
import os
import re
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import BinaryIO

from vidparse.errors import OutputError, UsageError
from vidparse.sinks.partial import check_target
from vidparse.sinks.sink import ListedSink, Sink, SinkOptions
from vidparse.sinks.submission import Submission

_PATTERN = re.compile(r"[*?\[]|%0?\d*d")


def plan_sinks(
    table: Mapping[str, type[ListedSink]],
    names: Sequence[str],
    *,
    source_name: str,
    out: str | os.PathLike[str] | None,
    options: SinkOptions,
    stdout: BinaryIO | None = None,
    taken: Mapping[str, str],
    video: str | None = None,
) -> list[Sink]:
    """Make the sinks of one input; nothing is written yet but the output directory.

    Args:
        table: sink classes by name.
        names: which of them, each once.
        source_name: the input as the user gave it: path, pattern, URL, "-" or "sample://street".
        out: None (beside the input), a directory (ends in "/", exists, or serves several sinks),
            a file name (one sink), or "-" (stdout, one sink).
        options: what the user said about outputs.
        stdout: where "-" writes; the process's standard output when None.
        taken: outputs of earlier inputs of this call, never to be replaced, and those inputs.
        video: what outputs are called; made of `source_name` unless given.

    Raises:
        UsageError: unknown sink, or a name that does not fit it.
        OutputError: an output exists, is the input, or can not be written there.
    """
    chosen = list(dict.fromkeys(names))
    check_names(chosen, table)
    if out is not None and os.fspath(out) == "-":
        if len(chosen) != 1:
            raise UsageError(
                f"-o -: stdout carries one output, not {len(chosen)} ({', '.join(chosen)}); "
                "choose one with --save"
            )
        sink: Sink = table[chosen[0]](_stdout() if stdout is None else stdout, options)
        return [sink]
    source = source_path(source_name)
    sinks: list[Sink] = []
    for name in chosen:
        kind = table[name]
        final = _final_path(name, kind, source_name, out, single=len(chosen) == 1, video=video)
        submission = None
        if issubclass(kind, Submission):
            submission = kind(final, options, video=video or video_name(source_name))
            final = submission.folder
        if str(final) in taken:
            raise OutputError(
                f"{source_name}: would overwrite {final} of {taken[str(final)]}; "
                "segment them with different -o"
            )
        if submission is not None:
            submission.check(source)
            sinks.append(submission)
            continue
        check_target(final, source=source, overwrite=options.overwrite, is_folder=kind.is_folder)
        sinks.append(kind(final, options))
    return sinks


def _stdout() -> BinaryIO:
    if sys.stdout is None:
        raise OutputError("-o -: stdout is closed; pipe it into a program or redirect it to a file")
    return sys.stdout.buffer


def source_path(source_name: str) -> Path | None:
    """The input as a path of this machine, or None: stdin, URLs, samples, devices, patterns."""
    if source_name == "-" or "://" in source_name or _PATTERN.search(source_name):
        return None
    return Path(source_name)


def source_stem(source_name: str) -> str:
    """What outputs of an input are called: "dir/clip.mp4" -> "clip", "frames/" -> "frames"."""
    if source_name == "-":
        return "stdin"
    if "://" in source_name:
        rest = source_name.split("://", 1)[1].split("?")[0].split("#")[0].rstrip("/")
        stem = Path(rest.rsplit("/", 1)[-1]).stem
    else:
        path = Path(source_name)
        if _PATTERN.search(path.name):
            path = path.parent  # frames/*.png are the pictures of "frames"
        path = path if path.name not in ("", "..") else path.resolve()
        stem = path.name if path.is_dir() or path.suffix == "" else path.stem
    return _harmless(stem) or "video"


def video_name(source_name: str) -> str:
    """What challenges call the video: its stem, but "street" for street/origin/ (VSPW's layout)."""
    stem = source_stem(source_name)
    if stem != "origin" or "://" in source_name:
        return stem
    path = Path(source_name)
    path = path.parent if _PATTERN.search(path.name) else path
    path = path if path.name not in ("", "..") else path.resolve()
    return (_harmless(path.absolute().parent.name) if path.is_dir() else "") or stem


def _harmless(name: str) -> str:
    return re.sub(r"[^\w.+ -]", "_", name).strip(" .")


def _final_path(
    name: str,
    kind: type[ListedSink],
    source_name: str,
    out: str | os.PathLike[str] | None,
    *,
    single: bool,
    video: str | None,
) -> Path:
    """Where the output goes; for a submission, the folder that its videos share."""
    shared = issubclass(kind, Submission)
    stem = video_name(source_name) if shared else source_stem(source_name)
    file_name = (video or stem) + kind.suffix
    if out is None:
        return _beside(source_name) / file_name
    text = os.fspath(out)
    path = Path(text).expanduser()
    separators = tuple(sep for sep in (os.sep, os.altsep) if sep)
    if not single or text.endswith(separators) or path.is_dir():
        return path if shared else path / file_name
    _check_ending(name, kind, path)
    return path


def _beside(source_name: str) -> Path:
    if source_name == "-" or "://" in source_name:
        return Path()
    path = Path(source_name)
    if _PATTERN.search(path.name):
        path = path.parent
    if path.name in ("", ".."):
        path = path.resolve()
    return path.parent


def check_names(names: Sequence[str], table: Mapping[str, type[ListedSink]]) -> None:
    """Raises: UsageError: one of `names` is no output; the nearest one is offered."""
    for name in names:
        if name not in table:
            near = difflib.get_close_matches(name, table, n=1)
            hint = f"did you mean {near[0]}" if near else f"try {', '.join(table)}"
            raise UsageError(f"--save {name}: no such output; {hint}")


def _check_ending(name: str, kind: type[ListedSink], path: Path) -> None:
    ending = path.suffix.lower()
    if kind.is_folder:
        if ending in (".png", ".jpg", ".jpeg", ".mp4", ".mkv", ".mov", ".zip"):
            raise UsageError(
                f"-o {path}: {name} are written to a folder; name one without {ending}"
            )
    elif kind.endings and ending not in kind.endings:
        known = ", ".join(kind.endings)
        why = f"{name} can not be written as '{ending}'" if ending else "no file ending"
        raise UsageError(f"-o {path}: {why}; end it in {known}, or in / for a directory")
