"""The ledger of a batch: one SQLite file with the outcome of every input, for calls that go on."""

from __future__ import annotations

import json
import os
import sqlite3
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import closing, contextmanager, suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Self

from vidparse.errors import (
    DeviceError,
    InputError,
    ModelError,
    OutputError,
    UsageError,
    VidparseError,
)
from vidparse.filenames import plain_path
from vidparse.sinks.pictures import is_there
from vidparse.sinks.sink import STDOUT
from vidparse.textfiles import as_list, as_word, parse_json
from vidparse.video import Input

BEGUN, DONE, FAILED = "begun", "done", "failed"
_APPLICATION = 0x76706C67  # "vplg", in the head of the file: any other file is left alone
_VERSION = 1
_TABLES = """
create table job (setting text primary key, value text not null);
create table inputs (
    name text primary key,      -- the absolute path, or the address
    identity text not null,     -- its size and time of change
    state text not null,        -- begun, done or failed
    error text not null,        -- why it failed
    exit_code integer not null,
    attempts integer not null,
    seconds real not null,      -- of the last attempt
    frames integer not null,
    outputs text not null,      -- JSON: paths that are ours to replace
    changed text not null       -- UTC
);
"""
_ERRORS: dict[int, type[VidparseError]] = {
    kind.exit_code: kind
    for kind in (VidparseError, UsageError, InputError, ModelError, DeviceError, OutputError)
}


@dataclass(frozen=True, slots=True)
class Entry:
    """An input's line in the ledger.

    is_same: the input is the one that it was. outputs: absolute paths that earlier attempts wrote,
    or were about to.
    """

    state: str
    error: str
    exit_code: int
    outputs: tuple[str, ...]
    is_same: bool

    @property
    def is_done(self) -> bool:
        """True where the input and all that was made of it are as they were."""
        there = all(map(is_there, self.outputs))
        return self.state == DONE and self.is_same and there

    @property
    def failure(self) -> VidparseError | None:
        """The error by which the input failed, if it has not changed since."""
        if self.state != FAILED or not self.is_same:
            return None
        return _ERRORS.get(self.exit_code, VidparseError)(self.error)


