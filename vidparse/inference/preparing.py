"""The first stage of a session: frames as network inputs, with the cuts between shots."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import replace
from fractions import Fraction
from itertools import chain

from vidparse.errors import UsageError
from vidparse.frame import Frame
from vidparse.inference.clips import Prepared, closed
from vidparse.inference.cuts import CutDetector
from vidparse.inference.preprocess import input_size, scaled_size, to_clip
from vidparse.inference.repeats import LastPicture, same_bytes
from vidparse.inference.runners.runner import Runner


class Preparer:
    """Makes the inputs of a network, of one video after another.

    Args:
        runner: the network; its facts alone are used.
        size: see :class:`~vidparse.inference.session.Session`, as for the next two.
        sample_aspect_ratio: of the video.
        cut: threshold of the :class:`CutDetector`; None: frames are not compared.
        has_green: inputs have their green along even where frames are not compared.

    Attributes:
        scale: of the sides of the network's input, from the next frame on.
    """

    def __init__(
        self,
        runner: Runner,
        *,
        size: int | tuple[int, int] | None,
        sample_aspect_ratio: Fraction,
        cut: float | None,
        has_green: bool,
    ) -> None:
        self._runner = runner
        self._size, self.scale = size, 1.0
        self._sample_aspect_ratio = sample_aspect_ratio
        self._cut, self._has_green = cut, has_green or cut is not None

        # The size of frames with the scale, and that of the input for these.
        self._sized: tuple[tuple[tuple[int, int], float], tuple[int, int]] = (((0, 0), 1.0), (0, 0))

    def input_size(self, size_hw: tuple[int, int]) -> tuple[int, int]:
        """Size (h, w) of the network's input for frames of `size_hw`."""
        facts = self._runner.description.preprocess
        usual = input_size(
            size_hw, facts, wanted=self._size, sample_aspect_ratio=self._sample_aspect_ratio
        )
        return scaled_size(usual, self.scale, facts.divisor)

    @property
    def can_scale(self) -> bool:
        """True where `scale` changes the network's input: networks may see one size only."""
        facts = self._runner.description.preprocess
        return facts.size_hw is None and not self._runner.takes_pixels

    @property
    def sees_cuts(self) -> bool:
        """True where each frame is compared with the one before it."""
        return self._cut is not None

    def prepared(
        self, frames: Iterable[Frame], *, after: Frame | None = None
    ) -> Iterator[Prepared]:
        """Inputs of the frames of one video, in order.

        Args:
            after: the frame before these, where they go on with a video.

        Raises:
            UsageError: an item is no frame.
        """
        cuts = CutDetector(self._cut) if self._cut is not None else None

        # Seek repeats only where no memory makes equal inputs answer differently.
        picture = LastPicture() if not self._runner.remembers else None
        last: Prepared | None = None
        with closed(frames) as source:
            # Show the frame before once more: all that depends on the past comes from it.
            shown = source if after is None else chain([after], source)
            for frame in map(_frame, shown):
                is_still = picture is not None and picture.repeats(frame.image)
                now = self._prepared(frame, last, is_still=is_still)
                if cuts is not None and now.green is not None:
                    now = replace(now, begins_shot=cuts.is_cut(now.green))
                if frame.follows_gap:
                    now = replace(now, begins_shot=True)
                if frame is not after:
                    yield now
                last = now

    def _prepared(self, frame: Frame, last: Prepared | None, *, is_still: bool) -> Prepared:
        """A frame with its network input, which repeats that of the last frame or does not.

        is_still: its picture equals the last one.
        """
        if self._runner.takes_pixels:
            return Prepared(frame, frame.image.rgb().transpose(2, 0, 1)[None], repeats=is_still)
        if last is not None and is_still:
            return replace(last, frame=frame, begins_shot=False, repeats=True)

        facts = self._runner.description.preprocess
        size_hw = frame.image.size_hw
        if self._sized[0] != (size_hw, self.scale):
            self._sized = (size_hw, self.scale), self.input_size(size_hw)
        input_hw = self._sized[1]
        picture = to_clip(frame.image, input_hw, facts)
        now = Prepared(frame, picture)

        # Compare inputs, too: pictures that differ in few samples may shrink to the same.
        if last is not None and not self._runner.remembers and last.sizes == now.sizes:
            now = replace(now, repeats=same_bytes(picture, last.input))

        # Undo the normalisation of green for those who look at pictures, in values 0..1.
        if not self._has_green:
            return now
        return replace(now, green=picture[0, 1] * facts.std[1] + facts.mean[1])


def _frame(item: object) -> Frame:
    """The item. Raises: UsageError: it is no frame, such as the array of a picture."""
    if not isinstance(item, Frame):
        raise UsageError(
            f"frames: {type(item).__name__} is no Frame; make each by "
            "Frame.from_rgb(pixels, index=i)"
        )
    return item
