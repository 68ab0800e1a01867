"""Values out of range, and a shell or a machine that gives less than a run needs: one line each."""

from __future__ import annotations

import errno
import os
import resource
import subprocess
import sys
import time
from pathlib import Path

import pytest

from vidparse.cli.parsing import parse_rate
from vidparse.errors import (
    DeviceError,
    InputError,
    OutputError,
    UsageError,
    VidparseError,
    expected,
)
from vidparse.filenames import home_path, user_cache
from vidparse.inference import load_model
from vidparse.video.selection import select

HUGE = "1" + "0" * 30
STRANGE = ("-1", HUGE, "1e18", "nan", "inf", "1e400", "9e999999999", "", "x", "1,nan", "1/0")


@pytest.mark.parametrize("value", STRANGE)
@pytest.mark.parametrize(
    "option",
    [
        *("--start", "--end", "--stride", "--rate", "--size", "--network-size", "--threads"),
        *("--cut", "--opacity", "--crf"),
    ],
)
def test_numbers_of_segment(cli, clip, tmp_path, option, value) -> None:
    begin_s = time.monotonic()
    path = clip("x.mp4", frames=3)
    said = cli("segment", path, "-o", f"{tmp_path}/out/", "--save", "csv", option, value)
    fine = option == "--stride" and value == HUGE
    assert (said.code, len(said.lines)) == (0 if fine else 2, 1), said.err
    assert time.monotonic() - begin_s < 10


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (("segment", "x.mp4", "--threads", "100000"), "threads 100000: this process may use"),
        (("train", "--dataset", "sample://street", "--threads", "100000"), "threads 100000"),
        (("bench", "x.mp4", "--threads", "100000"), "threads 100000"),
        (("autolabel", "x.mp4", "--max-frames", HUGE), "--max-frames"),
        (("eval", "--dataset", "sample://street", "--bootstrap", HUGE), "--bootstrap"),
        (("eval", "--dataset", "sample://street", "--size", ""), "size ''"),
        (("bench", "x.mp4", "--size", ""), "size ''"),
    ],
)
def test_numbers_of_other_commands(cli, clip, tmp_path, monkeypatch, arguments, says) -> None:
    clip("x.mp4", frames=3)
    monkeypatch.chdir(tmp_path)
    said = cli(*arguments)
    assert said.code == 2, said.err
    assert says in said.lines[-1]


@pytest.mark.parametrize("threads", [-1, 100_000, 10**30])
def test_threads_in_python(colour_model: Path, threads: int) -> None:
    with pytest.raises(UsageError, match=f"threads {threads}: "):
        load_model(colour_model, threads=threads)


@pytest.mark.parametrize("start_s", [1e10, 1e18, float("inf"), float("nan")])
def test_times_in_python(start_s: float) -> None:
    with pytest.raises(UsageError, match="start"):
        select(start_s, None, 1)


@pytest.mark.parametrize("text", ["25", "29.97", "30000/1001", "0.001", "1000"])
def test_usual_rates_stay(text: str) -> None:
    assert parse_rate(text) is not None


class TestPlaces:
    def test_an_unknown_home(self, cli, clip, tmp_path) -> None:
        said = cli("segment", clip("x.mp4", frames=1), "-o", "~nouser/x/", "--save", "csv")
        assert (said.code, len(said.lines)) == (2, 1)
        assert "~nouser/x/: no home folder for it" in said.err
        with pytest.raises(UsageError, match="~nouser"):
            home_path("~nouser")

    def test_a_user_without_a_home(self, monkeypatch, tmp_path) -> None:
        """As in a container that runs under any number."""
        monkeypatch.delenv("XDG_CACHE_HOME", raising=False)
        monkeypatch.setattr(Path, "home", _no_home)
        monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
        assert user_cache() == tmp_path / "vidparse-cache"

    @pytest.mark.parametrize("given", ["other", "relative"])
    def test_a_folder_removed_under_the_shell(self, tmp_path, clip, colour_model, given) -> None:
        path = clip("x.mp4", frames=1)
        (tmp_path / "gone").mkdir()
        code = (
            f"import os, shutil, sys; os.chdir({str(tmp_path / 'gone')!r}); os.rmdir(os.getcwd()); "
            "from vidparse.__main__ import main; sys.argv[0] = 'vidparse'; main()"
        )
        name = str(path) if given == "other" else "x.mp4"
        words = ["segment", name, "-m", str(colour_model), "-o", "y/", "--save", "csv"]
        done = subprocess.run(
            [sys.executable, "-c", code, *words], capture_output=True, text=True, check=False
        )
        assert done.returncode in (3, 6), done.stderr
        assert len(done.stderr.splitlines()) == 1
        assert "internal error" not in done.stderr
        assert list(tmp_path.rglob("*.csv")) == []


