"""Command lines, Python and links that documents show: found, cut to small data, and checked."""

from __future__ import annotations

import argparse
import re
import runpy
import shlex
import sys
import tomllib
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from vidparse.cli.app import application

ROOT = Path(__file__).parents[2]
README = (ROOT / "README.md").read_text(encoding="utf-8")
FENCE = re.compile(r"^ *```(\w+)\n(.*?)^ *```", re.M | re.S)

# Words that stand for something, and what a test puts there.
WORDS = {
    "NAME": "street-student",
    "MODEL": "everyday-student",
    "CLIP": "clip.mp4",
    "RECIPE": "camvid-plain",
    "SEED": "3",
    "sample://street": "sample://street?frames=3&size=160x96",
    "--device cuda": "--device cpu",
    "--nproc-per-node 8": "--standalone --nproc-per-node 2",
    # "sync" is for GPUs
    "-m vidparse train": "-m vidparse train --set norm=batch --set config.backbone=resnet18",
}
# A run of any recipe is cut to these.
SHORT = (
    *("--set", "epochs=1", "--set", "steps_per_epoch=2", "--set", "batch_size=2"),
    *("--set", "crop_hw=[64,96]", "--set", "precision=fp32", "--set", "workers=0"),
    *("--set", "metrics=['miou']", "--set", "validate_every=1", "--device", "cpu"),
    *("--set", "short_side=64"),
)
RUN_FILES = ("best.safetensors", "last.safetensors", "log.jsonl", "recipe.json", "curves.html")


@dataclass(frozen=True, slots=True)
class Shown:
    """A command line of a document, and the files that the comment behind it promises."""

    line: str
    promised: tuple[str, ...] = ()


def text_of(document: str) -> str:
    """A document by its path in this repository."""
    return (ROOT / document).read_text(encoding="utf-8")


def commands(text: str) -> Iterator[Shown]:
    """Command lines of a document: its shell blocks, then code spans that are whole commands."""
    for language, block in FENCE.findall(text):
        if language == "sh":
            yield from _lines(block)
    for span in spans(text):
        words = span.split()
        whole = len(words) > 2 or words[0] in ("python", "pytest")
        known = words[0] in ("vidparse", "python", "pip", "pytest")
        if known and whole and len(words) > 1 and "..." not in words:
            yield Shown(span)


def spans(text: str) -> list[str]:
    """Code spans outside blocks, each on one line."""
    return [" ".join(span.split()) for span in re.findall(r"`([^`]+)`", FENCE.sub("", text))]


def python_blocks(text: str) -> list[str]:
    """Blocks of Python, in their order."""
    return [block for language, block in FENCE.findall(text) if language == "python"]


def links(text: str) -> list[str]:
    """Targets of links and pictures that lie in this repository."""
    found = re.findall(r"\]\(([^)\s]+)\)", FENCE.sub("", text))
    return [target for target in found if "://" not in target]


def anchors(text: str) -> set[str]:
    """Names that links to headings of a document have."""
    headings = re.findall(r"^#+ (.+)$", FENCE.sub("", text), re.M)
    return {re.sub(r"[^\w -]", "", heading.lower()).replace(" ", "-") for heading in headings}


def files_of(text: str) -> dict[str, str]:
    """Small files that a document spells out in a sentence: `x.toml` is `a = 1`, `b = 2`."""
    found = re.findall(r"`([\w.]+\.toml)`\s+is\s+((?:`[^`]+`,?\s*)+)\.", text)
    return {name: "\n".join(re.findall(r"`([^`]+)`", lines)) for name, lines in found}


def _lines(block: str) -> Iterator[Shown]:
    """Logical lines without comments; variables of the block are put in."""
    block = re.sub(r"\|\n\s*", "| ", re.sub(r"\\\n\s*", " ", block))
    variables: dict[str, str] = {}
    for line in block.splitlines():
        line, _, comment = re.sub(r"(^|\s+)#", "\0", line, count=1).partition("\0")
        arrow = re.match(r"\s*-> (.+)", comment)
        promised = tuple(arrow[1].split(", ")) if arrow else ()
        for name, value in variables.items():
            line = line.replace(f"${name}", value)
        if found := re.fullmatch(r'(\w+)="(.*)"', line.strip()):
            variables[found[1]] = found[2]
        elif line.strip():
            parts = [line] if "|" in line else line.split(" && ")
            yield from (Shown(part.strip(), promised) for part in parts)


def filled_in(line: str) -> str:
    """The line with something in place of its words that stand for something."""
    for word, meant in WORDS.items():
        line = re.sub(rf"(?<![\w-]){re.escape(word)}(?!\w)", meant, line)
    return line


def cut(words: Sequence[str]) -> list[str]:
    """Words of a command of vidparse, with what makes it short; the last of an option counts."""
    match words[0]:
        case "train" if "--dry-run" not in words and "--resume" not in words:
            return [*words, *SHORT]
        case "bench" if "--zoo" in words:
            return [*words, "--size", "96x64", "--backends", "torch", "--repeats", "1"]
        case "bench":
            return [*words, "--size", "64", "--repeats", "1"]
        case "autolabel":
            return [*words, "--max-frames", "2", "--scales", "0.5"]
    return list(words)


def expanded(word: str) -> list[str]:
    """A word as a shell hands it over."""
    return sorted(map(str, Path().glob(word))) if word.endswith("*/") else [word]


