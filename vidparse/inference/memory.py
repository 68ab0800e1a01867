"""All that a session remembers of a video after a clip, as records, to go on from there.

Every part has a record that is never written to again. The first stage has none: what it knows of
the past is the frame before, which it is shown once more.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from vidparse.inference.answer import ClassIds, Scores
from vidparse.inference.keyframes import KeyFrame
from vidparse.inference.looks import Look
from vidparse.inference.memory_clock import ClockState
from vidparse.inference.network_state import NetworkState
from vidparse.inference.stabilize import StabilizerState
from vidparse.matting.past import Past


@dataclass(frozen=True, slots=True)
class Answering:
    """The memory of the second stage, after a clip.

    shape: of the frames' network input; another one makes the network forget.
    repeated: the answer to the last frame, where a frame that repeats it takes the same.
    key: the last key frame, where there are such.
    clock: of a memory that goes by the time of the video.
    """

    network: NetworkState = field(default_factory=NetworkState)
    shape: tuple[int, ...] = ()
    repeated: Scores | ClassIds | None = None
    key: KeyFrame | None = None
    clock: ClockState | None = None


@dataclass(frozen=True, slots=True)
class Linking:
    """The linker by its name in LINKERS, and its `state`."""

    name: str
    state: object


@dataclass(frozen=True, slots=True)
class Finishing:
    """The memory of the third stage, after a clip.

    looks: at the frames so far.
    """

    stabilizer: StabilizerState | None = None
    linking: Linking | None = None
    mattes: Past | None = None
    looks: tuple[Look, ...] = ()
