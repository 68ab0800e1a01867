"""vidparse against the usual loop, whole processes in turn, so that drift hits all alike.

    python tests/benchmarks/compare_loops.py [clip.mp4] [--repeats 5] [--classes 11|124]

Without a clip a 1280x720 street scene is rendered. With 124 classes the bundled network gets a
124-way classifier made of noisy copies of its own, so that the winners and borders are realistic.
Both sides run the same float32 ONNX network at the same input size; times are of the loop, from
opening the video to closing the output, without imports and model loading.
"""

from __future__ import annotations

import argparse
import json
import statistics
import subprocess
import sys
import tempfile
from dataclasses import replace
from fractions import Fraction
from pathlib import Path

import numpy as np
import torch

from vidparse.export import export_onnx
from vidparse.hub import DEFAULT_MODEL, resolve
from vidparse.image import BT709, Rgb
from vidparse.labels import load_labels
from vidparse.models.checkpoint import load_network, read_description, save_checkpoint
from vidparse.models.description import metadata_of
from vidparse.video import VideoWriter, open_video

LOOP = Path(__file__).with_name("usual_loop.py")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("clip", nargs="?")
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--classes", type=int, choices=[11, 124], default=11)
    parser.add_argument("--frames", type=int, default=150, help="of the rendered scene")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        clip = Path(arguments.clip) if arguments.clip else render(folder, arguments.frames)
        model = str(widened(folder)) if arguments.classes == 124 else DEFAULT_MODEL
        compare(clip, model, folder, arguments.repeats)


def compare(clip: Path, model: str, folder: Path, repeats: int) -> None:
    """Run the three arms in turn and print medians and ratios."""
    onnx = str(Path(model).with_suffix(".onnx")) if model != DEFAULT_MODEL else model
    arms = {
        "vidparse": lambda: run_vidparse(clip, onnx, folder),
        "usual loop, onnx": lambda: run_loop(clip, model, folder, "onnx"),
        "usual loop, torch": lambda: run_loop(clip, model, folder, "torch"),
    }
    times: dict[str, list[float]] = {arm: [] for arm in arms}
    for _ in range(repeats):
        for arm, work in arms.items():
            times[arm].append(1000 * work())
    ours = times["vidparse"]
    print(f"{clip.name}, {model}: ms per frame over {repeats} repeats")
    for arm, values in times.items():
        ratio = statistics.median(theirs / own for theirs, own in zip(values, ours, strict=True))
        print(
            f"{arm:<18} median {statistics.median(values):7.1f}  "
            f"min {min(values):7.1f}  max {max(values):7.1f}  x vidparse {ratio:5.2f}"
        )


def run_vidparse(clip: Path, model: str, folder: Path) -> float:
    command = ["-m", "vidparse", "segment", str(clip), "-m", model, "--save", "overlay"]
    out = ["-o", str(folder / "ours.mp4"), "--overwrite", "--backend", "onnx", "--json"]
    record = json.loads(output_of([*command, *out]))["inputs"][0]
    return record["wall_s"] / record["frames"]


def run_loop(clip: Path, model: str, folder: Path, backend: str) -> float:
    weights = str(Path(model).with_suffix(".safetensors")) if model != DEFAULT_MODEL else model
    command = [str(LOOP), str(clip), str(folder / "theirs.mp4"), "--model", weights]
    record = json.loads(output_of([*command, "--backend", backend]))
    return record["seconds"] / record["frames"]


def output_of(command: list[str]) -> str:
    done = subprocess.run([sys.executable, *command], capture_output=True, text=True, check=False)
    if done.returncode:
        raise SystemExit(f"{command}: {done.stderr}")
    return done.stdout.strip().splitlines()[-1] if "usual_loop" in command[0] else done.stdout


def render(folder: Path, frames: int) -> Path:
    """The street scene as an H.264 file."""
    path = folder / "street.mp4"
    source = open_video(f"sample://street?frames={frames}&size=1280x720")
    info = replace(source.info, time_base=Fraction(1, 30), copied=())
    writer = VideoWriter(path, info, codec="libx264", container="mp4", pixel_format="yuv420p")
    for frame in source:
        image = frame.image
        writer.write(image.yuv420(BT709, False) if isinstance(image, Rgb) else image, frame.pts)
    writer.finish()
    return path


def widened(folder: Path) -> Path:
    """The bundled network with 124 outputs: noisy copies of its own 11 class vectors."""
    description = read_description(resolve(DEFAULT_MODEL).weights)
    network = load_network(description)
    tensors = dict(network.state_dict())
    labels, classes = load_labels("vspw"), len(description.labels)
    copies = torch.arange(len(labels)) % classes
    rng = np.random.default_rng(0)
    for layer in ("head.region.2", "head.classifier"):  # one score a class, and four a class
        weight, bias = tensors[f"{layer}.weight"], tensors[f"{layer}.bias"]
        wide = weight.unflatten(0, (classes, -1))[copies].flatten(0, 1)
        noise = torch.from_numpy(rng.standard_normal(wide.shape)).float()
        tensors[f"{layer}.weight"] = wide + 0.3 * weight.std() * noise
        tensors[f"{layer}.bias"] = bias.unflatten(0, (classes, -1))[copies].flatten(0, 1)
    path = folder / "wide.safetensors"
    metadata = metadata_of(
        arch=description.arch,
        config={**description.config, "classes": len(labels)},
        labels=labels,
        preprocess=description.preprocess,
        training={"note": "benchmark only"},
    )
    save_checkpoint(path, tensors, metadata)
    export_onnx(read_description(path), path.with_suffix(".onnx"), half_storage=False)
    return path


if __name__ == "__main__":
    main()
