"""A small ViP-DeepLab learns one clip by heart: targets, losses, decoding and linking agree."""

from __future__ import annotations

from support.learnt_clip import FRAMES, scores_by_heart


def test_a_clip_is_learnt_by_heart() -> None:
    widths = {"pooling_width": 32, "semantic_width": 32, "instance_width": 32}
    config = {"backbone": "mobilenetv2", "output_stride": 16, **widths}
    scores = scores_by_heart(
        "vip-deeplab",
        config,
        steps=80,
        rate=3e-3,
        objective="deeplab",
        clip_length=FRAMES,
        centre_sigma=4.0,  # the pictures are small
        small_area=256,
    )
    assert scores["vpq"] > 0.9
    assert scores["vpq_things"] > 0.85 and scores["vpq_stuff"] > 0.95
    assert scores["vpq_k3"] > scores["vpq_k1"] - 0.02  # ids last through the clip
    assert scores["aq_clean"] > 0.8
