"""Video panoptic quality (VPQ; Kim et al., CVPR 2020, with the windows of VIPSeg).

A tube is one segment id over a window of k consecutive frames. Counts of id pairs are taken once a
frame; windows add and drop whole frames, so a long window costs what a short one does.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from vidparse.evaluation.metrics.measure import (
    Counts,
    DataFacts,
    Measure,
    Sample,
    count_videos,
    mean_of_defined,
    ratio,
)
from vidparse.evaluation.metrics.overlaps import (
    JoinedFrame,
    Tubes,
    Window,
    frame_overlaps,
    split_codes,
)
from vidparse.maps import VOID, Segment, SegmentMap, count_codes

_IOU, _TP, _FP, _FN = range(4)  # last axis of the counts


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


class VideoPanopticQuality(Measure):
    """VPQ of the frames with panoptic ground truth, which follow one another in its windows.

    As the published evaluator: tubes match when their IoU is above 1/2 and their category is the
    same; void pixels do not count against a prediction; crowd is neither matched nor missed; a tube
    takes category and crowd flag from its first frame in the window; areas that a json claims for
    the ground truth are trusted; sums run over all windows of all videos before any quality is
    formed. A video shorter than a window adds nothing to it. Holds the counts of as many frames as
    the longest window, no pixels.

    Predicting void in place of a matched segment never helps; in place of a false one it does.

    Categories that are neither thing nor stuff are refused.
    """

    needs_panoptic: ClassVar[bool] = True
    glossary: ClassVar[Mapping[str, tuple[str, str]]] = {
        "vpq": ("VPQ", "video panoptic quality, mean over window lengths"),
        "vpq_things": ("VPQ, things", "VPQ over the categories that are things"),
        "vpq_stuff": ("VPQ, stuff", "VPQ over the categories that are stuff"),
    }

    def __init__(self, data: DataFacts) -> None:
        super().__init__(data)
        windows = data.windows
        if not windows or min(windows) < 1:
            raise ValueError(f"windows {windows}: must be 1 or more frames")
        self.windows = tuple(dict.fromkeys(windows))
        stuff = frozenset(range(data.num_classes)) if data.stuff is None else data.stuff
        self._things, self._stuff = np.zeros((2, data.num_classes), bool)
        self._things[list(data.things)] = True
        self._stuff[list(stuff - data.things)] = True
        self._joined = [Window(k) for k in self.windows]
        self._start_video()

    @classmethod
    def words(cls, score: str) -> tuple[str, str] | None:
        window = re.fullmatch(r"vpq_k(\d+)", score)
        if window:
            return f"VPQ, k = {window[1]}", f"panoptic quality of tubes of {window[1]} frames"
        return super().words(score)

    def _start_video(self) -> None:
        self._frames: list[JoinedFrame] = []
        self._tally = np.zeros((len(self.windows), len(self._things), 4))
        for window in self._joined:
            window.clear()

    def update(self, sample: Sample) -> None:
        """Add the next frame, if it has panoptic ground truth.

        Raises:
            ValueError: shapes differ, an id in a picture has no row (or the other way round for the
                prediction), or a category is neither thing nor stuff.
        """
        if sample.truth is None or sample.truth.segments is None:
            return
        if sample.prediction.segments is None:
            raise ValueError("VPQ needs a panoptic prediction of every labelled frame")
        overlaps = frame_overlaps(sample.truth, sample.prediction, known=self._things | self._stuff)
        empty = overlaps.predicted.ids[overlaps.predicted.areas == 0]
        if len(empty):
            raise ValueError(f"prediction: segment {empty[0]} is listed but has no pixel")
        self._frames = [*self._frames[-max(self.windows) :], JoinedFrame.of(overlaps)]
        for place, window in enumerate(self._joined):
            window.step(self._frames)
            if len(self._frames) >= window.length:
                self._add_window(self._tally[place], window)

    def _add_window(self, tally: np.ndarray, window: Window) -> None:
        """Match the tubes of a window; tally is (K, 4)."""
        truth, predicted = window.truth(self._frames), window.predicted(self._frames)
        pairs = _Pairs(window, truth, predicted)
        iou = pairs.iou(truth, predicted)

        # Match above 1/2, where no tube can match two.
        hit = iou > 0.5
        t, s = pairs.truth[pairs.comparable][hit], pairs.predicted[pairs.comparable][hit]
        np.add.at(tally[:, _IOU], truth.categories[t], iou[hit])
        np.add.at(tally[:, _TP], truth.categories[t], 1)
        missed = ~truth.crowd
        missed[t] = False
        np.add.at(tally[:, _FN], truth.categories[missed], 1)

        # Excuse predictions that lie mostly on void or on a crowd of their category.
        excused = pairs.void_under.copy()
        if truth.crowd.any():
            excused += pairs.crowd_under(truth, predicted, self._listed(window))
        false = excused / predicted.areas <= 0.5
        false[s] = False
        np.add.at(tally[:, _FP], predicted.categories[false], 1)

    def _listed(self, window: Window) -> list[int]:
        """Ids of the ground truth in the order in which the window's frames list them."""
        order: dict[int, None] = {}
        for frame in self._frames[-window.length :]:
            order |= dict.fromkeys(frame.overlaps.truth.listed.tolist())
        return list(order)

    def end_video(self) -> Counts:
        """Sum of IoU, and numbers of true, false and missed tubes: "tubes" (windows, K, 4)."""
        counts = {"tubes": self._tally}
        self._start_video()
        return counts

    def scores(self, counts: Counts) -> dict[str, np.ndarray]:
        """VPQ of all, of things and of stuff, and of each window ("vpq_k1")."""
        pq = panoptic_quality(counts["tubes"])  # (..., windows, K)
        scores = {
            "vpq": mean_of_defined(mean_of_defined(pq)),
            "vpq_things": mean_of_defined(mean_of_defined(pq[..., self._things])),
            "vpq_stuff": mean_of_defined(mean_of_defined(pq[..., self._stuff])),
        }
        for place, k in enumerate(self.windows):
            scores[f"vpq_k{k}"] = mean_of_defined(pq[..., place, :])
        return scores

    def per_class(self, counts: Counts) -> dict[str, np.ndarray]:
        """PQ of each category, mean over the windows, under "vpq"."""
        pq = panoptic_quality(counts["tubes"])
        return {"vpq": mean_of_defined(np.moveaxis(pq, -2, -1))}

    def window_quality(self, tubes: np.ndarray) -> WindowQuality:
        """Plain numbers of one window from its counts (K, 4)."""
        pq = panoptic_quality(tubes)
        occurs = np.flatnonzero(~np.isnan(pq))
        sq = np.nan_to_num(ratio(tubes[:, _IOU], tubes[:, _TP]))[occurs]
        found = tubes[:, _TP] + (tubes[:, _FP] + tubes[:, _FN]) / 2
        return WindowQuality(
            pq=float(mean_of_defined(pq)),
            sq=float(mean_of_defined(sq)),
            rq=float(mean_of_defined(ratio(tubes[:, _TP], found))),
            things=float(mean_of_defined(pq[self._things])),
            stuff=float(mean_of_defined(pq[self._stuff])),
            per_class={int(c): float(pq[c]) for c in occurs},
            counts={
                int(c): (float(tubes[c, _IOU]), *(int(n) for n in tubes[c, _TP:]))  # type: ignore[misc]
                for c in occurs
            },
        )


