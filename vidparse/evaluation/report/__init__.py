"""The report of an evaluation: one HTML page that needs nothing but itself.

The templates and their look are those of `vidparse.page`.
"""

from __future__ import annotations

from pathlib import Path

from vidparse.errors import counted
from vidparse.evaluation.diagnostics import HOTTEST, heat_colours
from vidparse.evaluation.metrics import definition, title
from vidparse.evaluation.report import scores, videos
from vidparse.evaluation.result import Evaluation
from vidparse.page import count, render, write_page

_FEW_CLASSES = 30  # up to here their colours fit a line, and bars are set large
_MOST_PICTURES = 12  # clips per entry, and videos with flicker maps: these make the page heavy

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
    timed = videos.timed(evaluation)
    sections = {
        "scores": scores.score_table(evaluation),
        "classes": scores.class_bars(evaluation),
        "confusion": scores.matrices(evaluation),
        "charts": videos.charts(evaluation, timed),
        "videos": scores.video_table(evaluation),
        "clips": videos.worst_clips(evaluation),
        "flicker": videos.flicker_maps(evaluation),
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
