"""`segment --jobs`: whole inputs side by side give the files of one process, whatever happens."""

from __future__ import annotations

import json
import multiprocessing
import os
import signal
import sqlite3
import subprocess
import sys
import time
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from vidparse.batch import InputResult, Silent
from vidparse.errors import Interrupted, OutputError, UsageError
from vidparse.jobs import Lot, LotWorker
from vidparse.limits import allow_frames
from vidparse.run import SegmentOptions, Summary, load_runner, segment
from vidparse.sinks import SinkOptions
from vidparse.video import Input

SMALL: dict[str, Any] = {"size": (48, 64), "threads": 1, "save": ("masks", "csv")}


@pytest.fixture(scope="module")
def videos(tmp_path_factory: pytest.TempPathFactory) -> list[str]:
    """Four clips of 3 to 6 frames; the third is no video."""
    from support.clips import make_clip

    folder = tmp_path_factory.mktemp("videos")
    paths = [make_clip(folder / f"{name}.mp4", frames=3 + at) for at, name in enumerate("abcd")]
    paths[2].write_bytes(b"no video")
    return [str(path) for path in paths]


def files(folder: Path) -> dict[str, bytes]:
    """The bytes below a folder, by name."""
    return {
        str(path.relative_to(folder)): path.read_bytes()
        for path in folder.rglob("*")
        if path.is_file()
    }


def run(videos: list[str], out: Path, watcher: Silent | None = None, **options: Any) -> Summary:
    return segment(videos, SegmentOptions(out=f"{out}/", **{**SMALL, **options}), watcher=watcher)


def rows(ledger: Path) -> dict[str, tuple[str, int]]:
    """State and attempts by name of file."""
    with closing(sqlite3.connect(ledger)) as file:
        found = file.execute("select name, state, attempts from inputs").fetchall()
    return {Path(name).name: (state, attempts) for name, state, attempts in found}


class AtFirstEnd(Silent):
    """Does something once, when the first input is done."""

    def __init__(self, then: Callable[[], None]) -> None:
        self._then: Callable[[], None] | None = then

    def end(self, result: InputResult) -> None:
        then, self._then = self._then, None
        if then is not None:
            then()


def test_two_jobs_write_what_one_process_does(videos, tmp_path):
    serial = run(videos, tmp_path / "serial")
    shared = run(videos, tmp_path / "jobs", jobs=2, ledger=tmp_path / "b.db")

    assert files(tmp_path / "jobs") == files(tmp_path / "serial")
    assert [one.name for one in shared.inputs] == [one.name for one in serial.inputs] == videos
    assert [one.frames for one in shared.inputs] == [3, 4, 0, 6]
    errors = [str(one.error or "") for one in serial.inputs]
    assert [str(one.error or "") for one in shared.inputs] == errors
    assert "not a video" in errors[2]
    assert rows(tmp_path / "b.db") == {
        "a.mp4": ("done", 1),
        "b.mp4": ("done", 1),
        "c.mp4": ("failed", 1),
        "d.mp4": ("done", 1),
    }

    totals = run(videos, tmp_path / "jobs", jobs=2, ledger=tmp_path / "b.db").totals
    assert (totals.inputs, totals.done, totals.failed, totals.settled) == (4, 3, 1, 4)
    assert totals.frames == 0


def test_a_network_with_a_memory_may_have_jobs_but_no_workers(videos, tmp_path):
    options = {"model": "street-tcb", "save": ("csv",)}
    with pytest.raises(UsageError, match=r"remembers the frames before.*use --jobs"):
        run(videos[:2], tmp_path, workers=2, **options)
    run(videos[:2], tmp_path / "jobs", jobs=2, **options)
    run(videos[:2], tmp_path / "serial", **options)
    assert files(tmp_path / "jobs") == files(tmp_path / "serial")


def test_the_clip_of_a_killed_worker_is_done_again(videos, tmp_path):
    def kill_one() -> None:
        multiprocessing.active_children()[0].kill()

    good = [videos[0], videos[1], videos[3]]
    watcher = AtFirstEnd(kill_one)
    ledger = tmp_path / "b.db"
    summary = run(good, tmp_path / "killed", watcher, jobs=2, ledger=ledger)
    run(good, tmp_path / "serial")
    assert summary.exit_code == 0
    assert files(tmp_path / "killed") == files(tmp_path / "serial")
    assert set(rows(ledger).values()) == {("done", 1)}


