"""An input opens itself; a playlist also what lies in its own folder, or in the network with it."""

from __future__ import annotations

import contextlib
import functools
import http.server
import io
import socketserver
import struct
import threading
from pathlib import Path

import av
import pytest

from support.clips import make_clip
from vidparse import limits
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
def server(folder: Path, away: str = ""):
    """(address, paths that were requested) of a web server of this machine.

    It sends from /moved/x on to /x, and from /away/x to the address `away`.
    """
    seen: list[str] = []

    class Handler(http.server.SimpleHTTPRequestHandler):
        def do_GET(self) -> None:
            _, kind, *rest = self.path.split("/")
            if kind not in ("moved", "away"):
                return super().do_GET()
            self.send_response(302)
            self.send_header("Location", away if kind == "away" else f"/{'/'.join(rest)}")
            self.end_headers()

        def log_message(self, *words: object) -> None:
            seen.append(self.path)

    handler = functools.partial(Handler, directory=folder)
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as running:
        thread = threading.Thread(target=running.serve_forever, args=(0.05,))
        thread.start()
        try:
            yield f"http://127.0.0.1:{running.server_port}", seen
        finally:
            running.shutdown()
            thread.join()


@pytest.fixture
def allow():
    """`allow("file", "http")`: for one test."""
    return lambda *names: limits.allow_protocols(names)


@contextlib.contextmanager
def listening():
    """(address, connections so far) of a server that takes every connection and sends nothing."""
    seen: list[object] = []

    class Handler(socketserver.BaseRequestHandler):
        def handle(self) -> None:
            seen.append(self.client_address)

    with socketserver.ThreadingTCPServer(("127.0.0.1", 0), Handler) as running:
        thread = threading.Thread(target=running.serve_forever, args=(0.05,))
        thread.start()
        try:
            yield f"127.0.0.1:{running.server_address[1]}", seen
        finally:
            running.shutdown()
            thread.join()


DASH = """<?xml version="1.0"?>
<MPD xmlns="urn:mpeg:dash:schema:mpd:2011" type="static" mediaPresentationDuration="PT1S"
 minBufferTime="PT1S" profiles="urn:mpeg:dash:profile:isoff-on-demand:2011"><Period>
<AdaptationSet mimeType="video/mp4"><Representation id="1" bandwidth="1" width="64" height="48">
<BaseURL>{}</BaseURL></Representation></AdaptationSet></Period></MPD>
"""


def lists_of(address: str) -> dict[str, str]:
    """Texts that make FFmpeg open an address when it may, by the ending that such a file has."""
    return {
        "m3u8": f"#EXTM3U\n#EXT-X-TARGETDURATION:1\n#EXTINF:1,\n{address}\n#EXT-X-ENDLIST\n",
        "master.m3u8": f"#EXTM3U\n#EXT-X-STREAM-INF:BANDWIDTH=1\n{address}\n",
        "key.m3u8": "#EXTM3U\n#EXT-X-TARGETDURATION:1\n"
        f'#EXT-X-KEY:METHOD=AES-128,URI="{address}"\n#EXTINF:1,\na.ts\n#EXT-X-ENDLIST\n',
        "map.m3u8": "#EXTM3U\n#EXT-X-TARGETDURATION:1\n"
        f'#EXT-X-MAP:URI="{address}"\n#EXTINF:1,\na.ts\n#EXT-X-ENDLIST\n',
        "mpd": DASH.format(address),
        "ffconcat": f"ffconcat version 1.0\nfile '{address}'\n",
    }


@pytest.mark.parametrize("scheme", ["http", "tcp", "rtsp", "rtmp", "gopher", "ftp"])
def test_no_list_makes_a_connection_to_another_server(tmp_path, scheme):
    web = tmp_path / "web"
    segment_clip(web / "a.ts")
    with listening() as (other, connections), server(web) as (home, _):
        for kind, text in lists_of(f"{scheme}://{other}/a.ts").items():
            path = web / f"x.{kind}"
            path.write_text(text)
            for source in (path, f"{home}/{path.name}"):
                with pytest.raises(InputError):
                    stamps(source)
                assert connections == [], source


def test_the_listener_sees_who_connects(tmp_path, allow):
    """The other side of the test above: what is allowed does connect."""
    with listening() as (other, connections):
        path = tmp_path / "x.m3u8"
        path.write_text(lists_of(f"http://{other}/a.ts")["m3u8"])
        allow("http")
        with pytest.raises(InputError):
            stamps(path)
        assert len(connections) > 0


def mac_alias(path: Path) -> bytes:
    """An entry "alis" of a table of references of QuickTime, to a file by its whole path."""
    volume = b"\x01/" + bytes(26)
    name = path.name.encode()
    place = path.as_posix().encode() + b"\0"
    place += bytes(len(place) % 2)
    record = (
        bytes(10) + volume + bytes(12) + bytes([len(name)]) + name.ljust(63, b"\0") + bytes(16)
        + struct.pack(">hh", 1, 1) + bytes(16)
        + struct.pack(">hh", 2, len(place)) + place
        + struct.pack(">hh", -1, 0) + bytes(32)
    )  # fmt: skip
    return struct.pack(">I4s4x", len(record) + 12, b"alis") + record


