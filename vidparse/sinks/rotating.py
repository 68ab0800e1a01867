"""Outputs in pieces: whole files of so long or so large, with the time of their first frame."""

from __future__ import annotations

import math
import os
import time
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

from vidparse.errors import OutputError, UsageError, counted
from vidparse.filenames import home_path
from vidparse.files import WholeFile, WholeFolder
from vidparse.frame import Frame, Packet, VideoInfo
from vidparse.labels import Labels
from vidparse.maps import Prediction
from vidparse.requests.live import Rotation
from vidparse.requests.outputs import SinkOptions
from vidparse.sinks import SINKS, make_sinks
from vidparse.sinks.names import names_a_file, source_stem
from vidparse.sinks.pictures import is_numbered, numbered_files
from vidparse.sinks.sink import Sink, Target, is_stdout, stream_at
from vidparse.sinks.submission import Submission
from vidparse.sinks.targets import Protected
from vidparse.video import Input
from vidparse.video.demux import copied_streams, stream_and_time

_LISTED = 1000  # names of pieces that are kept for the summary
_MOST_TAKEN = 1000  # names in a row that other files have
_MOST_NOTES = 20
_EVERY_FRAMES = 25  # between two looks at the size, at least
_LATE_S = 2.0  # for which a piece that is full waits for its sound
MakeSinks = Callable[[str], list[Sink]]  # of a piece, by what is added to the names


def check_rotation(names: Sequence[str], out: str | None, other: str) -> None:
    """Refuse what has no pieces.

    Args:
        names: of outputs.
        out: where they go.
        other: an option that was given and knows outputs by their names; "": none.

    Raises:
        UsageError: a stream, outputs that collect the videos of several runs, or that option.
    """
    if out is not None and (is_stdout(out) or stream_at(home_path(out)) is not None):
        raise UsageError(f"--rotate: -o {out} is a stream, which has no pieces; use -o DIR/")
    if other:
        raise UsageError(
            f"--rotate and {other}: give one of them; pieces have new names at every run"
        )
    shared = next((name for name in names if issubclass(SINKS[name], Submission)), None)
    if shared is not None:
        raise UsageError(f"--rotate: {shared} collects whole videos; save something else")


def rotating(
    names: Sequence[str],
    rotation: Rotation,
    *,
    source: Input,
    out: str | os.PathLike[str] | None,
    options: SinkOptions,
    taken: Mapping[str, str],
    protected: Protected,
) -> Rotating:
    """The outputs of an input in pieces; the arguments are those of `make_sinks`.

    Raises:
        UsageError, OutputError: as `make_sinks`.
    """

    def make(stamp: str) -> list[Sink]:
        place, stem = with_stamp(out, source_stem(source), stamp)
        sinks = make_sinks(
            names,
            source=source,
            out=place,
            options=replace(options, overwrite=True),  # names that are taken are passed over
            taken=taken,
            protected=protected,
            video=stem,
        )
        for sink in sinks:
            sink.target.replace = False
        return sinks

    return Rotating(make, rotation, options)


def with_stamp(out: str | os.PathLike[str] | None, stem: str, stamp: str) -> tuple[str | None, str]:
    """Place and stem of a piece, in front of what an output adds.

    They are out/ and "cam.20261130T012500.250Z", or cam.20261130T012500.250Z.mp4.

    Args:
        out: a folder, the name of a file, or None.
        stem: of the outputs of the input.
    """
    if out is None:
        return None, f"{stem}.{stamp}"
    text = os.fspath(out)
    if not names_a_file(text):
        return f"{text.rstrip('/')}/" if text.strip("/") else text, f"{stem}.{stamp}"

    # Put the time before the place of a frame's number: x_%04d.png is x.STAMP_%04d.png.
    path = Path(text)
    before, percent, after = path.stem.partition("%")
    joint = f"{before.rstrip('_-.')}.{stamp}"
    rest = f"_{percent}{after}" if percent else ""
    return str(path.with_name(f"{joint}{rest}{path.suffix}")), stem


