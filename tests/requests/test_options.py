"""Options are declared once, in the records that commands take; help and shells list tables."""

from __future__ import annotations

import ast
import os
import subprocess
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Annotated, Any

import pytest
import typer

import vidparse
from vidparse.cli import commands
from vidparse.cli.command import Command, Commands, add_command, with_options
from vidparse.cli.commands import loaded
from vidparse.cli.options import CHOICES, completions, names_of
from vidparse.errors import UsageError
from vidparse.requests.autolabel import AutolabelRequest
from vidparse.requests.evaluation import EvaluationRequest
from vidparse.requests.model import Merging
from vidparse.requests.option import (
    Argument,
    Given,
    Option,
    Part,
    comma_list,
    members_of,
    options_of,
)
from vidparse.requests.outputs import SinkOptions
from vidparse.requests.segment import BenchRequest, PipeOptions, SegmentOptions
from vidparse.requests.training import SourceRequest, TrainOptions

COMMANDS: dict[str, Callable[..., None]] = {
    name: loaded(name) for name in commands.COMMANDS if not commands.listed(name)
}
# Fields for Python alone, or that other options make.
NO_OPTIONS = {
    "SegmentOptions": {"raw", "image_rate", "size", "argv"},
    "SinkOptions": {"classes", "preset", "pipe_format", "header"},
    "Merging": {"classes"},
    "ModelChoice": {"name"},
}


def command_of(function: Callable[..., None]) -> Any:
    app = typer.Typer(add_completion=False)
    app.command("toy", cls=Command)(with_options(function))
    return typer.main.get_command(app)


def options_named(name: str) -> list[Given]:
    return list(options_of(tuple(filter(None, members_of(COMMANDS[name]).values()))))


def records_of(part: Part) -> list[Part]:
    inner = [records_of(member) for member in part.members if isinstance(member, Part)]
    return [part, *(one for found in inner for one in found)]


@pytest.mark.parametrize("name", COMMANDS)
def test_the_options_of_a_command_are_the_fields_of_its_records(name: str) -> None:
    made = [parameter.name for parameter in command_of(COMMANDS[name]).params]
    assert made == [option.name for option in options_named(name)]
    assert len(made) == len(set(made)), "one field, one option"


@pytest.mark.parametrize("name", COMMANDS)
def test_every_field_of_a_record_is_an_option_or_is_known_to_be_none(name: str) -> None:
    for member in members_of(COMMANDS[name]).values():
        for part in records_of(member) if isinstance(member, Part) else []:
            there = {one.name for one in part.members}
            absent = {field.name for field in fields(part.record)} - there
            assert absent == NO_OPTIONS.get(part.record.__name__, set()), part.record


@pytest.mark.parametrize("name", COMMANDS)
def test_flags_of_a_command_differ(name: str) -> None:
    flags = [one for option in options_named(name) for one in (option.flag, option.option.short)]
    shown = [flag for flag in flags if flag]
    assert len(shown) == len(set(shown))


@pytest.mark.parametrize("name", COMMANDS)
def test_a_default_and_its_text_are_one_value(name: str) -> None:
    for option in options_named(name):
        if option.option.text is not None:
            assert option.value(option.option.text) == option.default


@pytest.mark.parametrize(
    "record",
    [SegmentOptions, PipeOptions, BenchRequest, EvaluationRequest, TrainOptions, AutolabelRequest],
)
def test_without_options_a_command_gets_the_record_that_python_makes(record: type) -> None:
    assert value_of(record) == record()


def value_of(record: type, *words: str) -> Any:
    """The record of a command that takes it alone, and these words."""
    got = []

    def toy(request: Any) -> None:
        got.append(request)

    toy.__annotations__ = {"request": record}
    command_of(toy).main(list(words), standalone_mode=False)
    return got[0]


def test_options_of_a_record_within_a_record_stand_in_its_place() -> None:
    told = value_of(SegmentOptions, "--crf", "20", "--no-audio", "--serial", "--end", "1:02")
    assert told == SegmentOptions(sinks=SinkOptions(crf=20, audio=False), overlap=False, end_s=62.0)


def test_a_record_that_may_be_missing_is_made_of_what_is_given() -> None:
    assert value_of(SegmentOptions).merging is None
    assert value_of(SegmentOptions, "--min-area", "9").merging == Merging(min_area=9)
    assert value_of(SegmentOptions, "--merging", "official").merging == Merging("official")


def test_what_is_given_several_times_is_several_values() -> None:
    told = value_of(TrainOptions, "--set", "a=1", "--set", "b=x=y", "--also", "folder=x:val@2")
    assert told.changes == (("a", "1"), ("b", "x=y"))
    assert told.also == (SourceRequest("folder", Path("x"), "val", 2.0),)
    assert value_of(EvaluationRequest, "--pred", "a", "--pred", "b").predictions == (
        Path("a"),
        Path("b"),
    )


def test_a_text_that_says_no_value_names_the_flag() -> None:
    with pytest.raises(UsageError, match="--start 'soon': not a time"):
        value_of(SegmentOptions, "--start", "soon")
    with pytest.raises(UsageError, match="--set 'a': write field=value"):
        value_of(TrainOptions, "--set", "a")


