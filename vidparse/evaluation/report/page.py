"""An evaluation as one HTML page: no network, no file beside it, readable without scripts."""

from __future__ import annotations

from importlib.resources import files
from string import Template

import numpy as np

from vidparse import __version__
from vidparse.errors import counted
from vidparse.evaluation.metrics.measures import definition, title
from vidparse.evaluation.report.classes import class_bars, colour_key, colour_line
from vidparse.evaluation.report.curves import video_charts
from vidparse.evaluation.report.markup import count, key, section, text
from vidparse.evaluation.report.matrix import READABLE, classes_met, confusion_matrix, mistake_table
from vidparse.evaluation.report.order import worst_first
from vidparse.evaluation.report.pictures import flicker_maps, worst_clips
from vidparse.evaluation.report.tables import score_table, video_table
from vidparse.evaluation.result import Evaluation

_MANY_VIDEOS = 60  # from here on only the worst have charts
_WORST_VIDEOS = 20
_MOST_PICTURES = 12  # clips an entry, and videos with flicker maps: these make the page heavy
_MOST_MISTAKES = 12

_PIXEL_ACCURACY = "Share of the labelled pixels of a frame that are right."
_FRAME_MIOU = "IoU within one frame, mean over the classes in its ground truth."
_FLICKER = (
    "Share of the pixels whose ground truth is that of the frame before (and not void) but whose "
    "prediction is not. Where a frame has no ground truth, of all pixels, moving ones included."
)


def html_page(evaluation: Evaluation) -> str:
    """The whole page.

    Raises:
        ValueError: the evaluation has no entry.
    """
    if not evaluation.entries:
        raise ValueError("a report needs an entry")
    sections = {
        "scores": ("Scores", score_table(evaluation)),
        "classes": ("Classes", class_bars(evaluation)),
        "confusion": ("Confusion", _confusion(evaluation)),
        "time": ("Over time", _charts(evaluation)),
        "videos": ("Videos", video_table(evaluation)),
        "clips": ("Worst clips", _clips(evaluation)),
        "flicker": ("Flicker", _flicker(evaluation)),
        "colours": ("Class colours", colour_key(evaluation)),
        "definitions": ("Definitions", _definitions(evaluation)),
    }
    shown = {name: part for name, part in sections.items() if part[1]}
    links = " ".join(f'<a href="#{name}">{part[0]}</a>' for name, part in shown.items())
    return Template(_asset("page.html")).substitute(
        title=text(f"{evaluation.dataset} {evaluation.split}"),
        style=_asset("page.css"),
        script=_asset("page.js"),
        facts=_facts(evaluation),
        entries=_entries(evaluation),
        command=text(evaluation.command),
        notes="".join(f"<li>{text(note)}</li>" for note in evaluation.notes),
        contents=links,
        body="\n".join(section(name, *part) for name, part in shown.items()),
        version=text(__version__),
    )


def _asset(name: str) -> str:
    return (files("vidparse.evaluation.report") / name).read_text(encoding="utf-8")


def _facts(evaluation: Evaluation) -> str:
    facts = [
        f"{count(evaluation.frames, 'frame')} scored in {count(evaluation.videos, 'video')}",
        counted(len(evaluation.labels), "class"),
    ]
    if evaluation.flow:
        facts.append(f"optical flow: {text(evaluation.flow)}")
    return " · ".join(facts)


def _entries(evaluation: Evaluation) -> str:
    return "\n".join(
        f"<li>{key(entry.name, i)} <small>{text(entry.detail)}</small></li>"
        for i, entry in enumerate(evaluation.entries)
    )


def _confusion(evaluation: Evaluation) -> str:
    """Matrix and mistakes beside each other; with many classes the mistakes come first."""
    large = len(evaluation.labels) > READABLE
    several = len(evaluation.entries) > 1
    counts = [entry.confusion for entry in evaluation.entries if entry.confusion is not None]
    used = classes_met(counts) if counts else np.empty(0, np.int64)
    mistakes: list[str] = []
    matrices: list[str] = []
    for i, entry in enumerate(evaluation.entries):
        if entry.confusion is None:
            continue
        name = key(entry.name, i) if several else ""
        matrix = confusion_matrix(entry.confusion, evaluation.labels, used, name=entry.name)
        table = mistake_table(
            entry.confusion, evaluation.labels, rows=_MOST_MISTAKES, name=name if large else ""
        )
        if large:
            fold = "" if matrices else " open"
            mistakes.append(table)
            matrices.append(f"<details{fold}><summary>Matrix {name}</summary>{matrix}</details>")
        else:
            heading = f"<h3>{name}</h3>" if several else ""
            matrices.append(f'{heading}<div class="confusion">{matrix}\n{table}</div>')
    if not matrices:
        return ""
    return (
        '<p class="note">Rows: ground truth; columns: prediction; in per cent of the row. Blue is '
        "right, red is wrong, strong is much; point at a cell for pixels.</p>\n"
        f'<div class="confusion mistakes">{"".join(mistakes)}</div>\n' + "\n".join(matrices)
    )


def _charts(evaluation: Evaluation) -> str:
    videos = [
        video
        for video in worst_first(evaluation)
        if any(found.video == video and found.stems for found in evaluation.entries[0].videos)
    ]
    if not videos:
        return ""
    if all(len(found.stems) < 2 for found in evaluation.entries[0].videos):
        return '<p class="note">Every video has one scored frame: see the table of videos.</p>'
    many = len(videos) > _MANY_VIDEOS
    shown = videos[:_WORST_VIDEOS] if many else videos
    which = f"The {len(shown)} worst of {len(videos)} videos; the table has all." if many else ""
    keys = " ".join(key(entry.name, i) for i, entry in enumerate(evaluation.entries))
    return (
        f'<p class="note">{which} All charts of a kind share their scale; the '
        f"figures are means. The bars at the foot mark the worst clips. {keys}</p>\n"
        + video_charts(evaluation, shown)
    )


def _clips(evaluation: Evaluation) -> str:
    clips = worst_clips(evaluation, most=_MOST_PICTURES)
    if not clips:
        return ""
    return (
        '<p class="note">Of each video the clip with the fewest labelled pixels right. In the '
        "last row wrong pixels are orange and those without a label darkest.</p>\n"
        f"{colour_line(evaluation)}\n{clips}"
    )


def _flicker(evaluation: Evaluation) -> str:
    maps = flicker_maps(evaluation, most=_MOST_PICTURES)
    if not maps:
        return ""
    return (
        '<p class="note">How often the prediction of a pixel changed from one frame to the next '
        "although its ground truth did not. Behind: the first frame.</p>\n" + maps
    )


def _definitions(evaluation: Evaluation) -> str:
    names = [name for name in evaluation.entries[0].scores if definition(name)]
    entries = [(title(name), definition(name)) for name in names]
    if any(entry.videos for entry in evaluation.entries):
        entries += [
            ("pixel accuracy of a frame", _PIXEL_ACCURACY),
            ("mIoU of a frame", _FRAME_MIOU),
            ("flicker of a frame", _FLICKER),
        ]
    items = "\n".join(
        f"<dt>{text(term)}</dt><dd>{text(_sentence(words))}</dd>" for term, words in entries
    )
    return f"<dl>\n{items}\n</dl>" if items else ""


def _sentence(words: str) -> str:
    first = words.split(maxsplit=1)[0]
    start = words[:1].upper() if first.islower() else words[:1]  # mIoU stays mIoU
    return start + words[1:] + ("" if words.endswith(".") else ".")