class Rotating(Sink):
    """Several outputs of one input, which begin anew together.

    A piece ends before the first frame that lies so long behind its first one, or once its files
    are so large. It is put in place whole, and never takes the place of an older file. Sound may
    come later than the pictures of its time, so a piece stays open until its sound is there.

    Args:
        make: makes the sinks of a piece.
        rotation: how long, or how large.
    """

    suffix = ""

    def __init__(self, make: MakeSinks, rotation: Rotation, options: SinkOptions) -> None:
        super().__init__(Target("pieces"), options)
        self._make, self._rotation = make, rotation
        self._now: list[Sink] = []
        self._before: list[Sink] = []  # the piece before, while it waits for its sound
        self._late: list[Packet] = []  # that sound
        self._awaited: set[int] = set()  # streams of which it may still come
        self._names: deque[str] = deque(maxlen=_LISTED)
        self._pieces = 0
        self._begun_s = self._look_at = 0.0
        self._frames = 0
        self._notes: dict[str, int] = {}  # how many pieces have each
        self.outputs = ()

        # Check once now: a place that cannot be written to is known before the first frame.
        make(_stamp(time.time()))

    def begin(self, info: VideoInfo, labels: Labels) -> None:
        self._info, self._labels = info, labels

    def add(self, frame: Frame, prediction: Prediction) -> None:
        if self._now and self._is_full(frame):
            self._close_before()
            self._before, self._now = self._now, []
            self._awaited = self._heard()
        if not self._now:
            self._begin_piece(frame)

        # Give the piece before the sound that is its own, and let it go once that is complete.
        if self._before:
            frame = replace(frame, packets=self._without_late(frame.packets))
            if not self._awaited or frame.time_s - self._begun_s > _LATE_S:
                self._close_before()

        for sink in self._now:
            sink.write(frame, prediction)
        self._frames += 1

    def end(self, *, keep: bool, complete: bool, packets: Sequence[Packet]) -> Path | None:
        if self._before:
            packets = self._without_late(packets)
        try:
            self._close_before()
        finally:
            self._close_piece(self._now, keep=keep, complete=complete, packets=packets)
        if self._pieces > 1:
            self.notes.append(f"outputs are {counted(self._pieces, 'piece')}")
        self.notes += (
            note if count == 1 else f"{note} (in {counted(count, 'piece')})"
            for note, count in self._notes.items()
        )
        return None

    def _is_full(self, frame: Frame) -> bool:
        if self._rotation.seconds is not None:
            # Allow for the rounding of stamps: a piece of 10 s has 250 frames of 25 a second.
            tolerance_s = 0.5 / float(self._info.nominal_rate)
            return frame.time_s - self._begun_s > self._rotation.seconds - tolerance_s
        assert self._rotation.size is not None
        if self._frames < self._look_at:
            return False

        # Look again after a quarter of what is left, or of what there is: encoders write late, so
        # that the first size may be a header's, and to look at a folder of masks takes time.
        size = sum(map(_size, self._now))
        left = self._frames * (self._rotation.size / size - 1) if size else math.inf
        self._look_at = self._frames + max(_EVERY_FRAMES, min(left, self._frames) / 4)
        return size >= self._rotation.size

    def _heard(self) -> set[int]:
        """The streams of sound that the outputs copy, by the index of their packets."""
        if not (self.options.audio and any(type(sink).copies_streams for sink in self._before)):
            return set()
        return {one.index for one in copied_streams(self._info) if one.kind == "audio"}

    def _without_late(self, packets: Sequence[Packet]) -> tuple[Packet, ...]:
        """Those of the piece under way; what begins before it is kept for the piece before."""
        kept = []
        for packet in packets:
            stream, time_s = stream_and_time(packet)
            if time_s is not None and time_s < self._begun_s:
                self._late.append(packet)
                continue
            self._awaited.discard(stream)
            kept.append(packet)
        return tuple(kept)

    def _begin_piece(self, frame: Frame) -> None:
        utc_s = time.time() if frame.arrival is None else frame.arrival.utc_s

        # Look for names that are free, a millisecond on at a time: clocks are set back.
        open_now = {sink.target.path for sink in self._before}
        for taken in range(_MOST_TAKEN):
            sinks = self._make(_stamp(utc_s + taken / 1000))
            if not any(sink.target.path in open_now or _is_there(sink) for sink in sinks):
                break
        else:
            raise OutputError(f"{sinks[0].target.name}: no name is free; choose another -o")

        self._now, self._begun_s, self._frames = [], frame.time_s, 0
        self._look_at = float(_EVERY_FRAMES)
        self._pieces += 1
        for sink in sinks:
            self._now.append(sink)  # also if it fails now: it is put away with the others
            sink.open(self._info, self._labels)

    def _close_before(self) -> None:
        """Put the piece before in place, if one still waits: all its frames are there."""
        packets, self._late = self._late, []
        self._close_piece(self._before, keep=True, complete=True, packets=packets)

    def _close_piece(
        self, piece: list[Sink], *, keep: bool, complete: bool, packets: Sequence[Packet]
    ) -> None:
        """Close all sinks of a piece, whatever one of them raises, and empty it."""
        sinks = piece.copy()
        piece.clear()
        error: BaseException | None = None

        # Close every one: an output that fails must not leave the others under partial names.
        for sink in sinks:
            try:
                sink.close(keep=keep and error is None, complete=complete, packets=packets)
            except Exception as problem:
                error = error or problem

        for sink in sinks:
            self._names.extend(sink.outputs if keep and error is None else ())
            for note in sink.notes:
                if note in self._notes or len(self._notes) < _MOST_NOTES:
                    self._notes[note] = self._notes.get(note, 0) + 1
        self.outputs = tuple(self._names)
        if error is not None:
            raise error


def _stamp(utc_s: float) -> str:
    """The time in letters that sort as time does: 20261130T012500.250Z.

    Args:
        utc_s: seconds since 1970, cut to a millisecond.
    """
    at_ms = math.floor(utc_s * 1000 + 1e-3)  # 0.001 s behind 0.1 s is not 0.100999
    whole_s, rest_ms = divmod(at_ms, 1000)
    return f"{datetime.fromtimestamp(whole_s, UTC):%Y%m%dT%H%M%S}.{rest_ms:03d}Z"


def _is_there(sink: Sink) -> bool:
    path = sink.target.path
    if path is None:
        return False
    if is_numbered(path):
        return any(numbered_files(path))
    return any(os.path.lexists(one) for one in (str(path), *sink.outputs))


def _size(sink: Sink) -> int:
    """Bytes that a sink has written so far, under temporary names."""
    # Go by the outputs: of each matte there is a file, and the target is the name of none.
    return sum(_written(Path(name), sink) for name in sink.outputs)


def _written(final: Path, sink: Sink) -> int:
    """Bytes of one output so far."""
    try:
        if not (type(sink).is_folder or is_numbered(final)):
            return WholeFile(final).path.stat().st_size
        folders = os.walk(WholeFolder(final).path)
        files = (Path(place, name) for place, _, names in folders for name in names)
        return sum(file.stat().st_size for file in files)
    except OSError:
        return 0
