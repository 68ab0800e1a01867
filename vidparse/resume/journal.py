"""The journal of a video under way: a folder with its predictions so far, and a memory to go on by.

    job.json            the job; another one is refused; at the end, the list of its outputs
    frames              the predictions, one after another
    memory-0, memory-1  the memory of the session after some frame, by turns

A frame counts once a memory that was taken after it is on the disk. Entries that a killed process
wrote behind that are cut off. Every entry has its length and a checksum before it, so that one
that a power loss tore is known. Once the outputs are whole, `job.json` alone stays and lists them,
so that the same call finds its work done.
"""

from __future__ import annotations

import json
import os
import shutil
import struct
import time
import zlib
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO, Self

from vidparse.errors import (
    InputError,
    Interrupted,
    OutputError,
    TruncatedError,
    UsageError,
    VidparseError,
    counted,
)
from vidparse.files import lock_folder, whole_file, write_error
from vidparse.frame import Frame
from vidparse.inference.memory import Answering, Finishing
from vidparse.labels import Labels
from vidparse.maps import Prediction, SegmentMap
from vidparse.maps.matte import Matte
from vidparse.resume.made import Made
from vidparse.resume.plain import pack, unpack
from vidparse.textfiles import Json, as_list, as_table, as_word, parse_json

FIRST_S, EVERY_S = 1.0, 5.0  # until a memory is kept, and from one to the next
_LEAST_SHARE = 30  # times as long as keeping one takes, at the least
_ENTRY = struct.Struct("<II")  # length, CRC-32
_JOB, _FRAMES, _MEMORIES = "job.json", "frames", ("memory-0", "memory-1")
_SCHEMA = "vidparse-resume/1"
_OTHER_INPUT = "the input has changed since, or is another"


@dataclass(frozen=True, slots=True)
class Recorded:
    """The prediction of one frame. Margins are left out: mattes are made of them already."""

    index: int
    pts: int
    map: SegmentMap
    mattes: tuple[Matte, ...]


@dataclass(frozen=True, slots=True)
class Memory:
    """The memory of a session after so many frames, whose predictions end at a byte."""

    frames: int
    end: int
    answering: Answering
    finishing: Finishing