def _no_home() -> Path:
    raise RuntimeError("Could not determine home directory.")


class TestLimitsOfTheShell:
    @pytest.mark.parametrize("command", ["segment", "train", "eval", "autolabel", "bench"])
    def test_too_few_addresses(self, process, command) -> None:
        """Native libraries would end in signals 6 and 11."""
        run = process(command, "x.mp4", preexec_fn=_few_addresses)
        err = run.communicate(timeout=60)[1].decode()
        assert (run.returncode, len(err.splitlines())) == (5, 1), err
        assert "ulimit -v" in err

    def test_help_needs_no_memory(self, process) -> None:
        run = process("segment", "--help", preexec_fn=_few_addresses)
        run.communicate(timeout=60)
        assert run.returncode == 0

    def test_too_few_files(self, process, clip, tmp_path) -> None:
        path = clip("x.mp4", frames=3)
        run = process("segment", path, "-o", f"{tmp_path}/out/", preexec_fn=_few_files)
        err = run.communicate(timeout=60)[1].decode()
        assert run.returncode in (3, 4, 5, 6), err
        assert "Traceback" not in err
        assert "internal error" not in err

    @pytest.mark.parametrize("stream", ["full", "closed", "a pipe nobody reads"])
    def test_stderr_changes_nothing(self, process, clip, tmp_path, stream) -> None:
        path = clip("x.mp4", frames=3)
        words = ("segment", path, "-o", f"{tmp_path}/out/", "--save", "csv")
        if stream == "full":
            with Path("/dev/full").open("wb") as full:
                run = process(*words, stderr=full)
        elif stream == "closed":
            run = process(*words, stderr=None, preexec_fn=_close_stderr)
        else:
            read, write = os.pipe()
            os.close(read)
            run = process(*words, stderr=write)
            os.close(write)
        run.communicate(timeout=60)
        assert run.returncode == 0
        assert (tmp_path / "out/x.csv").read_text().count("\n") == 4

    @pytest.mark.parametrize("command", ["info", "segment"])
    def test_stdout_that_is_closed(self, process, clip, tmp_path, command) -> None:
        path = clip("x.mp4", frames=3)
        more = () if command == "info" else ("-o", f"{tmp_path}/out/", "--save", "csv", "--json")
        run = process(command, path, *more, stdout=None, preexec_fn=_close_stdout)
        err = run.communicate(timeout=60)[1].decode()
        assert (run.returncode, err) == (0, "")


def _few_addresses() -> None:
    resource.setrlimit(resource.RLIMIT_AS, (700_000_000, 700_000_000))


def _few_files() -> None:
    resource.setrlimit(resource.RLIMIT_NOFILE, (5, 5))


def _close_stderr() -> None:
    os.close(2)


def _close_stdout() -> None:
    os.close(1)


@pytest.mark.parametrize(
    ("problem", "kind", "says"),
    [
        (MemoryError(), DeviceError, "x: out of memory; lower --size"),
        (RuntimeError("can't start new thread"), DeviceError, "ulimit -u"),
        (ImportError("a.so: failed to map segment from shared object"), DeviceError, "ulimit -v"),
        (
            ValueError("OpenCV: (-4:Insufficient memory) Failed to allocate 9"),
            DeviceError,
            "out of",
        ),
        (OSError(errno.EMFILE, "Too many open files", "a"), DeviceError, "ulimit -n"),
        (OSError(errno.ENOMEM, "Cannot allocate memory"), DeviceError, "out of memory"),
        (PermissionError(errno.EACCES, "Permission denied", "d/a"), InputError, "d/a: Permission"),
        (OSError(errno.ELOOP, "Too many levels", "a"), InputError, "a: Too many levels; check"),
        (OSError(errno.EIO, "Input/output error", b"a"), InputError, "a: Input/output error"),
        (OSError(errno.ENOSPC, "No space left", "a"), OutputError, "a: No space left; make room"),
        (OSError(errno.EROFS, "Read-only", "a"), OutputError, "a: Read-only; make room"),
        (OSError("odd"), VidparseError, "x: internal error: OSError: odd; run again with --debug"),
        (KeyError(), VidparseError, "x: internal error: KeyError: no reason given; "),
        (UsageError("as it is"), UsageError, "as it is"),
    ],
)
def test_any_failure_is_one_line(problem, kind, says) -> None:
    error = expected(problem, "x")
    assert type(error) is kind
    assert says in str(error)
    assert "\n" not in str(error)
