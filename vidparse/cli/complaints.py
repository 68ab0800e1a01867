"""Complaints of the parser, in the form of all our errors: "what: why; what to do next"."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import typer

from vidparse.errors import UsageError
from vidparse.requests.option import Given

# Of the click that Typer brings along or uses: which one it is depends on its age.
Parsed = Any  # a command, an option, or a complaint about words
Context = Parsed
COMPLAINT: Parsed = typer.BadParameter.__mro__[1]  # the class of all complaints


def worded(complaint: Parsed, context: Context) -> UsageError:
    """A complaint of Typer about the words of a command, as an error of one line."""
    path, options = context.command_path, context.command.get_params(context)
    flags = {word: one for one in options for word in (*one.opts, *one.secondary_opts)}
    match type(complaint).__name__:
        case "NoSuchOption":
            return no_such("option", complaint.option_name, flags, path)
        case "BadOptionUsage":
            flag = complaint.option_name
            if getattr(flags.get(flag), "is_flag", False):
                return UsageError(f"{flag}: takes no value; write {flag} alone")
            return UsageError(f"{flag}: its value is missing; see {path} --help")
        case "MissingParameter":
            missing = complaint.param
            name = missing.opts[0] if missing.param_type_name == "option" else missing.metavar
            return UsageError(f"{name or missing.name}: is missing; see {path} --help")
    text = " ".join(complaint.format_message().split()).rstrip(".")
    return UsageError(f"{text[:1].lower()}{text[1:]}; see {path} --help")


def no_such(what: str, word: str, known: Iterable[str], path: str) -> UsageError:
    """An error about an option or command that does not exist.

    Args:
        known: those that do: the one that was likely meant is named.
        path: the command that has none, as a user calls it.
    """
    from difflib import get_close_matches

    near = get_close_matches(word, list(known), n=1, cutoff=0.75)
    advice = f"did you mean {near[0]}? See" if near else "see"
    return UsageError(f"{word}: no such {what}; {advice} {path} --help")


def number_error(given: Given, word: object) -> UsageError:
    """An error about a text that is no number, or one out of bounds; or about several."""
    name, kind = getattr(given.option, "metavar", "") or given.flag, given.word_type
    texts = word if isinstance(word, (list, tuple)) else [word]
    for text in texts:
        try:
            kind(text)
        except ValueError:
            what = "whole number" if kind is int else "number"
            return UsageError(f"{name} '{text}': not a {what}; write {_bounds(given)}")
    return UsageError(
        f"{name} '{', '.join(map(str, texts))}': out of range; write {_bounds(given)}"
    )


def _bounds(given: Given) -> str:
    """The numbers that an option takes: "one from 0 to 1"."""
    least, most = given.option.least, given.option.most
    if least is not None and most is not None:
        return f"one from {least} to {most}"
    if least is not None:
        return f"{least} or more"
    return "one such as 8" if given.word_type is int else "one such as 0.5"
