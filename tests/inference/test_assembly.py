"""Kernel maps to the segments of a clip: by a worked example, and beside a plain decoder."""

from __future__ import annotations

import warnings
from typing import Any

import numpy as np
import pytest

from support.made_kernel_maps import made_maps
from support.plain_panofcn import plain_decode
from vidparse.errors import UsageError
from vidparse.inference import KernelMaps, Merging, decode_clip
from vidparse.inference.enlarge import Grid, count_pixels, grid_of, interpolated
from vidparse.inference.kernel_maps import merge_clip
from vidparse.inference.kernels import stuff_kernels, thing_kernels
from vidparse.inference.merging import (
    Canvas,
    Mask,
    Winners,
    fill_stuff,
    greatest,
    masks_above,
    painted,
)
from vidparse.labels import load_labels

RULES = ("intended", "official", "filled")
DRAWING = RULES[:2]  # "filled" draws as "intended" does


@pytest.fixture(autouse=True)
def no_warnings():
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        yield


def rows(text: str) -> np.ndarray:
    return np.array([list(row) for row in text.split()])


# Of each thing its mask in two frames of 2 x 6 pixels.
THINGS = {
    "A": ("###... ###...", "...... ......"),
    "B": (".###.. .####.", ".##... .##..."),
    "C": (".##... .##...", "..##.. ..##.."),
}
MERGED = {
    "intended": ("AAA122 AAA111", "-BBC22 -BBC11"),
    "official": ("ACCB22 ACCBB-", "-BCC22 -BCC--"),
}


def inside_cells(grid: Grid, frame: np.ndarray) -> np.ndarray:
    """The values (Py, Px, K) of a frame (H, W) in the cells of a grid."""
    return frame.reshape(-1)[grid.places(np.arange(len(grid.area)))]


def filled(grid: Grid, values: np.ndarray) -> np.ndarray:
    """A frame (H, W) whose cells have the values (K,)."""
    frame = np.empty(grid.size_hw, values.dtype)
    grid.fill(frame, values)
    return frame


def mask_of(grid: Grid, frames: Any) -> Mask:
    """A mask that is true in bool (T, H, W)."""
    parts = []
    for t, frame in enumerate(frames):
        pixels = grid.pixels(inside_cells(grid, frame), np.arange(len(grid.area)))
        cells = np.flatnonzero(pixels.any(axis=1))
        parts.append(Mask(cells + t * len(grid.area), pixels[cells], count_pixels(pixels[cells])))
    return Mask.joined(parts)


@pytest.mark.parametrize("rule", DRAWING)
def test_the_worked_merge(rule: str) -> None:
    grid = grid_of((1, 2), (2, 6), (2, 6))
    canvas = Canvas(grid, 2, rule=rule)
    for masks in THINGS.values():
        assert canvas.draw(mask_of(grid, [rows(mask) == "#" for mask in masks]))
    winners = []
    for t, text in enumerate(("111122 111111", "011122 011111")):
        free, winner = canvas.free(t), inside_cells(grid, rows(text).astype(np.uint8))
        mixed = np.flatnonzero(free.any(axis=1))
        inside = grid.unpacked(free[mixed])
        winners.append(Winners(winner[0, 0], mixed, inside, winner[..., mixed]))
    drawn = fill_stuff(canvas, winners, np.array([0, 1, 2]), least_area=4)
    assert drawn == ([1, 2] if rule == "intended" else [2])
    table = np.zeros(3, np.int32)
    table[drawn] = 4 + np.arange(len(drawn))
    names = np.array(["-", "A", "B", "C", *(str(place) for place in drawn)])
    for frame, expected in zip(painted(canvas, winners, table), MERGED[rule], strict=True):
        assert names[frame].tolist() == rows(expected).tolist()


@pytest.mark.parametrize("rule", DRAWING)
def test_a_thing_that_is_left_out_of_all_frames_draws_nothing(rule: str) -> None:
    grid = grid_of((1, 1), (3, 3), (3, 3))
    canvas = Canvas(grid, 2, rule=rule)
    first = np.ones((2, 3, 3), bool)
    first[:, 0] = False
    assert canvas.draw(mask_of(grid, first))
    before = painted(canvas, (), np.zeros(0, np.int32))
    hidden = np.zeros((2, 3, 3), bool)
    hidden[0, 1:] = True
    assert not canvas.draw(mask_of(grid, hidden))
    assert not canvas.draw(mask_of(grid, np.zeros((2, 3, 3), bool)))
    np.testing.assert_array_equal(painted(canvas, (), np.zeros(0, np.int32)), before)
    np.testing.assert_array_equal(before, first)


