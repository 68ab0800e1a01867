"""The shelf keeps what it is given, in memory or not."""

from __future__ import annotations

import numpy as np
import pytest

from vidparse.propagation.shelf import Shelf


@pytest.mark.parametrize("most_bytes", [0, 1000, 10**6])
def test_arrays_come_back_as_they_were(most_bytes: int) -> None:
    random = np.random.default_rng(0)
    shelf = Shelf("clip.mp4", most_bytes)
    given = [
        (random.random((2, 9, 7)).astype(np.float16), random.integers(0, 255, (9, 7), np.uint8))
        for _ in range(20)
    ]
    for _ in range(2):  # a shelf that was cleared is as new
        slips = [shelf.put(*one) for one in given]
        for i in (3, 19, 0, 7, 7):
            for one, other in zip(shelf.take(slips[i]), given[i], strict=True):
                assert one.dtype == other.dtype and (one == other).all()
        shelf.clear()
    shelf.close()
    shelf.close()


def test_no_more_than_its_share_stays_in_memory() -> None:
    shelf = Shelf("clip.mp4", 1000)
    slips = [shelf.put(np.zeros(400, np.uint8)) for _ in range(5)]
    assert [slip.kept is not None for slip in slips] == [True, True, False, False, False]
    shelf.close()
