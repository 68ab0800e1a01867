"""Worst clips and flicker maps: pictures with captions."""

from __future__ import annotations

import numpy as np

from vidparse.evaluation.diagnostics import Clip, VideoDiagnostics
from vidparse.evaluation.report.markup import key, percent, picture, text
from vidparse.evaluation.result import Evaluation
from vidparse.evaluation.thumbnails import HOTTEST, heat_colours

_ROWS = (
    ("picture", "frame"),
    ("truth", "ground truth"),
    ("said", "prediction"),
    ("wrong", "wrong pixels"),
)


def worst_clips(evaluation: Evaluation, *, most: int) -> str:
    """The worst clip of each video, the worst of all first; at most so many an entry."""
    parts = []
    for i, entry in enumerate(evaluation.entries):
        clips = sorted(
            (video.worst for video in entry.videos if video.worst is not None),
            key=lambda clip: clip.accuracy,
        )
        if not clips:
            continue
        if len(evaluation.entries) > 1:
            parts.append(f"<h3>{key(entry.name, i)}</h3>")
        if len(clips) > most:
            parts.append(f'<p class="note">The worst {most} of {len(clips)} videos.</p>')
        figures = "\n".join(_clip(clip) for clip in clips[:most])
        parts.append(f'<div class="clips">\n{figures}\n</div>')
    return "\n".join(parts)


def _clip(clip: Clip) -> str:
    columns = len(clip.frames)
    cells = []
    for kind, title in _ROWS:
        pictures = [getattr(frame, kind) for frame in clip.frames]
        if any(data is None for data in pictures):
            continue
        cells.append(f'<span class="kind">{title}</span>')
        cells += [
            picture(data, f"{title}, {clip.video} {frame.stem}")
            for data, frame in zip(pictures, clip.frames, strict=True)
        ]
    stems = "".join(f'<span class="stem">{text(frame.stem)}</span>' for frame in clip.frames)
    span = (
        f"frame {clip.first}" if clip.first == clip.last else f"frames {clip.first} to {clip.last}"
    )
    return (
        f'<figure class="clip"><figcaption><span class="name">{text(clip.video)}</span> '
        f"<small>{span}, {percent(clip.accuracy, 1)} % of labelled pixels right</small>"
        f'</figcaption><div class="sheet" style="--columns:{columns}">'
        f'<span class="kind"></span>{stems}{"".join(cells)}</div></figure>'
    )


def flicker_maps(evaluation: Evaluation, *, most: int) -> str:
    """Pictures of changes in predictions of a scene that does not change, entries side by side."""
    found = [{video.video: video for video in entry.videos} for entry in evaluation.entries]
    videos = sorted(
        (video for video, diagnostics in found[0].items() if diagnostics.flicker_map),
        key=lambda video: -_mean_flicker(found[0][video]),
    )
    if not videos:
        return ""
    figures = []
    for video in videos[:most]:
        maps = "".join(
            _map(evaluation.entries[i].name, i, by_name[video], several=len(found) > 1)
            for i, by_name in enumerate(found)
            if video in by_name
        )
        figures.append(
            f'<figure class="flicker"><figcaption><span class="name">{text(video)}</span>'
            f'</figcaption><div class="maps">{maps}</div></figure>'
        )
    omitted = (
        f'<p class="note">The {most} videos that flicker most, of {len(videos)}.</p>'
        if len(videos) > most
        else ""
    )
    return (
        _heat_key()
        + omitted
        + (f'<div class="flickers" style="--entries:{len(found)}">\n{"".join(figures)}\n</div>')
    )


def _map(name: str, index: int, found: VideoDiagnostics, *, several: bool) -> str:
    if found.flicker_map is None:
        return ""
    mean = percent(_mean_flicker(found), 2)
    image = picture(found.flicker_map, f"Flicker map of {name} on {found.video}, mean {mean} %")
    label = key(name, index) if several else "mean"
    return f"<div>{image}<small>{label} {mean} %</small></div>"


def _mean_flicker(found: VideoDiagnostics) -> float:
    defined = found.flicker[~np.isnan(found.flicker)]
    return float(defined.mean()) if len(defined) else 0.0


def _heat_key() -> str:
    stops = ", ".join(f"rgb({r},{g},{b})" for r, g, b in heat_colours(9))
    return (
        '<p class="heat-key"><span>never</span>'
        f'<i style="background:linear-gradient(90deg, {stops})"></i>'
        f"<span>{percent(HOTTEST, 0)} % of the frames or more</span></p>"
    )
