"""Streams of real servers on the loopback: RTSP, HTTP, HLS; servers that break, refuse, stall."""

from __future__ import annotations

import base64
import io
import json
import signal
import socket
import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from fractions import Fraction
from itertools import pairwise
from pathlib import Path

import av
import pytest
from PIL import Image

from support.clips import make_clip, picture
from support.rtsp_server import RtspServer
from support.stream_server import Reply, web


@pytest.fixture
def camera() -> Iterator[RtspServer]:
    server = RtspServer(rate=25).start()
    yield server
    server.stop()


def lines(path: Path) -> list[dict[str, object]]:
    return [json.loads(line) for line in path.read_text().splitlines()][1:]


def until(condition: Callable[[], bool], what: str, seconds: float = 60) -> None:
    """Wait for something that another thread or process does."""
    end_s = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end_s, what
        time.sleep(0.02)


def count(path: Path) -> int:
    """Whole lines of a file that may not be there."""
    return path.read_bytes().count(b"\n") if path.exists() else 0


def test_a_camera_that_vanishes_and_comes_back_costs_the_gap_alone(process, tmp_path, camera):
    url = camera.url.replace("rtsp://", "rtsp://joe:secret@")
    running = process("segment", url, "-o", f"{tmp_path}/", "--save", "overlay,jsonl")
    part = tmp_path / "live.vidparse-part.jsonl"
    until(lambda: count(part) > 10, "frames before the break")
    camera.stop()
    camera.start()
    until(lambda: "gap_s" in part.read_text(), "the gap")
    before = count(part)
    until(lambda: count(part) > before + 20, "frames after the break")
    running.send_signal(signal.SIGTERM)
    out, err = running.communicate(timeout=60)
    messages = err.decode()

    assert running.returncode == 130
    assert "secret" not in messages + out.decode() + (tmp_path / "live.jsonl").read_text()
    assert "lost" in messages
    assert "back after" in messages
    assert "1 gap of" in messages
    assert "latency" in messages

    records = lines(tmp_path / "live.jsonl")
    assert [record["frame"] for record in records] == list(range(len(records)))
    (gap,) = [record for record in records if "gap_s" in record]
    assert gap["gap_s"] > 0
    times = [record["utc_s"] for record in records]
    assert times == sorted(times)
    assert abs(times[-1] - time.time()) < 60
    with av.open(str(tmp_path / "live.overlay.mp4")) as video:
        stamps = [frame.pts * frame.time_base for frame in video.decode(video=0)]
    assert len(stamps) == len(records)
    jump = stamps[gap["frame"]] - stamps[gap["frame"] - 1]
    assert float(jump) == pytest.approx(gap["gap_s"], abs=0.2)


def test_a_stream_that_ends_is_a_normal_end_without_reconnection(cli, tmp_path, camera):
    camera.most, camera.rate = 30, 100
    ended = cli(
        *("segment", camera.url, "-o", tmp_path / "a.jsonl"),
        *("--reconnect", "off", "--timeout", "20", "--json"),
    )
    assert ended.code in (0, 3)  # FFmpeg may call a connection that is closed an error
    assert count(tmp_path / "a.jsonl") == 31
    (one,) = json.loads(ended.out)["inputs"]
    assert one["live"]["written"] == 30
    assert one["live"]["latency_ms"]["max"] >= one["live"]["latency_ms"]["median"] > 0


def test_giving_up_keeps_the_frames_before(cli, tmp_path, camera):
    camera.most = 20
    camera.rate = 100
    closing = threading.Thread(target=camera.stop)
    camera.at_end = lambda connection: (closing.start(), connection.close())
    ended = cli("segment", camera.url, "-o", tmp_path / "a.jsonl", "--reconnect", "1")
    closing.join()
    assert ended.code == 3
    assert "gone for 1 s (" in ended.err
    assert "kept" in ended.err
    assert count(tmp_path / "a.jsonl") == 21


