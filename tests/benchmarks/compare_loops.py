"""vidparse against the usual loop and its peers, whole processes in turn: drift hits all alike.

    python tests/benchmarks/compare_loops.py [clip.mp4] [--repeats 5] [--classes 11|124]

Without a clip a 1280x720 street scene is rendered. With 124 classes the bundled network gets a
124-way classifier made of noisy copies of its own, so that the winners and borders are realistic.
vidparse, the usual loops and supervision run the same float32 network at the same input size;
"vidparse, int8" runs its int8 form, the default on CPUs with VNNI; the loops around transformers
and ultralytics run networks of these (see peer_loops.py). Times are of the loop, from opening the
video to closing the output, without imports and model loading. Peers that are not installed are
passed over: pip install transformers supervision ultralytics.

The floor is the least time that the CPU's work could take (`vidparse bench`).
"""

from __future__ import annotations

import argparse
import json
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Callable
from dataclasses import replace
from fractions import Fraction
from functools import partial
from importlib.metadata import PackageNotFoundError, version
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import torch

from vidparse.export import export_onnx
from vidparse.hub import DEFAULT_MODEL, resolve
from vidparse.image import BT709, Rgb
from vidparse.inference.devices import cpu_count
from vidparse.labels import Labels, load_labels
from vidparse.models.checkpoint import load_network, read_description, save_checkpoint
from vidparse.models.description import metadata_of
from vidparse.video import VideoWriter, open_video

LOOP = Path(__file__).with_name("usual_loop.py")
PEER_LOOP = LOOP.with_name("peer_loops.py")
PEERS = ("transformers", "supervision", "ultralytics")


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
        model = (
            str(widened(folder, load_labels("vspw"))) if arguments.classes == 124 else DEFAULT_MODEL
        )
        compare(clip, model, arguments.classes, folder, arguments.repeats)


def compare(clip: Path, model: str, classes: int, folder: Path, repeats: int) -> None:
    """Run all arms in turn and print medians and ratios."""
    onnx = onnx_of(model)
    loops = Loops(clip, model, str(onnx), classes, folder)
    arms: dict[str, Callable[[], float]] = {"vidparse": loops.vidparse}
    if model == DEFAULT_MODEL:  # which has an int8 form, the default on CPUs with VNNI
        arms["vidparse, int8"] = loops.vidparse_int8
    arms["usual loop, onnx"] = partial(loops.usual, "onnx")
    arms["usual loop, torch"] = partial(loops.usual, "torch")
    for peer in PEERS:
        if find_spec(peer) is not None:
            arms[f"{peer} {version(peer)}"] = partial(loops.peer, peer)
        else:
            print(f"{peer}: passed over, not installed here")

    times: dict[str, list[float]] = {arm: [] for arm in arms}
    floors = []
    for _ in range(repeats):
        for arm, work in [*arms.items()]:
            try:
                times[arm].append(1000 * work())
            except LoopError as error:  # a peer that cannot run here is no end of the others
                print(f"{arm}: passed over, {error}")
                del arms[arm], times[arm]
        floors.append(loops.floor_ratio())
    print_table(clip, onnx, repeats, times, floors)


def print_table(
    clip: Path, onnx: Path, repeats: int, times: dict[str, list[float]], floors: list[float]
) -> None:
    ours = times["vidparse"]
    libraries = ("vidparse", "onnxruntime", "onnxruntime-gpu", "torch", "opencv-python", "av")
    print(f"{clip.name}, {onnx.stem}: ms per frame over {repeats} repeats")
    print(f"{cpu_text()}; {', '.join(filter(None, map(version_text, libraries)))}")
    for arm, values in times.items():
        ratio = statistics.median(theirs / own for theirs, own in zip(values, ours, strict=True))
        print(
            f"{arm:<20} median {statistics.median(values):7.1f}  "
            f"min {min(values):7.1f}  max {max(values):7.1f}  x vidparse {ratio:5.2f}"
        )
    print(f"vidparse takes {statistics.median(floors):.2f} times its floor")


def cpu_text() -> str:
    """The CPUs that we may use, and what they have for networks."""
    path = Path("/proc/cpuinfo")
    flags = set(path.read_text(encoding="utf-8").split()) if path.is_file() else set()
    names = {"avx2": "AVX2", "avx512f": "AVX-512", "avx512_vnni": "VNNI", "avx_vnni": "VNNI"}
    found = dict.fromkeys(name for flag, name in names.items() if flag in flags)
    without = "" if "VNNI" in found else ", no VNNI"
    return f"{cpu_count()} CPUs ({', '.join(found) or 'features unknown'}{without})"


def version_text(package: str) -> str:
    """Name and version; "" of what is not installed."""
    try:
        return f"{package} {version(package)}"
    except PackageNotFoundError:
        return ""


class LoopError(Exception):
    """An arm cannot run here."""


class Loops:
    """The arms on one clip, each in a process of its own; their results are seconds per frame.

    Args:
        model: name or .safetensors file. onnx: the same network as ONNX.
    """

    def __init__(self, clip: Path, model: str, onnx: str, classes: int, folder: Path) -> None:
        self._clip, self._model, self._onnx = str(clip), model, onnx
        self._classes, self._folder = classes, folder

    def vidparse(self) -> float:
        return self._segment("-m", self._onnx)

    def vidparse_int8(self) -> float:
        return self._segment("-m", self._model, "--precision", "int8")

    def _segment(self, *model: str) -> float:
        words = ["segment", self._clip, *model, "--save", "overlay", "--json"]
        out = ["-o", f"{self._folder}/ours.mp4", "--overwrite", "--backend", "onnx"]
        record = json.loads(output_of(["-m", "vidparse", *words, *out]))["inputs"][0]
        return record["wall_s"] / record["frames"]

    def usual(self, backend: str) -> float:
        command = [str(LOOP), self._clip, f"{self._folder}/theirs.mp4", "--model", self._model]
        return seconds_of([*command, "--backend", backend])

    def peer(self, name: str) -> float:
        command = [str(PEER_LOOP), name, self._clip, f"{self._folder}/{name}.mp4"]
        return seconds_of([*command, "--model", self._onnx, "--classes", str(self._classes)])

    def floor_ratio(self) -> float:
        """Wall time of vidparse over the least that its CPU work could take."""
        words = ["bench", self._clip, "-m", self._onnx, "--backend", "onnx", "--repeats", "1"]
        return json.loads(output_of(["-m", "vidparse", *words, "--json"]))["floor_ratio"]


def seconds_of(command: list[str]) -> float:
    """Seconds per frame of a script that prints them in its last line."""
    record = json.loads(output_of(command).strip().splitlines()[-1])
    return record["seconds"] / record["frames"]


def output_of(command: list[str]) -> str:
    """Raises: LoopError: the process fails; with its last line."""
    done = subprocess.run([sys.executable, *command], capture_output=True, text=True, check=False)
    if done.returncode:
        lines = done.stderr.strip().splitlines() or ["without a word"]
        raise LoopError(f"it fails: {lines[-1]}")
    return done.stdout


def onnx_of(model: str) -> Path:
    """The ONNX file of a known name, or beside a .safetensors file."""
    if model == DEFAULT_MODEL:
        found = resolve(model).onnx
        assert found is not None
        return found
    return Path(model).with_suffix(".onnx")


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


def widened(folder: Path, labels: Labels) -> Path:
    """The bundled network with an output per label: noisy copies of its own 11 class vectors."""
    description = read_description(resolve(DEFAULT_MODEL).weights)
    network = load_network(description)
    tensors = dict(network.state_dict())
    classes = len(description.labels)
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
