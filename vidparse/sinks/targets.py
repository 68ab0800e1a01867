"""From what the user asked for to sinks: which outputs, called what, and may they be written."""

from __future__ import annotations

import difflib
import os
import unicodedata
from collections.abc import Mapping, Sequence, Set
from pathlib import Path
from typing import BinaryIO

from vidparse.errors import OutputError, UsageError
from vidparse.filenames import home_path, same_file
from vidparse.files import WholeFile, WholeFolder
from vidparse.sinks.pictures import check_target
from vidparse.sinks.sink import Sink, SinkOptions
from vidparse.sinks.stream import STDOUT, Target, is_stdout, stdout, stream_at
from vidparse.sinks.submission import Submission
from vidparse.video.inputs import VIDEO_SUFFIXES, Input

DEFAULT_SAVE = ("overlay", "masks")
_SAVED_AS = {  # the output that a file with this ending holds, where none is named
    **dict.fromkeys((".mp4", ".mov", ".mkv"), "overlay"),
    ".nut": "mask-video",
    ".jsonl": "jsonl",
    ".csv": "csv",
}
_RESERVED = frozenset('/\\:*?"<>|')  # that some file systems refuse; addresses may hold them
_UNPRINTABLE = frozenset(("Cc", "Cs", "Zl", "Zp"))  # categories of Unicode


def choose_outputs(
    table: Mapping[str, type[Sink]],
    save: Sequence[str] | None,
    out: str | None,
    *,
    inputs: int,
) -> tuple[tuple[str, ...], str | None]:
    """The outputs of a call, and where they go.

    Args:
        table: sink classes by name.
        save: names of outputs; None for those that `out` or the default says.
        out: as for :func:`plan_sinks`.
        inputs: their number.

    Raises:
        UsageError: an unknown output, or one file for several.
    """
    check_names(save or (), table)
    if out is None:
        return tuple(save or DEFAULT_SAVE), None
    if _stream(out, None) is not None:
        if inputs > 1:
            raise UsageError(
                f"-o {out}: {_stream_word(out)} carries one video, not {inputs}; use -o DIR/"
            )
        return tuple(save or ("overlay",)), STDOUT if is_stdout(out) else out
    if not _names_a_file(out):
        return tuple(save or DEFAULT_SAVE), f"{out}/" if inputs > 1 else out
    if inputs > 1:
        raise UsageError(f"-o {out}: one file for {inputs} inputs; name a directory")
    if save is not None and len(set(save)) > 1:
        raise UsageError(
            f"-o {out}: one file for {len(set(save))} outputs ({', '.join(save)}); name a directory"
        )
    kind = _SAVED_AS.get(Path(out).suffix.lower(), "overlay")
    return tuple(save or ("mask-video" if out.endswith(".masks.mkv") else kind,)), out


def _names_a_file(out: str) -> bool:
    known = Path(out).suffix.lower() in {*_SAVED_AS, *VIDEO_SUFFIXES}
    return known and not out.endswith("/") and not home_path(out).is_dir()


def plan_sinks(
    table: Mapping[str, type[Sink]],
    names: Sequence[str],
    *,
    source: Input,
    out: str | os.PathLike[str] | None,
    options: SinkOptions,
    stream: BinaryIO | None = None,
    taken: Mapping[str, str],
    inputs: Sequence[Input] = (),
    video: str | None = None,
) -> list[Sink]:
    """Make the sinks of one input; nothing is written yet but the output directory.

    Args:
        table: sink classes by name.
        names: which of them, each once.
        source: the input.
        out: None (beside the input), a directory (ends in "/", exists, or serves several sinks),
            a file name (one sink), "-" (stdout, one sink), or a pipe or device (one sink).
        options: what the user said about outputs.
        stream: where "-" writes; the process's standard output when None.
        taken: outputs of earlier inputs of this call, never to be replaced, and those inputs.
        inputs: all inputs of this call, of which none may be replaced.
        video: the name of outputs; that of `source` unless given.

    Raises:
        UsageError: unknown sink, or a name that does not fit it.
        OutputError: an output exists, is the input, or can not be written there.
    """
    chosen = list(dict.fromkeys(names))
    check_names(chosen, table)
    streamed = None if out is None else _stream(os.fspath(out), stream)
    if streamed is not None:
        if len(chosen) != 1:
            word = _stream_word(streamed.name)
            raise UsageError(
                f"-o {streamed.name}: {word} carries one output, not {len(chosen)} "
                f"({', '.join(chosen)}); choose one with --save"
            )
        return [table[chosen[0]](streamed, options)]
    sinks: list[Sink] = []
    for name in chosen:
        kind = table[name]
        final = _final_path(name, kind, source, out, single=len(chosen) == 1, video=video)
        submission = None
        if issubclass(kind, Submission):
            submission = kind(final, options, video=video or video_name(source))
            final = submission.folder
        if str(final) in taken:
            raise OutputError(
                f"{source.name}: would overwrite {final} of {taken[str(final)]}; "
                "segment them with different -o"
            )
        _check_inputs(final, (source, *inputs), is_folder=kind.is_folder)
        of_pictures = source.path is not None and source.path.is_dir()
        if submission is not None:
            submission.check(of_pictures=of_pictures)
            sinks.append(submission)
            continue
        check_target(
            final,
            overwrite=options.overwrite,
            is_folder=kind.is_folder,
            of_pictures=of_pictures,
        )
        sinks.append(kind(final, options))
    return sinks


