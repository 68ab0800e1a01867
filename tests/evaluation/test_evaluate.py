"""`eval` scores what `segment` would write: the same session, at the size of the labels."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterable, Iterator
from dataclasses import replace
from itertools import islice
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from PIL import Image as Pillow

from support.made_folder import make_folder
from vidparse.data import Dataset, Video, open_dataset
from vidparse.data.dataset import in_labels
from vidparse.errors import InputError, Interrupted, UsageError
from vidparse.evaluation.entries import InputFrame, MaskEntry, ModelEntry
from vidparse.evaluation.evaluate import EvaluationOptions, evaluate
from vidparse.evaluation.result import Store, VideoRecord, evaluation_record
from vidparse.flow import open_flow
from vidparse.inference import Runner, Scores
from vidparse.labels import Labels, load_labels
from vidparse.maps import Prediction
from vidparse.models.description import Description, Preprocess

ADDRESS = "sample://street?size=160x90&frames=2"


class ConstantRunner(Runner):
    """A network that answers one class everywhere."""

    backend, device, precision, engine = "test", "cpu", "fp32", "test"

    def __init__(self, labels: Labels, class_id: int) -> None:
        self.description = Description(
            path=None, sha256="", arch="", config={}, labels=labels,
            preprocess=Preprocess(90), training={},
        )  # fmt: skip
        self.class_id = class_id
        self.resets = 0

    def answer(self, clip: np.ndarray, size_hw: tuple[int, int] | None = None) -> Scores:
        scores = np.zeros((1, len(self.labels), 3, 5), np.float32)
        scores[:, self.class_id] = 1
        return Scores(scores)

    def reset(self) -> None:
        self.resets += 1


@pytest.fixture(autouse=True)
def own_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    return tmp_path / "cache"


class Stopper:
    """An entry that sets `stop` when it answers a frame of some video."""

    def __init__(self, inner: MaskEntry, stop: threading.Event, video: str) -> None:
        self._inner, self._stop, self._video = inner, stop, video
        self.name, self.detail = inner.name, inner.detail
        self.needs_images, self.is_panoptic, self.notes = False, False, ()
        self.requested: list[str] = []
        self.check, self.fingerprint = inner.check, inner.fingerprint

    def answers(self, video: Video, frames: Iterable[InputFrame]) -> Iterator[Prediction]:
        for prediction in self._inner.answers(video, frames):
            self.requested.append(video.name)
            if video.name == self._video:
                self._stop.set()
            yield prediction


def test_scores_of_a_known_prediction() -> None:
    dataset = open_dataset(ADDRESS, None, "val")
    runner = ConstantRunner(load_labels("camvid"), 3)
    result = evaluate(dataset, [ModelEntry("constant", runner)])
    (entry,) = result.entries
    masks = np.stack(
        [dataset.load_mask(frame) for video in dataset.videos for frame in video.frames]
    )
    road, counted = (masks == 3).sum(), (masks != 255).sum()
    assert result.frames == 6 and runner.resets == 3
    assert entry.per_class["miou"][3] == pytest.approx(road / counted)
    assert entry.scores["pixel_accuracy"] == pytest.approx(road / counted)
    present = len(set(np.unique(masks)) - {255})
    assert entry.scores["miou"] == pytest.approx(road / counted / present)
    record = evaluation_record(result)["entries"][0]
    assert record["per_class"]["miou"]["Road"] == pytest.approx(road / counted)
    assert set(record["per_class"]["miou"]) == set(load_labels("camvid").classes)
    assert len(record["per_video"]) == 3


def test_other_labels_are_refused() -> None:
    entry = ModelEntry("other", ConstantRunner(load_labels("vspw"), 0))
    with pytest.raises(UsageError, match=r"vspw.*class 0 is 'wall', not 'Sky'"):
        evaluate(open_dataset(ADDRESS, None, "val"), [entry])


def test_several_entries_see_the_same_frames(tmp_path: Path) -> None:
    root = make_folder(tmp_path / "set")
    dataset = open_dataset("folder", root, "val")
    entries = [MaskEntry(root / "pred", name="pred"), MaskEntry(root / "masks", name="truth")]
    result = evaluate(
        dataset, entries, EvaluationOptions(metrics=("miou", "vc2", "boundary"), bootstrap=50)
    )
    predicted, right = result.entries
    assert right.scores["miou"] == right.scores["vc2"] == right.scores["boundary_iou"] == 1
    assert 0.7 < predicted.scores["miou"] < 0.95
    low, high = predicted.intervals["miou"]
    assert low <= predicted.scores["miou"] <= high and high > low
    assert right.intervals["miou"] == (1, 1)
    alone = evaluate(dataset, entries[:1], EvaluationOptions(metrics=("miou", "vc2")))
    assert alone.entries[0].scores["miou"] == predicted.scores["miou"]


def test_stopped_evaluation_goes_on_and_ends_the_same(tmp_path: Path, own_cache: Path) -> None:
    root = make_folder(tmp_path / "set")
    dataset = open_dataset("folder", root, "val")
    options = EvaluationOptions(metrics=("miou", "vc2"), diagnostics=True)
    inner = MaskEntry(root / "pred", name="pred")
    whole = evaluate(dataset, [inner], replace(options, resume=False))
    stop = threading.Event()
    with pytest.raises(Interrupted, match="4 of 12 frames; the same command goes on"):
        evaluate(dataset, [Stopper(inner, stop, "v_1")], options, stop=stop)
    again = Stopper(inner, threading.Event(), "none")
    resumed = evaluate(dataset, [again], options)
    assert resumed.resumed == 1 and set(again.requested) == {"v_1", "v_2"}
    assert resumed.entries[0].scores == whole.entries[0].scores
    assert resumed.entries[0].per_video == whole.entries[0].per_video
    assert len(resumed.entries[0].videos) == 3
    assert not list(own_cache.rglob("*.npz"))  # complete: nothing is left


def test_changed_files_are_scored_again(tmp_path: Path) -> None:
    root = make_folder(tmp_path / "set")
    dataset = open_dataset("folder", root, "val")
    stop = threading.Event()
    inner = MaskEntry(root / "pred", name="pred")
    with pytest.raises(Interrupted):
        evaluate(dataset, [Stopper(inner, stop, "v_2")], stop=stop)
    (root / "pred" / "v_0" / "0000.png").write_bytes(
        (root / "masks" / "v_0" / "0000.png").read_bytes()
    )
    again = Stopper(inner, threading.Event(), "none")
    assert evaluate(dataset, [again]).resumed == 1
    assert set(again.requested) == {"v_0", "v_2"}


def test_a_look_at_some_videos_takes_no_counts_of_all(tmp_path: Path, own_cache: Path) -> None:
    root = make_folder(tmp_path / "set")
    dataset, inner = open_dataset("folder", root, "val"), MaskEntry(root / "pred", name="pred")
    stop = threading.Event()
    with pytest.raises(Interrupted):
        evaluate(dataset, [Stopper(inner, stop, "v_2")], stop=stop)
    assert evaluate(dataset, [inner], EvaluationOptions(max_videos=1)).resumed == 1
    assert evaluate(dataset, [inner]).resumed == 1  # v_1
    assert not list(own_cache.rglob("*.npz"))


@pytest.mark.parametrize("part", ["nothing", "the beginning", "another middle"])
def test_damaged_counts_are_counted_again(tmp_path: Path, part: str) -> None:
    """A cache that lost its end with the power, or whose disk lost a block."""
    store = Store(tmp_path / "kept")
    numbers = np.random.default_rng(0).integers(0, 9, (64, 64))
    store.write("key", VideoRecord({"miou": {"confusion": numbers}}, None))
    (path,) = (tmp_path / "kept").iterdir()
    whole = path.read_bytes()
    damaged = {
        "nothing": b"",
        "the beginning": whole[:100],
        "another middle": whole[:200] + bytes(50) + whole[250:],
    }
    path.write_bytes(damaged[part])
    assert store.read("key") is None


def test_counts_of_other_classes_are_not_taken_over(tmp_path: Path) -> None:
    """A class that the first run lacked is added to labels.json, which keeps its name."""
    masks = {"a": np.array([[0, 1]] * 32, np.uint8), "b": np.array([[0, 2]] * 32, np.uint8)}
    for name, mask in masks.items():
        for kind, picture in (("images", np.zeros((32, 2, 3), np.uint8)), ("masks", mask)):
            (tmp_path / kind / name).mkdir(parents=True)
            Pillow.fromarray(picture).save(tmp_path / kind / name / "1.png")

    def scored(count: int) -> Any:
        classes = [{"name": f"{i}", "thing": False, "colour": [i, 0, 0]} for i in range(count)]
        (tmp_path / "labels.json").write_text(json.dumps({"name": "own", "classes": classes}))
        entry = MaskEntry(tmp_path / "masks", name="own")
        return evaluate(open_dataset("folder", tmp_path, "all"), [entry])

    with pytest.raises(InputError, match="holds value 2"):
        scored(2)
    result = scored(3)
    assert result.resumed == 0
    np.testing.assert_array_equal(result.entries[0].per_class["miou"], [1, 1, 1])


def test_cache_that_can_not_be_written_costs_only_the_resume(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    root = make_folder(tmp_path / "set")
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "file"))
    entry = MaskEntry(root / "pred", name="pred")
    assert evaluate(open_dataset("folder", root, "val"), [entry]).frames == 12


def test_tc_follows_flow_over_all_frames(tmp_path: Path) -> None:
    """A picture that moves two pixels a frame, and predictions that move with it, or do not."""
    root = make_folder(tmp_path / "set", videos=1, frames=3)
    rng = np.random.default_rng(5)
    wide = cv2.GaussianBlur(rng.integers(0, 255, (96, 160, 3)).astype(np.uint8), (0, 0), 2)
    ids = (cv2.resize(rng.random((6, 10)), (160, 96)) * 3).astype(np.uint8)
    for t in range(3):
        name = f"v_0/{t:04d}.png"
        cv2.imwrite(str(root / "images" / name), wide[:, 2 * t : 2 * t + 128])
        Pillow.fromarray(ids[:, 2 * t : 2 * t + 128]).save(root / "pred" / name)
        Pillow.fromarray(ids[:, :128]).save(root / "masks" / name)
    dataset = open_dataset("folder", root, "val")
    entries = [MaskEntry(root / "pred", name="moves"), MaskEntry(root / "masks", name="stays")]
    options = EvaluationOptions(metrics=("tc",), flow=open_flow("dis", cache=tmp_path / "flows"))
    result = evaluate(dataset, entries, options)
    assert result.flow and "DIS" in result.flow
    moves, stays = (entry.scores["tc"] for entry in result.entries)
    assert moves > 0.9 and moves > stays + 0.03
    assert len(list((tmp_path / "flows").rglob("*.flo"))) == 2
    assert evaluate(dataset, entries, options).entries[0].scores["tc"] == moves


def refused(
    root: Path, message: str, error: type[Exception] = UsageError, **options: object
) -> None:
    dataset = open_dataset("folder", root, "val")
    entry = MaskEntry(root / "pred", name="pred")
    with pytest.raises(error, match=message):
        evaluate(dataset, [entry], EvaluationOptions(**options))  # type: ignore[arg-type]


def test_measures_that_can_not_be_had_are_refused(tmp_path: Path) -> None:
    root = make_folder(tmp_path / "set")
    refused(root, "vpq: folder does not distinguish objects", metrics=("vpq",))
    refused(root, "tc: needs optical flow", metrics=("tc",))
    refused(root, "miuo.*miou", metrics=("miuo",))
    (root / "masks" / "v_1" / "0002.png").unlink()
    what = r"vc2: needs a mask on every frame; 1 of 4 .*0002\S*; choose other metrics"
    refused(root, what, metrics=("vc2",))


def test_split_without_masks_is_refused(tmp_path: Path) -> None:
    root = make_folder(tmp_path / "set")
    for path in (root / "masks").rglob("*.png"):
        path.unlink()
    refused(root, "has no masks to score against", InputError)


def test_sizes_must_agree(tmp_path: Path) -> None:
    root = make_folder(tmp_path / "set")
    Pillow.fromarray(np.zeros((10, 20), np.uint8)).save(root / "pred" / "v_1" / "0001.png")
    refused(root, "v_1/0001: prediction is 20x10, the ground truth 32x24", InputError)


def test_a_report_needs_pictures_of_the_size_of_their_masks(tmp_path: Path) -> None:
    """Scores of masks do not, which may be those of a smaller form of the data."""
    root = make_folder(tmp_path / "set")
    for path in (root / "images").glob("*/*.png"):
        cv2.imwrite(str(path), np.zeros((48, 64, 3), np.uint8))
    entry = MaskEntry(root / "pred", name="pred")
    assert evaluate(open_dataset("folder", root, "val"), [entry]).frames == 12
    refused(root, r"masks/v_0/0000\.png: is 32x24, its image 64x48", InputError, diagnostics=True)


def test_a_measure_that_the_data_is_not_fit_for_is_named(tmp_path: Path) -> None:
    """VC follows pixels through a clip, so its frames need one size; mIoU does not."""
    root = make_folder(tmp_path / "set")
    kinds = root / "images", root / "masks", root / "pred"
    video = "v_0"
    for kind in kinds:
        path = sorted((kind / video).glob("*.png"))[-1]
        picture = Pillow.open(path)
        picture.resize((picture.width // 2, picture.height), Pillow.Resampling.NEAREST).save(path)
    refused(root, r"\.png: vc2: frame is \d+x\d+, the one before", InputError, metrics=("vc2",))
    entry = MaskEntry(root / "pred", name="pred")
    assert evaluate(open_dataset("folder", root, "val"), [entry]).frames


def test_only_the_first_videos(tmp_path: Path) -> None:
    root = make_folder(tmp_path / "set")
    entry = MaskEntry(root / "pred", name="pred")
    result = evaluate(open_dataset("folder", root, "val"), [entry], EvaluationOptions(max_videos=2))
    assert (result.videos, result.frames) == (2, 8)


def test_progress_counts_every_frame(tmp_path: Path) -> None:
    root = make_folder(tmp_path / "set")
    seen: list[tuple[int, int]] = []
    evaluate(
        open_dataset("folder", root, "val"),
        [MaskEntry(root / "pred", name="pred")],
        on_frame=lambda done, total: seen.append((done, total)),
    )
    assert seen[-1] == (12, 12) and [done for done, _ in seen] == sorted(done for done, _ in seen)


class LateEntry:
    """Answers two frames at a time, as a clip network does."""

    name, detail, needs_images, is_panoptic, notes = "late", "late", False, False, ()

    def __init__(self, masks: MaskEntry) -> None:
        self._masks = masks
        self.check, self.fingerprint = masks.check, masks.fingerprint

    def answers(self, video: Video, frames: Iterable[InputFrame]) -> Iterator[Prediction]:
        predictions = self._masks.answers(video, frames)
        while held := list(islice(predictions, 2)):
            yield from held


def test_answers_may_come_late(tmp_path: Path) -> None:
    root = make_folder(tmp_path / "set", frames=5)
    dataset = open_dataset("folder", root, "val")
    masks = MaskEntry(root / "pred", name="pred")
    options = EvaluationOptions(metrics=("miou", "vc3"))
    late, prompt = (evaluate(dataset, [entry], options) for entry in (LateEntry(masks), masks))
    assert late.entries[0].scores == prompt.entries[0].scores


def camvid_numbered(root: Path, *, step: int) -> Dataset:
    """Six frames of one recording, so many numbers apart, all of class 3."""
    for kind, value in (("val", 90), ("valannot", 3)):
        (root / kind).mkdir(parents=True)
        for i in range(6):
            picture = np.full((36, 64) if kind == "valannot" else (36, 64, 3), value, np.uint8)
            cv2.imwrite(str(root / kind / f"0016E5_{100 + i * step:05d}.png"), picture)
    return open_dataset("camvid", root, "val")


@pytest.mark.parametrize(
    ("step", "remembers", "stabilize", "learnt", "message"),
    [
        (30, True, False, {}, "lie 1 s apart; it is for video with a frame every 0.1 s"),
        (30, False, True, {}, "the frames here lie 1 s apart"),
        (30, False, False, {}, None),  # it looks at one frame alone
        (2, True, False, {}, None),
        (30, True, False, {"frame_interval_s": 1.0}, None),  # it learnt on such frames
        (
            120,
            True,
            False,
            {"frame_interval_s": 1.0},
            "4 s apart; it is for video with a frame every 1 s",
        ),
        (30, True, False, {"frame_interval_s": "odd"}, "every 0.1 s"),
    ],
)
def test_frames_that_lie_further_apart_than_a_memory_learnt_on(
    tmp_path: Path,
    step: int,
    remembers: bool,
    stabilize: bool,
    learnt: dict[str, Any],
    message: str | None,
) -> None:
    runner = ConstantRunner(load_labels("camvid"), 3)
    runner.remembers = remembers
    runner.description.training.update(learnt)
    dataset = camvid_numbered(tmp_path, step=step)
    result = evaluate(dataset, [ModelEntry("blender", runner, stabilize=stabilize)])
    assert result.entries[0].scores["miou"] == 1.0
    assert len(result.notes) == (message is not None)
    assert all(note.startswith("blender blends") and str(message) in note for note in result.notes)


@pytest.mark.parametrize(
    ("step", "held", "forgotten"),
    [(1, [False, True, True, False, True, True], 1), (3, [False] * 6, 1), (60, [False] * 6, 6)],
)
def test_a_memory_goes_by_the_time_of_the_data_sets_frames(
    tmp_path: Path, step: int, held: list[bool], forgotten: int
) -> None:
    """CamVid numbers 30 frames per second; a frame is to go in every 0.1 s."""
    holds = []

    class Remembering(ConstantRunner):
        remembers = True

        def answer(self, clip: np.ndarray, size_hw: tuple[int, int] | None = None) -> Scores:
            holds.append(self.holds)
            return super().answer(clip, size_hw)

    runner = Remembering(load_labels("camvid"), 3)
    runner.description = replace(runner.description, memory_interval_s=0.1)
    result = evaluate(camvid_numbered(tmp_path, step=step), [ModelEntry("blender", runner)])
    assert holds == held and runner.resets == forgotten and not runner.holds
    assert any("each by itself" in note for note in result.notes) == (step == 60)


def test_frames_between_that_are_left_out_count(tmp_path: Path) -> None:
    """Cityscapes-VPS has labels on some frames; a network gets only these."""
    dataset = camvid_numbered(tmp_path, step=2)
    (video,) = dataset.videos
    frames = [replace(frame, labelled=frame.index in (0, 5)) for frame in video.frames]
    dataset = replace(dataset, videos=(replace(video, frames=tuple(frames)),))
    runner = ConstantRunner(load_labels("camvid"), 3)
    runner.remembers = True
    (note,) = evaluate(dataset, [ModelEntry("blender", runner)]).notes
    assert "lie 0.333 s apart" in note


def cityscapes_of(root: Path, *, truth: int) -> Dataset:
    """One picture whose mask holds one stored value of Cityscapes."""
    name = "ulm_000001_000019"
    for folder, ending, value in (("leftImg8bit", "leftImg8bit", 90), ("gtFine", "x", truth)):
        (root / folder / "val" / "ulm").mkdir(parents=True)
        kind = ending if folder == "leftImg8bit" else "gtFine_labelIds"
        picture = np.full((36, 64, 3) if folder == "leftImg8bit" else (36, 64), value, np.uint8)
        cv2.imwrite(str(root / folder / "val" / "ulm" / f"{name}_{kind}.png"), picture)
    return open_dataset("cityscapes", root, "val")


def test_models_and_data_of_finer_classes_are_scored_in_coarser_ones(tmp_path: Path) -> None:
    fine, coarse = load_labels("cityscapes"), load_labels("camvid")
    data = cityscapes_of(tmp_path, truth=27)  # a truck, which CamVid counts among its cars
    car, bus = coarse.classes.index("Car"), fine.classes.index("bus")
    regrouped = in_labels(data, coarse)
    for model, class_id in ((coarse, car), (fine, bus)):
        entry = ModelEntry("one", ConstantRunner(model, class_id), labels=coarse)
        assert entry.detail.endswith(", as camvid") == (model is fine)
        (result,) = evaluate(regrouped, [entry]).entries
        assert result.scores["miou"] == 1.0
    with pytest.raises(UsageError, match="its labels 'camvid' are not those of cityscapes"):
        evaluate(data, [ModelEntry("one", ConstantRunner(coarse, car))])
    with pytest.raises(UsageError, match="'camvid': cannot be regrouped to 'cityscapes'"):
        ModelEntry("one", ConstantRunner(coarse, car), labels=fine)
    with pytest.raises(UsageError, match="'cityscapes': cannot be regrouped to 'voc'"):
        in_labels(data, load_labels("voc"))


def test_labels_from_the_command_line(tmp_path: Path, cli: Any) -> None:
    cityscapes_of(tmp_path, truth=7)
    options = ("--data", tmp_path, "-m", "street-student", "--size", "64", "--metrics", "miou")
    refused = cli("eval", *options)
    assert refused.code == 2 and "are not those of cityscapes" in refused.err
    assert refused.err.endswith("; score in the coarser ones with --labels camvid\n")
    scored = cli("eval", *options, "--labels", "camvid", "--json")
    assert scored.code == 0, scored.err
    assert list(json.loads(scored.out)["entries"][0]["per_class"]["miou"])[3] == "Road"
