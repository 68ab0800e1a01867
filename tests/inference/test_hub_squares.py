"""EoMT and VidEoMT, which take squares: as transformers reads them, and frame by frame."""

from __future__ import annotations

import importlib
import json
import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

from vidparse.data.pictures import read_rgb
from vidparse.errors import ModelError, UsageError
from vidparse.frame import Frame
from vidparse.image import Rgb
from vidparse.inference import Session, load_model
from vidparse.inference.clip_segments import Merging
from vidparse.inference.devices import Device
from vidparse.inference.masks import QueryMasks
from vidparse.inference.numbered import QueryLinker
from vidparse.inference.preprocess import input_size, to_clip
from vidparse.inference.runners.transformers import TransformersRunner, read_checkpoint
from vidparse.inference.runners.transformers.checkpoint import ARCHITECTURES
from vidparse.labels import load_labels
from vidparse.maps import SegmentMap

transformers = pytest.importorskip("transformers", reason="transformers is not installed")
torch = pytest.importorskip("torch")

from support.tiny_transformers import make_videomt, network_of, picture, processor_of  # noqa: E402

pytestmark = pytest.mark.usefixtures("one_thread")

CPU = Device("cpu")
SIZES = ((150, 210), (210, 150), (64, 120), (120, 64), (64, 64), (40, 40))
LONG = ((64, 300), (300, 40))  # that are cut into several parts


def runner_of(folder: Path, task: str = "auto", **options: Any) -> TransformersRunner:
    return TransformersRunner(folder, device=CPU, threads=1, task=task, **options)


def clip_of(runner: TransformersRunner, image: np.ndarray) -> np.ndarray:
    facts = runner.description.preprocess
    return to_clip(Rgb(image), input_size(image.shape[:2], facts), facts)


def video_processor() -> Any:
    """transformers' own reading of VidEoMT's answers, which needs no torchvision."""
    module = importlib.import_module("transformers.models.videomt.video_processing_videomt")
    return object.__new__(module.VideomtVideoProcessor)


def outputs_of_video(folder: Path, frames: list[np.ndarray]) -> Any:
    """transformers' own network over a clip, in one pass."""
    runner = runner_of(folder)
    clips = np.concatenate([clip_of(runner, image) for image in frames])  # (T, 3, 64, 64)
    with torch.inference_mode():
        return network_of(folder)(pixel_values_videos=torch.from_numpy(clips)[None])


def pan_video(frames: int, seed: int = 0) -> list[np.ndarray]:
    """A picture that moves sideways."""
    wide = picture((150, 210 + 6 * frames), seed)
    return [np.ascontiguousarray(wide[:, 6 * t : 6 * t + 210]) for t in range(frames)]


@pytest.mark.parametrize(
    ("kind", "size_hw"),
    [*(("eomt", one) for one in SIZES), *(("eomt-semantic", one) for one in (*SIZES, *LONG))],
)
def test_the_network_sees_what_its_processor_makes(kind: str, size_hw, checkpoints) -> None:
    folder, image = checkpoints(kind), picture(size_hw)
    expected = processor_of(folder)(image, return_tensors="pt")["pixel_values"]
    runner = runner_of(folder, "semantic")
    seen: list[torch.Tensor] = []
    hook = runner._pretrained.network.register_forward_pre_hook(
        lambda module, args, kwargs: seen.append(kwargs["pixel_values"]), with_kwargs=True
    )
    runner.answer(clip_of(runner, image)[None])
    hook.remove()
    assert torch.cat(seen).shape == torch.stack(list(expected)).shape
    assert (torch.cat(seen) - torch.stack(list(expected))).abs().max() <= 1e-5


@pytest.mark.parametrize("size_hw", [*SIZES, *LONG])
def test_class_maps_of_parts_are_those_of_transformers(size_hw, checkpoints) -> None:
    folder, image = checkpoints("eomt-semantic"), picture(size_hw)
    processor = processor_of(folder)
    inputs = processor(image, return_tensors="pt")
    with torch.inference_mode():
        outputs = network_of(folder)(**inputs)
    (expected,) = processor.post_process_semantic_segmentation(outputs, [size_hw])
    ((_, found),) = Session(runner_of(folder, "semantic")).run([Frame(0, 0, Rgb(image))])
    assert len(np.unique(expected)) > 1
    assert (found.ids == expected.numpy()).mean() >= 0.999