def test_a_user_that_the_camera_refuses(cli, tmp_path):
    right = base64.b64encode(b"joe:right").decode()
    server = RtspServer(login=right, most=5).start()
    try:
        bad = server.url.replace("rtsp://", "rtsp://joe:wrong@")
        ended = cli("segment", bad, "-o", tmp_path / "a.jsonl", "--reconnect", "30")
        assert (ended.code, len(ended.lines)) == (3, 1)
        assert "refuses the user or password (401)" in ended.err
        assert "wrong" not in ended.err
        good = server.url.replace("rtsp://", "rtsp://joe:right@")
        ended = cli("segment", good, "-o", tmp_path / "b.jsonl", "--reconnect", "off")
        assert "right" not in ended.err + (tmp_path / "b.jsonl").read_text()
        assert count(tmp_path / "b.jsonl") == 6
    finally:
        server.stop()


def stalls(reply: Reply) -> None:
    reply.begin("video/mp2t")
    reply.web.over.wait(60)


def fails(reply: Reply) -> None:
    reply.send_error(503)


def text(reply: Reply) -> None:
    reply.whole(b"<html><body>Log in</body></html>", "text/html")


@pytest.mark.parametrize(
    ("path", "why"),
    [
        ("/none.ts", "is not there (404)"),
        ("/text", "sends no video that can be read"),
        ("/fails", "fails with an error of the server"),
        ("/stalls", "gave no answer for 0.5 s"),
    ],
)
def test_an_address_that_gives_no_video_is_one_line(cli, tmp_path, path, why):
    with web({"/text": text, "/fails": fails, "/stalls": stalls}) as found:
        ended = cli("segment", found.url + path, "-o", tmp_path / "a.jsonl", "--timeout", "0.5")
    assert (ended.code, len(ended.lines)) == (3, 1)
    assert why in ended.err
    assert not list(tmp_path.iterdir())


def test_a_server_that_takes_the_connection_and_sends_nothing(cli, tmp_path):
    server = RtspServer(stalls=True).start()
    try:
        ended = cli("segment", server.url, "-o", tmp_path / "a.jsonl", "--timeout", "0.5")
    finally:
        server.stop()
    assert (ended.code, len(ended.lines)) == (3, 1)
    assert "gave no answer for 0.5 s" in ended.err


def test_an_opening_that_waits_is_interrupted_at_once(process, tmp_path):
    taken = threading.Event()
    with socket.create_server(("127.0.0.1", 0)) as server:
        thread = threading.Thread(target=lambda: (server.accept(), taken.set()), daemon=True)
        thread.start()
        url = f"http://127.0.0.1:{server.getsockname()[1]}/live.ts"
        running = process("segment", url, "-o", tmp_path / "a.jsonl", "--timeout", "600")
        assert taken.wait(60)
        running.send_signal(signal.SIGINT)
        try:
            _, err = running.communicate(timeout=60)
        except subprocess.TimeoutExpired:
            running.kill()
            raise
    assert running.returncode == 130
    assert len(err.splitlines()) == 1
    assert not list(tmp_path.iterdir())


def test_a_stream_that_falls_silent_is_lost_and_found_again(cli, tmp_path):
    """HTTP with no length: the first answer stalls in the middle, the second one ends it."""
    data = make_clip(tmp_path / "clip.ts", frames=75, time_base=Fraction(1, 25)).read_bytes()
    seen: list[int] = []

    def live(reply: Reply) -> None:
        seen.append(1)
        reply.begin("video/mp2t")
        reply.wfile.write(data)
        if len(seen) < 2:
            reply.web.over.wait(60)

    with web({"/live.ts": live}) as found:
        ended = cli(
            *("segment", f"{found.url}/live.ts", "-o", tmp_path / "a.jsonl"),
            *("--timeout", "1", "--end", "6", "--reconnect", "30"),
        )
    assert ended.code == 0, ended.err
    assert "gave no answer for 1 s" in ended.err
    records = lines(tmp_path / "a.jsonl")
    assert any("gap_s" in record for record in records)
    assert len(records) > 75


