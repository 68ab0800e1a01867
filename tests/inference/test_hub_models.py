"""Checkpoints of transformers: the same answers as transformers' own processors give."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from vidparse.errors import DeviceError, ModelError, UsageError
from vidparse.frame import Frame
from vidparse.image import Rgb
from vidparse.inference import Masks, Session, load_model
from vidparse.inference.devices import Device
from vidparse.inference.preprocess import input_size, to_clip
from vidparse.inference.runners.transformers import TransformersRunner, read_checkpoint
from vidparse.labels import load_labels
from vidparse.maps import Prediction
from vidparse.models.description import Preprocess, describe, metadata_of

transformers = pytest.importorskip("transformers", reason="transformers is not installed")
torch = pytest.importorskip("torch")

from support.tiny_transformers import (  # noqa: E402
    NAMES,
    THINGS,
    make_segformer,
    network_of,
    picture,
    processor_of,
)

pytestmark = pytest.mark.usefixtures("one_thread")

CPU = Device("cpu")
KINDS = ("segformer", "upernet", "maskformer", "mask2former", "oneformer")


def inputs_of(folder: Path, image: np.ndarray, task: str) -> Any:
    """What transformers' own processor makes of a picture."""
    options = {"task_inputs": [task]} if "oneformer" in folder.name else {}
    return processor_of(folder)(image, **options, return_tensors="pt")


def outputs_of(folder: Path, image: np.ndarray, task: str) -> Any:
    """What transformers' own network answers."""
    with torch.inference_mode():
        return network_of(folder)(**inputs_of(folder, image, task))


def ours(folder: Path, image: np.ndarray, task: str = "auto") -> Prediction:
    runner = TransformersRunner(folder, device=CPU, threads=1, task=task)
    ((_, prediction),) = Session(runner).run([Frame(0, 0, Rgb(image))])
    return prediction


@pytest.mark.parametrize("kind", KINDS)
def test_the_network_sees_what_its_processor_makes(kind: str, checkpoints) -> None:
    folder = checkpoints(kind)
    facts = read_checkpoint(folder).preprocess
    for size_hw in ((150, 210), (210, 150), (64, 300), (40, 40)):
        image = picture(size_hw)
        expected = inputs_of(folder, image, "semantic")["pixel_values"].numpy()
        clip = to_clip(Rgb(image), input_size(size_hw, facts), facts)
        assert clip.shape == expected.shape
        assert np.abs(clip - expected).max() <= 1e-5 * max(1.0, np.abs(expected).max())


@pytest.mark.parametrize("kind", KINDS)
def test_class_maps_are_those_of_transformers(kind: str, checkpoints) -> None:
    folder, image = checkpoints(kind), picture()
    outputs = outputs_of(folder, image, "semantic")
    (expected,) = processor_of(folder).post_process_semantic_segmentation(
        outputs, [image.shape[:2]]
    )
    prediction = ours(folder, image, "semantic")
    assert prediction.segments is None and prediction.ids.dtype == np.uint8
    assert np.sort(np.bincount(expected.ravel()))[-2] > 500  # else it would say little
    assert (prediction.ids == expected.numpy()).mean() >= 0.999


@pytest.mark.parametrize("kind", ("maskformer", "mask2former", "oneformer"))
def test_masks_are_those_of_transformers(kind: str, checkpoints) -> None:
    folder, image = checkpoints(kind), picture()
    outputs = outputs_of(folder, image, "panoptic")
    runner = TransformersRunner(folder, device=CPU, threads=1, task="panoptic")
    facts = runner.description.preprocess
    clip = to_clip(Rgb(image), input_size(image.shape[:2], facts), facts)
    found = runner.answer(clip[None])
    classes, masks = outputs.class_queries_logits[0], outputs.masks_queries_logits[0]
    if kind == "mask2former":
        masks = torch.nn.functional.interpolate(masks[None], (384, 384), mode="bilinear")[0]
    assert isinstance(found, Masks)
    scores, kinds = classes.softmax(-1).max(-1)
    sure = (kinds < 5) & (scores > 0.5)
    assert 0 < int(sure.sum()) < len(sure)
    assert np.array_equal(found.class_ids, kinds[sure].numpy())
    assert np.allclose(found.scores, scores[sure].numpy(), atol=1e-4)
    assert np.abs(found.inside[:, 0] - masks[sure].sigmoid().numpy()).max() < 2e-3


