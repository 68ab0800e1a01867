"""The application: its own options, its commands, and the way in and out of the process."""

from __future__ import annotations

import os
import sys
import threading
from collections.abc import Sequence
from typing import Annotated

import typer

from vidparse import __version__
from vidparse.cli import process
from vidparse.cli.command import PROGRAM, Group, add_commands, call, parser_of, show_group
from vidparse.cli.commands import OPTIONS, SUMMARY
from vidparse.cli.complaints import Parsed
from vidparse.cli.terminal import show
from vidparse.errors import UsageError


def app() -> object:
    """Run the command line of the process; the exit code.

    Raises:
        VidparseError: as commands do. SystemExit: with the code of a command that has shown why.
    """
    return call(application(), None)


def application() -> Parsed:
    """The parser of the program; those of its commands are made once they are called."""
    app = typer.Typer(
        name=PROGRAM,
        cls=Group,
        invoke_without_command=True,
        pretty_exceptions_enable=False,
        rich_markup_mode=None,
        context_settings={"help_option_names": ["-h", "--help"]},
    )
    add_commands(app)
    app.callback(help=SUMMARY)(_begin)
    return parser_of(app)


def _begin(
    context: typer.Context,
    version: Annotated[
        bool, typer.Option("--version", is_eager=True, help=OPTIONS["--version"])
    ] = False,
    debug: Annotated[bool, typer.Option("--debug", help=OPTIONS["--debug"])] = False,
) -> None:
    if version:
        show(f"{PROGRAM} {__version__}")
        raise typer.Exit
    show_group(context)
    _refuse_empty_arguments(sys.argv[1:])
    process.check_memory_limit(context.invoked_subcommand or "")


def _refuse_empty_arguments(words: Sequence[str]) -> None:
    """Refuse an argument without a letter, as `-o "$OUT"` gives where OUT is not set.

    As a path it would be the current folder.

    Raises:
        UsageError: one of `words` is empty.
    """
    end = words.index("--") if "--" in words else len(words)
    for before, word in zip(("", *words), words[:end], strict=False):
        flag, equals, value = word.partition("=")
        if flag.startswith("--") and equals and not value:
            raise UsageError(f"{flag}: its value is empty; give one, or leave {flag} out")
        if not word:
            name = before if before.startswith("-") and before != "-" else "an argument"
            raise UsageError(f"{name}: is empty; give a value, or leave it out")


def main() -> None:
    """Run the command line; expected errors are one line on stderr and their own exit code."""
    # Idle compute threads must sleep, not spin: other stages need the cores. Read once by OpenMP.
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
    process.open_missing_streams()
    end = sys.argv.index("--") if "--" in sys.argv else len(sys.argv)
    debug = "--debug" in sys.argv[:end] or bool(os.environ.get("VIDPARSE_DEBUG"))

    # Take --debug out, which works behind any command: none of their parsers knows it.
    sys.argv[:end] = [argument for argument in sys.argv[:end] if argument != "--debug"]
    process.log_to_stderr(debug=debug)
    with process.interrupts() as interrupted:
        code = process.exit_code_of(app, debug=debug, interrupted=interrupted)
        code = code or process.flush_stdout()
    process.ignore_signals()
    if interrupted.is_set() or _thread_is_left():
        # Python ends as if killed by SIGINT when an interrupt came while it ran some exec("..."),
        # and aborts when it ends under a stage's thread that is deep in native code.
        os._exit(code)
    process.leave(code, debug=debug)


def _thread_is_left() -> bool:
    """True if a stage is still at work whose end nobody could wait for."""
    return any(thread.name.startswith("vidparse-") for thread in threading.enumerate())
