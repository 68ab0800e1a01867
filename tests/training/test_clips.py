"""Training clips: views that agree over frames, exact flow, offsets, and mixed data sets."""

from __future__ import annotations

import json
import math
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pytest

from support.made_camvid import make_camvid
from support.made_folder import make_folder
from vidparse.data.augment import Augmentation, draw_motion, draw_view, sensor_noise
from vidparse.errors import InputError, UsageError
from vidparse.flow import warp_image
from vidparse.models.zoo import build
from vidparse.requests.training import SourceRequest, parse_source
from vidparse.training.clips import ClipPlan, load_clip
from vidparse.training.neighbours import Companions
from vidparse.training.objectives import OBJECTIVES
from vidparse.training.recipe_file import load_recipe, recipe_from
from vidparse.training.stream import Schedule, batches, collate
from vidparse.training.training_sets import open_training_sets

PLAIN = Augmentation((64, 96), brightness=0, contrast=0, saturation=0, blur=0)


@pytest.fixture(scope="module")
def camvid(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_camvid(tmp_path_factory.mktemp("camvid"))


@pytest.fixture
def sources(camvid: Path):
    return open_training_sets([SourceRequest("camvid", camvid)])


def squares() -> tuple[np.ndarray, np.ndarray]:
    ids = np.arange(24, dtype=np.uint8).reshape(4, 6).repeat(20, 0).repeat(20, 1)
    return np.stack([ids * 10, ids, 255 - ids], -1), ids


@pytest.mark.parametrize("rotation", [0.0, 10.0])
def test_views_keep_image_and_mask_together(rotation: float) -> None:
    rgb, ids = squares()
    for seed in range(20):
        view = draw_view(ids.shape, replace(PLAIN, rotation=rotation), np.random.default_rng(seed))
        seen, mask = view.image(rgb), view.mask(ids)
        assert seen.shape == (64, 96, 3) and mask.shape == (64, 96)
        inner = cv2.erode((mask != 255).astype(np.uint8), np.ones((9, 9))).astype(bool)
        flat = cv2.dilate(mask, np.ones((9, 9))) == cv2.erode(mask, np.ones((9, 9)))
        assert (seen[..., 1][inner & flat] == mask[inner & flat]).mean() > 0.95
        assert (seen[..., 2] > 0).all(), "reflected: the picture has no black and no border either"
        black = replace(view, border="black").image(rgb)
        assert (black[mask == 255] == 0).all() and (black[mask != 255] == seen[mask != 255]).all()


def test_views_scale_and_flip_as_requested() -> None:
    rgb, ids = squares()
    exact = replace(PLAIN, crop_hw=ids.shape, scales=(1.0,), flip=False)
    view = draw_view(ids.shape, exact, np.random.default_rng(0))
    assert (view.image(rgb) == rgb).all() and (view.mask(ids) == ids).all()
    flips = [
        draw_view(ids.shape, replace(exact, flip=True), np.random.default_rng(seed))
        for seed in range(20)
    ]
    seen = [bool((view.mask(ids) == ids[:, ::-1]).all()) for view in flips]
    assert {*seen} == {True, False}
    assert all(
        (v.mask(ids) == ids).all() for v, flipped in zip(flips, seen, strict=True) if not flipped
    )
    scales = {
        round(
            draw_view(ids.shape, replace(PLAIN, scales=(0.8, 1.5)), np.random.default_rng(s)).zoom,
            6,
        )
        for s in range(20)
    }
    assert scales == {0.8, 1.5}


def test_a_view_lies_inside_a_picture_that_is_large_enough() -> None:
    ids = squares()[1]  # 80 x 120
    large, small = (replace(PLAIN, scales=(scale,)) for scale in (0.85, 0.5))
    for seed in range(20):
        view = draw_view(ids.shape, large, np.random.default_rng(seed))
        assert view.inside(ids.shape).all() and (view.mask(ids) != 255).all()
        view = draw_view(ids.shape, small, np.random.default_rng(seed))
        inside, mask = view.inside(ids.shape), view.mask(ids)
        assert (inside == (mask != 255)).all() and inside.mean() == pytest.approx(0.39, abs=0.02)


def test_a_border_mirrors_the_picture_unless_it_has_a_colour() -> None:
    rgb, ids = squares()
    still = replace(PLAIN, crop_hw=(100, 120), scales=(1.0,), flip=False)
    view = draw_view(ids.shape, still, np.random.default_rng(0))
    seen, inside = view.image(rgb), view.inside(ids.shape)
    top = int(inside[:, 0].argmax())
    assert 0 < top < 20 and inside.sum() == ids.size
    assert (seen[:top] == seen[2 * top : top : -1]).all()
    bottom = top + 80
    assert (seen[bottom:] == seen[bottom - 2 : bottom - 2 - (100 - bottom) : -1]).all()
    for border, colour in (("black", (0, 0, 0)), ("mean", (124, 116, 104))):
        other = replace(view, border=border).image(rgb)
        assert (other[~inside] == colour).all() and (other[inside] == seen[inside]).all()


@pytest.mark.parametrize("border", ["reflect", "black"])
def test_clips_know_where_they_show_their_pictures(sources, border: str) -> None:
    """Not by black, which pictures have of their own and other colours do not keep."""
    for fields in (
        {"objective": "etc", "neighbours": "simulated"},
        {"objective": "mean-teacher"},
        {"objective": "stcl"},
    ):
        plan = plan_for("perframe", SMALL, scales=[0.6], border=border, **fields)
        frame = sources.first.labelled[1]
        clip = load_clip(sources.first, frame, plan, np.random.default_rng(3), labelled=True)
        assert clip.inside.shape == clip.labels.shape and 0.2 < clip.inside.mean() < 0.8
        assert (clip.labels[~clip.inside] == 255).all()
        for frames in (clip.frames, clip.strong):
            if frames is None:
                continue
            is_black = (frames == 0).all(axis=-1)
            blurred_into = cv2.dilate((~clip.inside[0]).astype(np.uint8), np.ones((9, 9))) > 0
            assert is_black[~clip.inside].all() if border == "black" else not is_black.any()
            assert not is_black[0][~blurred_into].any()


def test_flow_between_two_views_of_a_frame_is_exact() -> None:
    smooth = cv2.GaussianBlur(
        np.random.default_rng(0).integers(0, 256, (120, 160, 3), np.uint8), (0, 0), 4
    )
    rng = np.random.default_rng(1)
    view = draw_view((120, 160), replace(PLAIN, scales=(1.2,), border="black"), rng)
    motion = draw_motion((64, 96), 3, rng)
    later = view.moved(motion.after(3, (64, 96)))
    flow = view.flow_to(later)
    assert np.abs(flow).max() > 0.5
    warped = warp_image(later.image(smooth), flow, border="constant")
    inside = (view.mask(np.zeros((120, 160), np.uint8)) == 0) & (warped.sum(-1) > 0)
    inside = cv2.erode(inside.astype(np.uint8), np.ones((7, 7))).astype(bool)
    assert inside.mean() > 0.5
    error = np.abs(warped.astype(int) - view.image(smooth).astype(int))[inside]
    assert error.mean() < 1 and np.abs(view.flow_to(view)).max() == 0


def test_the_flow_of_a_frame_is_scaled_and_mirrored_with_its_view() -> None:
    """3 to the right and 2 down are 6 to the left and 4 down, twice as large and mirrored."""
    flow = np.zeros((2, 40, 60), np.float32)
    flow[0, :, :30], flow[1, :, :30] = 3.0, 2.0
    valid = np.ones((40, 60), bool)
    valid[10:20] = False
    still = replace(PLAIN, crop_hw=(80, 120), scales=(2.0,), flip=False)
    view = draw_view((40, 60), still, np.random.default_rng(0))
    seen, known = view.flow(flow, valid)
    assert seen.dtype == np.float32 and known.dtype == bool
    assert (seen[0, :, :59] == 6).all() and (seen[1, :, :59] == 4).all()
    assert (seen[:, :, 61:] == 0).all() and not known[21:39].any() and known[41:].all()

    mirror = np.array([[-1.0, 0, 119], [0, 1, 0], [0, 0, 1]])
    seen, _ = replace(view, matrix=view.matrix @ mirror).flow(flow, valid)
    assert (seen[0, :, 61:] == -6).all() and (seen[1, :, 61:] == 4).all()

    # Turned by a quarter, right becomes up: x of the view runs along y of the frame.
    turned = replace(view, matrix=np.array([[0.0, -1, 59], [1, 0, 0], [0, 0, 1]]), size_hw=(60, 40))
    seen, known = turned.flow(flow, valid)
    assert (seen[0, 30:] == 2).all() and (seen[1, 30:] == -3).all()
    assert not known[:, 10:20].any() and known[:, 20:].all()

    wide = replace(still, crop_hw=(50, 80), scales=(1.0,))
    view = draw_view((40, 60), wide, np.random.default_rng(0))
    assert not view.flow(flow, np.ones_like(valid))[1][~view.inside((40, 60))].any()


def plan_for(arch: str, config: dict, **fields: object) -> ClipPlan:
    recipe = recipe_from({"arch": arch, "short_side": 60, "crop_hw": [48, 64], **fields}, "test")
    return OBJECTIVES[recipe.objective.kind].clips(recipe, build(arch, {"classes": 11, **config}))


SMALL = {"output_stride": 16, "width": 16}
TCB = {"backbone": "mobilenetv2", **SMALL, "key_width": 8}


@pytest.mark.parametrize("clean_teacher", [False, True])
def test_a_teacher_that_sees_clean_pictures_gets_them(clean_teacher: bool) -> None:
    alone = dict.fromkeys(("temporal_weight", "pair_weight", "motion_weight"), 0.0)
    wishes = {"objective": "etc", "frame_weight": 1.0, "clean_teacher": clean_teacher}
    plan = plan_for("perframe", SMALL, degrade="mixed", **wishes, **alone)
    assert plan.with_clean == clean_teacher and plan.degrade == "mixed"


def test_each_network_and_objective_gets_its_clip() -> None:
    rng = np.random.default_rng(0)
    assert plan_for("perframe", SMALL).neighbours.draw(rng) == (0,)
    tcb = plan_for("tcb-ocr", TCB)
    assert {tcb.neighbours.draw(rng) for _ in range(50)} == {(-9, -6, -3, 0), (9, 6, 3, 0)}
    assert plan_for("tcb-ocr", TCB, reverse=0.0).neighbours.draw(rng) == (-9, -6, -3, 0)
    ssltm = plan_for("ssltm", TCB, reverse=0.0)
    far = [ssltm.neighbours.draw(rng) for _ in range(200)]
    assert {clip[1:] for clip in far} == {(-2, -1, 0)}
    assert {clip[0] for clip in far} <= set(range(-60, 0)) and min(clip[0] for clip in far) < -50
    triplets = {
        plan_for("perframe", SMALL, objective="etc", gap=2).neighbours.draw(rng) for _ in range(50)
    }
    assert triplets == {(-1, 0, 1), (-2, 0, 1)}
    alone = {"objective": "etc", "pair_weight": 0.0, "motion_weight": 0.0}
    assert plan_for("perframe", SMALL, **alone).neighbours.draw(rng) == (0, 1)
    assert plan_for("perframe", SMALL, **alone, temporal_weight=0.0).neighbours.draw(rng) == (0,)
    pairs = {
        plan_for("perframe", SMALL, objective="stcl", gap=1).neighbours.draw(rng) for _ in range(50)
    }
    assert pairs == {(0, -1), (0, 1)}
    with pytest.raises(UsageError, match="tcb-ocr has a memory"):
        plan_for("tcb-ocr", TCB, objective="etc")


def test_real_neighbours_share_the_view_and_stop_at_the_ends(sources) -> None:
    source = sources.first
    plan = plan_for("tcb-ocr", TCB, reverse=0.0, scales=[1.0], flip=False, colour=0.0, blur=0.0)
    frame = source.dataset.videos[0].frames[4]
    clip = load_clip(source, frame, plan, np.random.default_rng(0), labelled=True)
    assert clip.frames.shape == (4, 48, 64, 3) and clip.labels.shape == (4, 48, 64)
    assert clip.name.endswith(f"{frame.stem}.png")
    assert (clip.frames[0] == clip.frames[1]).all()  # both are frame 0: -9 and -6 before frame 4
    assert (clip.frames[2] != clip.frames[3]).any()
    for rgb, ids in zip(clip.frames, clip.labels, strict=True):  # class 3 is grey, in every frame
        assert (np.abs(rgb[ids == 3].astype(int) - 90).max(axis=1) <= 1).mean() > 0.95


def test_simulated_neighbours_have_labels_and_flow(sources) -> None:
    plan = plan_for(
        "perframe", SMALL, objective="etc", neighbours="simulated", scales=[1.0], blur=0.0
    )
    frame = sources.first.labelled[0]
    clip = load_clip(sources.first, frame, plan, np.random.default_rng(3), labelled=True)
    assert clip.frames.shape == (3, 48, 64, 3) and clip.flow is not None
    y, x = np.mgrid[:48, :64].astype(np.float32)
    there = (x + clip.flow[0], y + clip.flow[1])
    found = cv2.remap(clip.labels[2], *there, cv2.INTER_NEAREST, borderValue=255)
    flat = cv2.erode((clip.labels[1] == 3).astype(np.uint8), np.ones((5, 5))).astype(bool)
    assert flat.sum() > 100 and (found[flat & (found != 255)] == 3).all()
    hidden = load_clip(sources.first, frame, plan, np.random.default_rng(3), labelled=False)
    assert (hidden.labels == 255).all() and (hidden.frames == clip.frames).all()


@pytest.mark.parametrize("arch", ["perframe", "tcb-ocr"])
def test_photographs_get_a_moving_camera(sources, arch: str, monkeypatch) -> None:
    """Those beside one in its folder show something else; one by itself would stand still."""
    config, objective = (SMALL, "etc") if arch == "perframe" else (TCB, "supervised")
    part = sources.first
    videos = {frame: part.video_of(frame) for frame in part.labelled}
    monkeypatch.setattr(
        type(part), "video_of", lambda self, frame: replace(videos[frame], interval_s=math.inf)
    )
    clips = [
        load_clip(part, part.labelled[2], plan, np.random.default_rng(3), labelled=True)
        for plan in (
            plan_for(arch, config, objective=objective, neighbours=kind, scales=[1.0])
            for kind in ("video", "simulated")
        )
    ]
    assert (clips[0].frames == clips[1].frames).all()
    assert (clips[0].labels == clips[1].labels).all() and (clips[0].labels != 255).any()
    assert (clips[0].frames[0] != clips[0].frames[-1]).mean() > 0.1


def test_arms_see_their_targets_alike_whatever_stands_beside_them(sources) -> None:
    """A per-frame network and one with supports learn from the very same pictures and labels."""
    fields = {"neighbours": "simulated", "degrade": "burst"}
    arms = [
        plan_for("perframe", SMALL, **fields),
        plan_for("tcb-ocr", TCB, **fields),
        plan_for("perframe", SMALL, objective="etc", **fields),
    ]
    hit = 0
    for seed in range(8):
        frame = sources.first.labelled[seed % 6]
        one, tcb, etc = (
            load_clip(sources.first, frame, plan, np.random.default_rng(seed), labelled=True)
            for plan in arms
        )
        assert (len(one.frames), len(tcb.frames), len(etc.frames)) == (1, 4, 3)
        for clip, at in ((tcb, 3), (etc, 1)):
            assert (clip.frames[at] == one.frames[0]).all()
            assert (clip.labels[at] == one.labels[0]).all()
            assert clip.worse[at] == one.worse[0]
        hit += int(one.worse[0])
    assert 0 < hit < 8
    assert load_recipe("camvid-ocr").data == load_recipe("camvid-tcb").data
    assert load_recipe("camvid-plain").data == load_recipe("camvid-etc").data


@pytest.mark.parametrize("neighbours", ["simulated", "video"])
def test_frames_of_a_clip_are_degraded_each_by_itself(sources, neighbours: str) -> None:
    fields = {"objective": "etc", "neighbours": neighbours, "scales": [1.0], "border": "black"}
    plan = plan_for("perframe", SMALL, degrade="burst", **fields)
    clean = plan_for("perframe", SMALL, **fields)
    kinds = set()
    for seed in range(12):
        frame = sources.first.labelled[2]
        clip, as_it_was = (
            load_clip(sources.first, frame, one, np.random.default_rng(seed), labelled=True)
            for one in (plan, clean)
        )
        assert clip.worse is not None and clip.clean is not None
        kinds.add(tuple(clip.worse.tolist()))
        assert (clip.labels == as_it_was.labels).all() and (clip.flow == as_it_was.flow).all()
        wanted = as_it_was.frames if neighbours == "video" else as_it_was.clean
        assert (clip.clean == wanted).all()
        assert (clip.frames[~clip.inside] == 0).all(), "nothing is done to the border"
        for i, is_worse in enumerate(clip.worse):
            change = np.abs(clip.frames[i].astype(int) - as_it_was.frames[i]).max()
            assert (change > 0) == is_worse
    assert len(kinds) > 4
    assert as_it_was.worse is not None and not as_it_was.worse.any()
    assert (as_it_was.clean is None) == (neighbours == "video")


def test_sensor_noise_is_a_gain_and_noise_about_it() -> None:
    grey = np.full((200, 300, 3), 100, np.uint8)
    draws = [sensor_noise(grey, np.random.default_rng(seed)).astype(float) for seed in range(200)]
    means, deviations = np.array([(one.mean(), one.std()) for one in draws]).T
    assert 96.5 < means.min() < 97.5 and 102.5 < means.max() < 103.5
    assert deviations.min() < 0.5 and 2.7 < deviations.max() < 3.1
    assert draws[0].std(axis=(0, 1)) == pytest.approx(deviations[0], rel=0.05), "in every channel"


def test_dense_flow_is_found_where_neighbours_are_real(sources) -> None:
    plan = plan_for("perframe", SMALL, objective="etc", crop_hw=[64, 80])
    clip = load_clip(
        sources.first, sources.first.labelled[2], plan, np.random.default_rng(0), labelled=True
    )
    assert clip.flow is not None and clip.flow.shape == (2, 64, 80)


@pytest.fixture(scope="module")
def rendered():
    address = "sample://street?videos=1&frames=3&size=320x180&rate=15&seed=2"
    return open_training_sets([SourceRequest(address, None)]).first


def rendered_plan(**fields: object) -> ClipPlan:
    views = {"short_side": 180, "crop_hw": [180, 320], "scales": [1.0], "colour": 0.0, "blur": 0.0}
    return plan_for("perframe", SMALL, **{"objective": "etc", "gap": 1, **views, **fields})


def test_rendered_neighbours_have_their_exact_flow(rendered) -> None:
    frame = rendered.labelled[1]
    flow, valid = rendered.dataset.read_flow(frame)
    assert 0.5 < valid.mean() < 1 and np.abs(flow).max() > 2
    mirrored = 0
    for seed in range(6):
        clip = load_clip(
            rendered, frame, rendered_plan(), np.random.default_rng(seed), labelled=True
        )
        if (clip.labels[1] != rendered.load_labels(frame)).any():
            mirrored += 1
            assert (clip.flow[0] == -flow[0, :, ::-1]).all()
            assert (clip.flow[1] == flow[1, :, ::-1]).all()
            assert (clip.flow_valid == valid[:, ::-1]).all()
        else:
            assert (clip.flow == flow).all() and (clip.flow_valid == valid).all()
    assert 0 < mirrored < 6


@pytest.mark.parametrize("scale", [0.7, 1.6])
def test_a_rendered_neighbour_shows_the_target_where_its_flow_is_valid(
    rendered, scale: float
) -> None:
    frame = rendered.labelled[1]
    plan = rendered_plan(scales=[scale], rotation=8.0, crop_hw=[150, 200])
    for seed in range(3):
        clip = load_clip(rendered, frame, plan, np.random.default_rng(seed), labelled=True)
        y, x = np.mgrid[:150, :200].astype(np.float32)
        there = (x + clip.flow[0], y + clip.flow[1])
        found = cv2.remap(clip.labels[2], *there, cv2.INTER_NEAREST, borderValue=255)
        seen = clip.flow_valid & (found != 255)
        assert seen.mean() > 0.4 and not clip.flow_valid[~clip.inside[1]].any()
        assert (found == clip.labels[1])[seen].mean() > 0.97

        # Both sides count: still pictures would agree less, and so would turned vectors.
        def apart(by: float, clip=clip, seen=seen) -> float:
            moved = warp_image(clip.frames[2], by * clip.flow).astype(int)
            return float(np.abs(moved - clip.frames[1])[seen].mean())

        assert apart(1) < 0.6 * min(apart(0), apart(-1))


def test_the_last_frame_of_a_rendered_video_stands_still(rendered) -> None:
    frame = rendered.labelled[2]
    clip = load_clip(rendered, frame, rendered_plan(), np.random.default_rng(0), labelled=True)
    assert (clip.frames[2] == clip.frames[1]).all() and np.abs(clip.flow).max() < 0.01
    assert clip.flow_valid.all()


def test_clips_of_all_kinds_make_one_batch(sources, rendered) -> None:
    views = {"crop_hw": [48, 64], "scales": [0.5]}
    still = rendered_plan(**views, neighbours="simulated")
    clips = [
        load_clip(part, part.labelled[1], plan, np.random.default_rng(0), labelled=True)
        for part, plan in (
            (rendered, rendered_plan(**views)),
            (sources.first, rendered_plan(**views)),
            (sources.first, still),
        )
    ]
    batch = collate([clip._replace(clean=clip.frames) for clip in clips])
    assert batch.flow_valid.shape == (3, 48, 64)
    assert not batch.flow_valid[0].all() and batch.flow_valid[1:].all()


def test_the_students_view_of_the_mean_teacher_has_other_colours(sources) -> None:
    plan = plan_for("perframe", SMALL, objective="mean-teacher")
    clip = load_clip(
        sources.first, sources.first.labelled[0], plan, np.random.default_rng(0), labelled=False
    )
    assert clip.strong is not None and clip.strong.shape == clip.frames.shape
    assert (clip.strong != clip.frames).mean() > 0.5


class TestSchedule:
    def test_one_data_set_is_passed_once_an_epoch(self, sources) -> None:
        schedule = Schedule(sources, batch_size=2)
        assert schedule.steps_per_epoch == 3
        for epoch in range(3):
            keys = [key for step in range(3) for key in schedule.keys(3 * epoch + step)]
            assert sorted(key.frame for key in keys) == list(range(6))
        assert schedule.keys(4) == Schedule(sources, batch_size=2).keys(4)

    def test_weights_are_shares(self, camvid: Path) -> None:
        both = open_training_sets(
            [SourceRequest("camvid", camvid), SourceRequest("camvid", camvid, "val", 0.5)]
        )
        schedule = Schedule(both, batch_size=2, steps_per_epoch=30)
        keys = [key for step in range(30) for key in schedule.keys(step)]
        assert sum(key.source == 1 for key in keys) == 20

    def test_the_mean_teacher_gets_frames_without_labels(self, camvid: Path) -> None:
        part = open_training_sets([SourceRequest("camvid", camvid)], label_fraction=1 / 3)
        assert len(part.first.labelled) == 2 and len(part.first.unlabelled) == 4
        schedule = Schedule(part, batch_size=2, steps_per_epoch=8, unlabelled_share=0.5)
        keys = [key for step in range(8) for key in schedule.keys(step)]
        assert sum(key.labelled for key in keys) == 8
        with pytest.raises(InputError, match="no frame is without labels"):
            Schedule(
                open_training_sets([SourceRequest("camvid", camvid)]),
                batch_size=2,
                unlabelled_share=0.5,
            )

    def test_each_video_keeps_the_requested_number_of_labels(self, tmp_path: Path) -> None:
        make_folder(tmp_path, videos=3, frames=5)
        for video, length in (("v_1", 1), ("v_2", 4)):
            for path in [*tmp_path.glob(f"*/{video}/*.png")]:
                if int(path.stem) >= length:
                    path.unlink()
        request = [SourceRequest("folder", tmp_path)]
        part = open_training_sets(request, labels_per_video=1).first
        assert [(frame.video, frame.index) for frame in part.labelled] == [
            ("v_0", 2),
            ("v_1", 0),
            ("v_2", 2),
        ]
        assert len(part.unlabelled) == 7
        assert not {*map(str, part.labelled)} & {*map(str, part.unlabelled)}
        two = open_training_sets(request, labels_per_video=2).first
        places = [(frame.video, frame.index) for frame in two.labelled]
        assert places == [("v_0", 1), ("v_0", 3), ("v_1", 0), ("v_2", 1), ("v_2", 3)]
        assert len(open_training_sets(request, labels_per_video=9).first.labelled) == 10
        with pytest.raises(UsageError, match="both choose the labels"):
            recipe_from({"arch": "perframe", "label_fraction": 0.5, "labels_per_video": 1}, "x")
        assert load_recipe("ssltm").data.labels_per_video == 1

    def test_too_few_frames(self, sources) -> None:
        with pytest.raises(InputError, match="6 labelled frames are fewer than a batch of 8"):
            Schedule(sources, batch_size=8)

    def test_processes_and_parts_share_a_batch_out(self, sources) -> None:
        schedule = Schedule(sources, batch_size=4, steps_per_epoch=2)
        network = build("perframe", {"classes": 11, **SMALL})
        plan = ClipPlan(Companions(type(network), network.config), PLAIN)

        def names(parts: int, count: int) -> list[str]:
            """In the order of a single process."""
            settings = {"steps": 2, "parts": parts, "workers": 0}
            streams = [
                list(batches(sources, schedule, plan, process=(rank, count), **settings))
                for rank in range(count)
            ]
            rounds = zip(*streams, strict=True)
            return [name for batches_ in rounds for batch in batches_ for name in batch.names]

        assert names(1, 1) == names(2, 1) == names(1, 2) == names(2, 2)

    def test_workers_are_no_more_than_the_cpus(self, sources, monkeypatch) -> None:
        """Torch would warn of it in two lines; the batches are the same."""
        schedule = Schedule(sources, batch_size=4, steps_per_epoch=1)
        network = build("perframe", {"classes": 11, **SMALL})
        plan = ClipPlan(Companions(type(network), network.config), PLAIN)
        wanted = []

        def loader(*_, num_workers: int, **__) -> list[object]:
            wanted.append(num_workers)
            return []

        monkeypatch.setattr("vidparse.training.stream.DataLoader", loader)
        monkeypatch.setattr("vidparse.training.stream.cpu_count", lambda: 2)
        for workers in (0, 1, 3):
            assert list(batches(sources, schedule, plan, steps=1, workers=workers)) == []
        assert wanted == [0, 1, 2]


class TestSources:
    def test_texts(self) -> None:
        assert parse_source("idd-lite=a/b") == SourceRequest("idd-lite", Path("a/b"))
        assert parse_source("folder=x:val@0.5") == SourceRequest("folder", Path("x"), "val", 0.5)
        assert parse_source("sample://street?frames=3@2") == SourceRequest(
            "sample://street?frames=3", None, weight=2.0
        )
        assert parse_source("folder=me@home/d") == SourceRequest("folder", Path("me@home/d"))
        assert parse_source("folder=a:b/d@2").root == Path("a:b/d")
        for text in ("idd-lite", "folder=", "folder=x@much", "folder=x@-1", "folder=x@nan"):
            with pytest.raises(UsageError, match="data set"):
                parse_source(text)

    def test_idd_lite_is_unions_of_camvid(self, camvid: Path, tmp_path: Path) -> None:
        for kind, name in (("leftImg8bit", "1_image.jpg"), ("gtFine", "1_label.png")):
            (tmp_path / kind / "train" / "a").mkdir(parents=True)
            ids = np.array([[0, 1, 2, 3], [4, 5, 6, 255]], np.uint8).repeat(20, 0).repeat(20, 1)
            picture = np.dstack([ids] * 3) if name.endswith("jpg") else ids
            cv2.imwrite(str(tmp_path / kind / "train" / "a" / name), picture)
        both = open_training_sets(
            [SourceRequest("camvid", camvid), SourceRequest("idd-lite", tmp_path)]
        )
        part = both.parts[1]
        found = part.load_labels(part.labelled[0])[::20, ::20].ravel().tolist()
        names = both.labels.classes
        meant = [
            {names[one]} if one < 11 else {names[i] for i in np.flatnonzero(both.unions[one - 11])}
            for one in found[:7]
        ]
        assert meant[0] == {"Road"} and meant[6] == {"Sky"} and found[7] == 255
        assert meant[2] == {"Pedestrian", "Bicyclist"} and meant[3] == {"Car", "Bicyclist"}
        assert both.unions.shape == (5, 11)

    def test_strange_classes_are_refused(self, camvid: Path, tmp_path: Path) -> None:
        (tmp_path / "images").mkdir()
        cv2.imwrite(str(tmp_path / "images" / "1.png"), np.zeros((8, 8, 3), np.uint8))
        labels = {"name": "other", "classes": [{"name": "x", "thing": False, "colour": [1, 2, 3]}]}
        (tmp_path / "labels.json").write_text(json.dumps(labels))
        with pytest.raises(
            UsageError, match=r"neither camvid's \(class 0 is 'x', not 'Sky'\) nor known"
        ):
            open_training_sets([SourceRequest("camvid", camvid), SourceRequest("folder", tmp_path)])
