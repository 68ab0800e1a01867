"""Video panoptic quality (VPQ; Kim et al., CVPR 2020, with the windows of VIPSeg).

A tube is one segment id over a window of k consecutive frames. Counts of id pairs are taken once a
frame; windows add and drop whole frames, so a long window costs what a short one does.
"""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np

VOID = 0  # segment id of pixels that belong to nothing
_SHIFT = 32  # pair code = (truth id << 32) | prediction id; ids are 24-bit RGB codes


@dataclass(frozen=True, slots=True)
class WindowQuality:
    """PQ, SQ and RQ of one window length: means over the categories that occur (fractions)."""

    pq: float
    sq: float
    rq: float
    things: float
    stuff: float
    per_class: dict[int, float]  # category -> PQ, only those with a tp, fp or fn
    counts: dict[int, tuple[float, int, int, int]]  # category -> (sum of IoU, tp, fp, fn)


@dataclass(frozen=True, slots=True)
class VideoPanopticScores:
    """VPQ: the mean over windows, of all categories, of things, of stuff (fractions)."""

    vpq: float
    things: float
    stuff: float
    per_window: dict[int, WindowQuality]


@dataclass(frozen=True, slots=True)
class _FrameCounts:
    """What a window needs of one frame."""

    pairs: dict[int, int]  # pair code -> pixels
    truth: dict[int, tuple[int, int, int]]  # segment id -> (category, iscrowd, area)
    prediction: dict[int, tuple[int, int, int]]


