"""A small Clip-PanoFCN learns one clip by heart: targets, losses, decoding and linking agree."""

from __future__ import annotations

from support.learnt_clip import scores_by_heart


def test_a_clip_is_learnt_by_heart() -> None:
    widths = {"width": 32, "kernel_width": 32, "feature_width": 16}
    config = {"backbone": "mobilenetv2", **widths}
    scores = scores_by_heart("clip-panofcn", config, steps=120, objective="panoptic")
    assert scores["vpq"] > 0.8  # 0.89 when it was written
    assert scores["vpq_things"] > 0.7 and scores["vpq_stuff"] > 0.9
    assert scores["vpq_k3"] > scores["vpq_k1"] - 0.05  # ids last through the clip
    assert scores["aq_clean"] > 0.6  # masks at stride 4 are a pixel off along their edges
