"""Every command line of the README runs, on small made data; those of cards are parsed."""

from __future__ import annotations

import os
import re
import shlex
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import typer
from made_workplace import make_workplace

ROOT = Path(__file__).parent.parent
README = "README.md"
# Records of how weights and results were made, from files that a test has not.
RECORDS = sorted(
    str(path.relative_to(ROOT))
    for place in ("weights", "examples")
    for path in (ROOT / place).glob("*.md")
)

# Words that stand for something, and what is put there.
WORDS = {
    "NAME": "street-student",
    "MODEL": "everyday-student",
    "CLIP": "clip.mp4",
    "RECIPE": "camvid-plain",
    "SEED": "3",
}
# Commands that are not run: they begin so, and need what a test has not. Those of vidparse are
# parsed by its own parser.
NOT_RUN = {
    "pip install": "a network connection",
    "python3 -m venv": "a network connection; .ci does it",
    ". .venv/bin/activate": "the environment above",
    "ruff": "the checkout's own checks; .ci runs them",
    "mypy": "the checkout's own checks; .ci runs them",
    "pytest": "the checkout's own checks; .ci runs them",
    "vidparse export street-student -o fast.onnx --int8": "minutes: test_quantize has a small one",
    "vidparse bench --zoo tcb-ocr-mobilenetv2": "a minute of a quiet machine: test_bench has less",
    "torchrun --nproc-per-node 8": "eight processes",
    "vidparse segment input.mp4 -m hf:owner/repo": "a network connection",
    "vidparse bench clip.mp4 -m fast.onnx --backend openvino": "OpenVINO",
    "vidparse autolabel": "a minute of CPU each: test_cli_autolabel has small ones",
    "python tests/benchmarks/": "minutes of a quiet machine",
}
# A run of any recipe is cut to these.
SHORT = (
    *("--set", "epochs=1", "--set", "steps_per_epoch=2", "--set", "batch_size=2"),
    *("--set", "crop_hw=[64,96]", "--set", "precision=fp32", "--set", "workers=0"),
    *("--set", "metrics=['miou']", "--set", "validate_every=1", "--device", "cpu"),
    *("--set", "short_side=64"),
)


def commands(text: str, *, spans: bool = True) -> Iterator[str]:
    """Command lines of a document: its shell blocks, and code spans that are whole commands."""
    fence = re.compile(r"^```sh\n(.*?)^```", re.M | re.S)
    for block in fence.findall(text):
        yield from _lines(block)
    if not spans:
        return
    for span in re.findall(r"`((?:vidparse|python) [^`]+)`", fence.sub("", text)):
        words = span.split()
        if len(words) > 2 and "..." not in words:  # else a name or a part of one
            yield " ".join(words)


def _lines(block: str) -> Iterator[str]:
    """Logical lines without comments; variables of the block are put in."""
    block = re.sub(r"\|\n\s*", "| ", re.sub(r"\\\n\s*", " ", block))
    variables: dict[str, str] = {}
    for line in block.splitlines():
        line = re.sub(r"(^|\s+)#.*$", "", line).strip()
        for name, value in variables.items():
            line = line.replace(f"${name}", value)
        if found := re.fullmatch(r'(\w+)="(.*)"', line):
            variables[found[1]] = found[2]
        elif line and "|" in line:
            yield line
        elif line:
            yield from line.split(" && ")