def test_sound_and_pictures_stay_together_over_a_break(cli, tmp_path):
    """Three seconds with sound, a break, and three more whose stamps begin anew."""
    wishes = {"frames": 75, "time_base": Fraction(1, 25), "audio": "aac"}
    data = make_clip(tmp_path / "clip.ts", **wishes).read_bytes()

    def live(reply: Reply) -> None:
        reply.begin("video/mp2t")
        reply.wfile.write(data)

    with web({"/live.ts": live}) as found:
        ended = cli(
            *("segment", f"{found.url}/live.ts", "-o", tmp_path / "a.mkv"),
            *("--save", "overlay", "--end", "5", "--reconnect", "30"),
        )
    assert ended.code == 0, ended.err
    with av.open(str(tmp_path / "a.mkv")) as video:
        times = [frame.time for frame in video.decode(video=0)]
    with av.open(str(tmp_path / "a.mkv")) as video:
        sound = [frame.time for frame in video.decode(audio=0)]
    assert times == sorted(set(times))
    assert sound == sorted(set(sound))
    pauses = [max((b - a, b) for a, b in pairwise(one)) for one in (times, sound)]
    (still_s, picture_s), (silent_s, sound_s) = pauses
    assert still_s > 0.2
    assert silent_s == pytest.approx(still_s, abs=0.2)
    assert sound_s == pytest.approx(picture_s, abs=0.2)


def test_a_playlist_behind_a_login_is_read_with_it(cli, tmp_path):
    (tmp_path / "parts").mkdir()
    (data,) = segments(tmp_path / "parts", 1)
    right = "Basic " + base64.b64encode(b"joe:se cret").decode()

    def behind(answer: Callable[[Reply], None]) -> Callable[[Reply], None]:
        def checked(reply: Reply) -> None:
            if reply.headers.get("Authorization") == right:
                answer(reply)
                return
            reply.send_response(401)
            reply.send_header("WWW-Authenticate", 'Basic realm="x"')
            reply.end_headers()

        return checked

    text = b"#EXTM3U\n#EXT-X-TARGETDURATION:1\n#EXTINF:1.0,\nmade0.ts\n#EXT-X-ENDLIST\n"
    answers = {
        "/live.m3u8": behind(lambda reply: reply.whole(text, "application/vnd.apple.mpegurl")),
        "/made0.ts": behind(lambda reply: reply.whole(data)),
    }
    with web(answers) as found:
        for login, code in (("joe:se%20cret", 0), ("joe:wrong", 3)):
            url = found.url.replace("http://", f"http://{login}@")
            ended = cli("segment", f"{url}/live.m3u8", "-o", tmp_path / f"{code}.jsonl")
            assert ended.code == code, ended.err
            assert "joe" not in ended.err
        assert len(lines(tmp_path / "0.jsonl")) == 25
        assert "refuses the user or password (401)" in ended.err


def test_pictures_without_times_are_timed_by_their_coming(cli, tmp_path):
    """MJPEG in parts, of a camera that sends 10 pictures per second; nothing in it holds a rate."""

    def parts(reply: Reply) -> None:
        reply.begin("multipart/x-mixed-replace; boundary=x")
        for index in range(12):
            data = io.BytesIO()
            Image.fromarray(picture(index)).save(data, "jpeg")
            reply.wfile.write(
                b"--x\r\nContent-Type: image/jpeg\r\n\r\n" + data.getvalue() + b"\r\n"
            )
            reply.web.over.wait(0.1)

    with web({"/cam": parts}) as found:
        ended = cli("segment", f"{found.url}/cam", "-o", tmp_path / "a.jsonl", "--reconnect", "off")
    assert ended.code in (0, 3), ended.err
    records = lines(tmp_path / "a.jsonl")
    assert len(records) >= 10
    for record in records:
        lasted_s = record["utc_s"] - records[0]["utc_s"]
        assert record["time"] - records[0]["time"] == pytest.approx(lasted_s, abs=0.02)
    assert records[-1]["time"] - records[0]["time"] > 0.6


