"""Streams that the real ffmpeg sends."""

from __future__ import annotations

import json
import shutil
import socket
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager

import pytest


@contextmanager
def sender(seconds: float, *where: str) -> Iterator[subprocess.Popen[bytes]]:
    """ffmpeg with a test picture and a tone, as fast as they would be recorded."""
    program = shutil.which("ffmpeg")
    if program is None:
        pytest.skip("ffmpeg is not installed here")
    inputs = ("-re", "-f", "lavfi", "-i", f"testsrc=size=64x48:rate=25:duration={seconds}")
    sound = ("-f", "lavfi", "-i", f"sine=frequency=440:duration={seconds}")
    coding = ("-c:v", "libx264", "-preset", "ultrafast", "-g", "25", "-bf", "0", "-c:a", "aac")
    words = [program, "-v", "error", *inputs, *sound, *coding, *where]
    with subprocess.Popen(words, stdin=subprocess.DEVNULL) as running:
        try:
            yield running
        finally:
            running.kill()


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as server:
        port: int = server.getsockname()[1]
    return port


def test_a_plain_connection_ends_with_its_sender(cli, tmp_path):
    """All pictures of MPEG-TS over TCP, and no wait for more: --reconnect is off for it."""
    url = f"tcp://127.0.0.1:{free_port()}"
    with sender(4, "-f", "mpegts", f"{url}?listen=1"):
        # Try until ffmpeg listens, which takes a moment.
        end_s = time.monotonic() + 60
        while True:
            ended = cli("segment", url, "-o", f"{tmp_path}/a.jsonl")
            if "connection refused" not in ended.err or time.monotonic() > end_s:
                break
            time.sleep(0.1)
    assert ended.code == 0, ended.err
    records = [json.loads(line) for line in (tmp_path / "a.jsonl").read_text().splitlines()[1:]]
    assert [record["frame"] for record in records] == list(range(100))
    times = [record["time"] - records[0]["time"] for record in records]
    assert times == [pytest.approx(i / 25, abs=1e-3) for i in range(100)]


def test_a_recording_is_followed_while_ffmpeg_writes_it(cli, tmp_path):
    path = tmp_path / "recording.mkv"
    with sender(3, "-cluster_time_limit", "200", "-flush_packets", "1", str(path)):
        end_s = time.monotonic() + 60
        while not path.exists() and time.monotonic() < end_s:
            time.sleep(0.05)
        ended = cli(
            *("segment", path, "--follow", "--follow-idle", "4", "-o", f"{tmp_path}/a.jsonl"),
            *("--policy", "every", "--json"),
        )
    assert ended.code == 0, ended.err
    (one,) = json.loads(ended.out)["inputs"]
    assert one["live"]["written"] == 75
