"""The `sample://` address, and the record it is read into."""

from __future__ import annotations

import difflib
import re
from collections.abc import Callable
from dataclasses import dataclass
from fractions import Fraction
from typing import Any
from urllib.parse import parse_qsl

from vidparse.errors import UsageError

SCENES = ("street", "crowd")
PREFIX = "sample://"
# Instance ids are uint16 and never reused, so a drive past ever new things has to end.
MAX_DURATION_S = 3600
_SIDE_PX = (64, 4096)
_EXAMPLE = "sample://street?frames=120&size=1280x720&seed=3&rate=30000/1001"


@dataclass(frozen=True, slots=True)
class SceneSpec:
    """A rendered video: the same spec is the same video."""

    name: str  # one of SCENES
    frames: int = 120
    size_hw: tuple[int, int] = (720, 1280)
    seed: int = 0
    rate: Fraction = Fraction(30)  # frames per second

    def __str__(self) -> str:
        height, width = self.size_hw
        return (
            f"{PREFIX}{self.name}?frames={self.frames}&size={width}x{height}"
            f"&seed={self.seed}&rate={self.rate}"
        )


def parse_scene(spec: str, *, also: tuple[str, ...] = ()) -> SceneSpec:
    """Read `sample://NAME?frames=N&size=WxH&seed=N&rate=N[/D]`; every key is optional.

    Args:
        also: keys that the caller reads itself, for the message about an unknown one.

    Raises:
        UsageError: unknown scene, key or value.
    """
    name, _, query = spec.removeprefix(PREFIX).partition("?")
    name = name.rstrip("/")
    if not spec.startswith(PREFIX) or name not in SCENES:
        raise UsageError(f"{spec}: no such scene; try {' or '.join(PREFIX + n for n in SCENES)}")

    readers: dict[str, Callable[[str], Any]] = {
        "frames": _frames,
        "size": _size_hw,
        "seed": _seed,
        "rate": _rate,
    }

    values: dict[str, Any] = {}
    for key, text in parse_qsl(query, keep_blank_values=True):
        if key not in readers:
            known = [*readers, *also]
            near = difflib.get_close_matches(key, known, n=1)
            hint = f"did you mean '{near[0]}'" if near else f"the keys are {', '.join(known)}"
            raise UsageError(f"{spec}: unknown key '{key}'; {hint}, as in {_EXAMPLE}")
        try:
            values["size_hw" if key == "size" else key] = readers[key](text)
        except (ValueError, ZeroDivisionError) as error:
            raise UsageError(f"{spec}: {key}={text}: {error}; write it as in {_EXAMPLE}") from None

    scene = SceneSpec(name, **values)
    if scene.frames / scene.rate > MAX_DURATION_S:
        raise UsageError(
            f"{spec}: lasts {float(scene.frames / scene.rate):.0f} s and scenes end at "
            f"{MAX_DURATION_S} s; choose fewer frames or a higher rate"
        )
    return scene


def _frames(text: str) -> int:
    if not re.fullmatch(r"\d{1,9}", text) or int(text) < 1:
        raise ValueError("not a whole number of frames from 1 up")
    return int(text)


def _seed(text: str) -> int:
    if not re.fullmatch(r"\d{1,18}", text):
        raise ValueError("not a whole number from 0 up")
    return int(text)


def _size_hw(text: str) -> tuple[int, int]:
    match = re.fullmatch(r"(\d{1,5})x(\d{1,5})", text)
    if match is None:
        raise ValueError("not WIDTHxHEIGHT")
    width, height = int(match[1]), int(match[2])
    low, high = _SIDE_PX
    if not (low <= width <= high and low <= height <= high):
        raise ValueError(f"both sides must be {low} to {high} pixels")
    return height, width


def _rate(text: str) -> Fraction:
    if not re.fullmatch(r"\d{1,9}(/\d{1,9}|\.\d{1,9})?", text):
        raise ValueError("not a frame rate")
    rate = Fraction(text)
    if not 0 < rate <= 1000:
        raise ValueError("not a rate above 0 and up to 1000 frames per second")
    return rate