def segments(folder: Path, count: int) -> list[bytes]:
    """MPEG-TS of 1 s each, whose times go on."""
    made = folder / "made.m3u8"
    options = {"hls_time": "1", "hls_list_size": "0"}
    with av.open(str(made), "w", format="hls", options=options) as container:
        stream = container.add_stream("libx264", rate=25, options={"g": "25", "bf": "0"})
        stream.height, stream.width, stream.pix_fmt = 48, 64, "yuv420p"
        for index in range(25 * count):
            frame = av.VideoFrame.from_ndarray(picture(index), format="rgb24")
            container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
    return [(folder / f"made{number}.ts").read_bytes() for number in range(count)]


def test_a_playlist_that_grows_is_followed_to_its_end(cli, tmp_path):
    (tmp_path / "parts").mkdir()
    data = segments(tmp_path / "parts", 6)

    def playlist(reply: Reply) -> None:
        taken = sum(path.endswith(".ts") for path in reply.web.seen)
        there = min(len(data), 3 + taken)
        text = ["#EXTM3U", "#EXT-X-VERSION:3", "#EXT-X-TARGETDURATION:1", "#EXT-X-MEDIA-SEQUENCE:0"]
        for number in range(there):
            text += ["#EXTINF:1.0,", f"made{number}.ts"]
        text += ["#EXT-X-ENDLIST"] * (there == len(data))
        reply.whole("\n".join([*text, ""]).encode(), "application/vnd.apple.mpegurl")

    answers = {f"/made{n}.ts": (lambda reply, d=d: reply.whole(d)) for n, d in enumerate(data)}
    with web({"/live.m3u8": playlist, **answers}) as found:
        ended = cli("segment", f"{found.url}/live.m3u8", "-o", tmp_path / "a.jsonl")
    assert ended.code == 0, ended.err
    assert "lost" not in ended.err and "trying again" not in ended.err
    records = lines(tmp_path / "a.jsonl")
    assert len(records) == 150
    steps = [after["time"] - before["time"] for before, after in pairwise(records)]
    assert steps == [pytest.approx(0.04, abs=1e-4)] * 149


def test_a_video_that_lies_at_an_address_is_read_like_a_file(cli, tmp_path):
    data = make_clip(tmp_path / "clip.mp4", frames=25).read_bytes()
    with web({"/clip.mp4": lambda reply: reply.whole(data, "video/mp4")}) as found:
        ended = cli("segment", f"{found.url}/clip.mp4", "-o", tmp_path / "a.jsonl")
    assert ended.code == 0, ended.err
    records = lines(tmp_path / "a.jsonl")
    assert len(records) == 25
    assert not [record for record in records if "utc" in record]
    assert "latency" not in ended.err


@pytest.mark.parametrize("option", ["--policy", "--max-latency"])
def test_what_only_live_inputs_have_is_refused_for_others(cli, tmp_path, option):
    clip = make_clip(tmp_path / "clip.mp4", frames=5)
    data, value = clip.read_bytes(), "latest" if option == "--policy" else "1"
    with web({"/clip.mp4": lambda reply: reply.whole(data, "video/mp4")}) as found:
        for name in (clip, f"{found.url}/clip.mp4", "sample://street"):
            ended = cli("segment", name, "-o", f"{tmp_path}/out/", option, value)
            assert (ended.code, len(ended.lines)) == (2, 1)
            assert f"{option}: {name} is no live input" in ended.err


@pytest.mark.parametrize("option", ["--timeout", "--max-latency"])
def test_a_time_in_which_nothing_can_happen_is_refused(cli, tmp_path, option):
    ended = cli("segment", "rtsp://nobody.invalid/a", "-o", f"{tmp_path}/out/", option, "0s")
    assert (ended.code, len(ended.lines)) == (2, 1), ended.err
    assert f"{option} 0: would " in ended.err


@pytest.mark.parametrize("name", ["-", "rtsp://cam/live", "sample://street", "folder", "a.png"])
def test_only_a_file_is_followed(cli, tmp_path, monkeypatch, name):
    monkeypatch.chdir(tmp_path)
    Path("folder").mkdir()
    for path in ("folder/1.png", "a.png"):
        Image.fromarray(picture(1)).save(path)
    ended = cli("segment", name, "--follow", "-o", "out/")
    assert (ended.code, len(ended.lines)) == (2, 1)
    assert f"--follow: {name} is no file that grows" in ended.err