@pytest.mark.parametrize("rule", DRAWING)
def test_half_of_a_thing_may_be_taken(rule: str) -> None:
    grid = grid_of((1, 1), (2, 2), (2, 2))
    canvas = Canvas(grid, 1, rule=rule)
    assert canvas.draw(mask_of(grid, [rows("##  ..") == "#"]))
    assert canvas.draw(mask_of(grid, [rows("#.  #.") == "#"]))
    assert not canvas.draw(mask_of(grid, [rows("##  #.") == "#"]))
    assert painted(canvas, (), np.zeros(0, np.int32)).tolist() == (
        [[[1, 1], [2, 0]]] if rule == "intended" else [[[2, 1], [2, 0]]]
    )


@pytest.mark.parametrize("size_hw", [(96, 160), (192, 320), (131, 222), (61, 97), (700, 900)])
def test_every_pixel_is_in_one_cell(size_hw: tuple[int, int]) -> None:
    grid = grid_of((24, 40), (90, 150), size_hw)
    every = np.arange(len(grid.area))
    assert (count_pixels(grid.whole) == grid.area).all() and grid.area.min() > 0
    places, owner = grid.places_of(grid.whole, every)
    assert np.array_equal(np.sort(places), np.arange(size_hw[0] * size_hw[1]))
    np.testing.assert_array_equal(filled(grid, every).reshape(-1)[places], owner)


@pytest.mark.parametrize("rule", RULES)
@pytest.mark.parametrize(
    ("input_hw", "size_hw"),
    [
        ((96, 160), (96, 160)),
        ((90, 150), (90, 150)),
        ((90, 150), (180, 300)),
        ((90, 150), (131, 222)),
        ((90, 150), (61, 97)),
        ((33, 150), (70, 301)),
    ],
)
def test_like_the_plain_decoder(
    rule: str, input_hw: tuple[int, int], size_hw: tuple[int, int]
) -> None:
    for seed, options in enumerate(
        [{}, {"objects": 9, "noise": 0.9}, {"frames": 1}, {"frames": 5, "noise": 0.6}]
    ):
        maps = made_maps(seed, input_hw=input_hw, **options)
        check_alike(maps, size_hw=size_hw, rule=rule)


@pytest.mark.parametrize("rule", RULES)
@pytest.mark.parametrize("dtype", [np.float16, np.float32])
def test_noise_like_the_plain_decoder(rule: str, dtype: type) -> None:
    """Random maps: many things over each other, masks in pieces, regions of single cells."""
    for seed in range(2):
        rng = np.random.default_rng(seed)
        maps = made_maps(seed, frames=2, input_hw=(64, 96), things=2, stuff=3)
        for name in ("centres", "regions", "kernels"):
            maps[name] = [rng.normal(0, 1.5, one.shape).astype(dtype) for one in maps[name]]
        maps["features"] = rng.normal(0, 1, maps["features"].shape).astype(dtype)
        maps["features"][:, -1] = 1  # masks are sparse: the bias there is below 0
        found = check_alike(maps, size_hw=(160, 230), rule=rule)
        assert found > 3


def check_alike(maps: dict[str, Any], *, size_hw: tuple[int, int], rule: str) -> int:
    ids, segments = decode_clip(**maps, size_hw=size_hw, rule=rule)
    expected, records = plain_decode(**maps, size_hw=size_hw, rule=rule)
    assert ids.dtype == np.int32 and ids.shape == expected.shape
    assert (ids != expected).mean() < 1e-4
    facts = [(one.id, one.class_id, one.is_thing) for one in segments]
    assert facts == [(one["id"], one["class_id"], one["is_thing"]) for one in records]
    for one, record in zip(segments, records, strict=True):
        assert one.score == pytest.approx(record["score"], abs=1e-5)
        if one.is_thing:
            np.testing.assert_allclose(one.kernel, record["kernel"], atol=1e-4)
        else:
            assert one.kernel is None
    return len(segments)


