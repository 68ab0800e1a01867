"""Clips made at test time, and the real ffmpeg where the machine has it."""

from __future__ import annotations

import io
import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest

from support.clips import make_clip
from support.colour_model import save_colour_model
from support.commands import Finished
from support.exports_once import share_exports
from vidparse.inference.devices import cuda_device_count
from vidparse.limits import Limits

# Let Triton interpret kernels where no GPU is. It looks once, as whatever imports it first does so.
if not cuda_device_count():
    os.environ.setdefault("TRITON_INTERPRET", "1")


def _keep_to_share(number: int, count: int) -> None:
    """Leave this process, and what it starts, its part of the CPUs of `count` test processes.

    The program takes a thread per CPU that it may use; threads of several processes on one CPU
    spend most of its time on waiting for each other.
    """
    os.environ.setdefault("OMP_NUM_THREADS", "1")
    if hasattr(os, "sched_setaffinity"):
        cpus = sorted(os.sched_getaffinity(0))
        os.sched_setaffinity(0, cpus[number % len(cpus) :: count])


if "PYTEST_XDIST_WORKER" in os.environ:
    _keep_to_share(
        int(os.environ["PYTEST_XDIST_WORKER"].removeprefix("gw")),
        int(os.environ["PYTEST_XDIST_WORKER_COUNT"]),
    )

if signal.getsignal(signal.SIGINT) == signal.SIG_IGN:
    # A shell starts background jobs so, and programs that start with Ctrl-C ignored do ignore it.
    signal.signal(signal.SIGINT, signal.default_int_handler)


# Files that take longest. Begun first, none of them is left to one of several processes at the end.
LONGEST = ("test_distributed.py", "test_documents.py", "test_cli_train.py")


def pytest_configure(config: pytest.Config) -> None:
    """Let xdist take files in our order, and not those with the most tests first."""
    if hasattr(config.option, "loadscopereorder"):
        config.option.loadscopereorder = False


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    items.sort(key=lambda item: item.path.name not in LONGEST)


@pytest.fixture(autouse=True)
def _without_vnni(monkeypatch: pytest.MonkeyPatch) -> None:
    """No CPU has VNNI, so that models compute in fp32 and answer alike on every machine."""
    monkeypatch.setattr("vidparse.inference.devices.CPU_FACTS", Path(os.devnull))


@pytest.fixture(scope="session", autouse=True)
def _exports_once(tmp_path_factory: pytest.TempPathFactory) -> None:
    """All tests of a run, also those of other processes, export a network once."""
    base = tmp_path_factory.getbasetemp()
    share_exports((base.parent if "PYTEST_XDIST_WORKER" in os.environ else base) / "exports")


@pytest.fixture(autouse=True)
def _limits_of_a_new_process() -> Iterator[None]:
    """End the limits that a test sets with it: `cli` runs commands inside this process."""
    before = Limits.of_this_process()
    yield
    before.set_here()


@pytest.fixture
def without_repeats(monkeypatch: pytest.MonkeyPatch) -> Callable[[], None]:
    """Call it, and no frame is found to repeat any more."""

    def switch() -> None:
        preparing = "vidparse.inference.preparing"
        monkeypatch.setattr(f"{preparing}.same_bytes", lambda a, b: False)
        monkeypatch.setattr(f"{preparing}.LastPicture.repeats", lambda self, image: False)

    return switch


@pytest.fixture
def clip(tmp_path: Path) -> Callable[..., Path]:
    """`clip("name.mp4", frames=10, ...)`: see `make_clip`."""
    return lambda name, **wishes: make_clip(tmp_path / name, **wishes)


def _tool(name: str) -> str:
    found = shutil.which(name)
    if found is None:
        pytest.skip(f"{name} is not installed here")
    return found


@pytest.fixture
def ffmpeg() -> Callable[..., bytes]:
    """Run the real ffmpeg with these arguments; its standard output."""
    program = _tool("ffmpeg")

    def run(*arguments: Any, stdin: bytes | None = None) -> bytes:
        command = [program, "-v", "error", "-nostdin", "-y", *map(str, arguments)]
        if stdin is not None:
            command.remove("-nostdin")
        return subprocess.run(command, input=stdin, capture_output=True, check=True).stdout

    return run


@pytest.fixture
def ffprobe() -> Callable[..., list[str]]:
    """Run the real ffprobe; the lines it prints as compact values."""
    program = _tool("ffprobe")

    def run(path: Path, *arguments: str) -> list[str]:
        command = [program, "-v", "error", *arguments, "-of", "csv=p=0", str(path)]
        text = subprocess.run(command, capture_output=True, check=True, text=True).stdout
        return [line.strip().rstrip(",") for line in text.splitlines() if line.strip(" ,")]

    return run


