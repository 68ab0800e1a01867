"""A batch with a ledger goes on where it ended: nothing twice, nothing lost."""

from __future__ import annotations

import json
import os
import shutil
import signal
import sqlite3
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

from vidparse import SegmentOptions, segment
from vidparse.batch import Silent
from vidparse.cli.segment import Screen
from vidparse.ledger import Ledger
from vidparse.resume import Journal


def rows(path: Path) -> dict[str, tuple[str, int, int]]:
    """State, exit code and attempts by name of file."""
    with sqlite3.connect(path) as file:
        found = file.execute("select name, state, exit_code, attempts from inputs").fetchall()
    return {Path(name).name: rest for name, *rest in found}


@pytest.fixture
def batch(clip, tmp_path):
    """A list of three clips, of which the second is broken, and the words of the call."""
    names = [str(clip(f"{name}.mp4", frames=2)) for name in "ac"]
    broken = tmp_path / "b.mp4"
    broken.write_bytes(b"no video")
    list_file = tmp_path / "clips.txt"
    list_file.write_text(f"# mine\n\n{names[0]}\n{broken}\n{names[1]}\n")
    words = ("segment", f"@{list_file}", "-o", f"{tmp_path}/o/", "--save", "csv")
    return (*words, "--ledger", tmp_path / "b.db")


def test_done_and_failed_inputs_are_passed_over(cli, batch, tmp_path):
    first = cli(*batch)
    assert first.code == 1
    assert rows(tmp_path / "b.db") == {
        "a.mp4": ["done", 0, 1],
        "b.mp4": ["failed", 3, 1],
        "c.mp4": ["done", 0, 1],
    }
    times = {path: path.stat().st_mtime_ns for path in (tmp_path / "o").iterdir()}

    second = cli(*batch)
    assert second.code == 1, "an input that failed has still failed"
    assert "3 inputs: 2 done, 1 failed (3 before, as the ledger has it); 0 frames" in second.err
    assert times == {path: path.stat().st_mtime_ns for path in (tmp_path / "o").iterdir()}
    assert {row[2] for row in rows(tmp_path / "b.db").values()} == {1}


def test_failed_ones_are_tried_again_on_request_or_when_mended(cli, batch, clip, tmp_path):
    cli(*batch)
    assert cli(*batch, "--retry-failed").code == 1
    assert rows(tmp_path / "b.db")["b.mp4"] == ["failed", 3, 2]

    clip("b.mp4", frames=3)
    mended = cli(*batch)
    assert mended.code == 0, mended.err
    assert rows(tmp_path / "b.db")["b.mp4"] == ["done", 0, 3]
    record = json.loads(cli(*batch, "--json").out)
    assert [one["settled_before"] for one in record["inputs"]] == [True] * 3
    assert [one["exit_code"] for one in record["inputs"]] == [0] * 3


def test_lost_outputs_and_changed_inputs_are_made_anew(cli, batch, clip, tmp_path):
    cli(*batch)
    (tmp_path / "o" / "a.csv").unlink()
    clip("c.mp4", frames=4)
    cli(*batch)
    assert (tmp_path / "o" / "a.csv").is_file()
    assert len((tmp_path / "o" / "c.csv").read_text().splitlines()) == 1 + 4
    assert [row[2] for _, row in sorted(rows(tmp_path / "b.db").items())] == [2, 1, 2]


def test_outputs_of_others_are_never_replaced(cli, batch, tmp_path):
    (tmp_path / "o").mkdir()
    (tmp_path / "o" / "a.csv").write_text("mine")
    for words in (batch, (*batch, "--retry-failed")):
        assert "exists; use --overwrite" in cli(*words).err
        assert (tmp_path / "o" / "a.csv").read_text() == "mine"
    assert rows(tmp_path / "b.db")["a.mp4"] == ["failed", 6, 2]


def test_an_interrupted_input_is_done_again(cli, clip, tmp_path, monkeypatch):
    show = Screen.frame

    def frame(self, done):
        show(self, done)
        if done.index == 5:
            os.kill(os.getpid(), signal.SIGINT)

    clips = [clip("a.mp4", frames=60), clip("b.mp4", frames=2)]
    words = ("segment", *clips, "-o", f"{tmp_path}/o/", "--save", "csv")
    words = (*words, "--ledger", tmp_path / "b.db")
    with monkeypatch.context() as patch:
        patch.setattr(Screen, "frame", frame)
        assert cli(*words).code == 130
    assert rows(tmp_path / "b.db") == {"a.mp4": ["begun", 0, 1]}
    assert cli(*words).code == 0
    assert rows(tmp_path / "b.db") == {"a.mp4": ["done", 0, 2], "b.mp4": ["done", 0, 1]}
    assert len((tmp_path / "o" / "a.csv").read_text().splitlines()) == 1 + 60