def _stream_word(name: str) -> str:
    return "stdout" if is_stdout(name) else "a stream"


def _stream(out: str, stream: BinaryIO | None) -> Target | None:
    """What `out` names as a stream: stdout, a pipe or a device; None for files and folders."""
    if is_stdout(out):
        return Target(STDOUT, stream=stdout() if stream is None else stream)
    return stream_at(home_path(out))


def _check_inputs(final: Path, inputs: Sequence[Input], *, is_folder: bool) -> None:
    """Raises: OutputError: writing `final` would replace an input, or a folder that holds one."""
    partial = (WholeFolder if is_folder else WholeFile)(final).path
    for one in inputs:
        if one.path is None or not one.path.exists():
            continue
        for path in (final, partial):
            if same_file(path, one.path):
                raise OutputError(f"{final}: is the input itself; choose another name with -o")
            if any(same_file(path, picture) for picture in one.images or ()):
                raise OutputError(f"{final}: is a picture of the input; choose another with -o")
            if is_folder and path.resolve() in one.path.resolve().parents:
                raise OutputError(f"{final}: holds the input; choose another folder with -o")


def source_stem(source: Input) -> str:
    """The name of an input's outputs: "dir/clip.mp4" -> "clip", "frames/" -> "frames"."""
    if source.name == "-":
        return "stdin"
    if source.path is None:
        return _harmless(_address_stem(source.name), _RESERVED) or "video"
    path = _named(source.path)
    whole = path.is_dir() or source.pattern is not None or path.suffix == ""
    return _harmless(path.name if whole else path.stem) or "video"


def _address_stem(address: str) -> str:
    """The last part of an address without its ending; the host and port where there is no more."""
    rest = address.rpartition("://")[2].split("?")[0].split("#")[0].rstrip("/")
    host, _, place = rest.rpartition("/")
    return Path(place).stem if host else place


def video_name(source: Input) -> str:
    """The name of a video in challenges: its stem, but "street" for street/origin/ (VSPW)."""
    stem = source_stem(source)
    if stem != "origin" or source.path is None:
        return stem
    path = _named(source.path)
    return (_harmless(path.absolute().parent.name) if path.is_dir() else "") or stem


def _named(path: Path) -> Path:
    """`path` with a name of its own: that of the working directory for "."."""
    return path.resolve() if path.name in ("", "..") else path


def _harmless(name: str, refused: Set[str] = frozenset()) -> str:
    """`name` with _ for control characters, broken bytes and what is `refused`; letters stay."""
    kept = (
        "_" if char in refused or unicodedata.category(char) in _UNPRINTABLE else char
        for char in name
    )
    return "".join(kept).strip(" .")


def _final_path(
    name: str,
    kind: type[Sink],
    source: Input,
    out: str | os.PathLike[str] | None,
    *,
    single: bool,
    video: str | None,
) -> Path:
    """Where the output goes; for a submission, the folder that its videos share."""
    shared = issubclass(kind, Submission)
    stem = video_name(source) if shared else source_stem(source)
    file_name = (video or stem) + kind.suffix
    if out is None:
        return _beside(source) / file_name
    text = os.fspath(out)
    path = home_path(text)
    separators = tuple(sep for sep in (os.sep, os.altsep) if sep)
    if not single or text.endswith(separators) or path.is_dir():
        return path if shared else path / file_name
    _check_ending(name, kind, path)
    return path


def _beside(source: Input) -> Path:
    return Path() if source.path is None else _named(source.path).parent


def check_names(names: Sequence[str], table: Mapping[str, type[Sink]]) -> None:
    """Raises: UsageError: one of `names` is no output; the nearest one is offered."""
    for name in names:
        if name not in table:
            near = difflib.get_close_matches(name, table, n=1)
            hint = f"did you mean {near[0]}" if near else f"try {', '.join(table)}"
            raise UsageError(f"--save {name}: no such output; {hint}")


def _check_ending(name: str, kind: type[Sink], path: Path) -> None:
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
