"""An input opens itself; a playlist also what lies in its own folder, or in the network with it."""

from __future__ import annotations

import contextlib
import functools
import http.server
import io
import threading
from pathlib import Path

import pytest

from support.clips import make_clip
from vidparse.errors import InputError, VidparseError
from vidparse.video import open_video, read_mask_video


def stamps(source, **options):
    """Times of all frames in seconds from the first."""
    opened = open_video(source, **options)
    found = [frame.pts for frame in opened]
    opened.close()
    return [float((pts - found[0]) * opened.info.time_base) for pts in found]


def playlist(path: Path, *names: str, extra: str = "") -> Path:
    lines = "".join(f"#EXTINF:0.4,\n{name}\n" for name in names)
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(
        f"#EXTM3U\n#EXT-X-VERSION:7\n#EXT-X-TARGETDURATION:1\n{extra}{lines}#EXT-X-ENDLIST\n"
    )
    return path


def segment_clip(path: Path) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    return make_clip(path, frames=10, codec="mpeg2video", options={"bf": "0"}, audio="mp2")


def scripts(secret: Path) -> dict[str, str]:
    """Texts that make FFmpeg open `secret` when it may."""
    return {
        "concat": f"ffconcat version 1.0\nfile '{secret.name}'\n",
        "concat, absolute": f"ffconcat version 1.0\nfile 'file:{secret}'\n",
        "hls": f"#EXTM3U\n#EXT-X-TARGETDURATION:1\n#EXTINF:1,\n{secret.as_uri()}\n#EXT-X-ENDLIST\n",
        "sdp": "v=0\no=- 0 0 IN IP4 127.0.0.1\ns=x\nc=IN IP4 127.0.0.1\nt=0 0\n"
        "m=video 5004 RTP/AVP 96\na=rtpmap:96 H264/90000\n",
    }


@pytest.mark.parametrize("kind", ["concat", "concat, absolute", "hls", "sdp"])
@pytest.mark.parametrize(
    "name", ["clip.mp4", "clip.ffconcat", "clip.sdp", "clip.mkv", "-", "a.png"]
)
def test_text_that_names_another_file_gives_no_frame(tmp_path, kind, name):
    secret = segment_clip(tmp_path / "secret.ts")
    text = scripts(secret)[kind]
    if name == "-":
        source, options = "-", {"stdin": io.BytesIO(text.encode())}
    else:
        source, options = tmp_path / name, {}
        source.write_text(text)
    with pytest.raises(InputError) as caught:
        stamps(source, **options)
    if kind != "sdp" and name != "a.png":
        assert "list of other files, which is not followed" in str(caught.value)


def test_such_a_text_among_pictures_is_skipped(tmp_path):
    segment_clip(tmp_path / "secret.ts")
    folder = tmp_path / "shots"
    folder.mkdir()
    import cv2
    import numpy as np

    for number in range(3):
        cv2.imwrite(str(folder / f"{number}.png"), np.zeros((48, 64, 3), np.uint8))
    (folder / "1.png").write_text("ffconcat version 1.0\nfile '../secret.ts'\n")
    source = open_video(folder)
    assert [frame.name for frame in source] == ["0", "2"]
    assert source.skipped == 1


def test_a_mask_video_is_no_list_either(tmp_path):
    make_clip(tmp_path / "a.mkv", frames=3, codec="ffv1", pixel_format="gray")
    (tmp_path / "list.mkv").write_text("ffconcat version 1.0\nfile 'a.mkv'\n")
    with pytest.raises(InputError, match="list of other files"):
        next(read_mask_video(tmp_path / "list.mkv"))


@pytest.mark.parametrize("where", ["../secret.ts", "uri", "link.ts", "sub/../../secret.ts"])
def test_a_playlist_does_not_leave_its_folder(tmp_path, where):
    secret = segment_clip(tmp_path / "secret.ts")
    (tmp_path / "in" / "sub").mkdir(parents=True)
    (tmp_path / "in" / "link.ts").symlink_to(secret)
    where = secret.as_uri() if where == "uri" else where
    path = playlist(tmp_path / "in" / "list.m3u8", where)
    with pytest.raises(InputError, match=r"list\.m3u8: names '.*', which does not lie in the") as e:
        stamps(path)
    assert e.value.exit_code == 3


@pytest.mark.parametrize("word", ["KEY:METHOD=AES-128", "MAP:"])
def test_keys_and_headers_stay_in_the_folder_too(tmp_path, word):
    (tmp_path / "secret.bin").write_bytes(bytes(16))
    segment_clip(tmp_path / "in" / "a.ts")
    comma = "," if word.endswith("128") else ""
    extra = f'#EXT-X-{word}{comma}URI="../secret.bin"\n'
    with pytest.raises(InputError):
        stamps(playlist(tmp_path / "in" / "list.m3u8", "a.ts", extra=extra))


