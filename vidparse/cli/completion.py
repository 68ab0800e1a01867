"""Completion: Typer answers shells; we hand it lines that it understands, and keep it quiet.

A shell has no place for an error: where its line makes no sense, it is offered nothing.
"""

from __future__ import annotations

import os
import shlex
from collections.abc import Mapping, Sequence

SHELLS = ("bash", "zsh", "fish", "powershell", "pwsh")
_BREAKS = set("=:")  # bash begins a new word at each


def answer(wish: str) -> int:
    """Print the answer to "complete_bash" and so on, or "source_bash"; the exit code."""
    task, _, shell = wish.partition("_")
    if task not in ("complete", "source") or shell not in SHELLS:
        return 0
    try:
        kept = ""
        if (task, shell) == ("complete", "bash"):
            mended, kept = bash_line(os.environ)
            os.environ.update(mended)

        from vidparse.cli.app import application
        from vidparse.cli.command import call

        call(application(), (), kept=kept)
    except SystemExit as leaving:
        # Show fish by the code if there are words, as its script needs.
        return leaving.code if isinstance(leaving.code, int) and shell == "fish" else 0
    except Exception:
        return 0
    return 0


def bash_line(variables: Mapping[str, str]) -> tuple[dict[str, str], str]:
    """COMP_WORDS and COMP_CWORD without the breaks of bash, and what stands before the last piece.

    Bash hands over `--model=street` as three words and replaces the last one. Words that are
    offered begin with what is kept, and are given back without it.

    Raises:
        ValueError: there is no such word.
    """
    words = _words(variables.get("COMP_WORDS", ""))
    number = variables.get("COMP_CWORD", "")
    index = int(number) if number.isdecimal() else len(words) - 1
    if not 0 < index <= len(words):
        raise ValueError("no such word")
    words, kept = _joined([*words, ""][: index + 1])

    # Part `--flag=value`, where the flag is no word that is begun.
    flag, equals, value = words[-1].partition("=")
    if flag.startswith("--") and equals:
        words[-1:] = [flag, value]
        kept = kept.removeprefix(f"{flag}=")
    words[-1] = words[-1].removeprefix(kept).lstrip("'\"")
    return {"COMP_WORDS": shlex.join(words), "COMP_CWORD": str(len(words) - 1)}, kept


def _words(text: str) -> list[str]:
    """The words that a shell hands over: one per line; or, by hand, with spaces between."""
    if "\n" in text:
        return text.split("\n")
    try:
        return shlex.split(text)
    except ValueError:  # a quote is open
        return text.split()


def _joined(words: Sequence[str]) -> tuple[list[str], str]:
    """Words of which bash had made several, and what stands before the last piece of the last."""
    joined: list[str] = []
    kept, goes_on = "", False
    for word in words:
        is_break = bool(word) and set(word) <= _BREAKS
        kept = joined[-1] if joined and (is_break or goes_on) else ""
        if kept:
            joined[-1] += word
            kept = joined[-1] if is_break else kept
        else:
            joined.append(word)
        goes_on = is_break
    return joined, kept
