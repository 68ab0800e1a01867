"""The linkers by name, and the one that fits a network."""

from __future__ import annotations

from typing import TYPE_CHECKING

from vidparse.errors import UsageError
from vidparse.tables import Table

if TYPE_CHECKING:
    from vidparse.inference.clip_segments import ClipSegments
    from vidparse.inference.panoptic import Linker

# Without a name the last that fits is taken.
LINKERS: Table[type[Linker]] = Table(
    {
        "none": "vidparse.inference.panoptic:ClipLinker",
        "overlap": "vidparse.inference.overlap:OverlapLinker",
        "tracks": "vidparse.inference.track_linker:TrackLinker",
        "queries": "vidparse.inference.numbered:QueryLinker",
        "kernels": "vidparse.inference.tracking:KernelLinker",
        "centres": "vidparse.inference.numbered:CentreLinker",
    }
)


def check_linker(name: str | None) -> None:
    """Raises: UsageError: no linker has this name."""
    if name is not None and name not in LINKERS:
        raise UsageError(f"linker '{name}': unknown; use {', '.join(LINKERS)}")


def make_linker(name: str | None, clip: ClipSegments) -> Linker:
    """The linker called `name`, or the last of LINKERS that fits such clips.

    Raises:
        UsageError: no linker has this name, or it needs keys that the network does not give.
    """
    check_linker(name)
    fitting = [one for one, kind in LINKERS.items() if kind.fits(clip)]
    if name is None:
        name = fitting[-1]
    if name not in fitting:
        raise UsageError(
            f"linker '{name}': needs more than this network gives; use {', '.join(fitting)}"
        )
    return LINKERS[name]()


def linker_name(linker: Linker) -> str:
    """The name in LINKERS of the linker's class."""
    return next(name for name, kind in LINKERS.items() if kind is type(linker))


def linker_of(name: str, state: object) -> Linker:
    """The linker called `name`, which goes on from a state of one of its kind."""
    linker = LINKERS[name]()
    linker.state = state
    return linker