def test_sizes_in_the_square_are_those_of_transformers(checkpoints, tmp_path: Path) -> None:
    from transformers.image_transforms import get_size_with_aspect_ratio

    folder = tmp_path / "eomt"
    shutil.copytree(checkpoints("eomt"), folder)
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps({**config, "image_size": 640}))
    facts = read_checkpoint(folder).preprocess
    rng = np.random.default_rng(0)
    for size_hw in ((720, 1280), (1280, 720), (480, 640), *rng.integers(100, 2000, (50, 2))):
        height, width = int(size_hw[0]), int(size_hw[1])
        expected = get_size_with_aspect_ratio((height, width), 640, 640)
        assert input_size((height, width), facts) == expected


def test_class_maps_of_a_video_are_those_of_transformers(checkpoints) -> None:
    folder, frames = checkpoints("videomt"), pan_video(4)
    outputs = outputs_of_video(folder, frames)
    sizes = [image.shape[:2] for image in frames]
    expected = video_processor().post_process_semantic_segmentation(outputs, sizes)
    shots = (Frame(t, t, Rgb(image)) for t, image in enumerate(frames))
    found = [one.ids for _, one in Session(runner_of(folder, "semantic"), cut=None).run(shots)]
    for ours, theirs in zip(found, expected, strict=True):
        assert (ours == theirs.numpy()).mean() >= 0.999
    assert (found[0] != found[3]).mean() > 0.05  # else it would say little


def test_frame_by_frame_is_one_pass_over_the_clip(checkpoints) -> None:
    folder, frames = checkpoints("videomt"), pan_video(5)
    outputs = outputs_of_video(folder, frames)
    runner = runner_of(folder, "panoptic")
    assert runner.remembers and runner.window == 1
    network, state = runner._pretrained, None
    for t, image in enumerate(frames):
        clip = torch.from_numpy(clip_of(runner, image))
        state = network.first_state(clip[None]) if state is None else state
        with torch.inference_mode():
            classes, masks, state = network.query(clip, state)
        assert (classes[0] - outputs.class_queries_logits[t]).abs().max() <= 1e-4
        assert (masks[0] - outputs.masks_queries_logits[t]).abs().max() <= 1e-4
    alone = network_of(folder)(pixel_values_videos=clip[None])  # the state matters
    assert (alone.class_queries_logits[0] - classes[0]).abs().max() > 0.1


def same_segments(found: SegmentMap, expected: Any) -> None:
    """Segments as transformers numbers them: in the order of the queries."""
    theirs = expected["segmentation"].numpy().astype(np.int64) + 1
    present = {
        one["id"]: one for one in expected["segments_info"] if (theirs == one["id"] + 1).any()
    }
    segments = {one.id: one for one in found.segments or ()}
    assert len(segments) == len(present) > 0
    order = {ours: id_ + 1 for ours, id_ in zip(sorted(segments), sorted(present), strict=True)}
    table = np.zeros(max(order) + 1, np.int64)
    table[list(order)] = list(order.values())
    assert (table[found.ids] == theirs).mean() >= 0.999
    for ours, id_ in zip(sorted(segments), sorted(present), strict=True):
        assert segments[ours].class_id == present[id_]["label_id"]
        if segments[ours].is_thing:
            assert abs(segments[ours].score - present[id_]["score"]) <= 1e-3


STUFF = {0, 1}  # of the classes, where some are fused


@pytest.mark.parametrize("task", ["panoptic", "instance"])
@pytest.mark.parametrize(
    ("kind", "size_hw"), [*(("eomt", one) for one in SIZES), ("eomt-dinov3", SIZES[0])]
)
def test_segments_are_those_of_transformers(kind: str, task: str, size_hw, checkpoints) -> None:
    folder, image = checkpoints(kind), picture(size_hw)
    processor = processor_of(folder)
    inputs = processor(image, return_tensors="pt")
    with torch.inference_mode():
        outputs = network_of(folder)(**inputs)
    runner = runner_of(folder, task)
    answer = runner.answer(clip_of(runner, image)[None])
    assert isinstance(answer, QueryMasks) and answer.queries is None

    labels = runner.labels
    if task == "panoptic":
        fused = replace(labels, things=labels.things - STUFF)
        (expected,) = processor.post_process_panoptic_segmentation(
            outputs, [size_hw], stuff_classes=sorted(STUFF)
        )
        (found,) = answer.segments(size_hw, fused, Merging()).maps
    else:
        (expected,) = processor.post_process_instance_segmentation(outputs, [size_hw])
        (found,) = answer.segments(size_hw, labels, Merging()).maps
    same_segments(found, expected)


