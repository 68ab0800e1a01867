"""A command: a function whose parameters are requests, called by words."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from vidparse.cli.parser import Parser
from vidparse.requests.option import Given, members_of, options_of, values_of


class Command:
    """A function whose parameters are records or options: see `vidparse.requests.option`.

    Args:
        name: as a user calls it: "models show".
    """

    def __init__(self, name: str, function: Callable[..., object]) -> None:
        self.name, self._function = name, function
        found = members_of(function)
        strange = [name for name, member in found.items() if member is None]
        assert not strange, f"{name}: {strange} are no options"
        self._members = tuple(one for one in found.values() if one is not None)
        self.options: tuple[Given, ...] = tuple(options_of(self._members))

    def parser(self) -> Parser:
        return Parser(self.name, self.options)

    def run(self, words: Sequence[str]) -> object:
        """Call the function with what the words say.

        Raises:
            UsageError, HelpWanted: as `Parser.parse`, and as values and records do.
        """
        found = self.parser().parse(words)
        for one in self.options:
            if one.option.sees is not None:
                default = None if one.is_required else one.default
                one.option.sees(found.get(one.name, default))
        return self._function(**values_of(self._members, found))
