"""Completion: a shell is offered the words that may follow, and nothing ever disturbs its line."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

import pytest

from vidparse.cli import completion
from vidparse.cli.commands import COMMANDS, listed, loaded
from vidparse.cli.completion import answer, print_answer
from vidparse.cli.shells import SCRIPTS
from vidparse.requests.option import members_of, options_of

BASH = shutil.which("bash")


def handed_over(words: Sequence[str]) -> dict[str, str]:
    """The variables of a shell whose cursor is at the last of these words."""
    return {"COMP_WORDS": "\n".join(["vidparse", *words]), "COMP_CWORD": str(len(words))}


def offered(line: str) -> list[str]:
    """Words for the end of a line, as a shell hands it over that splits at spaces alone."""
    return [word for word, _ in answer("zsh", handed_over(line.split(" ")))]


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
        ("--show-completion z", ["zsh"]),
        ("models ", ["pull", "show", "push"]),
        ("models --js", ["--json"]),
        ("data ", ["check"]),
        ("segment -", ["--out", "-o", "--model", "-m", "--help", "-h"]),
        ("segment -q --no-a", ["--no-audio"]),
        ("segment -qm street-st", ["street-student"]),
        ("segment --model=street-st", ["--model=street-student"]),
        ("segment --save=masks,over", ["--save=masks,overlay"]),
        ("segment --keyframes=", ["--keyframes=auto"]),
    ],
)
def test_words_that_may_follow(line: str, words: list[str]) -> None:
    assert set(words) <= set(offered(line))


@pytest.mark.parametrize(
    "line",
    [
        "segment ",  # names of files are the shell's own business
        "segment -o ",
        "segment x.mp4 -- --over",
        "segment x.mp4 --quiet=",
        "segment x.mp4 --no-such-option=",
        "segment x.mp4 -m --over",
        "no-such-command ",
        "--version ",
        "models show street-student street-st",
    ],
)
def test_places_where_nothing_is_known(line: str) -> None:
    assert offered(line) == []


@pytest.mark.parametrize(
    ("pieces", "words"),
    [
        (["segment", "--model", "=", "street-st"], ["street-student"]),
        (["segment", "--keyframes", "="], ["auto"]),
        (["segment", "--save", "=", "masks,over"], ["masks,overlay"]),
        (["segment", "--model=street-st"], ["--model=street-student"]),  # as COMP_WORDBREAKS says
        (["segment", "--model", "=", "x", "--keyfr"], ["--keyframes"]),
        (["train", "--also", "vspw", "=", "D", ":", "val", "--dry"], ["--dry-run"]),
    ],
)
def test_bash_breaks_words_at_signs_and_replaces_the_last_piece(
    pieces: list[str], words: list[str]
) -> None:
    assert [word for word, _ in answer("bash", handed_over(pieces))] == words


def test_bash_gets_the_part_of_an_address_behind_its_colon(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(completion, "completions", lambda *_, **__: ["hf:tue/eomt", "hf:a/b"])
    for pieces in (["segment", "-m", "hf", ":"], ["models", "show", "hf", ":"]):
        assert [word for word, _ in answer("bash", handed_over(pieces))] == ["tue/eomt", "a/b"]
        asked = handed_over([*pieces, "tu"])
        assert [word for word, _ in answer("bash", asked)] == ["tue/eomt"]


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


def test_a_fault_of_ours_is_no_error_of_the_shell(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(completion, "answer", lambda *_: 1 / 0)
    print_answer("complete_bash", {})


def test_descriptions_are_for_shells_that_show_them(capsys: pytest.CaptureFixture[str]) -> None:
    about = "Segment videos: masks, overlays and records beside the input."
    lines = {
        "bash": "segment",
        "zsh": f"segment:{about}",
        "fish": f"segment\t{about}",
        "powershell": f"segment\t{about}",
    }
    for shell, line in lines.items():
        print_answer(f"complete_{shell}", handed_over(["segm"]))
        assert capsys.readouterr().out == f"{line}\n"


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
    lines = [
        SCRIPTS["bash"],
        f"COMP_WORDS=({quoted}); COMP_CWORD={len(pieces)}",
        f'_vidparse_completion "{program}"',
        'printf "%s\\n" "${COMPREPLY[@]}"',
    ]
    done = subprocess.run(["bash", "-c", "\n".join(lines)], capture_output=True, text=True)
    assert (done.stdout.split(), done.stderr) == (words, "")


@pytest.mark.parametrize("shell", SCRIPTS)
def test_scripts_call_us_by_the_names_that_we_read(shell: str) -> None:
    for name in ("COMP_WORDS", "COMP_CWORD", f"complete_{shell}"):
        assert name in SCRIPTS[shell]


class TestInstall:
    def test_bash_reads_the_script_at_its_start(self, process, tmp_path):
        (tmp_path / ".bashrc").write_text("alias x=y")
        for _ in range(2):
            run = process("--install-completion", "bash", env=os.environ | {"HOME": str(tmp_path)})
            out = run.communicate()[0].decode()
            assert run.returncode == 0 and "installed in ~/.bash_completions" in out
        lines = (tmp_path / ".bashrc").read_text().splitlines()
        assert lines == ["alias x=y", "source ~/.bash_completions/vidparse.sh"]
        assert (tmp_path / ".bash_completions/vidparse.sh").read_text() == SCRIPTS["bash"]

    @pytest.mark.parametrize(
        ("shell", "place"), [("zsh", ".zfunc/_vidparse"), ("fish", ".config/fish/completions")]
    )
    def test_other_shells(self, process, tmp_path, shell, place):
        wishes = {"env": os.environ | {"HOME": str(tmp_path)}}
        assert process(f"--install-completion={shell}", **wishes).wait() == 0
        assert (tmp_path / place).exists()

    @pytest.mark.parametrize("flag", ["--show-completion", "--install-completion"])
    def test_a_shell_that_nobody_knows(self, process, flag):
        run = process(flag, "csh")
        err = run.communicate()[1].decode()
        line = "shell 'csh': not known; name one of bash, zsh, fish or powershell"
        assert (run.returncode, err) == (2, f"vidparse: {line}\n")

    @pytest.mark.skipif(BASH is None, reason="no bash here")
    def test_the_shell_that_called_is_found(self):
        command = f'"{sys.executable}" -m vidparse --show-completion; true'
        done = subprocess.run(["bash", "-c", command], capture_output=True, text=True)
        assert done.stdout == SCRIPTS["bash"]

    def test_a_home_that_cannot_be_written(self, process, tmp_path):
        (tmp_path / "home").touch()
        home = {"HOME": str(tmp_path / "home")}
        run = process("--install-completion", "bash", env=os.environ | home)
        err = run.communicate()[1].decode()
        assert run.returncode == 6 and "see --show-completion bash" in err