def test_labels_come_from_the_config(checkpoints) -> None:
    labels = read_checkpoint(checkpoints("segformer")).labels
    assert labels.classes == tuple(name.strip() for name in NAMES)
    assert labels.name == "tiny-segformer" and len(set(labels.colours)) == 5
    assert read_checkpoint(checkpoints("oneformer")).labels.things == THINGS
    unknown = read_checkpoint(checkpoints("mask2former"), task="panoptic").labels
    assert unknown.things == set(range(5))  # then no two masks are one segment


def test_known_label_sets_lend_their_colours(checkpoints, tmp_path: Path) -> None:
    street = load_labels("cityscapes")
    make_segformer(tmp_path / "a", street.classes)
    assert read_checkpoint(tmp_path / "a").labels == street
    ade = load_labels("ade20k")
    synonyms = tuple("windowpane" if name == "window" else f"{name}, x" for name in ade.classes)
    make_segformer(tmp_path / "b", synonyms)
    labels = read_checkpoint(tmp_path / "b").labels
    assert labels.classes == synonyms
    assert (labels.colours, labels.things, len(labels.things)) == (ade.colours, ade.things, 100)


def edited(folder: Path, tmp_path: Path, name: str = "", **changes: Any) -> Path:
    """A copy whose config.json (and processor, with `processor=`) holds something else."""
    copy = tmp_path / (name or "copy")
    shutil.copytree(folder, copy)
    for file, record in (
        ("preprocessor_config.json", changes.pop("processor", {})),
        ("config.json", changes),
    ):
        if record:
            facts = json.loads((copy / file).read_text())
            (copy / file).write_text(json.dumps({**facts, **record}))
    return copy


def test_the_name_or_the_network_gives_the_task(checkpoints, tmp_path: Path) -> None:
    plain = checkpoints("mask2former")

    def task(name: str, folder: Path = plain) -> str:
        return read_checkpoint(folder, name=name).task

    assert task("owner/swin-ade-panoptic") == task("owner/swin-coco-instance") == "panoptic"
    assert task("owner/swin-ade-semantic") == task("owner/swin") == "semantic"
    assert task("owner/any", checkpoints("oneformer")) == "panoptic"
    assert task("owner/x-semantic", checkpoints("oneformer")) == "semantic"
    coco = ("person", *(f"t{i}" for i in range(78)), "toothbrush", *(f"s{i}" for i in range(53)))
    large = edited(plain, tmp_path, id2label=dict(enumerate(coco)))
    description = read_checkpoint(large, name="owner/any")
    assert description.task == "panoptic" and description.labels.things == set(range(80))
    with pytest.raises(UsageError, match="semantic only"):
        read_checkpoint(checkpoints("segformer"), task="panoptic")
    with pytest.raises(UsageError, match="auto, semantic, instance, panoptic"):
        read_checkpoint(plain, task="depth")


def test_size_can_be_chosen(checkpoints) -> None:
    runner = TransformersRunner(checkpoints("segformer"), device=CPU, threads=1)
    assert Session(runner).input_size((720, 1280)) == (64, 96)
    assert Session(runner, size=128).input_size((720, 1280)) == (128, 228)
    assert Session(runner, size=(90, 100)).input_size((720, 1280)) == (90, 100)
    runner = TransformersRunner(checkpoints("mask2former"), device=CPU, threads=1)
    assert Session(runner, size=100).input_size((720, 1280)) == (128, 192)


