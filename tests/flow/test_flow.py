"""Optical flow: warping, and the estimators against motions that are known.

RAFT's published weights are looked for in the folder VIDPARSE_TEST_WEIGHTS, else beside the
checkout; without them their tests are skipped.
"""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import cv2
import numpy as np
import pytest

from vidparse.errors import DeviceError, ModelError, UsageError, VidparseError
from vidparse.flow import DisFlow, RaftFlow, open_flow, warp_image
from vidparse.scenes import Scene, SceneFrame, parse_scene

BESIDE = Path(__file__).resolve().parents[3]
SHIFT = (6.0, -3.0)  # right, down
PRESETS = ("ultrafast", "fast", "medium")


def moved_pair(size_hw: tuple[int, int] = (128, 160)) -> tuple[np.ndarray, np.ndarray]:
    """Texture, and the same seen after everything moved by SHIFT; RGB uint8 (H, W, 3)."""
    height, width = size_hw
    rng = np.random.default_rng(3)
    noise = sum(
        cv2.GaussianBlur(rng.standard_normal((height + 32, width + 32, 3)), (0, 0), sigma) * sigma
        for sigma in (1.5, 4.0, 9.0)
    )
    texture = np.clip(128 + 55 * noise, 0, 255).astype(np.uint8)
    right, down = map(int, SHIFT)
    a = texture[16 : 16 + height, 16 : 16 + width]
    b = texture[16 - down : 16 - down + height, 16 - right : 16 - right + width]
    return a, b


def shift_error(flow: np.ndarray, margin: int = 16) -> np.ndarray:
    """End-point errors against SHIFT, away from the edges where content enters and leaves."""
    inside = flow[:, margin:-margin, margin:-margin]
    return np.hypot(inside[0] - SHIFT[0], inside[1] - SHIFT[1])


def one_line(failure: pytest.ExceptionInfo[VidparseError], *words: object) -> None:
    text = str(failure.value)
    assert "\n" not in text and ": " in text and "; " in text
    for word in words:
        assert str(word) in text


@pytest.fixture(scope="module")
def street() -> tuple[SceneFrame, np.ndarray]:
    """A rendered frame with its exact flow, and the picture after it."""
    scene = Scene(parse_scene("sample://street?frames=12&size=384x224&seed=3"))
    return scene.render(5), scene.picture(6)


@pytest.fixture(scope="module")
def raft_things() -> Path:
    """The published weights."""
    named = os.environ.get("VIDPARSE_TEST_WEIGHTS")
    folders = [Path(named)] if named else [BESIDE / "shared" / "weights"]
    for path in (folder / "raft-things.pth" for folder in folders):
        if path.is_file():
            return path
    pytest.skip("no raft-things.pth in VIDPARSE_TEST_WEIGHTS or beside the checkout")


