"""Rendered street scenes with exact ground truth.

Who needs them:

- a user without a clip: `vidparse segment sample://street` works at once;
- training and evaluation: `--dataset sample://street` has exact classes and objects, no download;
- exports: `vidparse export` compares and calibrates networks on frames that it can render anywhere;
- tests: flow, linking and stabilisation are held against geometry.

The path of a frame: a `SceneSpec` (from the address) makes a world, `Street` or `Crowd`, which
fills a bank of textures once. For each frame the world lays its quads (textured parallelograms in
metres), `view.see` projects, culls and orders them, `raster` decides which surface owns each pixel
and paints the colours, and `Lens` adds blur, vignetting and noise. A frame depends on nothing but
the spec and its index, so frames may be rendered in any order and on any machine.

Labels are CamVid's eleven classes; class ids, object ids and flow come from the same surfaces as
the colours, so they are exact.
"""

from vidparse.scenes.scene import LABELS, Scene, SceneFrame
from vidparse.scenes.spec import SceneSpec, parse_scene

__all__ = [
    "LABELS",
    "Scene",
    "SceneFrame",
    "SceneSpec",
    "parse_scene",
]
