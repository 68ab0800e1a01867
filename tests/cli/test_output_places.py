"""-o on what is no place for a file: devices, pipes, links; and two programs with one name."""

from __future__ import annotations

import io
import json
import os
import signal
import socket
import subprocess
import threading
from pathlib import Path

import av
import cv2
import numpy as np
import pytest

from vidparse import SegmentOptions, segment
from vidparse.errors import UsageError

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
        ended = cli("segment", path, "--save", save, "-o", reader.path, *overwrite)
        assert ended.code == 0, ended.err
        found = reader.result()
        if save == "jsonl":  # the first line has the command
            expected, found = (data.split(b"\n", 1)[1] for data in (expected, found))
        if save == "mask-video":  # Matroska gives every file a number of its own
            expected, found = ([p.tobytes() for p in pictures(data)] for data in (expected, found))
        assert found == expected
        assert reader.path.is_fifo()
        assert listing(tmp_path) == ["pipe", "x.mp4"]

    @pytest.mark.parametrize("name", ["pipe.mkv", "pipe.nut"])
    def test_the_ending_of_a_pipe_chooses_its_form(self, cli, clip, tmp_path, pipe, name):
        reader = pipe(name)
        assert cli("segment", clip("x.mp4", frames=3), "-o", reader.path).code == 0
        (tmp_path / "copy").write_bytes(reader.result())
        with av.open(str(tmp_path / "copy")) as video:
            assert video.format.name == {"pipe.mkv": "matroska,webm", "pipe.nut": "nut"}[name]
            assert len(list(video.decode(video=0))) == 3

    def test_an_interrupt_while_nobody_reads(self, process, clip, tmp_path):
        os.mkfifo(tmp_path / "pipe")
        run = process("segment", clip("x.mp4", frames=3), "--save", "csv", "-o", tmp_path / "pipe")
        with pytest.raises(subprocess.TimeoutExpired):
            run.wait(8)
        run.send_signal(signal.SIGINT)
        err = run.communicate(timeout=20)[1].decode()
        assert (run.returncode, len(err.splitlines())) == (130, 1), err

    @pytest.mark.parametrize("save", ["vspw", "vipseg"])
    def test_folders_do_not_go_into_a_pipe(self, cli, clip, tmp_path, save):
        os.mkfifo(tmp_path / "pipe")
        ended = cli("segment", clip("x.mp4", frames=3), "--save", save, "-o", tmp_path / "pipe")
        assert (ended.code, len(ended.lines)) == (2, 1)
        assert "a stream cannot carry" in ended.err

    def test_a_pipe_that_can_not_hold_its_ending(self, cli, clip, tmp_path):
        os.mkfifo(tmp_path / "pipe.mp4")
        ended = cli("segment", clip("x.mp4", frames=3), "-o", tmp_path / "pipe.mp4")
        assert (ended.code, len(ended.lines)) == (6, 1)
        assert "end its name in .mkv" in ended.err
        assert "--overwrite" not in ended.err

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
        ended = cli("segment", clip("x.mp4", frames=3), "-o", link, "--overwrite", "--save", "csv")
        assert ended.code == 0
        assert link.is_symlink()
        assert null.is_char_device()

    def test_a_socket_is_refused(self, cli, clip, tmp_path, monkeypatch):
        monkeypatch.chdir(tmp_path)
        socket.socket(socket.AF_UNIX).bind("there")
        for overwrite in ((), ("--overwrite",)):
            path = clip("x.mp4", frames=3)
            ended = cli("segment", path, "--save", "csv", "-o", "there", *overwrite)
            assert (ended.code, len(ended.lines)) == (6, 1)
            assert "there: is a socket; choose another name with -o" in ended.err
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
        ended = cli("segment", one, "--save", "csv,jsonl", "-o", tmp_path / "pipe")
        assert (ended.code, len(ended.lines)) == (2, 1)
        ended = cli("segment", one, other, "--save", "csv", "-o", tmp_path / "pipe")
        assert (ended.code, len(ended.lines)) == (2, 1)


