"""Automatic labels: the mean answer, what is kept of it, and the folder that it ends in."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Iterator
from fractions import Fraction
from pathlib import Path
from types import SimpleNamespace

import cv2
import numpy as np
import pytest
import torch
import torch.nn.functional as F
from PIL import Image as Pillow

from support.clips import picture
from vidparse.data import IGNORE, open_dataset
from vidparse.data.check import check_dataset
from vidparse.data.pictures import read_indices, read_rgb
from vidparse.errors import (
    InputError,
    Interrupted,
    ModelError,
    OutputError,
    TruncatedError,
    UsageError,
)
from vidparse.filenames import PART
from vidparse.frame import Frame, VideoInfo
from vidparse.image import ColourTags, Rgb
from vidparse.inference import ModelChoice, Runner, Scores, load_model
from vidparse.inference.clips import Answered
from vidparse.inference.mixture import Mixture, choose, windows
from vidparse.inference.preprocess import to_clip
from vidparse.inference.runners.ensemble import Ensemble
from vidparse.inference.session import Session
from vidparse.labels import Labels, load_labels, regrouped, unions
from vidparse.models.description import Preprocess
from vidparse.requests.autolabel import AutolabelRequest
from vidparse.requests.variants import SCALES, LabelVariants, Variants
from vidparse.training.autolabel import make_labels
from vidparse.training.autolabel.choice import Within
from vidparse.training.autolabel.pictures import recordings_of_inputs
from vidparse.video import expand_inputs, open_video

SIZE_HW = (64, 96)


class ColourRunner(Runner):
    """Blocks of 8x8 pixels are averaged, and each class scored by a linear function of colour."""

    backend, device, precision, engine, remembers = "test", "cpu", "fp32", "test", True

    def __init__(self, labels: Labels, seed: int, *, short_side: int = 64, task: str = "semantic"):
        self.description = SimpleNamespace(
            path=Path(f"colours {seed}"), labels=labels, preprocess=Preprocess(short_side),
            task=task, sha256=str(seed),
        )  # fmt: skip
        shape = (len(labels), 3)
        self._weights = np.random.default_rng(seed).standard_normal(shape).astype(np.float32)
        self.runs: list[tuple[int, ...]] = []
        self.resets = 0

    def answer(self, clip: np.ndarray, size_hw: tuple[int, int] | None = None) -> Scores:
        assert clip.flags.c_contiguous and self.resets == len(self.runs) + 1
        self.runs.append(clip.shape[1:])
        blocks = F.avg_pool2d(torch.from_numpy(clip[0]), 8).numpy()
        return Scores(np.einsum("kc,tchw->tkhw", self._weights, blocks))

    def reset(self) -> None:
        self.resets += 1


def scored(runner: ColourRunner, clip: np.ndarray) -> np.ndarray:
    """Scores (K, h, w) of one frame (1, 3, H, W)."""
    return runner.answer(np.ascontiguousarray(clip)[None]).values[0]


def ensemble(
    *runners: ColourRunner,
    labels: str | None = None,
    votes: tuple[float, ...] = (),
    **variants: object,
) -> Ensemble:
    named = [(f"model {i}", runner) for i, runner in enumerate(runners)]
    looks = LabelVariants(**variants)
    return Ensemble(named, looks, labels=labels, votes=votes, begin_anew=True)


def whole(models: Ensemble, rgb: np.ndarray) -> np.ndarray:
    """Mean probabilities (K, H, W) of all rows."""
    (answered,) = stages(models, rgb)
    answer = answered.answer
    assert isinstance(answer, Mixture) and answer.size_hw == rgb.shape[:2]
    bands = list(answer.bands())
    assert [rows.start for rows, _ in bands[1:]] == [rows.stop for rows, _ in bands[:-1]]
    return np.concatenate([probabilities for _, probabilities in bands], axis=1)


def stages(models: Ensemble, rgb: np.ndarray) -> Iterator[Answered]:
    """A picture through the first two stages of a session."""
    session = models.session()
    return session.answered(session.prepared([Frame.from_rgb(rgb)]))


def full_softmax(scores: np.ndarray, size_hw: tuple[int, int]) -> np.ndarray:
    full = F.interpolate(torch.from_numpy(np.ascontiguousarray(scores))[None].double(), size_hw,
                         mode="bilinear", align_corners=False)  # fmt: skip
    return full[0].softmax(0).numpy()


CAMVID = load_labels("camvid")


class TestMean:
    @pytest.mark.parametrize("band", [1, 1 << 17])
    def test_is_the_mean_over_models_scales_and_flips(self, monkeypatch, band) -> None:
        monkeypatch.setattr("vidparse.inference.mixture._BAND_VALUES", band)
        rgb = picture(3, SIZE_HW)
        models = [ColourRunner(CAMVID, 1), ColourRunner(CAMVID, 2, short_side=80)]
        found = whole(ensemble(*models, scales=(0.5, 1.0, 1.75)), rgb)
        expected = []
        for model, short_side in zip(models, (64, 80), strict=True):
            runner = ColourRunner(CAMVID, int(model.description.sha256))
            for scale in (0.5, 1.0, 1.75):
                size = round(short_side * scale), round(short_side * 1.5 * scale)
                clip = to_clip(Rgb(rgb), size, runner.description.preprocess)
                for turn in (1, -1):
                    runner.reset()
                    scores = scored(runner, clip[..., ::turn])[..., ::turn]
                    expected.append(full_softmax(scores, SIZE_HW))
            assert [shape for shape in model.runs] == runner.runs
        assert len(expected) == 12
        np.testing.assert_allclose(found, np.mean(expected, axis=0), atol=2e-6)

    def test_of_a_mirrored_picture_is_mirrored(self) -> None:
        rgb = picture(3, SIZE_HW)
        models = ensemble(ColourRunner(CAMVID, 1), scales=(1.0,), flip=True)
        mirrored = whole(models, np.ascontiguousarray(rgb[:, ::-1]))
        np.testing.assert_allclose(mirrored, whole(models, rgb)[..., ::-1], atol=1e-6)

    def test_votes_are_weights_of_the_mean(self) -> None:
        rgb, seeds = picture(3, SIZE_HW), (1, 2)
        look = {"scales": (0.5, 1.0), "flip": True}
        alone = [whole(ensemble(ColourRunner(CAMVID, seed), **look), rgb) for seed in seeds]
        together = ensemble(*(ColourRunner(CAMVID, seed) for seed in seeds), votes=(7, 3), **look)
        np.testing.assert_allclose(whole(together, rgb), 0.7 * alone[0] + 0.3 * alone[1], atol=2e-6)

    @pytest.mark.parametrize("votes", [(1e-50, 1e-50), (1e308, 1e308)])
    def test_votes_of_any_size(self, votes) -> None:
        rgb = picture(3, SIZE_HW)
        models = [ColourRunner(CAMVID, seed) for seed in (1, 2)]
        plain, voted = ensemble(*models), ensemble(*models, votes=votes)
        np.testing.assert_allclose(whole(voted, rgb), whole(plain, rgb), atol=1e-6)

    @pytest.mark.parametrize(
        "votes", [(1,), (1, 2, 3), (1, 0), (1, float("nan")), (1, float("inf")), (1, 1e-9)]
    )
    def test_votes_that_do_not_fit_are_refused(self, votes) -> None:
        with pytest.raises(UsageError, match="for 2 models; give each one a number above 0"):
            ensemble(ColourRunner(CAMVID, 1), ColourRunner(CAMVID, 2), votes=votes)

    @pytest.mark.parametrize("backend", ["onnx", "torch"])
    def test_one_look_answers_as_segment_does(self, colour_model, tiny_weights, backend) -> None:
        runner = load_model(str(colour_model if backend == "onnx" else tiny_weights),
                            backend=backend, device="cpu", threads=1)  # fmt: skip
        rgb = picture(3, (90, 130))
        models = Ensemble([("model", runner)], Variants())
        ((_, segmented),) = Session(runner).run([Frame(0, 0, Rgb(rgb))])
        assert (whole(models, rgb).argmax(0) == segmented.ids).mean() > 0.9999

    def test_one_window_is_none(self) -> None:
        rgb = picture(3, SIZE_HW)
        plain, windowed = (
            whole(ensemble(ColourRunner(CAMVID, 1), scales=(0.5, 1.5), slide=length), rgb)
            for length in (0, 144)
        )
        np.testing.assert_array_equal(plain, windowed)

    def test_overlapping_windows_are_averaged(self) -> None:
        rgb = picture(3, SIZE_HW)
        model, again = ColourRunner(CAMVID, 1), ColourRunner(CAMVID, 1)
        found = whole(ensemble(model, scales=(1.0,), flip=False, slide=48), rgb)
        clip = to_clip(Rgb(rgb), SIZE_HW, model.description.preprocess)
        total, times = np.zeros((11, *SIZE_HW)), np.zeros(SIZE_HW)
        for top in (0, 16):
            for left in (0, 32, 48):
                here = (slice(top, top + 48), slice(left, left + 48))
                again.reset()
                scores = scored(again, clip[(..., *here)])
                total[(..., *here)] += full_softmax(scores, (48, 48))
                times[here] += 1
        assert set(model.runs) == {(1, 3, 48, 48)} and len(model.runs) == 6
        np.testing.assert_allclose(found, total / times, atol=2e-6)

    @pytest.mark.parametrize(("side", "length"), [(100, 32), (97, 32), (33, 32), (500, 37)])
    def test_windows_cover_the_side(self, side: int, length: int) -> None:
        places = windows(side, length)
        assert places[0][0] == 0 and places[-1][1] == side
        starts = [start for start, stop in places if stop - start == length]
        assert len(starts) == len(places)
        steps = np.diff(starts)
        assert (steps[:-1] == -(-2 * length // 3)).all() and 0 < steps[-1] <= -(-2 * length // 3)

    @pytest.mark.parametrize("value", [np.nan, -np.inf])
    def test_scores_that_are_not_finite_are_an_error(self, value: float) -> None:
        model = ColourRunner(CAMVID, 1)
        answer, is_car = model.answer, np.arange(11)[:, None, None] == 4
        model.answer = lambda clip: Scores(np.where(is_car, value, answer(clip).values))
        with pytest.raises(ModelError, match="answers with NaN or infinite values"):
            whole(ensemble(model, scales=(1.0,)), picture(3, SIZE_HW))

    def test_scores_that_say_nothing_are_no_label(self) -> None:
        scores = np.random.default_rng(0).standard_normal((11, 8, 12)).astype(np.float32)
        scores[4] = np.nan
        ids = Mixture.of_scores(scores, SIZE_HW).ids(void=IGNORE, dtype=np.uint8)
        assert ids.shape == SIZE_HW and (ids == IGNORE).all()
        scores[4] = -np.inf
        ((_, found),) = Mixture.of_scores(scores, SIZE_HW).bands()
        assert (found[4] == 0).all() and np.allclose(found.sum(0), 1)


class TestLabelSets:
    def test_finer_classes_are_summed(self) -> None:
        cityscapes = load_labels("cityscapes")
        rgb = picture(3, SIZE_HW)
        fine = whole(ensemble(ColourRunner(cityscapes, 1), scales=(1.0,)), rgb)
        coarse = whole(ensemble(ColourRunner(cityscapes, 1), scales=(1.0,), labels="camvid"), rgb)
        both = whole(ensemble(ColourRunner(cityscapes, 1), ColourRunner(CAMVID, 2), scales=(1.0,),
                              labels="camvid"), rgb)  # fmt: skip
        table = regrouped("cityscapes", "camvid")
        for class_id, name in enumerate(CAMVID.classes):
            parts = [i for i, one in enumerate(cityscapes.classes) if table[one] == name]
            np.testing.assert_allclose(coarse[class_id], fine[parts].sum(0), atol=1e-6)
        other = whole(ensemble(ColourRunner(CAMVID, 2), scales=(1.0,)), rgb)
        np.testing.assert_allclose(both, (coarse + other) / 2, atol=1e-6)

    def test_the_same_classes_in_another_order(self) -> None:
        turned = Labels("turned", CAMVID.classes[::-1], CAMVID.colours, frozenset())
        rgb = picture(3, SIZE_HW)
        plain = whole(ensemble(ColourRunner(turned, 1), scales=(1.0,)), rgb)
        mapped = whole(ensemble(ColourRunner(turned, 1), scales=(1.0,), labels="camvid"), rgb)
        np.testing.assert_allclose(mapped, plain[::-1], atol=1e-6)

    def test_what_does_not_fit_is_refused(self) -> None:
        camvid, cityscapes = ColourRunner(CAMVID, 1), ColourRunner(load_labels("cityscapes"), 1)
        with pytest.raises(UsageError, match=r"model 1: has other classes than model 0 \('road'"):
            ensemble(camvid, cityscapes)
        with pytest.raises(UsageError, match="'vspw': cannot be regrouped to 'camvid'"):
            ensemble(camvid, ColourRunner(load_labels("vspw"), 1), labels="camvid")
        with pytest.raises(UsageError, match="model 0: is panoptic"):
            ensemble(ColourRunner(CAMVID, 1, task="panoptic"))
        for wrong in ({"scales": ()}, {"scales": (0.0,)}, {"scales": (9.0,)}, {"slide": 31}):
            with pytest.raises(UsageError):
                Variants(**wrong)

    def test_tables_name_every_class(self) -> None:
        coarse, cityscapes = load_labels("idd-lite"), load_labels("cityscapes")
        for fine in (CAMVID, cityscapes):
            united = unions("idd-lite", fine.name)
            assert tuple(united) == coarse.classes
            assert {name for names in united.values() for name in names} == set(fine.classes)
        table = regrouped("cityscapes", "camvid")
        assert tuple(table) == cityscapes.classes
        assert set(table.values()) == set(CAMVID.classes)
        with pytest.raises(UsageError, match="not known as unions of 'vspw'"):
            unions("idd-lite", "vspw")


class TestChoice:
    def test_threshold(self) -> None:
        probabilities = np.array([[0.5, 0.25, 0.9, np.nan], [0.25, 0.5, 0.1, np.nan],
                                  [0.25, 0.25, 0.0, np.nan]], np.float32)[:, None]  # fmt: skip
        assert choose(probabilities, 0.5, void=IGNORE).tolist() == [[0, 1, 0, IGNORE]]
        assert choose(probabilities, 0.51, void=IGNORE).tolist() == [[IGNORE, IGNORE, 0, IGNORE]]

    def test_fine_labels_agree_with_coarse_ones(self) -> None:
        rng = np.random.default_rng(0)
        idd = load_labels("idd-lite")
        probabilities = rng.dirichlet(np.ones(11), (20, 30)).transpose(2, 0, 1).astype(np.float32)
        coarse = rng.choice([*range(7), IGNORE], (20, 30)).astype(np.uint8)
        found = Within(idd, CAMVID).constrained(probabilities, coarse)
        ids = choose(found, 0.0, void=IGNORE)
        table = unions("idd-lite", "camvid")
        for y, x in np.ndindex(coarse.shape):
            if coarse[y, x] == IGNORE:
                assert ids[y, x] == IGNORE
                continue
            allowed = CAMVID.select(table[idd.classes[coarse[y, x]]])
            expected = probabilities[list(allowed), y, x]
            assert ids[y, x] == allowed[expected.argmax()]
            np.testing.assert_allclose(found[ids[y, x], y, x], expected.max() / expected.sum(),
                                       rtol=1e-5)  # fmt: skip
        known = coarse != IGNORE
        np.testing.assert_allclose(found.sum(0)[known], 1, rtol=1e-5)
        # The threshold holds for what is left: one class alone is sure.
        assert (choose(found, 0.99, void=IGNORE)[coarse == 0] == CAMVID.classes.index("Road")).all()


@pytest.fixture
def idd(tmp_path: Path) -> Path:
    """An IDD-Lite of two drives with three frames each, the last of each without a mask."""
    root = tmp_path / "idd"
    rng = np.random.default_rng(1)
    for i in range(6):
        drive, stem = str(10 + i // 3), f"{i:06d}"
        images, masks = (root / kind / "val" / drive for kind in ("leftImg8bit", "gtFine"))
        images.mkdir(parents=True, exist_ok=True)
        masks.mkdir(parents=True, exist_ok=True)
        cv2.imwrite(str(images / f"{stem}_image.jpg"), picture(i, SIZE_HW)[..., ::-1])
        if i % 3 < 2:
            blocks = rng.choice([*range(7), IGNORE], (8, 12)).astype(np.uint8)
            mask = blocks.repeat(8, 0).repeat(8, 1)
            cv2.imwrite(str(masks / f"{stem}_label.png"), mask)
    return root


@pytest.fixture
def request_of(idd: Path, colour_model: Path, tmp_path: Path) -> Callable[..., AutolabelRequest]:
    """A request for the labels of `idd`, or of inputs."""

    def make(**wishes: object) -> AutolabelRequest:
        source = {} if "inputs" in wishes else {"dataset": "idd-lite", "data": idd, "split": "val"}
        usual = {
            "out": tmp_path / "out",
            "models": (str(colour_model),),
            "choice": ModelChoice(device="cpu", threads=1),
            "variants": LabelVariants((0.5, 1.0)),
            "threshold": 0.2,
        }
        return AutolabelRequest(**(usual | source | wishes))

    return make


class TestFolder:
    def test_is_a_data_set(self, request_of, idd: Path, colour_model: Path) -> None:
        seen = []
        result = make_labels(request_of(within=True), on_frame=lambda *now: seen.append(now))
        assert seen == [(i, 6) for i in range(1, 7)] and (result.made, result.skipped) == (6, 0)
        source = open_dataset("idd-lite", idd, "val")
        back = open_dataset("folder", result.out, "train")
        assert back.labels == CAMVID
        kept = np.zeros(256, int)
        table = unions("idd-lite", "camvid")
        allowed = [set(CAMVID.select(table[name])) for name in source.labels.classes]
        for video, before in zip(back.videos, source.videos, strict=True):
            assert video.name == before.name
            for frame, original in zip(video.frames, before.frames, strict=True):
                assert frame.image.read_bytes() == original.image.read_bytes()
                ids = back.load_mask(frame)
                kept += np.bincount(ids.ravel(), minlength=256)
                if original.labelled:
                    coarse = source.load_mask(original)
                    assert (ids[coarse == IGNORE] == IGNORE).all()
                    pairs = set(zip(coarse.ravel().tolist(), ids.ravel().tolist(), strict=True))
                    assert all(i == IGNORE or i in allowed[c] for c, i in pairs)
        assert not list(result.out.rglob("*.vidparse-part"))
        record = json.loads((result.out / "autolabel.json").read_text())
        assert record["complete"] and record["frames"] == 6 and record["pixels"] == 6 * 64 * 96
        assert record["kept_share"] == pytest.approx(1 - kept[IGNORE] / kept.sum())
        shares = list(record["class_shares_of_kept"].values())
        assert shares == pytest.approx(kept[:11] / kept[:11].sum()) and 0 < max(shares) < 1
        settings = record["settings"]
        assert settings["models"][0]["sha256"] == load_model(str(colour_model)).description.sha256
        assert settings["scales"] == [0.5, 1.0] and settings["within"] == "idd-lite"

    def test_only_frames_without_a_mask(self, request_of) -> None:
        result = make_labels(request_of(unlabelled=True))
        names = sorted(path.stem for path in result.out.glob("masks/*/*"))
        assert result.made == 2 and names == ["000002", "000005"]

    def test_masks_of_another_size_are_refused(self, request_of, idd: Path) -> None:
        mask = next(idd.rglob("000003_label.png"))
        cv2.imwrite(str(mask), np.zeros((32, 48), np.uint8))
        with pytest.raises(InputError, match=r"000003_image.jpg: its mask is 48x32"):
            make_labels(request_of(within=True))

    def test_an_interrupted_run_goes_on(self, request_of, tmp_path: Path, monkeypatch) -> None:
        expected = make_labels(request_of(out=tmp_path / "whole"))
        stop = threading.Event()
        request = request_of()
        with pytest.raises(Interrupted, match="stopped after 2 frames"):
            make_labels(request, on_frame=lambda done, _: stop.set() if done == 2 else None,
                        stop=stop)  # fmt: skip
        record = json.loads((request.out / "autolabel.json").read_text())
        assert record["frames"] == 2 and not record["complete"]
        calls = []
        answer = Ensemble.answer
        monkeypatch.setattr(Ensemble, "answer", lambda *args: calls.append(1) or answer(*args))
        result = make_labels(request)
        assert (result.made, result.skipped, len(calls)) == (4, 2, 4)
        assert result.counts == expected.counts
        for path in (tmp_path / "whole" / "masks").rglob("*.png"):
            assert (request.out / path.relative_to(tmp_path / "whole")).read_bytes() == (
                path.read_bytes()
            )

    def test_a_killed_run_goes_on(self, request_of) -> None:
        """What it was writing is half a file, under the name of its part."""
        result = make_labels(request_of(max_frames=2))
        out = result.out
        video = next((out / "masks").iterdir()).name
        for kind, ending in (("images", ".jpg"), ("masks", ".png")):
            (out / kind / video / f"9{PART}{ending}").write_bytes(b"half")
        assert make_labels(request_of()).counts.frames == 6
        dataset = open_dataset("folder", out, "all")
        assert sum(len(one.frames) for one in dataset.videos) == 6
        report = check_dataset(out)
        assert (report.errors, report.warnings) == (0, 0)

    def test_other_settings_are_refused(self, request_of, tmp_path: Path, tiny_weights) -> None:
        first = request_of(max_frames=1)
        make_labels(first)
        with pytest.raises(OutputError, match=r"other settings \(scales, threshold\); choose"):
            make_labels(request_of(variants=LabelVariants((1.0,)), threshold=0.3))
        with pytest.raises(OutputError, match=r"other settings \(models\)"):
            make_labels(request_of(models=(*first.models, str(tiny_weights))))
        with pytest.raises(OutputError, match=r"other settings \(shrink\)"):
            make_labels(request_of(shrink=32))
        assert make_labels(request_of(max_frames=2)).skipped == 1  # that is no setting
        assert make_labels(request_of(max_frames=2, votes=(7,))).skipped == 2  # nor this, of one
        other = request_of(threshold=0.3, max_frames=3, overwrite=True)
        result = make_labels(other)
        assert (result.made, result.skipped, result.counts.frames) == (3, 0, 3)
        (other.out / "notes.txt").write_text("mine")
        with pytest.raises(OutputError, match=r"holds 'notes.txt', so it is not ours"):
            make_labels(other)
        foreign = tmp_path / "foreign"
        (foreign / "images").mkdir(parents=True)
        for overwrite in (False, True):
            with pytest.raises(OutputError, match=r"has no autolabel.json"):
                make_labels(request_of(out=foreign, overwrite=overwrite))
        file = tmp_path / "file"
        file.touch()
        with pytest.raises(OutputError, match="cannot be written"):
            make_labels(request_of(out=file))

    def test_a_damaged_record_is_refused(self, request_of) -> None:
        request = request_of(max_frames=1)
        make_labels(request)
        for text in ("{", "[]", '{"settings": {}}', '{"settings": 1}'):
            (request.out / "autolabel.json").write_text(text)
            with pytest.raises(OutputError, match=r"autolabel.json: damaged \("):
                make_labels(request)


class TestInputs:
    def test_every_fifth_frame_of_videos(self, request_of, clip) -> None:
        videos = (clip("one.mp4", frames=12), clip("two.mp4", frames=3))
        request = request_of(inputs=tuple(map(str, videos)), every=5)
        seen = []
        result = make_labels(request, on_frame=lambda *now: seen.append(now))
        assert seen[-1] == (4, 4)
        names = [str(path.relative_to(result.out)) for path in sorted(result.out.glob("*/*/*"))]
        expected = ["one/000000", "one/000005", "one/000010", "two/000000"]
        endings = {"images": "jpg", "masks": "png"}
        assert names == [
            f"{kind}/{name}.{end}" for kind, end in endings.items() for name in expected
        ]
        back = open_dataset("folder", result.out, "train")
        found = back.load_image(back.videos[0].frames[1])
        assert np.abs(found.astype(int) - picture(5)).mean() < 8  # chroma is coarser
        assert make_labels(request).skipped == 4

    def test_pictures_are_copied(self, request_of, tmp_path: Path) -> None:
        shots = tmp_path / "shots"
        shots.mkdir()
        for i, name in enumerate(("a.jpg", "b.PNG", "c.tif")):
            cv2.imwrite(str(shots / name), picture(i, (48, 64 + 16 * i)))
        result = make_labels(request_of(inputs=(str(shots),)))
        images = result.out / "images" / "shots"
        assert sorted(path.name for path in images.iterdir()) == ["a.jpg", "b.PNG", "c.jpg"]
        for name in ("a.jpg", "b.PNG"):
            assert (images / name).read_bytes() == (shots / name).read_bytes()
        assert cv2.imread(str(images / "c.jpg")).shape == (48, 96, 3)
        assert read_indices(result.out / "masks" / "shots" / "c.png").shape == (48, 96)

    def test_larger_pictures_are_brought_to_a_size(self, request_of, tmp_path: Path) -> None:
        shots = tmp_path / "shots"
        shots.mkdir()
        cv2.imwrite(str(shots / "large.png"), picture(0, (96, 128)))
        cv2.imwrite(str(shots / "small.png"), picture(1, (32, 64)))
        result = make_labels(request_of(inputs=(str(shots),), shrink=48))
        kept = result.out / "images" / "shots" / "small.png"
        assert kept.read_bytes() == (shots / "small.png").read_bytes()
        with pytest.raises(UsageError, match="--shrink 16: must be 32 or more"):
            make_labels(request_of(inputs=(str(shots),), shrink=16))
        found = {
            stem: (
                cv2.imread(str(next(result.out.glob(f"images/shots/{stem}.*")))).shape[:2],
                read_indices(result.out / "masks" / "shots" / f"{stem}.png").shape,
            )
            for stem in ("large", "small")
        }
        assert found == {"large": ((48, 64), (48, 64)), "small": ((32, 64), (32, 64))}

    def test_a_picture_by_name_and_a_rendered_scene(self, request_of, tmp_path: Path) -> None:
        cv2.imwrite(str(tmp_path / "a.jpg"), picture(0))
        scene = "sample://street?size=96x64&frames=1"
        result = make_labels(request_of(inputs=(str(tmp_path / "a.jpg"), scene)))
        names = sorted(str(path.relative_to(result.out / "masks"))
                       for path in result.out.glob("masks/*/*"))  # fmt: skip
        assert names == ["a/a.png", "sample_street_size_96x64_frames_1/000000.png"]

    def test_pictures_are_seen_as_training_reads_them(
        self, request_of, tmp_path: Path, monkeypatch
    ) -> None:
        """Not as FFmpeg decodes them, whose chroma is coarser."""
        (tmp_path / "shots").mkdir()
        path = tmp_path / "shots" / "sharp.jpg"
        Pillow.fromarray(picture(3, (20, 40))).save(path, quality=90, subsampling=0)
        seen, answer = [], Ensemble.answer
        monkeypatch.setattr(
            Ensemble, "answer", lambda own, clip, *size: seen.append(clip) or answer(own, clip)
        )
        result = make_labels(request_of(inputs=(str(tmp_path / "shots"),)))
        np.testing.assert_array_equal(seen[0][0, 0].transpose(1, 2, 0), read_rgb(path))
        with open_video(str(path)) as source:
            assert (next(iter(source)).image.rgb() != read_rgb(path)).any()
        (mask,) = result.out.glob("masks/*/*.png")
        assert read_indices(mask).shape == (20, 40)  # smaller than any network's input

    def test_a_damaged_picture_takes_nothing_away(self, request_of, tmp_path: Path) -> None:
        shots = tmp_path / "shots"
        shots.mkdir()
        for i in range(3):
            cv2.imwrite(str(shots / f"{i}.png"), picture(i, (32, 48)))
        whole = (shots / "2.png").read_bytes()
        (shots / "2.png").write_bytes(whole[:100])
        request = request_of(inputs=(str(shots),))
        with pytest.raises(InputError, match=r"2.png: damaged image"):
            make_labels(request)
        record = json.loads((request.out / "autolabel.json").read_text())
        assert (record["frames"], record["complete"]) == (2, False)
        (shots / "2.png").write_bytes(whole)
        result = make_labels(request)
        assert (result.made, result.skipped) == (1, 2)

    def test_wide_pixels_are_seen_as_people_see_them(self) -> None:
        model = ColourRunner(CAMVID, 1)
        info = VideoInfo("v", SIZE_HW, Fraction(1, 25), None, 1, None, Fraction(2), ColourTags())
        session = ensemble(model, scales=(1.0,), flip=False).session(info)
        list(session.run([Frame.from_rgb(picture(3, SIZE_HW))]))
        assert model.runs == [(1, 3, 64, 192)]

    def test_names_that_would_clash(self, request_of, clip, tmp_path: Path) -> None:
        (tmp_path / "b").mkdir()
        inputs = (str(clip("x.mp4", frames=1)), str(clip("b/x.mp4", frames=1)))
        with pytest.raises(UsageError, match=r"b/x.mp4: is called x, as is .*x.mp4; rename one"):
            make_labels(request_of(inputs=inputs))
        for name in ("a.jpg", "a.png"):
            cv2.imwrite(str(tmp_path / "b" / name), picture(0))
        with pytest.raises(InputError, match="2 pictures are called 'a'"):
            make_labels(request_of(inputs=(str(tmp_path / "b"),)))

    def test_a_video_that_ends_early(self, request_of, clip) -> None:
        whole, good = clip("cut.mkv", frames=20), clip("good.mp4", frames=2)
        whole.write_bytes(whole.read_bytes()[: whole.stat().st_size * 2 // 3])
        request = request_of(inputs=(str(whole), str(good)), variants=LabelVariants((1.0,), False))
        with pytest.raises(TruncatedError, match=r"cut.mkv"):
            make_labels(request)
        assert 5 < len(list(request.out.glob("masks/cut/*"))) < 20
        assert len(list(request.out.glob("masks/good/*"))) == 2
        assert not json.loads((request.out / "autolabel.json").read_text())["complete"]


def test_papers_look_at_six_sizes() -> None:
    assert LabelVariants() == LabelVariants(SCALES, flip=True, slide=0) and len(SCALES) == 6


def test_a_sequence_has_one_name_in_messages_and_folders(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "shots").mkdir()
    for i in range(2):
        cv2.imwrite(str(tmp_path / "shots" / f"{i}.png"), np.full((8, 8, 3), i, np.uint8))
    monkeypatch.chdir(tmp_path / "shots")
    for given in (str(tmp_path / "shots"), "*.png", "."):
        (one,) = expand_inputs([given])
        with open_video(one) as source:
            assert source.info.name == one.folder_name == "shots"
        (found,) = recordings_of_inputs([given])
        assert found.name == "shots" and len(found.pictures) == 2