@pytest.mark.parametrize("rule", RULES)
def test_no_things_no_stuff_and_neither(rule: str) -> None:
    size_hw = (90, 150)
    without_things = made_maps(things=0)
    assert all(not one.is_thing for one in decode(without_things, rule)[1])
    assert decode(without_things, rule)[1]

    without_stuff = made_maps(stuff=0)
    ids, segments = decode(without_stuff, rule)
    assert segments and all(one.is_thing for one in segments)
    assert set(np.unique(ids)) == {0, *(one.id for one in segments)}

    low = made_maps()
    low["regions"] = [np.full_like(one, -9) for one in low["regions"]]
    assert all(one.is_thing for one in decode(low, rule)[1]), "no region above the least score"
    low["centres"] = [np.full_like(one, -9) for one in low["centres"]]
    ids, segments = decode(low, rule)
    assert ids.shape == (3, *size_hw) and not ids.any() and segments == []


def decode(maps: dict[str, Any], rule: str) -> tuple[np.ndarray, list[Any]]:
    return decode_clip(**maps, size_hw=(90, 150), rule=rule)


def test_stuff_needs_an_area_in_the_clip() -> None:
    maps = made_maps(objects=0, stuff=1, things=1, frames=3, input_hw=(32, 64), noise=0)
    ids, segments = decode_clip(**maps, size_hw=(32, 64))
    assert [one.class_id for one in segments] == [1] and (ids == 1).all()  # 3 * 2048 pixels
    maps = made_maps(objects=0, stuff=1, things=1, frames=1, input_hw=(32, 64), noise=0)
    ids, segments = decode_clip(**maps, size_hw=(32, 64))
    assert segments == [] and not ids.any()


@pytest.mark.parametrize("size_hw", [(240, 320), (480, 640)])
@pytest.mark.parametrize(("columns", "is_there"), [(1, False), (4, True)])
def test_the_least_area_of_stuff_is_that_of_720p(
    size_hw: tuple[int, int], columns: int, is_there: bool
) -> None:
    """4096 of 1280 x 720 pixels are 0.44 % of a picture: 2.1 of 480 columns, with soft borders."""
    features = np.zeros((1, 2, 60, 480), np.float32)
    features[:, 0], features[:, 1, :, :columns] = 1, 9
    pooled = np.zeros((1, 3, 2 + 2), np.float32)
    pooled[0, 1, :2], pooled[0, 2, :2] = (1, 0), (0, 1)
    pooled[..., 2:] = 1
    level = np.full((1, 1, 8, 60), -9, np.float32)
    identity = (np.eye(2, dtype=np.float32), np.zeros(2, np.float32))
    answer = KernelMaps(
        (level,), (), (np.zeros((1, 2, 8, 60)),), features, identity, identity, (240, 1920), pooled
    )
    found = answer.segments(size_hw, load_labels("camvid"), Merging()).maps[0]
    stuff = [number for number in range(11) if number not in load_labels("camvid").things]
    classes = [one.class_id for one in found.segments or ()]
    assert classes == ([stuff[0], stuff[1]] if is_there else [stuff[0]])


def test_a_thing_hidden_wholly_stays_listed_by_the_official_rule_only() -> None:
    """The better thing is the upper quarter, the other one all of the upper three quarters."""
    features = np.zeros((1, 3, 16, 16), np.float32)
    features[:, 0, :12], features[:, 1, :4], features[:, 2] = 1, 1, 1
    centres = np.full((1, 2, 8, 8), -9, np.float32)
    kernels = np.zeros((1, 3, 8, 8), np.float32)
    centres[0, 0, 1, 1], kernels[0, :, 1, 1] = 5, (0, 12, -6)
    centres[0, 1, 5, 5], kernels[0, :, 5, 5] = 3, (12, 0, -6)
    identity = (np.eye(3, dtype=np.float32), np.zeros(3, np.float32))
    answer = KernelMaps(
        (centres,),
        (np.full((1, 1, 8, 8), -9.0),),
        (kernels,),
        features,
        identity,
        identity,
        (64, 64),
    )
    labels = load_labels("camvid")
    first, second = sorted(labels.things)[:2]

    intended = answer.segments((64, 64), labels, Merging())
    assert not intended.hidden and set(intended.keys) == {1, 2}
    assert intended.maps[0].ids[:, 0].tolist() == [1] * 16 + [2] * 32 + [0] * 16

    official = answer.segments((64, 64), labels, Merging("official"))
    assert official.hidden == {1: first} and set(official.keys) == {1, 2}
    assert official.maps[0].ids[:, 0].tolist() == [2] * 48 + [0] * 16
    assert [one.class_id for one in official.maps[0].segments or ()] == [second]