def parsed(words: Sequence[str]) -> tuple[str, dict[str, Any]]:
    """The command of vidparse and its values, by its own parser.

    Raises:
        UsageError: the parser does not take these words.
    """
    if {"--help", "-h"} & set(words):
        return "", {"dry_run": True}
    command, name, context = application(), "vidparse", None
    rest = [word for word in words if word != "--debug"]
    while getattr(command, "commands", None) and rest and not rest[0].startswith("-"):  # a group
        context = command.make_context(name, list(rest), parent=context)
        name, command, rest = command.resolve_command(context, rest)
    found = command.make_context(name, list(rest), parent=context)
    assert not found.args, f"{name}: words too many: {found.args}"
    return name, found.params


def outputs(words: Sequence[str]) -> list[str]:
    """Files and folders that a command of vidparse promises to write, as patterns."""
    name, given = parsed(words)
    out, report = (str(given[key]) if given.get(key) else "" for key in ("out", "report"))
    if given.get("dry_run") or out == "-":
        return []
    if name == "train":
        folder = out or (Path(given["resume"]).parent if given["resume"] else "runs/train")
        return [f"{folder}/{file}" for file in RUN_FILES]
    if name == "segment" and (not out or out.endswith("/")):
        implied = [one for one in ("background", "redact", "matte") if given[one]]
        usual = implied[0] if implied else "overlay,masks"
        kinds = (given["save"] or usual).split(",")
        return [_output(stem, kind, out) for stem in _stems(given["inputs"]) for kind in kinds]
    return [one for one in (out, report) if one]


def named_outputs() -> dict[str, str]:
    """README's table: what `--save` takes, and the file that `clip.mp4` then gives."""
    return dict(re.findall(r"^\| `([\w-]+)` \| `(clip\.[^`]+)` \|", README, re.M))


def _output(stem: str, kind: str, out: str) -> str:
    first = named_outputs()[kind].split("/")[0].replace("clip", stem, 1)
    return out + re.sub(r"\.mp4$", ".*", first)  # the container is that of the input


def _stems(inputs: Sequence[str]) -> Iterator[str]:
    for word in inputs:
        if word.startswith("sample://"):
            yield word.removeprefix("sample://").split("?")[0]
            continue
        for path in sorted(Path().glob(word)):
            videos = [one for one in path.glob("*") if one.suffix in (".mov", ".mp4")]
            yield from (one.stem for one in videos or [path])


def check_filled(pattern: str, line: str) -> None:
    """What was promised is there, and no file of it is empty."""
    found = sorted(Path().glob(pattern))
    assert found, f"{line}: promises {pattern}, which is not there"
    for path in found:
        files = [one for one in path.rglob("*") if one.is_file()] if path.is_dir() else [path]
        assert files, f"{line}: {path} is empty"
        assert all(one.stat().st_size for one in files), f"{line}: an empty file in {path}"


def check_unrun(line: str) -> None:
    """A command that is not run is at least written as its program takes it."""
    for part in filled_in(line).split(" | "):
        words = [word for word in shlex.split(part) if word != "..."]
        check = PROGRAMS.get(words[0])
        assert check is not None, f"{line}: no program that is known here"
        check(words)


class _Parsed(Exception):
    """A script has read its arguments and found no fault."""


def _taken_by_script(words: list[str]) -> None:
    script = ROOT / words[1]
    assert script.is_file(), f"{words[1]}: is not there"
    kind = argparse.ArgumentParser
    parse, know = kind.parse_args, kind.parse_known_args

    def know_and_stop(parser: Any, *arguments: Any, **wishes: Any) -> None:
        know(parser, *arguments, **wishes)
        raise _Parsed

    def parse_and_stop(parser: Any, *arguments: Any, **wishes: Any) -> None:
        patch.setattr(kind, "parse_known_args", know)  # parse_args calls it, and looks at the rest
        parse(parser, *arguments, **wishes)
        raise _Parsed

    with pytest.MonkeyPatch.context() as patch, pytest.raises(_Parsed):
        patch.setattr(sys, "argv", words[1:])
        patch.syspath_prepend(str(script.parent))  # as Python does for a script
        patch.setattr(kind, "parse_args", parse_and_stop)
        patch.setattr(kind, "parse_known_args", know_and_stop)
        runpy.run_path(str(script), run_name="__main__")


def _taken_by_pip(words: list[str]) -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    found = re.fullmatch(r"\.(?:\[(\w+)\])?", words[2])
    assert words[1] == "install" and len(words) == 3 and found, f"{words}: pip install '.[NAME]'"
    assert found[1] is None or found[1] in project["optional-dependencies"], words[2]


def _taken_by_pytest(words: list[str]) -> None:
    tool = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]
    marks = [mark.split(":")[0] for mark in tool["pytest"]["ini_options"]["markers"]]
    match words[1:]:
        case []:
            pass
        case ["-n", count, "--dist", way]:
            assert count.isdecimal() and way in ("load", "loadfile", "loadscope", "worksteal")
        case ["-m", mark]:
            assert mark in marks, f"{mark}: no marker of pyproject.toml"
        case [path]:
            assert (ROOT / path).is_file(), f"{path}: is not there"
        case _:
            raise AssertionError(f"{words}: not a form of pytest that is known here")


def _of_ci(words: list[str]) -> None:
    """The block that .ci takes from README runs it."""
    block = README.split("<!-- ci -->")[1].split("```")[1]
    lines = [shlex.split(part) for line in block.splitlines() for part in line.split(" && ")]
    assert words in lines, f"{words}: not what .ci runs"


PROGRAMS: dict[str, Callable[[list[str]], object]] = {
    "vidparse": lambda words: parsed(words[1:]),
    "python": _taken_by_script,
    "pip": _taken_by_pip,
    "pytest": _taken_by_pytest,
    **dict.fromkeys(("python3", ".", "ruff", "mypy"), _of_ci),
    **dict.fromkeys(("ffmpeg", "ffplay"), lambda words: None),  # have no parser to ask
}
