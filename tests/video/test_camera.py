"""Cameras of this machine; FFmpeg's made-up pictures take their place."""

from __future__ import annotations

import json
import sys
import threading
from pathlib import Path

import av
import pytest

from vidparse.errors import InputError, Unreachable, UsageError
from vidparse.live import LiveSource, Opening
from vidparse.requests.live import LiveOptions
from vidparse.video import Input
from vidparse.video import camera as module
from vidparse.video.camera import Camera


@pytest.fixture
def made_up(monkeypatch: pytest.MonkeyPatch) -> None:
    """Camera 0 shows 8 numbered pictures of 64 x 48 at 25 a second."""
    pattern = "testsrc=size=64x48:rate=25:duration=0.32"
    monkeypatch.setitem(module._DEVICES, sys.platform, ("lavfi", pattern))


@pytest.mark.parametrize(
    ("address", "platform", "device", "place", "settings"),
    [
        ("camera://0", "linux", "v4l2", "/dev/video0", {}),
        ("camera:///dev/video7", "linux", "v4l2", "/dev/video7", {}),
        (
            "camera://1?size=1280x720&rate=30000/1001&format=mjpeg",
            *("linux", "v4l2", "/dev/video1"),
            {"video_size": "1280x720", "framerate": "30000/1001", "input_format": "mjpeg"},
        ),
        ("camera://1", "darwin", "avfoundation", "1", {}),
        ("camera://Integrated Camera", "win32", "dshow", "video=Integrated Camera", {}),
    ],
)
def test_addresses_of_cameras(monkeypatch, address, platform, device, place, settings):
    monkeypatch.setattr(av, "formats_available", {"video4linux2,v4l2", "avfoundation", "dshow"})
    found = Camera.named(address, platform=platform)
    assert (found.device, found.place, dict(found.settings)) == (device, place, settings)


@pytest.mark.parametrize(
    ("address", "why"),
    [
        ("camera://", "names no camera"),
        ("camera://0?zoom=2", "'zoom' is no setting of a camera"),
        ("camera://0?size=480", "needs both sides"),
        ("camera://0?rate=fast", "not a frame rate"),
    ],
)
def test_addresses_that_name_none(monkeypatch, address, why):
    monkeypatch.setattr(av, "formats_available", {"video4linux2,v4l2"})
    with pytest.raises(UsageError, match=why):
        Camera.named(address, platform="linux")


def test_a_system_without_devices_is_named(monkeypatch):
    monkeypatch.setattr(av, "formats_available", set[str]())
    with pytest.raises(InputError, match="cannot be opened on this system; pipe its video in"):
        Camera.named("camera://0", platform="linux")


@pytest.mark.skipif(not module._is_known("v4l2"), reason="FFmpeg here knows no v4l2")
def test_a_camera_that_is_not_there_or_is_none(tmp_path):
    with pytest.raises(Unreachable, match="no camera is at /dev/video987"):
        Camera.named("camera://987", platform="linux").open(1.0)
    (tmp_path / "file").write_bytes(b"1")
    with pytest.raises(InputError, match="is no camera"):
        Camera.named(f"camera://{tmp_path}/file", platform="linux").open(1.0)


def test_the_pictures_of_a_camera_come_with_their_time(made_up, cli, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    ended = cli("segment", "camera://0", "--save", "jsonl", "--reconnect", "off")
    assert ended.code == 0, ended.err
    records = [json.loads(line) for line in Path("camera0.jsonl").read_text().splitlines()[1:]]
    assert [record["frame"] for record in records] == list(range(8))
    assert all(record["utc"].endswith("Z") for record in records)


def test_a_camera_that_is_unplugged_is_looked_for_again(made_up):
    """The made-up one ends after 8 pictures, and begins anew."""
    options, stop = LiveOptions(), threading.Event()
    with LiveSource(Opening(Input.named("camera://0"), options, stop)) as source:
        frames = []
        for frame in source:
            frames.append(frame)
            if len(frames) == 10:
                stop.set()
    assert [frame.index for frame in frames] == list(range(10))
    assert [frame.index for frame in frames if frame.follows_gap] == [8]
