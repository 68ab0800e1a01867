"""Completion: the words that a command line may go on with, for shells.

A shell calls us with `_VIDPARSE_COMPLETE` and the variables that `vidparse.cli.shells` names. We
print a word per line, and end with 0 whatever it asks: a shell has no place for an error.
"""

from __future__ import annotations

import shlex
from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress

from vidparse.cli.command import Command
from vidparse.cli.commands import OPTIONS, listed, loaded
from vidparse.cli.options import completions
from vidparse.cli.parser import HELP, Parser
from vidparse.cli.shells import script
from vidparse.cli.terminal import plain, show_page
from vidparse.requests.option import Given, comma_list

Offer = tuple[str, str]  # a word, and what it is, or ""
_BREAKS = set("=:")  # bash begins a new word at each
_HELP_TEXT = "Show this message and exit."


def print_answer(wish: str, variables: Mapping[str, str]) -> None:
    """Print what a shell asks for: "complete_bash" and so on, or "source_bash" for its script."""
    task, _, shell = wish.partition("_")
    with suppress(Exception):
        if task == "source":
            show_page(script(shell))
        elif task == "complete":
            for word, about in answer(shell, variables):
                show_page(_line(shell, plain(word), plain(about)))


def answer(shell: str, variables: Mapping[str, str]) -> list[Offer]:
    """Words for the place under the cursor; none if the line makes no sense."""
    words = _words(variables.get("COMP_WORDS", ""))
    number = variables.get("COMP_CWORD", "")
    index = int(number) if number.isdecimal() else len(words) - 1
    if not 0 < index <= len(words):
        return []
    words = [*words, ""][: index + 1]

    # Give bash the part of a word that it asks about: `street` of `--model=street`.
    kept = ""
    if shell == "bash":
        words, kept = _joined(words)
    begun = words[-1].lstrip("'\"")
    offers = _offers(words[1:-1], begun)
    return [(word.removeprefix(kept), about) for word, about in offers if word.startswith(begun)]


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


def _offers(before: Sequence[str], begun: str) -> Iterable[Offer]:
    """Words for the place behind `before`, among them all that begin with `begun`."""
    name, rest = "", [word for word in before if word != "--debug"]
    while rest and rest[0] in listed(name):
        name = f"{name} {rest.pop(0)}".strip()

    if not rest and listed(name) and not begun.startswith("-"):
        return listed(name).items()
    if not name:
        if rest and rest[-1].endswith("-completion"):
            return ((shell, "") for shell in completions("shells", begun))
        return () if rest else [*OPTIONS.items(), ("--help", _HELP_TEXT)]
    return _offers_of_command(Command(name, loaded(name)).parser(), rest, begun)


def _offers_of_command(parser: Parser, rest: Sequence[str], begun: str) -> Iterable[Offer]:
    """Values of the option that waits for one; else options, or values of an argument."""
    waiting, places, is_over = _state(parser, rest)
    flag, equals, value = begun.partition("=")
    if waiting is not None:
        return _values(waiting, begun)
    if not is_over and flag.startswith("--") and equals:
        given = parser.flags.get(flag)
        found = _values(given, value) if given is not None and not given.is_switch else ()
        return [(f"{flag}={word}", about) for word, about in found]
    if not is_over and begun.startswith("-"):
        flags = [(name, _about(given)) for name, given in parser.flags.items()]
        return [*flags, *((name, _HELP_TEXT) for name in HELP)]
    return _values(parser.argument(places), begun)


def _state(parser: Parser, words: Sequence[str]) -> tuple[Given | None, int, bool]:
    """The option that waits for its value, the count of arguments, and whether options are over."""
    waiting, places, is_over = None, 0, False
    for word in words:
        if waiting is not None:
            waiting = None
        elif is_over or not word.startswith("-") or word == "-":
            places += 1
        elif word == "--":
            is_over = True
        elif word.startswith("--"):
            waiting = parser.flags.get(word)
        else:
            letters = [parser.flags.get(f"-{letter}") for letter in word[1:]]
            takers = [one for one in letters if one is not None and not one.is_switch]
            waiting = takers[0] if takers and takers[0] is letters[-1] else None
        if waiting is not None and waiting.is_switch:
            waiting = None
    return waiting, places, is_over


def _values(given: Given | None, begun: str) -> list[Offer]:
    if given is None or not given.option.choices:
        return []
    several = given.option.parse is comma_list
    return [(word, "") for word in completions(given.option.choices, begun, several=several)]


def _about(given: Given) -> str:
    """The help of an option, up to the names in it, which would have to be loaded."""
    return given.option.help.partition("{")[0].strip()


def _line(shell: str, word: str, about: str) -> str:
    """A word as the script of a shell reads it."""
    if shell == "zsh":  # where a colon begins the description
        word = word.replace(":", "\\:")
    border = {"bash": "", "zsh": ":"}.get(shell, "\t")
    return f"{word}{border}{about}" if border and about else word
