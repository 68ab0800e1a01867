"""Rendered scenes: deterministic, and their ground truth agrees with itself and the picture."""

import hashlib
import subprocess
import sys
from fractions import Fraction
from functools import lru_cache

import cv2
import numpy as np
import pytest

from vidparse.errors import InputError, UsageError
from vidparse.labels import load_labels
from vidparse.scenes import LABELS, Scene, SceneFrame, SceneSpec, parse_scene
from vidparse.scenes.textures import _DRAWN
from vidparse.scenes.view import Camera, focal_length_px, look
from vidparse.video import open_video

SMALL = "sample://{}?size=480x270&frames=90"


@lru_cache
def small_scene(name: str) -> Scene:
    return Scene(parse_scene(SMALL.format(name)))


@pytest.fixture(params=["street", "crowd"])
def scene(request: pytest.FixtureRequest) -> Scene:
    return small_scene(request.param)


def digest(frame: SceneFrame) -> str:
    arrays = (frame.rgb, frame.classes, frame.instances, frame.flow, frame.flow_valid)
    return hashlib.sha256(b"".join(array.tobytes() for array in arrays)).hexdigest()


def followed(frame: SceneFrame) -> tuple[np.ndarray, np.ndarray]:
    """Rows and columns of the pixels where the flow moves each pixel, clipped."""
    height, width = frame.classes.shape
    x = np.rint(np.arange(width)[None] + frame.flow[0]).astype(int)
    y = np.rint(np.arange(height)[:, None] + frame.flow[1]).astype(int)
    return np.clip(y, 0, height - 1), np.clip(x, 0, width - 1)


def test_spec_defaults_and_values() -> None:
    assert parse_scene("sample://street") == SceneSpec("street", 120, (720, 1280), 0, Fraction(30))
    spec = parse_scene("sample://crowd?frames=7&size=640x480&seed=3&rate=30000/1001")
    assert spec == SceneSpec("crowd", 7, (480, 640), 3, Fraction(30000, 1001))
    assert parse_scene(str(spec)) == spec


@pytest.mark.parametrize(
    ("spec", "message"),
    [
        ("sample://beach", "sample://street or sample://crowd"),
        ("sample://street?frame=3", "did you mean 'frames'"),
        ("sample://street?colour=red", "the keys are frames, size, seed, rate"),
        ("sample://street?frames=0", "frames=0"),
        ("sample://street?size=1280*720", "size=1280*720"),
        ("sample://street?size=10x10", "both sides"),
        ("sample://street?rate=0", "rate=0"),
        ("sample://street?rate=30/0", "rate=30/0"),
        ("sample://street?seed=-1", "seed=-1"),
        ("sample://street?frames=999999", "scenes end at 3600 s"),
    ],
)
def test_a_bad_spec_is_one_helpful_line(spec: str, message: str) -> None:
    with pytest.raises(UsageError) as caught:
        parse_scene(spec)
    assert message in str(caught.value)
    assert str(caught.value).startswith(spec)
    assert "\n" not in str(caught.value)


def test_frame_arrays_are_as_promised(scene: Scene) -> None:
    frame = scene.render(3)
    assert (frame.rgb.shape, frame.rgb.dtype) == ((270, 480, 3), np.uint8)
    assert (frame.classes.shape, frame.classes.dtype) == ((270, 480), np.uint8)
    assert (frame.instances.shape, frame.instances.dtype) == ((270, 480), np.uint16)
    assert (frame.flow.shape, frame.flow.dtype) == ((2, 270, 480), np.float32)
    assert (frame.flow_valid.shape, frame.flow_valid.dtype) == ((270, 480), np.bool_)
    assert np.isfinite(frame.flow).all()
    with pytest.raises(IndexError):
        scene.render(90)


