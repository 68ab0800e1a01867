"""How well linkers keep the ids of things on rendered scenes with occlusion, and their cost.

    python tests/benchmarks/bench_linkers.py [--frames 100] [--rate 12] [--seeds 21,22] [NAME ...]

Each linker gets the same segments of every frame, without ids: the true ones, and those that a weak
network would find (missed, split, merged and shifted masks, wrong classes). Switches are those of
`tests/support/id_switches.py`; STQ and VPQ are the metrics of `eval`.
"""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import cv2
import numpy as np

sys.path.insert(0, str(Path(__file__).parent.parent))
from support.id_switches import Faults, IdSwitches, WeakNetwork
from vidparse.data.rendered import open_rendered
from vidparse.evaluation.metrics import make_measures
from vidparse.evaluation.metrics.measure import Sample, add_counts
from vidparse.frame import Frame
from vidparse.inference import LINKERS, ClipSegments
from vidparse.labels import load_labels
from vidparse.maps import SegmentMap
from vidparse.scenes import LABELS

SCENES = ("crowd", "street")
NETWORKS = {"perfect masks": None, "weak network": Faults()}


def scene_frames(
    name: str, seed: int, frames: int, rate: int
) -> Iterator[tuple[Frame, SegmentMap]]:
    """Frames of one rendered video with their truth."""
    address = f"sample://{name}?videos=1&frames={frames}&seed={seed}&rate={rate}"
    data = open_rendered(address, "val")
    for record in data.videos[0].frames:
        pixels = data.read_image(record)
        frame = Frame.from_rgb(pixels, index=record.index, time_s=record.index / rate)
        yield frame, data.read_segments(record)


def compare(scene: str, seeds: list[int], frames: int, rate: int, names: list[str]) -> None:
    """Print the scores of each linker on one kind of scene."""
    labels = load_labels(LABELS)
    runs = [(kind, name) for kind in NETWORKS for name in names]
    totals = {run: {"stq": {}, "vpq": {}} for run in runs}
    switches, seconds, things = dict.fromkeys(runs, 0), dict.fromkeys(runs, 0.0), 0
    for seed in seeds:
        networks = {
            kind: WeakNetwork(faults, labels.things, rate, seed)
            for kind, faults in NETWORKS.items()
        }
        linkers = {run: LINKERS[run[1]]() for run in runs}
        counters = {run: IdSwitches() for run in runs}
        measures = {run: make_measures(["stq", "vpq"], labels) for run in runs}
        for frame, truth in scene_frames(scene, seed, frames, rate):
            things += sum(one.is_thing for one in truth.segments or ())
            found = {kind: network.found(truth) for kind, network in networks.items()}
            for run in runs:
                start = time.process_time()
                (linked,) = linkers[run].link(ClipSegments((found[run[0]],)), [frame])
                seconds[run] += time.process_time() - start
                counters[run].update(truth, linked)
                sample = Sample(scene, str(frame.index), frame.index, linked, truth)
                for measure in measures[run].values():
                    measure.update(sample)
        for run in runs:
            switches[run] += counters[run].switches
            for key, measure in measures[run].items():
                totals[run][key] = add_counts(totals[run][key], measure.end_video())

    count = frames * len(seeds)
    print(f"{scene}: {count} frames at {rate} per second, {things / count:.1f} things per frame")
    scorers = make_measures(["stq", "vpq"], labels)
    for run in runs:
        found = {}
        for key, measure in scorers.items():
            found |= {name: float(v) for name, v in measure.scores(totals[run][key]).items()}
        print(
            f"  {run[0]:14} {run[1]:8} switches {switches[run]:5}  STQ {100 * found['stq']:6.2f}  "
            f"AQ {100 * found['aq']:6.2f}  VPQ {100 * found['vpq']:6.2f}  "
            f"{1e3 * seconds[run] / count:.2f} ms per frame",
            flush=True,
        )


def cost(names: list[str]) -> None:
    """Print the time of a linker at 1280x720 with 20 things."""
    rng = np.random.default_rng(0)
    labels = load_labels(LABELS)
    address = "sample://street?videos=1&frames=30&size=1280x720&rate=15&least=60"
    data = open_rendered(address, "val")
    records = data.videos[0].frames
    clips = []
    for record in records:
        truth = data.read_segments(record)
        keep = sorted(truth.segments or (), key=lambda one: (one.is_thing, -one.area))
        stuff = sum(not one.is_thing for one in keep)
        network = WeakNetwork(None, labels.things, 15, int(rng.integers(100)))
        found = network.found(SegmentMap(truth.ids, tuple(keep[: stuff + 20])))
        frame = Frame.from_rgb(data.read_image(record), time_s=record.index / 15)
        clips.append((ClipSegments((found,)), frame))
    things = np.mean([sum(s.is_thing for s in clip.maps[0].segments or ()) for clip, _ in clips])
    for name in names:
        best = []
        for _ in range(3):
            linker = LINKERS[name]()
            start = time.process_time()
            for clip, frame in clips:
                linker.link(clip, [frame])
            best.append((time.process_time() - start) / len(clips))
        print(f"{name:8} {1e3 * min(best):.2f} ms per frame at 1280x720, {things:.1f} things")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("linkers", nargs="*", default=["overlap", "tracks"])
    parser.add_argument("--frames", type=int, default=100)
    parser.add_argument("--rate", type=int, default=12)
    parser.add_argument("--seeds", default="21,22")
    arguments = parser.parse_args()
    cv2.setNumThreads(1)
    seeds = [int(seed) for seed in arguments.seeds.split(",")]
    for scene in SCENES:
        compare(scene, seeds, arguments.frames, arguments.rate, arguments.linkers)
    cost(arguments.linkers)


if __name__ == "__main__":
    main()