@pytest.fixture
def real_clips() -> Path:
    """The folder of real clips beside the checkout, where there is one."""
    folder = Path(__file__).resolve().parents[2] / "shared" / "data" / "videos"
    if not folder.is_dir():
        pytest.skip("no real clips beside the checkout")
    return folder


@pytest.fixture(scope="session")
def colour_model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The model of `save_colour_model`, of CamVid's 11 classes."""
    return save_colour_model(tmp_path_factory.mktemp("model") / "colours.onnx", "camvid")


@pytest.fixture(scope="module")
def one_thread() -> Iterator[None]:
    """torch on one thread, for the many small networks of a module."""
    import torch

    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


@pytest.fixture(scope="module")
def checkpoints(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Path]:
    """`checkpoints("mask2former")`: a folder with a small untrained network, made once."""
    from support.tiny_transformers import MAKERS

    made: dict[str, Path] = {}

    def folder(kind: str) -> Path:
        if kind not in made:
            made[kind] = tmp_path_factory.mktemp("hub") / f"tiny-{kind}"
            MAKERS[kind](made[kind])
        return made[kind]

    return folder


@pytest.fixture(scope="session")
def tiny_weights(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A real network of the zoo, small and untrained, whose scores differ from place to place."""
    import torch

    from vidparse.labels import load_labels
    from vidparse.models.checkpoint import save_checkpoint
    from vidparse.models.description import Preprocess, metadata_of
    from vidparse.models.zoo import build, config_of

    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    torch.manual_seed(1)
    config = {"classes": 11, "backbone": "resnet18", "output_stride": 16, "width": 16}
    network = build("perframe", config | {"auxiliary": False})
    for module in network.modules():
        if isinstance(module, torch.nn.BatchNorm2d):
            module.momentum = None  # statistics of what it sees below, so that layers stay awake
    blocks = torch.randn(8, 3, 12, 12).repeat_interleave(8, 2).repeat_interleave(8, 3)
    with torch.no_grad():
        network.train().step(blocks)
    torch.set_num_threads(threads)
    path = tmp_path_factory.mktemp("tiny") / "tiny.safetensors"
    metadata = metadata_of(
        arch="perframe",
        config=config_of(network),
        labels=load_labels("camvid"),
        preprocess=Preprocess(short_side=96),
        training={},
    )
    save_checkpoint(path, network.state_dict(), metadata)
    return path


@pytest.fixture
def cli(
    monkeypatch: pytest.MonkeyPatch, capfdbinary: pytest.CaptureFixture[bytes], colour_model: Path
) -> Callable[..., Finished]:
    """`cli("segment", clip, "-o", folder)`: the command line inside this process.

    `segment` runs the model of `colour_model`; `stdin` is a file, or bytes.
    """

    def run(*arguments: Any, stdin: Path | bytes | None = None) -> Finished:
        from vidparse.cli.app import app
        from vidparse.cli.process import exit_code_of, log_to_stderr

        words = [str(argument) for argument in arguments]
        if words[0] == "segment" and not {"-m", "--model"} & set(words):
            words[1:1] = ["-m", str(colour_model), "--threads", "1"]
        monkeypatch.setattr("sys.argv", ["vidparse", *words])
        data = stdin.read_bytes() if isinstance(stdin, Path) else stdin or b""
        monkeypatch.setattr("sys.stdin", io.TextIOWrapper(io.BytesIO(data)))
        log_to_stderr(debug=False)
        capfdbinary.readouterr()
        code = exit_code_of(app, debug=False)
        out, err = capfdbinary.readouterr()
        return Finished(code, out, err.decode())

    return run


@pytest.fixture
def process(colour_model: Path) -> Callable[..., subprocess.Popen[bytes]]:
    """Start the command line as a process of its own; as `cli`, but with Popen's keywords."""

    def start(
        *arguments: Any, python: Sequence[str] = (), **wishes: Any
    ) -> subprocess.Popen[bytes]:
        words = [str(argument) for argument in arguments]
        if words[:1] == ["segment"] and not {"-m", "--model"} & set(words):
            words[1:1] = ["-m", str(colour_model), "--threads", "1"]
        wishes = {"stdin": subprocess.DEVNULL, "stdout": subprocess.PIPE} | wishes
        wishes = {"stderr": subprocess.PIPE, "preexec_fn": _heed_interrupts} | wishes
        return subprocess.Popen([sys.executable, *python, "-m", "vidparse", *words], **wishes)

    return start


def _heed_interrupts() -> None:
    """A shell that runs tests in the background lets them ignore Ctrl-C, and so their children."""
    signal.signal(signal.SIGINT, signal.default_int_handler)
