"""Rendered street scenes with exact ground truth, for those who have no clip at hand."""

from vidparse.scenes.scene import LABELS, Scene, SceneFrame
from vidparse.scenes.spec import SceneSpec, parse_scene

__all__ = [
    "LABELS",
    "Scene",
    "SceneFrame",
    "SceneSpec",
    "parse_scene",
]
