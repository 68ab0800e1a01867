"""Alpha against the hard mask it is made of: SAD, gradient error and dtSSD, lower is better.

    python tests/benchmarks/bench_matte.py [--davis DAVIS] [--frames N] [--models]

Two kinds of predictions go through the same `Matter` as in `segment`:

- "coarse": the truth at an eighth of the size, blurred, with noise of its own in each frame, as the
  scores of a network that knows the object but not its outline;
- with --models the scores of everyday-student (DAVIS) and street-student (people), and the objects
  of street-panoptic that lie in the truth: of two cars the requested one.

The truth of DAVIS is its masks (binary: soft edges can only lose there); that of rendered people is
exact: the scene at four times the size, of which picture and alpha are means. SAD is the sum of
absolute differences, in thousands of pixels per frame. The gradient error compares derivatives of a
Gaussian of 1.4 pixels (Rhemann et al., CVPR 2009), in thousands per frame. dtSSD is the root of the
mean squared difference of changes between frames (Erofeev et al., BMVC 2015), times 100. Times are
of the CPU, on one thread.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import cv2
import numpy as np

from vidparse.frame import Frame
from vidparse.inference import load_model
from vidparse.labels import Labels, load_labels
from vidparse.maps import SegmentMap
from vidparse.matting.margins import margins_of
from vidparse.matting.matter import Matter
from vidparse.matting.selection import Selection
from vidparse.requests.matte import MatteOptions
from vidparse.scenes import Scene, parse_scene

CLASSES = {
    "car-roundabout": ("car",),
    "dance-twirl": ("person",),
    "scooter-black": ("motorbike", "person"),
}
OBJECTS = {"car-roundabout": ("Car",), "scooter-black": ("Bicyclist", "Pedestrian")}
PEOPLE = ("Pedestrian", "Bicyclist")
OBJECT_MODEL = "street-panoptic"
_FINER = 4
_SIGMA = 1.4
_NOISE = 0.35  # of scores that go from -1 to 1


@dataclass(frozen=True, slots=True)
class Clip:
    """Pictures RGB uint8 (H, W, 3), and the alpha of each, float32 (H, W)."""

    name: str
    pictures: list[np.ndarray]
    truths: list[np.ndarray]
    labels: Labels
    classes: tuple[str, ...]
    model: str


class Errors:
    """Sums of the three errors over the frames of a clip."""

    def __init__(self) -> None:
        self.sad = self.gradient = self.change = 0.0
        self.frames = 0
        self._last: tuple[np.ndarray, np.ndarray] | None = None

    def add(self, alpha: np.ndarray, truth: np.ndarray) -> None:
        self.sad += float(np.abs(alpha - truth).sum()) / 1000
        self.gradient += float(np.square(slope(alpha) - slope(truth)).sum()) / 1000
        if self._last is not None:
            change = (alpha - self._last[0]) - (truth - self._last[1])
            self.change += 100 * float(np.sqrt(np.square(change).mean()))
        self._last = alpha, truth
        self.frames += 1

    @property
    def values(self) -> tuple[float, float, float]:
        changes = max(1, self.frames - 1)
        return self.sad / self.frames, self.gradient / self.frames, self.change / changes


def slope(alpha: np.ndarray) -> np.ndarray:
    """The length of the gradient at the scale of _SIGMA, float32 (H, W)."""
    reach = np.arange(-4, 5)
    bell = np.exp(-(reach**2) / (2 * _SIGMA**2)) / (np.sqrt(2 * np.pi) * _SIGMA)
    turn = -reach * bell / _SIGMA**2
    norm = np.sqrt(np.square(np.outer(bell, turn)).sum())
    across = cv2.sepFilter2D(alpha, cv2.CV_32F, turn / norm, bell)
    down = cv2.sepFilter2D(alpha, cv2.CV_32F, bell, turn / norm)
    return np.hypot(across, down)


def davis(root: Path, frames: int) -> Iterator[Clip]:
    """The clips of DAVIS whose objects are classes of VOC."""
    labels = load_model("everyday-student").description.labels
    for name, classes in CLASSES.items():
        paths = sorted((root / "JPEGImages" / "480p" / name).glob("*.jpg"))[:frames]
        if not paths:
            continue
        masks = [root / "Annotations" / "480p" / name / f"{path.stem}.png" for path in paths]
        yield Clip(
            name,
            [cv2.cvtColor(cv2.imread(str(path)), cv2.COLOR_BGR2RGB) for path in paths],
            [(cv2.imread(str(path), 0) > 127).astype(np.float32) for path in masks],
            labels,
            classes,
            "everyday-student",
        )


def people(frames: int, height: int = 360) -> Clip:
    """Rendered people with exact alpha: means of a picture that is _FINER times as large."""
    width = height * 16 // 9
    size = f"{width * _FINER}x{height * _FINER}"
    scene = Scene(parse_scene(f"sample://crowd?frames={frames}&size={size}"))
    labels = load_labels("camvid")
    wanted = labels.select(PEOPLE)
    pictures, truths = [], []
    for index in range(frames):
        found = scene.render(index)
        inside = np.isin(found.classes, wanted).astype(np.float32)
        pictures.append(cv2.resize(found.rgb, (width, height), interpolation=cv2.INTER_AREA))
        truths.append(cv2.resize(inside, (width, height), interpolation=cv2.INTER_AREA))
    return Clip("crowd", pictures, truths, labels, PEOPLE, "street-student")


def coarse_maps(clip: Clip) -> Iterator[SegmentMap]:
    """Maps of a network that sees the truth from afar: see the top of this file."""
    rng = np.random.default_rng(0)
    class_id = clip.labels.select(clip.classes)[0]
    for truth in clip.truths:
        height, width = truth.shape
        size = width // 8, height // 8
        seen = cv2.resize(2 * truth - 1, size, interpolation=cv2.INTER_AREA)
        seen = cv2.GaussianBlur(seen, (0, 0), 0.7)
        noise = cv2.GaussianBlur(rng.standard_normal(seen.shape).astype(np.float32), (0, 0), 1)
        scores = np.zeros((2, *seen.shape), np.float32)
        scores[0] = 4 * (seen + _NOISE * noise / noise.std())
        margins = margins_of(scores, [(0,)])
        hard = cv2.resize(scores[0], (width, height)) > 0
        ids = np.where(hard, class_id, clip.labels.void).astype(clip.labels.dtype)
        yield SegmentMap(ids, margins=margins)


def objects_of(clip: Clip, classes: Sequence[str]) -> tuple[Clip, list[SegmentMap]]:
    """The clip under the classes of OBJECT_MODEL, and its objects that lie in the truth mostly."""
    labels = load_model(OBJECT_MODEL).description.labels
    named = replace(clip, labels=labels, classes=tuple(classes), model=OBJECT_MODEL)
    class_ids, maps = labels.select(classes), []
    for found, truth in zip(model_maps(named), clip.truths, strict=True):
        segments = tuple(
            one
            if one.class_id not in class_ids or truth[found.ids == one.id].mean() > 0.5
            else replace(one, class_id=labels.select(["Road"])[0])
            for one in found.segments or ()
        )
        maps.append(replace(found, segments=segments))
    return named, maps


def measured(clip: Clip, maps: Sequence[SegmentMap], edges: str) -> tuple[Errors, Errors, float]:
    """Errors of the hard mask and of alpha, and the milliseconds of a matte."""
    class_ids = clip.labels.select(clip.classes)
    matter = Matter(clip.labels, Selection("", class_ids), edges=edges)
    hard, soft, seconds = Errors(), Errors(), []
    frames = [Frame.from_rgb(one, index=i) for i, one in enumerate(clip.pictures)]
    for frame, found, truth in zip(frames, maps, clip.truths, strict=True):
        begun = time.thread_time()
        (matte,) = matter.mattes(frame, found)
        seconds.append(time.thread_time() - begun)
        classes = found.classes(clip.labels.void)
        hard.add(np.isin(classes, class_ids).astype(np.float32), truth)
        soft.add(matte.alpha.astype(np.float32) / 255, truth)
    return hard, soft, 1000 * float(np.median(seconds[1:] or seconds))


def model_maps(clip: Clip) -> list[SegmentMap]:
    """The answers of the model that is bundled for such pictures."""
    frames = [Frame.from_rgb(one, index=i) for i, one in enumerate(clip.pictures)]
    with load_model(clip.model).session(matte=MatteOptions(clip.classes, smooth=False)) as session:
        return [found.map for _, found in session.run(frames)]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n\n")[0])
    parser.add_argument("--davis", type=Path, help="folder of DAVIS 2016 with JPEGImages")
    parser.add_argument("--frames", type=int, default=16)
    parser.add_argument("--models", action="store_true", help="predictions of bundled models, too")
    parser.add_argument("--edges", default="guided")
    options = parser.parse_args()
    cv2.setNumThreads(1)

    clips = [people(options.frames)]
    clips += davis(options.davis, options.frames) if options.davis else ()
    print(f"{'clip':<16}{'prediction':<18}{'':8}{'SAD':>9}{'gradient':>10}{'dtSSD':>8}")
    for clip in clips:
        kinds = {"coarse": (clip, list(coarse_maps(clip)))}
        if options.models:
            kinds[clip.model] = clip, model_maps(clip)
            classes = OBJECTS.get(clip.name, PEOPLE if clip.name == "crowd" else ())
            if classes:
                kinds[OBJECT_MODEL] = objects_of(clip, classes)
        for kind, (named, maps) in kinds.items():
            hard, soft, ms = measured(named, maps, options.edges)
            for name, errors in (("mask", hard), ("alpha", soft)):
                sad, gradient, change = errors.values
                print(f"{clip.name:<16}{kind:<18}{name:<8}{sad:9.3f}{gradient:10.3f}{change:8.3f}")
            height, width = clip.pictures[0].shape[:2]
            print(f"{'':16}{'':18}{ms:.0f} ms a matte of {width}x{height}")


if __name__ == "__main__":
    main()
