"""A data set of your own: made, checked, trained on and scored.

    python examples/own_dataset.py MINE [--set steps_per_epoch=100 ...]

Two kinds of things move over a meadow: balls and boxes. Put your own pictures and masks in place of
`draw`; the rest stays. Further words go to `vidparse train`.
"""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw

CLASSES = ("meadow", "ball", "box")  # in the order of their ids
COLOURS = ((60, 120, 40), (220, 60, 50), (70, 90, 200))
SIZE = (160, 120)  # width, height
VIDEOS = {"train": ("one", "two", "three"), "val": ("four",)}
FRAMES = 8


def main(root: Path, options: list[str]) -> None:
    for split, videos in VIDEOS.items():
        for number, video in enumerate(videos):
            for index in range(FRAMES):
                picture, mask = draw(index, seed=len(split) * 10 + number)
                save(picture, root / split / "images" / video / f"{index:03d}.png")
                save(mask, root / split / "masks" / video / f"{index:03d}.png")

    classes = [
        {"name": name, "thing": name != "meadow", "colour": colour}
        for name, colour in zip(CLASSES, COLOURS, strict=True)
    ]
    (root / "labels.json").write_text(json.dumps({"name": "toys", "classes": classes}))

    data = ["--dataset", "folder", "--data", str(root)]
    vidparse("data", "check", str(root))
    vidparse("train", *data, "--init", "street-student", "-o", str(root / "run"), *options)
    vidparse("eval", *data, "-m", str(root / "run" / "best.safetensors"))


def draw(index: int, *, seed: int) -> tuple[Image.Image, Image.Image]:
    """A picture, and its mask: the class id of every pixel, 255 where nobody knows."""
    rng = np.random.default_rng(seed)
    picture = Image.new("RGB", SIZE, COLOURS[0])
    mask = Image.new("L", SIZE, 0)
    for class_id in (1, 2, 1, 2):
        # A thing has a place, a speed and a size of its own.
        (x, y), (dx, dy) = rng.uniform(0, 90, 2), rng.uniform(-4, 4, 2)
        side = rng.uniform(20, 40)
        place = (x + dx * index, y + dy * index, x + dx * index + side, y + dy * index + side)
        for image, colour in ((picture, COLOURS[class_id]), (mask, class_id)):
            pen = ImageDraw.Draw(image)
            (pen.ellipse if CLASSES[class_id] == "ball" else pen.rectangle)(place, fill=colour)

    noise = rng.normal(0, 6, (*SIZE[::-1], 3))
    pixels = np.clip(np.asarray(picture) + noise, 0, 255).astype(np.uint8)
    return Image.fromarray(pixels), mask


def save(image: Image.Image, path: Path) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    image.save(path)


def vidparse(*words: str) -> None:
    """Run a command; its errors end this script, too."""
    print("$ vidparse", *words, flush=True)
    ended = subprocess.run([sys.executable, "-m", "vidparse", *words], check=False)
    if ended.returncode:
        sys.exit(ended.returncode)


if __name__ == "__main__":
    if len(sys.argv) < 2:
        sys.exit(f"usage: {sys.argv[0]} MINE [options of vidparse train]")
    main(Path(sys.argv[1]), sys.argv[2:])
