"""The one place where failures become one line on stderr and an exit code."""

from __future__ import annotations

import errno
import io
import logging
import os
import sys
import threading
import traceback
from collections.abc import Callable

import typer

from vidparse.cli.terminal import plain, say
from vidparse.errors import Interrupted, OutputError, UsageError, VidparseError, expected

# What all complaints of the option parser share; which module it lives in depends on Typer's age.
_ParserError = typer.BadParameter.__mro__[2]
_STDOUT_FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EIO)


def exit_code_of(
    app: Callable[..., object], *, debug: bool, interrupted: threading.Event | None = None
) -> int:
    """Run the application; errors go to stderr, with their traceback when `debug`.

    When `interrupted` is set in the meantime, that is why it failed, whatever it raises: an import
    that is interrupted may end in any error.
    """
    try:
        code = _run(app, debug, interrupted or threading.Event())
    except KeyboardInterrupt:
        code = Interrupted.exit_code
    if interrupted is not None and interrupted.is_set() and code == Interrupted.exit_code:
        say("vidparse: interrupted")
    return code


def _run(app: Callable[..., object], debug: bool, interrupted: threading.Event) -> int:
    try:
        code = app(standalone_mode=False)
        return code if isinstance(code, int) else 0
    except SystemExit as leaving:
        if isinstance(leaving.__context__, BrokenPipeError):
            return 0  # whoever read our output has seen enough
        return leaving.code if isinstance(leaving.code, int) else 1
    except Exception as error:
        if debug:
            for line in traceback.format_exc().splitlines():
                say(line)
        if interrupted.is_set():
            return Interrupted.exit_code
        failure = _expected(error)
        if str(failure):
            say(f"vidparse: {failure}")
        return failure.exit_code


def _expected(error: Exception) -> VidparseError:
    """A failure as an error of one line; its text is empty when the help was printed."""
    if isinstance(error, _ParserError):
        return UsageError(_usage_line(error))
    if isinstance(error, OSError) and error.errno in _STDOUT_FULL and error.filename is None:
        return OutputError(f"stdout: cannot be written ({error.strerror}); redirect it elsewhere")
    return expected(error)


def _usage_line(error: Exception) -> str:
    """The complaint of the option parser, in one line."""
    if type(error).__name__ == "NoArgsIsHelpError":
        return ""  # the help was printed instead
    message = getattr(error, "format_message", lambda: error)()
    text = " ".join(str(message).split()).rstrip(".")
    command = getattr(getattr(error, "ctx", None), "command_path", "vidparse")
    return f"{text[:1].lower()}{text[1:]}; see {command} --help"


def flush_stdout() -> int:
    """Write out what Python still holds; an exit code when that fails."""
    if sys.stdout is None:
        return 0
    try:
        sys.stdout.flush()
    except OSError as error:
        # The interpreter flushes again at its end, and would complain in its own words.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        if isinstance(error, BrokenPipeError):
            return 0
        failure = _expected(error)
        say(f"vidparse: {failure}")
        return failure.exit_code
    return 0


def open_missing_streams() -> None:
    """Give descriptors 0 to 2 back their meaning when whoever started us closed some of them.

    The next file to be opened would take their place, and FFmpeg's messages would end up in it.
    """
    for number in range(3):
        try:
            os.fstat(number)
        except OSError:
            os.open(os.devnull, os.O_RDWR)  # takes the lowest free number
    if sys.stderr is None:
        sys.stderr = open(os.devnull, "w")  # noqa: PTH123, SIM115
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(errors="backslashreplace")  # names that its encoding has no sign for


def log_to_stderr(*, debug: bool) -> None:
    """The library's own messages are for --debug; people get errors, notes and summaries."""
    logger = logging.getLogger("vidparse")
    if debug:
        logger.setLevel(logging.DEBUG)
        handler = logging.StreamHandler()
        handler.setFormatter(_PlainFormatter("%(name)s: %(message)s"))
        logger.addHandler(handler)
    else:
        logger.addHandler(logging.NullHandler())  # or Python prints warnings by itself


class _PlainFormatter(logging.Formatter):
    """Messages and tracebacks as lines that cannot steer the terminal."""

    def format(self, record: logging.LogRecord) -> str:
        return "\n".join(map(plain, super().format(record).splitlines()))
