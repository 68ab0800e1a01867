"""From the options of a call to sinks: which outputs, where, and may they be written there."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Mapping, Sequence
from functools import wraps
from pathlib import Path
from typing import BinaryIO, ParamSpec, TypeVar

from vidparse.errors import OutputError, UsageError
from vidparse.filenames import home_path, real_path, shortened
from vidparse.files import WholeFile, WholeFolder, write_error
from vidparse.requests.matte import MatteOptions
from vidparse.requests.outputs import SinkOptions
from vidparse.requests.redaction import RedactOptions
from vidparse.sinks.names import (
    JOURNAL,
    check_names,
    check_out,
    final_path,
    has_known_ending,
    names_a_file,
    saved_as,
    video_name,
)
from vidparse.sinks.pictures import check_target, is_empty, is_made, is_numbered, numbered_files
from vidparse.sinks.sink import STDOUT, Sink, Target, is_stdout, stdout, stream_at
from vidparse.sinks.submission import Submission
from vidparse.video import Input

P = ParamSpec("P")
T = TypeVar("T")
DEFAULT_SAVE = ("overlay", "masks")


def _as_output_errors(function: Callable[P, T]) -> Callable[P, T]:
    """Turn the system's errors about a place (too long a name, a closed folder) to OutputErrors."""

    @wraps(function)
    def wrapped(*args: P.args, **kwargs: P.kwargs) -> T:
        try:
            return function(*args, **kwargs)
        except OSError as error:
            raise write_error(error.filename or "the output", error) from error

    return wrapped


def with_implied(
    table: Mapping[str, type[Sink]], save: tuple[str, ...] | None, options: SinkOptions
) -> tuple[str, ...] | None:
    """The outputs that were named, and those that other options need.

    Each option of redaction turns it on: nobody shall take a picture for redacted that is not.

    Raises:
        UsageError: options of mattes without any output that takes one.
    """
    named, mattes = save or (), options.mattes
    implied = []

    # Take a background for a matte, too, and the matte for what its options are about.
    if mattes.background is not None and "background" not in named:
        implied.append("background")
    has_mattes = any(name in table and table[name].needs_mattes for name in (*named, *implied))
    if mattes.matte is not None and not has_mattes:
        implied.append("matte")
    elif mattes != MatteOptions() and not has_mattes:
        raise UsageError(
            "--matte-edges, --no-matte-smoothing: no output takes a matte; add --save matte, or "
            "--matte"
        )

    if options.redaction != RedactOptions() and "redact" not in named:
        implied.append("redact")
    return (*named, *implied) if implied else save


@_as_output_errors
def choose_outputs(
    table: Mapping[str, type[Sink]],
    save: Sequence[str] | None,
    out: str | None,
    *,
    inputs: Sequence[Input],
) -> tuple[tuple[str, ...], str | None]:
    """The outputs of a call, and where they go.

    Args:
        table: sink classes by name.
        save: names of outputs; None for those of `out` or the default.
        out: as for :func:`plan_sinks`.
        inputs: all of the call.

    Raises:
        UsageError: an unknown output, an ending that no output has, or one file for several.
    """
    check_names(save or (), table)
    if out is None:
        return tuple(save or DEFAULT_SAVE), None
    check_out(out, table)
    several = len(inputs) > 1

    # A stream takes one output, and no terminal is sent a video.
    if _stream(out, None) is not None:
        if several:
            word = "stdout" if is_stdout(out) else "a stream"
            raise UsageError(f"-o {out}: {word} carries one video, not {len(inputs)}; use -o DIR/")
        names = tuple(save or ("overlay",))
        if is_stdout(out) and sys.stdout.isatty() and not all(table[n].is_text for n in names):
            raise UsageError(
                f"-o {out}: no video goes to a terminal; pipe it on or redirect it to a file"
            )
        return names, STDOUT if is_stdout(out) else out

    # A folder takes any number of outputs.
    if not names_a_file(out):
        return tuple(save or DEFAULT_SAVE), f"{out}/" if several else out
    is_free = len(set(save or ())) == 1 or not has_known_ending(out, table)
    if save is not None and is_free and any(table[name].is_folder for name in save):
        return tuple(save), out  # a folder may be called as it likes, but not as a file

    if several:
        raise UsageError(
            f"-o {out}: one file for {len(inputs)} inputs; name a directory, {out}/ for one"
        )
    if save is not None and len(set(save)) > 1:
        raise UsageError(
            f"-o {out}: one file for {len(set(save))} outputs ({', '.join(save)}); "
            f"name a directory, {out}/ for one"
        )

    is_picture = len(inputs) == 1 and inputs[0].is_picture
    return tuple(save or (saved_as(out, table, is_picture=is_picture),)), out