class Journal:
    """The journal of one input's outputs, for one process at a time.

    Args:
        folder: of the journal; nothing is made yet.
        job: the facts that it belongs to (input, model, options), by the names that users know.

    Attributes:
        memory: the last that is on the disk; None: the video begins anew.
        is_found: an earlier call began it, and its outputs are ours to replace.
        made: the outputs, where an earlier call completed all of this very job.

    Raises:
        UsageError: it is of another job; the first setting that differs is named.
        OutputError: it is damaged, or another process has it.
    """

    def __init__(self, folder: Path, job: Mapping[str, str]) -> None:
        self.folder, self._job = folder, dict(job)
        self.memory: Memory | None = None
        self._lock: int | None = None
        self._file: BinaryIO | None = None
        self._slot = 0  # of the next memory
        self._is_kept = False  # as the record of what was made
        self._added = 0  # frames, with those since the last memory
        self._cost_s = 0.0
        self._due_s = time.monotonic() + FIRST_S

        self.made: tuple[Made, ...] = ()
        self._earlier = ""  # how the job differs whose outputs are there
        self.is_found = (folder / _JOB).is_file()
        if self.is_found:
            self._take()
            try:
                self._look()
            except BaseException:
                self._release()
                raise
        self._known = self.frames  # by earlier calls

    @property
    def frames(self) -> int:
        """Frames that a next call need not segment again."""
        return 0 if self.memory is None else self.memory.frames

    @property
    def notes(self) -> tuple[str, ...]:
        """Lines for the user."""
        if not self._known:
            return ()
        return (f"went on after {counted(self._known, 'frame')} of an earlier call",)

    def with_way_on(self, error: VidparseError) -> VidparseError:
        """The error that ended the run, with the words on how to go on where that is possible."""
        if isinstance(error, Interrupted):
            frames = counted(self.frames, "frame")
            onwards = f"goes on after {frames}" if self.frames else "begins anew"
            return Interrupted(f"{str(error).split('; ')[0]}; the same call {onwards}")
        if self._earlier and isinstance(error, OutputError):
            return OutputError(f"{error}; what is there is of an earlier job ({self._earlier})")
        if not self.frames or isinstance(error, TruncatedError):
            return error
        made = type(error)(f"{error}; the same call goes on after {counted(self.frames, 'frame')}")
        made.__cause__ = error
        return made

    def __enter__(self) -> Self:
        """Make the folder if it is not there, and cut off what does not count.

        Raises:
            OutputError: it cannot be written, or another process has it.
        """
        try:
            with self._writing():
                self._begin()
        except BaseException:
            # Leave no empty folder of ours on a disk that has no room for more.
            if self._lock is not None:
                with suppress(OSError):
                    self.folder.rmdir()
            self.close()
            raise
        self._added = self.frames
        return self

    def _begin(self) -> None:
        self.folder.mkdir(parents=True, exist_ok=True)
        if self._lock is None:
            self._take()
        self._note_job()
        end = 0 if self.memory is None else self.memory.end
        path = self.folder / _FRAMES
        self._file = path.open("r+b" if path.exists() else "w+b")
        self._file.truncate(end)
        self._file.seek(end)

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: object
    ) -> None:
        # Outputs of a file that ended early are kept: there is nothing to go on with.
        self.close(done=error is None or isinstance(error, TruncatedError))

    def completed(self, outputs: Sequence[str]) -> None:
        """Note that these outputs are whole; the folder keeps nothing else from now on.

        Raises:
            OutputError: disk full, and the like.
        """
        with self._writing():
            # Have the outputs on the disk before the predictions that they are made of go.
            if hasattr(os, "sync"):  # not on Windows
                os.sync()
            self._note_job([Made.of(path).record for path in outputs])
            if self._file is not None:
                with suppress(OSError):  # a full disk; nobody needs its last bytes
                    self._file.close()  # Windows removes no open file
            for name in (_FRAMES, *_MEMORIES):
                (self.folder / name).unlink(missing_ok=True)
        self._is_kept = True

    def _note_job(self, outputs: Sequence[Json] = ()) -> None:
        record = {"schema": _SCHEMA, "job": self._job}
        with whole_file(self.folder / _JOB) as part:
            text = json.dumps({**record, "outputs": [*outputs]} if outputs else record, indent=1)
            part.write_text(text, encoding="utf-8")

    def replayed(self, frame: Frame, entries: Iterator[Recorded], labels: Labels) -> Prediction:
        """The next prediction, which is that of the frame.

        Raises:
            InputError: it is of another frame.
        """
        one = next(entries)
        if (one.index, one.pts, one.map.size_hw) != (frame.index, frame.pts, frame.image.size_hw):
            raise InputError(
                f"{self.folder}: frame {frame.index} of the input is not the one that was "
                "segmented; remove that folder, and begin anew"
            )
        return Prediction(one.index, one.map, labels, one.mattes)

    def entries(self) -> Iterator[Recorded]:
        """The predictions that count, in order."""
        with (self.folder / _FRAMES).open("rb") as file:
            for _ in range(self.frames):
                data = _entry(file)
                assert data is not None  # all were looked at when it was opened
                yield unpack(Recorded, data)

    def add(self, frame: Frame, prediction: Prediction) -> None:
        """Append the prediction of the next frame.

        Raises:
            OutputError: disk full, and the like.
        """
        found = SegmentMap(prediction.ids, prediction.segments)
        self._write(pack(Recorded(frame.index, frame.pts, found, prediction.mattes), level=1))
        self._added += 1

    def is_due(self) -> bool:
        """True where a memory should be kept again; it is taken for granted that it will be."""
        now_s = time.monotonic()
        if now_s < self._due_s:
            return False
        self._due_s = now_s + max(EVERY_S, _LEAST_SHARE * self._cost_s)
        return True

    def keep(self, answering: Answering, finishing: Finishing) -> None:
        """Let all frames so far count, by a memory that was taken after the last of them.

        Raises:
            OutputError: disk full, and the like; the memory before it stays.
        """
        begun_s = time.monotonic()
        assert self._file is not None
        with self._writing():
            # Have the frames on the disk before the memory that counts them.
            self._file.flush()
            os.fsync(self._file.fileno())
            memory = Memory(self._added, self._file.tell(), answering, finishing)
            data = pack(memory)
            with (self.folder / _MEMORIES[self._slot]).open("wb") as file:
                file.write(_ENTRY.pack(len(data), zlib.crc32(data)) + data)
                file.flush()
                os.fsync(file.fileno())
            if self._lock is not None:
                os.fsync(self._lock)  # the folder, which lists them
        self.memory, self._slot = memory, 1 - self._slot
        self._cost_s = time.monotonic() - begun_s

    def close(self, *, done: bool = False) -> None:
        """Leave it to the next call, or remove it where there is nothing left to go on with."""
        if self._file is not None:
            with suppress(OSError):  # a full disk; what counts is there already
                self._file.close()
            if (done or not self.frames) and not self._is_kept:
                shutil.rmtree(self.folder, ignore_errors=True)
        self._file = None
        self._release()

    def _take(self) -> None:
        """Lock the folder."""
        self._lock = lock_folder(self.folder)

    def _release(self) -> None:
        if self._lock is not None:
            os.close(self._lock)
            self._lock = None

    def _look(self) -> None:
        """Find out what an earlier call left: parts to go on with, or whole outputs."""
        known, made = self._record()
        if not made:
            self._check_job(known)
            self._recover()
            return

        # Leave outputs of another job, and changed ones, to the rules for any file that is there.
        difference = self._difference(known)
        is_same = not difference and all(one.is_unchanged for one in made)
        self.made = made if is_same and all(one.is_there for one in made) else ()
        self.is_found = is_same
        if difference and any(one.is_there for one in made):
            self._earlier = difference

    def _record(self) -> tuple[dict[str, str], tuple[Made, ...]]:
        """The job, and its outputs once they are whole."""
        path = self.folder / _JOB

        # Read the record, which may be torn.
        try:
            record = as_table(parse_json(path.read_bytes()), "a journal")
            if record.get("schema") != _SCHEMA:
                raise ValueError("of another version of vidparse")
            known = {
                name: as_word(one, name) for name, one in as_table(record["job"], "job").items()
            }
            made = tuple(map(Made.read, as_list(record.get("outputs", []), "outputs")))
        except (KeyError, TypeError, ValueError) as error:
            raise OutputError(
                f"{path}: damaged ({error}); remove {self.folder}, and begin anew"
            ) from error
        return known, made

    def _check_job(self, known: Mapping[str, str]) -> None:
        difference = self._difference(known)
        if difference == _OTHER_INPUT:
            raise UsageError(
                f"--resume {self.folder}: {difference}; remove that folder to begin anew"
            )
        if difference:
            raise UsageError(
                f"--resume {self.folder}: is of another job ({difference}); "
                "give the same call, or remove that folder"
            )

    def _difference(self, known: Mapping[str, str]) -> str:
        """The first setting in which the job is not the one that is known; "" where it is."""
        for name in [*self._job, *known]:
            now, then = (one.get(name) or "not set" for one in (self._job, known))
            if now != then:
                # The record of an input is for machines.
                return _OTHER_INPUT if name == "input" else f"{name}: was {then}, is {now}"
        return ""

    def _recover(self) -> None:
        """Find the last memory that is whole, as are all frames before it."""
        found = [self._memory(name) for name in _MEMORIES]
        ends = [one.end for one in found if one is not None]
        whole = self._whole(max(ends, default=0))
        fitting = [one for one in found if one is not None and one.end <= whole]
        self.memory = max(fitting, key=lambda one: one.frames, default=None)
        if self.memory is not None:
            self._slot = 1 - found.index(self.memory)

    def _memory(self, name: str) -> Memory | None:
        try:
            with (self.folder / name).open("rb") as file:
                data = _entry(file)
            return None if data is None else unpack(Memory, data)
        except (OSError, ValueError):
            return None

    def _whole(self, end: int) -> int:
        """The byte up to which entries are whole, at most `end`."""
        path, place = self.folder / _FRAMES, 0
        with suppress(FileNotFoundError), path.open("rb") as file:
            while place < end and _entry(file) is not None:
                place = file.tell()
        return place

    def _write(self, data: bytes) -> None:
        assert self._file is not None
        with self._writing():
            self._file.write(_ENTRY.pack(len(data), zlib.crc32(data)) + data)

    @contextmanager
    def _writing(self) -> Iterator[None]:
        try:
            yield
        except OSError as error:
            raise write_error(self.folder, error) from error


def remove_stale(folder: Path) -> bool:
    """Remove a journal whose outputs were made anew; True where predictions went with it.

    One that another process has stays.
    """
    if not (folder / _JOB).is_file():
        return False
    try:
        lock = lock_folder(folder)
    except OutputError:
        return False
    had_frames = (folder / _FRAMES).is_file()
    shutil.rmtree(folder, ignore_errors=True)
    if lock is not None:
        os.close(lock)
    return had_frames


def _entry(file: BinaryIO) -> bytes | None:
    """The next entry; None at the end, and where it is torn."""
    head = file.read(_ENTRY.size)
    if len(head) < _ENTRY.size:
        return None
    length, checksum = _ENTRY.unpack(head)
    if length > os.fstat(file.fileno()).st_size - file.tell():
        return None
    data = file.read(length)
    return data if len(data) == length and zlib.crc32(data) == checksum else None