def test_outputs_that_come_up_on_the_way(cli, clip, tmp_path, monkeypatch):
    words = ("segment", clip("a.mp4", frames=30), "-o", f"{tmp_path}/o/", "--matte", "each")
    words = (*words, "--save", "matte", "--ledger", tmp_path / "b.db")
    show = Screen.frame

    def frame(self, done):
        show(self, done)
        if done.index == 20:
            os.kill(os.getpid(), signal.SIGINT)

    with monkeypatch.context() as patch:
        patch.setattr(Screen, "frame", frame)
        assert cli(*words).code == 130
    assert cli(*words).code == 0
    made = sorted((tmp_path / "o").iterdir())
    assert made
    made[0].unlink()
    assert cli(*words).code == 0
    assert sorted((tmp_path / "o").iterdir()) == made, "one was gone, so all are made anew"
    assert rows(tmp_path / "b.db") == {"a.mp4": ["done", 0, 3]}


def test_a_killed_batch_goes_on(clip, colour_model, tmp_path):
    clips = [clip(f"{i}.mp4", frames=30) for i in range(4)]
    words = ["-m", "vidparse", "segment", *clips, "-m", colour_model, "--save", "csv,masks"]
    words += ["-o", f"{tmp_path}/o/", "--ledger", tmp_path / "b.db", "-q"]
    running = subprocess.Popen([sys.executable, *map(str, words)])
    while not (tmp_path / "o" / "0.masks").is_dir() and running.poll() is None:
        time.sleep(0.005)
    running.kill()
    running.wait()

    subprocess.run([sys.executable, *map(str, words)], check=True)
    assert {row[0] for row in rows(tmp_path / "b.db").values()} == {"done"}
    for i in range(4):
        assert len((tmp_path / "o" / f"{i}.csv").read_text().splitlines()) == 1 + 30
        assert len(list((tmp_path / "o" / f"{i}.masks").iterdir())) == 30


@pytest.mark.parametrize(
    ("more", "message"),
    [
        (("--stride", "2"), "another job (stride: not set, now 2)"),
        (("--size", "32"), "another job (size: not set, now 32)"),
        (("--opacity", "0.2"), "another job (opacity: not set, now 0.2)"),
        (("-o", "elsewhere/"), "another job (out: "),
        (("--skip-existing",), "--ledger and --skip-existing: give one"),
    ],
)
def test_another_job_is_refused(cli, batch, more, message):
    cli(*batch)
    again = cli(*batch, *more)
    assert (again.code, message in again.err) == (2, True), again.err


def test_files_that_are_no_ledger_are_left_alone(cli, batch, tmp_path):
    path = tmp_path / "b.db"
    path.write_text("notes of mine, longer than the head of a database\n" * 4)
    before = path.read_bytes()
    assert "is no ledger" in cli(*batch).err
    assert path.read_bytes() == before

    path.unlink()
    with sqlite3.connect(path) as other:
        other.execute("create table theirs (x)")
    assert cli(*batch).code == 6
    with sqlite3.connect(path) as other:
        assert other.execute("select name from sqlite_master").fetchall() == [("theirs",)]


def test_one_process_at_a_time(cli, batch, tmp_path):
    cli(*batch)
    with sqlite3.connect(tmp_path / "b.db", isolation_level=None) as other:
        other.execute("begin exclusive")
        refused = cli(*batch)
    assert (refused.code, "another process works with it" in refused.err) == (6, True)


@pytest.mark.parametrize("text", ["", "\n# none\n"])
def test_empty_lists(cli, tmp_path, text):
    path = tmp_path / "list.txt"
    path.write_text(text)
    ended = cli("segment", f"@{path}")
    assert (ended.code, "lists no input" in ended.err) == (3, True)