@pytest.fixture(scope="module")
def untrained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Weights that fit RAFT and know nothing."""
    import torch

    from vidparse.flow.raft import Raft

    torch.manual_seed(0)
    path = tmp_path_factory.mktemp("raft") / "untrained.pth"
    torch.save(Raft().state_dict(), path)
    return path


# warping


def test_warping_brings_the_second_picture_onto_the_first() -> None:
    a, b = moved_pair()
    flow = np.broadcast_to(np.array(SHIFT, np.float32)[:, None, None], (2, *a.shape[:2]))
    assert np.array_equal(warp_image(b, flow)[3:, :-6], a[3:, :-6])


def test_no_flow_changes_nothing() -> None:
    numbers = np.random.default_rng(1).standard_normal((5, 7)).astype(np.float32)
    for image in (moved_pair()[0], numbers, numbers[..., None]):
        flow = np.zeros((2, *image.shape[:2]), np.float32)
        warped = warp_image(image, flow)
        assert warped.dtype == image.dtype and np.array_equal(warped, image)


def test_warping_is_bilinear_and_minds_its_border() -> None:
    image = np.array([[0, 10, 20, 30]], np.float32)
    flow = np.stack([np.full((1, 4), 1.5), np.zeros((1, 4))]).astype(np.float32)
    assert warp_image(image, flow).tolist() == [[15, 25, 30, 30]]
    assert warp_image(image, flow, border="constant").tolist() == [[15, 25, 15, 0]]


def test_exact_flow_of_a_scene_aligns_its_pictures(street) -> None:
    now, after = street
    apart = np.abs(now.rgb.astype(int) - after)[now.flow_valid].mean()
    aligned = np.abs(now.rgb.astype(int) - warp_image(after, now.flow))[now.flow_valid].mean()
    assert aligned < 0.5 * apart


# DIS


@pytest.mark.parametrize("preset", PRESETS)
def test_dis_finds_a_known_shift(preset) -> None:
    flow = DisFlow(preset).between(*moved_pair())
    assert flow.dtype == np.float32 and flow.shape == (2, 128, 160) and flow.flags.c_contiguous
    assert np.median(shift_error(flow)) < 0.3


@pytest.mark.parametrize(("preset", "bound"), list(zip(PRESETS, (0.9, 0.8, 0.6), strict=True)))
def test_dis_is_close_to_the_exact_flow_of_a_scene(street, preset, bound) -> None:
    now, after = street
    error = np.linalg.norm(DisFlow(preset).between(now.rgb, after) - now.flow, axis=0)
    assert np.median(error[now.flow_valid]) < bound
    moved = np.linalg.norm(now.flow, axis=0)[now.flow_valid].mean()
    assert error[now.flow_valid].mean() < 0.3 * moved


def test_dis_is_the_same_again_and_on_any_number_of_threads() -> None:
    threads = cv2.getNumThreads()
    try:
        flows = []
        for count in (1, 2, 5, 1):
            cv2.setNumThreads(count)
            flows.append(DisFlow().between(*moved_pair((150, 210))))
    finally:
        cv2.setNumThreads(threads)
    assert all(np.array_equal(flow, flows[0]) for flow in flows)


@pytest.mark.parametrize("preset", PRESETS)
@pytest.mark.parametrize("size_hw", [(1, 1), (5, 300), (8, 200), (12, 200), (24, 200), (63, 9)])
def test_dis_takes_pictures_of_any_size(preset, size_hw) -> None:
    flow = DisFlow(preset).between(*moved_pair(size_hw))
    assert flow.shape == (2, *size_hw) and np.isfinite(flow).all()


def test_pictures_that_make_no_pair_are_refused() -> None:
    a, b = moved_pair()
    for one, other in ((a, b[:-1]), (a[..., 0], b[..., 0]), (a / 255, b / 255), (a[:0], b[:0])):
        with pytest.raises(ValueError, match="picture"):
            DisFlow().between(one, other)


# RAFT


def test_the_window_of_the_correlation_is_what_the_weights_expect() -> None:
    import torch

    from vidparse.flow.raft import CorrelationPyramid

    now, then = torch.randn(2, 1, 16, 10, 11, generator=torch.Generator().manual_seed(2))
    position = torch.zeros(1, 2, 10, 11)
    position[0, :, 4, 6] = torch.tensor([3.0, 2.5])  # x, y
    found = CorrelationPyramid(now, then).look_up(position)
    assert found.shape == (1, 324, 10, 11)
    for right, down in ((0, 0), (-3, 1), (4, 4), (-4, -4)):
        x, y = 3 + right, 2 + down  # halfway to the row below
        seen = [
            then[0, :, row, x] if 0 <= row < 10 and 0 <= x < 11 else torch.zeros(16)
            for row in (y, y + 1)
        ]
        expected = (now[0, :, 4, 6] @ (seen[0] + seen[1])) / 2 / 4
        index = (right + 4) * 9 + down + 4
        torch.testing.assert_close(found[0, index, 4, 6], expected, atol=1e-5, rtol=1e-5)
    half = then[0, :, 4:6, 2:4].mean((1, 2))  # cell (1, 2) at half size
    level = CorrelationPyramid(now, then).look_up(torch.full((1, 2, 10, 11), 2.0))[0, 81:162]
    expected = now[0, :, 7, 7] @ half / 4
    torch.testing.assert_close(level[4 * 9 + 5, 7, 7], expected, atol=1e-5, rtol=1e-5)


def test_upsampling_picks_neighbours_by_their_weight() -> None:
    import torch

    from vidparse.flow.raft import upsample_convex

    flow = torch.randn(1, 2, 5, 6, generator=torch.Generator().manual_seed(4))
    mask = torch.zeros(1, 9, 8, 8, 5, 6)
    mask[:, 5] = 50.0  # the neighbour to the right, for all of the 8x8 pixels ...
    mask[:, 5, 3, 2], mask[:, 1, 3, 2] = 0.0, 50.0  # ... but one, which takes the one above
    fine = upsample_convex(flow, mask.flatten(1, 3))
    assert fine.shape == (1, 2, 40, 48)
    torch.testing.assert_close(fine[0, :, 8, 16], 8 * flow[0, :, 1, 3])
    torch.testing.assert_close(fine[0, :, 8 + 3, 16 + 2], 8 * flow[0, :, 0, 2])


@pytest.mark.parametrize("size_hw", [(130, 147), (1, 9), (128, 136), (40, 200)])
def test_raft_takes_pictures_of_any_size(untrained, size_hw) -> None:
    for padding in ("zeros", "replicate"):
        raft = RaftFlow(untrained, iterations=2, padding=padding)
        flow = raft.between(*moved_pair(size_hw))
        assert flow.dtype == np.float32 and flow.flags.c_contiguous
        assert flow.shape == (2, *size_hw) and np.isfinite(flow).all()


@pytest.mark.parametrize(
    ("padding", "border"),
    [("zeros", cv2.BORDER_CONSTANT), ("replicate", cv2.BORDER_REPLICATE)],
)
def test_raft_pads_both_sides_the_odd_pixel_last(untrained, padding, border) -> None:
    pair = moved_pair((130, 147))
    whole = [cv2.copyMakeBorder(picture, 3, 3, 2, 3, border) for picture in pair]
    raft = RaftFlow(untrained, iterations=2, padding=padding)
    assert np.array_equal(raft.between(*pair), raft.between(*whole)[:, 3:-3, 2:-3])


def test_raft_reads_weights_with_and_without_module_prefix(untrained, tmp_path) -> None:
    import torch

    tensors = torch.load(untrained, weights_only=True)
    prefixed = tmp_path / "prefixed.pth"
    torch.save({f"module.{name}": tensor for name, tensor in tensors.items()}, prefixed)
    one, other = (RaftFlow(path, iterations=1) for path in (untrained, prefixed))
    assert np.array_equal(one.between(*moved_pair()), other.between(*moved_pair()))


def test_keys_tell_settings_and_weights_apart(untrained, tmp_path) -> None:
    import torch

    from vidparse.flow.raft import Raft

    copy = tmp_path / untrained.name
    copy.write_bytes(untrained.read_bytes())
    other = tmp_path / "other" / untrained.name
    other.parent.mkdir()
    torch.save(Raft().state_dict(), other)
    key = RaftFlow(untrained).key
    assert RaftFlow(copy).key == key
    changed = (
        RaftFlow(untrained, iterations=12),
        RaftFlow(untrained, padding="replicate"),
        RaftFlow(other),
        *map(DisFlow, PRESETS),
    )
    assert len({key, *(estimator.key for estimator in changed)}) == 7


def test_published_weights_find_a_known_shift(raft_things) -> None:
    raft = RaftFlow(raft_things)
    assert raft.name == "RAFT raft-things"
    flow = raft.between(*moved_pair())
    assert np.median(shift_error(flow)) < 0.1
    assert np.array_equal(flow, raft.between(*moved_pair()))


def test_raft_beats_dis_on_a_scene(raft_things, street) -> None:
    now, after = street
    errors = [
        np.linalg.norm(estimator.between(now.rgb, after) - now.flow, axis=0)[now.flow_valid]
        for estimator in (RaftFlow(raft_things), DisFlow())
    ]
    assert np.median(errors[0]) < 0.5
    assert errors[0].mean() < 0.9 * errors[1].mean()


def test_raft_and_dis_agree_on_real_pictures(raft_things) -> None:
    folder = BESIDE / "shared" / "data" / "davis16" / "JPEGImages" / "480p" / "dance-twirl"
    if not folder.is_dir():
        pytest.skip("no DAVIS beside the checkout")
    pair = []
    for path in sorted(folder.glob("*.jpg"))[10:12]:
        picture = cv2.cvtColor(cv2.imread(str(path)), cv2.COLOR_BGR2RGB)
        half = cv2.resize(picture, None, fx=0.5, fy=0.5, interpolation=cv2.INTER_AREA)
        pair.append(half[:, 80:336])
    flow = RaftFlow(raft_things).between(*pair)
    apart = np.linalg.norm(flow - DisFlow().between(*pair), axis=0)
    assert np.linalg.norm(flow, axis=0).mean() > 4
    assert np.median(apart) < 0.3


# errors, and what is imported


@pytest.mark.parametrize("kind", ["missing", "folder", "empty", "text", "cut", "foreign", "list"])
def test_weights_that_are_none_are_named(tmp_path, untrained, kind) -> None:
    import torch

    path = tmp_path / "weights.pth"
    if kind == "folder":
        path.mkdir()
    elif kind == "foreign":
        torch.save({"conv.weight": torch.zeros(3)}, path)
    elif kind == "list":
        torch.save([torch.zeros(3)], path)
    elif kind != "missing":
        whole = untrained.read_bytes()
        path.write_bytes({"empty": b"", "text": b"<html>\n", "cut": whole[:-9000]}[kind])
    with pytest.raises(ModelError) as failure:
        RaftFlow(path)
    one_line(failure, path, "raft-things.pth")


def test_too_little_memory_is_a_one_line_error(untrained) -> None:
    import torch

    raft = RaftFlow(untrained)
    raft._network.fnet.conv1.register_forward_pre_hook(lambda *_: torch.empty(1 << 50))
    with pytest.raises(DeviceError) as failure:
        raft.between(*moved_pair())
    one_line(failure, "memory", "160x128", "--flow dis")


def test_flow_is_opened_by_name(untrained) -> None:
    assert open_flow("dis").name == "DIS medium"
    assert open_flow("dis-fast").key == "dis-fast"
    assert open_flow("dis-ultrafast").name == "DIS ultrafast"
    assert open_flow("raft", weights=untrained).name == "RAFT untrained"
    a, b = moved_pair()
    assert np.array_equal(
        open_flow("dis").between(a, b, video="v", stem="0"), DisFlow().between(a, b)
    )


def test_requests_that_make_no_sense_say_what_would(untrained) -> None:
    with pytest.raises(UsageError) as failure:
        open_flow("farneback")
    one_line(failure, "farneback", "dis-fast", "raft")
    with pytest.raises(UsageError) as failure:
        open_flow("raft")
    one_line(failure, "--flow-weights", "raft-things.pth", "RAFT's authors")
    with pytest.raises(UsageError) as failure:
        open_flow("dis", weights=untrained)
    one_line(failure, "--flow-weights")
    for device in ("cuda:99", "quantum"):
        with pytest.raises(DeviceError) as device_failure:
            open_flow("raft", weights=untrained, device=device)
        one_line(device_failure, device, "--device cpu")


def test_flow_without_raft_does_not_import_torch() -> None:
    code = (
        "import sys, vidparse.flow as f; f.open_flow('dis'); print('torch' in sys.modules); "
        "f.RaftFlow; print('torch' in sys.modules)"
    )
    out = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert out.stdout.split() == ["False", "True"]