def with_reference(data: bytes, entry: bytes, to: Path) -> bytes:
    """A mov whose track lies in another file; its own samples are blanked."""
    at = data.index(entry)
    longer = mac_alias(to)
    changed = bytearray(data[:at] + longer + data[at + len(entry) :])
    for box in (b"moov", b"trak", b"mdia", b"minf", b"dinf", b"dref"):
        where = data.index(box) - 4
        size = int.from_bytes(changed[where : where + 4], "big") + len(longer) - len(entry)
        changed[where : where + 4] = size.to_bytes(4, "big")
    samples = data.index(b"mdat")
    size = int.from_bytes(data[samples - 4 : samples], "big")
    changed[samples + 4 : samples - 4 + size] = bytes(size - 8)
    return bytes(changed)


def test_references_inside_containers_are_not_followed(tmp_path, allow):
    """A mov whose samples lie in another file."""
    secret = make_clip(tmp_path / "secret.mov", frames=5, codec="mpeg4")
    path = tmp_path / "x.mov"
    entry = b"\0\0\0\x0curl \0\0\0\x01"  # this very file
    path.write_bytes(with_reference(secret.read_bytes(), entry, secret))

    # FFmpeg would follow it if an option let it.
    with av.open(str(path), container_options={"enable_drefs": "1", "use_absolute_path": "1"}) as c:
        assert sum(1 for _ in c.decode(video=0)) == 5
    for names in ((), ("file",)):
        allow(*names)
        with pytest.raises(InputError):
            stamps(path)


def test_a_redirect_stays_on_its_server(tmp_path):
    one = segment_clip(tmp_path / "web" / "a.ts")
    (tmp_path / "web" / "list.m3u8").write_text(lists_of("moved/a.ts")["m3u8"])
    with listening() as (other, connections):
        with server(tmp_path / "web", away=f"http://{other}/a.ts") as (home, _):
            assert stamps(f"{home}/moved/a.ts") == stamps(one)
            assert stamps(f"{home}/list.m3u8") == stamps(one)
            for name in ("away/a.ts", "away/list.m3u8"):
                with pytest.raises(InputError, match=r"not on its own server; give that address"):
                    stamps(f"{home}/{name}")
            (tmp_path / "web" / "list.m3u8").write_text(lists_of("away/a.ts")["m3u8"])
            with pytest.raises(InputError, match=r"--allow-protocols http$"):
                stamps(f"{home}/list.m3u8")
        assert connections == []


def test_what_users_allow_is_opened_anywhere(tmp_path, allow):
    one = segment_clip(tmp_path / "other" / "a.ts")
    here = tmp_path / "here"
    here.mkdir()
    (here / "x.m3u8").write_text(lists_of("../other/a.ts")["m3u8"])
    (here / "x.ffconcat").write_text("ffconcat version 1.0\nfile '../other/a.ts'\n")
    with pytest.raises(InputError, match="--allow-protocols file"):
        stamps(here / "x.m3u8")
    with pytest.raises(InputError, match="--allow-protocols file"):
        stamps(here / "x.ffconcat")
    allow("file")
    assert stamps(here / "x.m3u8") == stamps(one)
    assert stamps(here / "x.ffconcat") == pytest.approx(stamps(one), abs=1e-4)

    with server(one.parent) as (home, _), server(here) as (host, _):
        (here / "web.m3u8").write_text(lists_of(f"{home}/a.ts")["m3u8"])
        allow("file")
        for name in (here / "web.m3u8", f"{host}/web.m3u8"):
            with pytest.raises(InputError):
                stamps(name)
        allow("http")
        for name in (here / "web.m3u8", f"{host}/web.m3u8"):
            assert stamps(name) == stamps(one)
        with pytest.raises(InputError, match="does not lie in the playlist's own folder"):
            stamps(here / "x.m3u8")


def test_wrapped_addresses_are_opened_where_they_are_allowed(tmp_path, allow):
    one = segment_clip(tmp_path / "a.ts")
    allow("concat", "file")
    assert len(stamps(f"concat:{one}|{one}")) == 20
    allow("concat")
    with pytest.raises(InputError):
        stamps(f"concat:{one}|{one}")
    allow("file")
    with pytest.raises(InputError):
        stamps(f"concat:{one}|{one}")


def test_the_option_of_protocols(cli, tmp_path):
    segment_clip(tmp_path / "a.ts")
    (tmp_path / "in").mkdir()
    path = tmp_path / "in" / "x.m3u8"
    path.write_text(lists_of("../a.ts")["m3u8"])
    ended = cli("info", path)
    assert ended.code == 3
    assert ended.err.endswith("or allow what it opens with --allow-protocols file\n")
    assert cli("info", path, "--allow-protocols", "file").code == 0
    assert cli("info", path).code == 3, "it is that of one call"
    ended = cli("info", path, "--allow-protocols", "gopher")
    assert (ended.code, ended.err[:45]) == (2, "vidparse: --allow-protocols gopher: no protoc")
