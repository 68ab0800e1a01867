"""Decoding, network and whole runs on a CUDA device, as one table.

    python tests/benchmarks/bench_gpu.py clip.mp4 --frames 2400

The clip is repeated and encoded as H.264 of 1280x720 and 1920x1080, a key frame per 60 frames, for
which this needs no GPU. Rates leave out the first frames of a run, in which libraries are loaded
and the network is captured: `start` has their time. `busy` is the share of time in which a kernel
ran, as the driver counts it. `ratio` is jsonl to the slower of decoding and network. `CPU` is the
share of pixels with the class that the CPU gives them in fp32, over half a second.
"""

from __future__ import annotations

import argparse
import itertools
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import torch

from vidparse.batch import Silent
from vidparse.frame import Frame
from vidparse.inference import Session, load_model
from vidparse.inference.gpu import gpu_of
from vidparse.inference.runners import Runner
from vidparse.requests.segment import SegmentOptions
from vidparse.run import segment
from vidparse.video import nvdec, open_video

SIZES_HW = ((720, 1280), (1080, 1920))
SEGFORMER = "segformer-b0"
MODELS = ("street-student", "street-tcb", SEGFORMER)
SAVES = ("jsonl", "masks", "overlay")
WARM = 300  # frames of a run that are not counted


def encode(source: Path, target: Path, size_hw: tuple[int, int], frames: int) -> None:
    with av.open(str(target), "w") as output:
        stream = output.add_stream("libx264", rate=30)
        stream.height, stream.width, stream.pix_fmt = *size_hw, "yuv420p"
        stream.options = {"preset": "veryfast", "g": "60", "crf": "23"}
        for number, picture in enumerate(itertools.islice(_looped(source), frames)):
            frame = picture.reformat(size_hw[1], size_hw[0], "yuv420p")
            frame.pts, frame.time_base = number, Fraction(1, 30)
            output.mux(stream.encode(frame))
        output.mux(stream.encode())


def _looped(source: Path) -> Iterator[av.VideoFrame]:
    while True:
        with av.open(str(source)) as container:
            container.streams.video[0].thread_type = "AUTO"
            yield from container.decode(video=0)


class Stopwatch(Silent):
    """Frames per second behind the first WARM frames, and the time of these."""

    def __init__(self) -> None:
        self.begun = self.warm = self.last = time.perf_counter()
        self.frames = 0

    def frame(self, frame: Frame) -> None:
        self.frames += 1
        self.last = time.perf_counter()
        if self.frames == WARM:
            self.warm = self.last

    @property
    def fps(self) -> float:
        return max(self.frames - WARM, 0) / max(self.last - self.warm, 1e-9)


@contextmanager
def busy(shares: list[int]) -> Iterator[None]:
    """Gathers the share of time, in percent, in which the device was busy, ten times a second."""
    over = threading.Event()

    def watch() -> None:
        while not over.wait(0.1):
            shares.append(torch.cuda.utilization())

    thread = threading.Thread(target=watch, daemon=True)
    thread.start()
    try:
        yield
    finally:
        over.set()
        thread.join()


def decode_fps(path: Path, device: int | None, decoders: int) -> float:
    nvdec.DECODERS = decoders  # type: ignore[misc]
    watch = Stopwatch()
    with open_video(path, copy_streams=False, device=device) as source:
        for frame in source:
            watch.frame(frame)
    return watch.fps


def network_fps(runner: Runner, size_hw: tuple[int, int]) -> float:
    """The network alone, from its input to ids at full size."""
    from vidparse.inference.gpu.session import BATCH, GpuSession  # needs Triton

    input_hw = Session(runner).input_size(size_hw)
    if gpu_of(runner, {}) is not None:
        batch = 1 if runner.remembers else BATCH
        network = GpuSession(runner).captured(input_hw, size_hw, batch)
        network.input.normal_()
        return batch * _per_second(network.run)

    # Time others as the session runs them, from the host and back.
    clip = np.random.default_rng(0).normal(size=(1, runner.batch, 3, *input_hw))
    clip = clip.astype(np.float32)
    return runner.batch * _per_second(lambda: runner.answer(clip, size_hw))


def _per_second(step: Callable[[], object]) -> float:
    for _ in range(20):
        step()
    torch.cuda.synchronize()
    begun, count = time.perf_counter(), 200
    for _ in range(count):
        step()
    torch.cuda.synchronize()
    return count / (time.perf_counter() - begun)