def test_gaps_go_to_the_likeliest_thing_by_filled_only() -> None:
    """Of two things in bands of 16 rows, each is sure of one; it is likelier in a second, too."""
    left, right = (0.9, 0.05, 0.3, 0.2, 0.05), (0.05, 0.9, 0.15, 0.35, 0.05)
    probability = np.repeat([left, right], 4, axis=1).astype(np.float32)  # (2, 20)
    features = np.empty((1, 2, 20, 16), np.float32)
    features[0] = np.log(probability / (1 - probability))[..., None]
    centres = np.full((1, 2, 10, 8), -9, np.float32)
    kernels = np.zeros((1, 2, 10, 8), np.float32)
    centres[0, 0, 1, 1], kernels[0, :, 1, 1] = 5, (1, 0)
    centres[0, 1, 3, 5], kernels[0, :, 3, 5] = 4, (0, 1)
    no_region = np.full((1, 1, 10, 8), -9, np.float32)
    identity = (np.eye(2, dtype=np.float32), np.zeros(2, np.float32))
    answer = KernelMaps(
        (centres,), (no_region,), (kernels,), features, identity, identity, (80, 64)
    )
    labels = load_labels("camvid")

    intended = answer.segments((80, 64), labels, Merging()).maps[0].ids
    assert [intended[row].tolist() for row in (8, 24, 40, 56, 72)] == [
        [number] * 64 for number in (1, 2, 0, 0, 0)
    ]

    found = answer.segments((80, 64), labels, Merging("filled")).maps[0]
    assert [found.ids[row].tolist() for row in (8, 24, 40, 56, 72)] == [
        [number] * 64 for number in (1, 2, 1, 2, 0)
    ]
    np.testing.assert_array_equal(found.ids[intended > 0], intended[intended > 0])
    areas = [one.area for one in found.segments or ()]
    assert areas == [int((found.ids == number).sum()) for number in (1, 2)]


def test_an_unknown_rule_is_refused() -> None:
    with pytest.raises(UsageError, match="merging 'best': unknown; use intended, official, filled"):
        decode_clip(**made_maps(), size_hw=(9, 9), rule="best")


@pytest.mark.parametrize(
    ("nodes", "input_hw", "size_hw"),
    [
        ((24, 40), (96, 160), (96, 160)),
        ((24, 40), (90, 150), (211, 307)),
        ((24, 40), (90, 150), (44, 70)),
        ((8, 8), (32, 29), (7, 5)),
        ((1, 1), (3, 4), (9, 9)),
    ],
)
def test_enlarging_is_two_steps_of_torch(
    nodes: tuple[int, int], input_hw: tuple[int, int], size_hw: tuple[int, int]
) -> None:
    import torch
    from torch.nn.functional import interpolate

    rng = np.random.default_rng(0)
    values = rng.uniform(0.01, 0.99, (5, *nodes)).astype(np.float32)
    big = interpolate(
        torch.from_numpy(values)[None], scale_factor=4, mode="bilinear", align_corners=False
    )
    cut = big[..., : input_hw[0], : input_hw[1]]
    full = interpolate(cut, size_hw, mode="bilinear", align_corners=False)[0].numpy()
    grid = grid_of(nodes, input_hw, size_hw)
    won = greatest(grid, values, grid.whole)
    ids = filled(grid, won.whole)
    ids.reshape(-1)[grid.places(won.mixed)[won.inside]] = won.winner[won.inside]
    assert (ids != full.argmax(0)).mean() < 1e-3
    logits = np.log(values / (1 - values))
    masks = masks_above(grid, logits, values > 0.8, 0.8, 0)
    for mask, wide in zip(masks, full, strict=True):
        inside = np.zeros(size_hw, bool)
        inside.reshape(-1)[grid.places_of(mask.pixels, mask.cells)[0]] = True
        assert (inside != (wide > 0.8)).mean() < 1e-3
        assert mask.counts.sum() == inside.sum()


def camvid_answer(seed: int = 0, **options: Any) -> KernelMaps:
    labels = load_labels("camvid")
    maps = made_maps(
        seed, things=len(labels.things), stuff=len(labels) - len(labels.things),
        features=20, width=24, **options,
    )  # fmt: skip
    tuples = {name: tuple(maps[name]) for name in ("centres", "regions", "kernels")}
    return KernelMaps(**{**maps, **tuples})


