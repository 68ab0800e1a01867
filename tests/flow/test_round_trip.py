"""Ways there and back along flows that are known."""

from __future__ import annotations

import numpy as np

from vidparse.flow.round_trip import leads_outside, round_trip_error

SIZE_HW = (24, 32)


def shift(dx: float, dy: float) -> np.ndarray:
    flow = np.empty((2, *SIZE_HW), np.float32)
    flow[0], flow[1] = dx, dy
    return flow


def test_a_way_that_ends_where_it_began_has_no_error() -> None:
    assert not round_trip_error(shift(3, -2), shift(-3, 2), slack_px2=1, share=0.01).any()


def test_the_tolerance_grows_with_the_motion() -> None:
    """Three pixels beside where it began, of a motion of 5: 9 / (1 + 0.02 * 25)."""
    error = round_trip_error(shift(3, 4), shift(0, -4), slack_px2=1, share=0.02)
    np.testing.assert_allclose(error, 6)


def test_the_way_back_is_that_of_where_the_way_there_ends() -> None:
    back = shift(0, 0)
    back[0, :, 20:] = -4  # only to the right of where a step of 4 from column 16 ends
    error = round_trip_error(shift(4, 0), back, slack_px2=1, share=0)
    assert (error[:, :15] == 16).all() and not error[:, 16:28].any()


def test_a_flow_leads_outside_beyond_the_middle_of_edge_pixels() -> None:
    outside = leads_outside(shift(1.5, -1))
    wanted = np.zeros(SIZE_HW, bool)
    wanted[:, -2:], wanted[0] = True, True
    np.testing.assert_array_equal(outside, wanted)
