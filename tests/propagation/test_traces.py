"""Traces and votes against slow forms, on motions that are known."""

from __future__ import annotations

import numpy as np

from vidparse.propagation.prediction import Comparison
from vidparse.propagation.traces import Step, Trace, seen_in_both
from vidparse.propagation.votes import Clues, Verdict, View, clue_weights, vote, without_specks

SIZE_HW = (24, 32)


def shift(dx: float, dy: float) -> np.ndarray:
    flow = np.empty((2, *SIZE_HW), np.float32)
    flow[0], flow[1] = dx, dy
    return flow


def all_seen(flow: np.ndarray) -> Step:
    return Step(flow, np.ones(SIZE_HW, np.float32))


def labels_of(box: tuple[int, int, int, int]) -> np.ndarray:
    """Label 1 in a box (x, y, width, height), 0 elsewhere."""
    x, y, width, height = box
    labels = np.zeros(SIZE_HW, np.uint16)
    labels[y : y + height, x : x + width] = 1
    return labels


def test_a_trace_adds_up_the_steps() -> None:
    trace = Trace.at_key(SIZE_HW)
    for dx, dy in ((1.5, 0.25), (-0.5, 1.0), (2.25, -0.75)):
        trace = trace.after(all_seen(shift(dx, dy)))
    inner = trace.offset[:, 4:-4, 4:-4]
    assert np.allclose(inner[0], 3.25) and np.allclose(inner[1], 0.5)
    assert (trace.seen == 1).all()


def test_a_trace_is_that_of_the_nearest_pixel_and_the_rest_of_the_way() -> None:
    random = np.random.default_rng(0)
    before = Trace(
        random.normal(0, 3, (2, *SIZE_HW)).astype(np.float32),
        random.random(SIZE_HW).astype(np.float32),
    )
    step = Step(
        random.normal(0, 3, (2, *SIZE_HW)).astype(np.float32),
        random.random(SIZE_HW).astype(np.float32),
    )
    after = before.after(step)

    for y in range(SIZE_HW[0]):
        for x in range(SIZE_HW[1]):
            dx, dy = step.flow[:, y, x]
            column = min(max(round(float(x + dx)), 0), SIZE_HW[1] - 1)
            row = min(max(round(float(y + dy)), 0), SIZE_HW[0] - 1)
            assert after.offset[0, y, x] == np.float32(dx + before.offset[0, row, column])
            assert after.offset[1, y, x] == np.float32(dy + before.offset[1, row, column])
            assert after.seen[y, x] == np.float32(before.seen[row, column] * step.seen[y, x])


def test_a_flow_and_its_way_back_are_seen() -> None:
    assert (seen_in_both(shift(3, -2), shift(-3, 2)) == 1).all()

    # Three pixels beside where it began, of a motion of 5: 9 / (4 + 0.25).
    seen = seen_in_both(shift(3, 4), shift(0, -4))
    assert np.allclose(seen, 1 / (1 + (9 / 4.25) ** 2))


def test_a_key_alone_gives_the_labels_at_the_end_of_its_traces() -> None:
    labels = labels_of((10, 8, 9, 6))
    trace = Trace.at_key(SIZE_HW).after(all_seen(shift(4, -2)))
    verdict = vote([View(labels, trace, 1.0)], 2)
    assert (verdict.labels[2:-4, :-4] == labels[:-6, 4:]).all()
    assert verdict.confidence.min() == 1


def votes_by_hand(views: list[View], y: int, x: int) -> dict[int, float]:
    """The bilinear votes for each label of a pixel, one corner after the other."""
    height, width = SIZE_HW
    votes: dict[int, float] = {}
    for view in views:
        px = min(max(x + float(view.trace.offset[0, y, x]), 0), width - 1)
        py = min(max(y + float(view.trace.offset[1, y, x]), 0), height - 1)
        weight = (float(view.trace.seen[y, x]) + 1e-5) * view.share
        for row in range(height):
            for column in range(width):
                part = max(0.0, 1 - abs(px - column)) * max(0.0, 1 - abs(py - row))
                if part:
                    label = int(view.labels[row, column])
                    votes[label] = votes.get(label, 0) + weight * part
    return votes


def test_votes_are_those_counted_by_hand() -> None:
    random = np.random.default_rng(1)
    views = []
    for share in (0.25, 0.75):
        labels = random.integers(0, 4, SIZE_HW).astype(np.uint16)
        offset = random.normal(0, 3, (2, *SIZE_HW)).astype(np.float32)
        seen = random.uniform(0.3, 1, SIZE_HW).astype(np.float32)
        views.append(View(labels, Trace(offset, seen), share))
    verdict = vote(views, 4)

    for y in range(0, SIZE_HW[0], 3):
        for x in range(0, SIZE_HW[1], 3):
            votes = votes_by_hand(views, y, x)
            first, second = sorted([*votes.values(), 0.0])[::-1][:2]
            if first - second > 0.011:  # more than the label behind has
                assert votes[int(verdict.labels[y, x])] == first
                assert abs(verdict.confidence[y, x] - first) < 0.011