@_as_output_errors
def plan_sinks(
    table: Mapping[str, type[Sink]],
    names: Sequence[str],
    *,
    source: Input,
    out: str | os.PathLike[str] | None,
    options: SinkOptions,
    stream: BinaryIO | None = None,
    taken: Mapping[str, str],
    protected: Protected | None = None,
    video: str | None = None,
) -> list[Sink]:
    """Make the sinks of one input; nothing is written yet but the output directory.

    Args:
        table: sink classes by name.
        names: which of them, each once.
        source: the input.
        out: None (beside the input), a directory (ends in "/", exists, or serves several sinks),
            a file name (one sink), "-" (stdout, one sink), or a pipe or device (one sink).
        options: of outputs, as the user gave them.
        stream: where "-" writes; the process's standard output when None.
        taken: outputs of earlier inputs of this call, never to be replaced, and those inputs.
        protected: all inputs of this call; `source` alone when None.
        video: the name of outputs; that of `source` unless given.

    Raises:
        UsageError: unknown sink, or a name that does not fit it.
        OutputError: an output exists, is the input, or cannot be written there.
    """
    chosen = list(dict.fromkeys(names))
    check_names(chosen, table)
    streamed = None if out is None else _stream(os.fspath(out), stream)

    if streamed is not None:
        if len(chosen) != 1:
            word = "stdout" if is_stdout(streamed.name) else "a stream"
            raise UsageError(
                f"-o {streamed.name}: {word} carries one output, not {len(chosen)} "
                f"({', '.join(chosen)}); choose one with --save"
            )
        sink = table[chosen[0]](streamed, options)
        streamed.open()  # now, when an interrupt still ends the waiting for a reader
        return [sink]

    sinks: list[Sink] = []
    for name in chosen:
        kind = table[name]
        final = final_path(name, table, source, out, single=len(chosen) == 1, video=video)
        submission = None
        if issubclass(kind, Submission):
            submission = kind(final, options, video=video or video_name(source))
            final = submission.folder

        # Refuse two inputs that end in one place, before any of them is read.
        if str(final) in taken:
            raise OutputError(
                f"{source.name}: would overwrite {final} of {taken[str(final)]}, as both have one "
                "name; rename one of them, or segment them with different -o"
            )
        is_folder = _becomes_folder(final, kind)
        (protected or Protected([source])).check(final, is_folder=is_folder)

        of_pictures = source.path is not None and (source.path.is_dir() or source.is_picture)
        if submission is not None:
            submission.check(of_pictures=of_pictures)
            sinks.append(submission)
            continue

        replace = options.overwrite or (options.skip_existing and is_empty(final))
        check_target(
            final,
            overwrite=replace,
            is_folder=is_folder,
            of_pictures=of_pictures,
            beside=kind.beside,
        )
        sinks.append(kind(Target.of(final, replace=replace), options))
    return sinks


