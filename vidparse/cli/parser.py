"""The words of a command line: which command they call, and the values of its options.

Options may stand before, between and behind arguments. `--flag value` and `--flag=value` are the
same; so are `-o x` and `-ox`, and switches of one letter may share a dash. What follows `--` is
no option.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

from vidparse.cli.commands import COMMANDS, listed
from vidparse.errors import UsageError
from vidparse.requests.option import Argument, Given

HELP = ("--help", "-h")


class HelpWanted(Exception):
    """The page of a command is wanted, not its work.

    name: as in COMMANDS; "" for the program itself.
    """

    def __init__(self, name: str, code: int = 0) -> None:
        super().__init__(name)
        self.name, self.code = name, code


def command_of(words: Sequence[str]) -> tuple[str, list[str]]:
    """The command that the words call, as in COMMANDS, and the words behind its name.

    Raises:
        UsageError: there is no such command. HelpWanted: a group is called without one.
    """
    name, rest = "", list(words)

    # Go down from group to group, up to a command, or to a group that runs by itself.
    while listed(name):
        if rest and rest[0] in listed(name):
            name = f"{name} {rest.pop(0)}".strip()
        elif rest and rest[0] in HELP:
            raise HelpWanted(name)
        elif rest and not rest[0].startswith("-"):
            raise UsageError(f"{rest[0]}: no such command; {_advice(rest[0], listed(name), name)}")
        elif name and COMMANDS[name][0]:
            break
        elif rest:
            raise _no_such_option(rest[0].partition("=")[0], (), name)
        else:
            raise HelpWanted(name, UsageError.exit_code)
    return name, rest


class Parser:
    """The options and arguments of a command.

    Args:
        name: of the command, for errors.
        options: all that it takes.
    """

    def __init__(self, name: str, options: Sequence[Given]) -> None:
        self._name = name
        self._arguments = [one for one in options if isinstance(one.option, Argument)]
        self._options = [one for one in options if not isinstance(one.option, Argument)]
        self.flags: dict[str, Given] = {}
        for one in self._options:
            for flag in (one.flag, one.option.short, one.negation):
                if flag:
                    self.flags[flag] = one

    def parse(self, words: Sequence[str]) -> dict[str, object]:
        """Values that are given, by the names of their options; all others are left out.

        Raises:
            UsageError: words that say nothing here, or a value that is missing or none.
            HelpWanted: --help or -h is among them.
        """
        values: dict[str, object] = {}
        places: list[str] = []

        rest = iter(words)
        for word in rest:
            if word == "--":
                places += rest
            elif word in HELP:
                raise HelpWanted(self._name)
            elif word.startswith("--"):
                flag, equals, text = word.partition("=")
                self._take(values, flag, text if equals else None, rest)
            elif word.startswith("-") and word != "-":
                self._take_letters(values, word, rest)
            else:
                places.append(word)

        self._place(values, places)
        for one in self._options:
            if one.is_required and one.name not in values:
                raise UsageError(f"{one.flag}: is missing; see {_full(self._name)}")
        return values

    def argument(self, place: int) -> Given | None:
        """The argument that the word at a place among them (from 0) is given to."""
        last = self._arguments[-1:]
        repeats = last[0] if last and last[0].is_repeated else None
        return self._arguments[place] if place < len(self._arguments) else repeats

    def _take(
        self, values: dict[str, object], flag: str, text: str | None, rest: Iterator[str]
    ) -> None:
        """Take an option; its value is `text`, or the next word where that is None."""
        given = self.flags.get(flag)
        if given is None:
            raise _no_such_option(flag, self.flags, self._name)
        if given.is_switch:
            if text is not None:
                raise UsageError(f"{flag} '{text}': takes no value; write {flag} alone")
            values[given.name] = flag != given.negation
            return

        text = next(rest, None) if text is None else text
        if text is None:
            raise UsageError(f"{flag}: its value is missing; see {_full(self._name)}")
        self._put(values, given, flag, text)

    def _take_letters(self, values: dict[str, object], word: str, rest: Iterator[str]) -> None:
        """Take `-x`, `-xyz` or `-xVALUE`."""
        for at, letter in enumerate(word[1:], 1):
            given, behind = self.flags.get(f"-{letter}"), word[at + 1 :]
            if given is None:
                raise _no_such_option(f"-{letter}", (), self._name)

            # Take what is left of the word for the value, as in -ofile.
            takes_rest = not given.is_switch and behind
            text = behind.removeprefix("=") if takes_rest else None
            self._take(values, f"-{letter}", text, rest)
            if not given.is_switch:
                return

    def _place(self, values: dict[str, object], places: Sequence[str]) -> None:
        """Give words without a flag to the arguments, in order; the one that repeats takes all."""
        left = list(places)
        for given in self._arguments:
            name = getattr(given.option, "metavar", "") or given.name
            if not left and given.is_required:
                raise UsageError(f"{name}: is missing; see {_full(self._name)}")
            count = len(left) if given.is_repeated else 1
            for text in left[:count]:
                self._put(values, given, name, text)
            del left[:count]
        if left:
            raise UsageError(f"'{left[0]}': one word too many; see {_full(self._name)}")

    def _put(self, values: dict[str, object], given: Given, name: str, text: str) -> None:
        value = _typed(given, name, text)
        if given.is_repeated:
            found = values.setdefault(given.name, [])
            assert isinstance(found, list)
            found.append(value)
        else:
            values[given.name] = value


def _typed(given: Given, name: str, text: str) -> object:
    """A word as the type that its option takes.

    Raises:
        UsageError: it is no such number, or one out of bounds.
    """
    kind = given.word_type
    if kind is Path:
        return Path(text)
    if kind not in (int, float):
        return text
    try:
        number: float = int(text) if kind is int else float(text)
    except ValueError:
        what = "whole number" if kind is int else "number"
        raise UsageError(f"{name} '{text}': not a {what}; write {_bounds(given)}") from None

    least, most = given.option.least, given.option.most
    # Compare so that nan, which is neither, is refused.
    is_above = least is None or number >= least
    if not (is_above and (most is None or number <= most)):
        raise UsageError(f"{name} '{text}': out of range; write {_bounds(given)}")
    return number


def _bounds(given: Given) -> str:
    """The numbers that an option takes: "one from 0 to 1"."""
    least, most = given.option.least, given.option.most
    if least is not None and most is not None:
        return f"one from {least} to {most}"
    if least is not None:
        return f"{least} or more"
    return "one such as 8" if given.word_type is int else "one such as 0.5"


def _no_such_option(flag: str, known: Iterable[str], name: str) -> UsageError:
    return UsageError(f"{flag}: no such option; {_advice(flag, known, name)}")


def _advice(word: str, known: Iterable[str], name: str) -> str:
    """The known word that was likely meant, and where all are listed."""
    from difflib import get_close_matches

    near = get_close_matches(word, list(known), n=1, cutoff=0.75)
    return f"did you mean {near[0]}? See {_full(name)}" if near else f"see {_full(name)}"


def _full(name: str) -> str:
    """The call that shows a command's page."""
    return " ".join(filter(None, ("vidparse", name, "--help")))