def test_lists_from_stdin_and_names_that_begin_so(cli, clip, tmp_path, monkeypatch):
    path = clip("@a.mp4", frames=2)
    monkeypatch.chdir(tmp_path)
    assert cli("segment", "@a.mp4", "-o", "x.csv").code == 0
    ended = cli("segment", "@-", "-o", "y.csv", stdin=f"{path}\n".encode())
    assert ended.code == 0, ended.err
    assert cli("segment", "@nowhere.txt").code == 3
    assert cli("segment", "a.mp4", "--retry-failed").code == 2


@pytest.mark.parametrize("out", ["o/", "m_%03d.png", None])
def test_a_call_from_another_folder_goes_on(cli, clip, tmp_path, monkeypatch, colour_model, out):
    clip("a.mp4", frames=2)
    shutil.copy(colour_model, tmp_path / "m.onnx")
    words = ("--save", "masks", "--ledger", tmp_path / "b.db", "-m")

    def call(prefix):
        place = () if out is None else ("-o", f"{prefix}{out}")
        return cli("segment", f"{prefix}a.mp4", *place, *words, f"{prefix}m.onnx", "--json")

    monkeypatch.chdir(tmp_path)
    first = json.loads(call("").out)["inputs"][0]
    assert first["settled_before"] is False
    (tmp_path / "elsewhere").mkdir()
    monkeypatch.chdir("elsewhere")
    again = json.loads(call("../").out)["inputs"][0]
    assert again["settled_before"] is True
    assert [Path(path).resolve() for path in again["outputs"]] == [
        tmp_path / path for path in first["outputs"]
    ]
    monkeypatch.chdir(tmp_path)
    assert json.loads(call("").out)["inputs"][0]["outputs"] == first["outputs"]


@pytest.mark.skipif(sys.platform != "linux", reason="names of files are bytes here")
@pytest.mark.parametrize("more", [(), ("--resume",)], ids=["", "resume"])
def test_names_that_are_no_text(cli, clip, tmp_path, more):
    """In a list, a ledger and a journal; the line of a list that leads nowhere is refused."""
    name = os.fsencode(tmp_path) + b"/lat\xe9n.mp4"
    os.rename(clip("a.mp4", frames=2), name)  # noqa: PTH104
    (tmp_path / "list.txt").write_bytes(b"# ours\r\n" + name + b"\r\n")
    words = ("segment", f"@{tmp_path}/list.txt", "-o", f"{tmp_path}/o/", "--save", "csv", *more)
    words = (*words, "--ledger", tmp_path / "b.db")
    for _ in range(2):
        ended = cli(*words)
        assert ended.code == 0, ended.err
    assert rows(tmp_path / "b.db") == {"lat\\xe9n.mp4": ["done", 0, 1]}
    assert [path.name for path in (tmp_path / "o").iterdir()] == ["lat_n.csv"]

    (tmp_path / "list.txt").write_bytes(name + b"\nnone\xe9.mp4\n")
    assert "line 1 is not UTF-8" in cli(*words).err
    ended = cli("segment", "@-", "-o", f"{tmp_path}/o/", "--skip-existing", stdin=name + b"\n")
    assert ended.code == 0, ended.err


def test_ledger_and_journal_are_read_once_per_input(clip, colour_model, tmp_path, monkeypatch):
    """Also where an input goes on from its journal, which is as long as its video."""
    calls = []
    monkeypatch.setattr(Ledger, "entry", _counting(Ledger.entry, calls, "ledger"))
    monkeypatch.setattr(Journal, "__init__", _counting(Journal.__init__, calls, "journal"))
    monkeypatch.setattr("vidparse.resume.journal.FIRST_S", 0.0)
    clips = [str(clip(f"{name}.mp4", frames=4)) for name in "ab"]
    options = SegmentOptions(
        out=f"{tmp_path}/o/",
        save="csv",
        model=colour_model,
        ledger=tmp_path / "b.db",
        resume=True,
    )

    class StopsAtThird(Silent):
        stop = threading.Event()

        def frame(self, frame):
            if frame.index == 2:
                self.stop.set()

    assert segment(clips, options, watcher=StopsAtThird(), stop=StopsAtThird.stop).exit_code == 130
    assert calls == ["ledger", "journal"]
    calls.clear()
    assert segment(clips, options).exit_code == 0
    assert calls == ["ledger", "journal"] * 2


def _counting(method, calls, name):
    def counted(self, *arguments):
        calls.append(name)
        return method(self, *arguments)

    return counted
