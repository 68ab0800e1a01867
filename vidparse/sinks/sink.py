"""The contract of an output: the class that all are made from, its options and its target."""

from __future__ import annotations

import os
import re
import sys
from abc import ABC, abstractmethod
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO, ClassVar, Self

from vidparse.errors import ClosedPipe, Interrupted, OutputError, TruncatedError, UsageError
from vidparse.filenames import one_or_several
from vidparse.files import kind_of, write_error
from vidparse.frame import Frame, Packet, VideoInfo
from vidparse.labels import Labels
from vidparse.maps import Prediction
from vidparse.requests.outputs import SinkOptions

STDOUT = "-"
_STREAMS = ("a named pipe", "a character device")
_DESCRIPTOR = re.compile(r"/dev/(stdin|stdout|stderr)|/(?:dev|proc/self)/fd/(\d+)")
_NUMBERS = {"stdin": 0, "stdout": 1, "stderr": 2}


@dataclass(slots=True)
class Target:
    """The place of one output.

    name: for messages and summaries; "-" is stdout.
    path: of a file or folder that appears when whole; None for a stream.
    stream: takes the bytes at once; None for a path, and for a device until `open`.
    device: a pipe or device by its path or descriptor, opened and closed here.
    replace: an older file or folder may be replaced.
    """

    name: str
    path: Path | None = None
    stream: BinaryIO | None = None
    device: str | int | None = None
    replace: bool = True

    @classmethod
    def of(cls, where: Target | Path | BinaryIO, *, replace: bool) -> Target:
        """`where` as it is, or for a path or an open stream (which stays open)."""
        if isinstance(where, Target):
            return where
        if isinstance(where, Path):
            return cls(str(where), where, replace=replace)
        return cls(STDOUT, stream=where)

    @property
    def ending(self) -> str:
        """The ending of the name, in small letters: ".mp4"; nothing for stdout."""
        return Path(self.name).suffix.lower()

    def folder(self, output: str) -> Path:
        """The path of an output that is a folder of pictures; `output` is its name.

        Raises:
            UsageError: it is a stream.
        """
        if self.path is None:
            raise UsageError(
                f"-o {self.name}: {output} is a folder of pictures, which a stream cannot carry; "
                "use -o DIR/"
            )
        return self.path

    def open(self) -> None:
        """Open a pipe or device, unless it is open; a pipe waits for its reader.

        Raises:
            OutputError: it cannot be opened.
        """
        if self.device is None or self.stream is not None:
            return
        with stream_errors(self.name):
            # Duplicate a descriptor, so that closing it leaves the caller's own open.
            if isinstance(self.device, int):
                self.stream = os.fdopen(os.dup(self.device), "wb", buffering=0)
            else:
                self.stream = open(self.device, "wb", buffering=0)  # noqa: PTH123, SIM115

    def close(self) -> None:
        """Let go of a pipe or device, so that its reader sees the end."""
        if self.device is not None and self.stream is not None:
            with suppress(OSError):
                self.stream.close()
            self.stream = None


