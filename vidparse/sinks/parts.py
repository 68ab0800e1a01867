"""Parts of outputs under their temporary names, which killed workers leave."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from contextlib import suppress
from pathlib import Path

from vidparse.filenames import is_unfinished
from vidparse.files import WholeFile, WholeFolder
from vidparse.sinks.sink import Sink
from vidparse.sinks.targets import Protected

_PAUSE_S = 0.05


def remove_parts(sinks: Sequence[Sink], protected: Protected, *, patience_s: float) -> None:
    """Remove what a worker that is gone has left of outputs under way; what is whole stays.

    Args:
        protected: inputs, which may have names of parts.
        patience_s: with a worker that is about to end, and still holds a part.
    """
    until_s = time.monotonic() + patience_s
    left = {path for sink in sinks for path in _parts(sink) if path not in protected}
    while left:
        left = {path for path in left if not _is_gone(path)}
        if not left or time.monotonic() > until_s:
            return
        time.sleep(_PAUSE_S)


def _parts(sink: Sink) -> Iterator[Path]:
    """The parts of the outputs of a sink that are there."""
    named = [Path(name) for name in sink.outputs]
    for final in named or filter(None, [sink.target.path]):
        # Take names with more in them, too: of each matte, and those of a second attempt.
        with suppress(OSError):
            yield from (
                path
                for path in final.parent.iterdir()
                if path.name.startswith(f"{final.stem}.") and is_unfinished(path)
            )


def _is_gone(path: Path) -> bool:
    """Remove a part unless a living program has it; True where it is gone."""
    whole = WholeFolder(path) if path.is_dir() else WholeFile(path)
    whole.path = path
    return whole.remove_stale()
