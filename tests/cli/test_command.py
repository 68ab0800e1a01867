"""Commands that Typer reads: how their words become options, and the errors for bad words."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

import pytest

from vidparse.cli.command import call, command_of
from vidparse.errors import UsageError
from vidparse.requests.option import Argument, Option, comma_list


@dataclass(frozen=True)
class Toy:
    size: Annotated[int, Option("Of it.", short="-s", least=1)] = 3
    weight: Annotated[float | None, Option("Of it.", least=0, most=9)] = None
    out: Annotated[Path, Option("Where to.", flag="--out", short="-o")] = Path("out")
    names: Annotated[tuple[str, ...], Option("Several.")] = ()
    places: Annotated[tuple[Path, ...], Option("Several.")] = ()
    numbers: Annotated[tuple[int, ...], Option("Several.")] = ()
    colours: Annotated[tuple[str, ...], Option("Of it.", parse=comma_list)] = ()
    quiet: Annotated[bool, Option("No lines.", flag="--quiet", short="-q")] = False
    audio: Annotated[bool, Option("No sound.", flag="--no-audio", negates=True)] = True
    checks: Annotated[bool, Option("Look twice.")] = True


def toy(request: Toy, paths: Annotated[tuple[str, ...], Argument("Inputs.")]) -> object:
    return request, paths


def one_place(path: Annotated[str, Argument("Input.", metavar="FILE")]) -> object:
    return path


def found(words: Sequence[str]) -> Any:
    return call(command_of("toy", toy), words, "vidparse toy")


@pytest.mark.parametrize(
    ("words", "made"),
    [
        ("x", Toy()),
        ("x --size 5", Toy(5)),
        ("--size=5 x", Toy(5)),
        ("-s5 x", Toy(5)),
        ("-qs 5 x", Toy(5, quiet=True)),
        ("-qs5 x", Toy(5, quiet=True)),
        ("x --size 5 --size 6", Toy(6)),
        ("x --weight 0", Toy(weight=0.0)),
        ("x --weight 1e-1", Toy(weight=0.1)),
        ("x -o a/b", Toy(out=Path("a/b"))),
        ("x -o --quiet", Toy(out=Path("--quiet"))),
        ("x -o -", Toy(out=Path("-"))),
        ("x --out=a=b", Toy(out=Path("a=b"))),
        ("x --names a --names b", Toy(names=("a", "b"))),
        ("x --places a --places b", Toy(places=(Path("a"), Path("b")))),
        ("x --numbers 1 --numbers 2", Toy(numbers=(1, 2))),
        ("x --colours a,b", Toy(colours=("a", "b"))),
        ("x --no-audio", Toy(audio=False)),
        ("x --no-checks", Toy(checks=False)),
        ("x --checks", Toy()),
    ],
)
def test_options(words: str, made: Toy) -> None:
    assert found(words.split()) == (made, ("x",))


@pytest.mark.parametrize(
    ("words", "paths"),
    [
        ("a b", ("a", "b")),
        ("a --quiet b", ("a", "b")),
        ("-", ("-",)),
        ("-- --quiet -s", ("--quiet", "-s")),
        ("-- --help", ("--help",)),
        ("a -- b --", ("a", "b", "--")),
    ],
)
def test_arguments(words: str, paths: tuple[str, ...]) -> None:
    assert found(words.split())[1] == paths


@pytest.mark.parametrize(
    ("words", "line"),
    [
        ("", "paths: is missing; see vidparse toy --help"),
        ("x --size", "--size: its value is missing; see vidparse toy --help"),
        ("x --size five", "--size 'five': not a whole number; write 1 or more"),
        ("x --size 1.5", "--size '1.5': not a whole number; write 1 or more"),
        ("x --size 0", "--size '0': out of range; write 1 or more"),
        ("x -s0", "--size '0': out of range; write 1 or more"),
        ("x --weight nan", "--weight 'nan': out of range; write one from 0 to 9"),
        ("x --weight x", "--weight 'x': not a number; write one from 0 to 9"),
        ("x --numbers 1 --numbers y", "--numbers 'y': not a whole number; write one such as 8"),
        ("x --sise 1", "--sise: no such option; did you mean --size? See vidparse toy --help"),
        ("x --zzz", "--zzz: no such option; see vidparse toy --help"),
        ("x -5", "-5: no such option; see vidparse toy --help"),
        ("x --quiet=yes", "--quiet: takes no value; write --quiet alone"),
    ],
)
def test_errors_are_one_line_of_ours(words: str, line: str) -> None:
    with pytest.raises(UsageError) as error:
        found(words.split())
    assert str(error.value) == line


@pytest.mark.parametrize(
    ("words", "line"),
    [
        ("", "FILE: is missing; see vidparse toy --help"),
        ("a b", "'b': one word too many; see vidparse toy --help"),
    ],
)
def test_errors_about_arguments(words: str, line: str) -> None:
    with pytest.raises(UsageError) as error:
        call(command_of("toy", one_place), words.split(), "vidparse toy")
    assert str(error.value) == line


@pytest.mark.parametrize("words", ["--help", "-q --help", "x --size 5 --help"])
def test_help_may_stand_anywhere(words: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert found(words.split()) == 0
    assert "Look twice." in capsys.readouterr().out


@pytest.mark.parametrize(
    ("words", "code"), [("", 2), ("-h", 0), ("data", 2), ("data -h", 0), ("models -h", 0)]
)
def test_pages_of_groups(words: str, code: int, process: Any) -> None:
    run = process(*words.split())
    out, err = run.communicate()
    assert (run.returncode, err) == (code, b"") and b"Commands" in out


def test_a_group_with_work_of_its_own_does_it_only_without_a_command(cli: Any) -> None:
    assert b"street-student" in cli("models", "--json").out
    shown = cli("models", "show", "street-student", "--json").out
    assert shown.count(b"street-panoptic") == 0
