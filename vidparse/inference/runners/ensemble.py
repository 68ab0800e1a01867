"""Several models over several sizes and mirrorings of a picture, one mean answer.

The test-time augmentation of ETC (Liu et al., ECCV 2020) and of the winners of VSPW 2021: softmax
probabilities are averaged over scales, flips, overlapping windows and models.
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Sequence
from dataclasses import astuple
from fractions import Fraction
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from vidparse.errors import UsageError, counted
from vidparse.image import Rgb
from vidparse.inference.answer import Scores
from vidparse.inference.mixture import Mixture, Patch, spans, windows
from vidparse.inference.preprocess import input_size, to_clip
from vidparse.inference.runners.runner import Runner
from vidparse.labels import Labels, class_ids_in, load_labels
from vidparse.limits import LARGEST, SMALLEST
from vidparse.models.description import SEMANTIC, Description, Preprocess
from vidparse.requests.variants import Variants


class Ensemble(Runner):
    """Several networks as one, whose answer is the mean of their probabilities.

    Every frame is taken by itself. It takes the pixels of frames, of which it makes the inputs of
    its networks. Made of runners that are loaded, it has no line in RUNNERS.

    Args:
        runners: by the names that people gave them.
        labels: the label set of the answer; without it all models must have the same classes.
        votes: how much each model counts beside the others; none: all alike.
        begin_anew: networks that look at frames before are taken, too, and begin with each frame.

    Raises:
        UsageError: label sets that differ and are not known to fit, a panoptic model, one with a
            memory, one of a single size that is to look at several, or votes that are not one above
            0 for each model.
    """

    backend = "ensemble"
    takes_pixels = True

    def __init__(
        self,
        runners: Sequence[tuple[str, Runner]],
        variants: Variants,
        *,
        labels: str | None = None,
        votes: Sequence[float] = (),
        begin_anew: bool = False,
    ) -> None:
        self.shares = shares_of(votes, len(runners))
        for name, runner in runners:
            _check(name, runner, variants, begin_anew=begin_anew)

        common = _common_labels(runners) if labels is None else load_labels(labels)
        self._runners = [(one, class_ids_in(one.labels, common)) for _, one in runners]
        self._variants = variants
        self._size: int | tuple[int, int] | None = None
        self._sample_aspect_ratio = Fraction(1)

        # Name it by all that decides its answers, so that results are not taken for others.
        self.parts = tuple(one for _, one in runners)
        sums = [(one.description.sha256, self.shares[i]) for i, one in enumerate(self.parts)]
        sha256 = hashlib.sha256(repr((sums, astuple(variants))).encode()).hexdigest()
        self.description = Description(
            Path(", ".join(name for name, _ in runners)), sha256, "ensemble", {}, common,
            Preprocess(short_side=0), training={},
        )  # fmt: skip

        self.device = ", ".join(dict.fromkeys(one.device for one in self.parts))
        self.precision = ", ".join(dict.fromkeys(one.precision for one in self.parts))
        self.engine = " + ".join(dict.fromkeys(one.engine for one in self.parts))

    def view(self, size: int | tuple[int, int] | None, sample_aspect_ratio: Fraction) -> None:
        self._size, self._sample_aspect_ratio = size, sample_aspect_ratio

    def answer(self, clip: np.ndarray, size_hw: tuple[int, int] | None = None) -> Mixture:
        """See :class:`Runner`; clips are of one frame, and the answer has its size."""
        ((planes,),) = clip  # (3, H, W)
        image = Rgb(np.ascontiguousarray(planes.transpose(1, 2, 0)))
        size_hw = image.size_hw
        patches: list[Patch] = []
        for (runner, class_ids), share in zip(self._runners, self.shares, strict=True):
            vote = share * len(self.shares)
            facts = runner.description.preprocess
            full_hw = input_size(
                size_hw, facts, wanted=self._size, sample_aspect_ratio=self._sample_aspect_ratio
            )
            for scale in self._variants.scales:
                scaled_hw = full_hw if scale == 1 else _scaled(full_hw, scale, facts.divisor)
                seen = to_clip(image, scaled_hw, facts)
                patches += self._patches(runner, class_ids, vote, seen, size_hw)

        # Count each model once, whatever its vote: votes are 1 on the mean.
        looks = len(self._runners) * len(self._variants.scales) * (2 if self._variants.flip else 1)
        return Mixture(tuple(patches), size_hw, len(self.labels), looks)

    def _patches(
        self,
        runner: Runner,
        class_ids: tuple[int, ...] | None,
        vote: float,
        clip: np.ndarray,
        size_hw: tuple[int, int],
    ) -> list[Patch]:
        """The scores of a network for one size of the picture, float32 (1, 3, h, w), and mirror."""
        length = _multiple(self._variants.slide, runner.description.preprocess.divisor)
        stride = self._variants.slide_stride
        rows, columns = (windows(side, length, stride) for side in clip.shape[2:])
        found = [
            (i, j, _scores(runner, clip[..., top:bottom, left:right], mirrored=mirrored))
            for mirrored in ((False, True) if self._variants.flip else (False,))
            for i, (top, bottom) in enumerate(rows)
            for j, (left, right) in enumerate(columns)
        ]

        height, width = found[0][2].shape[1:]  # windows are of one size
        down = spans(size_hw[0], clip.shape[2], rows, height)
        across = spans(size_hw[1], clip.shape[3], columns, width)
        return [Patch(scores, down[i], across[j], class_ids, vote) for i, j, scores in found]


def _check(name: str, runner: Runner, variants: Variants, *, begin_anew: bool) -> None:
    """Raises: UsageError: a model of another kind than can be averaged."""
    facts = runner.description
    if facts.task != SEMANTIC:
        raise UsageError(
            f"{name}: is panoptic, and probabilities of pixels are needed; "
            "use --task semantic or another model"
        )
    if not begin_anew and (runner.remembers or runner.window > 1):
        raise UsageError(
            f"{name}: looks at the frames before, and several looks at a picture are averaged of "
            f"each frame by itself; leave out {variants.words or 'the other models'}, or use a "
            "model of single frames"
        )
    if facts.preprocess.size_hw is not None and not variants.one_size:
        raise UsageError(f"{name}: takes one size alone; leave out {variants.words}")


def shares_of(votes: Sequence[float], models: int) -> tuple[float, ...]:
    """The weight of each model, of 1 in all.

    Raises:
        UsageError: not one number above 0 for each model, or one that is lost beside another.
    """
    votes = tuple(votes) or (1.0,) * models
    fits = len(votes) == models and all(0 < vote < math.inf for vote in votes)
    if not fits or min(votes) < 1e-6 * max(votes):
        given = ",".join(f"{vote:g}" for vote in votes)
        raise UsageError(
            f"--votes {given}: for {counted(models, 'model')}; give each one a number above 0, "
            "in the order of the models"
        )

    # Divide by the greatest first, so that the sum of huge votes stays finite.
    greatest = max(votes)
    total = sum(vote / greatest for vote in votes)
    return tuple(vote / greatest / total for vote in votes)


def _scores(runner: Runner, clip: np.ndarray, *, mirrored: bool) -> np.ndarray:
    """float32 (K, h, w) of a clip (1, 3, H, W), the right way round however it was seen."""
    # Forget the call before: windows and mirrored pictures are no successive frames.
    runner.reset()
    mine = np.ascontiguousarray(clip[..., ::-1] if mirrored else clip)
    answer = runner.checked(runner.answer(mine[None]))
    assert isinstance(answer, Scores)  # the task is semantic
    scores: NDArray[np.float32] = answer.values[0]
    return scores[..., ::-1] if mirrored else scores


def _scaled(size_hw: tuple[int, int], scale: float, divisor: int) -> tuple[int, int]:
    height, width = (
        min(max(_multiple(round(side * scale), divisor), SMALLEST), LARGEST) for side in size_hw
    )
    return height, width


def _multiple(side: int, divisor: int) -> int:
    """Rounded up."""
    return -(-side // divisor) * divisor


def _common_labels(runners: Sequence[tuple[str, Runner]]) -> Labels:
    """The classes that all models have.

    Raises:
        UsageError: one has others.
    """
    (first_name, first), *others = runners
    labels = first.description.labels
    for name, runner in others:
        theirs = runner.description.labels
        if theirs.classes != labels.classes:
            only = [one for one in theirs.classes if one not in labels.classes]
            what = f"'{only[0]}' is not among them" if only else "they are fewer, or in other order"
            raise UsageError(
                f"{name}: has other classes than {first_name} ({what}); "
                "choose one label set with --labels, or other models"
            )
    return labels