def test_a_job_goes_on_from_its_journal(videos, tmp_path):
    ledger = tmp_path / "b.db"
    whole = run(videos[:2], tmp_path / "whole", jobs=2, resume=True, ledger=ledger)
    assert whole.exit_code == 0
    run(videos[:2], tmp_path / "serial")
    assert files(tmp_path / "whole") == files(tmp_path / "serial")


def test_limits_hold_in_the_jobs_too(videos, tmp_path):
    allow_frames(2)
    summary = run(videos[:2], tmp_path, jobs=2)
    assert [one.frames for one in summary.inputs] == [2, 2]


def test_outputs_of_a_worker_that_was_killed_among_them_are_replaced(videos, tmp_path):
    """One output was in place already when the worker was killed."""
    options = SegmentOptions(out=f"{tmp_path}/", **SMALL)
    (tmp_path / "a.csv").write_text("of the worker that was killed")
    lot = Lot((Input.named(videos[0]),), options, {}, str(tmp_path))
    outcome = LotWorker(load_runner(options)).outcome(lot, 0)
    assert outcome.result.error is None
    assert (tmp_path / "a.csv").read_text().startswith("frame,pts,time")


def test_names_are_taken_in_the_order_of_the_inputs(videos, tmp_path):
    for ending in ("mp4", "mov"):
        (tmp_path / f"a.{ending}").write_bytes(Path(videos[0]).read_bytes())
    summary = run([f"{tmp_path}/a.mp4", f"{tmp_path}/a.mov"], tmp_path / "out", jobs=2)
    assert summary.inputs[0].error is None
    assert isinstance(summary.inputs[1].error, OutputError)
    assert "as both have one name; rename one" in str(summary.inputs[1].error)


def test_jobs_lay_inputs_of_one_name_in_folders(videos, tmp_path):
    paths = [tmp_path / "in" / cam / "0001.mp4" for cam in ("cam1", "cam2")]
    for path, video in zip(paths, videos, strict=False):
        path.parent.mkdir(parents=True)
        path.write_bytes(Path(video).read_bytes())
    summary = run([*map(str, paths)], tmp_path / "o", jobs=2, save="csv", ledger=tmp_path / "b.db")
    assert [one.outputs for one in summary.inputs] == [
        (f"{tmp_path}/o/{cam}/0001.csv",) for cam in ("cam1", "cam2")
    ]
    assert set(rows(tmp_path / "b.db").values()) == {("done", 1)}


def test_outputs_that_are_there_are_skipped(videos, tmp_path):
    run(videos[:1], tmp_path)
    kept = SinkOptions(skip_existing=True)
    summary = run(videos[:2], tmp_path, jobs=2, sinks=kept)
    assert [one.is_skipped for one in summary.inputs] == [True, False]
    assert (summary.totals.done, summary.totals.skipped) == (1, 1)


def test_jobs_that_make_no_sense_are_refused(videos, tmp_path):
    with pytest.raises(UsageError, match="--jobs and --workers: give one"):
        run(videos, tmp_path, jobs=2, workers=2)
    with pytest.raises(UsageError, match="jobs -1"):
        run(videos, tmp_path, jobs=-1)
    with pytest.raises(UsageError, match="--jobs: stdin can be read at one place"):
        segment(["-", videos[0]], SegmentOptions(out=f"{tmp_path}/", **SMALL, jobs=2))


@pytest.mark.skipif(sys.platform == "win32", reason="signals of Unix")
def test_an_interrupt_keeps_the_frames_so_far_and_begins_nothing_more(tmp_path):
    from support.clips import make_clip

    long = [make_clip(tmp_path / f"{name}.mp4", frames=900) for name in "ab"]
    ledger = tmp_path / "b.db"
    words = [*map(str, long), str(tmp_path / "none.mp4"), "-o", f"{tmp_path}/o/", "--save", "csv"]
    words += ["--jobs", "2", "--json", "--ledger", str(ledger)]
    process = subprocess.Popen(
        [sys.executable, "-m", "vidparse", "segment", *words],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )

    # Wait until both write: an unfinished file is there under another name.
    until_s = time.monotonic() + 120
    while len([*(tmp_path / "o").glob("*.vidparse-part*")]) < 2 and time.monotonic() < until_s:
        assert process.poll() is None, process.communicate()
        time.sleep(0.05)
    os.kill(process.pid, signal.SIGINT)
    out, err = process.communicate(timeout=120)

    assert process.returncode == Interrupted.exit_code, err
    assert "Traceback" not in err
    record = json.loads(out)
    missing, *begun = sorted(record["inputs"], key=lambda one: "none" not in one["input"])
    assert missing["error"].endswith("none.mp4: not begun; interrupted")
    assert ["interrupted after" in one["error"] for one in begun] == [True, True]
    for one in begun:
        lines = Path(one["outputs"][0]).read_text().splitlines()
        frames = {line.split(",")[0] for line in lines[1:]}
        assert 0 < len(frames) == one["frames"] < 900
    assert [*(tmp_path / "o").glob("*.vidparse-part*")] == []
    assert {state for state, _ in rows(ledger).values()} == {"begun"}, "to be done again"


