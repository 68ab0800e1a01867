"""Videos of a report: their order, scores over time, worst clips and flicker maps."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np

from vidparse.evaluation.diagnostics import Clip, VideoDiagnostics
from vidparse.evaluation.result import Evaluation
from vidparse.page import Chart, Line, Scale, draw

_MANY_VIDEOS = 60  # from here on only the worst have charts
_WORST_VIDEOS = 20
_KINDS = (("accuracy", "pixel accuracy"), ("miou", "mIoU of the frame"), ("flicker", "flicker"))


def worst_first(evaluation: Evaluation) -> list[str]:
    """Videos in the order in which they deserve a look: by the first entry's leading score.

    The leading score is the first that is defined for any video; without one, pixel accuracy.
    Videos where it is undefined come last.
    """
    entry = evaluation.entries[0]
    values = {video.video: _mean(video.accuracy) for video in entry.videos if video.stems}
    for name in entry.scores:
        scores = {video: own.get(name, math.nan) for video, own in entry.per_video.items()}
        if not all(math.isnan(value) for value in scores.values()):
            values |= scores
            break
    return sorted(values, key=lambda video: (math.isnan(values[video]), values[video]))


def timed(evaluation: Evaluation) -> list[str]:
    """Videos with scores per frame, the worst first."""
    known = {video.video for video in evaluation.entries[0].videos if video.stems}
    return [video for video in worst_first(evaluation) if video in known]


def charts(evaluation: Evaluation, videos: Sequence[str]) -> list[tuple[str, int, list[Chart]]]:
    """Name, frames and charts of each video, or of the worst where they are many.

    Nothing where every video has one frame.
    """
    if all(len(video.stems) < 2 for video in evaluation.entries[0].videos):
        return []
    shown = videos[:_WORST_VIDEOS] if len(videos) > _MANY_VIDEOS else videos
    found = [{video.video: video for video in entry.videos} for entry in evaluation.entries]
    scales = _scales([by_name[video] for by_name in found for video in shown if video in by_name])
    rows = []
    for video in shown:
        curves = {
            i: by_name[video]
            for i, by_name in enumerate(found)
            if video in by_name and by_name[video].stems
        }
        drawn = [
            _chart(evaluation, curves, kind, words, scales[kind])
            for kind, words in _KINDS
            if kind in scales
        ]
        rows.append((video, len(next(iter(curves.values())).stems), drawn))
    return rows


def _scales(videos: Sequence[VideoDiagnostics]) -> dict[str, Scale]:
    """Of each kind that is defined anywhere, a scale in per cent that holds all its curves."""
    scales = {}
    for kind, _ in _KINDS:
        curves = [getattr(video, kind) for video in videos]
        values = np.concatenate(curves) if curves else np.empty(0)
        values = values[~np.isnan(values)]
        if not len(values):
            continue
        low, high = min(math.floor(float(values.min()) * 10) / 10, 0.9), 1.0
        if kind == "flicker":
            steps = (0.01, 0.02, 0.05, 0.1, 0.2, 0.5)
            low, high = 0.0, next((step for step in steps if step >= values.max()), 1.0)
        scales[kind] = Scale.between(100 * low, 100 * high)
    return scales


def _chart(
    evaluation: Evaluation, curves: dict[int, VideoDiagnostics], kind: str, words: str, scale: Scale
) -> Chart:
    """One kind of score of one video, all entries over each other."""
    lines, marks = [], []
    for i, found in curves.items():
        values = getattr(found, kind)
        lines.append(Line(evaluation.entries[i].name, i, np.arange(len(values)), values))
        if kind != "flicker" and len(found.stems) > 1 and found.worst is not None:
            place = found.stems.index
            marks.append((i, place(found.worst.first_stem), place(found.worst.last_stem)))
    first = next(iter(curves.values()))
    return draw(
        words,
        lines,
        end=len(first.stems) - 1,
        over=f"the frames of {first.video}",
        percent=True,
        figure="mean",
        scale=scale,
        ends=first.stems[:: max(1, len(first.stems) - 1)],
        marks=marks,
    )


def worst_clips(evaluation: Evaluation) -> list[tuple[int, list[Clip]]]:
    """The worst clip of each video, the worst of all first, by the index of the entry."""
    rows = []
    for i, entry in enumerate(evaluation.entries):
        clips = [video.worst for video in entry.videos if video.worst is not None]
        if clips:
            rows.append((i, sorted(clips, key=lambda clip: clip.accuracy)))
    return rows


def flicker_maps(evaluation: Evaluation) -> list[tuple[str, list[tuple[int, bytes, float]]]]:
    """Videos that flicker most first: the index, flicker map and mean flicker of each entry."""
    maps: dict[str, list[tuple[int, bytes, float]]] = {}
    for i, entry in enumerate(evaluation.entries):
        for video in entry.videos:
            if video.flicker_map and (i == 0 or video.video in maps):
                mean = np.nan_to_num(_mean(video.flicker))
                maps.setdefault(video.video, []).append((i, video.flicker_map, float(mean)))
    return sorted(maps.items(), key=lambda item: -item[1][0][2])


def _mean(curve: np.ndarray) -> float:
    defined = curve[~np.isnan(curve)]
    return float(defined.mean()) if len(defined) else math.nan
