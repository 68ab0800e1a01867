"""Requests of programs: texts mean what they mean on the command line, and numbers are numbers."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

import numpy as np
import pytest

from vidparse import segment
from vidparse.errors import UsageError
from vidparse.requests.from_python import checked
from vidparse.requests.live import LiveOptions, Rotation
from vidparse.requests.segment import SegmentOptions


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        ({"end_s": "2s"}, {"end_s": 2.0}),
        ({"start_s": Decimal("1.5")}, {"start_s": 1.5}),
        ({"start_s": np.float32(0.5)}, {"start_s": 0.5}),
        ({"stride": np.int64(3)}, {"stride": 3}),
        ({"cut": "off"}, {"cut": None}),
        ({"live": LiveOptions(rotate="10m")}, {"live": LiveOptions(rotate=Rotation(600.0))}),
        ({"live": LiveOptions(timeout_s="10")}, {"live": LiveOptions(timeout_s=10.0)}),
        ({"live": LiveOptions(rotate="10")}, {"live": LiveOptions(rotate=Rotation(10.0))}),
        ({"save": "overlay", "size": (64, 96)}, {"save": "overlay", "size": (64, 96)}),
        ({}, {}),
    ],
)
def test_values_become_those_of_the_command_line(
    given: dict[str, Any], expected: dict[str, Any]
) -> None:
    assert checked(SegmentOptions(**given)) == SegmentOptions(**expected)


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"end_s": True}, "end_s=True: is not a number"),
        ({"end_s": "soon"}, "end_s 'soon': not a time"),
        ({"stride": 1.5}, "stride=1.5: is not a whole number"),
        ({"stabilize": 1}, "stabilize=1: is not True or False"),
        ({"live": LiveOptions(rotate="never")}, "rotate 'never': neither a time nor a size"),
    ],
)
def test_other_values_are_one_line(given: dict[str, Any], message: str) -> None:
    with pytest.raises(UsageError, match=message) as caught:
        segment("sample://street?frames=1", SegmentOptions(**given))
    assert "\n" not in str(caught.value)
