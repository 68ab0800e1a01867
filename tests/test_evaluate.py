"""`eval` scores what `segment` would write: the same session, at the size of the labels."""

from __future__ import annotations

import threading

import numpy as np
import pytest

from vidparse.data import open_dataset
from vidparse.errors import Interrupted, UsageError
from vidparse.evaluation.evaluate import evaluate, evaluation_record
from vidparse.labels import Labels, load_labels
from vidparse.models.checkpoint import Description, Preprocess

ADDRESS = "sample://street?size=160x90&frames=2"


class ConstantRunner:
    """A network that says one class everywhere."""

    backend, device, precision = "test", "cpu", "fp32"

    def __init__(self, labels: Labels, class_id: int) -> None:
        self.description = Description(
            path=None, sha256="", arch="", config={}, labels=labels,
            preprocess=Preprocess(90), training={},
        )  # fmt: skip
        self.class_id = class_id
        self.resets = 0

    def run(self, clip: np.ndarray) -> np.ndarray:
        scores = np.zeros((len(self.description.labels), 3, 5), np.float32)
        scores[self.class_id] = 1
        return scores

    def reset(self) -> None:
        self.resets += 1


def test_scores_of_a_known_prediction() -> None:
    dataset = open_dataset(ADDRESS, None, "val")
    runner = ConstantRunner(load_labels("camvid"), 3)
    result = evaluate(runner, dataset)
    masks = np.stack(
        [dataset.load_mask(frame) for video in dataset.videos for frame in video.frames]
    )
    road, counted = (masks == 3).sum(), (masks != 255).sum()
    assert result.frames == 6 and runner.resets == 3
    assert result.scores.per_class[3] == pytest.approx(road / counted)
    assert result.scores.pixel_accuracy == pytest.approx(road / counted)
    present = len(set(np.unique(masks)) - {255})
    assert result.scores.miou == pytest.approx(road / counted / present)
    record = evaluation_record(result)
    assert record["per_class"]["Road"] == pytest.approx(road / counted, abs=1e-6)
    assert set(record["per_class"]) == set(load_labels("camvid").classes)


def test_other_labels_are_refused() -> None:
    with pytest.raises(UsageError, match=r"vspw.*124"):
        evaluate(ConstantRunner(load_labels("vspw"), 0), open_dataset(ADDRESS, None, "val"))


def test_it_can_be_stopped() -> None:
    stop = threading.Event()
    stop.set()
    runner = ConstantRunner(load_labels("camvid"), 0)
    with pytest.raises(Interrupted, match="of 6 frames"):
        evaluate(runner, open_dataset(ADDRESS, None, "val"), stop=stop)
