"""Degraded pictures: how much, how often, and the same bytes for the same names everywhere."""

from __future__ import annotations

import hashlib
from dataclasses import replace

import cv2
import numpy as np
import pytest

from support.made_folder import make_folder
from vidparse.data import Dataset, open_dataset
from vidparse.data.degrade import (
    Draws,
    blurred,
    compressed,
    degrade,
    degraded,
    key_of,
    noisy,
    toned,
)
from vidparse.errors import UsageError
from vidparse.evaluation.evaluate import EvaluationOptions, evaluate
from vidparse.flow import FlowSource, open_flow
from vidparse.labels import load_labels
from vidparse.maps import Prediction, SegmentMap
from vidparse.requests.degradation import DEGRADATIONS, Degradation, parse_degradation

CLIP = key_of("clip")


def picture() -> np.ndarray:
    """Ramps of red and green, and blue squares: whole numbers alone, the same everywhere."""
    y, x = np.mgrid[:48, :64]
    return np.stack([x * 4, y * 5, (x // 8 + y // 8) % 2 * 200], axis=-1).astype(np.uint8)


@pytest.mark.parametrize("sigma", [5, 25, 60])
def test_noise_has_the_requested_deviation_and_no_mean(sigma: int) -> None:
    grey = np.full((240, 320, 3), 128, np.uint8)
    made = noisy(grey, sigma, Draws(CLIP)).astype(float) - 128
    if sigma < 60:  # else the ends of the range cut the largest off
        assert made.std() == pytest.approx(sigma, rel=0.02)
    assert abs(made.mean()) < sigma / 100
    apart = np.corrcoef(made[..., 0].ravel(), made[..., 1].ravel())[0, 1]
    assert abs(apart) < 0.02, "each channel has its own"


def test_a_blur_is_the_convolution_written_out() -> None:
    rgb, sigma = picture(), 1.2
    bell = [np.exp(-(i**2) / (2 * sigma**2)) for i in range(-4, 5)]
    weights = [round(256 * one / sum(bell)) for one in bell]
    weights[4] += 256 - sum(weights)
    mirrored = np.pad(rgb.astype(int), ((4, 4), (4, 4), (0, 0)), mode="reflect")
    rows = sum(w * mirrored[i : i + 48] for i, w in enumerate(weights))
    both = sum(w * rows[:, i : i + 64] for i, w in enumerate(weights))
    assert (blurred(rgb, sigma) == (both + 32768) // 65536).all()
    flat = np.full((20, 30, 3), 77, np.uint8)
    assert (blurred(flat, 3.0) == 77).all()


def test_jpeg_is_that_of_another_encoder() -> None:
    rgb = cv2.GaussianBlur(picture(), (0, 0), 2)
    for quality in (5, 30):
        options = [cv2.IMWRITE_JPEG_QUALITY, quality]
        _, data = cv2.imencode(".jpg", rgb[..., ::-1], options)
        theirs = cv2.imdecode(data, cv2.IMREAD_COLOR)[..., ::-1].astype(int)
        assert np.abs(compressed(rgb, quality).astype(int) - theirs).mean() < 1
    coarse, fine = (np.abs(compressed(rgb, q).astype(int) - rgb).mean() for q in (3, 60))
    assert coarse > 3 * fine


def test_tones_are_gains_and_a_spread_about_grey() -> None:
    rgb = np.array([[[10, 100, 200], [255, 0, 128]]], np.uint8)
    assert toned(rgb, [2.0, 0.5, 1.0]).tolist() == [[[20, 50, 200], [255, 0, 128]]]
    assert toned(rgb, [1.0, 1.0, 1.0], 0.5).tolist() == [[[69, 114, 164], [192, 64, 128]]]


def test_a_burst_leaves_half_of_the_frames_and_hits_the_others_in_three_ways() -> None:
    """By what is left of a checker: noise roughens a flat part, blur and JPEG roughen nothing."""
    rgb = np.full((32, 32, 3), 90, np.uint8)
    rgb[:, 16:] = 160
    found = {"none": 0, "noise": 0, "other": 0}
    for i in range(600):
        made, is_worse = degrade(rgb, "burst", CLIP, key_of("frame", str(i)))
        assert is_worse == (made != rgb).any()
        name = "none" if not is_worse else "noise" if made[:, :8].std() > 15 else "other"
        found[name] += 1
    assert found["none"] == pytest.approx(300, abs=40)
    assert found["noise"] == pytest.approx(100, abs=30)
    assert found["other"] == pytest.approx(200, abs=35)


def test_a_night_is_as_dark_in_all_of_its_frames_and_light_changes_in_each() -> None:
    rgb = np.full((64, 64, 3), 180, np.uint8)

    def means(kind: str, clip: str) -> list[float]:
        made = [degrade(rgb, kind, key_of(clip), key_of(clip, str(i)))[0] for i in range(6)]
        return [float(one.mean()) for one in made]

    nights = [means("night", clip) for clip in "abc"]
    assert all(max(night) - min(night) < 2 for night in nights)
    assert len({round(night[0] / 3) for night in nights}) > 1
    assert max(max(night) for night in nights) < 0.5 * 180
    light = means("light", "a")
    assert max(light) - min(light) > 20


def test_mixed_leaves_half_of_the_frames_and_has_each_kind_of_the_others() -> None:
    rgb = picture()
    kinds = [kind for kind in DEGRADATIONS if kind != "mixed"]
    dark = left = 0
    for i in range(600):
        made, is_worse = degrade(rgb, "mixed", CLIP, key_of("frame", str(i)))
        assert is_worse == (made != rgb).any()
        left += not is_worse
        dark += is_worse and made.mean() < 0.45 * rgb.mean()
    # Half, and the half that bursts leave of theirs; nights are the darkest.
    assert left == pytest.approx(600 * (0.5 + 0.5 * 0.5 / len(kinds)), abs=40)
    assert dark == pytest.approx(60, abs=20)


# Of each kind, the bytes of frames 0 to 9 of one clip: they must not change between machines,
# versions and orders, or scores on degraded data could not be compared.
HASHES = {
    "burst": "b9c0960f23932d56",
    "noise": "9aecbebcccef7a2e",
    "night": "f0b670470ae1fc6e",
    "jpeg": "7f1bfb2d76693e9f",
    "light": "c1f8d3b6eec9b930",
    "mixed": "9af1340877da0a97",
}


@pytest.mark.parametrize("kind", DEGRADATIONS)
def test_the_same_names_give_the_same_bytes_on_every_machine(kind: str) -> None:
    made = hashlib.sha256()
    for i in range(10):
        made.update(degrade(picture(), kind, CLIP, key_of("frame", str(i)))[0].tobytes())
    assert made.hexdigest()[:16] == HASHES[kind]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Dataset:
    return open_dataset("folder", make_folder(tmp_path_factory.mktemp("folder")), "val")


def test_frames_are_degraded_by_their_names_alone(folder: Dataset) -> None:
    worse = degraded(folder, Degradation("noise", 3))
    frames = [frame for video in worse.videos for frame in video.frames]
    forwards = [worse.load_image(frame) for frame in frames]
    backwards = [worse.load_image(frame) for frame in reversed(frames)][::-1]
    assert all((a == b).all() for a, b in zip(forwards, backwards, strict=True))
    elsewhere = [replace(frame, index=9, mask=None) for frame in frames]
    assert all((worse.load_image(f) == a).all() for f, a in zip(elsewhere, forwards, strict=True))

    other = degraded(folder, Degradation("noise", 4))
    for frame, one in zip(frames, forwards, strict=True):
        clean = folder.load_image(frame)
        assert (one != clean).any() and (other.load_image(frame) != one).any()
        assert worse.read_clean is not None and (worse.read_clean(frame) == clean).all()
        assert (worse.load_mask(frame) == folder.load_mask(frame)).all()
    noise = [
        one.astype(int) - folder.load_image(f) for f, one in zip(frames, forwards, strict=True)
    ]
    assert abs(np.corrcoef(noise[0].ravel(), noise[1].ravel())[0, 1]) < 0.1


def test_words_of_a_degradation() -> None:
    assert parse_degradation("burst") == Degradation("burst", 0)
    assert str(parse_degradation("night:12")) == "night:12"
    with pytest.raises(UsageError, match="'fog': unknown; use burst, noise, night, jpeg, light"):
        parse_degradation("fog")
    for text in ("burst:", "burst:-1", "burst:x", "burst:1.5", "burst:99999999999"):
        if text != "burst:":
            with pytest.raises(UsageError, match="is no seed; write a whole number, as burst:1"):
                parse_degradation(text)
    with pytest.raises(UsageError, match="'' is no seed"):
        parse_degradation("burst:")


class Watching:
    """An entry that answers with the truth's size, and keeps what it was shown."""

    name = detail = "watching"
    needs_images, is_panoptic, notes = True, False, ()

    def __init__(self) -> None:
        self.shown: dict[str, np.ndarray] = {}

    def check(self, dataset, videos) -> None: ...

    def fingerprint(self, video) -> str:
        return "watching"

    def hint_for_offset(self, offset: int) -> str:
        return ""

    def answers(self, video, frames):
        for record, image in frames:
            self.shown[f"{record.video} {record.stem}"] = image
            ids = np.zeros(image.shape[:2], np.uint8)
            yield Prediction(record.index, SegmentMap(ids), load_labels("camvid"))


def test_models_see_worse_pictures_and_flow_the_clean_ones(folder: Dataset) -> None:
    flow = open_flow("dis")
    pairs: list[tuple[np.ndarray, np.ndarray]] = []

    class Noting(FlowSource):
        name, key = flow.name, flow.key

        def between(self, image, other, **words):
            pairs.append((image.copy(), other.copy()))
            return flow.between(image, other, **words)

    entry, worse = Watching(), degraded(folder, Degradation("noise"))
    options = EvaluationOptions(metrics=("tc",), flow=Noting(), max_videos=1, resume=False)
    result = evaluate(worse, [entry], options)
    assert "Pictures are degraded (noise:0), labels and flow are not." in result.notes
    frames = worse.videos[0].frames
    for frame in frames:
        assert (entry.shown[f"{frame.video} {frame.stem}"] == worse.load_image(frame)).all()
    clean = [folder.load_image(frame) for frame in frames]
    assert len(pairs) == len(frames) - 1
    for (before, now), a, b in zip(pairs, clean, clean[1:], strict=False):
        assert (before == a).all() and (now == b).all()
