"""Fingerprints of what `segment` writes and `eval` scores, to compare two states of the code.

    python tests/benchmarks/fingerprints.py after.json --against before.json [--data shared/data]

`before.json` is this script's output in another checkout (run there as PYTHONPATH=CHECKOUT).
Every case runs the command line serially on one thread, on rendered scenes. What is compared is
decoded: planes and time stamps of videos, pixels of pictures, records without the command that made
them, so that a container's muxer version or a PNG's compression does not count. Scores need the
data folder and are left out without it.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import av
import numpy as np
from PIL import Image

STREET = "sample://street?frames=24&size=640x360&seed=3"
CROWD = "sample://crowd?frames=24&size=480x270&seed=5&rate=30000/1001"
TIMES = ("seconds", "wall_s")  # of an evaluation, which no two runs share
ALL = "overlay,masks,mask-video,jsonl,csv,vspw,vipseg"
SEGMENT: dict[str, list[str]] = {
    "default": [STREET, "--save", ALL],
    "crowd, looks": [CROWD, "--save", ALL, "--contours", "--rle", "--opacity", "0.7"],
    "tcb": [STREET, "--save", ALL, "-m", "street-tcb"],
    "everyday": [
        CROWD,
        "--save",
        "masks,mask-video,jsonl,csv,vspw,vipseg",
        "-m",
        "everyday-student",
    ],
    "stabilize": [STREET, "--save", ALL, "--stabilize"],
    "tcb, torch": [STREET, "--save", "masks,jsonl", "-m", "street-tcb", "--backend", "torch"],
    "range": [STREET, "--save", "masks,jsonl", "--start", "0.2", "--end", "0.7", "--stride", "3"],
    "classes": [STREET, "--save", "masks,jsonl,csv", "--classes", "Car,Pedestrian"],
}
EVAL: dict[str, list[str]] = {
    "camvid val": ["--dataset", "camvid", "--data", "DATA/camvid", "--split", "val",
                   "--metrics", "miou,vc8,vc16,tc,boundary"],
    "camvid val, tcb": ["--dataset", "camvid", "--data", "DATA/camvid", "--split", "val",
                        "-m", "street-tcb", "--metrics", "miou,vc8,tc"],
    "davis truth": ["--dataset", "davis", "--data", "DATA/davis16",
                    "--pred", "DATA/davis16/Annotations/480p", "--metrics", "miou,jf"],
    "street rendered": ["--dataset", STREET, "--metrics", "miou,vc8,tc"],
}  # fmt: skip


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("out", type=Path)
    parser.add_argument("--against", type=Path, help="fingerprints to be equal to")
    parser.add_argument("--data", type=Path, default=Path("../shared/data"))
    parser.add_argument("--only", default="", help="cases whose name holds this text")
    arguments = parser.parse_args()

    found: dict[str, Any] = {}
    for name, command in SEGMENT.items():
        if arguments.only in name:
            found[f"segment: {name}"] = segment(command)
            print(name, file=sys.stderr)
    for name, command in EVAL.items() if arguments.data.is_dir() else ():
        if arguments.only in name:
            found[f"eval: {name}"] = evaluate(command, arguments.data)
            print(name, file=sys.stderr)
    arguments.out.write_text(json.dumps(found, indent=1, sort_keys=True), encoding="utf-8")

    if arguments.against is None:
        return 0
    before = json.loads(arguments.against.read_text(encoding="utf-8"))
    differences = list(compare(before, found))
    print(*differences, sep="\n")
    print(f"{len(found)} cases, {len(differences)} differences")
    return 1 if differences else 0


def segment(command: list[str]) -> dict[str, str]:
    """sha256 of every output's content, by its name below the output folder."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        vidparse("segment", *command, "-o", f"{folder}/", "--serial", "--threads", "1", "--quiet")
        files = sorted(path for path in folder.rglob("*") if path.is_file())
        return {path.relative_to(folder).as_posix(): content(path) for path in files}


def evaluate(command: list[str], data: Path) -> Any:
    """All numbers of an evaluation, as printed for programs."""
    places = [one.replace("DATA", str(data)) for one in command]
    with tempfile.TemporaryDirectory() as cache:
        out = vidparse("eval", *places, "--threads", "1", "--json", VIDPARSE_CACHE=cache)
    return numbers(json.loads(out))


def vidparse(*words: str, **environment: str) -> str:
    """Standard output of the command line; a failure ends the comparison."""
    done = subprocess.run(
        [sys.executable, "-m", "vidparse", *words],
        capture_output=True,
        text=True,
        env={**os.environ, **environment},
    )
    if done.returncode:
        raise SystemExit(f"vidparse {' '.join(words)}: exit {done.returncode}\n{done.stderr}")
    return done.stdout


def content(path: Path) -> str:
    """sha256 of what a file holds, whatever way it is packed."""
    digest = hashlib.sha256()
    if path.suffix == ".png":
        picture = np.asarray(Image.open(path))
        digest.update(f"{picture.shape} {picture.dtype}".encode() + picture.tobytes())
    elif path.suffix in (".mp4", ".mkv"):
        with av.open(str(path)) as container:
            for frame in container.decode(video=0):
                stamp = f"{frame.pts * frame.time_base} {frame.width}x{frame.height}"
                digest.update(stamp.encode() + frame.to_ndarray().tobytes())
    elif path.suffix == ".jsonl":
        for line in path.read_text(encoding="utf-8").splitlines():
            record = json.loads(line)
            record.pop("argv", None)  # names a temporary folder
            digest.update(json.dumps(record, sort_keys=True).encode())
    else:
        digest.update(path.read_bytes())
    return digest.hexdigest()


def numbers(record: Any) -> Any:
    """The numbers of a JSON record under their names; texts, paths and times are left out."""
    if isinstance(record, dict):
        kept = {name: numbers(value) for name, value in record.items() if name not in TIMES}
        return {name: value for name, value in kept.items() if value not in (None, {}, [])}
    if isinstance(record, list):
        return [numbers(value) for value in record]
    return repr(record) if isinstance(record, float | int) else None


def compare(before: Any, after: Any, place: str = "") -> Iterator[str]:
    """One line per leaf that differs or that one side lacks."""
    if isinstance(before, dict) and isinstance(after, dict):
        for name in sorted({*before, *after}):
            yield from compare(before.get(name), after.get(name), f"{place} / {name}".strip(" /"))
    elif before != after:
        yield f"{place}: {str(before)[:60]} -> {str(after)[:60]}"


if __name__ == "__main__":
    raise SystemExit(main())
