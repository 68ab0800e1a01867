"""Live inputs: cameras, streams of the network, files that grow, pipes of which the newest counts.

A `Reader` reads one connection after another in a thread; `LiveSource` gives its frames to the
pipeline, `LiveStages` drops those that are too old for the network.
"""

from __future__ import annotations

from vidparse.live.connection import Opening, is_live
from vidparse.live.source import LiveSource, open_live
from vidparse.live.stages import LiveStages

__all__ = ["LiveSource", "LiveStages", "Opening", "is_live", "open_live"]
