"""Options are declared once, in the records that commands take; help and shells list tables."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Annotated, Any

import pytest

import vidparse
from vidparse.cli import commands
from vidparse.cli.command import call, command_of
from vidparse.cli.commands import loaded
from vidparse.cli.help import command_page
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
    seconds,
)
from vidparse.requests.outputs import SinkOptions
from vidparse.requests.segment import BenchRequest, PipeOptions, SegmentOptions
from vidparse.requests.training import SourceRequest, TrainOptions

COMMANDS: dict[str, Callable[..., None]] = {
    name: loaded(name) for name in commands.COMMANDS if not commands.listed(name)
}
# Fields for Python alone, or that other options make.
NO_OPTIONS = {
    "PropagateRequest": {"argv"},
    "SegmentOptions": {"raw", "image_rate", "size", "argv"},
    "SinkOptions": {"classes", "preset", "pipe_format", "header", "keep_parts"},
    "Merging": {"classes"},
    "ModelChoice": {"name", "variants"},
}


def options_named(name: str) -> list[Given]:
    return list(options_of(tuple(filter(None, members_of(COMMANDS[name]).values()))))


def records_of(part: Part) -> list[Part]:
    inner = [records_of(member) for member in part.members if isinstance(member, Part)]
    return [part, *(one for found in inner for one in found)]


@pytest.mark.parametrize("name", COMMANDS)
def test_the_options_of_a_command_are_the_fields_of_its_records(name: str) -> None:
    made = [parameter.name for parameter in command_of(name, COMMANDS[name]).params]
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
    call(command_of("toy", toy), words)
    return got[0]


def test_options_of_a_record_within_a_record_stand_in_its_place() -> None:
    options = value_of(SegmentOptions, "--crf", "20", "--no-audio", "--serial", "--end", "1:02")
    assert options == SegmentOptions(
        sinks=SinkOptions(crf=20, audio=False), overlap=False, end_s=62.0
    )


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("12.5", 12.5), (".5", 0.5), ("200ms", 0.2), ("2s", 2.0), ("1.5m", 90.0), ("24h", 86400.0),
        ("7d", 604800.0), ("1:02", 62.0), ("01:02:03.250", 3723.25), ("0:90", 90.0),
        ("1400ms", 1.4), ("0.03m", 1.8), ("1:01.4", 61.4), ("5.", 5.0),
    ],
)  # fmt: skip
def test_times_are_written_alike_everywhere(text: str, expected: float) -> None:
    assert value_of(SegmentOptions, "--start", text).start_s == expected
    assert seconds(text, "--stop-after") == expected


def test_a_time_is_one_number_however_it_is_written() -> None:
    """A frame begins at 1.4 s: one at 1.4000000000000001 would be the next."""
    for ms in range(5000):
        texts = (f"{ms}ms", f"{ms / 1000:.3f}", f"0:{ms / 1000:.3f}", f"{ms / 1000:.3f}s")
        assert {seconds(text, "--start") for text in texts} == {ms / 1000}


def test_a_record_that_may_be_missing_is_made_of_what_is_given() -> None:
    assert value_of(SegmentOptions).merging is None
    assert value_of(SegmentOptions, "--min-area", "9").merging == Merging(min_area=9)
    assert value_of(SegmentOptions, "--merging", "official").merging == Merging("official")


def test_what_is_given_several_times_is_several_values() -> None:
    options = value_of(TrainOptions, "--set", "a=1", "--set", "b=x=y", "--also", "folder=x:val@2")
    assert options.changes == (("a", "1"), ("b", "x=y"))
    assert options.also == (SourceRequest("folder", Path("x"), "val", 2.0),)
    assert value_of(EvaluationRequest, "--pred", "a", "--pred", "b").predictions == (
        Path("a"),
        Path("b"),
    )


def test_the_error_for_a_text_without_a_value_names_the_flag() -> None:
    for text in ("soon", "1:2:3:4", "2x", "-1", "1:-2", "inf", "nan", "1:", "2s:1", ""):
        with pytest.raises(UsageError, match=f"--start '{text}': not a time"):
            value_of(SegmentOptions, "--start", text)
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


def test_a_field_that_is_added_is_an_option() -> None:
    assert value_of(Toy, "--size", "5") == Toy(5)
    with pytest.raises(UsageError, match="--colours: no such option"):
        value_of(Toy, "--colours", "b")
    assert value_of(LargerToy, "--colours", "b,c") == LargerToy(3, ("b", "c"))

    def toy(request: LargerToy) -> None:
        """Play."""

    page = command_page("toy", toy)
    assert "Toys" in page and "Of the toy. [default: 3]" in page
    assert "Any of overlay, masks" in page


def test_a_record_and_an_argument_beside_it() -> None:
    got = []

    def toy(request: LargerToy, name: Annotated[str, Argument("Its name.")]) -> None:
        got.append((request, name))

    call(command_of("toy", toy), ["ann", "--size", "2"])
    assert got == [(LargerToy(2), "ann")]


def test_a_parameter_that_is_no_option_is_an_error_of_ours() -> None:
    def toy(size: int) -> None: ...

    with pytest.raises(AssertionError, match="size"):
        command_of("toy", toy)


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