class TestOtherCommands:
    """Every file that is written keeps away from devices and pipes."""

    @pytest.mark.parametrize("ending", [".onnx", ".safetensors"])
    def test_export(self, cli, tiny_weights, tmp_path, ending):
        os.mkfifo(tmp_path / f"x{ending}")
        ended = cli("export", tiny_weights, "-o", tmp_path / f"x{ending}", "--overwrite")
        assert (ended.code, len(ended.lines)) == (6, 1)
        assert "is a named pipe, not a file" in ended.err
        assert (tmp_path / f"x{ending}").is_fifo()


class TestLinks:
    def test_a_link_is_followed_and_stays(self, cli, clip, tmp_path):
        (tmp_path / "disk").mkdir()
        real, link = tmp_path / "disk" / "real.csv", tmp_path / "x.csv"
        real.write_text("old")
        link.symlink_to(real)
        path = clip("x.mp4", frames=3)
        ended = cli("segment", path, "--save", "csv")
        assert (ended.code, "exists" in ended.err, real.read_text()) == (6, True, "old")
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
            part = (
                f"{place.name}.vidparse-part"
                if place.is_dir()
                else f"{place.stem}.vidparse-part{place.suffix}"
            )
            place.with_name(part).symlink_to(out / "outside" / part)
            if not place.with_name(f"{place.name}.vidparse-part.jsonl").exists():
                os.mkfifo(place.with_name(f"{place.name}.vidparse-part.jsonl"))
        ended = cli("segment", path, "--save", save, "-o", f"{out}/", "--overwrite")
        assert ended.code == 0, ended.err
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


class TestEndings:
    """What an ending means is the same for all; one that means nothing is an error."""

    @pytest.mark.parametrize("ending", ["json", "txt", "exr", "zip", "avi", "tiff", "npz", "d"])
    def test_one_that_no_output_has(self, cli, clip, tmp_path, ending):
        ended = cli("segment", clip("x.mp4", frames=2), "-o", tmp_path / f"out.{ending}")
        assert (ended.code, len(ended.lines)) == (2, 1)
        assert (
            f"no output is written as '.{ending}'; end it in .mp4, .mkv, .mov (overlay)"
            in ended.err
        )
        assert ".jsonl (jsonl); .csv (csv); .ids.mkv (id-video)" in ended.err
        assert ", or in / for a directory" in ended.err
        assert listing(tmp_path) == ["x.mp4"]
        again = cli("segment", tmp_path / "x.mp4", "-o", f"{tmp_path}/out.{ending}/")
        assert again.code == 0
        assert listing(tmp_path) == [f"out.{ending}", "x.mp4"]

    @pytest.mark.parametrize("name", ["results", "results.2", "run.v2", "v1.10"])
    def test_names_of_folders(self, cli, clip, tmp_path, name):
        assert cli("segment", clip("x.mp4", frames=2), "-o", tmp_path / name).code == 0
        assert listing(tmp_path / name) == ["x.masks", "x.overlay.mp4"]

    @pytest.mark.parametrize("out", ["x.png", "x_%03d.png", "x.jpg", "x.mkv", "x.csv"])
    def test_one_file_for_several_outputs(self, cli, clip, tmp_path, out):
        path = clip("in.mp4", frames=2)
        ended = cli("segment", path, "--save", "overlay,masks", "-o", tmp_path / out)
        assert (ended.code, len(ended.lines)) == (2, 1)
        assert "one file for 2 outputs (overlay, masks)" in ended.err
        assert listing(tmp_path) == ["in.mp4"]

    @pytest.mark.parametrize("out", ["x.png", "x.jpg"])
    def test_one_picture_for_a_video(self, cli, clip, tmp_path, out):
        ended = cli("segment", clip("x.mp4", frames=2), "-o", tmp_path / out)
        assert (ended.code, len(ended.lines)) == (2, 1)
        ending = out.removeprefix("x")
        assert f"number its pictures, as in x_%04d{ending}, or end it in / for a" in ended.err

    def test_several_inputs(self, cli, clip, tmp_path):
        clips = clip("x.mp4", frames=2), clip("y.mp4", frames=2)
        ended = cli("segment", *clips, "-o", tmp_path / "out.json")
        assert (ended.code, len(ended.lines)) == (2, 1)
        assert "one file for 2 inputs" in ended.err


