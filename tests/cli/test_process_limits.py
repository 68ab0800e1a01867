"""Limits of the process and faults of its surroundings, while it works: one line, the right code.

Each runs in a process of its own; what was finished before stays whole, and nothing else is left.
"""

from __future__ import annotations

import json
import os
import resource
import shutil
import subprocess
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import av
import pytest

from support.clips import make_clip

ALL = "overlay,masks,mask-video,jsonl,csv"
LONG = 1500  # frames, so that something can happen meanwhile


def listing(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir()) if folder.exists() else []


def frames_in(path: Path) -> int:
    with av.open(str(path)) as video:
        return sum(1 for _ in video.decode(video=0))


def wait_for(condition: Callable[[], bool], limit_s: float = 60.0) -> None:
    end_s = time.monotonic() + limit_s
    while not condition():
        assert time.monotonic() < end_s, "nothing happened"
        time.sleep(0.01)


@pytest.fixture
def limited(process) -> Callable[..., tuple[int, list[str]]]:
    """`limited({RLIMIT_NOFILE: 64}, "segment", ...)`: exit code and lines of stderr."""

    def run(limits: dict[int, int], *words: object, **wishes: object) -> tuple[int, list[str]]:
        def set_limits() -> None:
            for kind, most in limits.items():
                resource.setrlimit(kind, (most, most))

        started = process(*words, preexec_fn=set_limits, **wishes)
        _, err = started.communicate(timeout=120)
        assert b"Traceback" not in err
        return started.returncode, err.decode().splitlines()

    return run


