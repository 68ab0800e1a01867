"""A run opens no internet socket and leaves no file in the home folder; native code included."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import pytest

from support.no_internet import can_watch
from vidparse.inference.runners import has_openvino

WATCHED = [
    sys.executable,
    str(Path(__file__).parent / "support" / "no_internet.py"),
    sys.executable,
]
BEGINS_TO_SEND_S = 12  # ONNX Runtime looks up its maker's address some 9 s after it is imported

FRAME = bytes(96 * 64 * 3)

needs_filter = pytest.mark.skipif(not can_watch(), reason="needs seccomp of Linux, x86-64 or ARM64")


def started(home: Path, *arguments: str) -> subprocess.Popen[bytes]:
    """A Python program in a new user's home, killed by SIGSYS when it opens a socket."""
    foreign = ("XDG_CACHE_HOME", "ORT_DISABLE_TELEMETRY", "HF_HUB_DISABLE_TELEMETRY", "CI")
    environment = {key: value for key, value in os.environ.items() if key not in foreign}
    return subprocess.Popen(
        [*WATCHED, *arguments],
        cwd=home.parent,
        env=environment | {"HOME": str(home)},
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )


class Run(NamedTuple):
    process: subprocess.Popen[bytes]
    home: Path
    began: float


@pytest.fixture
def home(tmp_path: Path) -> Path:
    folder = tmp_path / "home"
    folder.mkdir()
    return folder


@pytest.fixture(scope="module", autouse=True)
def default_run(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Run | None]:
    """A run whose input lasts while others go on: until a library begins to send takes a while."""
    if not can_watch():
        yield None
        return
    home = tmp_path_factory.mktemp("default") / "home"
    home.mkdir()
    arguments = ["--pipe", "raw", "--size", "96x64", "--rate", "25", "-o", "out/", "--legend"]
    process = started(home, "-m", "vidparse", "segment", "-", *arguments)
    assert process.stdin is not None
    process.stdin.write(FRAME)
    process.stdin.flush()
    yield Run(process, home, time.monotonic())
    process.kill()


@needs_filter
@pytest.mark.parametrize("domain", ["AF_INET", "AF_INET6"])
def test_the_watch_sees_native_sockets(home: Path, domain: str) -> None:
    # Called in C, as a native library does it; what is no internet socket stays allowed.
    code = (
        "import ctypes, socket; libc = ctypes.CDLL(None); "
        "assert libc.socket(int(socket.AF_UNIX), 1, 0) >= 0; print('unix', flush=True); "
        f"libc.socket(int(socket.{domain}), 2, 0); print('internet')"
    )
    process = started(home, "-c", code)
    out, _ = process.communicate(timeout=60)
    assert (process.returncode, out.split()) == (-signal.SIGSYS, [b"unix"])


@needs_filter
@pytest.mark.parametrize("backend", ["torch", "openvino"])
def test_other_backends_stay_at_home(home: Path, backend: str) -> None:
    if backend == "openvino" and not has_openvino():
        pytest.skip("openvino is not installed: pip install 'vidparse[openvino]'")
    arguments = ["sample://street?frames=2", "-o", "out/", "--save", "csv", "--backend", backend]
    process = started(home, "-m", "vidparse", "segment", *arguments)
    _, err = process.communicate(timeout=300)
    assert process.returncode == 0, err
    assert list(home.rglob("*")) == []


@needs_filter
def test_an_export_stays_at_home(home: Path, tiny_weights: Path) -> None:
    process = started(home, "-m", "vidparse", "export", str(tiny_weights), "-o", "x.onnx")
    _, err = process.communicate(timeout=300)
    assert process.returncode == 0, err
    assert list(home.rglob("*")) == []


@needs_filter
def test_a_default_run_stays_at_home(default_run: Run | None) -> None:
    """It comes after the others, which leave its libraries the time to begin."""
    assert default_run is not None
    time.sleep(max(0, default_run.began + BEGINS_TO_SEND_S - time.monotonic()))
    _, err = default_run.process.communicate(FRAME, timeout=120)
    assert default_run.process.returncode == 0, err
    assert b"2 frames" in err
    assert list(default_run.home.rglob("*")) == []


def test_a_user_who_wants_reports_keeps_them(home: Path) -> None:
    code = "import os, vidparse; print(os.environ['ORT_DISABLE_TELEMETRY'])"
    out = subprocess.run(
        [sys.executable, "-c", code],
        env={**os.environ, "ORT_DISABLE_TELEMETRY": "0"},
        capture_output=True,
        text=True,
        check=True,
    )
    assert out.stdout.strip() == "0"