def test_the_key_that_shows_a_pixel_decides() -> None:
    hidden = Trace(np.zeros((2, *SIZE_HW), np.float32), np.zeros(SIZE_HW, np.float32))
    ones, zeros = labels_of((0, 0, 32, 24)), labels_of((0, 0, 0, 0))
    nearer = View(ones, hidden, 0.9)
    farther = View(zeros, Trace.at_key(SIZE_HW), 0.1)
    assert (vote([nearer, farther], 2).labels == 0).all()


def test_what_no_key_shows_is_what_lies_behind() -> None:
    """Where traces of hidden points find two labels, the smaller one hid the larger."""
    small, large = labels_of((12, 8, 6, 6)), labels_of((0, 0, 0, 0))
    seen = np.ones(SIZE_HW, np.float32)
    seen[8:14, 12:18] = 0
    hidden = Trace(np.zeros((2, *SIZE_HW), np.float32), seen)
    views = [View(small, hidden, 0.9), View(large, hidden, 0.1)]
    assert (vote(views, 2).labels == 0).all()
    assert vote(views, 2).confidence[10, 14] < 0.05

    # Of one key, it is what is in sight nearby.
    assert (vote([View(small, hidden, 1.0)], 2).labels == 0).all()


def test_clues_are_the_shares_of_a_networks_classes_in_labels() -> None:
    """Of 4 pixels of label 0 the network calls 3 class 5 and 1 class 9; of label 1 it calls 4 9."""
    labels = np.array([[0, 0, 0, 0, 1, 1, 1, 1]], np.uint16)
    classes = np.array([[5, 5, 5, 9, 9, 9, 9, 9]], np.uint8)
    weights = clue_weights([labels], [classes], 2)

    # One more pixel counts of each of 256 classes.
    shares = np.array([[4 / 260, 2 / 260], [1 / 260, 5 / 260]])
    wanted = (0.3 + shares / shares.max(axis=0)) / 1.3
    assert np.allclose(weights[:, [5, 9]], wanted)
    assert weights.max() == 1


def test_clues_decide_between_keys_that_show_as_much() -> None:
    here = Trace.at_key(SIZE_HW)
    ones, zeros = labels_of((0, 0, 32, 24)), labels_of((0, 0, 0, 0))
    views = [View(ones, here, 0.4), View(zeros, here, 0.6)]
    classes = np.zeros(SIZE_HW, np.uint8)
    classes[:, 16:] = 7
    weights = np.ones((2, 256), np.float32)
    weights[0, 7] = weights[1, 0] = 0.1
    found = vote(views, 2, clues=Clues(classes, weights)).labels
    assert (found[:, :16] == 0).all() and (found[:, 16:] == 1).all()


def test_specks_go_where_the_verdict_is_unsure() -> None:
    labels = labels_of((10, 8, 12, 10))
    labels[3, 3] = labels[12, 16] = 2  # specks
    labels[:, 28] = 2  # a thin thing
    confidence = np.full(SIZE_HW, 0.5, np.float32)
    confidence[:, 28] = 0.7
    found = without_specks(Verdict(labels, confidence)).labels
    assert found[3, 3] == 0 and found[12, 16] == 1
    assert (found[:, 28] == 2).all()
    assert (found[10:16, 12:20] == 1).all() and (found[0:3, :26] == 0).all()


def test_keys_are_compared_where_neither_decides() -> None:
    """10 pixels: 4 of label 0 and 2 of 1 to both; 3 differ with even votes, 1 with 0.1 to 0.3.

    The keys show nothing but half of one of the three.
    """
    one = np.array([[0, 0, 0, 0, 1, 1, 0, 0, 0, 1]], np.uint16)
    other = np.array([[0, 0, 0, 0, 1, 1, 1, 1, 1, 0]], np.uint16)
    votes = np.full((1, 10), 0.2, np.float32), np.full((1, 10), 0.2, np.float32)
    votes[0][0, 9], votes[1][0, 9] = 0.1, 0.3
    seen = np.zeros((1, 10), np.float32), np.zeros((1, 10), np.float32)
    seen[1][0, 8] = 0.5
    found = Comparison.of((one, other), votes, seen, 3)
    assert abs(found.disagreement - (1 - (4 / 7 + 2 / 5) / 2)) < 1e-6
    assert found.worst == 1

    # Nothing is in doubt where one key decides.
    votes[0][0, 6:], votes[1][0, 6:] = 0, 1
    assert Comparison.of((one, other), votes, seen, 3).disagreement == 0


def test_what_nobody_labelled_is_in_no_doubt() -> None:
    """One key lacks 4 of 10 pixels; of the other 6 they share 5, and 1 of label 0 is 1."""
    one = np.array([[0, 0, 0, 0, 1, 0, 2, 2, 2, 2]], np.uint16)
    other = np.array([[0, 0, 0, 0, 1, 1, 0, 0, 1, 1]], np.uint16)
    votes = np.full((1, 10), 0.5, np.float32), np.full((1, 10), 0.5, np.float32)
    seen = np.zeros((1, 10), np.float32), np.zeros((1, 10), np.float32)
    found = Comparison.of((one, other), votes, seen, 3, void=2)
    assert abs(found.disagreement - (1 - (4 / 5 + 1 / 2) / 2)) < 1e-6
    assert found.worst == 1

    nothing = Comparison.of(
        (np.full((1, 3), 2), one[:, :3]),
        [v[:, :3] for v in votes],
        [v[:, :3] for v in seen],
        3,
        void=2,
    )
    assert nothing.disagreement == 0
