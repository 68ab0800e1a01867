"""Servers of https are those that their certificates name, and that the machine trusts."""

from __future__ import annotations

import shutil
import subprocess
from contextlib import AbstractContextManager
from pathlib import Path

import pytest

from support.clips import make_clip
from support.stream_server import Reply, Web, web
from vidparse.errors import InputError
from vidparse.limits import allow_protocols
from vidparse.video import open_video

openssl = pytest.mark.skipif(
    shutil.which("openssl") is None, reason="openssl, which makes certificates, is not installed"
)


@pytest.fixture(scope="module")
def certificates(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """Of this machine and of another one, which nobody signed; each with its key."""
    folder = tmp_path_factory.mktemp("certificates")
    made = {}
    for name, alias in (("own", "IP:127.0.0.1"), ("other", "DNS:elsewhere.example")):
        file = made[name] = folder / f"{name}.pem"
        words = ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256"]
        words += ["-nodes", "-days", "2", "-subj", f"/CN={name}"]
        words += ["-addext", f"subjectAltName={alias}", "-keyout", "-", "-out", "-"]
        file.write_bytes(subprocess.run(words, capture_output=True, check=True).stdout)
    return made


@pytest.fixture
def clip(tmp_path: Path) -> Path:
    return make_clip(tmp_path / "clip.mp4", frames=3, container="mpegts")


def served(clip: Path, certificate: Path) -> AbstractContextManager[Web]:
    data = clip.read_bytes()
    head = "#EXTM3U\n#EXT-X-TARGETDURATION:1\n#EXTINF:1,\n"
    listed = f"{head}clip.ts\n#EXT-X-ENDLIST\n".encode()

    def show(reply: Reply) -> None:
        reply.whole(data)

    def show_list(reply: Reply) -> None:
        reply.whole(listed, "application/vnd.apple.mpegurl")

    return web({"/clip.ts": show, "/live.m3u8": show_list}, certificate)


def frames(address: str) -> int:
    with open_video(address) as source:
        return len([*source])


@openssl
@pytest.mark.parametrize("name", ["clip.ts", "live.m3u8"])
@pytest.mark.parametrize("allowed", [None, ("https",)], ids=["its own server", "any server"])
def test_a_server_that_is_not_trusted_is_refused(certificates, clip, monkeypatch, name, allowed):
    allow_protocols(allowed)
    with served(clip, certificates["own"]) as server:
        with pytest.raises(InputError, match=r"is not trusted \(self.signed certificate\)"):
            frames(f"{server.url}/{name}")

        monkeypatch.setenv("SSL_CERT_FILE", str(clip.with_name("none.pem")))
        with pytest.raises(InputError, match=r"SSL_CERT_FILE .*none\.pem: no such file"):
            frames(f"{server.url}/{name}")

        # Give the certificate to trust, and then one that is of another host.
        monkeypatch.setenv("SSL_CERT_FILE", str(certificates["own"]))
        assert frames(f"{server.url}/{name}") == 3
    with served(clip, certificates["other"]) as server:
        monkeypatch.setenv("SSL_CERT_FILE", str(certificates["other"]))
        with pytest.raises(InputError, match=r"is not trusted .*127\.0\.0\.1"):
            frames(f"{server.url}/{name}")


@openssl
def test_a_machine_without_a_file_of_certificates_checks_all_the_same(
    certificates, clip, monkeypatch
):
    monkeypatch.setattr("vidparse.video.servers.tls_options", dict)
    with served(clip, certificates["own"]) as server:
        with pytest.raises(InputError, match="is not trusted"):
            frames(f"{server.url}/clip.ts")
        monkeypatch.setenv("SSL_CERT_FILE", str(certificates["own"]))
        assert frames(f"{server.url}/clip.ts") == 3


@openssl
def test_the_command_ends_with_one_line(cli, certificates, clip, tmp_path):
    with served(clip, certificates["own"]) as server:
        ended = cli("segment", f"{server.url}/clip.ts", "-o", f"{tmp_path}/out/", "--save", "jsonl")
    assert (ended.code, len(ended.lines)) == (3, 1)
    assert "SSL_CERT_FILE" in ended.err
    assert not (tmp_path / "out").exists()