class _Pairs:
    """Pairs of tubes of a window that share pixels; positions refer to the tubes."""

    def __init__(self, window: Window, truth: Tubes, predicted: Tubes) -> None:
        true_ids, predicted_ids = split_codes(window.pairs.keys)
        pixels = window.pairs.values[0]
        on_void = (true_ids == VOID) & (predicted_ids != VOID)
        self.void_under = np.zeros(len(predicted.ids), np.int64)
        self.void_under[np.searchsorted(predicted.ids, predicted_ids[on_void])] = pixels[on_void]

        # Compare tubes of one category only, and never a crowd, which is not to be matched.
        both = (true_ids != VOID) & (predicted_ids != VOID)
        self.truth = np.searchsorted(truth.ids, true_ids[both])
        self.predicted = np.searchsorted(predicted.ids, predicted_ids[both])
        self.pixels = pixels[both]
        self.comparable = ~truth.crowd[self.truth]
        self.comparable &= truth.categories[self.truth] == predicted.categories[self.predicted]

    def iou(self, truth: Tubes, predicted: Tubes) -> np.ndarray:
        """IoU of the comparable pairs; void does not count as part of a prediction."""
        t, s, shared = (part[self.comparable] for part in (self.truth, self.predicted, self.pixels))

        # Take void off the union: a prediction may be anything there.
        union = truth.areas[t] + predicted.areas[s] - shared - self.void_under[s]
        if (union == 0).any():
            wrong = truth.ids[t[union == 0][0]]
            raise ValueError(f"ground truth: the area claimed for segment {wrong} is too small")
        return shared / union

    def crowd_under(self, truth: Tubes, predicted: Tubes, listed: Sequence[int]) -> np.ndarray:
        """Pixels (N,) of each predicted tube on the crowd of its category: the one listed last."""
        crowd_of = {}
        place = {int(segment): i for i, segment in enumerate(truth.ids)}
        for segment in listed:
            if truth.crowd[place[segment]]:
                crowd_of[int(truth.categories[place[segment]])] = place[segment]
        own = np.array(
            [crowd_of.get(int(category), -1) for category in predicted.categories], np.int64
        )
        under = np.zeros(len(predicted.ids), np.int64)
        on_it = own[self.predicted] == self.truth
        under[self.predicted[on_it]] = self.pixels[on_it]
        return under


