"""Propagated masks beside the truth: IoU per sequence, and what each part brings.

    python tests/benchmarks/bench_propagate.py DAVIS --every 15
    python tests/benchmarks/bench_propagate.py "sample://street?rate=5&frames=26" --every 5

A key every so many frames; the IoU of objects (J of DAVIS) is the mean over all other frames, those
behind the last key included, which come from one side. In rendered scenes it is that of all things,
each by its id.

The arms are parts of `vidparse propagate`: copies of the nearest key, traces to one key alone, to
both without a look at what is hidden, to both by what each key shows, that with the label of what
lies behind, and the whole, without specks.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path

import numpy as np

from vidparse.data import Dataset, Video, open_dataset
from vidparse.flow import FLOW_NAMES, FlowEstimator, open_estimator
from vidparse.maps import count_codes, recode
from vidparse.propagation.traces import Step, Trace, steps_between
from vidparse.propagation.votes import View, vote, without_specks

ARMS = (
    "nearest key",
    "key before",
    "key after",
    "both, plain",
    "both, seen",
    "both, behind",
    "whole",
)


@dataclass(frozen=True, slots=True)
class Truth:
    """The labels of a video's frames, uint16 (H, W) each; objects: labels that are scored."""

    frames: list[np.ndarray]
    objects: np.ndarray
    count: int

    @classmethod
    def of(cls, dataset: Dataset, video: Video) -> Truth:
        maps = [dataset.load_truth(frame) for frame in video.frames]
        codes = np.unique(np.concatenate([count_codes(one.ids)[0] for one in maps]))
        things = {1}  # of DAVIS, by class
        if dataset.is_panoptic:
            things = {s.id for one in maps for s in one.segments or () if s.is_thing}
        numbers = np.arange(len(codes), dtype=np.uint16)
        objects = numbers[np.isin(codes, sorted(things))]
        return cls([recode(one.ids, codes, numbers) for one in maps], objects, len(codes))

    def score(self, mask: np.ndarray, i: int) -> float:
        """Mean IoU of the objects that a frame has or is given; 1 where there are none."""
        found, right = (
            np.bincount(one.ravel(), minlength=self.count) for one in (mask, self.frames[i])
        )
        both = np.bincount(mask[mask == self.frames[i]], minlength=self.count)
        either = (found + right - both)[self.objects]
        present = either > 0
        return (
            float((both[self.objects][present] / either[present]).mean()) if present.any() else 1.0
        )


def all_seen(trace: Trace) -> Trace:
    return Trace(trace.offset, np.ones_like(trace.seen))


def between(steps: list[tuple[Step, Step]], first: int, last: int | None, end: int) -> Iterator:
    """Frames between two keys, with the traces to them; `last` None: there is no second key."""
    stop = end if last is None else last
    trace = Trace.at_key(steps[0][0].seen.shape)
    before = {}
    for i in range(first + 1, stop):
        trace = before[i] = trace.after(steps[i - 1][1])
    trace, after = Trace.at_key(trace.seen.shape), {}
    if last is not None:
        for i in range(last - 1, first, -1):
            trace = after[i] = trace.after(steps[i][0])
    for i in range(first + 1, stop):
        yield i, before[i], after.get(i)


def masks_of(
    labels: tuple[np.ndarray, np.ndarray | None],
    traces: tuple[Trace, Trace | None],
    share: float,
    count: int,
) -> dict[str, np.ndarray]:
    """The labels of a frame by every arm but copies; share: of the key before."""
    (one, other), (before, after) = labels, traces
    found = {"key before": vote([View(one, before, 1.0)], count)}
    if other is None or after is None:
        plain = seen = vote([View(one, before, 1.0)], count, behind=0)
        found |= {"both, plain": plain, "both, seen": seen, "both, behind": found["key before"]}
    else:
        found["key after"] = vote([View(other, after, 1.0)], count)
        views = [View(one, before, share), View(other, after, 1 - share)]
        blind = [View(view.labels, all_seen(view.trace), view.share) for view in views]
        found["both, plain"] = vote(blind, count, behind=0)
        found["both, seen"] = vote(views, count, behind=0)
        found["both, behind"] = vote(views, count)
    found["whole"] = without_specks(found["both, behind"])
    return {arm: verdict.labels for arm, verdict in found.items()}


def scores_of(
    dataset: Dataset, video: Video, flow: FlowEstimator, every: int
) -> tuple[dict[str, list[float]], float, float]:
    """Scores of each frame by arm, and CPU milliseconds per frame of the flow and of the votes."""
    images = [dataset.load_image(frame) for frame in video.frames]
    truth = Truth.of(dataset, video)
    truths = truth.frames
    begun_s = time.process_time()
    steps = [steps_between(flow, a, b) for a, b in pairwise(images)]
    flow_s = time.process_time() - begun_s

    scores: dict[str, list[float]] = {arm: [] for arm in ARMS}
    rest_s, count = 0.0, len(truths)
    keys = [*range(0, count, every), None]
    for first, last in pairwise(keys):
        assert first is not None
        for i, before, after in between(steps, first, last, count):
            other = None if last is None else truths[last]
            share = 1.0 if last is None else (last - i) / (last - first)
            found = dict(masks_of((truths[first], other), (before, after), share, truth.count))
            copied = first if last is None or i - first <= last - i else last
            found["nearest key"] = truths[copied]
            for arm, mask in found.items():
                scores[arm].append(truth.score(mask, i))

            # Time what the command does, without the other arms.
            begun_s = time.process_time()
            views = [View(truths[first], before, share)]
            if after is not None and other is not None:
                views.append(View(other, after, 1 - share))
            without_specks(vote(views, truth.count))
            rest_s += time.process_time() - begun_s
    return scores, 1000 * flow_s / count, 1000 * rest_s / max(len(scores["whole"]), 1)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("data", help="folder of DAVIS, or the address of rendered scenes")
    parser.add_argument("--every", type=int, default=15, help="frames from key to key")
    parser.add_argument("--flow", default="dis", choices=FLOW_NAMES)
    parser.add_argument("--flow-weights", type=Path)
    options = parser.parse_args()

    is_rendered = options.data.startswith("sample://")
    name, folder = (options.data, None) if is_rendered else ("davis", Path(options.data))
    dataset = open_dataset(name, folder, "val" if is_rendered else "all")
    flow = open_estimator(options.flow, options.flow_weights, "cpu")
    print(f"{'sequence':<18}" + "".join(f"{arm:>13}" for arm in ARMS) + "  flow + votes, CPU ms")
    means = []
    for video in dataset.videos:
        scores, flow_ms, vote_ms = scores_of(dataset, video, flow, options.every)
        row = [float(np.mean(scores[arm])) if scores[arm] else float("nan") for arm in ARMS]
        means.append(row)
        cells = "".join(f"{one:>13.4f}" for one in row)
        print(f"{video.name:<18}{cells}  {flow_ms:.0f} + {vote_ms:.0f}", flush=True)
    print(f"{'mean':<18}" + "".join(f"{one:>13.4f}" for one in np.nanmean(means, axis=0)))


if __name__ == "__main__":
    main()
