"""Completion: a shell is offered the words that may follow, and nothing ever disturbs its line."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest

from vidparse.cli import command
from vidparse.cli.commands import COMMANDS, listed, loaded
from vidparse.cli.completion import SHELLS, answer
from vidparse.requests.option import members_of, options_of

BASH = shutil.which("bash")


def handed_over(words: Sequence[str]) -> dict[str, str]:
    """The variables of a shell whose cursor is at the last of these words."""
    return {"COMP_WORDS": "\n".join(["vidparse", *words]), "COMP_CWORD": str(len(words))}


@pytest.fixture
def offered(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> Callable[[Sequence[str]], list[str]]:
    """Words that bash is offered for the last of those that it hands over."""

    def complete(words: Sequence[str]) -> list[str]:
        for name, value in {"_VIDPARSE_COMPLETE": "complete_bash", **handed_over(words)}.items():
            monkeypatch.setenv(name, value)
        assert answer("complete_bash") == 0
        return capsys.readouterr().out.split()

    return complete


def run(variables: dict[str, str]) -> tuple[int, str, str]:
    """Code, output and errors of the program; "torch" is an error where it was loaded."""
    code = (
        "import atexit, sys; sys.argv = ['vidparse']\n"
        "from vidparse.cli import main\n"
        "atexit.register(lambda: sys.stderr.write('torch' * ('torch' in sys.modules)))\n"
        "main()"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, env=os.environ | variables
    )
    return done.returncode, done.stdout, done.stderr


@pytest.mark.parametrize(
    ("line", "word"),
    [
        ("se", "segment"),
        ("segment --over", "--overwrite"),
        ("segment x.mp4 -m street-st", "street-student"),
        ("segment x.mp4 --save masks,over", "masks,overlay"),
        ("segment x.mp4 --palette dis", "distinct"),
        ("segment x.mp4 --linker over", "overlap"),
        ("segment x.mp4 --keyframes ", "auto"),
        ("segment x.mp4 --cut ", "off"),
        ("segment x.mp4 --device cu", "cuda"),
        ("segment x.mp4 --decoder ", "auto"),
        ("segment x.mp4 --pipe y", "y4m"),
        ("segment x.mp4 --cluster ", "auto"),
        ("eval --metrics miou,vp", "miou,vpq"),
        ("eval --dataset vs", "vspw"),
        ("eval --split v", "val"),
        ("train --recipe street-pl", "street-plain"),
        ("models show street-st", "street-student"),
        ("convert --from edge", "edgenets"),
        ("convert --arch tcb", "tcb-ocr"),
        ("bench --backends onnx,to", "onnx,torch"),
        ("bench --zoo ", "all"),
    ],
)
def test_a_shell_is_offered_names(line: str, word: str) -> None:
    code, out, err = run({"_VIDPARSE_COMPLETE": "complete_bash", **handed_over(line.split(" "))})
    assert (code, err) == (0, "")
    assert word in out.splitlines()


@pytest.mark.parametrize(
    ("line", "words"),
    [
        ("", ["segment", "info", "bench", "train"]),
        ("--ver", ["--version"]),
        ("--debug inf", ["info"]),
        ("models ", ["pull", "show", "push"]),
        ("models --js", ["--json"]),
        ("data ", ["check"]),
        ("segment -", ["--out", "-o", "--model", "-m", "--help", "-h"]),
        ("segment -q --no-a", ["--no-audio"]),
    ],
)
def test_words_that_may_follow(line: str, words: list[str], offered: Any) -> None:
    assert set(words) <= set(offered(line.split(" ")))


@pytest.mark.parametrize(
    "line",
    [
        "segment ",  # names of files are the shell's own business
        "segment -o ",
        "segment x.mp4 -- --over",
        "segment x.mp4 --quiet=",
        "segment x.mp4 --no-such-option=",
        "models show street-student street-st",
    ],
)
def test_places_where_nothing_is_known(line: str, offered: Any) -> None:
    assert offered(line.split(" ")) == []


@pytest.mark.parametrize(
    ("pieces", "words"),
    [
        (["segment", "--model", "=", "street-st"], ["street-student"]),
        (["segment", "--keyframes", "="], ["auto"]),
        (["segment", "--save", "=", "masks,over"], ["masks,overlay"]),
        (["segment", "--model", "=", "x", "--keyfr"], ["--keyframes"]),
        (["train", "--also", "vspw", "=", "D", ":", "val", "--dry"], ["--dry-run"]),
    ],
)
def test_bash_breaks_words_at_signs_and_replaces_the_last_piece(
    pieces: list[str], words: list[str], offered: Any
) -> None:
    assert offered(pieces) == words


def test_bash_gets_the_part_of_an_address_behind_its_colon(
    offered: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(command, "completions", lambda *_, **__: ["hf:tue/eomt", "hf:a/b"])
    for pieces in (["segment", "-m", "hf", ":"], ["models", "show", "hf", ":"]):
        assert offered(pieces) == ["tue/eomt", "a/b"]
        assert offered([*pieces, "tu"]) == ["tue/eomt"]
    assert offered(["segment", "--model", "=", "hf", ":", "tu"]) == ["tue/eomt"]


@pytest.mark.parametrize(
    "variables",
    [
        {},
        {"COMP_WORDS": ""},
        {"COMP_WORDS": "vidparse segment --over"},
        {"COMP_CWORD": "1"},
        {"COMP_WORDS": "vidparse se", "COMP_CWORD": ""},
        {"COMP_WORDS": "vidparse se", "COMP_CWORD": "x"},
        {"COMP_WORDS": "vidparse se", "COMP_CWORD": "-1"},
        {"COMP_WORDS": "vidparse se", "COMP_CWORD": "0"},
        {"COMP_WORDS": "vidparse se", "COMP_CWORD": "99"},
        {"COMP_WORDS": "vidparse 'se", "COMP_CWORD": "1"},
        {"COMP_WORDS": "vidparse\n\udcff", "COMP_CWORD": "1"},
    ],
)
@pytest.mark.parametrize("wish", ["complete_bash", "complete_zsh", "complete_", "x"])
def test_odd_variables_are_no_error(wish: str, variables: dict[str, str]) -> None:
    code, _, err = run({"_VIDPARSE_COMPLETE": wish, **variables})
    assert (code, err) == (0, "")


def test_a_fault_of_ours_is_no_error_of_the_shell(
    offered: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(command, "completions", lambda *_, **__: 1 / 0)
    assert offered(["segment", "-m", "st"]) == []


@pytest.mark.parametrize("shell", ["zsh", "fish"])
def test_other_shells_are_answered_in_their_forms(shell: str) -> None:
    variables = {
        "_VIDPARSE_COMPLETE": f"complete_{shell}",
        "_TYPER_COMPLETE_ARGS": "vidparse segm",
        "_TYPER_COMPLETE_FISH_ACTION": "get-args",
    }
    code, out, err = run(variables)
    assert (code, err) == (0, "")
    assert "segment" in out and "Segment videos: masks, overlays" in out.replace("\\", "")


def test_the_exit_code_shows_fish_whether_there_are_words() -> None:
    for line, code in (("vidparse segm", 0), ("vidparse segment x", 1)):
        variables = {"_VIDPARSE_COMPLETE": "complete_fish", "_TYPER_COMPLETE_ARGS": line}
        assert run({**variables, "_TYPER_COMPLETE_FISH_ACTION": "is-args"}) == (code, "", "")


@pytest.mark.parametrize("name", [name for name in COMMANDS if not listed(name)])
def test_an_option_whose_help_names_its_words_offers_them(name: str) -> None:
    for one in options_of(tuple(filter(None, members_of(loaded(name)).values()))):
        words = one.option.help.replace(":", " ").replace(",", " ").split()
        assert one.option.choices or not {"auto", "off"} & set(words), one.flag


@pytest.mark.skipif(BASH is None, reason="no bash here")
@pytest.mark.parametrize(
    ("pieces", "words"),
    [
        (["seg"], ["segment"]),
        (["segment", "--model", "=", "street-st"], ["street-student"]),
        (["segment", "--keyframes", ""], ["auto"]),
        (["segment", "--keyframes", "="], ["auto"]),
        (["segment", "a b.mp4", "--save", "masks,over"], ["masks,overlay"]),
    ],
)
def test_the_script_in_bash(pieces: list[str], words: list[str], tmp_path: Path) -> None:
    """Its function is called as bash does, with the words that bash makes of a line."""
    program = tmp_path / "vidparse"
    program.write_text(f'#!/bin/sh\nexec "{sys.executable}" -m vidparse "$@"\n')
    program.chmod(0o755)
    quoted = " ".join(f'"{piece}"' for piece in ["vidparse", *pieces])
    script = run({"_VIDPARSE_COMPLETE": "source_bash"})[1]
    lines = [
        script,
        f"COMP_WORDS=({quoted}); COMP_CWORD={len(pieces)}",
        f'_vidparse_completion "{program}"',
        'printf "%s\\n" "${COMPREPLY[@]}"',
    ]
    done = subprocess.run(["bash", "-c", "\n".join(lines)], capture_output=True, text=True)
    assert (done.stdout.split(), done.stderr) == (words, "")


@pytest.mark.parametrize("shell", SHELLS)
def test_scripts_are_those_of_typer(shell: str) -> None:
    code, out, _ = run({"_VIDPARSE_COMPLETE": f"source_{shell}"})
    assert code == 0 and f"complete_{shell}".removesuffix("pwsh") in out


def test_bash_reads_the_installed_script_at_its_start(tmp_path: Path) -> None:
    command = f'"{sys.executable}" -m vidparse --install-completion; true'
    home = os.environ | {"HOME": str(tmp_path)}
    done = subprocess.run(["bash", "-c", command], capture_output=True, text=True, env=home)
    assert "bash completion installed" in done.stdout
    assert "vidparse.sh" in (tmp_path / ".bashrc").read_text()
    assert "complete_bash" in (tmp_path / ".bash_completions/vidparse.sh").read_text()
