"""Speed and accuracy of optical flow on rendered street pairs, whose exact flow is known.

    python tests/benchmarks/bench_flow.py [raft-things.pth]

Two pairs of 480x853; errors are end-point errors in pixels where the flow is visible in both.
"""

from __future__ import annotations

import sys
import time
from pathlib import Path

import numpy as np

from vidparse.flow import DisFlow, FlowEstimator, RaftFlow
from vidparse.scenes import Scene, SceneFrame, parse_scene

PAIRS = (("sample://street?frames=40&size=853x480&seed=3", 5),
         ("sample://street?frames=40&size=853x480&seed=7", 20))  # fmt: skip


def measure(estimator: FlowEstimator, pairs: list[tuple[SceneFrame, np.ndarray]]) -> None:
    errors, seconds = [], []
    estimator.between(*(frame[:64, :64] for frame in (pairs[0][0].rgb, pairs[0][1])))
    for now, after in pairs:
        start = time.perf_counter()
        flow = estimator.between(now.rgb, after)
        seconds.append(time.perf_counter() - start)
        errors.append(np.linalg.norm(flow - now.flow, axis=0)[now.flow_valid])
    pooled = np.concatenate(errors)
    print(
        f"{estimator.name:18} {1e3 * min(seconds):8.1f} ms  error median {np.median(pooled):.3f} "
        f"mean {pooled.mean():.3f}  over 3 px {100 * (pooled > 3).mean():.1f} %"
    )


if __name__ == "__main__":
    rendered = []
    for spec, index in PAIRS:
        scene = Scene(parse_scene(spec))
        rendered.append((scene.render(index), scene.picture(index + 1)))
    for preset in ("ultrafast", "fast", "medium"):
        measure(DisFlow(preset), rendered)
    for weights in sys.argv[1:]:
        measure(RaftFlow(Path(weights)), rendered)