def photo(tmp_path: Path, name: str = "photo.jpg") -> Path:
    frame = av.VideoFrame.from_ndarray(np.full((48, 64, 3), 90, np.uint8), format="rgb24")
    frame.save(str(tmp_path / name))
    return tmp_path / name


class TestPictures:
    """A picture in gives a picture out."""

    @pytest.mark.parametrize("name", ["photo.jpg", "photo.png"])
    def test_by_default(self, cli, tmp_path, name):
        ended = cli("segment", photo(tmp_path, name))
        assert ended.code == 0, ended.err
        assert listing(tmp_path) == sorted([name, "photo.masks", "photo.overlay.png"])
        assert listing(tmp_path / "photo.masks") == ["photo.png"]
        assert cv2.imread(str(tmp_path / "photo.overlay.png")).shape == (48, 64, 3)

    @pytest.mark.parametrize("out", ["o.png", "o.JPG", "o.jpeg"])
    def test_by_the_ending(self, cli, tmp_path, out):
        path = photo(tmp_path)
        assert cli("segment", path, "-o", tmp_path / out).code == 0
        assert listing(tmp_path) == sorted([out, "photo.jpg"])
        shown = cv2.imread(str(tmp_path / out))
        assert shown.shape == (48, 64, 3)
        assert cli("segment", path, "-o", tmp_path / "x.mp4").code == 0
        with av.open(str(tmp_path / "x.mp4")) as video:
            (frame,) = video.decode(video=0)
        difference = frame.to_ndarray(format="bgr24").astype(int) - shown
        assert abs(difference).mean() < 6, "the same as a video of one frame"

    def test_a_mask(self, cli, tmp_path):
        path = photo(tmp_path)
        assert cli("segment", path, "--save", "masks", "-o", tmp_path / "m.png").code == 0
        assert cli("segment", path, "--save", "masks", "-o", f"{tmp_path}/o/").code == 0
        assert (tmp_path / "m.png").read_bytes() == (
            tmp_path / "o/photo.masks/photo.png"
        ).read_bytes()

    def test_an_overlay_is_no_input_of_the_next_run(self, cli, tmp_path):
        shots = tmp_path / "shots"
        shots.mkdir()
        assert cli("segment", photo(shots, "a.png"), photo(shots, "b.png")).code == 0
        assert "a.overlay.png" in listing(shots)
        assert cli("segment", shots, "--save", "masks").code == 0
        assert listing(tmp_path / "shots.masks") == ["a.png", "b.png"]

    def test_the_input_is_safe(self, cli, tmp_path):
        path = photo(tmp_path, "photo.png")
        before = path.read_bytes()
        for save in ("overlay", "masks"):
            ended = cli("segment", path, "-o", path, "--save", save, "--overwrite")
            assert ended.code == 6
            assert path.read_bytes() == before


class TestNumbers:
    """x_%04d.png: a picture for each frame, called by its number."""

    @pytest.mark.parametrize(
        ("pattern", "names"),
        [
            ("mask_%04d.png", ["mask_0000.png", "mask_0001.png", "mask_0002.png"]),
            ("%d.png", ["0.png", "1.png", "2.png"]),
            ("a%02d b.png", ["a00 b.png", "a01 b.png", "a02 b.png"]),
        ],
    )
    def test_masks(self, cli, clip, tmp_path, pattern, names):
        path = clip("x.mp4", frames=3)
        ended = cli("segment", path, "-o", f"{tmp_path}/o/{pattern}", "--json")
        assert ended.code == 0, ended.err
        assert listing(tmp_path / "o") == sorted(names)
        assert json.loads(ended.out)["inputs"][0]["outputs"] == [f"{tmp_path}/o/{pattern}"]
        assert cli("segment", path, "--save", "masks", "-o", f"{tmp_path}/m/").code == 0
        for index, name in enumerate(names):
            mask = tmp_path / "m/x.masks" / f"{index:06d}.png"
            assert (tmp_path / "o" / name).read_bytes() == mask.read_bytes()

    def test_overlays(self, cli, clip, tmp_path):
        path = clip("x.mp4", frames=3)
        out = f"{tmp_path}/o/%03d.jpg"
        assert cli("segment", path, "--save", "overlay", "-o", out).code == 0
        assert listing(tmp_path / "o") == ["000.jpg", "001.jpg", "002.jpg"]

    def test_older_ones(self, cli, clip, tmp_path):
        path, out = clip("x.mp4", frames=5), f"{tmp_path}/o/m%d.png"
        assert cli("segment", path, "-o", out).code == 0
        (tmp_path / "o" / "mine.png").write_bytes(b"x")
        ended = cli("segment", path, "-o", out)
        assert (ended.code, "exist; use --overwrite" in ended.err) == (6, True)
        assert cli("segment", path, "-o", out, "--overwrite", "--end", "0.08").code == 0
        assert listing(tmp_path / "o") == ["m0.png", "m1.png", "mine.png"]

    def test_the_input_is_safe(self, cli, clip, tmp_path):
        path = clip("x.mp4", frames=3)
        assert cli("segment", path, "-o", f"{tmp_path}/o/%d.png").code == 0
        before = {p.name: p.read_bytes() for p in (tmp_path / "o").iterdir()}
        for source in (tmp_path / "o", f"{tmp_path}/o/%d.png", f"{tmp_path}/o/*.png"):
            ended = cli("segment", source, "-o", f"{tmp_path}/o/%d.png", "--overwrite")
            assert (ended.code, "is what the input is called" in ended.err) == (6, True)
            assert {p.name: p.read_bytes() for p in (tmp_path / "o").iterdir()} == before