@pytest.mark.parametrize("task", ["panoptic", "instance"])
def test_segments_of_a_video_are_those_of_transformers(task: str, checkpoints) -> None:
    folder, frames = checkpoints("videomt"), pan_video(4)
    outputs, processor = outputs_of_video(folder, frames), video_processor()
    sizes = [image.shape[:2] for image in frames]
    runner = runner_of(folder, task)
    labels = runner.labels
    if task == "panoptic":
        labels = replace(labels, things=labels.things - STUFF)
        expected = processor.post_process_panoptic_segmentation(
            outputs, sizes, label_ids_to_fuse=STUFF
        )
    else:
        expected = processor.post_process_instance_segmentation(outputs, sizes)
    for t, image in enumerate(frames):
        answer = runner.answer(clip_of(runner, image)[None])
        clip = answer.segments(sizes[t], labels, Merging())
        same_segments(clip.maps[0], expected[t])

        # The keys are the numbers of the queries.
        classes = outputs.class_queries_logits[t].softmax(-1)[:, :-1]
        assert clip.key_kind == "queries" and clip.keys
        for one in clip.maps[0].segments or ():
            if one.is_thing:
                assert int(classes[int(clip.keys[one.id][0])].argmax()) == one.class_id


def test_queries_link_the_ids_of_a_video(checkpoints) -> None:
    """Seen from the outside: an id is one query that sees one class."""
    folder, frames = checkpoints("videomt"), pan_video(6)
    outputs = outputs_of_video(folder, frames)
    runner = runner_of(folder, "panoptic")
    session = Session(runner, cut=None)
    shots = (Frame(t, t, Rgb(image)) for t, image in enumerate(frames))
    known: dict[int, tuple[int, int]] = {}
    seen = 0
    for t, (_, found) in enumerate(session.run(shots)):
        assert isinstance(session.linker, QueryLinker)
        answer = outputs.masks_queries_logits[t : t + 1]
        inside = torch.nn.functional.interpolate(answer, found.ids.shape, mode="bilinear")[0] >= 0
        scores, classes = outputs.class_queries_logits[t].softmax(-1).max(-1)
        for one in found.segments or ():
            here = torch.from_numpy(found.ids == one.id)
            (queries,) = torch.nonzero(
                (classes == one.class_id) & (scores > 0.8) & (inside & here).flatten(1).any(1),
                as_tuple=True,
            )
            matching = {(int(query), one.class_id) for query in queries}
            if one.id in known:
                assert known[one.id] in matching
                seen += 1
            else:
                alone = [key for key in matching if abs(scores[key[0]] - one.score) < 1e-4]
                assert len(alone) == 1 and alone[0] not in known.values()
                known[one.id] = alone[0]
    assert seen > 3


