"""From the segments of a frame to its mattes: soft, along the edges of the picture, and steady."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from importlib.util import find_spec
from typing import Self

import cv2
import numpy as np
from numpy.typing import NDArray

from vidparse.errors import UsageError
from vidparse.filenames import one_or_several
from vidparse.frame import Frame
from vidparse.labels import Labels
from vidparse.maps import SegmentMap
from vidparse.maps.matte import Matte
from vidparse.matting.guided import GuidedFilter, applied
from vidparse.matting.margins import margins_of
from vidparse.matting.past import Past
from vidparse.matting.selection import Selection, select_mattes
from vidparse.matting.smoothing import Smoother
from vidparse.matting.specks import without_specks
from vidparse.requests.matte import MatteOptions

_WORK_LINES = 360  # edges are looked for in pictures that are not much taller
_RADII_PER_HEIGHT = 60  # windows of the guided filter reach over this share of the height
_PENALTY = 1e-4
_STEEPNESS = 2.5  # the filter blurs a little: values from 0.3 to 0.7 are spread over 0 to 1
_FAINT = 4  # of 255: a matte that is nowhere stronger is empty
_GONE = 0.3  # probability: what is nowhere above it and wins no pixel has ended

Refined = NDArray[np.float32]


class Matter:
    """Makes mattes of one video, frame after frame.

    Args:
        labels: of the maps.
        selection: which mattes.
        edges: "guided", "closed-form" or "scores", see `MatteOptions`.
        smooth: mix in the mattes of the frames before, along the motion.

    Raises:
        UsageError: closed-form edges without the library for them.
    """

    def __init__(
        self, labels: Labels, selection: Selection, *, edges: str = "guided", smooth: bool = True
    ) -> None:
        if edges == "closed-form" and find_spec("pymatting") is None:
            raise UsageError(
                "--matte-edges closed-form: needs pymatting; pip install 'vidparse[matting]', "
                "or use guided"
            )
        self.selection = selection
        self._labels, self._edges = labels, edges
        self._smoother = Smoother() if smooth else None

    @classmethod
    def of(
        cls, options: MatteOptions, labels: Labels, *, is_panoptic: bool, kept: Sequence[int] | None
    ) -> Self:
        """By the options; `is_panoptic` and `kept` as of `select_mattes`.

        Raises:
            UsageError: classes, objects or edges that cannot be had.
        """
        words = None if options.matte is None else one_or_several(options.matte)
        selection = select_mattes(words, labels, is_panoptic=is_panoptic, kept=kept)
        return cls(labels, selection, edges=options.edges, smooth=options.smooth)

    def margins(self, scores: np.ndarray) -> NDArray[np.float16]:
        """The part of a frame's scores (K, h, w) that mattes need; see `SegmentMap.margins`."""
        return margins_of(scores, self.selection.groups)

    @property
    def state(self) -> Past | None:
        """The memory of the video, to be kept and set again; None: there is none."""
        return None if self._smoother is None else self._smoother.state

    @state.setter
    def state(self, state: Past | None) -> None:
        if self._smoother is not None:
            self._smoother.state = state

    def reset(self) -> None:
        """A new video or shot."""
        if self._smoother is not None:
            self._smoother.reset()

    def mattes(self, frame: Frame, found: SegmentMap) -> tuple[Matte, ...]:
        """The mattes of the next frame.

        Where the map has margins they show how unsure an edge is, else the map's own pixels do. A
        matte begins where it wins a pixel, and ends where it wins none and what the past left of it
        is faint. One that is not there is empty, of `each` left out.
        """
        picture = frame.image.rgb()
        work_hw = work_size(frame.image.size_hw)
        small = resized(picture, work_hw)
        inside = self._present(small, found)

        refine = self._refiner(picture, small, inside)
        mattes = tuple(
            Matte(name, refine(one), np.rint(one * 255).astype(np.uint8))
            for name, one in inside.items()
        )
        if mattes or self.selection.each:
            return mattes
        alpha, nothing = (np.zeros(size, np.uint8) for size in (picture.shape[:2], work_hw))
        return (Matte(self.selection.name, alpha, nothing),)

    def _present(self, small: np.ndarray, found: SegmentMap) -> dict[str, Refined]:
        """The probability (h, w) of each matte that is there, by its name, steadied by the past.

        Args:
            small: the picture, RGB uint8 (h, w, 3).
        """
        past = () if self._smoother is None else self._smoother.names
        inside, winners = self._inside(found, small.shape[:2], past)
        if self._smoother is None:
            return {name: inside[name] for name in winners}

        # Forget what has ended, so that it begins anew.
        inside = self._smoother.step(small, inside)
        there = {n: one for n, one in inside.items() if n in winners or one.max() > _GONE}
        self._smoother.keep(there.keys())
        return there

    def _inside(
        self, found: SegmentMap, work_hw: tuple[int, ...], past: Sequence[str]
    ) -> tuple[dict[str, Refined], list[str]]:
        """Mattes that win a pixel of the map, or are of the past, at the size of the small picture.

        Returns:
            the probability of each, float32 (h, w), by its name; the names of those that win one.
        """
        height, width = work_hw
        if found.margins is None or found.segments is not None:
            inside = self._inside_of_pixels(found, (height, width))
            winners = list(inside)
            inside |= {
                name: np.zeros((height, width), np.float32) for name in past if name not in inside
            }
            return inside, winners

        selection, inside, winners = self.selection, {}, []
        names = [selection.name]
        if selection.each:
            names = [self._labels.classes[one] for one in selection.class_ids]
        for name, margin in zip(names, found.margins, strict=True):
            if (margin > 0).any():
                winners.append(name)
            elif name not in past:
                continue  # of the classes that a model knows, few are in view
            plane = cv2.resize(margin.astype(np.float32), (width, height))
            inside[name] = np.reciprocal(1 + cv2.exp(-plane))
        return inside, winners

    def _inside_of_pixels(self, found: SegmentMap, size_hw: tuple[int, int]) -> dict[str, Refined]:
        """The probability of mattes by the map's own pixels, and by scores of its objects."""
        # Blur the pixels: their edge is unsure by about a window.
        deviation = radius_of(size_hw[0]) / 2
        masks = self.selection.masks(found, self._labels)
        small = {name: resized(mask, size_hw) for name, mask in masks.items() if mask.any()}
        inside = {name: _softened(mask, deviation) for name, mask in small.items()}
        if found.margins is None or found.segments is None:
            return inside

        places = self.selection.places(found.segments, self._labels)
        return {
            name: object_inside(found.margins[places[name]], small[name], soft)
            for name, soft in inside.items()
        }

    def _refiner(
        self, picture: np.ndarray, small: np.ndarray, inside: Mapping[str, Refined]
    ) -> Callable[[Refined], np.ndarray]:
        """A function that makes the alpha, uint8 (H, W), of a small probability."""
        height, width = picture.shape[:2]
        if self._edges == "scores" or not inside:
            return lambda one: _bytes(cv2.resize(one, (width, height)))
        if self._edges == "closed-form":
            from vidparse.matting.closed_form import closed_form_alpha

            return lambda one: closed_form_alpha(picture, one)
        guide: Refined = small.astype(np.float32) / np.float32(255)
        windows = GuidedFilter(guide, radius_of(len(small)), _PENALTY)
        return lambda one: guided_alpha(picture, windows, one)


