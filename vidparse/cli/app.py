"""The application: its own options, its commands, and the way in and out of the process."""

from __future__ import annotations

import os
import sys
import threading
from collections.abc import Sequence

from vidparse import __version__
from vidparse.cli import process
from vidparse.cli.command import Command
from vidparse.cli.commands import loaded
from vidparse.cli.help import command_page, program_page
from vidparse.cli.parser import HelpWanted, command_of
from vidparse.cli.terminal import show, show_page
from vidparse.errors import UsageError


def app() -> int:
    """Do what the words of the process say; the exit code.

    Raises:
        VidparseError: as commands do. SystemExit: with the code of a command that has shown why.
    """
    try:
        return run(sys.argv[1:])
    except HelpWanted as wanted:
        name = wanted.name
        show_page(f"{command_page(name, loaded(name)) if name else program_page()}\n")
        return wanted.code


def run(words: Sequence[str]) -> int:
    """Call the program with these words; the exit code.

    Raises:
        HelpWanted: a page is wanted. Else as `app`.
    """
    if words and (option := words[0]).startswith("--"):
        if option == "--version":
            show(f"vidparse {__version__}")
            return 0
        if option.partition("=")[0] in ("--show-completion", "--install-completion"):
            from vidparse.cli.shells import install, script

            flag, equals, shell = option.partition("=")
            shell = shell if equals else "".join(words[1:2])
            show_page(install(shell) if flag.startswith("--install") else script(shell))
            return 0

    name, rest = command_of(words)
    _refuse_empty_arguments(words)
    process.check_memory_limit(name)
    Command(name, loaded(name)).run(rest)
    return 0


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