@pytest.fixture(scope="module")
def workplace(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("workplace")
    make_workplace(root)
    return root


def test_every_command_of_the_readme_runs(
    workplace: Path,
    cli: Callable[..., Any],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    place = tmp_path / "place"
    shutil.copytree(workplace, place)
    monkeypatch.chdir(place)
    monkeypatch.setenv("PATH", f"{_vidparse_on_path(tmp_path)}{os.pathsep}{os.environ['PATH']}")
    for command in commands((ROOT / README).read_text(encoding="utf-8")):
        reason = next((why for start, why in NOT_RUN.items() if command.startswith(start)), None)
        for word, meant in WORDS.items():
            command = re.sub(rf"\b{word}\b", meant, command)
        if reason is not None:
            check_unrun(command)
        elif "|" in command:
            _run_in_shell(command)
        else:
            program, *words = shlex.split(command)
            assert program == "vidparse", f"{command}: say how to run it, or why not (NOT_RUN)"
            _clear(words)
            if words[0] == "train" and "--dry-run" not in words:
                words += [] if "--resume" in words else SHORT
            ended = cli(*(one for word in words for one in expanded(word)))
            assert ended.code == 0, f"{command}\n{ended.err}"


def expanded(word: str) -> list[str]:
    """A word as a shell hands it over."""
    return sorted(map(str, Path().glob(word))) if word.endswith("*/") else [word]


def check_unrun(command: str) -> None:
    """What is not run is at least written as its program takes it."""
    words = shlex.split(command)
    if words[0] == "python":
        assert (ROOT / words[1]).is_file(), command
    if "vidparse" in words:
        from vidparse.cli.app import app

        words = [word for word in words[words.index("vidparse") + 1 :] if word != "..."]
        group: Any = typer.main.get_command(app)
        name, sub, rest = group.resolve_command(group.make_context("vidparse", words), words)
        sub.make_context(name, rest)


@pytest.mark.parametrize("document", RECORDS)
def test_every_command_of_a_record_is_taken_by_its_parser(document: str) -> None:
    for command in commands((ROOT / document).read_text(encoding="utf-8"), spans=False):
        for part in command.split("|"):
            check_unrun(part)


def test_a_command_that_no_parser_takes_is_found() -> None:
    check_unrun("vidparse segment input.mp4 -m hf:owner/repo")
    with pytest.raises(Exception, match="no-such-option"):
        check_unrun("vidparse segment input.mp4 --no-such-option")


def _clear(words: list[str]) -> None:
    """Take away what an earlier command of the document wrote to the same place."""
    if "--skip-existing" in words:
        return  # it is for what an earlier command wrote
    target = words[words.index("-o") + 1] if "-o" in words else None
    if target is None and words[0] == "train" and "--resume" not in words:
        target = "runs/train"
    stale = [Path(target)] if target else []
    if words[0] == "segment" and target is None:
        stale += [*Path().glob("*.overlay.*"), *Path().glob("*.masks")]
    for path in stale:
        shutil.rmtree(path) if path.is_dir() else path.unlink(missing_ok=True)


def _vidparse_on_path(folder: Path) -> Path:
    """A folder with the program `vidparse` of this checkout."""
    script = folder / "bin" / "vidparse"
    script.parent.mkdir()
    script.write_text(f'#!/bin/sh\nexec {shlex.quote(sys.executable)} -m vidparse "$@"\n')
    script.chmod(0o755)
    return script.parent


def _run_in_shell(command: str) -> None:
    if "ffmpeg" in command and shutil.which("ffmpeg") is None:
        check_unrun(command.split("|")[1])
        return
    if found := re.search(r"--size (\d+)x(\d+)", command):
        from conftest import make_clip

        size_hw = (int(found[2]), int(found[1]))
        make_clip(Path("in.mp4"), frames=2, size_hw=size_hw, rate=30)
    ended = subprocess.run(
        ["bash", "-o", "pipefail", "-c", command], capture_output=True, text=True, check=False
    )
    assert ended.returncode == 0, f"{command}\n{ended.stderr}"


@pytest.mark.parametrize("script", sorted((ROOT / "examples").glob("*.sh")), ids=lambda p: p.name)
def test_example_scripts_run(script: Path, workplace: Path, tmp_path: Path) -> None:
    usage = re.search(rf"^#\s+examples/{script.name} (.+)$", script.read_text(), re.M)
    assert usage is not None, f"{script.name}: a comment says how it is called"
    if "ffmpeg" in script.read_text() and shutil.which("ffmpeg") is None:
        pytest.skip("ffmpeg is not installed here")
    place = tmp_path / "place"
    shutil.copytree(workplace, place)
    path = f"{_vidparse_on_path(tmp_path)}{os.pathsep}{os.environ['PATH']}"
    words = ["bash", str(script), *usage[1].split()]
    before = {one for one in place.rglob("*")}
    ended = subprocess.run(
        words, cwd=place, env={**os.environ, "PATH": path}, capture_output=True, text=True
    )
    assert ended.returncode == 0, ended.stderr
    assert {one for one in place.rglob("*")} - before


def test_reasons_are_still_needed() -> None:
    """A command that is gone from the documents leaves no entry behind."""
    texts = list(commands((ROOT / README).read_text(encoding="utf-8")))
    for start in NOT_RUN:
        assert any(text.startswith(start) for text in texts), start
