"""-o on what is no place for a file: devices, pipes, links; and two programs with one name."""

from __future__ import annotations

import io
import os
import socket
import threading
from pathlib import Path

import av
import pytest

SAVES = ["overlay", "masks", "mask-video", "jsonl", "csv"]


def listing(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


@pytest.fixture
def pipe(tmp_path):
    """`pipe(name)` makes a named pipe; its `result` is what was read from it."""

    class Reader:
        def __init__(self, name: str) -> None:
            self.path = tmp_path / name
            os.mkfifo(self.path)
            self.data = b""
            self._thread = threading.Thread(target=self._read, daemon=True)
            self._thread.start()

        def _read(self) -> None:
            self.data = self.path.read_bytes()

        def result(self) -> bytes:
            self._thread.join(20)
            assert not self._thread.is_alive(), "the end never came"
            return self.data

    return Reader


def pictures(data: bytes) -> list:
    with av.open(io.BytesIO(data)) as video:
        return [frame.to_ndarray() for frame in video.decode(video=0)]


def device(path: Path) -> Path:
    """A stand-in for /dev/null in a folder of our own."""
    try:
        os.mknod(path, 0o20666, os.makedev(1, 3))
    except OSError:
        pytest.skip("only root makes devices")
    return path


class TestStreams:
    @pytest.mark.parametrize("overwrite", [(), ("--overwrite",)], ids=["", "overwrite"])
    @pytest.mark.parametrize("save", SAVES)
    def test_a_pipe_is_written_as_stdout_is(self, cli, clip, tmp_path, pipe, save, overwrite):
        path, reader = clip("x.mp4", frames=3), pipe("pipe")
        expected = cli("segment", path, "--save", save, "-o", "-").out
        said = cli("segment", path, "--save", save, "-o", reader.path, *overwrite)
        assert said.code == 0, said.err
        found = reader.result()
        if save == "jsonl":  # the first line has the command
            expected, found = (data.split(b"\n", 1)[1] for data in (expected, found))
        if save == "mask-video":  # Matroska gives every file a number of its own
            expected, found = ([p.tobytes() for p in pictures(data)] for data in (expected, found))
        assert found == expected
        assert reader.path.is_fifo()
        assert listing(tmp_path) == ["pipe", "x.mp4"]

    @pytest.mark.parametrize("name", ["pipe.mkv", "pipe.nut"])
    def test_the_ending_of_a_pipe_says_its_form(self, cli, clip, tmp_path, pipe, name):
        reader = pipe(name)
        assert cli("segment", clip("x.mp4", frames=3), "-o", reader.path).code == 0
        (tmp_path / "copy").write_bytes(reader.result())
        with av.open(str(tmp_path / "copy")) as video:
            assert video.format.name == {"pipe.mkv": "matroska,webm", "pipe.nut": "nut"}[name]
            assert len(list(video.decode(video=0))) == 3

    @pytest.mark.parametrize("save", ["vspw", "vipseg"])
    def test_folders_do_not_go_into_a_pipe(self, cli, clip, tmp_path, save):
        os.mkfifo(tmp_path / "pipe")
        said = cli("segment", clip("x.mp4", frames=3), "--save", save, "-o", tmp_path / "pipe")
        assert (said.code, len(said.lines)) == (2, 1)
        assert "a stream can not carry" in said.err

    def test_a_pipe_that_can_not_hold_its_ending(self, cli, clip, tmp_path):
        os.mkfifo(tmp_path / "pipe.mp4")
        said = cli("segment", clip("x.mp4", frames=3), "-o", tmp_path / "pipe.mp4")
        assert (said.code, len(said.lines)) == (6, 1)
        assert "end its name in .mkv" in said.err
        assert "--overwrite" not in said.err

    @pytest.mark.parametrize("save", SAVES)
    def test_a_device_stays_one(self, cli, clip, tmp_path, save):
        null = device(tmp_path / "null")
        for overwrite in ((), ("--overwrite",)):
            path = clip("x.mp4", frames=3)
            assert cli("segment", path, "--save", save, "-o", null, *overwrite).code == 0
            assert null.is_char_device()
        assert listing(tmp_path) == ["null", "x.mp4"]

    def test_a_link_to_a_device(self, cli, clip, tmp_path):
        null = device(tmp_path / "null")
        link = tmp_path / "x.csv"
        link.symlink_to(null)
        said = cli("segment", clip("x.mp4", frames=3), "-o", link, "--overwrite", "--save", "csv")
        assert said.code == 0
        assert link.is_symlink()
        assert null.is_char_device()

    def test_a_socket_is_refused(self, cli, clip, tmp_path, monkeypatch):
        monkeypatch.chdir(tmp_path)
        socket.socket(socket.AF_UNIX).bind("there")
        for overwrite in ((), ("--overwrite",)):
            path = clip("x.mp4", frames=3)
            said = cli("segment", path, "--save", "csv", "-o", "there", *overwrite)
            assert (said.code, len(said.lines)) == (6, 1)
            assert "there: is a socket; choose another name with -o" in said.err
            assert Path("there").is_socket()

    @pytest.mark.parametrize("name", ["/dev/stdout", "/dev/fd/1", "/proc/self/fd/1"])
    @pytest.mark.parametrize("redirected", [False, True], ids=["pipe", "file"])
    def test_other_names_of_stdout(self, process, clip, tmp_path, name, redirected):
        path, kept = clip("x.mp4", frames=3), tmp_path / "kept"
        kept.write_bytes(b"")
        with kept.open("wb") as file:
            wishes = {"stdout": file} if redirected else {}
            run = process("segment", path, "--save", "csv", "-o", name, **wishes)
            out, err = run.communicate(timeout=60)
        assert run.returncode == 0, err
        data = kept.read_bytes() if redirected else out
        assert data.startswith(b"frame,pts,time,")
        assert len(data.splitlines()) == 4
        assert listing(tmp_path) == ["kept", "x.mp4"]

    def test_a_descriptor(self, process, clip, tmp_path):
        with (tmp_path / "kept").open("wb") as file:
            number = file.fileno()
            path = clip("x.mp4", frames=3)
            run = process(
                *("segment", path, "--save", "csv", "-o", f"/dev/fd/{number}"),
                pass_fds=(number,),
                preexec_fn=None,
            )
            err = run.communicate(timeout=60)[1]
        assert run.returncode == 0, err
        assert len((tmp_path / "kept").read_bytes().splitlines()) == 4

    def test_several_outputs_or_inputs(self, cli, clip, tmp_path):
        os.mkfifo(tmp_path / "pipe")
        one, other = clip("x.mp4", frames=3), clip("y.mp4", frames=3)
        said = cli("segment", one, "--save", "csv,jsonl", "-o", tmp_path / "pipe")
        assert (said.code, len(said.lines)) == (2, 1)
        said = cli("segment", one, other, "--save", "csv", "-o", tmp_path / "pipe")
        assert (said.code, len(said.lines)) == (2, 1)


class TestOtherCommands:
    """Every file that is written keeps away from devices and pipes."""

    @pytest.mark.parametrize("ending", [".onnx", ".safetensors"])
    def test_export(self, cli, tiny_weights, tmp_path, ending):
        os.mkfifo(tmp_path / f"x{ending}")
        said = cli("export", tiny_weights, "-o", tmp_path / f"x{ending}", "--overwrite")
        assert (said.code, len(said.lines)) == (6, 1)
        assert "is a named pipe, not a file" in said.err
        assert (tmp_path / f"x{ending}").is_fifo()


class TestLinks:
    def test_a_link_is_followed_and_stays(self, cli, clip, tmp_path):
        (tmp_path / "disk").mkdir()
        real, link = tmp_path / "disk" / "real.csv", tmp_path / "x.csv"
        real.write_text("old")
        link.symlink_to(real)
        path = clip("x.mp4", frames=3)
        said = cli("segment", path, "--save", "csv")
        assert (said.code, "exists" in said.err, real.read_text()) == (6, True, "old")
        assert cli("segment", path, "--save", "csv", "--overwrite").code == 0
        assert link.is_symlink()
        assert len(real.read_text().splitlines()) == 4
        assert listing(tmp_path / "disk") == ["real.csv"]

    @pytest.mark.parametrize("save", ["csv", "masks", "overlay", "vspw", "vipseg"])
    def test_what_is_planted_at_a_temporary_name(self, cli, clip, tmp_path, save):
        """A link is not written through; a pipe is not waited for."""
        path, out = clip("x.mp4", frames=3), tmp_path / "out"
        assert cli("segment", path, "--save", save, "-o", f"{out}/").code == 0
        expected = sorted(p.relative_to(out) for p in out.rglob("*"))
        (out / "outside").mkdir()
        for final in expected:
            if final.suffix == ".png":
                continue
            place = out / final
            part = f"{place.name}.part" if place.is_dir() else f"{place.stem}.part{place.suffix}"
            place.with_name(part).symlink_to(out / "outside" / part)
            if not place.with_name(f"{place.name}.part.jsonl").exists():
                os.mkfifo(place.with_name(f"{place.name}.part.jsonl"))
        said = cli("segment", path, "--save", save, "-o", f"{out}/", "--overwrite")
        assert said.code == 0, said.err
        assert listing(out / "outside") == []


class TestTwoPrograms:
    @pytest.mark.parametrize("save", ["csv", "masks", "overlay"])
    @pytest.mark.parametrize("overwrite", [(), ("--overwrite",)], ids=["", "overwrite"])
    def test_one_name(self, process, clip, tmp_path, save, overwrite):
        """One is refused, or both end; what is there is the whole of one of them."""
        frames = {"a": 150, "b": 100}
        runs = []
        for name, count in frames.items():
            (tmp_path / name).mkdir()
            path = clip("clip.mp4", frames=count).rename(tmp_path / name / "clip.mp4")
            words = ("segment", path, "--save", save, "-o", f"{tmp_path}/out/", *overwrite)
            runs.append(process(*words))
        ends = [run.communicate(timeout=120)[1].decode() for run in runs]
        codes = [run.returncode for run in runs]
        if overwrite:
            assert codes == [0, 0], ends
        else:
            assert sorted(codes) == [0, 6], ends
            refused = ends[codes.index(6)]
            assert "another program" in refused or "exists" in refused
            frames = {"the other": list(frames.values())[codes.index(0)]}
        (output,) = (tmp_path / "out").iterdir()
        assert _count(output, save) in frames.values()


def _count(output: Path, save: str) -> int:
    """Frames in an output, each of which must be whole."""
    if save == "masks":
        return len(listing(output))
    if save in ("csv", "jsonl"):
        lines = output.read_text().splitlines()[1:]
        numbers = [line.split(",")[0].removeprefix('{"frame":') for line in lines]
        assert numbers == [str(i) for i in range(len(lines))]
        return len(lines)
    with av.open(str(output)) as video:
        return sum(1 for _ in video.decode(video=0))