def test_a_local_playlist_does_not_reach_the_network(tmp_path):
    segment_clip(tmp_path / "web" / "a.ts")
    with server(tmp_path / "web") as (address, seen):
        path = playlist(tmp_path / "in" / "list.m3u8", f"{address}/a.ts")
        with pytest.raises(InputError, match="which does not lie in the"):
            stamps(path)
    assert seen == []


def test_playlists_of_their_own_folder_are_read(tmp_path, ffmpeg):
    clip = make_clip(tmp_path / "a.mp4", frames=50, audio=True, options={"g": "10"})
    (tmp_path / "hls" / "parts").mkdir(parents=True)
    ffmpeg("-i", clip, "-c", "copy", "-f", "hls", "-hls_time", "0.4", "-hls_list_size", "0",
           "-hls_base_url", "parts/",
           "-hls_segment_filename", tmp_path / "hls" / "parts" / "%d.ts",
           tmp_path / "hls" / "list.m3u8")  # fmt: skip
    assert len(list((tmp_path / "hls" / "parts").iterdir())) > 2
    whole = stamps(tmp_path / "hls" / "list.m3u8")
    assert whole == pytest.approx([i / 25 for i in range(50)], abs=1e-4)
    assert stamps(tmp_path / "hls" / "list.m3u8", start_s=1) == pytest.approx(whole[:25], abs=1e-4)
    master = tmp_path / "hls" / "master.m3u8"
    master.write_text("#EXTM3U\n#EXT-X-STREAM-INF:BANDWIDTH=100000\nlist.m3u8\n")
    assert stamps(master) == whole
    assert stamps(master.as_uri()) == whole
    (tmp_path / "hls" / "parts" / "1.ts").unlink()
    source = open_video(master)
    assert 25 < len(list(source)) < 50
    assert source.skipped == 1
    assert source.notes == ["segments of the playlist that are missing: 1.ts"]


def test_playlists_of_the_network_are_read(tmp_path):
    secret = segment_clip(tmp_path / "secret.ts")
    web = tmp_path / "web"
    one = segment_clip(web / "a.ts")
    playlist(web / "good.m3u8", "a.ts")
    playlist(web / "bad.m3u8", secret.as_uri())
    (web / "bad.ffconcat").write_text(f"ffconcat version 1.0\nfile 'file:{secret}'\n")
    with server(web) as (address, _):
        assert stamps(f"{address}/good.m3u8") == stamps(one)
        assert stamps(f"{address}/a.ts") == stamps(one)
        for name in ("bad.m3u8", "bad.ffconcat"):
            with pytest.raises(InputError):
                stamps(f"{address}/{name}")


@pytest.mark.parametrize(
    "form",
    [
        "subfile,,start,0,end,0,,:{uri}",
        "cache:{uri}",
        "cache://{path}",
        "async:{uri}",
        "concat://{path}",
        "crypto:{uri}",
        "pipe://0",
        "fd://0",
        "data://text/plain,x",
        "unix://{path}",
        "hls+file://{path}",
        "FILE://{path}",
    ],
)
def test_protocols_that_wrap_local_files_are_not_opened(tmp_path, form):
    path = make_clip(tmp_path / "a.mp4", frames=2)
    with pytest.raises(VidparseError, match="is no kind of address that is opened; give") as caught:
        stamps(form.format(uri=path.as_uri(), path=path))
    assert caught.value.exit_code == 3


def test_a_name_is_no_pattern_of_numbered_pictures(tmp_path):
    """`image2` of FFmpeg would read a%d.pgmyuv as a1.pgmyuv, a2.pgmyuv, ..."""
    (tmp_path / "a1.pgmyuv").write_bytes(b"P5\n4 6\n255\n" + bytes(24))
    with pytest.raises(InputError, match="no such file"):
        stamps(tmp_path / "a%d.pgmyuv")
    (tmp_path / "a%d.pgmyuv").write_bytes(b"P5\n4 6\n255\n" + bytes(24))
    (frame,) = open_video(tmp_path / "a%d.pgmyuv")
    assert frame.image.size_hw == (6, 4)


@pytest.mark.parametrize("codec", ["pcx", "sgi", "xbm", "qoi", "pam", "pfm"])
def test_pictures_of_rarer_kinds_are_read(tmp_path, codec):
    kinds = {"xbm": "monow", "pfm": "gbrpf32le"}
    path = tmp_path / f"a.{codec}"
    wishes = {"codec": codec, "pixel_format": kinds.get(codec, "rgb24"), "container": "image2pipe"}
    assert stamps(make_clip(path, frames=1, **wishes)) == [0]


@contextlib.contextmanager
def server(folder: Path):
    """(address, paths that were asked for) of a web server of this machine."""
    seen: list[str] = []

    class Handler(http.server.SimpleHTTPRequestHandler):
        def log_message(self, *words: object) -> None:
            seen.append(self.path)

    handler = functools.partial(Handler, directory=folder)
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as running:
        thread = threading.Thread(target=running.serve_forever)
        thread.start()
        try:
            yield f"http://127.0.0.1:{running.server_port}", seen
        finally:
            running.shutdown()
            thread.join()