def test_same_bytes_whatever_the_order(scene: Scene) -> None:
    in_order = [digest(scene.render(i)) for i in (20, 21, 22)]
    again = Scene(scene.spec)
    assert [digest(again.render(i)) for i in (22, 70, 20, 21)][2:] == in_order[:2]
    assert digest(again.render(22)) == in_order[2]
    assert np.array_equal(again.picture(21), scene.render(21).rgb)
    assert len(set(in_order)) == 3


def test_same_bytes_in_another_process(scene: Scene) -> None:
    code = (
        "import sys, hashlib; from vidparse.scenes import *; f = Scene(parse_scene(sys.argv[1]))"
        ".render(5); print(hashlib.sha256(b''.join(a.tobytes() for a in (f.rgb, f.classes, "
        "f.instances, f.flow, f.flow_valid))).hexdigest())"
    )
    run = [sys.executable, "-c", code, str(scene.spec)]
    other = subprocess.run(run, capture_output=True, text=True, check=True).stdout.strip()
    assert other == digest(scene.render(5))


def test_another_seed_is_another_video() -> None:
    other = Scene(parse_scene(SMALL.format("street") + "&seed=1")).picture(0)
    change = np.subtract(other, small_scene("street").picture(0), dtype=np.int16)
    assert np.abs(change).mean() > 10


def test_labels_follow_the_flow(scene: Scene) -> None:
    """What is marked valid is found again in the next frame, border pixels aside by one."""
    for index in (0, 31, 62):
        frame, after = scene.render(index), scene.render(index + 1)
        y, x = followed(frame)
        valid = frame.flow_valid
        same = np.zeros_like(valid)
        exact = np.zeros_like(valid)
        for dy in (-1, 0, 1):
            for dx in (-1, 0, 1):
                near_y = np.clip(y + dy, 0, valid.shape[0] - 1)
                near_x = np.clip(x + dx, 0, valid.shape[1] - 1)
                match = after.classes[near_y, near_x] == frame.classes
                match &= after.instances[near_y, near_x] == frame.instances
                same |= match
                exact |= match & (dy == 0 and dx == 0)
        assert valid.mean() > 0.85
        assert same[valid].mean() > 0.999
        assert exact[valid].mean() > 0.985


def test_picture_follows_the_flow(scene: Scene) -> None:
    """The next picture, pulled back along the flow, is this one: far better than without it."""
    frame, after = scene.render(40), scene.render(41)
    height, width = frame.classes.shape
    grid_x = np.arange(width, dtype=np.float32)[None] + frame.flow[0]
    grid_y = np.arange(height, dtype=np.float32)[:, None] + frame.flow[1]
    pulled = cv2.remap(after.rgb, grid_x, grid_y, cv2.INTER_LINEAR)
    moving = frame.flow_valid & (np.hypot(*frame.flow) > 1.0)

    def error(picture: np.ndarray) -> float:
        return float(np.abs(np.subtract(picture, frame.rgb, dtype=np.int16))[moving].mean())

    assert error(pulled) < 0.62 * error(after.rgb)
    assert error(pulled) < 7


def test_what_the_flow_calls_hidden_is_hidden_or_gone(scene: Scene) -> None:
    frame = scene.render(50)
    height, width = frame.classes.shape
    x = np.arange(width)[None] + frame.flow[0]
    y = np.arange(height)[:, None] + frame.flow[1]
    outside = (x < -0.51) | (x > width - 0.49) | (y < -0.51) | (y > height - 0.49)
    assert not frame.flow_valid[outside].any()
    assert 0 < (~frame.flow_valid & ~outside).mean() < 0.1


