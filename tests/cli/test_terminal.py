"""Text from outside reaches a terminal as text: names and facts cannot steer it."""

from __future__ import annotations

import ast
import json
import os
import pty
import re
import select
import shutil
import sys
import time
from collections.abc import Callable
from pathlib import Path

import av
import cv2
import numpy as np
import onnx
import pytest

from vidparse.cli.terminal import plain

ROOT = Path(__file__).parents[2] / "vidparse"
ESCAPES = "\x1b[31mRED\x1b]0;pwn\x07\x9b2J\u202e\x7f"
HOSTILE = f"[bold]{ESCAPES}:dog:"
SHOWN = "[bold]??31mRED??0;pwn??2J??:dog:".replace("??31m", "?[31m").replace("??0;", "?]0;")
FORBIDDEN = [
    mark.encode() for mark in ("\x1b[31mRED", "\x1b]", "\a", "\x9b", "\u202e", "\x7f", "🐶")
]


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("a\x1b[31mb", "a?[31mb"),
        ("\x1b]0;title\x07", "?]0;title?"),
        ("\x9b31m\x85\x7f\0", "?31m???"),
        ("a\nb\rc\r\nd\te", "a?b?c?d?e"),
        ("a\u2028b\u2029c\u0085d", "a?b?c?d"),
        ("abc\u202egpj.exe\u202c \u2066x\u2069", "abc?gpj.exe? ?x?"),
        ("a\u200bb\ufeffc\u2060d\ufff9", "a?b?c?d?"),
        (os.fsdecode(b"caf\xe9.mp4"), "caf?.mp4"),
        (
            "München, दिल्ली, 北京, क\u200cष, 👩\u200d🚀",
            "München, दिल्ली, 北京, क\u200cष, 👩\u200d🚀",
        ),
        ("[bold]x[/bold] :dog: 100 %", "[bold]x[/bold] :dog: 100 %"),
    ],
)
def test_plain_text(text: str, shown: str) -> None:
    assert plain(text) == shown


def test_one_function_speaks_to_terminals() -> None:
    speakers = set()
    for path in sorted(ROOT.rglob("*.py")):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Call):
                called = ast.unparse(node.func)
                if re.fullmatch(
                    r"(typer|click|rich)\.(secho|echo|print)|print|(.*\.)?Console", called
                ):
                    speakers.add(str(path.relative_to(ROOT)))
                if re.fullmatch(r"sys\.(stdout|stderr)\.(write|writelines|buffer\.write)", called):
                    speakers.add(str(path.relative_to(ROOT)))
    assert speakers == {"cli/terminal.py"}


@pytest.fixture
def screen(tmp_path: Path) -> Callable[..., str]:
    """`screen("segment", clip)`: what a command sends to the terminal it runs in."""

    def run(*arguments: object, code: int = 0) -> str:
        words = [sys.executable, "-m", "vidparse", *map(str, arguments)]
        environment = os.environ | {"COLUMNS": "900", "LINES": "50", "TERM": "xterm-256color"}
        child, descriptor = pty.fork()
        if child == 0:
            os.chdir(tmp_path)
            os.execve(sys.executable, words, environment)
        sent = b""
        deadline_s = time.monotonic() + 120
        while time.monotonic() < deadline_s:
            if select.select([descriptor], [], [], 0.5)[0]:
                try:
                    sent += os.read(descriptor, 1 << 16)
                except OSError:  # the other side is closed: the command has ended
                    break
        os.close(descriptor)
        _, status = os.waitpid(child, 0)
        assert os.waitstatus_to_exitcode(status) == code, sent
        for mark in FORBIDDEN:
            assert mark not in sent, sent
        # What is left of control sequences is the progress bar's.
        return re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", sent.decode())

    return run


@pytest.mark.parametrize("frames", [1, 2])
def test_a_bar_is_for_more_than_one_step(screen, clip, colour_model, tmp_path, frames):
    """To load what draws it may take longer than a picture does."""
    path = clip("x.mp4", frames=frames)
    shown = screen("segment", path, "-m", colour_model, "--save", "csv", "-o", f"{tmp_path}/o/")
    assert f"{frames} frame" in shown
    assert (f"/{frames}" in shown) == (frames > 1)