class TestPlacesThatCannotBeMeant:
    @pytest.mark.parametrize("out", [".mp4", ".csv", ".png", ".MKV", "sub/.jsonl"])
    def test_an_ending_without_a_name(self, cli, clip, tmp_path, monkeypatch, out):
        monkeypatch.chdir(tmp_path)
        ended = cli("segment", clip("x.mp4", frames=2), "-o", out)
        assert (ended.code, len(ended.lines)) == (2, 1)
        assert "is an ending without a name" in ended.err
        assert listing(tmp_path) == ["x.mp4"]

    @pytest.mark.parametrize("out", [".mp4/", ".results/", ".mp4.csv"])
    def test_names_that_begin_with_a_dot(self, cli, clip, tmp_path, monkeypatch, out):
        monkeypatch.chdir(tmp_path)
        assert cli("segment", clip("x.mp4", frames=2), "-o", out, "--save", "csv").code == 0
        assert listing(tmp_path) == [out.rstrip("/"), "x.mp4"]

    @pytest.mark.parametrize("out", ["x_%d%d.png", "x_%04d_%d.png", "%d-%02d-%d.jpg"])
    def test_several_places_for_a_number(self, cli, clip, tmp_path, monkeypatch, out):
        monkeypatch.chdir(tmp_path)
        words = ("--save", "overlay") if out.endswith("jpg") else ()
        ended = cli("segment", clip("x.mp4", frames=2), "-o", out, *words)
        assert (ended.code, len(ended.lines)) == (2, 1)
        assert "several places for the number of the frame" in ended.err
        assert listing(tmp_path) == ["x.mp4"]

    @pytest.mark.parametrize(
        "words",
        [
            ("segment", "x.mp4", "-o", ""),
            ("segment", "x.mp4", "--out="),
            ("segment", ""),
            ("segment", "-", "", "-o", "o/"),
            ("segment", "x.mp4", "--classes", ""),
            ("export", "street-student", "-o", ""),
            ("convert", "x.pth", "--from", "timm", "--arch", "resnet18", "-o", ""),
            ("autolabel", "x.mp4", "-o", ""),
            ("train", "--data", "", "--dry-run"),
            ("eval", "--data", "", "--report", ""),
            ("models", "show", ""),
            ("data", "check", ""),
        ],
    )
    def test_empty_arguments(self, cli, clip, tmp_path, monkeypatch, words):
        """An unset variable of a script is never the current folder."""
        monkeypatch.chdir(tmp_path)
        clip("x.mp4", frames=2)
        ended = cli(*words)
        assert (ended.code, len(ended.lines)) == (2, 1), ended.err
        assert "empty" in ended.err
        assert listing(tmp_path) == ["x.mp4"]

    def test_from_python(self, clip, colour_model):
        options = SegmentOptions(out="", model=colour_model)
        with pytest.raises(UsageError, match="names nothing"):
            segment(clip("x.mp4", frames=2), options)
