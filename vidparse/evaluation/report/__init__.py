"""The report of an evaluation: one HTML page that needs nothing but itself.

The templates and their look are those of `vidparse.page`.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from vidparse.errors import counted
from vidparse.evaluation.diagnostics import HOTTEST, Clip, VideoDiagnostics, heat_colours
from vidparse.evaluation.metrics import definition, title
from vidparse.evaluation.report import scores
from vidparse.evaluation.result import Evaluation
from vidparse.page import count, render, write_page
from vidparse.page.plot import Chart, Curve, Scale, draw

_FEW_CLASSES = 30  # up to here their colours fit a line, and bars are set large
_MOST_PICTURES = 12  # clips per entry, and videos with flicker maps: these make the page heavy
_MANY_VIDEOS = 60  # from here on only the worst have charts
_WORST_VIDEOS = 20
_KINDS = (("accuracy", "pixel accuracy"), ("miou", "mIoU of the frame"), ("flicker", "flicker"))

_HEADINGS = {
    "scores": "Scores",
    "classes": "Classes",
    "confusion": "Confusion",
    "time": "Over time",
    "videos": "Videos",
    "clips": "Worst clips",
    "flicker": "Flicker",
    "colours": "Class colours",
    "definitions": "Definitions",
}
_OF_FRAMES = (
    ("pixel accuracy of a frame", "Share of the labelled pixels of a frame that are right."),
    ("mIoU of a frame", "IoU within one frame, mean over the classes in its ground truth."),
    (
        "flicker of a frame",
        "Share of the pixels whose ground truth is that of the frame before (and not void) but "
        "whose prediction is not. Where a frame has no ground truth, of all pixels, moving ones "
        "included.",
    ),
)


def write_report(path: Path, evaluation: Evaluation) -> None:
    """Write the page; it appears whole or not at all.

    Raises:
        OutputError: it cannot be written there; what was there stays.
    """
    write_page(path, html_page(evaluation))


def html_page(evaluation: Evaluation) -> str:
    """The whole page.

    Raises:
        ValueError: the evaluation has no entry.
    """
    if not evaluation.entries:
        raise ValueError("a report needs an entry")
    timed = timed_videos(evaluation)
    sections = {
        "scores": scores.score_table(evaluation),
        "classes": scores.class_bars(evaluation),
        "confusion": scores.matrices(evaluation),
        "charts": charts(evaluation, timed),
        "videos": scores.video_table(evaluation),
        "clips": worst_clips(evaluation),
        "flicker": flicker_maps(evaluation),
        "definitions": _definitions(evaluation),
    }

    # Scores and colours are never left out; the charts of single frames leave a note.
    shown = {name for name, values in sections.items() if values} | {"scores", "colours"}
    shown |= {"time"} if timed else set()
    return render(
        "report.html",
        title=f"{evaluation.dataset} {evaluation.split}",
        facts=_facts(evaluation),
        entries=[(entry.name, entry.detail) for entry in evaluation.entries],
        command=evaluation.command,
        notes=evaluation.notes,
        contents={name: words for name, words in _HEADINGS.items() if name in shown},
        labels=evaluation.labels,
        class_count=counted(len(evaluation.labels), "class"),
        has_intervals=any(entry.intervals for entry in evaluation.entries),
        leading_score=next(map(title, scores.video_scores(evaluation)), ""),
        timed_videos=len(timed),
        few_classes=_FEW_CLASSES,
        most_pictures=_MOST_PICTURES,
        readable=scores.READABLE,
        longest_name=scores.LONGEST_NAME,
        heat=heat_colours(9),
        hottest=HOTTEST,
        **sections,
    )


def _facts(evaluation: Evaluation) -> str:
    facts = [
        f"{count(evaluation.frames, 'frame')} scored in {count(evaluation.videos, 'video')}",
        counted(len(evaluation.labels), "class"),
    ]
    if evaluation.flow:
        facts.append(f"optical flow: {evaluation.flow}")
    return " · ".join(facts)


def _definitions(evaluation: Evaluation) -> list[tuple[str, str]]:
    """Terms of the page and what they mean, a sentence each."""
    terms = [(title(name), definition(name)) for name in evaluation.entries[0].scores]
    if any(entry.videos for entry in evaluation.entries):
        terms += _OF_FRAMES
    return [(term, _sentence(words)) for term, words in terms if words]


def _sentence(words: str) -> str:
    first = words.split(maxsplit=1)[0]
    start = words[:1].upper() if first.islower() else words[:1]  # mIoU stays mIoU
    return start + words[1:] + ("" if words.endswith(".") else ".")


def timed_videos(evaluation: Evaluation) -> list[str]:
    """Videos with scores per frame, the worst first."""
    known = {video.video for video in evaluation.entries[0].videos if video.stems}
    return [video for video in scores.worst_first(evaluation) if video in known]


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
        lines.append(Curve(evaluation.entries[i].name, i, np.arange(len(values)), values))
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
                mean = np.nan_to_num(scores.mean(video.flicker))
                maps.setdefault(video.video, []).append((i, video.flicker_map, float(mean)))
    return sorted(maps.items(), key=lambda item: -item[1][0][2])