class VideoPanopticQuality:
    """VPQ, frame by frame; holds the counts of as many frames as the longest window, no pixels.

    As the published evaluator: tubes match when their IoU is above 1/2 and their category is the
    same; void pixels do not count against a prediction; crowd is neither matched nor missed; a tube
    takes category and crowd flag from its first frame in the window; sums run over all windows of
    all videos before any quality is formed. A video shorter than a window adds nothing to it.

    Args:
        windows: lengths k in frames.
        thing_ids, stuff_ids: categories of each kind; others are refused.
    """

    def __init__(
        self, *, windows: Sequence[int], thing_ids: Sequence[int], stuff_ids: Sequence[int]
    ) -> None:
        if not windows or min(windows) < 1:
            raise ValueError(f"windows {tuple(windows)}: must be 1 or more frames")
        self.windows = tuple(windows)
        self.things, self.stuff = frozenset(thing_ids), frozenset(stuff_ids)
        self._frames: deque[_FrameCounts] = deque(maxlen=max(self.windows))
        # window -> category -> [sum of IoU, tp, fp, fn]
        self._sums: dict[int, dict[int, list[float]]] = {k: {} for k in self.windows}

    def update(
        self,
        truth: np.ndarray,
        prediction: np.ndarray,
        truth_segments: np.ndarray,
        prediction_segments: np.ndarray,
        *,
        truth_areas: np.ndarray | None = None,
    ) -> None:
        """Add the next frame of the current video.

        Args:
            truth, prediction: segment ids (H, W), 0 = void, below 2**31.
            truth_segments, prediction_segments: int (N, 3) rows (segment id, category, iscrowd).
            truth_areas: (N,) areas that a json claims; the published code trusts them. None: count.

        Raises:
            ValueError: shapes differ, an id in the picture has no row (or the other way round for
                the prediction), or a category is neither thing nor stuff.
        """
        if truth.shape != prediction.shape:
            raise ValueError(f"truth is {truth.shape}, prediction {prediction.shape}")
        code = (truth.astype(np.int64) << _SHIFT) | prediction.astype(np.int64)
        codes, pixels = count_values(code)
        pairs = dict(zip(codes.tolist(), pixels.tolist(), strict=True))
        areas_truth: dict[int, int] = {}
        areas_prediction: dict[int, int] = {}
        for pair, count in pairs.items():
            t, p = pair >> _SHIFT, pair & ((1 << _SHIFT) - 1)
            areas_truth[t] = areas_truth.get(t, 0) + count
            areas_prediction[p] = areas_prediction.get(p, 0) + count
        claimed = None if truth_areas is None else np.asarray(truth_areas).tolist()
        self._frames.append(
            _FrameCounts(
                pairs,
                self._table("ground truth", truth_segments, areas_truth, claimed),
                self._table("prediction", prediction_segments, areas_prediction, None),
            )
        )
        for k in self.windows:
            if len(self._frames) >= k:
                self._add_window(k)

    def _table(
        self,
        who: str,
        segments: np.ndarray,
        areas: dict[int, int],
        claimed: list[int] | None,
    ) -> dict[int, tuple[int, int, int]]:
        table = {}
        for i, (segment, category, crowd) in enumerate(np.asarray(segments).reshape(-1, 3)):
            segment, category = int(segment), int(category)
            if category not in self.things and category not in self.stuff:
                raise ValueError(f"{who}: segment {segment} has unknown category {category}")
            if segment not in areas and who == "prediction":
                raise ValueError(f"{who}: segment {segment} is listed but has no pixel")
            area = claimed[i] if claimed is not None else areas.get(segment, 0)
            table[segment] = (category, int(crowd), area)
        missing = areas.keys() - table.keys() - {VOID}
        if missing:
            raise ValueError(f"{who}: id {min(missing)} is in the picture but not in its list")
        return table

    def _add_window(self, k: int) -> None:
        """Match the tubes of the last k frames."""
        frames = list(self._frames)[-k:]
        truth, prediction, pairs = _joined(frames)
        sums = self._sums[k]

        def add(category: int, slot: int, value: float) -> None:
            sums.setdefault(category, [0.0, 0, 0, 0])[slot] += value

        void_under = {p: n for (t, p), n in pairs.items() if t == VOID}
        matched_truth, matched_prediction = set(), set()
        for (t, p), intersection in pairs.items():
            if t not in truth or p not in prediction or truth[t][1]:
                continue
            if truth[t][0] != prediction[p][0]:
                continue
            union = truth[t][2] + prediction[p][2] - intersection - void_under.get(p, 0)
            iou = intersection / union
            if iou > 0.5:
                add(truth[t][0], 0, iou)
                add(truth[t][0], 1, 1)
                matched_truth.add(t)
                matched_prediction.add(p)
        crowds = {}
        for t, (category, crowd, _) in truth.items():
            if t in matched_truth:
                continue
            if crowd:
                crowds[category] = t
            else:
                add(category, 3, 1)
        for p, (category, _, area) in prediction.items():
            if p in matched_prediction:
                continue
            excused = void_under.get(p, 0)
            if category in crowds:
                excused += pairs.get((crowds[category], p), 0)
            if excused / area <= 0.5:
                add(category, 2, 1)

    def end_video(self) -> None:
        """The current video is complete; no window reaches into the next one."""
        self._frames.clear()

    def compute(self) -> VideoPanopticScores:
        """VPQ over the completed windows; NaN where no category occurs."""
        per_window = {k: self._quality(self._sums[k]) for k in self.windows}
        return VideoPanopticScores(
            vpq=_mean([quality.pq for quality in per_window.values()]),
            things=_mean([quality.things for quality in per_window.values()]),
            stuff=_mean([quality.stuff for quality in per_window.values()]),
            per_window=per_window,
        )

    def _quality(self, sums: dict[int, list[float]]) -> WindowQuality:
        pq, sq, rq = {}, {}, {}
        for category, (iou, tp, fp, fn) in sorted(sums.items()):
            found = tp + fp / 2 + fn / 2
            if not found:
                continue
            pq[category] = iou / found
            sq[category] = iou / tp if tp else 0.0
            rq[category] = tp / found
        return WindowQuality(
            pq=_mean(list(pq.values())),
            sq=_mean(list(sq.values())),
            rq=_mean(list(rq.values())),
            things=_mean([value for c, value in pq.items() if c in self.things]),
            stuff=_mean([value for c, value in pq.items() if c in self.stuff]),
            per_class=pq,
            counts={c: (v[0], int(v[1]), int(v[2]), int(v[3])) for c, v in sums.items()},
        )


