"""The job of a journal: what is made of what, so that nothing else goes on from it."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Mapping, Sequence
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

from vidparse import __version__
from vidparse.errors import UsageError
from vidparse.inference import Runner
from vidparse.requests.live import may_be_live
from vidparse.requests.segment import SegmentOptions
from vidparse.sinks import SINKS
from vidparse.sinks.targets import journal_folders
from vidparse.video import Input

_END_BYTES = 4 << 20  # of a file, that are compared at both ends
_ENGINES = {"onnx": "onnxruntime", "transformers": "transformers"}  # else the backend's own name


def check_resume(options: SegmentOptions, inputs: Sequence[Input]) -> None:
    """Refuse inputs that cannot be read again, and outputs that cannot be written again.

    Raises:
        UsageError: stdin, an address, a device, a pipe or a camera; several inputs without a
            ledger; or --skip-existing.
    """
    if len(inputs) > 1 and options.ledger is None:
        raise UsageError(
            "--resume: of several inputs only a ledger knows those that are done; add "
            "--ledger batch.db"
        )
    if options.sinks.skip_existing:
        raise UsageError(
            "--resume and --skip-existing: give one of them; with --ledger a batch goes on"
        )

    # Take what lies on a disk, and rendered samples: they are the same when read again.
    for one in inputs:
        is_made = one.name.startswith("sample://")
        is_there = one.path is not None and (
            one.path.is_file() or one.path.is_dir() or not one.path.exists()
        )
        if may_be_live(one.address, options.live) or not (is_made or is_there):
            what = "stdin" if one.name == "-" else one.name
            raise UsageError(
                f"--resume: {what} cannot be read again from its beginning; name a file"
            )
    save = tuple(options.save or ())
    if inputs and not journal_folders(SINKS, save, source=inputs[0], out=options.out):
        raise UsageError(f"--resume: -o {options.out} is a stream; name a file or a folder")


def job_of(
    one: Input, options: SegmentOptions, runner: Runner, settings: Mapping[str, str]
) -> dict[str, str]:
    """The settings, files and versions that decide the outputs, by the names that users know.

    Args:
        settings: those that change outputs, by name.
    """
    engine = _ENGINES.get(runner.backend, runner.backend)
    return {
        "input": identity(one),
        "version": __version__,
        **settings,
        "save": ",".join(options.save or ()),
        "engine": f"{runner.engine} ({engine} {_version(engine)})",
        "decoder": f"{options.decoder} (av {_version('av')})",
    }


def identity(one: Input) -> str:
    """A name, with sizes, times of change and a digest of an input's files."""
    paths = one.images or ((one.path,) if one.path is not None else ())
    digest = hashlib.sha256()
    sizes, latest = 0, 0
    for path in paths:
        if not path.is_file():
            continue
        status = path.stat()
        sizes, latest = sizes + status.st_size, max(latest, status.st_mtime_ns)
        facts = f"{path.name} {status.st_size} {status.st_mtime_ns}\n"
        digest.update(os.fsencode(facts))  # names may hold bytes that are no UTF-8

    # Look into videos, which may be written anew with the time of change that they had.
    if len(paths) == 1 and paths[0].is_file():
        with paths[0].open("rb") as file:
            digest.update(file.read(_END_BYTES))
            file.seek(max(0, sizes - _END_BYTES))
            digest.update(file.read(_END_BYTES))
    name = str(Path(one.name).absolute()) if one.path is not None else one.name
    return f"{name} ({sizes} bytes, changed {latest}, {digest.hexdigest()[:16]})"


def _version(package: str) -> str:
    try:
        return version(package)
    except PackageNotFoundError:
        return "of its own"
