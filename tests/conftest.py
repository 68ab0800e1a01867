"""Clips made at test time, and the real ffmpeg where the machine has it."""

from __future__ import annotations

import io
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import numpy as np
import pytest

if signal.getsignal(signal.SIGINT) == signal.SIG_IGN:
    # A shell starts background jobs so, and programs that are told to ignore Ctrl-C do ignore it.
    signal.signal(signal.SIGINT, signal.default_int_handler)


def picture(index: int, size_hw: tuple[int, int] = (48, 64)) -> np.ndarray:
    """RGB uint8 (H, W, 3): a ramp, a square that moves, and a patch whose grey tells the index."""
    height, width = size_hw
    rows, columns = np.mgrid[:height, :width]
    image = np.stack([columns * 255 // width, rows * 255 // height, rows * 0 + 90], -1)
    image = image.astype(np.uint8)
    x, y = (index * 3) % max(1, width - 8), (index * 2) % max(1, height - 8)
    image[y : y + 8, x : x + 8] = (230, 40, 40)
    image[:8, :8] = 40 + index * 5 % 180
    return image


def _add_audio(container: Any, seconds: float, codec: str) -> Any:
    stream = container.add_stream(codec, rate=48000, options={"strict": "-2"})
    stream.codec_context.layout = "stereo" if codec == "vorbis" else "mono"

    def frames():
        for start in range(0, int(seconds * 48000), 1024):
            tone = np.sin(np.arange(start, start + 1024) * 0.05).astype(np.float32)[None]
            frame = av.AudioFrame.from_ndarray(tone * 0.3, format="fltp", layout="mono")
            frame.sample_rate, frame.pts = 48000, start
            frame.time_base = Fraction(1, 48000)
            yield frame

    return stream, frames


def make_clip(
    path: Path,
    *,
    frames: int = 25,
    size_hw: tuple[int, int] = (48, 64),
    rate: Fraction | int = 25,
    pts: Sequence[int] | None = None,
    time_base: Fraction | None = None,
    codec: str = "libx264",
    pixel_format: str = "yuv420p",
    container: str | None = None,
    options: dict[str, str] | None = None,
    movflags: str | None = None,
    colour: tuple[int, int, int, int] | None = None,
    aspect: Fraction | None = None,
    audio: bool | str = False,
    turn: int = 0,
    metadata: dict[str, str] | None = None,
) -> Path:
    """Write a small clip of `picture`s.

    Args:
        pts: one a frame, in `time_base`; even steps at `rate` unless given.
        audio: a tone as long as the video, in AAC or the codec that is named.
        colour: H.273 matrix, primaries, transfer, and range (1 limited, 2 full).
        turn: degrees counter-clockwise for the display matrix.
    """
    rate = Fraction(rate)
    if time_base is None:
        time_base = 1 / rate if pts is None else Fraction(1, 90000)
    stamps = list(pts) if pts is not None else [int(i / rate / time_base) for i in range(frames)]
    flags = {} if movflags is None else {"movflags": movflags}
    with av.open(str(path), "w", format=container, container_options=flags) as output:
        output.metadata.update(metadata or {})
        preset = {"preset": "ultrafast", "qp": "0"} if codec == "libx264" else {}
        stream = output.add_stream(codec, rate=rate, options={**preset, **(options or {})})
        context: Any = stream.codec_context
        context.height, context.width = size_hw
        context.pix_fmt = pixel_format
        context.time_base = stream.time_base = time_base
        context.thread_count = 3  # the same bytes on every machine
        if aspect is not None:
            context.sample_aspect_ratio = aspect
        if colour is not None:
            context.colorspace, context.color_primaries = colour[0], colour[1]
            context.color_trc, context.color_range = colour[2], colour[3]
        if turn:
            stream.set_display_rotation(turn)
        sound, sounds = None, None
        if audio:
            wanted = audio if isinstance(audio, str) else "aac"
            sound, sounds = _add_audio(output, float(stamps[-1] * time_base), wanted)
        for index, stamp in enumerate(stamps):
            frame = av.VideoFrame.from_ndarray(picture(index, size_hw), format="rgb24")
            spread = None if colour is None else colour[3]
            frame = frame.reformat(format=pixel_format, dst_color_range=spread)
            frame.pts, frame.time_base = stamp, time_base
            output.mux(stream.encode(frame))
        output.mux(stream.encode(None))
        if sounds is not None:
            for frame in sounds():
                output.mux(sound.encode(frame))
            output.mux(sound.encode(None))
    return path


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


def save_colour_model(path: Path, names: str) -> Path:
    """An ONNX model that any machine runs in no time: a pixel's class depends on its colour.

    Blocks of 8x8 pixels are averaged and each class scored by a linear function.
    """
    import onnx
    from onnx import TensorProto, helper, numpy_helper

    from vidparse.labels import load_labels
    from vidparse.models.description import Preprocess, metadata_of

    labels = load_labels(names)
    scores = [1, len(labels), "rows", "columns"]
    weights = np.random.default_rng(5).standard_normal((len(labels), 3, 1, 1)).astype(np.float32)
    graph = helper.make_graph(
        [
            helper.make_node(
                "AveragePool", ["clip"], ["pooled"], kernel_shape=[8, 8], strides=[8, 8]
            ),
            helper.make_node("Conv", ["pooled", "weights"], ["logits"]),
        ],
        "colours",
        [helper.make_tensor_value_info("clip", TensorProto.FLOAT, [1, 3, "height", "width"])],
        [helper.make_tensor_value_info("logits", TensorProto.FLOAT, scores)],
        [numpy_helper.from_array(weights, "weights")],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=9)
    metadata = metadata_of(
        arch="colours",
        config={},
        labels=labels,
        preprocess=Preprocess(short_side=96),
        training={},
    )
    helper.set_model_props(model, metadata)
    onnx.save(model, path)
    return path


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
    from tiny_transformers import MAKERS

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


@dataclass(frozen=True, slots=True)
class Said:
    """What a command ended with."""

    code: int
    out: bytes
    err: str

    @property
    def lines(self) -> list[str]:
        return self.err.splitlines()


@pytest.fixture
def cli(
    monkeypatch: pytest.MonkeyPatch, capfdbinary: pytest.CaptureFixture[bytes], colour_model: Path
) -> Callable[..., Said]:
    """`cli("segment", clip, "-o", folder)`: the command line inside this process.

    `segment` runs the model of `colour_model`; `stdin` is a file, or bytes.
    """

    def run(*arguments: Any, stdin: Path | bytes | None = None) -> Said:
        from vidparse.cli.app import app
        from vidparse.cli.failure import exit_code_of, log_to_stderr

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
        return Said(code, out, err.decode())

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
