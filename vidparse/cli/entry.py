"""The way into the process: plain help pages are shown at once, all else is the application's."""

from __future__ import annotations

import os
import sys

from vidparse.cli.commands import COMMANDS, loaded
from vidparse.cli.help import command_page, program_page
from vidparse.cli.process import exit_code_of, flush_stdout, open_missing_streams
from vidparse.cli.terminal import show_page


def main() -> None:
    """Run the command line.

    What a plain `--help` takes: no parser, and of the commands only the one whose page is shown.
    Shells call us for completion by a variable, with no words.
    """
    open_missing_streams()
    name = _page_wanted(sys.argv[1:])

    wish = os.environ.get("_VIDPARSE_COMPLETE")
    if wish:
        from vidparse.cli.completion import answer

        sys.exit(answer(wish))
    if name is None:
        from vidparse.cli.app import main as command_line

        command_line()
        return

    def show() -> None:
        show_page(f"{command_page(name, loaded(name)) if name else program_page()}\n")

    code = exit_code_of(show, debug=bool(os.environ.get("VIDPARSE_DEBUG")))
    sys.exit(code or flush_stdout())


def _page_wanted(words: list[str]) -> str | None:
    """The command whose page is wanted, "" for the program itself; None if more is."""
    *names, last = words or [""]
    name = " ".join(names)
    is_known = not names or name in COMMANDS
    return name if is_known and last in ("-h", "--help") else None