def test_small_and_unsure_things_are_left_out(checkpoints) -> None:
    runner, image = runner_of(checkpoints("videomt"), "panoptic"), pan_video(1)[0]
    answer = runner.answer(clip_of(runner, image)[None])
    every = answer.segments(image.shape[:2], runner.labels, Merging()).maps[0]
    areas = sorted(one.area for one in every.segments or ())
    least = areas[len(areas) // 2]
    kept = answer.segments(image.shape[:2], runner.labels, Merging(min_area=least))
    large = [area for area in areas if area >= least]
    assert sorted(one.area for one in kept.maps[0].segments or ()) == large
    assert 0 < len(large) < len(areas)
    assert set(kept.keys) == {one.id for one in kept.maps[0].segments or ()}
    nothing = answer.segments(image.shape[:2], runner.labels, Merging(min_score=1.0))
    assert nothing.maps[0].ids.max() == 0 and nothing.key_kind == "queries"


def test_nothing_found_is_an_empty_map(checkpoints, tmp_path: Path) -> None:
    folder = tmp_path / "blind"
    shutil.copytree(checkpoints("videomt"), folder)
    network = network_of(folder)
    network.class_predictor.weight.data.zero_()
    network.class_predictor.bias.data.zero_()
    network.save_pretrained(folder)
    for task in ("panoptic", "instance"):
        session = Session(runner_of(folder, task))
        ((_, found),) = session.run([Frame(0, 0, Rgb(picture()))])
        assert found.segments == () and not found.ids.any()
        assert isinstance(session.linker, QueryLinker)


def test_a_cut_makes_the_queries_forget(checkpoints) -> None:
    folder, frames = checkpoints("videomt"), pan_video(2)
    runner = runner_of(folder, "semantic")
    first = runner.answer(clip_of(runner, frames[0])[None])
    again = runner.answer(clip_of(runner, frames[0])[None])
    runner.reset()
    anew = runner.answer(clip_of(runner, frames[0])[None])
    assert np.array_equal(first.values, anew.values)
    assert not np.allclose(first.values, again.values, atol=1e-3)


def test_the_data_in_the_name_gives_the_task(checkpoints) -> None:
    def task(name: str, kind: str = "videomt") -> str:
        return read_checkpoint(checkpoints(kind), name=name).task

    assert task("tue-mps/videomt-dinov2-large-vipseg") == "panoptic"
    assert task("tue-mps/videomt-dinov2-large-vspw") == "semantic"
    assert task("tue-mps/videomt-dinov2-large-ytvis2021") == "instance"
    assert task("tue-mps/videomt-dinov2-large-ovis") == "instance"
    assert task("me/mine") == "panoptic"
    assert task("tue-mps/coco_instance_eomt_large_640", "eomt") == "instance"
    assert task("tue-mps/ade20k_panoptic_eomt_large_640", "eomt") == "panoptic"
    assert task("tue-mps/cityscapes_semantic_eomt_large_1024", "eomt-semantic") == "semantic"
    assert task("facebook/mask2former-swin-large-coco-instance", "mask2former") == "panoptic"
    with pytest.raises(UsageError, match="instances as panoptic"):
        read_checkpoint(checkpoints("mask2former"), task="instance")


def test_one_network_does_every_task(checkpoints) -> None:
    """A checkpoint that was trained on parts of pictures is given whole ones for masks."""
    wide = picture((64, 300))
    for kind in ("eomt", "eomt-semantic", "videomt"):
        for task in ("semantic", "instance", "panoptic"):
            runner = runner_of(checkpoints(kind), task)
            assert runner.description.task == task
            ((_, found),) = Session(runner).run([Frame(0, 0, Rgb(wide))])
            assert (found.segments is None) == (task == "semantic")


@pytest.mark.parametrize(
    ("kind", "size"), [("eomt", 100), ("eomt-semantic", 100), ("videomt", 100), ("videomt", 32)]
)
def test_other_sizes_are_refused_in_one_line(kind: str, size: int, checkpoints) -> None:
    runner = runner_of(checkpoints(kind), "semantic")
    with pytest.raises(UsageError, match=r"takes pictures of its own size only; leave out --size"):
        list(Session(runner, size=size).run([Frame(0, 0, Rgb(picture()))]))


def test_a_smaller_size_lies_in_the_square(checkpoints) -> None:
    runner = runner_of(checkpoints("eomt"), "semantic")
    ((_, found),) = Session(runner, size=32).run([Frame(0, 0, Rgb(picture((150, 210))))])
    assert found.ids.shape == (150, 210)


def test_processors_are_found_under_every_name(checkpoints, tmp_path: Path) -> None:
    plain = checkpoints("videomt")
    expected = read_checkpoint(plain).preprocess
    assert expected.size_hw == (64, 64)
    record = json.loads((plain / "video_preprocessor_config.json").read_text())
    nested = tmp_path / "nested"
    shutil.copytree(plain, nested)
    (nested / "video_preprocessor_config.json").unlink()
    (nested / "processor_config.json").write_text(json.dumps({"video_processor": record}))
    assert read_checkpoint(nested).preprocess == expected
    (nested / "processor_config.json").unlink()
    (nested / "preprocessor_config.json").write_text(json.dumps({**record, "size": 640}))
    assert read_checkpoint(nested).preprocess == expected  # its network has one size
    (nested / "preprocessor_config.json").unlink()
    with pytest.raises(ModelError, match=r"preprocessor_config\.json cannot be read"):
        read_checkpoint(nested)


def test_half_precision_on_the_cpu(checkpoints) -> None:
    frames = [Frame(t, t, Rgb(image)) for t, image in enumerate(pan_video(3))]
    for kind in ("eomt-semantic", "videomt"):
        exact = list(Session(runner_of(checkpoints(kind), "semantic")).run(frames))
        halves = runner_of(checkpoints(kind), "semantic", precision="bf16")
        rough = list(Session(halves).run(frames))
        agree = [(a.ids == b.ids).mean() for (_, a), (_, b) in zip(exact, rough, strict=True)]
        assert halves.precision == "bf16" and min(agree) > 0.8


def test_a_transformers_without_the_network_is_to_be_upgraded(
    checkpoints, monkeypatch, tmp_path: Path
) -> None:
    folder, name = tmp_path / "newer", "NewerForUniversalSegmentation"
    shutil.copytree(checkpoints("videomt"), folder)
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps({**config, "architectures": [name]}))
    known = ARCHITECTURES["VideomtForUniversalSegmentation"]
    monkeypatch.setitem(ARCHITECTURES, name, replace(known, name=name))
    with pytest.raises(ModelError, match=f"has no {name} yet; pip install --upgrade"):
        runner_of(folder)


