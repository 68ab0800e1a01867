"""VPQ and STQ as the published evaluators compute them, step by step on plain dictionaries.

Written from the description of the scripts: slow, without any of vidparse's own code, and with
their habits kept (areas of the ground truth trusted, the first listed object taken for a crowd).
A video is a list of frames, a frame (ids (H, W), segments_info as its json lists it).
"""

from __future__ import annotations

from collections import Counter
from typing import Any

import numpy as np

Frame = tuple[np.ndarray, list[dict[str, Any]]]
Videos = list[tuple[list[Frame], list[Frame]]]  # (ground truth, prediction) of each

VOID_CLASS = 255


def published_vpq(videos: Videos, *, windows: tuple[int, ...], classes: int) -> float:
    """VPQ as a fraction: mean over windows of the mean PQ of the categories that occur."""
    qualities = []
    for k in windows:
        sums = np.zeros((classes, 4))  # sum of IoU, TP, FP, FN
        for truth, predicted in videos:
            for start in range(len(truth) - k + 1):
                _add_window(sums, truth[start : start + k], predicted[start : start + k])
        found = [s[0] / (s[1] + s[2] / 2 + s[3] / 2) for s in sums if s[1:].any()]
        qualities.append(np.mean(found))
    return float(np.mean(qualities))


def _add_window(sums: np.ndarray, truth: list[Frame], predicted: list[Frame]) -> None:
    true_tubes = _tubes(truth, counted=False)
    predicted_tubes = _tubes(predicted, counted=True)
    shared: Counter[tuple[int, int]] = Counter()
    for (true_ids, _), (predicted_ids, _) in zip(truth, predicted, strict=True):
        shared.update(zip(true_ids.ravel().tolist(), predicted_ids.ravel().tolist(), strict=True))

    true_matched, predicted_matched = set(), set()
    for (t, s), pixels in shared.items():
        if t not in true_tubes or s not in predicted_tubes or true_tubes[t]["iscrowd"]:
            continue
        if true_tubes[t]["category_id"] != predicted_tubes[s]["category_id"]:
            continue
        union = true_tubes[t]["area"] + predicted_tubes[s]["area"] - pixels - shared[0, s]
        if pixels / union > 0.5:
            sums[true_tubes[t]["category_id"], :2] += pixels / union, 1
            true_matched.add(t)
            predicted_matched.add(s)

    crowd_of_category: dict[int, int] = {}
    for t, tube in true_tubes.items():
        if t in true_matched:
            continue
        if tube["iscrowd"]:
            crowd_of_category[tube["category_id"]] = t
            continue
        sums[tube["category_id"], 3] += 1

    for s, tube in predicted_tubes.items():
        if s in predicted_matched:
            continue
        excused = shared[0, s]
        if tube["category_id"] in crowd_of_category:
            excused += shared[crowd_of_category[tube["category_id"]], s]
        if excused / tube["area"] <= 0.5:
            sums[tube["category_id"], 2] += 1


def _tubes(frames: list[Frame], *, counted: bool) -> dict[int, dict[str, Any]]:
    """Segments joined over a window by id; category and crowd flag are those of the first frame."""
    tubes: dict[int, dict[str, Any]] = {}
    for ids, segments in frames:
        for segment in segments:
            area = int((ids == segment["id"]).sum()) if counted else segment["area"]
            if segment["id"] in tubes:
                tubes[segment["id"]]["area"] += area
            else:
                tubes[segment["id"]] = {**segment, "area": area}
    return tubes


def published_stq(videos: Videos, *, things: frozenset[int], classes: int) -> float:
    """STQ as a fraction; objects are numbered from 0 per video, and number 0 is a crowd."""
    confusion = np.zeros((classes + 1, classes + 1), np.int64)
    association, tracks = 0.0, 0
    for truth, predicted in videos:
        true_maps, predicted_maps = _coded(truth), _coded(predicted)
        areas: tuple[Counter[int], Counter[int]] = (Counter(), Counter())
        shared: Counter[tuple[int, int]] = Counter()
        for t, s in zip(true_maps, predicted_maps, strict=True):
            true_class, predicted_class = t >> 16, s >> 16
            valid = true_class != VOID_CLASS
            rows = np.minimum(true_class[valid], classes)
            columns = np.minimum(predicted_class[valid], classes)
            np.add.at(confusion, (rows, columns), 1)

            is_thing = np.isin(true_class, list(things))
            crowd = is_thing & (t & 0xFFFF == 0)
            true_track = is_thing & ~crowd
            predicted_track = np.isin(predicted_class, list(things)) & ~crowd
            areas[0].update(t[true_track].tolist())
            areas[1].update(s[predicted_track].tolist())
            both = true_track & predicted_track
            shared.update(zip(t[both].tolist(), s[both].tolist(), strict=True))

        tracks += len(areas[0])
        for (g, p), tpa in shared.items():
            association += tpa * (tpa / (areas[0][g] + areas[1][p] - tpa)) / areas[0][g]

    right = np.diag(confusion)
    union = confusion.sum(axis=0) + confusion.sum(axis=1) - right
    sq = (right[union > 0] / union[union > 0]).mean() if union.any() else 0.0
    aq = association / tracks if tracks else 0.0
    return float(np.sqrt(aq * sq))


def _coded(frames: list[Frame]) -> list[np.ndarray]:
    """(class << 16) + number of every pixel; numbers go by first listing in the video, from 0."""
    numbers: dict[int, int] = {}
    for _, segments in frames:
        for segment in segments:
            numbers.setdefault(segment["id"], len(numbers))

    maps = []
    for ids, segments in frames:
        coded = np.full(ids.shape, (VOID_CLASS << 16) + 255, np.int64)
        for segment in segments:
            here = ids == segment["id"]
            coded[here] = (segment["category_id"] << 16) + numbers[segment["id"]]
        maps.append(coded)
    return maps
