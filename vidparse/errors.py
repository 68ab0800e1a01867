"""Errors a user can act on: one line "what: why; what to do next", and an exit code each."""

from __future__ import annotations

import errno
import os

TYPE_CHECKING = False  # read as true by type checkers, as in vidparse/__init__.py
if TYPE_CHECKING:
    from typing import Self

_NO_ROOM = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EROFS)
# What native libraries write when memory, or the addresses that a process may use, ran out.
_NO_MEMORY = (
    *("out of memory", "insufficient memory", "bad_alloc", "allocate memory", "failed to allocate"),
    *("failed to map segment", "can't start new thread", "thread resources unavailable"),
)


class VidparseError(Exception):
    """Base of all expected failures. `exit_code` is what the command line returns."""

    exit_code = 1

    def alone(self) -> Self:
        """The same error without its causes, which may not travel between processes."""
        return type(self)(str(self))


class UsageError(VidparseError):
    """The request makes no sense as it stands (unknown class, codec or option value)."""

    exit_code = 2


class InputError(VidparseError):
    """The input cannot be read."""

    exit_code = 3


class Unreachable(InputError):
    """The input cannot be reached now, which may pass by itself."""


class TruncatedError(InputError):
    """The input ended early. Every frame before the damage was delivered, so outputs are kept."""


class ModelError(VidparseError):
    """A model or its weights are unknown, missing or damaged."""

    exit_code = 4


class DeviceError(VidparseError):
    """The wanted device, precision or memory is not there."""

    exit_code = 5


class OutputError(VidparseError):
    """An output cannot be written."""

    exit_code = 6


class ClosedPipe(OutputError):
    """The program that read our output has gone. Often wanted: `... | head`."""


class Interrupted(VidparseError):
    """Ctrl-C or SIGTERM. Outputs were finalised with the frames done so far."""

    exit_code = 130


def counted(number: int, noun: str) -> str:
    """A count in a message: "1 frame", "2 frames", "0 classes"."""
    ending = "" if number == 1 else "es" if noun.endswith("s") else "s"
    return f"{number} {noun}{ending}"


def expected(problem: BaseException, name: str = "") -> VidparseError:
    """A failure as an error of one line.

    Refusals of the operating system, and memory that ran out, are put into the user's words;
    whatever else is no VidparseError is a fault of our own.

    Args:
        problem: the exception.
        name: the input at work, for the message.
    """
    if isinstance(problem, VidparseError):
        return problem

    about = f"{name}: " if name else ""
    reason = " ".join(str(problem).split())
    error = _of_the_system(problem, about)

    # Look for memory in the words, too: native libraries raise errors of many classes.
    if isinstance(problem, MemoryError) or any(sign in reason.lower() for sign in _NO_MEMORY):
        error = DeviceError(
            f"{about}out of memory; lower --size or --threads, or raise this shell's limits "
            "(ulimit -v, ulimit -u)"
        )
    if error is None:
        error = VidparseError(
            f"{about}internal error: {type(problem).__name__}: {reason or 'no reason given'}; "
            "run again with --debug and report it"
        )
    error.__cause__ = problem
    return error


def _of_the_system(problem: BaseException, about: str) -> VidparseError | None:
    """A refusal of the operating system that nobody foresaw; None for anything else."""
    if not isinstance(problem, OSError):
        return None
    if problem.errno in (errno.EMFILE, errno.ENFILE):
        return DeviceError(f"{about}too many files are open; raise the limit (ulimit -n)")
    if problem.errno == errno.ENOMEM:
        return DeviceError(f"{about}out of memory; close other programs, or lower --size")
    if problem.errno == errno.ENOENT and _is_nowhere():
        return InputError(f"{about}the folder you are in was removed; change to another one")
    if not isinstance(problem.filename, str | bytes | os.PathLike) or not problem.strerror:
        return None
    what = f"{os.fsdecode(problem.filename)}: {problem.strerror}"
    if problem.errno in _NO_ROOM:
        return OutputError(f"{what}; make room, or choose another place")
    return InputError(f"{what}; check the path and its permissions")


def _is_nowhere() -> bool:
    """True if the current folder was removed under the process."""
    try:
        os.getcwd()  # noqa: PTH109
    except OSError:
        return True
    return False
