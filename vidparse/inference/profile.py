"""The profile of a model: how sure it is of the pictures that it learnt from."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence

import numpy as np

from vidparse.errors import UsageError
from vidparse.inference.answer import Scores
from vidparse.inference.load import load_model
from vidparse.inference.looks import Look, look_at, profile_of
from vidparse.inference.preprocess import sample_clips
from vidparse.inference.runners import Runner
from vidparse.models.description import SEMANTIC, Description
from vidparse.models.profile import Profile

PICTURES = 32  # of each source; twice as many are held at a time


def measured_profile(
    description: Description,
    sources: Sequence[str],
    *,
    on_step: Callable[[float, int], None] = lambda done, total: None,
) -> Profile:
    """Look at up to 32 pictures of each source, spread evenly, each as if a video began there.

    Args:
        sources: folders, patterns or videos, as `sample_clips` takes them.
        on_step: called with the sources done, by parts, and all sources.

    Raises:
        UsageError: the network answers with masks, whose sureness is not that of pixels.
        InputError: a source cannot be read, or holds fewer than two pictures.
    """
    if description.task != SEMANTIC:
        raise UsageError(
            f"--profile: {description.path} is {description.task}, and only the scores of semantic "
            "models are looked at; leave it out"
        )
    runner = load_model(os.fspath(description.path), backend="torch", device="cpu")

    looks: list[Look] = []
    for place, source in enumerate(sources):
        clips = sample_clips(source, description.preprocess, PICTURES)
        for number, clip in enumerate(clips, 1):
            looks.append(_look(runner, clip))
            on_step(place + number / len(clips), len(sources))
    return profile_of(looks)


def _look(runner: Runner, clip: np.ndarray) -> Look:
    """A look at one picture, float32 (1, 3, h, w)."""
    runner.reset()
    window = runner.window if runner.fixed_window else 1
    answer = runner.checked(runner.answer(np.repeat(clip, window, axis=0)[None]))
    assert isinstance(answer, Scores)  # by the task, and the CPU gives no ids
    return look_at(answer.values[0])
