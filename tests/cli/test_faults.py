"""Bad inputs, bad places, interrupts: one line, the right code, nothing half-written."""

from __future__ import annotations

import json
import os
import resource
import signal
import subprocess
import sys
import time
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest

from vidparse.cli.segment import Screen
from vidparse.errors import ModelError
from vidparse.inference.runners import OnnxRunner
from vidparse.sinks.overlay import Overlay

ALL = ("--save", "overlay,masks,mask-video,jsonl,csv")


def listing(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir()) if folder.exists() else []


def content(folder: Path) -> dict[str, bytes]:
    files = (path for path in folder.rglob("*") if path.is_file())
    return {str(path.relative_to(folder)): path.read_bytes() for path in files}


def sound_s(path: Path) -> float:
    """When the sound ends, in seconds from the beginning."""
    with av.open(str(path)) as container:
        packets = [packet for packet in container.demux(audio=0) if packet.size]
    return float(max((p.pts + (p.duration or 0)) * p.time_base for p in packets))


def frames_in(path: Path) -> int:
    with av.open(str(path)) as video:
        return sum(1 for _ in video.decode(video=0))


class TestInputs:
    @pytest.mark.parametrize(
        ("content", "why"),
        [
            (b"", "the file is empty"),
            (b"just some text\n" * 20, "not a video or image that can be read"),
            (b"<html><body>404</body></html>", "not a video or image that can be read"),
            (bytes(5000), "not a video or image that can be read"),
            (b"\0\0\0\x18ftypmp42" + bytes(16), "the mp4 index (moov) is missing"),
        ],
    )
    def test_a_file_that_is_no_video(self, cli, tmp_path, content, why):
        path = tmp_path / "x.mp4"
        path.write_bytes(content)
        ended = cli("segment", path, "-o", f"{tmp_path}/out/")
        assert (ended.code, ended.out, len(ended.lines)) == (3, b"", 1)
        assert ended.lines[0].startswith(f"vidparse: {path}: {why}; ") or why in ended.lines[0]
        assert listing(tmp_path) == ["x.mp4"]

    @pytest.mark.parametrize(
        ("name", "why"),
        [
            ("none.mp4", "no such file; check the path"),
            ("*.none", "matches nothing; check the path"),
            ("empty", "holds neither images nor videos; name another folder"),
            ("words", "holds neither images nor videos; name another folder"),
            ("", "is empty; give a value"),
            ("http://127.0.0.1:1/x.mp4", "check the address"),
            ("sample://nowhere", "try sample://street or sample://crowd"),
        ],
    )
    def test_a_name_that_leads_nowhere(self, cli, tmp_path, monkeypatch, name, why):
        monkeypatch.chdir(tmp_path)
        Path("empty").mkdir()
        Path("words").mkdir()
        Path("words/read.me").write_text("hello")
        ended = cli("segment", name, "-o", "out/")
        assert ended.code == (2 if not name or name.startswith("sample") else 3)
        assert len(ended.lines) == 1
        assert why in ended.lines[0]
        assert listing(tmp_path) == ["empty", "words"]

    def test_sound_alone(self, cli, tmp_path):
        path = tmp_path / "x.m4a"
        with av.open(str(path), "w", format="mp4") as container:
            stream = container.add_stream("aac", rate=8000)
            stream.codec_context.layout = "mono"
            frame = av.AudioFrame.from_ndarray(np.zeros((1, 1024), np.float32), "fltp", "mono")
            frame.sample_rate, frame.pts, frame.time_base = 8000, 0, Fraction(1, 8000)
            container.mux([*stream.encode(frame), *stream.encode(None)])
        ended = cli("segment", path)
        assert (ended.code, len(ended.lines)) == (3, 1)
        assert "holds audio but no video" in ended.err
        assert listing(tmp_path) == ["x.m4a"]

    def test_a_stream_without_frames(self, cli, clip, tmp_path):
        path = clip("x.mp4", frames=10)
        data = bytearray(path.read_bytes())
        where = data.index(b"mdat") + 4
        size = int.from_bytes(data[where - 8 : where - 4], "big") - 8
        data[where : where + size] = b"\x55" * size
        path.write_bytes(data)
        ended = cli("segment", path)
        assert (ended.code, len(ended.lines)) == (3, 1)
        assert "not one frame can be decoded" in ended.err
        assert listing(tmp_path) == ["x.mp4"]

    def test_a_truncated_file_keeps_what_was_good(self, cli, clip, tmp_path):
        path = clip("x.mkv", frames=100)
        whole = path.read_bytes()
        path.write_bytes(whole[: len(whole) // 2])
        ended = cli("segment", path, *ALL, "-o", f"{tmp_path}/out/", "--json")
        assert (ended.code, len(ended.lines)) == (3, 1)
        assert "the file ends early, after" in ended.err
        summary = json.loads(ended.out)["inputs"][0]
        assert 20 < summary["frames"] < 80
        out = tmp_path / "out"
        names = ["x.csv", "x.jsonl", "x.masks", "x.masks.mkv", "x.overlay.mp4"]
        assert listing(out) == names
        assert sorted(summary["outputs"]) == [str(out / name) for name in names]
        assert frames_in(out / "x.overlay.mp4") == summary["frames"]
        assert frames_in(out / "x.masks.mkv") == summary["frames"]
        assert len(listing(out / "x.masks")) == summary["frames"]

    def test_damaged_packets_are_skipped_and_counted(self, cli, clip, tmp_path):
        path = clip("x.mov", frames=12, codec="png", pixel_format="rgb24")
        with av.open(str(path)) as video:
            places = [(p.pos, p.size) for p in video.demux(video=0) if p.size]
        data = bytearray(path.read_bytes())
        for index in (4, 7):
            start, size = places[index]
            data[start : start + size] = bytes(size)
        path.write_bytes(data)
        ended = cli("segment", path, "--save", "csv", "--json")
        assert ended.code == 0
        one = json.loads(ended.out)["inputs"][0]
        assert (one["frames"], one["skipped"]) == (10, 2)

    def test_pictures_of_different_size(self, cli, tmp_path):
        folder = tmp_path / "in"
        folder.mkdir()
        for index, side in enumerate((32, 32, 48)):
            av.VideoFrame(side, 32, "rgb24").save(str(folder / f"{index}.png"))
        ended = cli("segment", folder, *ALL)
        assert (ended.code, len(ended.lines)) == (3, 1)
        assert "2.png: is 48x32 but the sequence began with 32x32" in ended.err
        assert listing(tmp_path) == ["in"]

    def test_a_picture_that_is_too_large(self, cli, tmp_path):
        ended = cli("segment", "-", "--pipe", "raw", "--size", "99999x9", "--rate", "1", stdin=b"x")
        assert (ended.code, len(ended.lines)) == (3, 1)
        assert "99999x9 pixels" in ended.err


class TestUnusualVideo:
    @pytest.mark.parametrize("size_hw", [(1, 1), (1, 40), (2, 2), (17, 33), (48, 1)])
    def test_any_size(self, cli, clip, tmp_path, size_hw):
        path = clip("x.mov", frames=2, size_hw=size_hw, codec="png", pixel_format="rgb24")
        ended = cli("segment", path, *ALL, "--rle", "--contours", "--legend")
        assert (ended.code, len(ended.lines)) == (0, 1)
        assert frames_in(tmp_path / "x.overlay.mp4") == 2
        with av.open(str(tmp_path / "x.masks.mkv")) as video:
            stream = video.streams.video[0]
            assert (stream.height, stream.width) == size_hw

    @pytest.mark.parametrize(
        "wishes",
        [
            {"codec": "ffv1", "pixel_format": "yuv420p10le"},
            {"turn": 90},
            {"pts": [0, 3000, 9000, 9500, 90000, 90001]},
            {"pts": [12345, 12346, 90000]},
            {"frames": 1},
            {"aspect": Fraction(16, 11)},
        ],
        ids=str,
    )
    def test_times_survive(self, cli, clip, tmp_path, wishes):
        path = clip("x.mov" if "codec" not in wishes else "x.mkv", **{"frames": 5, **wishes})
        assert cli("segment", path, "--save", "overlay,jsonl").code == 0
        times = []
        for name in (path.name, "x.overlay.mp4"):
            with av.open(str(tmp_path / name)) as video:
                base = video.streams.video[0].time_base
                times.append([frame.pts * base for frame in video.decode(video=0)])
        assert [time - times[0][0] for time in times[0]] == times[1]  # an mp4 begins at 0
        lines = [json.loads(line) for line in (tmp_path / "x.jsonl").open()]
        base = Fraction(lines[0]["source"]["time_base"])
        assert [line["pts"] * base for line in lines[1:]] == times[0]


class TestPlaces:
    @pytest.fixture
    def path(self, clip) -> Path:
        return clip("x.mp4", frames=60, size_hw=(96, 128))

    @pytest.mark.parametrize("sink", ["overlay", "masks", "mask-video", "jsonl", "csv"])
    def test_a_disk_that_fills_up(self, cli, path, tmp_path, sink):
        """A limit on the size of files stands in for the disk; half of a clip fits."""
        soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
        limit = {"masks": 150, "jsonl": 4000, "csv": 1000}.get(sink, 3000)
        resource.setrlimit(resource.RLIMIT_FSIZE, (limit, hard))
        try:
            ended = cli("segment", path, "--save", sink, "-o", f"{tmp_path}/out/")
        finally:
            resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
        assert (ended.code, len(ended.lines)) == (6, 1)
        assert ".vidparse-part" not in ended.err
        assert listing(tmp_path / "out") == []

    def test_one_output_that_fails_takes_the_others_with_it(self, cli, path, tmp_path):
        soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
        resource.setrlimit(resource.RLIMIT_FSIZE, (4000, hard))
        try:
            ended = cli("segment", path, *ALL, "-o", f"{tmp_path}/out/")
        finally:
            resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
        assert (ended.code, len(ended.lines)) == (6, 1)
        assert listing(tmp_path / "out") == []

    @pytest.mark.skipif(os.geteuid() == 0, reason="root may write anywhere")
    def test_a_folder_without_permission(self, cli, path, tmp_path):
        locked = tmp_path / "locked"
        locked.mkdir(mode=0o500)
        ended = cli("segment", path, "-o", f"{locked}/")
        assert (ended.code, len(ended.lines)) == (6, 1)
        assert "is not writable; choose another place" in ended.err

    def test_a_failed_overwrite_leaves_the_old_outputs(self, cli, path, tmp_path):
        assert cli("segment", path).code == 0
        before = {p: p.read_bytes() for p in tmp_path.rglob("*") if p.is_file()}
        path.write_bytes(b"no video any more")
        ended = cli("segment", path, "--overwrite", "--json")
        assert ended.code == 3
        assert json.loads(ended.out)["inputs"][0]["outputs"] == []
        del before[path]
        assert {p: p.read_bytes() for p in before} == before


class TestInside:
    def test_memory_that_runs_out_is_exit_5(self, cli, clip, tmp_path, monkeypatch):
        path = clip("x.mp4", frames=3)

        class Full:
            def run(self, *arguments):
                raise RuntimeError("BFCArena: Failed to allocate memory for requested buffer")

        make = OnnxRunner.__init__

        def broken(self, *arguments, **options):
            make(self, *arguments, **options)
            self._session = Full()

        monkeypatch.setattr(OnnxRunner, "__init__", broken)
        ended = cli("segment", path)
        assert (ended.code, len(ended.lines)) == (5, 1)
        assert "out of memory at 128x96; lower --size" in ended.err
        assert listing(tmp_path) == ["x.mp4"]

    def test_a_fault_of_ours_is_one_line_and_the_batch_goes_on(
        self, cli, clip, tmp_path, monkeypatch
    ):
        one, two = clip("one.mp4", frames=3), clip("two.mp4", frames=3)
        write = Overlay.write

        def broken(self, frame, prediction):
            if "one.ov" in self.outputs[0] and frame.index == 1:
                raise ZeroDivisionError("float\ndivision")
            write(self, frame, prediction)

        monkeypatch.setattr(Overlay, "write", broken)
        ended = cli("segment", one, two)
        assert ended.code == 1
        assert ended.lines[0] == (
            f"vidparse: {one}: internal error: ZeroDivisionError: float division; "
            "run again with --debug and report it"
        )
        assert listing(tmp_path) == ["one.mp4", "two.masks", "two.mp4", "two.overlay.mp4"]


class TestInterrupts:
    """Real signals, sent to this process when a given frame is done."""

    @pytest.fixture
    def at_frame(self, monkeypatch):
        """`at_frame({10: [SIGINT]})`: what is sent after which frame."""

        def arrange(plan):
            show = Screen.frame

            def frame(self, done):
                show(self, done)
                for number in plan.get(done.index, ()):
                    os.kill(os.getpid(), number)

            monkeypatch.setattr(Screen, "frame", frame)

        heard = signal.signal(signal.SIGHUP, signal.SIG_DFL)  # under nohup it is ignored
        yield arrange
        signal.signal(signal.SIGHUP, heard)

    @pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
    @pytest.mark.parametrize("serial", [(), ("--serial",)], ids=["threads", "serial"])
    def test_outputs_are_finished(self, cli, clip, tmp_path, at_frame, number, serial):
        path = clip("x.mp4", frames=100, audio=True)
        at_frame({10: [number]})
        ended = cli("segment", path, *ALL, *serial, "-o", f"{tmp_path}/out/")
        assert ended.code == 130
        assert ended.lines[0] == "vidparse: x.mp4: interrupted after 11 frames; outputs hold these"
        assert ended.lines[1].startswith(f"{path}: kept ")
        out = tmp_path / "out"
        assert listing(out) == ["x.csv", "x.jsonl", "x.masks", "x.masks.mkv", "x.overlay.mp4"]
        assert frames_in(out / "x.overlay.mp4") == 11
        assert frames_in(out / "x.masks.mkv") == 11
        assert len(listing(out / "x.masks")) == 11
        assert len((out / "x.jsonl").read_text().splitlines()) == 12
        assert abs(sound_s(out / "x.overlay.mp4") - 11 / 25) < 0.05, "sound ends with the picture"

    @pytest.mark.parametrize("ending", ["mp4", "mkv", "mov"])
    def test_sound_far_ahead_of_the_picture(self, cli, ffmpeg, clip, tmp_path, at_frame, ending):
        """A file with all its sound first: what is not shown any more is not heard."""
        source, path = clip("x.mp4", frames=100, audio=True), tmp_path / "y.mkv"
        shifted = ("-itsoffset", "2", "-i", source, "-i", source, "-map", "0:v", "-map", "1:a")
        ffmpeg(*shifted, "-c", "copy", tmp_path / "late.mkv")
        ffmpeg("-i", tmp_path / "late.mkv", "-c", "copy", path)
        at_frame({10: [signal.SIGINT]})
        out = tmp_path / f"o.{ending}"
        assert cli("segment", path, "-o", out).code == 130
        assert abs(sound_s(out) - (2 + 11 / 25)) < 0.1

    @pytest.mark.parametrize("save", ["overlay", "masks", "mask-video", "jsonl", "csv", "vspw"])
    def test_an_older_output_is_not_replaced_by_a_part(self, cli, clip, tmp_path, at_frame, save):
        path, out = clip("x.mp4", frames=60), tmp_path / "out"
        words = ("segment", path, "--save", save, "-o", f"{out}/")
        assert cli(*words).code == 0
        before = content(out)
        at_frame({10: [signal.SIGINT]})
        ended = cli(*words, "--overwrite", "--json")
        assert ended.code == 130
        (part,) = {Path(name) for name in json.loads(ended.out)["inputs"][0]["outputs"]}
        assert part.exists()
        assert "part" in part.name
        (note,) = [note for note in json.loads(ended.out)["inputs"][0]["notes"] if "older" in note]
        assert note.endswith(
            f"interrupted, so the older one stays; the frames so far lie in {part}"
        )
        after = content(out)
        assert {name: after[name] for name in before} == before
        assert cli(*words, "--overwrite", "--end", "0.2").code == 0, "the part goes"
        assert not [name for name in content(out) if "part" in name]

    def test_an_older_submission_with_its_json(self, cli, clip, tmp_path, at_frame):
        path, out = clip("x.mp4", frames=60), tmp_path / "out"
        words = ("segment", path, "--save", "vipseg", "-o", f"{out}/")
        assert cli(*words).code == 0
        before = content(out)
        at_frame({10: [signal.SIGINT]})
        ended = cli(*words, "--overwrite", "--json")
        assert ended.code == 130
        assert json.loads(ended.out)["inputs"][0]["outputs"] == []
        assert "interrupted, so the older one stays" in ended.out.decode()
        assert content(out) == before

    def test_the_rest_of_a_batch_is_not_begun(self, cli, clip, tmp_path, at_frame):
        paths = [clip(f"{name}.mp4", frames=30) for name in "abc"]
        at_frame({29: [signal.SIGTERM]})  # a is all done, and yet this is no success
        ended = cli("segment", *paths, "--save", "csv", "--json")
        assert ended.code == 130
        summary = json.loads(ended.out)
        assert summary["exit_code"] == 130
        assert [one["exit_code"] for one in summary["inputs"]] == [130, 130, 130]
        assert [one["frames"] for one in summary["inputs"]] == [30, 0, 0]
        assert listing(tmp_path) == ["a.csv", "a.mp4", "b.mp4", "c.mp4"]

    def test_a_double_press_is_one(self, cli, clip, tmp_path, at_frame):
        path = clip("x.mp4", frames=60)
        at_frame({10: [signal.SIGINT, signal.SIGINT, signal.SIGTERM]})
        ended = cli("segment", path, *ALL, "-o", f"{tmp_path}/out/")
        assert ended.code == 130
        assert frames_in(tmp_path / "out/x.overlay.mp4") == 11
        assert not list(tmp_path.rglob("*.vidparse-part*"))

    def test_a_later_press_while_finishing_hangs(self, cli, clip, tmp_path, at_frame, monkeypatch):
        monkeypatch.setattr("vidparse.cli.process._SAME_PRESS_S", 0)
        path = clip("x.mp4", frames=60)
        close = Overlay.close

        def slow(self, **options):
            os.kill(os.getpid(), signal.SIGINT)
            close(self, **options)

        monkeypatch.setattr(Overlay, "close", slow)
        at_frame({10: [signal.SIGINT]})
        ended = cli("segment", path, "--save", "overlay,masks,csv", "-o", f"{tmp_path}/out/")
        assert ended.code == 130
        assert len(listing(tmp_path / "out/x.masks")) == 11, "the others are finished all the same"
        assert (tmp_path / "out/x.csv").read_bytes().count(b"\n") == 12

    @pytest.mark.parametrize("becomes", [KeyboardInterrupt, ImportError, ModelError])
    def test_before_the_first_frame(self, cli, clip, tmp_path, monkeypatch, becomes):
        path = clip("x.mp4", frames=5)

        def load(*arguments, **options):
            try:
                os.kill(os.getpid(), signal.SIGTERM)
                time.sleep(5)
            except KeyboardInterrupt:
                raise becomes("initialization failed") from None

        monkeypatch.setattr("vidparse.run.load_chosen", load)
        start = time.monotonic()
        ended = cli("segment", path)
        assert time.monotonic() - start < 4
        assert (ended.code, ended.lines) == (
            130,
            ["vidparse: interrupted before anything was written"],
        )
        assert listing(tmp_path) == ["x.mp4"]

    def test_signals_that_were_ignored_stay_so(self, cli, clip, at_frame):
        before = signal.signal(signal.SIGINT, signal.SIG_IGN)  # as under nohup
        try:
            at_frame({3: [signal.SIGINT]})
            assert cli("segment", clip("x.mp4", frames=20), "--save", "csv").code == 0
            assert signal.getsignal(signal.SIGINT) == signal.SIG_IGN
        finally:
            signal.signal(signal.SIGINT, before)


class TestProcess:
    def test_sigterm_right_at_the_start(self, process, clip, tmp_path):
        path = clip("x.mp4", frames=5)
        run = process("segment", path)
        time.sleep(0.2)  # imports take longer than that
        run.terminate()
        err = run.communicate(timeout=20)[1].decode()
        if run.returncode == -signal.SIGTERM:
            pytest.skip("this machine had not even started Python by then")
        assert run.returncode == 130, err
        assert err.splitlines()[-1].startswith("vidparse: interrupted")
        assert listing(tmp_path) == ["x.mp4"]

    def test_sigint_in_the_middle(self, process, clip, tmp_path):
        out = tmp_path / "out"
        run = process("segment", clip("x.mp4", frames=3000), "-o", f"{out}/")
        wait_for(lambda: len(listing(out / "x.masks.vidparse-part")) > 5)
        run.send_signal(signal.SIGINT)
        err = run.communicate(timeout=20)[1].decode()
        assert run.returncode == 130
        assert len(err.splitlines()) == 2
        assert listing(out) == ["x.masks", "x.overlay.mp4"]
        assert frames_in(out / "x.overlay.mp4") == len(listing(out / "x.masks")) > 5

    def test_kill_9_leaves_an_overlay_that_plays_and_the_next_run_cleans_up(
        self, process, cli, clip, tmp_path
    ):
        path, out = clip("x.mp4", frames=3000), tmp_path / "out"
        run = process("segment", path, "-o", f"{out}/")
        wait_for(lambda: len(listing(out / "x.masks.vidparse-part")) > 200)
        run.kill()
        run.communicate(timeout=20)
        assert listing(out) == ["x.masks.vidparse-part", "x.overlay.vidparse-part.mp4"]
        assert frames_in(out / "x.overlay.vidparse-part.mp4") >= 100
        assert cli("segment", path, "--end", "1", "-o", f"{out}/").code == 0
        assert listing(out) == ["x.masks", "x.overlay.mp4"]

    @pytest.mark.parametrize("given", [0, 10], ids=["nothing came", "ten frames came"])
    def test_an_interrupt_while_a_pipe_is_silent(self, process, tmp_path, given):
        """The reading thread cannot be stopped; the process ends without it."""
        read, write = os.pipe()
        raw = ("--pipe", "raw", "--size", "64x48", "--rate", "25")
        run = process("segment", "-", *raw, "-o", f"{tmp_path}/out/", stdin=read)
        os.close(read)
        os.write(write, bytes(64 * 48 * 3) * min(given, 7))
        for _ in range(given - min(given, 7)):
            os.write(write, bytes(64 * 48 * 3))
        if given:
            wait_for(lambda: len(listing(tmp_path / "out/stdin.masks.vidparse-part")) == given)
        else:
            time.sleep(2.5)
        run.send_signal(signal.SIGINT)
        err = run.communicate(timeout=20)[1].decode()
        os.close(write)
        assert run.returncode == 130, err
        assert "Fatal" not in err
        assert "Traceback" not in err
        if given:
            assert len(listing(tmp_path / "out/stdin.masks")) == given
        else:
            assert listing(tmp_path / "out") == []

    def test_an_interrupt_while_a_pipe_has_not_begun(self, process, tmp_path):
        read, write = os.pipe()
        run = process("segment", "-", "-o", f"{tmp_path}/out/", stdin=read)
        os.close(read)
        os.write(write, b"YUV4MPEG2 ")  # is read by the main thread, inside FFmpeg
        time.sleep(2.5)
        run.send_signal(signal.SIGTERM)
        err = run.communicate(timeout=20)[1].decode()
        os.close(write)
        assert run.returncode == 130, err
        assert len(err.splitlines()) == 1

    @pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
    def test_an_interrupt_while_a_file_opens(self, process, tmp_path, number):
        os.mkfifo(tmp_path / "in.mp4")  # opening one waits until somebody writes
        run = process("segment", tmp_path / "in.mp4", "-o", f"{tmp_path}/out/")
        time.sleep(2.5)
        run.send_signal(number)
        err = run.communicate(timeout=20)[1].decode()
        assert (run.returncode, len(err.splitlines())) == (130, 1), err
        assert "in.mp4: interrupted before any frame" in err

    @pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
    @pytest.mark.parametrize("module", ["typer", "vidparse.cli.app", "vidparse.cli.command"])
    def test_a_signal_during_the_first_imports(self, number, module):
        started = start_with_finder(
            f"if name == {module!r}: os.kill(os.getpid(), {int(number)})",
            "runpy.run_module('vidparse', run_name='__main__', alter_sys=True)",
            number,
        )
        out, err = started.communicate(timeout=30)
        assert (started.returncode, out) == (130, "")
        assert err == "vidparse: interrupted\n"

    @pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
    @pytest.mark.parametrize("module", ["typer", "vidparse.cli.command", "av"])
    def test_a_signal_in_a_callback_whose_exceptions_python_drops(
        self, number, module, clip, tmp_path
    ):
        kill = f"(lambda _: os.kill(os.getpid(), {int(number)}))"
        finaliser = f"type('Dropped', (), {{'__del__': {kill}}})()"
        started = start_with_finder(
            f"if name == {module!r}: {finaliser}",
            "runpy.run_module('vidparse', run_name='__main__', alter_sys=True)",
            number,
            *map(str, ["segment", clip("x.mp4"), "-o", f"{tmp_path}/out/"]),
        )
        out, err = started.communicate(timeout=30)
        assert (started.returncode, out) == (130, "")
        assert [line[:21] for line in err.splitlines()] == ["vidparse: interrupted"], err
        assert not (tmp_path / "out").exists() or listing(tmp_path / "out") == []

    @pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
    @pytest.mark.parametrize(
        "way_in",
        [
            "runpy.run_module('vidparse', run_name='__main__', alter_sys=True)",
            "from vidparse.__main__ import main; main()",
            "from vidparse.cli import main; main()",  # as scripts of older installations do
        ],
    )
    def test_a_signal_at_any_time_of_the_start(self, way_in, number, clip, tmp_path, colour_model):
        """From the first import that takes time, over those of the libraries, to the frames."""
        path = clip("x.mp4", frames=3000)
        words = ["segment", "-m", colour_model, path]
        for delay_s in (0, 0.1, 0.3, 0.7):
            started = start_with_finder(
                "if name == 'vidparse.cli.app': print('imports begin', flush=True)",
                way_in,
                number,
                *map(str, [*words, "-o", f"{tmp_path}/{delay_s}/"]),
            )
            assert started.stdout.readline() == "imports begin\n"
            time.sleep(delay_s)
            started.send_signal(number)
            err = started.communicate(timeout=30)[1]
            assert started.returncode == 130, f"after {delay_s} s: {err}"
            first, *others = err.splitlines()
            assert first.startswith(("vidparse: interrupted", "vidparse: x.mp4: interrupted")), err
            assert all(": kept " in line for line in others), f"after {delay_s} s: {err}"

    def test_nothing_that_takes_time_comes_before_the_handlers(self):
        root = Path(__file__).parents[2]
        code = f"""
import os, sys
sys.path.insert(0, {str(root)!r})
before = {{*sys.modules}}
import vidparse.__main__
print(*sorted({{*sys.modules}} - before))
"""
        command = [sys.executable, "-S", "-E", "-c", code]
        done = subprocess.run(command, capture_output=True, text=True, check=True)
        loaded = {*done.stdout.split()} - {"__future__"}
        assert loaded == {"vidparse", "vidparse.cli", "vidparse.__main__"}


def start_with_finder(act: str, way_in: str, number: int, *words: str) -> subprocess.Popen[str]:
    """The program in a new process, which runs `act` for each module that is looked for.

    Signals are heard there as by default: whoever starts the tests may ignore them, as nohup does.
    """
    heard = "default_int_handler" if number == signal.SIGINT else "SIG_DFL"
    code = f"""
import os, runpy, signal, sys
signal.signal({int(number)}, signal.{heard})
class Finder:
    def find_spec(name, path=None, target=None):
        {act}
sys.meta_path.insert(0, Finder)
sys.argv = ["vidparse", *{list(words or ["--version"])!r}]
{way_in}
"""
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True}
    return subprocess.Popen([sys.executable, "-c", code], **pipes)


def wait_for(condition, limit_s: float = 30.0) -> None:
    end_s = time.monotonic() + limit_s
    while not condition():
        assert time.monotonic() < end_s, "nothing happened"
        time.sleep(0.02)
