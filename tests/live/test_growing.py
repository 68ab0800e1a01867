"""Files that another program is still writing."""

from __future__ import annotations

import threading
import time
from pathlib import Path

import pytest

from support.clips import make_clip
from vidparse.errors import InputError
from vidparse.live import LiveSource, Opening
from vidparse.live.growing import GrowingFile
from vidparse.requests.live import LiveOptions
from vidparse.video import Input


def growing(path: Path, idle_s: float | None, stop: threading.Event | None = None) -> GrowingFile:
    return GrowingFile(path, path.name, idle_s=idle_s, stop=stop or threading.Event())


def follow(path: Path, *, idle_s: float | None) -> LiveSource:
    options = LiveOptions(follow=True, follow_idle_s=idle_s)
    return LiveSource(Opening(Input.named(str(path)), options, threading.Event()))


@pytest.mark.parametrize("name", ["a.mkv", "a.ts", "a.y4m"])
def test_a_file_is_read_on_as_it_grows(tmp_path, name):
    wishes = {"codec": "wrapped_avframe"} if name.endswith("y4m") else {}
    data = make_clip(tmp_path / name, frames=75, **wishes).read_bytes()
    path = tmp_path / f"growing{Path(name).suffix}"
    path.write_bytes(data[: len(data) // 3])

    def write() -> None:
        with path.open("ab") as file:
            for start in range(len(data) // 3, len(data), 8000):
                file.write(data[start : start + 8000])
                file.flush()
                time.sleep(0.01)

    writer = threading.Thread(target=write)
    writer.start()
    with follow(path, idle_s=1.0) as source:
        frames = list(source)
    writer.join()
    assert len(frames) == 75
    step = frames[1].pts - frames[0].pts
    assert [frame.pts - frames[0].pts for frame in frames] == [
        pytest.approx(i * step, abs=1) for i in range(75)
    ]


def test_an_mp4_whose_index_comes_last_is_refused_at_once(tmp_path):
    whole = make_clip(tmp_path / "a.mp4", frames=20).read_bytes()
    assert whole.index(b"mdat") < whole.index(b"moov")
    path = tmp_path / "growing.mp4"
    path.write_bytes(whole[: whole.index(b"moov") - 4])
    with pytest.raises(InputError, match=r"gets its index \(moov\) only when it is finished"):
        follow(path, idle_s=None)


@pytest.mark.parametrize("movflags", ["faststart", "frag_keyframe+empty_moov"])
def test_an_mp4_whose_index_comes_first_is_followed(tmp_path, movflags):
    path = make_clip(tmp_path / "a.mp4", frames=20, movflags=movflags)
    with follow(path, idle_s=0.2) as source:
        assert len(list(source)) == 20


def test_a_file_that_never_begins_is_an_error(tmp_path):
    (tmp_path / "a.mkv").touch()
    with pytest.raises(InputError, match="is empty and does not grow"):
        follow(tmp_path / "a.mkv", idle_s=0.1)
    with pytest.raises(InputError, match="no such file"):
        follow(tmp_path / "none.mkv", idle_s=0.1)


def test_waiting_ends_by_stop_by_end_and_where_the_file_is_begun_anew(tmp_path):
    path = tmp_path / "a.ts"
    path.write_bytes(b"12345")
    stop = threading.Event()
    file = growing(path, None, stop)
    assert file.read(9) == b"12345"
    threading.Timer(0.1, stop.set).start()
    assert file.read(9) == b""
    file.close()

    file = growing(path, None)
    assert file.read(9) == b"12345"
    threading.Timer(0.1, file.end).start()
    assert file.read(9) == b""
    file.close()

    file = growing(path, None)
    assert file.read(9) == b"12345"
    path.write_bytes(b"1")
    assert file.read(9) == b""
    file.close()