@pytest.mark.skipif(not Path("/proc").is_dir(), reason="finds workers in /proc")
@pytest.mark.parametrize(
    ("number", "more"), [(signal.SIGINT, ()), (signal.SIGTERM, ("--resume",))], ids=["", "resume"]
)
def test_workers_that_hang_or_are_killed_leave_no_parts(tmp_path, number, more):
    """One worker hangs when the signals come, and one is killed."""
    from support.clips import make_clip

    long = [make_clip(tmp_path / f"{name}.mp4", frames=900) for name in "ab"]
    (tmp_path / "o").mkdir()
    (tmp_path / "o" / "of others.vidparse-part.mp4").write_bytes(b"theirs")
    words = [*map(str, long), "-o", f"{tmp_path}/o/", "--save", "csv,masks,overlay", *more]
    words += ["--jobs", "2", "--ledger", f"{tmp_path}/b.db"]
    process = subprocess.Popen(
        [sys.executable, "-m", "vidparse", "segment", *words], stderr=subprocess.PIPE, text=True
    )
    until_s = time.monotonic() + 120
    while len([*(tmp_path / "o").glob("*.vidparse-part*")]) < 7 and time.monotonic() < until_s:
        assert process.poll() is None, process.communicate()
        time.sleep(0.05)

    hangs, killed = workers_of(process.pid)
    os.kill(hangs, signal.SIGSTOP)
    os.kill(process.pid, number)
    os.kill(killed, signal.SIGKILL)
    time.sleep(2.1)  # signals that come closer together are one wish
    os.kill(process.pid, number)
    _, err = process.communicate(timeout=60)

    assert process.returncode == Interrupted.exit_code, err
    assert "Traceback" not in err
    assert [path.name for path in (tmp_path / "o").glob("*.vidparse-part*")] == [
        "of others.vidparse-part.mp4"
    ]
    assert not Path(f"/proc/{hangs}").exists(), "nobody would end it any more"


def workers_of(pid: int) -> list[int]:
    """The worker processes that a process has started."""
    found = []
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            parent = int((folder / "stat").read_text().rpartition(")")[2].split()[1])
            command = (folder / "cmdline").read_bytes()
        except OSError:
            continue
        if parent == pid and b"spawn_main" in command:
            found.append(int(folder.name))
    return found


def test_a_cluster_segments_whole_clips(videos, tmp_path):
    pytest.importorskip("ray", reason="Ray is not installed: pip install 'vidparse[cluster]'")
    from ray.cluster_utils import Cluster

    run(videos, tmp_path / "serial")
    cluster = Cluster(initialize_head=True, head_node_args={"num_cpus": 1})
    try:
        cluster.add_node(num_cpus=1)
        options = {"jobs": 2, "cluster": cluster.address, "ledger": tmp_path / "b.db"}
        summary = run(videos, tmp_path / "shared", AtFirstEnd(kill_an_actor), **options)
    finally:
        cluster.shutdown()
    assert files(tmp_path / "shared") == files(tmp_path / "serial")
    assert [one.frames for one in summary.inputs] == [3, 4, 0, 6]
    assert [*rows(tmp_path / "b.db").values()] == [("done", 1)] * 2 + [("failed", 1), ("done", 1)]


def kill_an_actor() -> None:
    """Kill a worker of Ray as the system would where memory runs out."""
    for process in Path("/proc").glob("[0-9]*"):
        try:
            command = (process / "cmdline").read_bytes()
        except OSError:
            continue
        if command.startswith(b"ray::AnsweringWorker"):
            os.kill(int(process.name), signal.SIGKILL)
            return
    raise AssertionError("no worker of Ray runs")
