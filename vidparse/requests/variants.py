"""The looks of networks at a picture, whose probabilities are averaged."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated

from vidparse.errors import UsageError
from vidparse.limits import LARGEST, SMALLEST
from vidparse.requests.option import Option, scales

PANEL, LABELS = "Model", "Labels"  # panels
SCALES = (0.5, 0.75, 1.0, 1.25, 1.5, 1.75)  # of ETC's and the challenge winners' labels

_SCALES = "Sizes at which each model looks, times its own input size: {}, up to 8."
_FLIP = "Look at the mirrored picture, too."
_SLIDE = "Slide a window of this side (32 to 8192) over the network's input; 0: all of it at once."
_STRIDE = "Pixels of the input from one window to the next; 0: 2/3 of a window."


@dataclass(frozen=True, slots=True)
class Variants:
    """The forms in which each network sees a picture; unless set, the picture as it is.

    scales: of the network's own input size. flip: mirrored, too. slide: side of the windows that
    slide over the input, pixels; 0: none. Where the input is smaller, so is the window. stride:
    pixels from one window to the next; 0: 2/3 of a window, as ETC and semseg have it.
    """

    scales: Annotated[
        tuple[float, ...],
        Option(_SCALES.format("0.75,1,1.25"), panel=PANEL, parse=scales, text="1"),
    ] = (1.0,)
    flip: Annotated[bool, Option(_FLIP, panel=PANEL)] = False
    slide: Annotated[int, Option(_SLIDE, panel=PANEL, least=0)] = 0
    slide_stride: Annotated[int, Option(_STRIDE, panel=PANEL, least=0)] = 0

    @property
    def is_plain(self) -> bool:
        """True where each network looks once, at the picture as it is."""
        return self.scales == (1.0,) and not self.flip and not self.slide

    @property
    def one_size(self) -> bool:
        """True where each network sees its own input size alone."""
        return self.scales == (1.0,) and not self.slide

    @property
    def words(self) -> str:
        """The options that are not the usual ones, as a user gives them."""
        given = {
            f"--scales {','.join(f'{scale:g}' for scale in self.scales)}": self.scales != (1.0,),
            "--flip": self.flip,
            f"--slide {self.slide}": self.slide > 0,
            f"--slide-stride {self.slide_stride}": self.slide_stride > 0,
        }
        return " ".join(option for option, is_given in given.items() if is_given)

    def __post_init__(self) -> None:
        """Raises: UsageError: nothing to see, or sizes that cannot be."""
        if not self.scales or not all(0 < scale <= 8 for scale in self.scales):
            raise UsageError("scales: must be above 0 and at most 8; give 0.5,1,1.5")
        if self.slide and not SMALLEST <= self.slide <= LARGEST:
            raise UsageError(
                f"slide {self.slide}: must lie in {SMALLEST}..{LARGEST} pixels; 0 turns it off"
            )
        if self.slide_stride and not 0 < self.slide_stride <= self.slide:
            raise UsageError(
                f"slide-stride {self.slide_stride}: is for windows of --slide, and at most their "
                "side, or pixels would be left out"
            )


@dataclass(frozen=True, slots=True)
class LabelVariants(Variants):
    """The same for labels, where time matters less: six sizes, and mirrored."""

    scales: Annotated[
        tuple[float, ...],
        Option(
            _SCALES.format("0.5,1,1.5"),
            panel=LABELS,
            parse=scales,
            text="0.5,0.75,1,1.25,1.5,1.75",
        ),
    ] = SCALES
    flip: Annotated[bool, Option(_FLIP, panel=LABELS)] = True
    slide: Annotated[int, Option(_SLIDE, panel=LABELS, least=0)] = 0
    slide_stride: Annotated[int, Option(_STRIDE, panel=LABELS, least=0)] = 0