def object_inside(margins: NDArray[np.float16], mask: np.ndarray, soft: Refined) -> Refined:
    """The probability of the pixels of some segments, float32 (h, w), by their own scores.

    The scores of one segment do not know of others. Where these have the pixel, or where it is the
    segment's for another reason, its map is right and its scores are wrong.

    Args:
        margins: (N, h', w') of the segments; see `SegmentMap`. N may be 0.
        mask: their pixels, uint8 (h, w). soft: the same, blurred.
    """
    height, width = mask.shape
    first, second = np.zeros((2, height, width), np.float32)
    for margin in margins:
        plane = cv2.resize(margin.astype(np.float32), (width, height))
        own = np.reciprocal(1 + cv2.exp(-plane))
        second = np.maximum(second, np.minimum(first, own))
        first = np.maximum(first, own)

    # Add up the two likeliest: between two objects that touch no background shines through.
    own = np.minimum(first + second, 1)
    agreed = (own > 0.5) == (mask > 127)
    return np.asarray(np.where(agreed, own, soft), np.float32)


def guided_alpha(picture: np.ndarray, windows: GuidedFilter, inside: Refined) -> np.ndarray:
    """Alpha uint8 (H, W) of a small probability, with the edges of the picture.

    Args:
        picture: RGB uint8 (H, W, 3). windows: of the picture made small.
        inside: float32 (h, w), of that size.
    """
    alpha: np.ndarray = np.zeros(picture.shape[:2], np.uint8)
    lines = windows.lines(inside)

    # Enlarge nothing but the part where the object is.
    x, y, across, down = cv2.boundingRect((inside > _FAINT / 255).view(np.uint8))
    if not across:
        return alpha
    reach = 2 * radius_of(len(inside))
    scale_y, scale_x = len(alpha) / len(inside), len(alpha[0]) / len(inside[0])
    top, left = max(0, y - reach), max(0, x - reach)
    bottom, right = min(inside.shape[0], y + down + reach), min(inside.shape[1], x + across + reach)
    rows = slice(round(top * scale_y), round(bottom * scale_y))
    columns = slice(round(left * scale_x), round(right * scale_x))
    soft = applied(lines[top:bottom, left:right], picture[rows, columns])
    found = _bytes((soft - 0.5) * _STEEPNESS + 0.5)
    alpha[rows, columns] = without_specks(found, alpha.size, len(alpha) // len(inside))
    return alpha


def work_size(size_hw: tuple[int, int]) -> tuple[int, int]:
    """The size that edges are looked for at: a whole part of the frame's short side."""
    part = max(1, -(-min(size_hw) // _WORK_LINES))
    return max(1, size_hw[0] // part), max(1, size_hw[1] // part)


def radius_of(height: int) -> int:
    """Radius of the guided filter's windows in a picture of so many lines."""
    return max(2, round(height / _RADII_PER_HEIGHT))


def resized(array: np.ndarray, size_hw: tuple[int, int]) -> np.ndarray:
    """The mean of the area of each pixel, of an array that is as large or larger."""
    height, width = size_hw
    return cv2.resize(array, (width, height), interpolation=cv2.INTER_AREA)


def _softened(mask: np.ndarray, deviation: float) -> Refined:
    """A mask of bytes as probabilities that change over an edge as far as `deviation`."""
    soft = cv2.GaussianBlur(mask.astype(np.float32), (0, 0), deviation)
    return np.asarray(soft / 255, np.float32)


def _bytes(values: np.ndarray) -> np.ndarray:
    return np.clip(np.rint(values * 255), 0, 255).astype(np.uint8)