def _joined(
    frames: Sequence[_FrameCounts],
) -> tuple[dict[int, list[int]], dict[int, list[int]], dict[tuple[int, int], int]]:
    """Tubes of a window: id -> [category, iscrowd, area], and pixels of each id pair."""
    truth: dict[int, list[int]] = {}
    prediction: dict[int, list[int]] = {}
    pairs: dict[tuple[int, int], int] = {}
    low = (1 << _SHIFT) - 1
    for frame in frames:
        for tubes, table in ((truth, frame.truth), (prediction, frame.prediction)):
            for segment, (category, crowd, area) in table.items():
                if segment in tubes:
                    tubes[segment][2] += area
                else:
                    tubes[segment] = [category, crowd, area]
        for code, count in frame.pairs.items():
            pair = (code >> _SHIFT, code & low)
            pairs[pair] = pairs.get(pair, 0) + count
    return truth, prediction, pairs


def count_values(codes: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Distinct values of an int64 map and how often each occurs.

    Label maps are made of runs, so runs are found first and only their values are sorted.
    """
    flat = codes.reshape(-1)
    if not len(flat):
        return flat, np.empty(0, np.int64)
    starts = np.flatnonzero(np.concatenate([[True], flat[1:] != flat[:-1]]))
    lengths = np.diff(starts, append=len(flat))
    values, inverse = np.unique(flat[starts], return_inverse=True)
    return values, np.bincount(inverse, weights=lengths).astype(np.int64)


def _mean(values: Sequence[float]) -> float:
    defined = [value for value in values if not math.isnan(value)]
    return float(np.mean(defined)) if defined else math.nan


def video_panoptic_quality(
    gts: Sequence[np.ndarray],
    preds: Sequence[np.ndarray],
    gt_segments: Sequence[np.ndarray],
    pred_segments: Sequence[np.ndarray],
    *,
    windows: Sequence[int] = (1, 2, 4, 6),
    thing_ids: Sequence[int],
    stuff_ids: Sequence[int],
) -> VideoPanopticScores:
    """VPQ over videos.

    Args:
        gts, preds: segment ids (T, H, W) of each video, 0 = void; an id is one object throughout.
        gt_segments, pred_segments: int (N, 4) of each video: frame, segment id, category, iscrowd.
        windows: lengths k in frames; (1, 2, 4, 6) is the paper's.
    """
    metric = VideoPanopticQuality(windows=windows, thing_ids=thing_ids, stuff_ids=stuff_ids)
    feed_videos(metric, gts, preds, gt_segments, pred_segments)
    return metric.compute()


class PanopticMetric(Protocol):
    """What takes panoptic frames one by one."""

    def update(
        self,
        truth: np.ndarray,
        prediction: np.ndarray,
        truth_segments: np.ndarray,
        prediction_segments: np.ndarray,
    ) -> None: ...
    def end_video(self) -> None: ...


def feed_videos(
    metric: PanopticMetric,
    gts: Sequence[np.ndarray],
    preds: Sequence[np.ndarray],
    gt_segments: Sequence[np.ndarray],
    pred_segments: Sequence[np.ndarray],
) -> None:
    """Whole videos into a metric, frame by frame; arguments as :func:`video_panoptic_quality`."""
    for truth, prediction, truth_rows, prediction_rows in zip(
        gts, preds, gt_segments, pred_segments, strict=True
    ):
        if len(truth) != len(prediction):
            raise ValueError(f"{len(truth)} ground truth frames, {len(prediction)} predicted")
        truth_rows = np.asarray(truth_rows).reshape(-1, 4)
        prediction_rows = np.asarray(prediction_rows).reshape(-1, 4)
        for t in range(len(truth)):
            metric.update(
                truth[t],
                prediction[t],
                truth_rows[truth_rows[:, 0] == t, 1:],
                prediction_rows[prediction_rows[:, 0] == t, 1:],
            )
        metric.end_video()
