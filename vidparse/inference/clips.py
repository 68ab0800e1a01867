"""Clips on their way through a session: what each stage hands to the next, and where clips end."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol, TypeVar

import numpy as np

from vidparse.frame import Frame
from vidparse.inference.answer import Answer
from vidparse.inference.clip_segments import ClipSegments
from vidparse.inference.looks import Look
from vidparse.threads import close_iterator

if TYPE_CHECKING:
    from vidparse.inference.memory import Answering

T = TypeVar("T")


class Fitting(Protocol):
    """A frame on its way to the network, as far as clips are made by it."""

    @property
    def begins_shot(self) -> bool: ...
    @property
    def sizes(self) -> tuple[object, ...]: ...


P = TypeVar("P", bound=Fitting)


@dataclass(frozen=True, slots=True)
class Prepared:
    """A frame with its network input, float32 (1, 3, h, w), or its pixels, uint8 (1, 3, H, W)."""

    frame: Frame
    input: np.ndarray
    begins_shot: bool = False  # the network must forget what came before
    green: np.ndarray | None = None  # float32 (h, w), 0..1: what cuts and motion are seen in
    repeats: bool = False  # the input, and the size of the frame, are those of the frame before

    @property
    def sizes(self) -> tuple[object, ...]:
        """Equal for frames that fit in one clip."""
        return self.input.shape, self.frame.image.size_hw


@dataclass(frozen=True, slots=True)
class Answered:
    """T frames of one size and one shot with the network's answer to them."""

    frames: tuple[Frame, ...]
    answer: Answer  # the very object of the clip before, where this clip repeats that one
    begins_shot: bool = False  # at the first of them
    greens: tuple[np.ndarray | None, ...] = ()  # as in Prepared, one per frame
    repeated: int = 0  # frames that the network was spared
    memory: Answering | None = None  # after them, where somebody keeps it
    looks: tuple[Look, ...] = ()  # at those of them whose turn it was


@dataclass(frozen=True, slots=True)
class Segmented:
    """T frames of one size and one shot with their segments, not linked to clips before.

    clip: of semantic networks its maps are semantic, too.
    repeated: frames that the network was spared.
    memory, looks: as in :class:`Answered`.
    """

    frames: tuple[Frame, ...]
    clip: ClipSegments
    begins_shot: bool = False
    repeated: int = 0
    memory: Answering | None = None
    looks: tuple[Look, ...] = ()


def clips_of(prepared: Iterable[P], most: int, *, aligned: bool, number: int) -> Iterator[list[P]]:
    """Runs of at most `most` frames of one size and one shot.

    aligned: they end where `most` divides the number of frames so far, of which `number` came
        before these.

    An error of `prepared` is raised after the frames before it were given.
    """
    clip: list[P] = []
    with closed(prepared) as source:
        try:
            for count, one in enumerate(source, start=number + 1):
                # End the clip before a frame that does not fit, however short it is.
                if clip and (one.begins_shot or one.sizes != clip[0].sizes):
                    yield clip
                    clip = []
                clip.append(one)

                # Count aligned clips from the video's first frame, so that cuts do not shift them.
                if (count if aligned else len(clip)) % most == 0:
                    yield clip
                    clip = []

        # Hand over what was complete before a fault ends the video.
        except Exception:
            if clip:
                yield clip
            raise
        if clip:
            yield clip


@contextmanager
def closed(items: Iterable[T]) -> Iterator[Iterator[T]]:
    """The items as an iterator that is closed with the stage that reads it."""
    iterator = iter(items)
    try:
        yield iterator
    finally:
        close_iterator(iterator)
