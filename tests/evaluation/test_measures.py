"""Measures by name, and the contract that all of them keep."""

from __future__ import annotations

import json
import pickle
import re
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import pytest

from support.random_videos import LABELS, random_video, semantic
from vidparse.errors import UsageError
from vidparse.evaluation.metrics import METRICS, definition, make_measures, title
from vidparse.evaluation.metrics.measure import (
    Counts,
    DataFacts,
    Measure,
    Sample,
    add_counts,
    counts_per_video,
)
from vidparse.maps import SegmentMap

NAMES = (*METRICS, "vc2", "vc3-strict")


def make(name: str) -> Measure:
    return make_measures([name], LABELS, windows=(1, 2, 4))[name]


def counted(measure: Measure, seeds: range) -> Counts:
    total: Counts = {}
    for counts in counts_per_video(measure, [random_video(s, frames=3 + s % 4) for s in seeds]):
        total = add_counts(total, counts)
    return total


@pytest.mark.parametrize("name", NAMES)
def test_videos_split_over_workers_add_up_to_one_run(name: str) -> None:
    whole = counted(make(name), range(6))
    parts = add_counts(counted(make(name), range(2)), counted(make(name), range(2, 6)))
    assert whole.keys() == parts.keys()
    for field, value in whole.items():
        np.testing.assert_allclose(parts[field], value, rtol=1e-12)


@pytest.mark.parametrize("name", NAMES)
def test_batched_scores_equal_scores_one_by_one(name: str) -> None:
    measure = make(name)
    every = [counted(measure, range(s, s + 2)) for s in (0, 2, 4, 6)]
    fields = [field for field in every[0] if field != "confusion"]
    stacked = {
        field: np.stack([counts[field] for counts in every]).reshape(
            2, 2, *np.shape(every[0][field])
        )
        for field in fields
    }
    batched = measure.scores(stacked)
    for place, counts in enumerate(every):
        for score, value in measure.scores(counts).items():
            assert np.shape(value) == ()
            np.testing.assert_array_equal(batched[score][divmod(place, 2)], value)


@pytest.mark.parametrize("name", NAMES)
def test_scores_are_fractions_and_named_in_the_glossary(name: str) -> None:
    measure = make(name)
    total = counted(measure, range(3))
    for score, value in measure.scores(total).items():
        assert definition(score.removesuffix("_semi").removesuffix("_clean"))
        low = -1 if "decay" in score else 0
        assert np.isnan(value) or low <= value <= 1
    for score, values in measure.per_class(total).items():
        assert values.shape == (len(LABELS),)
        assert score in measure.scores(total)


@pytest.mark.parametrize("name", NAMES)
def test_nothing_counted_scores_nothing(name: str) -> None:
    measure = make(name)
    scores = measure.scores(measure.end_video())
    expected = 0 if name.startswith("stq") else np.nan  # STQ is 0 where nothing is to be found
    np.testing.assert_array_equal(list(scores.values()), expected)


@pytest.mark.parametrize("name", [name for name in NAMES if not name.startswith("jf")])
def test_memory_does_not_grow_with_frames(name: str) -> None:
    frames = random_video(0, frames=8)
    frames[0] = replace(frames[0], flow=frames[1].flow)
    sizes = []
    measure = make(name)
    for repeat in range(8):
        for frame in frames:
            measure.update(frame)
        if repeat in (2, 7):
            sizes.append(len(pickle.dumps(measure)))
    assert sizes[1] <= sizes[0] + 64  # digits of larger numbers


@pytest.mark.parametrize("name", ["miou", "boundary", "jf", "vpq", "stq"])
def test_unlabelled_frames_are_passed_over(name: str) -> None:
    frames = random_video(3, frames=4)
    bare = [replace(frame, truth=None) for frame in frames]
    mixed = [part for pair in zip(frames, bare, strict=True) for part in pair]
    [with_bare] = counts_per_video(make(name), [mixed])
    [without] = counts_per_video(make(name), [frames])
    for field, value in without.items():
        np.testing.assert_array_equal(with_bare[field], value)


@pytest.mark.parametrize("name", ["tc", "tc-boundary"])
def test_consistency_along_the_flow_ignores_the_truth(name: str) -> None:
    frames = random_video(4)
    [one] = counts_per_video(make(name), [frames])
    [other] = counts_per_video(make(name), [[replace(frame, truth=None) for frame in frames]])
    for field, value in one.items():
        np.testing.assert_array_equal(other[field], value)


def test_a_pair_without_flow_is_no_pair() -> None:
    frames = random_video(5, frames=4)
    frames[2] = replace(frames[2], flow=None)
    [counts] = counts_per_video(make("tc"), [frames])
    [first] = counts_per_video(make("tc"), [frames[:2]])
    [last] = counts_per_video(make("tc"), [frames[2:]])
    np.testing.assert_array_equal(counts["confusion"], first["confusion"] + last["confusion"])


def test_what_measures_need() -> None:
    needs = {
        name: (measure.needs_flow, measure.needs_panoptic, measure.needs_every_mask)
        for name, measure in make_measures(NAMES, LABELS).items()
    }
    assert {name for name, need in needs.items() if need[0]} == {"tc", "tc-boundary"}
    assert {name for name, need in needs.items() if need[1]} == {"vpq", "stq", "stq-clean"}
    assert all(need[2] == name.startswith("vc") for name, need in needs.items())