@_as_output_errors
def missing_outputs(
    table: Mapping[str, type[Sink]],
    names: Sequence[str],
    *,
    source: Input,
    out: str | os.PathLike[str] | None,
    taken: Mapping[str, str],
) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """Names of the outputs of an input that are not there yet, and the paths of those that are.

    Arguments as of `plan_sinks`. A path that an earlier input of this call has counts as missing;
    so does an empty file or folder, which is no output (they appear whole) and may be replaced.
    """
    if out is not None and _stream(os.fspath(out), None) is not None:
        return tuple(names), ()
    missing, there = list[str](), list[str]()

    for name in dict.fromkeys(names):
        kind = table[name]
        final = final_path(name, table, source, out, single=len({*names}) == 1, video=None)

        # Let the sink give its place: challenges lay out their own folders.
        if issubclass(kind, Submission):
            submission = kind(final, SinkOptions(), video=video_name(source))
            final, made = submission.folder, submission.is_made()
        else:
            made = is_made(final, is_folder=_becomes_folder(final, kind))

        if made and str(final) not in taken:
            there.append(str(final))
        else:
            missing.append(name)
    return tuple(missing), tuple(there)


@_as_output_errors
def journal_folders(
    table: Mapping[str, type[Sink]],
    names: Sequence[str],
    *,
    source: Input,
    out: str | os.PathLike[str] | None,
) -> tuple[Path, ...]:
    """A folder beside each output of an input, of which the first is for its journal.

    Another order of outputs has its journal in another of them. None for a stream. Arguments as of
    `plan_sinks`.
    """
    if out is not None and _stream(os.fspath(out), None) is not None:
        return ()
    found = []
    for name in dict.fromkeys(names):
        final = final_path(name, table, source, out, single=len({*names}) == 1, video=None)
        kind = table[name]
        if issubclass(kind, Submission):
            final = kind(final, SinkOptions(), video=video_name(source)).folder
        found.append(final.with_name(shortened(f".{final.name}", JOURNAL)))
    return tuple(found)


def _becomes_folder(final: Path, kind: type[Sink]) -> bool:
    return kind.is_folder and final.suffix.lower() not in kind.picture_endings


def _stream(out: str, stream: BinaryIO | None) -> Target | None:
    """The stream that `out` names: stdout, a pipe or a device; None for files and folders."""
    if is_stdout(out):
        return Target(STDOUT, stream=stdout() if stream is None else stream)
    return stream_at(home_path(out))


class Protected:
    """The inputs of a call, of which no output may take the place."""

    def __init__(self, inputs: Sequence[Input]) -> None:
        self._files: set[tuple[int, int]] = set()
        self._pictures: set[tuple[int, int]] = set()
        self._above: set[Path] = set()  # folders that hold an input

        # Know inputs by device and number: links and spellings give a file several names.
        for one in inputs:
            if one.path is not None and (key := _file_key(one.path)) is not None:
                self._files.add(key)
                self._above.update(real_path(one.path).parents)
            self._pictures.update(filter(None, map(_file_key, one.images or ())))

    def __contains__(self, path: Path) -> bool:
        """True for an input, or a folder that holds one."""
        key = _file_key(path)
        return key in self._files or key in self._pictures or real_path(path) in self._above

    def check(self, final: Path, *, is_folder: bool) -> None:
        """Raises: OutputError: writing `final` would replace an input, or a folder with one."""
        if is_numbered(final):
            inputs = self._pictures | self._files
            if any(_file_key(path) in inputs for path in numbered_files(final)):
                raise OutputError(f"{final}: is what the input is called; choose another with -o")
            return

        # Check the temporary name, too: an input may be called clip.vidparse-part.mp4.
        for path in (final, (WholeFolder if is_folder else WholeFile)(final).path):
            key = _file_key(path)
            if key in self._files:
                raise OutputError(f"{final}: is the input itself; choose another name with -o")
            if key in self._pictures:
                raise OutputError(f"{final}: is a picture of the input; choose another with -o")
            if is_folder and real_path(path) in self._above:
                raise OutputError(f"{final}: holds the input; choose another folder with -o")


def _file_key(path: Path) -> tuple[int, int] | None:
    """The same for all names of one file or folder; None where nothing is."""
    try:
        status = path.stat()
    except OSError:
        return None
    return status.st_dev, status.st_ino