def test_processors_that_do_not_resize_or_are_old(checkpoints, tmp_path: Path) -> None:
    plain = checkpoints("segformer")

    def facts(name: str, **processor: Any) -> Preprocess:
        return read_checkpoint(edited(plain, tmp_path, name, processor=processor)).preprocess

    assert input_size((721, 1001), facts("as-is", do_resize=False)) == (721, 1001)
    assert input_size((721, 1001), facts("old", size=80)) == (80, 80)
    with pytest.raises(ModelError, match="do_center_crop"):
        facts("crop", do_center_crop=True)
    with pytest.raises(ModelError, match=r"size .* not supported"):
        facts("odd", size={"max_height": 9, "max_width": 9})


def test_facts_stored_before_there_were_hub_models_are_read(tmp_path: Path) -> None:
    labels, facts = load_labels("camvid"), Preprocess(360)
    table = metadata_of(arch="a", config={}, labels=labels, preprocess=facts, training={})
    record = json.loads(table["vidparse"])
    for field in ("long_side", "size_hw", "divisor", "resample"):
        del record["preprocess"][field]
    old = describe(tmp_path, {"vidparse": json.dumps(record)}, "")
    assert old.preprocess == facts and old.task == "semantic"


def test_what_can_not_be_run_is_refused_in_one_line(checkpoints, tmp_path: Path) -> None:
    plain = checkpoints("segformer")

    def refused(folder: Path, pattern: str) -> None:
        with pytest.raises(ModelError, match=pattern) as caught:
            TransformersRunner(folder, device=CPU, threads=1)
        assert "\n" not in str(caught.value) and folder.name in str(caught.value)

    refused(
        edited(plain, tmp_path, "other", architectures=["SamModel"]),
        "SamModel is not supported; .*Segformer.*Mask2Former.*OneFormer",
    )
    (tmp_path / "none").mkdir()
    refused(tmp_path / "none", "config.json cannot be read")
    pickled = edited(plain, tmp_path, "pickled")
    (pickled / "model.safetensors").rename(pickled / "pytorch_model.bin")
    refused(pickled, "pytorch_model.bin is a pickle")
    cut = edited(plain, tmp_path, "cut")
    (cut / "model.safetensors").write_bytes((plain / "model.safetensors").read_bytes()[:2000])
    refused(cut, "cannot load it")
    refused(edited(plain, tmp_path, "deeper", depths=[2, 1]), "weights lack")
    refused(edited(plain, tmp_path, "damaged", id2label={"a": "b"}), "damaged description")
    mute = edited(checkpoints("oneformer"), tmp_path, "mute")
    (mute / "tokenizer.json").unlink()
    refused(mute, "no tokenizer.json")
    with pytest.raises(DeviceError, match="fp16: needs a GPU"):
        TransformersRunner(plain, device=CPU, precision="fp16")


def test_code_that_a_checkpoint_brings_is_not_run(checkpoints, tmp_path: Path) -> None:
    names = {"AutoModelForSemanticSegmentation": "mine.Mine", "AutoConfig": "mine.MineConfig"}
    folder = edited(checkpoints("segformer"), tmp_path, auto_map=names)
    (folder / "mine.py").write_text(f"open({str(tmp_path / 'ran')!r}, 'w')")
    ours(folder, picture())
    assert not (tmp_path / "ran").exists()


def test_without_transformers_the_error_names_what_to_install(checkpoints, monkeypatch) -> None:
    monkeypatch.setitem(__import__("sys").modules, "transformers", None)
    with pytest.raises(ModelError, match=r"pip install 'vidparse\[transformers\]'"):
        TransformersRunner(checkpoints("segformer"), device=CPU)