@dataclass(frozen=True)
class Toy:
    size: Annotated[int, Option("Of the toy.", panel="Toys", least=1)] = 3


@dataclass(frozen=True)
class LargerToy(Toy):
    colours: Annotated[
        tuple[str, ...], Option("Any of {choices}.", choices="outputs", parse=comma_list, text="a")
    ] = ("a",)


def test_a_field_that_is_added_is_an_option(capsys: pytest.CaptureFixture[str]) -> None:
    assert value_of(Toy, "--size", "5") == Toy(5)
    with pytest.raises(Exception, match="No such option"):
        value_of(Toy, "--colours", "b")
    assert value_of(LargerToy, "--colours", "b,c") == LargerToy(3, ("b", "c"))

    def toy(request: LargerToy) -> None:
        """Play."""

    command_of(toy).main(["--help"], standalone_mode=False)
    page = capsys.readouterr().out
    assert "Toys" in page and "Of the toy. [default: 3]" in page
    assert "Any of overlay, masks" in page


def test_a_command_of_a_group_has_its_options_when_it_runs() -> None:
    got = []

    def toy(request: LargerToy, name: Annotated[str, Argument("Its name.")]) -> None:
        got.append((request, name))

    app = typer.Typer(cls=Commands)
    app.callback()(lambda: None)
    add_command(app, "toy", toy)
    app(["toy", "ann", "--size", "2"], standalone_mode=False)
    assert got == [(LargerToy(2), "ann")]


def test_nothing_but_the_records_declares_an_option() -> None:
    """Apart from --version and --debug, which every command knows."""
    found = []
    for path in sorted((Path(vidparse.__file__).parent / "cli").glob("*.py")):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            name = ast.unparse(node.func) if isinstance(node, ast.Call) else ""
            if name in ("typer.Option", "typer.Argument"):
                found.append(path.stem)
    assert sorted(found) == ["app", "app", "command", "command"]


def test_requests_load_nothing_that_takes_time() -> None:
    names = [path.stem for path in Path(vidparse.__file__).parent.glob("requests/*.py")]
    heavy = {"torch", "av", "cv2", "numpy", "onnxruntime", "pydantic", "typer", "rich"}
    lines = [f"import vidparse.requests.{name}" for name in names if name != "__init__"]
    code = "; ".join(["import sys", *lines, f"print(*sorted({heavy!r} & sys.modules.keys()))"])
    out = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert out.stdout.strip() == ""


@pytest.mark.parametrize("name", COMMANDS)
def test_choices_of_options_are_tables(name: str) -> None:
    for option in options_named(name):
        listed = "{choice" in option.option.help
        assert option.option.choices in (CHOICES if option.option.choices or listed else ("",))


@pytest.mark.parametrize("choices", CHOICES)
def test_every_table_has_names(choices: str) -> None:
    names = names_of(choices)
    assert names and all(isinstance(name, str) for name in names)
    assert completions(choices, names[0][:1])


def test_names_of_a_list_are_offered_once_each() -> None:
    assert completions("outputs", "masks,cs", several=True) == ["masks,csv"]
    assert "masks,masks" not in completions("outputs", "masks,", several=True)
    assert completions("outputs", "cs") == ["csv"]
    assert completions("outputs", "masks,cs") == []


def complete(words: Sequence[str]) -> tuple[list[str], bool]:
    """The answer to bash at the end of a command line, and whether torch was loaded for it."""
    code = (
        "import sys; sys.argv = ['vidparse']\n"
        "from vidparse.cli import main\n"
        "try:\n    main()\n"
        "finally:\n    sys.stderr.write(str('torch' in sys.modules))"
    )
    asked = {
        "_VIDPARSE_COMPLETE": "complete_bash",
        "COMP_WORDS": " ".join(words),
        "COMP_CWORD": str(len(words) - 1),
    }
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, env=os.environ | asked
    )
    assert done.returncode == 0, done.stderr
    return done.stdout.split(), done.stderr.endswith("True")


@pytest.mark.parametrize(
    ("line", "offered"),
    [
        ("se", "segment"),
        ("segment --over", "--overwrite"),
        ("segment x.mp4 -m street-st", "street-student"),
        ("segment x.mp4 --save masks,over", "masks,overlay"),
        ("segment x.mp4 --palette dis", "distinct"),
        ("segment x.mp4 --linker over", "overlap"),
        ("eval --metrics miou,vp", "miou,vpq"),
        ("eval --dataset vs", "vspw"),
        ("train --recipe street-pl", "street-plain"),
        ("models show street-st", "street-student"),
        ("convert --from edge", "edgenets"),
        ("convert --arch tcb", "tcb-ocr"),
        ("bench --backends onnx,to", "onnx,torch"),
    ],
)
def test_a_shell_is_offered_names(line: str, offered: str) -> None:
    found, loads_torch = complete(["vidparse", *line.split()])
    assert offered in found
    assert not loads_torch