class Ledger:
    """The inputs of a batch, each begun, done or failed; written to the disk before it counts.

    For one process at a time. As a context manager it is closed with the block.

    Args:
        path: of the file, which is made if it is not there.
        job: settings that change outputs, by the names that users know. A ledger belongs to one
            job: its outputs would not fit together otherwise.

    Raises:
        UsageError: the ledger is of another job; the first setting that differs is named.
        OutputError: it is another file, or cannot be written, or another process has it.
    """

    def __init__(self, path: Path, job: Mapping[str, str]) -> None:
        self.path = path
        with self._errors():
            if path.is_file() and path.stat().st_size and not _is_ledger(path):
                raise OutputError(f"{path}: is no ledger; choose another name with --ledger")
            self._file = sqlite3.connect(path, timeout=0, isolation_level=None)

        try:
            self._open(job)
        except BaseException:
            self._file.close()
            raise

    def _open(self, job: Mapping[str, str]) -> None:
        with self._errors():
            # Keep others out from now on: two processes would do the same inputs.
            self._file.execute("pragma locking_mode = exclusive")
            self._file.execute("pragma synchronous = full")
            self._file.execute("begin exclusive")
            if not self._one("pragma application_id"):
                for table in filter(str.strip, _TABLES.split(";\n")):
                    self._file.execute(table)
                self._file.execute(f"pragma application_id = {_APPLICATION}")
                self._file.execute(f"pragma user_version = {_VERSION}")
                self._file.executemany("insert into job values (?, ?)", job.items())
            version = self._one("pragma user_version")
            known = dict(self._file.execute("select setting, value from job").fetchall())
            self._file.execute("commit")

            # Write ahead from now on: a change costs one wait for the disk, and not three.
            self._file.execute("pragma journal_mode = wal")

        if version != _VERSION:
            raise OutputError(f"{self.path}: is of another version of vidparse; use another file")
        for name in [*job, *known]:
            if job.get(name, "") != known.get(name, ""):
                now, then = (one.get(name) or "not set" for one in (job, known))
                raise UsageError(
                    f"--ledger {self.path}: is of another job ({name}: {then}, now {now}); "
                    "give the same options, or another ledger"
                )

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc: object) -> None:
        self.close()

    def close(self) -> None:
        """Put the last outcome on the disk, and let other processes have it. Idempotent."""
        with self._errors(), closing(self._file), suppress(sqlite3.ProgrammingError):
            if self._file.in_transaction:  # an error if it was closed before
                self._file.execute("commit")

    def entry(self, one: Input) -> Entry | None:
        """The line of an input; None for one that was never begun."""
        with self._errors():
            row = self._file.execute(
                "select state, error, exit_code, outputs, identity from inputs where name = ?",
                (_name(one),),
            ).fetchone()
        if row is None:
            return None
        state, error, code, outputs, identity = row
        return Entry(state, error, code, _paths(outputs), identity == _identity(one))

    def places(self) -> Callable[[Input], Sequence[str]]:
        """The outputs of each input, as they are noted now."""
        with self._errors():
            rows = self._file.execute("select name, outputs from inputs").fetchall()
        found = dict(rows)
        return lambda one: _paths(found.get(_name(one), "[]"))

    def begin(self, one: Input, outputs: Sequence[str] = ()) -> None:
        """Count one more attempt, and note its outputs: a killed process leaves no other trace.

        What earlier attempts wrote stays ours to replace.
        """
        self._change(
            "insert into inputs values (?, ?, ?, '', 0, 1, 0, 0, ?, ?) "
            "on conflict (name) do update set identity = excluded.identity, "
            "state = excluded.state, error = '', exit_code = 0, attempts = attempts + 1, "
            "outputs = case excluded.outputs when '[]' then outputs else excluded.outputs end, "
            "changed = excluded.changed",
            (_name(one), _identity(one), BEGUN, _paths_text(outputs), _now()),
        )
        with self._errors():
            self._file.execute("commit")

    def end(
        self,
        one: Input,
        error: VidparseError | None,
        *,
        outputs: Sequence[str],
        seconds: float,
        frames: int,
    ) -> None:
        """Note the outcome of the attempt; it is on the disk when the next input is begun.

        outputs: all that were written, of which some may have come up on the way.
        """
        state, code = (DONE, 0) if error is None else (FAILED, error.exit_code)
        paths = _paths_text(outputs)
        outcome = (state, _text(str(error or "")), code, round(seconds, 3), frames)
        self._change(
            "update inputs set state = ?, error = ?, exit_code = ?, seconds = ?, frames = ?, "
            "outputs = case ? when '[]' then outputs else ? end, changed = ? where name = ?",
            (*outcome, paths, paths, _now(), _name(one)),
        )

    def _change(self, statement: str, values: tuple[object, ...]) -> None:
        """Change a line, in the transaction that the next `begin` puts on the disk."""
        with self._errors():
            if not self._file.in_transaction:
                self._file.execute("begin")
            self._file.execute(statement, values)

    def _one(self, statement: str) -> object:
        return self._file.execute(statement).fetchone()[0]

    @contextmanager
    def _errors(self) -> Iterator[None]:
        """Raises: OutputError: the message of SQLite or of the system, in one line."""
        try:
            yield
        except (sqlite3.Error, OSError) as error:
            reason = str(error)
            if "locked" in reason:
                reason, way_out = "another process works with it", "wait for it to end"
            elif "full" in reason:
                reason, way_out = "disk full", "free some space"
            elif "malformed" in reason or "not a database" in reason:
                reason, way_out = f"is damaged ({reason})", "remove it and begin anew"
            else:
                way_out = "choose another place with --ledger"
            raise OutputError(f"{self.path}: ledger: {reason}; {way_out}") from error


def _is_ledger(path: Path) -> bool:
    """True for an SQLite file with our number in its head."""
    with path.open("rb") as file:
        head = file.read(72)
    return head.startswith(b"SQLite format 3\0") and head[68:] == _APPLICATION.to_bytes(4, "big")


def _identity(one: Input) -> str:
    """The size and the time of change of a file, or of all pictures; "" of streams."""
    paths = one.images or (one.path,)
    facts = []
    for path in paths:
        with suppress(OSError):
            if path is not None:
                status = path.stat()
                facts.append((status.st_size, status.st_mtime_ns))
    if not facts:
        return ""
    sizes, times = zip(*facts, strict=True)
    return f"{len(facts)} {sum(sizes)} {max(times)}"


def _name(one: Input) -> str:
    return _text(one.name if one.path is None else one.identity)  # addresses hold passwords


def _text(name: str) -> str:
    """A name that SQLite takes: bytes of it that are no UTF-8 are written as \\xe9."""
    return os.fsencode(name).decode("utf-8", "backslashreplace")


def _paths_text(outputs: Sequence[str]) -> str:
    """Paths as JSON; absolute, so that a call from another folder finds them."""
    return json.dumps([path if path == STDOUT else str(plain_path(Path(path))) for path in outputs])


def _paths(outputs: str) -> tuple[str, ...]:
    return tuple(as_word(path, "an output") for path in as_list(parse_json(outputs), "outputs"))


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="seconds")