def test_segment_writes_every_output(checkpoints, cli, clip, tmp_path: Path) -> None:
    video, out = clip("in.mp4", frames=3), tmp_path / "out"
    for task in ("panoptic", "instance"):
        ended = cli(
            *("segment", video, "-m", checkpoints("videomt"), "--task", task, "--threads", 1),
            *("--device", "cpu", "-o", f"{out}/", "--save", "jsonl,overlay,vipseg", "--overwrite"),
            "--json",
        )
        assert ended.code == 0, ended.err
        assert json.loads(ended.out)["backend"] == "transformers"
        (record,) = out.glob("*.jsonl")
        lines = [json.loads(line) for line in record.read_text().splitlines()]
        assert len([line for line in lines if "segments" in line]) == 3


def test_other_backends_are_refused(checkpoints) -> None:
    with pytest.raises(UsageError, match="ONNX is for SegformerForSemanticSegmentation"):
        load_model(str(checkpoints("videomt")), backend="onnx")
    with pytest.raises(UsageError, match="is semantic with backend onnx"):
        load_model(str(checkpoints("eomt")), backend="onnx", task="instance")


def test_eval_scores_the_124_classes_of_vspw(cli, tmp_path: Path) -> None:
    """The checkpoints for VSPW have its classes in its order; what they find scores 1."""
    vspw = load_labels("vspw")
    folder = tmp_path / "videomt-dinov2-large-vspw"
    make_videomt(folder, vspw.classes)
    video = tmp_path / "data" / "VSPW_480p" / "data" / "v"
    for part in ("origin", "mask"):
        (video / part).mkdir(parents=True)
    (video.parent.parent / "val.txt").write_text("v\n")
    frames = []
    for t, image in enumerate(pan_video(3)):
        path = video / "origin" / f"{t:08d}.jpg"
        cv2.imwrite(str(path), image[..., ::-1])
        frames.append(read_rgb(path))
    outputs = outputs_of_video(folder, frames)
    sizes = [image.shape[:2] for image in frames]
    truth = video_processor().post_process_semantic_segmentation(outputs, sizes)
    for t, ids in enumerate(truth):
        cv2.imwrite(str(video / "mask" / f"{t:08d}.png"), ids.numpy().astype(np.uint8) + 1)

    ended = cli(
        *("eval", "-m", folder, "--dataset", "vspw", "--data", video.parent.parent),
        *("--metrics", "miou", "--device", "cpu", "--threads", "1", "--json"),
    )
    assert ended.code == 0, ended.err
    (entry,) = json.loads(ended.out)["entries"]
    assert load_model(str(folder), device="cpu", threads=1).labels == vspw
    assert entry["scores"]["miou"] > 0.95


def test_eval_scores_panoptic_vipseg(cli, tmp_path: Path) -> None:
    """What the checkpoint for VIPSeg finds in a video, as truth, is scored 1 with its ids."""
    folder = tmp_path / "videomt-dinov2-large-vipseg"
    make_videomt(folder, load_labels("vspw").classes)
    data, pictures = tmp_path / "VIPSeg_720P", tmp_path / "VIPSeg_720P" / "images" / "v"
    pictures.mkdir(parents=True)
    for t, image in enumerate(pan_video(3)):
        cv2.imwrite(str(pictures / f"{t:08d}.jpg"), image[..., ::-1])
    machine = ("--device", "cpu", "--threads", "1")
    truth, first = tmp_path / "o", tmp_path / "first"
    ended = cli("segment", pictures, "-m", folder, "--save", "vipseg", "-o", f"{truth}/", *machine)
    assert ended.code == 0, ended.err

    # The two read JPEG files by decoders of their own, so let eval save what it sees, too.
    scored = ("eval", "-m", folder, "--dataset", "vipseg", "--data", data, *machine)
    for options in (("--save", "vipseg", "-o", first), ("--metrics", "vpq,stq", "--json")):
        found = next(truth.rglob("pred.json")).parent
        shutil.rmtree(data / "panomasksRGB", ignore_errors=True)
        shutil.copytree(found / "pan_pred", data / "panomasksRGB")
        shutil.copy(found / "pred.json", data / "panoptic_gt_VIPSeg_val.json")
        ended = cli(*scored, *options)
        assert ended.code == 0, ended.err
        truth = first
    scores = json.loads(ended.out)["entries"][0]["scores"]
    assert scores["vpq"] == pytest.approx(1) and scores["stq"] == pytest.approx(1)