@pytest.fixture(scope="module")
def long_clip(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A clip that is read for some seconds; nobody changes it."""
    path = tmp_path_factory.mktemp("long") / "x.mkv"
    return make_clip(path, frames=LONG, codec="mpeg4", size_hw=(96, 128))


class TestDescriptors:
    def test_64_are_enough(self, limited, clip, tmp_path: Path) -> None:
        paths = [clip(f"{name}.mp4", frames=4, audio=True) for name in "abcd"]
        (tmp_path / "in").mkdir()
        for number in range(100):
            av.VideoFrame(32, 32, "rgb24").save(str(tmp_path / "in" / f"{number}.png"))
        words = ("segment", *paths, tmp_path / "in", "--save", ALL, "-o", f"{tmp_path}/o/")
        code, lines = limited({resource.RLIMIT_NOFILE: 64}, *words)
        assert (code, len(lines)) == (0, 5 + 1), lines
        assert len(listing(tmp_path / "o")) == 5 * 5

    @pytest.mark.parametrize("most", [9, 13])
    def test_too_few_are_one_line(self, limited, clip, tmp_path: Path, most: int) -> None:
        """Libraries decide where they run out: in an output, or before."""
        words = ("segment", clip("a.mp4", frames=4), "--save", ALL, "-o", f"{tmp_path}/o/")
        code, lines = limited({resource.RLIMIT_NOFILE: most}, *words)
        assert (code in (5, 6), len(lines)) == (True, 1), lines
        assert lines[0].endswith("; raise the limit (ulimit -n)"), lines
        assert listing(tmp_path / "o") == []


class TestMemory:
    @pytest.mark.parametrize("gigabytes", [0.3, 1.25, 1.4])
    def test_what_the_process_may_address(
        self, limited, clip, tmp_path: Path, gigabytes: float
    ) -> None:
        path = clip("a.mp4", frames=4, size_hw=(720, 1280))
        words = ("segment", path, "--save", "overlay,csv", "-o", f"{tmp_path}/o/")
        code, lines = limited({resource.RLIMIT_AS: int(gigabytes * 1e9)}, *words)
        assert code in (0, 5), lines
        assert len(lines) == 1, lines
        assert listing(tmp_path / "o") == ([] if code else ["a.csv", "a.overlay.mp4"])
        if code:
            assert "memory" in lines[0]

    def test_a_picture_that_does_not_fit(self, limited, tmp_path: Path) -> None:
        """It is no damaged one: the run fails, and does not pass it over."""
        (tmp_path / "in").mkdir()
        for name, side in (("0", 64), ("1", 16000)):
            picture = av.VideoFrame(side, side, "gray")
            picture.save(str(tmp_path / "in" / f"{name}.png"))
        words = ("segment", tmp_path / "in" / "1.png", "--save", "masks", "-o", f"{tmp_path}/o/")
        most = ("--max-pixels", 300_000_000)
        code, lines = limited({resource.RLIMIT_AS: 1_450_000_000}, *words, *most)
        assert (code, len(lines)) == (5, 1), lines
        assert "out of memory" in lines[0]
        assert listing(tmp_path / "o") == []


class TestTheFolderOfOutputs:
    @pytest.mark.parametrize("save", ["overlay", "masks"])
    def test_is_removed_meanwhile(
        self, process, long_clip: Path, tmp_path: Path, save: str
    ) -> None:
        path, out = long_clip, tmp_path / "out"
        run = process("segment", path, "--save", save, "-o", f"{out}/")
        wait_for(lambda: bool(listing(out)))
        time.sleep(0.1)
        shutil.rmtree(out)
        _, err = run.communicate(timeout=120)
        lines = err.decode().splitlines()
        assert (run.returncode, len(lines)) == (6, 1), lines
        assert lines[0].startswith(f"vidparse: {out}/x.")
        assert ".vidparse-part" not in lines[0]
        assert listing(out) == []

    def test_what_was_finished_before_stays_whole(
        self, process, clip, long_clip: Path, tmp_path: Path
    ) -> None:
        paths = clip("a.mkv", frames=5), long_clip
        out = tmp_path / "out"
        run = process("segment", *paths, "--save", "masks", "-o", f"{out}/")
        wait_for(lambda: "x.masks.vidparse-part" in listing(out))
        (out / "x.masks.vidparse-part").rename(tmp_path / "gone")
        shutil.rmtree(tmp_path / "gone")
        _, err = run.communicate(timeout=120)
        assert run.returncode == 1, err
        assert b"internal error" not in err
        assert len(listing(out / "a.masks")) == 5
        assert listing(out) == ["a.masks"]


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of 200 kB."""
    place = tmp_path / "disk"
    place.mkdir()
    words = ["mount", "-t", "tmpfs", "-o", "size=200k", "tmpfs", str(place)]
    if os.geteuid() != 0 or subprocess.run(words, capture_output=True).returncode != 0:
        pytest.skip("only root may mount a file system")
    yield place
    subprocess.run(["umount", str(place)], check=True)


@pytest.mark.parametrize("save", ["overlay", "masks"])
def test_a_disk_that_is_full(process, clip, long_clip: Path, small_disk: Path, save: str) -> None:
    """The input before fits, and stays; what of the next one was written is removed."""
    short, long = clip("a.mkv", frames=2), long_clip
    run = process("segment", short, long, "--save", save, "-o", f"{small_disk}/")
    _, err = run.communicate(timeout=120)
    first, second, *table = err.decode().splitlines()
    assert run.returncode == 1, err
    assert first.startswith(f"{short}: 2 frames")
    assert "free some space or write elsewhere with -o" in second
    (kept,) = listing(small_disk)
    assert kept.startswith("a.")
    assert table, "and the table of a batch"


class TestTheInput:
    def test_is_cut_while_it_is_read(self, process, long_clip: Path, tmp_path: Path) -> None:
        """Every frame before the cut is kept."""
        path, out = Path(shutil.copy(long_clip, tmp_path / "x.mkv")), tmp_path / "out"
        size = path.stat().st_size
        run = process("segment", path, "--save", "masks,jsonl", "-o", f"{out}/")
        wait_for(lambda: len(listing(out / "x.masks.vidparse-part")) > 20)
        os.truncate(path, size // 2)
        _, err = run.communicate(timeout=120)
        lines = err.decode().splitlines()
        if run.returncode == 0:
            pytest.skip("it had been read by then")
        assert run.returncode == 3, lines
        assert "the file ends early, after" in lines[0]
        assert listing(out) == ["x.jsonl", "x.masks"]
        done = [json.loads(line) for line in (out / "x.jsonl").open()]
        assert len(done) - 1 == len(listing(out / "x.masks")) > 20

    def test_goes_away_among_others(self, process, clip, tmp_path: Path) -> None:
        paths = [clip(f"{name}.mkv", frames=300 if name == "a" else 5) for name in "abc"]
        out = tmp_path / "out"
        run = process("segment", *paths, "--save", "csv", "-o", f"{out}/")
        wait_for(lambda: bool(listing(out)))
        paths[1].unlink()
        _, err = run.communicate(timeout=120)
        assert run.returncode == 1
        assert b"b.mkv: no such file; check the path" in err
        assert listing(out) == ["a.csv", "c.csv"]


class TestHomeAndCaches:
    @pytest.mark.parametrize("home", ["", "/proc/nothing"])
    def test_none_is_needed(self, process, clip, tmp_path: Path, home: str) -> None:
        kept = {name: os.environ[name] for name in ("PATH", "PYTHONPATH") if name in os.environ}
        env = kept | ({"HOME": home} if home else {})
        words = ("segment", clip("x.mkv", frames=2), "--save", ALL, "-o", f"{tmp_path}/o/")
        run = process(*words, env=env)
        _, err = run.communicate(timeout=120)
        assert (run.returncode, len(err.splitlines())) == (0, 1), err

    def test_a_cache_that_cannot_be_written(
        self, process, clip, tmp_path: Path, tiny_weights: Path
    ) -> None:
        """Weights have their ONNX form there; the message names the way out."""
        (tmp_path / "file").write_text("")
        env = os.environ | {"VIDPARSE_CACHE": str(tmp_path / "file" / "cache")}
        words = ("segment", clip("x.mkv", frames=2), "-m", tiny_weights, "-o", f"{tmp_path}/o/")
        run = process(*words, "--save", "csv", "--backend", "onnx", env=env)
        _, err = run.communicate(timeout=120)
        lines = err.decode().splitlines()
        assert (run.returncode, len(lines)) == (6, 1), lines
        assert "set VIDPARSE_CACHE to a folder or use --backend torch" in lines[0]
        assert listing(tmp_path / "o") == []


@pytest.mark.parametrize("save", ["masks", "vspw"])
def test_two_processes_on_one_folder(process, tmp_path: Path, save: str) -> None:
    """Outputs of other names do not disturb each other, whoever makes the folder."""
    out = tmp_path / "out"
    runs = []
    for name in "ab":
        path = make_clip(tmp_path / f"{name}.mkv", frames=30)
        runs.append(process("segment", path, "--save", save, "-o", f"{out}/"))
    messages = [run.communicate(timeout=120)[1].decode() for run in runs]
    assert [run.returncode for run in runs] == [0, 0], messages
    assert not list(out.rglob("*.vidparse-part*"))
    assert len(list(out.rglob("*.png"))) == 60


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="no /dev/full here")
def test_a_stderr_that_takes_nothing(process, clip, tmp_path: Path) -> None:
    words = ("segment", clip("x.mkv", frames=3), "--save", "csv", "-o", f"{tmp_path}/o/")
    with Path("/dev/full").open("wb") as full:
        assert process(*words, stderr=full).wait(120) == 0
    assert len((tmp_path / "o" / "x.csv").read_text().splitlines()) == 4


def test_a_stdout_that_is_closed_in_the_middle(process, long_clip: Path, tmp_path: Path) -> None:
    """A reader who has seen enough is no failure, and other outputs are not torn down halfway."""
    run = process("segment", long_clip, "--save", "jsonl", "-o", "-", cwd=tmp_path)
    assert run.stdout is not None
    assert json.loads(run.stdout.readline())["schema"] == "vidparse/1"
    run.stdout.close()
    assert run.wait(120) == 0
    assert run.stderr is not None
    assert b"Traceback" not in run.stderr.read()
    assert listing(tmp_path) == []
