"""The linkers that there are, by name, and the one that fits a network."""

from __future__ import annotations

from vidparse.errors import UsageError
from vidparse.inference.clip_segments import ClipSegments
from vidparse.inference.following import QueryLinker
from vidparse.inference.overlap import OverlapLinker
from vidparse.inference.panoptic import ClipLinker, Linker
from vidparse.inference.stitching import CentreLinker
from vidparse.inference.track_linker import TrackLinker
from vidparse.inference.tracking import KernelLinker

# Without a name the last that fits is taken.
LINKERS: dict[str, type[Linker]] = {
    "none": ClipLinker,
    "overlap": OverlapLinker,
    "tracks": TrackLinker,
    "queries": QueryLinker,
    "kernels": KernelLinker,
    "centres": CentreLinker,
}


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
