"""The field's metrics on plain arrays: no torch, nothing that grows with the number of frames."""

from vidparse.evaluation.metrics.consistency import temporal_consistency, video_consistency
from vidparse.evaluation.metrics.panoptic import video_panoptic_quality
from vidparse.evaluation.metrics.semantic import segmentation_scores
from vidparse.evaluation.metrics.tracking import segmentation_tracking_quality

__all__ = [
    "segmentation_scores",
    "segmentation_tracking_quality",
    "temporal_consistency",
    "video_consistency",
    "video_panoptic_quality",
]
