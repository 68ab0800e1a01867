"""The words of a command line: which command they call, and what they say of its options."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import pytest

from vidparse.cli.command import Command
from vidparse.cli.parser import HelpWanted, Parser, command_of
from vidparse.errors import UsageError
from vidparse.requests.option import Argument, Option, comma_list


@dataclass(frozen=True)
class Toy:
    size: Annotated[int, Option("Of it.", short="-s", least=1)] = 3
    weight: Annotated[float | None, Option("Of it.", least=0, most=9)] = None
    out: Annotated[Path, Option("Where to.", flag="--out", short="-o")] = Path("out")
    names: Annotated[tuple[str, ...], Option("Several.")] = ()
    colours: Annotated[tuple[str, ...], Option("Of it.", parse=comma_list)] = ()
    quiet: Annotated[bool, Option("No lines.", flag="--quiet", short="-q")] = False
    audio: Annotated[bool, Option("No sound.", flag="--no-audio", negates=True)] = True
    checks: Annotated[bool, Option("Look twice.")] = True


def toy(request: Toy, paths: Annotated[tuple[str, ...], Argument("Inputs.")]) -> object:
    return request, paths


def one_place(path: Annotated[str, Argument("Input.")]) -> object:
    return path


def found(words: Sequence[str]) -> dict[str, object]:
    return Command("toy", toy).parser().parse(words)


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ("x", {}),
        ("x --size 5", {"size": 5}),
        ("--size=5 x", {"size": 5}),
        ("-s5 x", {"size": 5}),
        ("-s=5 x", {"size": 5}),
        ("-qs 5 x", {"quiet": True, "size": 5}),
        ("-qs5 x", {"quiet": True, "size": 5}),
        ("x --size 5 --size 6", {"size": 6}),
        ("x --weight 0", {"weight": 0.0}),
        ("x --weight 1e-1", {"weight": 0.1}),
        ("x -o a/b", {"out": Path("a/b")}),
        ("x -o --quiet", {"out": Path("--quiet")}),
        ("x -o -", {"out": Path("-")}),
        ("x --out=a=b", {"out": Path("a=b")}),
        ("x --names a --names b", {"names": ["a", "b"]}),
        ("x --colours a,b", {"colours": "a,b"}),
        ("x --no-audio", {"audio": True}),
        ("x --no-checks", {"checks": False}),
        ("x --checks", {"checks": True}),
    ],
)
def test_options(words: str, said: dict[str, object]) -> None:
    assert found(words.split()) == {"paths": ["x"]} | said


@pytest.mark.parametrize(
    ("words", "paths"),
    [
        ("a b", ["a", "b"]),
        ("a --quiet b", ["a", "b"]),
        ("-", ["-"]),
        ("-- --quiet -s", ["--quiet", "-s"]),
        ("a -- b --", ["a", "b", "--"]),
    ],
)
def test_arguments(words: str, paths: list[str]) -> None:
    assert found(words.split())["paths"] == paths


def test_values_reach_the_function() -> None:
    words = ["x", "y", "--no-audio", "--no-checks", "--colours", "a,b", "--names", "c", "-q"]
    assert Command("toy", toy).run(words) == (
        Toy(names=("c",), colours=("a", "b"), quiet=True, audio=False, checks=False),
        ("x", "y"),
    )
    assert Command("toy", toy).run(["x"]) == (Toy(), ("x",))


@pytest.mark.parametrize(
    ("words", "line"),
    [
        ("", "paths: is missing; see vidparse toy --help"),
        ("x --size", "--size: its value is missing; see vidparse toy --help"),
        ("x --size five", "--size 'five': not a whole number; write 1 or more"),
        ("x --size 1.5", "--size '1.5': not a whole number; write 1 or more"),
        ("x --size 0", "--size '0': out of range; write 1 or more"),
        ("x -s0", "-s '0': out of range; write 1 or more"),
        ("x --weight nan", "--weight 'nan': out of range; write one from 0 to 9"),
        ("x --weight x", "--weight 'x': not a number; write one from 0 to 9"),
        ("x --sise 1", "--sise: no such option; did you mean --size? See vidparse toy --help"),
        ("x --zzz", "--zzz: no such option; see vidparse toy --help"),
        ("x -5", "-5: no such option; see vidparse toy --help"),
        ("x --quiet=yes", "--quiet 'yes': takes no value; write --quiet alone"),
    ],
)
def test_errors_are_one_line_of_ours(words: str, line: str) -> None:
    with pytest.raises(UsageError) as error:
        found(words.split())
    assert str(error.value) == line


def test_a_word_too_many() -> None:
    with pytest.raises(UsageError, match="'b': one word too many; see vidparse toy --help"):
        Command("toy", one_place).run(["a", "b"])


@pytest.mark.parametrize("words", ["--help", "-h", "x -q -h", "--size 5 --help --zzz"])
def test_help_may_stand_anywhere(words: str) -> None:
    with pytest.raises(HelpWanted):
        found(words.split())


def test_help_behind_two_dashes_is_a_name() -> None:
    assert found(["--", "--help"]) == {"paths": ["--help"]}


@pytest.mark.parametrize(
    ("words", "name", "rest"),
    [
        ("segment x", "segment", ["x"]),
        ("models show x", "models show", ["x"]),
        ("models --json", "models", ["--json"]),
        ("models", "models", []),
        ("segment models", "segment", ["models"]),
    ],
)
def test_the_command_that_words_call(words: str, name: str, rest: list[str]) -> None:
    assert command_of(words.split()) == (name, rest)


@pytest.mark.parametrize(
    ("words", "name", "code"),
    [("", "", 2), ("-h", "", 0), ("data", "data", 2), ("data -h", "data", 0)],
)
def test_pages_of_groups(words: str, name: str, code: int) -> None:
    with pytest.raises(HelpWanted) as wanted:
        command_of(words.split())
    assert (wanted.value.name, wanted.value.code) == (name, code)


def test_all_spellings_of_a_flag_lead_to_its_option() -> None:
    parser: Parser = Command("toy", toy).parser()
    assert parser.flags["--size"] is parser.flags["-s"]
    assert parser.flags["--checks"] is parser.flags["--no-checks"]
    assert "--audio" not in parser.flags