def test_instances_keep_their_class_and_are_things() -> None:
    labels = load_labels(LABELS)
    for name in ("street", "crowd"):
        scene = small_scene(name)
        class_of: dict[int, int] = {}
        for index in range(0, 90, 15):
            frame = scene.render(index)
            is_thing = np.isin(frame.classes, sorted(labels.things))
            assert np.array_equal(is_thing, frame.instances > 0)
            pairs = np.unique(
                frame.instances.astype(np.int64) * 256 + frame.classes, return_counts=False
            )
            for pair in pairs[pairs >= 256]:
                assert class_of.setdefault(int(pair) // 256, int(pair) % 256) == pair % 256
        assert len(set(class_of.values())) >= 2


def test_scenes_hold_what_they_promise() -> None:
    labels = load_labels(LABELS)
    seen = {name: np.zeros(256, np.int64) for name in ("street", "crowd")}
    people = 0
    for name in seen:
        scene = small_scene(name)
        for index in (0, 30, 60):
            frame = scene.render(index)
            seen[name] += np.bincount(frame.classes.ravel(), minlength=256)
            if name == "crowd":
                walkers = np.isin(frame.classes, (9, 10))
                people = max(people, len(np.unique(frame.instances[walkers])))
    assert (seen["street"][: len(labels)] > 0).all()
    assert seen["street"][255] == seen["crowd"][255] == 0
    assert people >= 25
    share = seen["street"][: len(labels)] / seen["street"].sum()
    assert share[[0, 1, 3]].min() > 0.08  # sky, building and road fill a street's picture


def test_camera_projects_as_a_pinhole() -> None:
    size_hw = (720, 1280)
    camera = Camera(np.array([1.0, 1.4, 10.0]), look(0, 0, 0), focal_length_px(size_hw), size_hw)
    point = np.array([[3.0, 0.0, 30.0]])
    unit = np.zeros((1, 3))
    u, v, depth = camera.homographies(point, unit, unit)[0] @ (0, 0, 1)
    assert depth == pytest.approx(20)
    assert u / depth == pytest.approx(639.5 + 1024 * 2 / 20)
    assert v / depth == pytest.approx(359.5 + 1024 * 1.4 / 20)


def test_a_video_source_with_exact_times() -> None:
    source = open_video(
        "sample://street?frames=30&size=160x90&rate=30000/1001", start_s=0.2, end_s=0.6, stride=4
    )
    assert source.info.name == "sample://street"
    assert source.info.time_base == Fraction(1001, 30000)
    assert (source.info.size_hw, source.info.frames) == ((90, 160), 30)
    frames = list(source)
    assert [(frame.index, frame.pts) for frame in frames] == [(6, 6), (10, 10), (14, 14)]
    whole = Scene(parse_scene("sample://street?frames=30&size=160x90&rate=30000/1001"))
    assert np.array_equal(frames[1].image.rgb(), whole.render(10).rgb)
    assert (source.skipped, source.notes, list(source.trailing_packets())) == (0, [], [])
    source.close()


def test_an_empty_range_is_an_error() -> None:
    with pytest.raises(InputError, match="no frame between 5 s and the end"):
        list(open_video("sample://street?frames=3&size=160x90", start_s=5))
    with pytest.raises(UsageError, match="a later end"):
        open_video("sample://street", start_s=2, end_s=1)
    with pytest.raises(UsageError, match="stride 0"):
        open_video("sample://street", stride=0)


def test_memory_stays_bounded_along_the_street() -> None:
    """Minutes down the road no more is kept than at the start."""
    scene = Scene(parse_scene("sample://street?size=160x90&frames=9000"))
    scene.render(0)
    for index in range(500, 9000, 500):
        scene.picture(index)
    assert len(scene._world._cells) <= 64
    bank = scene._world.bank
    assert _DRAWN.nbytes <= 64 << 20 and bank._variants.nbytes <= 64 << 20
    assert len(scene._world.bank.sizes) < 900


def test_textures_of_one_name_are_alike_in_every_scene() -> None:
    """Scenes share what they have drawn by its name."""
    banks = []
    for address in ("sample://street?seed=5", "sample://crowd?seed=6"):
        scene = Scene(parse_scene(f"{address}&size=64x64"))
        scene._view(0)
        banks.append(scene._world.bank)
    shared = banks[0]._names.keys() & banks[1]._names.keys()
    assert len(shared) > 20
    for name in shared:
        first, second = (bank._makers[bank._names[name]]() for bank in banks)
        assert np.array_equal(first, second), name