def test_windows_have_scores_of_their_own() -> None:
    measure = make_measures(["vpq"], LABELS, windows=(1, 3))["vpq"]
    scores = measure.scores(counted(measure, range(2)))
    assert list(scores) == ["vpq", "vpq_things", "vpq_stuff", "vpq_k1", "vpq_k3"]
    assert scores["vpq"] == pytest.approx((scores["vpq_k1"] + scores["vpq_k3"]) / 2)


@pytest.mark.parametrize(
    ("name", "hint"),
    [("mIou", "miou"), ("vqp", "vpq"), ("boundry", "boundary"), ("vc1", "2 to 256"),
     ("vc257-strict", "2 to 256"), ("vc", "vc8")],
)  # fmt: skip
def test_unknown_names_get_the_nearest_known(name: str, hint: str) -> None:
    with pytest.raises(UsageError, match=f"metric '{name}': .*{hint}"):
        make_measures([name], LABELS)


def test_a_window_of_no_frame_is_refused() -> None:
    with pytest.raises(UsageError, match="windows 0, 2"):
        make_measures(["miou"], LABELS, windows=(0, 2))


def test_consistency_over_unlabelled_frames_is_refused() -> None:
    with pytest.raises(ValueError, match="vc8 needs ground truth"):
        make("vc8").update(replace(random_video(0, frames=1)[0], truth=None))


@pytest.mark.parametrize("name", ["vpq", "stq"])
def test_panoptic_measures_refuse_class_maps(name: str) -> None:
    with pytest.raises(ValueError, match="panoptic prediction"):
        frame = random_video(0, frames=1)[0]
        make(name).update(replace(frame, prediction=SegmentMap(frame.predicted_classes)))


@pytest.mark.parametrize("name", ["miou", "boundary", "tc", "tc-boundary"])
def test_ids_that_are_no_class_are_refused(name: str) -> None:
    frames = random_video(1, frames=2)
    strange = np.full_like(frames[1].predicted_classes, 9)
    measure = make(name)
    measure.update(frames[0])
    with pytest.raises(ValueError, match="beyond 4"):
        flow = np.zeros((2, *strange.shape))
        measure.update(replace(frames[1], prediction=SegmentMap(strange), flow=flow))


def test_many_classes_take_wide_ids() -> None:
    wide = replace(LABELS, classes=tuple(map(str, range(300))), colours=((0, 0, 0),) * 300)
    rng = np.random.default_rng(0)
    truth = rng.choice([0, 299, 65535], (20, 30)).astype(np.uint16)
    frame = replace(semantic(truth, truth), void=65535)
    for name, measure in make_measures(["miou", "boundary", "tc"], wide).items():
        measure.update(frame)
        measure.update(replace(frame, flow=np.full((2, 20, 30), 0.1, np.float32)))
        scores = measure.scores(measure.end_video())
        if name != "tc":
            assert scores[{"miou": "miou", "boundary": "boundary_iou"}[name]] == 1
        else:
            assert 0 < scores["tc"] < 1  # the last row and column of even sizes are class 0


def test_metrics_do_without_torch() -> None:
    code = "import sys, vidparse.evaluation, vidparse.evaluation.metrics; print(*sys.modules)"
    out = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert not {"torch", "onnxruntime", "av"} & set(out.stdout.split())


class Majority(Measure):
    """Share of the labelled pixels that the commonest predicted class takes."""

    glossary: ClassVar = {"majority": ("majority", "share of the commonest predicted class")}

    def __init__(self, data: DataFacts) -> None:
        super().__init__(data)
        self._pixels = np.zeros(data.num_classes, np.int64)

    def update(self, sample: Sample) -> None:
        found = np.bincount(sample.predicted_classes.ravel(), minlength=256)
        self._pixels += found[: self.data.num_classes]

    def end_video(self) -> Counts:
        counts = {"pixels": self._pixels}
        self._pixels = np.zeros_like(self._pixels)
        return counts

    def scores(self, counts: Counts) -> dict[str, np.ndarray]:
        return {"majority": counts["pixels"].max(axis=-1) / counts["pixels"].sum(axis=-1)}


def test_a_new_metric_is_a_class_and_a_line(
    monkeypatch: pytest.MonkeyPatch, cli: Callable[..., Any], tmp_path: Path
) -> None:
    monkeypatch.setitem(METRICS, "majority", Majority)
    assert (title("majority"), definition("majority")) == Majority.glossary["majority"]
    page = tmp_path / "report.html"
    ended = cli(
        "eval", "--dataset", "sample://street?frames=2&size=160x96", "--device", "cpu", "--json",
        "--metrics", "majority,miou", "--bootstrap", "20", "--report", page, "--no-resume",
    )  # fmt: skip
    assert ended.code == 0, ended.err
    record = json.loads(ended.out)
    assert 0 < record["entries"][0]["scores"]["majority"] < 1
    assert "majority" in record["entries"][0]["intervals_95"]
    assert "share of the commonest predicted class" in page.read_text().casefold()
    help_text = re.sub(r"\W+", " ", cli("eval", "--help").out.decode())
    assert "stq clean majority vcN" in help_text
    with pytest.raises(UsageError, match="metric 'majorty': unknown; try majority"):
        make_measures(["majorty"], LABELS)


def test_every_metric_explains_its_scores() -> None:
    for name, measure in make_measures(NAMES, LABELS).items():
        for score in measure.scores(measure.end_video()):
            words = type(measure).words(score)
            assert words is not None and all(words), f"{name}: {score}"
            assert (title(score), definition(score)) == words
