"""Two models on one clip: time per frame, where they agree, and their overlays side by side.

    python examples/compare_models.py CLIP MODEL MODEL [--start 5 --end 6] [-o pair.png]

Classes are compared by their names, so the models may have different label sets. A clip without
labels does not show which model is right: `vidparse eval` does, on labelled data.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
from PIL import Image

import vidparse
from vidparse.inference import Runner


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("clip")
    parser.add_argument("models", nargs=2, metavar="MODEL")
    parser.add_argument("--start", type=float, default=0.0, help="seconds")
    parser.add_argument("--end", type=float, help="seconds; one after the start unless given")
    parser.add_argument("-o", "--out", type=Path, default=Path("pair.png"))
    given = parser.parse_args()

    span = (given.start, given.start + 1 if given.end is None else given.end)
    compare(given.clip, given.models, span)
    paste(given.clip, given.models, span, given.out)
    print(f"overlays of the first of these frames: {given.out}")


def compare(clip: str, names: list[str], span: tuple[float, float]) -> None:
    """Print a table of the classes, and the time of each model."""
    models = [vidparse.load_model(name) for name in names]
    classes = list(dict.fromkeys(name for model in models for name in model.labels.classes))
    pixels = np.zeros((len(classes), 3), np.int64)  # in the first, in the second, in both
    spent_s: dict[str, list[float]] = {name: [] for name in names}
    answers = [
        class_maps(model, clip, span, classes, spent_s[name])
        for model, name in zip(models, names, strict=True)
    ]
    for first, second in zip(*answers, strict=True):
        for number in range(len(classes)):
            here, there = first == number, second == number
            pixels[number] += (here.sum(), there.sum(), (here & there).sum())

    print(f"{'class':20}{names[0][-20:]:>22}{names[1][-20:]:>22}{'IoU of the two':>18}")
    for name, (a, b, both) in zip(classes, pixels, strict=True):
        if a or b:
            shares = [f"{count / pixels[:, place].sum():.1%}" for place, count in enumerate((a, b))]
            print(f"{name:20}{shares[0]:>22}{shares[1]:>22}{both / (a + b - both):>18.2f}")
    for name in names:
        # The first frame also pays for what is done once.
        usual_ms = 1000 * float(np.median(spent_s[name]))
        print(f"{name}: {usual_ms:.0f} ms per frame, one after the other")


def class_maps(
    model: Runner,
    clip: str,
    span: tuple[float, float],
    classes: list[str],
    spent_s: list[float],
) -> Iterator[np.ndarray]:
    """Places in `classes` of every pixel, int (H, W) per frame; -1 for void. Notes the times."""
    labels = model.labels
    table = np.full(labels.void + 1, -1)
    table[: len(labels)] = [classes.index(name) for name in labels.classes]
    with (
        vidparse.open_video(clip, start_s=span[0], end_s=span[1]) as video,
        model.session(video.info) as session,
    ):
        answers = session.run(video)
        while True:
            start_s = time.perf_counter()
            found = next(answers, None)
            if found is None:
                return
            spent_s.append(time.perf_counter() - start_s)
            yield table[found[1].map.classes(labels.void)]


def paste(clip: str, names: list[str], span: tuple[float, float], out: Path) -> None:
    """Write the overlays of the span's first frame beside each other."""
    with tempfile.TemporaryDirectory() as folder:
        pictures = []
        for number, name in enumerate(names):
            options = vidparse.SegmentOptions(
                model=name,
                start_s=span[0],
                end_s=span[1],
                save="overlay",
                out=f"{folder}/{number}_%06d.png",
            )
            (result,) = vidparse.segment(clip, options).inputs
            if result.error is not None:
                sys.exit(str(result.error))
            pictures.append(np.asarray(Image.open(min(Path(folder).glob(f"{number}_*.png")))))
    Image.fromarray(np.hstack(pictures)).save(out)


if __name__ == "__main__":
    main()
