"""`segment --workers` and `--cluster` with real processes: same files, whatever happens to them."""

from __future__ import annotations

import multiprocessing
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, ClassVar

import pytest

from vidparse.batch import Silent
from vidparse.errors import DeviceError, UsageError
from vidparse.frame import Frame
from vidparse.inference import Runner
from vidparse.limits import Limits
from vidparse.requests.model import ModelChoice
from vidparse.run import SegmentOptions, segment
from vidparse.sinks import SinkOptions
from vidparse.workers import Begun, InputQueue
from vidparse.workers.job import Setup
from vidparse.workers.process_crew import ProcessCrew

SMALL: dict[str, Any] = {"size": (48, 64), "threads": 1}


@pytest.fixture(scope="module")
def video(tmp_path_factory: pytest.TempPathFactory) -> Path:
    from support.clips import make_clip

    path = tmp_path_factory.mktemp("video") / "talk.mp4"
    return make_clip(path, frames=70, options={"g": "12", "bf": "3"}, audio=True)


@pytest.fixture(scope="module")
def panoptic(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An untrained Clip-PanoFCN, which finds something everywhere."""
    import torch

    from vidparse.labels import load_labels
    from vidparse.models.checkpoint import save_checkpoint
    from vidparse.models.description import PANOPTIC, Preprocess, metadata_of
    from vidparse.models.zoo import build, config_of

    torch.manual_seed(3)
    labels = load_labels("camvid")
    sizes = {"backbone": "mobilenetv2", "width": 16, "kernel_width": 16, "feature_width": 8}
    settings = {"things": len(labels.things), "stuff": len(labels) - len(labels.things)}
    network = build("clip-panofcn", {**settings, **sizes})
    metadata = metadata_of(
        arch="clip-panofcn", config=config_of(network), labels=labels,
        preprocess=Preprocess(64), training={}, task=PANOPTIC, window=3,
    )  # fmt: skip
    path = tmp_path_factory.mktemp("model") / "panoptic.safetensors"
    save_checkpoint(path, network.state_dict(), metadata)
    return path


class AtFrame(Silent):
    """Does something once, when so many frames are through."""

    def __init__(self, number: int, then: Callable[[], None]) -> None:
        self._left, self._then = number, then

    @property
    def is_done(self) -> bool:
        return self._left <= 0

    def frame(self, frame: Frame) -> None:
        self._left -= 1
        if self._left == 0:
            self._then()


def files(video: Path, out: Path, watcher: Any = None, **options: Any) -> dict[str, bytes]:
    """What a run writes, by name."""
    save = ("overlay", "ids", "jsonl") if "model" in options else ("overlay", "masks", "jsonl")
    options = {**SMALL, "save": save, **options}
    summary = segment(
        video,
        SegmentOptions(out=str(out), sinks=SinkOptions(), **options),
        watcher=watcher,
    )
    assert [result.error for result in summary.inputs] == [None]
    assert multiprocessing.active_children() == []
    return content(out)


def content(out: Path) -> dict[str, bytes]:
    """All files by name."""
    return {str(at.relative_to(out)): at.read_bytes() for at in out.rglob("*") if at.is_file()}


def kill_a_worker() -> None:
    one = multiprocessing.active_children()[0]
    assert one.pid is not None
    os.kill(one.pid, signal.SIGKILL)


def test_two_processes_write_the_same_files_and_one_may_be_killed(
    video: Path, tmp_path: Path
) -> None:
    serial = files(video, tmp_path / "serial")
    assert len(serial) == 72
    watcher = AtFrame(3, kill_a_worker)
    shared = files(video, tmp_path / "shared", watcher, workers=2)
    assert watcher.is_done and shared == serial


class Echoes(Setup[bytes, int, bytes]):
    """Workers that answer with what all parts share, without a network."""

    each: ClassVar[int] = 2

    def answering(self, runner: Runner) -> Callable[[bytes, int], bytes]:
        raise NotImplementedError

    def worker(self) -> Callable[[bytes, int], bytes]:
        return echo


def echo(shared: bytes, part: int) -> bytes:
    return shared


def test_a_part_and_an_answer_that_fill_the_pipe_pass_each_other() -> None:
    lots = [bytes([number]) * 3_000_000 for number in range(3)]
    crew = ProcessCrew(1, Echoes(ModelChoice("none"), Limits.of_this_process()), threading.Event())
    found: list[bytes | None] = []

    def talk() -> None:
        tickets = [crew.submit(one, 0) for one in lots]
        found.extend(crew.outcome(ticket, threading.Event()) for ticket in tickets)

    talking = threading.Thread(target=talk, daemon=True)
    talking.start()
    talking.join(60)
    assert not talking.is_alive() and found == lots
    crew.end()


def test_ids_of_a_panoptic_network_are_the_serial_ones(
    video: Path, panoptic: Path, tmp_path: Path
) -> None:
    how = {"model": panoptic, "backend": "torch", "end_s": 1.6, "window": 3}
    serial = files(video, tmp_path / "serial", **how)
    assert files(video, tmp_path / "shared", workers=2, **how) == serial


def test_a_video_without_times_is_segmented_here_and_a_note_names_it(
    clip: Any, tmp_path: Path
) -> None:
    old = clip("old.avi", frames=6, options={"bf": "2"})
    options = SegmentOptions(out=str(tmp_path), save="masks", workers=2, **SMALL)
    (result,) = segment(old, options).inputs
    assert result.frames == 6 and "one process segments it" in " ".join(result.notes)


def test_what_remembers_cannot_be_shared(video: Path, tmp_path: Path) -> None:
    from support.small_networks import save_tcb_ocr

    for options, word in (
        ({"model": save_tcb_ocr(tmp_path / "tcb.safetensors")}, "remembers the frames before"),
        ({"stabilize": True}, "--stabilize blends"),
        ({"workers": -1}, "workers -1"),
        ({"workers": 10**6}, "workers 1000000"),
    ):
        with pytest.raises(UsageError, match=word):
            segment(video, SegmentOptions(**{"workers": 2, **SMALL, **options}))
    with pytest.raises(UsageError, match="stdin can be read at one place"):
        segment("-", SegmentOptions(workers=2, out="-"))


def children_of(pid: int) -> list[int]:
    """Of all its threads."""
    found = [at.read_text().split() for at in Path(f"/proc/{pid}/task").glob("*/children")]
    return [int(one) for several in found for one in several]


@pytest.mark.skipif(not Path("/proc/self/task").exists(), reason="looks for children in /proc")
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGKILL])
def test_no_worker_outlives_the_command(number: int, video: Path, tmp_path: Path) -> None:
    command = [
        *(sys.executable, "-m", "vidparse", "segment", str(video), "-o", str(tmp_path)),
        *("--save", "masks", "-q", "--workers", "2", "--threads", "1", "--size", "360"),
    ]
    with subprocess.Popen(
        command, stderr=subprocess.PIPE, text=True, start_new_session=True
    ) as process:
        workers: list[int] = []
        end_s = time.monotonic() + 120
        while len(workers) < 2 and time.monotonic() < end_s:
            time.sleep(0.05)
            workers = [
                one
                for one in children_of(process.pid)
                if "spawn_main" in Path(f"/proc/{one}/cmdline").read_text()
            ]
        assert len(workers) == 2
        if number == signal.SIGINT:  # as a terminal sends it, to all of them
            os.killpg(process.pid, number)
        else:
            process.send_signal(number)
        _, err = process.communicate(timeout=120)
    assert process.returncode in (130, -signal.SIGKILL)
    assert number == signal.SIGKILL or err.count("\n") == 1
    while any(Path(f"/proc/{one}").exists() for one in workers):
        assert time.monotonic() < end_s, "a worker is still there"
        time.sleep(0.05)


def test_without_ray_the_cluster_is_named_as_missing(
    video: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "ray", None)
    with pytest.raises(UsageError, match="Ray is not installed"):
        segment(video, SegmentOptions(cluster="auto", **SMALL))


def test_two_nodes_of_a_cluster_write_the_same_files(
    video: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("ray", reason="Ray is not installed: pip install 'vidparse[cluster]'")
    from ray.cluster_utils import Cluster

    monkeypatch.setenv("RAY_ENABLE_UV_RUN_RUNTIME_ENV", "0")
    with pytest.raises(DeviceError, match="no Ray cluster answers"):
        segment(video, SegmentOptions(cluster="auto", **SMALL))
    serial = files(video, tmp_path / "serial")
    cluster = Cluster(initialize_head=True, head_node_args={"num_cpus": 1})
    try:
        cluster.add_node(num_cpus=1)
        address = cluster.address
        assert files(video, tmp_path / "shared", cluster=address, workers=2) == serial
    finally:
        cluster.shutdown()


def test_many_short_videos_are_shared_like_one(
    clip: Any, colour_model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Also those that cannot be cut or opened, or that are made already; one worker is killed."""
    for number in range(6):
        clip(f"s{number}.mp4", frames=5 + 4 * number, options={"g": "6", "bf": "2"})
    clip("s15.avi", frames=5, options={"bf": "2"})  # has no times
    (tmp_path / "s2.mkv").write_bytes(b"no video")
    inputs = sorted(str(at) for at in tmp_path.glob("s*"))
    how = {
        **SMALL, "model": colour_model, "save": ("masks", "jsonl"),
        "sinks": SinkOptions(skip_existing=True),
    }  # fmt: skip

    begun_early: list[bool] = []
    begun = InputQueue.begun

    def watched(queue: InputQueue, place: int) -> Begun | None:
        found = begun(queue, place)
        begun_early.append(found is not None)
        return found

    monkeypatch.setattr(InputQueue, "begun", watched)
    written: list[dict[str, bytes]] = []
    for workers in (0, 2):
        out = tmp_path / f"out{workers}"
        segment(inputs[1], SegmentOptions(out=f"{out}/", **how))
        summary = segment(
            inputs,
            SegmentOptions(out=f"{out}/", workers=workers, **how),
            watcher=AtFrame(12, kill_a_worker) if workers else None,
        )
        assert [one.frames for one in summary.inputs] == [5, 0, 5, 0, 13, 17, 21, 25]
        assert [one.name for one in summary.inputs if one.error] == [inputs[3]]
        assert multiprocessing.active_children() == []
        written.append(content(out))
    assert written[1] == written[0] and len(written[0]) == 7 + sum((5, 9, 5, 13, 17, 21, 25))
    assert begun_early[-3:] == [True] * 3, "workers had ranges of them before their turn"