def agreement(name: str, path: Path) -> float:
    """Share of pixels with the class that the CPU gives in fp32, over half a second."""
    from vidparse.inference.gpu.session import GpuSession

    fast = load_model(name, backend="torch")
    device = gpu_of(fast, {})
    with open_video(path, end_s=0.5, copy_streams=False, device=device) as source:
        session = Session(fast) if device is None else GpuSession(fast)
        stages = session.answered(session.prepared(source), live=False)
        ours = [found.ids.copy() for _, found in session.finished(stages)]
    with open_video(path, end_s=0.5, copy_streams=False) as source:
        slow = load_model(name, backend="torch", device="cpu", precision="fp32")
        theirs = [found.ids for _, found in Session(slow).run(source)]
    return float(np.mean([(a == b).mean() for a, b in zip(ours, theirs, strict=True)]))


def segformer(folder: Path) -> str:
    """A checkpoint of SegFormer-B0's size with random weights and 11 classes."""
    from transformers import (
        SegformerConfig,
        SegformerForSemanticSegmentation,
        SegformerImageProcessorPil,
    )

    names = {number: f"class {number}" for number in range(11)}
    SegformerForSemanticSegmentation(SegformerConfig(id2label=names)).save_pretrained(folder)
    SegformerImageProcessorPil(size={"height": 512, "width": 512}).save_pretrained(folder)
    return str(folder)


def run_row(
    model: str, name: str, path: Path, size_hw: tuple[int, int], decode: float, frames: int
) -> None:
    runner = load_model(name, backend="torch")
    network = network_fps(runner, size_hw)
    rates, starts, shares = [], [], []
    for save in SAVES:
        watch = Stopwatch()
        end_s = None if save == "jsonl" else min(frames, WARM + 600) / 30
        with tempfile.TemporaryDirectory() as folder, busy(shares if save == "jsonl" else []):
            options = SegmentOptions(
                model=name, backend="torch", save=save, out=f"{folder}/", end_s=end_s
            )
            summary = segment(path, options, watcher=watch)
        if summary.inputs[0].error is not None:
            raise summary.inputs[0].error
        rates.append(watch.fps)
        starts.append(watch.warm - watch.begun)
    ratio = rates[0] / min(decode, network)
    same = 100 * agreement(name, path)
    print(
        f"| {model} | {size_hw[1]}x{size_hw[0]} | {decode:.0f} | {network:.0f} | "
        + " | ".join(f"{rate:.0f}" for rate in rates)
        + f" | {ratio:.2f} | {np.median(shares or [0]):.0f} % | {starts[0]:.1f} s | {same:.2f} % |",
        flush=True,
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("clip", type=Path)
    parser.add_argument("--frames", type=int, default=2400)
    parser.add_argument("--models", default=",".join(MODELS))
    options = parser.parse_args()

    print(f"{torch.cuda.get_device_name()}, PyTorch {torch.__version__}, PyAV {av.__version__}\n")
    decoders = nvdec.DECODERS
    with tempfile.TemporaryDirectory() as folder:
        paths = {}
        for size_hw in SIZES_HW:
            paths[size_hw] = Path(folder, f"{size_hw[0]}.mp4")
            encode(options.clip, paths[size_hw], size_hw, options.frames)

        print(
            "| decoding, frames per second | CPU | 1 decoder | 2 | 4 | 7 |\n" + "| --- " * 6 + "|"
        )
        slowest, fastest = {}, {}
        for size_hw, path in paths.items():
            found = [decode_fps(path, None, 1)]
            found += [decode_fps(path, 0, count) for count in (1, 2, 4, 7)]
            print(
                f"| {size_hw[1]}x{size_hw[0]} | " + " | ".join(f"{fps:.0f}" for fps in found) + " |"
            )
            slowest[size_hw] = found[0]
            fastest[size_hw] = decode_fps(path, 0, decoders)
        nvdec.DECODERS = decoders  # type: ignore[misc]

        columns = ("model", "frames", "decode", "network", *SAVES, "ratio", "busy", "start", "CPU")
        print("\n| " + " | ".join(columns) + " |\n" + "| --- " * len(columns) + "|")
        for model in options.models.split(","):
            name = segformer(Path(folder, model)) if model == SEGFORMER else model
            for size_hw, path in paths.items():
                # Hold it against the decoder that it uses: networks of transformers use the CPU's.
                decode = slowest[size_hw] if model == SEGFORMER else fastest[size_hw]
                run_row(model, name, path, size_hw, decode, options.frames)


if __name__ == "__main__":
    main()