def panoptic_quality(tubes: np.ndarray) -> np.ndarray:
    """PQ (...) from counts (..., 4); NaN where there was nothing to find and nothing was found.

    PQ = sum of IoU / (TP + FP / 2 + FN / 2) (Kirillov et al., CVPR 2019, equation 1).
    """
    return ratio(tubes[..., _IOU], tubes[..., _TP] + (tubes[..., _FP] + tubes[..., _FN]) / 2)


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
    things, stuff = frozenset(thing_ids), frozenset(stuff_ids)
    size = max(things | stuff, default=0) + 1
    measure = VideoPanopticQuality(DataFacts(size, things, stuff, windows=tuple(windows)))

    videos = zip(gts, preds, gt_segments, pred_segments, strict=True)
    total, _ = count_videos(measure, (panoptic_samples(*video) for video in videos))
    scores = measure.scores(total)

    return VideoPanopticScores(
        vpq=float(scores["vpq"]),
        things=float(scores["vpq_things"]),
        stuff=float(scores["vpq_stuff"]),
        per_window={
            k: measure.window_quality(total["tubes"][place])
            for place, k in enumerate(measure.windows)
        },
    )


def panoptic_samples(
    truth: np.ndarray, predicted: np.ndarray, truth_rows: np.ndarray, predicted_rows: np.ndarray
) -> Iterator[Sample]:
    """Frames of one video; arguments as one element of :func:`video_panoptic_quality`'s.

    Raises:
        ValueError: numbers of frames differ.
    """
    if len(truth) != len(predicted):
        raise ValueError(f"{len(truth)} ground truth frames, {len(predicted)} predicted")
    sides = [
        (np.asarray(ids), np.asarray(rows).reshape(-1, 4))
        for ids, rows in ((truth, truth_rows), (predicted, predicted_rows))
    ]
    for t in range(len(truth)):
        one, other = (_listed_map(ids[t], rows[rows[:, 0] == t, 1:]) for ids, rows in sides)
        yield Sample("", str(t), t, prediction=other, truth=one)


def _listed_map(ids: np.ndarray, rows: np.ndarray) -> SegmentMap:
    """Rows of segment id, category, iscrowd (N, 3) as segments; areas are counted."""
    found, pixels = count_codes(ids)
    areas = dict(zip(found.tolist(), pixels.tolist(), strict=True))
    return SegmentMap(
        ids,
        tuple(
            Segment(number, category, False, None, areas.get(number, 0), (0, 0, 0, 0), bool(crowd))
            for number, category, crowd in rows.tolist()
        ),
    )
