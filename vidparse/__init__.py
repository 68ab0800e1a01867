"""vidparse: video segmentation with exact time, constant memory and the speed of the network."""

from __future__ import annotations

import os

# Read as true by type checkers; `typing` itself would take longer than all else here, and until it
# is there an interrupt ends in a traceback.
TYPE_CHECKING = False
if TYPE_CHECKING:
    from vidparse.frame import Frame, VideoInfo
    from vidparse.inference import Session, load_model
    from vidparse.maps import Prediction, Segment, SegmentMap
    from vidparse.propagation import propagate
    from vidparse.requests.live import LiveOptions
    from vidparse.requests.matte import MatteOptions
    from vidparse.requests.outputs import SinkOptions
    from vidparse.requests.propagate import PropagateRequest
    from vidparse.requests.redaction import RedactOptions
    from vidparse.run import SegmentOptions, segment
    from vidparse.video import open_video

__version__ = "0.1.0"
DEFAULT_MODEL = "street-student"  # a name of weights/catalogue.json

# Libraries that report to their makers until they find this, when they are first imported.
for _switch in ("ORT_DISABLE_TELEMETRY", "HF_HUB_DISABLE_TELEMETRY"):
    os.environ.setdefault(_switch, "1")

# public name -> module; imported on first use, so that `import vidparse` costs nothing
_PUBLIC = {
    "Frame": "vidparse.frame",
    "LiveOptions": "vidparse.requests.live",
    "MatteOptions": "vidparse.requests.matte",
    "Prediction": "vidparse.maps",
    "PropagateRequest": "vidparse.requests.propagate",
    "RedactOptions": "vidparse.requests.redaction",
    "Segment": "vidparse.maps",
    "SegmentMap": "vidparse.maps",
    "SegmentOptions": "vidparse.run",
    "Session": "vidparse.inference",
    "SinkOptions": "vidparse.requests.outputs",
    "VideoInfo": "vidparse.frame",
    "load_model": "vidparse.inference",
    "open_video": "vidparse.video",
    "propagate": "vidparse.propagation",
    "segment": "vidparse.run",
}
__all__ = [
    "DEFAULT_MODEL",
    "Frame",
    "LiveOptions",
    "MatteOptions",
    "Prediction",
    "PropagateRequest",
    "RedactOptions",
    "Segment",
    "SegmentMap",
    "SegmentOptions",
    "Session",
    "SinkOptions",
    "VideoInfo",
    "load_model",
    "open_video",
    "propagate",
    "segment",
]


def __getattr__(name: str) -> object:
    from vidparse.tables import public_member

    return public_member(_PUBLIC, __name__, name)
