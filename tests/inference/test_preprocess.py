"""Network input: size rules, exact normalisation."""

from __future__ import annotations

from fractions import Fraction

import numpy as np
import pytest

from vidparse.errors import UsageError
from vidparse.image import Rgb
from vidparse.inference.preprocess import network_size, to_clip
from vidparse.models.description import Preprocess
from vidparse.requests.option import input_size


@pytest.mark.parametrize(
    ("size_hw", "aspect", "expected"),
    [
        ((720, 1280), Fraction(1), (360, 640)),
        ((1080, 1920), Fraction(1), (360, 640)),
        ((1920, 1080), Fraction(1), (640, 360)),
        ((360, 480), Fraction(1), (360, 480)),
        ((576, 720), Fraction(64, 45), (360, 640)),  # anamorphic PAL is shown 16:9
        ((10, 4000), Fraction(1), (360, 8192)),
        ((3, 3), Fraction(1), (360, 360)),
    ],
)
def test_short_side_rule(size_hw, aspect, expected) -> None:
    assert network_size(size_hw, 360, aspect) == expected


def test_normalisation_is_the_published_one() -> None:
    rng = np.random.default_rng(0)
    rgb = rng.integers(0, 256, (32, 40, 3), np.uint8)
    facts = Preprocess(32)
    clip = to_clip(Rgb(rgb), (32, 40), facts)
    expected = (rgb / 255 - np.array(facts.mean)) / np.array(facts.std)
    assert clip.shape == (1, 3, 32, 40) and clip.dtype == np.float32
    assert clip.flags.c_contiguous
    assert np.allclose(clip[0], expected.transpose(2, 0, 1), atol=1e-6)


@pytest.mark.parametrize(
    ("text", "value"), [("360", 360), ("640x360", (360, 640)), ("640X360", (360, 640))]
)
def test_sizes_as_people_write_them(text: str, value) -> None:
    assert input_size(text) == value


@pytest.mark.parametrize("text", ["", "x", "640x", "640x360x3", "-5", "1.5", "4", "9000", "640x9"])
def test_bad_sizes_are_usage_errors(text: str) -> None:
    with pytest.raises(UsageError, match="size"):
        input_size(text)
