"""Each exit code of the guide's table, produced by the command itself."""

from __future__ import annotations

import os
import re
import signal
from collections.abc import Callable
from pathlib import Path

import pytest

from vidparse.cli.segment import Screen

GUIDE = Path(__file__).parents[2] / "examples" / "guides" / "segment.md"


def interrupt_at_frame_3(monkeypatch: pytest.MonkeyPatch) -> None:
    show = Screen.frame

    def frame(self, done):
        show(self, done)
        if done.index == 3:
            os.kill(os.getpid(), signal.SIGINT)

    monkeypatch.setattr(Screen, "frame", frame)


def fail_inside(monkeypatch: pytest.MonkeyPatch) -> None:
    def raises(*arguments, **options):
        raise ZeroDivisionError("division by zero")

    monkeypatch.setattr("vidparse.batch.batch.Session", raises)


def nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    """The case needs no more than its words."""


# code, words (x.mp4 is a good clip, cut.mkv ends early), a line of stderr, what happens besides
CASES: list[tuple[int, str, str, Callable[[pytest.MonkeyPatch], None]]] = [
    (0, "x.mp4", "x.mp4: 30 frames", nothing),
    (1, "x.mp4 missing.mp4", "vidparse: missing.mp4: ", nothing),
    (1, "x.mp4", "internal error: ZeroDivisionError", fail_inside),
    (2, "x.mp4 --classes Unicorn", "vidparse: class 'Unicorn'", nothing),
    (2, "x.mp4 --opacity 2", "vidparse: --opacity '2': out of range", nothing),
    (2, "x.mp4 --no-such-option", "vidparse: --no-such-option: no such option", nothing),
    (3, "missing.mp4", "vidparse: missing.mp4: ", nothing),
    (3, "cut.mkv", "early", nothing),
    (4, "x.mp4 -m missing.onnx", "vidparse: missing.onnx: no such file", nothing),
    (4, "x.mp4 -m cut.mkv", "vidparse: cut.mkv: ", nothing),
    (5, "x.mp4 --device cuda:99", "vidparse: device cuda:99", nothing),
    (6, "x.mp4 -o x.mp4 --overwrite", "is the input itself", nothing),
    (6, "x.mp4 -o /dev/null/o/", "cannot be written", nothing),
    (130, "x.mp4", "vidparse: x.mp4: interrupted after 4 frames", interrupt_at_frame_3),
]


@pytest.mark.parametrize(
    ("code", "words", "line", "happens"), CASES, ids=[f"{c[0]} {c[1]}" for c in CASES]
)
def test_a_code_of_the_table(cli, clip, tmp_path, monkeypatch, code, words, line, happens):
    monkeypatch.chdir(tmp_path)
    whole = clip("cut.mkv", frames=30).read_bytes()
    (tmp_path / "cut.mkv").write_bytes(whole[: len(whole) * 2 // 3])
    clip("x.mp4", frames=30)
    happens(monkeypatch)
    ended = cli("segment", *words.split(), "--save", "overlay")
    assert ended.code == code, ended.err
    assert any(line in text for text in ended.lines), ended.err
    assert "Traceback" not in ended.err


def test_the_cases_are_those_of_the_table():
    table = GUIDE.read_text(encoding="utf-8").partition("## Exit codes")[2].partition("\n## ")[0]
    listed = {int(code) for code in re.findall(r"^\| (\d+) \|", table, re.MULTILINE)}
    assert listed == {code for code, *_ in CASES}