def test_weights_in_parts_have_one_checksum(checkpoints, tmp_path: Path) -> None:
    plain = checkpoints("segformer")
    folder = edited(plain, tmp_path)
    (folder / "model.safetensors").unlink()
    network = transformers.SegformerForSemanticSegmentation.from_pretrained(plain)
    network.save_pretrained(folder, max_shard_size="10KB")
    assert len(list(folder.glob("model-*.safetensors"))) > 1
    assert np.array_equal(ours(folder, picture()).ids, ours(plain, picture()).ids)
    first = read_checkpoint(folder).sha256
    assert len(first) == 64 and first != read_checkpoint(plain).sha256
    next(folder.glob("model-*.safetensors")).unlink()
    with pytest.raises(ModelError, match="part is missing"):
        read_checkpoint(folder)
    listing = folder / "model.safetensors.index.json"
    for outside in ("../model.safetensors", str(plain / "model.safetensors")):
        listing.write_text(json.dumps({"weight_map": {"a": outside}}))
        with pytest.raises(ModelError, match="leads out of the folder"):
            read_checkpoint(folder)


def test_half_precision_on_the_cpu(checkpoints) -> None:
    folder, image = checkpoints("segformer"), picture()
    runner = TransformersRunner(folder, device=CPU, precision="bf16", threads=1)
    assert runner.precision == "bf16"
    ((_, prediction),) = Session(runner).run([Frame(0, 0, Rgb(image))])
    assert (prediction.ids == ours(folder, image).ids).mean() > 0.9


def test_segment_runs_a_folder(checkpoints, cli, clip, tmp_path: Path) -> None:
    """As `-m hf:owner/repo` does, once its files are here."""
    video = clip("in.mp4", frames=4)
    for kind in ("segformer", "oneformer"):
        folder, out = checkpoints(kind), tmp_path / kind
        ended = cli(
            *("segment", video, "-m", folder, "--threads", 1, "--device", "cpu", "-o", f"{out}/"),
            *("--save", "jsonl,overlay,masks,mask-video,csv,vspw,vipseg", "--json"),
        )
        assert ended.code == 0, ended.err
        summary = json.loads(ended.out)
        assert summary["backend"] == "transformers" and summary["inputs"][0]["frames"] == 4
        assert summary["weights_sha256"] == read_checkpoint(folder).sha256
        (record,) = out.glob("*.jsonl")
        lines = [json.loads(line) for line in record.read_text().splitlines()]
        frames = [line["segments"] for line in lines if "segments" in line]
        segments = [segment for frame in frames for segment in frame]
        assert len(frames) == 4 and segments
        assert {segment["class"] for segment in segments} <= {name.strip() for name in NAMES}
        assert all(("score" in segment) == (kind == "oneformer") for segment in segments)


def test_an_onnx_form_is_made_once_and_answers_the_same(
    checkpoints, tmp_path: Path, monkeypatch
) -> None:
    monkeypatch.setenv("VIDPARSE_CACHE", str(tmp_path))
    folder, frame = checkpoints("segformer"), Frame(0, 0, Rgb(picture()))
    runner = load_model(str(folder), backend="onnx", device="cpu", threads=1)
    here = read_checkpoint(folder)
    assert runner.backend == "onnx"
    assert runner.description.labels == here.labels
    assert runner.description.preprocess == here.preprocess
    ((_, prediction),) = Session(runner).run([frame])
    assert (prediction.ids == ours(folder, frame.image.rgb()).ids).mean() >= 0.9999
    (path,) = (tmp_path / "onnx").iterdir()
    made = path.stat().st_mtime_ns
    load_model(str(folder), backend="onnx", device="cpu", threads=1)
    assert path.stat().st_mtime_ns == made


def test_other_backends_and_tasks_are_refused(
    checkpoints, cli, clip, tiny_weights, tmp_path: Path, monkeypatch
) -> None:
    monkeypatch.setenv("VIDPARSE_CACHE", str(tmp_path / "cache"))
    video = clip("in.mp4", frames=1)
    ended = cli("segment", video, "-m", checkpoints("mask2former"), "--backend", "onnx")
    assert ended.code == 2 and "ONNX is for SegformerForSemanticSegmentation" in ended.lines[-1]
    with pytest.raises(UsageError, match="is semantic"):
        load_model(str(tiny_weights), task="panoptic")