class Sink(ABC):
    """An output of one input: opened once, written in order, closed exactly once.

    A subclass is listed in SINKS. It names its files, and implements `begin`, `add`
    and `end`; this class sees to the order of the calls, and to pipes and devices. As a context
    manager a sink keeps its output at the end of the block, and drops it after an error; an
    interrupt is none.

    Args:
        where: the final path, or an open binary stream; no file is touched yet.
        options: as the user gave them.

    Attributes:
        outputs: final names, for the summary; "-" is stdout.
        notes: for the user, one line each.
    """

    suffix: ClassVar[str]  # of default names: "clip" + suffix
    endings: ClassVar[tuple[str, ...]] = ()  # that a chosen file name may have; empty: any
    by_ending: ClassVar[bool] = True  # `-o x.csv` chooses it; False: only `-o x.tracks.csv` does
    is_folder: ClassVar[bool] = False
    beside: ClassVar[tuple[str, ...]] = ()  # files that lie with the pictures in its folder
    is_text: ClassVar[bool] = False  # and may be shown by a terminal
    copies_streams: ClassVar[bool] = False  # the sound of the input goes into it
    needs_mattes: ClassVar[bool] = False  # of each prediction
    picture_suffix: ClassVar[str] = ""  # in place of `suffix` where the input is one picture
    # Of a file with the one picture there is, or of numbered ones (x_%04d.png):
    picture_endings: ClassVar[tuple[str, ...]] = ()

    def __init__(self, where: Target | Path | BinaryIO, options: SinkOptions) -> None:
        self.target = Target.of(where, replace=options.overwrite)
        self.options = options
        self.outputs: tuple[str, ...] = (self.target.name,)
        self.notes: list[str] = []
        self._begun = self._is_open = False

    @classmethod
    def refuse(cls, options: SinkOptions, labels: Labels) -> None:
        """Refuse options that cannot be met, once the labels are known and before any work.

        Raises:
            UsageError, InputError: classes that are not there, files that cannot be read.
        """
        return None

    @property
    def keeps_parts(self) -> bool:
        """True where an interrupted run leaves the frames so far.

        With --skip-existing the next run would pass over a part as if it were the whole; with
        --resume it makes the whole.
        """
        return self.options.keep_parts and not self.options.skip_existing

    def note_if_semantic(self, prediction: Prediction, output: str) -> None:
        """Note once that the prediction has no objects, for an `output` of objects."""
        note = (
            f"{output}: objects are not known, so all pixels of a class are one segment; a "
            "panoptic model distinguishes them"
        )
        if prediction.segments is None and note not in self.notes:
            self.notes.append(note)

    @abstractmethod
    def begin(self, info: VideoInfo, labels: Labels) -> None:
        """Start writing under a temporary name. `end` comes after it, also when it fails.

        Raises:
            OutputError: the output cannot be written, or cannot hold these labels or pictures.
        """

    @abstractmethod
    def add(self, frame: Frame, prediction: Prediction) -> None:
        """Write one frame.

        Raises:
            OutputError: disk full, or ids that the output cannot hold.
            ClosedPipe: the reader of a stream went away.
        """

    @abstractmethod
    def end(self, *, keep: bool, complete: bool, packets: Sequence[Packet]) -> Path | None:
        """Finalise and put in place (keep), or remove what was written.

        Safe after a failed `begin` or `add`; an output whose writing failed is removed even when
        it is to be kept. Of a run that was interrupted (not `complete`) no output takes the place
        of an older one; where it lies instead is returned. `packets` are the copied-stream packets
        after the last frame.
        """

    def open(self, info: VideoInfo, labels: Labels) -> None:
        """Begin; as `begin`, after a pipe or device was opened."""
        self.target.open()
        self._begun = True
        self.begin(info, labels)
        self._is_open = True

    def write(self, frame: Frame, prediction: Prediction) -> None:
        """Add one frame; as `add`."""
        if not self._is_open:
            raise ValueError("write before open")
        self.add(frame, prediction)

    def close(self, *, keep: bool, complete: bool = True, packets: Sequence[Packet] = ()) -> None:
        """End; as `end`. Harmless when nothing was opened."""
        if not complete and not self.keeps_parts and keep and self._begun:
            if self.options.keep_parts:
                self.notes.append(f"{self.target.name}: interrupted, so nothing of it is kept")
            keep = False

        # Forget the state first: a second close, after one that failed, does nothing.
        begun, self._begun, self._is_open = self._begun, False, False
        left = None
        try:
            if begun:
                left = self.end(keep=keep, complete=complete, packets=packets)
        finally:
            self.target.close()
        if left is not None:
            self.outputs = (str(left),)
            self.notes.append(
                f"{self.target.name}: interrupted, so the older one stays; "
                f"the frames so far lie in {left}"
            )

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: object
    ) -> None:
        interrupted = isinstance(error, Interrupted | KeyboardInterrupt)
        keep = error is None or interrupted or isinstance(error, TruncatedError)
        self.close(keep=keep, complete=not interrupted)


def in_no_frame(name: str, words: str | Sequence[str] | None, so: str) -> str:
    """The note of an output that waited for classes in vain.

    Args:
        name: of the output.
        words: the classes as the user gave them; None: all countable things.
        so: the result.
    """
    wanted = "countable things" if words is None else ",".join(one_or_several(words))
    return f"{name}: {wanted}: in no frame, so {so}"


def is_stdout(out: str) -> bool:
    """By name: -, /dev/stdout and its other names."""
    return out == STDOUT or _descriptor(out) == 1


def stream_at(path: Path) -> Target | None:
    """A target for a pipe, device or descriptor at `path`; None where files appear.

    Raises:
        OutputError: a socket, or a device that holds data at places.
    """
    number = _descriptor(str(path))
    if number is not None:
        return Target(str(path), device=number)
    kind = kind_of(path)
    if kind in _STREAMS:
        return Target(str(path), device=str(path))
    if kind in ("", "a file", "a directory"):
        return None
    raise OutputError(f"{path}: is {kind}; choose another name with -o")


def _descriptor(name: str) -> int | None:
    match = _DESCRIPTOR.fullmatch(name)
    if match is None:
        return None
    return _NUMBERS[match[1]] if match[1] else int(match[2])


def stdout() -> BinaryIO:
    """Raises: OutputError: this process has none."""
    if sys.stdout is None:
        raise OutputError("-o -: stdout is closed; pipe it into a program or redirect it to a file")
    return sys.stdout.buffer


@contextmanager
def stream_errors(name: str) -> Iterator[None]:
    """Turn the system's errors about a pipe or device into OutputErrors.

    Raises:
        ClosedPipe: its reader went away.
        OutputError: any other reason.
    """
    try:
        yield
    except BrokenPipeError as error:
        raise ClosedPipe(f"{name}: the reader closed the pipe; output ends here") from error
    except OSError as error:
        raise write_error(name, error) from error


def other_size(
    place: object, size_hw: tuple[int, int], video_hw: tuple[int, int], advice: str
) -> OutputError:
    """The refusal of a frame by a format that has one size for all frames of a video.

    Args:
        place: the output, for the message. advice: the next step to take.
    """
    (height, width), (tall, wide) = size_hw, video_hw
    return OutputError(
        f"{place}: a frame of {width}x{height} in a video of {wide}x{tall}; {advice}"
    )