def test_an_answer_has_the_classes_of_its_labels() -> None:
    labels = load_labels("camvid")
    answer = camvid_answer(input_hw=(180, 300))
    assert answer.misfit(labels) == "" and answer.is_finite
    assert "classes of things" in answer.misfit(load_labels("cityscapes"))
    clip = answer.segments((180, 300), labels, Merging())
    ids, segments = merge_clip(
        thing_kernels(answer.centres, answer.kernels, answer.thing_embedding),
        stuff_kernels(answer.regions, answer.kernels, answer.stuff_embedding),
        answer.features,
        size_hw=(180, 300),
        input_hw=(180, 300),
        rule="intended",
        least_stuff_area=round(4096 * 180 * 300 / (1280 * 720)),
    )
    things, stuff = sorted(labels.things), sorted(set(range(len(labels))) - labels.things)
    assert clip.key_kind == "kernels" and not clip.hidden
    assert set(clip.keys) == {one.id for one in segments if one.is_thing}
    for frame, found in zip(ids, clip.maps, strict=True):
        np.testing.assert_array_equal(found.ids, frame)
        assert found.ids.dtype == np.uint16
        for one in found.segments or ():
            own = segments[one.id - 1]
            wanted = things[own.class_id] if own.is_thing else stuff[own.class_id - 1]
            assert (one.class_id, one.is_thing) == (wanted, own.is_thing)
            ys, xs = np.nonzero(frame == one.id)
            assert one.area == len(ys)
            assert one.box == (xs.min(), ys.min(), np.ptp(xs) + 1, np.ptp(ys) + 1)
        assert {one.id for one in found.segments or ()} == set(np.unique(frame)) - {0}


def test_what_is_not_wanted_is_left_out() -> None:
    labels = load_labels("camvid")
    answer = camvid_answer(input_hw=(180, 300))
    everything = answer.segments((180, 300), labels, Merging())
    rows = [one for found in everything.maps for one in found.segments or ()]
    things = [one for one in rows if one.is_thing]
    assert len({one.class_id for one in things}) > 1 and len(things) > 3

    score = sorted(one.score or 0.0 for one in things)[-3]
    good = answer.segments((180, 300), labels, Merging(min_score=score))
    kept = [one for found in good.maps for one in found.segments or ()]
    assert kept == [one for one in rows if not one.is_thing or (one.score or 0) >= score]
    assert set(good.keys) == {one.id for one in kept if one.is_thing}

    area = sorted(one.area for one in things)[2]
    large = answer.segments((180, 300), labels, Merging(min_area=area))
    kept = [one for found in large.maps for one in found.segments or ()]
    assert kept == [one for one in rows if not one.is_thing or one.area >= area]
    assert set(large.keys) == set(everything.keys), "a small one is remembered"

    kind = things[0].class_id
    only = answer.segments((180, 300), labels, Merging(classes=(kind,)))
    kept = [one for found in only.maps for one in found.segments or ()]
    assert kept == [one for one in rows if one.class_id == kind]
    assert all((found.ids > 0).sum() == sum(one.area for one in found.segments or ())
               for found in only.maps)  # fmt: skip


@pytest.mark.parametrize("name", ["centres", "features", "thing_embedding"])
@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_an_answer_that_means_nothing_is_known(name: str, value: float) -> None:
    answer = camvid_answer(frames=1)
    part = getattr(answer, name)
    (part if name == "features" else part[-1]).flat[-1] = value
    with np.errstate(invalid="ignore"):
        assert not answer.is_finite


def test_the_first_frames_of_an_answer_are_an_answer() -> None:
    answer = camvid_answer(frames=3).first(2)
    assert len(answer.segments((90, 150), load_labels("camvid"), Merging()).maps) == 2
    assert all(len(one) == 2 for one in (*answer.centres, *answer.regions, *answer.kernels))


@pytest.mark.parametrize("size_hw", [(96, 160), (192, 320), (131, 222), (61, 97), (700, 900)])
def test_pixels_lie_in_the_hull_of_their_cell(size_hw: tuple[int, int]) -> None:
    grid = grid_of((24, 40), (90, 150), size_hw)
    cells = np.arange(len(grid.area))
    values = np.random.default_rng(0).uniform(0, 1, (24 * 40)).astype(np.float32)
    nodes = values.take(grid.nodes_of(cells))
    inside = interpolated(nodes, *grid.weights_of(cells)).reshape(-1, len(cells))
    hull = interpolated(nodes, *grid.weights_of(cells, hull=True)).reshape(-1, len(cells))
    assert (inside.max(axis=0) <= hull.max(axis=0) + 1e-6).all()
    assert (inside.min(axis=0) >= hull.min(axis=0) - 1e-6).all()
    assert np.ptp(hull, axis=0).mean() < 0.95 * np.ptp(nodes.reshape(hull.shape), axis=0).mean()