@pytest.fixture
def hostile_model(colour_model: Path, tmp_path: Path) -> Path:
    """The usual model with hostile names of label set and first class, and training facts."""
    model = onnx.load(colour_model)
    (entry,) = model.metadata_props
    record = json.loads(entry.value)
    record["labels"]["name"] = record["labels"]["classes"][0]["name"] = HOSTILE
    record["training"] = {"data": HOSTILE, HOSTILE: [HOSTILE]}
    entry.value = json.dumps(record)
    path = tmp_path / "hostile.onnx"
    onnx.save(model, path)
    return path


def test_names_of_files(screen, clip, tmp_path: Path, colour_model: Path) -> None:
    path = shutil.copy(clip("plain.mp4", frames=3), tmp_path / f"{HOSTILE}.mp4")
    options = ["-m", colour_model, "-o", "out/", "--save", "csv"]
    assert f"{SHOWN}.mp4: 3 frames" in screen("segment", path, *options)
    assert f"{SHOWN}.mp4" in screen("info", path)
    missing = tmp_path / f"{HOSTILE}.mov"
    assert f"vidparse: {tmp_path}/{SHOWN}.mov" in screen("segment", missing, *options, code=3)
    assert "2 of 2 inputs failed" in screen("segment", missing, f"x{missing}", *options, code=1)
    assert f"model '{SHOWN}'" in screen("segment", path, "-m", HOSTILE, code=4)
    assert f"{SHOWN}.mp4" in screen("bench", path, "-m", colour_model, "--repeats", 1)


def test_names_of_pictures(screen, tmp_path: Path, colour_model: Path) -> None:
    folder = tmp_path / f"frames {HOSTILE}"
    folder.mkdir()
    _, png = cv2.imencode(".png", np.full((48, 64, 3), 90, np.uint8))
    (folder / f"1{HOSTILE}.png").write_bytes(png.tobytes())
    (folder / f"2{HOSTILE}.png").write_bytes(png.tobytes()[:60])
    shown = screen("segment", folder, "-m", colour_model, "-o", "out/", "--save", "csv", code=0)
    assert "1 damaged skipped" in shown
    assert f"2{SHOWN}.png" in shown


def test_metadata_of_a_container(screen, tmp_path: Path) -> None:
    path = tmp_path / "x.mkv"
    with av.open(str(path), "w") as output:
        stream = output.add_stream("ffv1", rate=25)
        stream.width, stream.height, stream.pix_fmt = 64, 48, "yuv420p"
        sound = output.add_stream("pcm_s16le", rate=8000, layout="mono")
        sound.metadata["language"] = HOSTILE
        frame = av.VideoFrame.from_ndarray(np.zeros((48, 64, 3), np.uint8), format="rgb24")
        output.mux(stream.encode(frame.reformat(format="yuv420p")))
        output.mux(stream.encode(None))
    assert SHOWN in screen("info", path)


def test_facts_of_a_model(screen, clip, hostile_model: Path) -> None:
    shown = screen("models", "show", hostile_model)
    assert f"labels: {SHOWN}" in shown
    assert f"training: data {SHOWN}, {SHOWN} " in shown
    path = clip("x.mp4", frames=2)
    options = ["-m", hostile_model, "-o", "out/", "--save", "csv"]
    assert SHOWN in screen("segment", path, *options, "--classes", "no such", code=2)
    assert "2 frames" in screen("segment", path, *options, "--classes", HOSTILE)


def test_names_of_a_data_set(screen, tmp_path: Path, colour_model: Path) -> None:
    root = tmp_path / f"set {HOSTILE}"
    classes = [{"name": f"{i}{HOSTILE}", "thing": False, "colour": [i, 0, 0]} for i in range(11)]
    for name in ("images", "masks"):
        (root / name).mkdir(parents=True)
    (root / "labels.json").write_text(json.dumps({"name": HOSTILE, "classes": classes}))
    for i, stem in enumerate(("a", f"b{HOSTILE}")):
        cv2.imwrite(str(root / "images" / f"{stem}.png"), np.full((48, 64, 3), 90, np.uint8))
        cv2.imwrite(str(root / "masks" / f"{stem}.png"), np.full((48, 64), 77 * i, np.uint8))
    shown = screen("data", "check", root, code=3)
    assert f"set {SHOWN}" in shown
    assert f"b{SHOWN}.png" in shown
    (root / "masks" / f"b{HOSTILE}.png").unlink()
    folder = ["--dataset", "folder", "--data", root]
    assert SHOWN in screen("eval", *folder, "-m", colour_model, "--metrics", "miou", code=2)
    assert SHOWN in screen("train", *folder, "--init", f"{HOSTILE}.pth", "-o", "run", code=4)
