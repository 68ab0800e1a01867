"""`eval --support official`: TCB as its published test code runs it, frame by frame."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
import torch
from PIL import Image as Pillow

from support.commands import Finished
from vidparse.data import Dataset, open_dataset
from vidparse.evaluation.entries import ModelEntry, PublishedTcbEntry
from vidparse.image import Rgb
from vidparse.inference import load_model
from vidparse.inference.preprocess import to_clip
from vidparse.inference.upsample import upsample_argmax
from vidparse.labels import Labels, labels_to_json
from vidparse.models.checkpoint import read_description, save_checkpoint
from vidparse.models.description import Preprocess, metadata_of
from vidparse.models.zoo import build, config_of

FRAMES, SIZE_HW, INPUT_HW = 12, (40, 56), (48, 67)
LABELS = Labels("made", tuple("abcde"), ((9, 9, 9),) * 5, frozenset())
SMALL = {"classes": 5, "backbone": "mobilenetv2", "output_stride": 16, "width": 16}
NETWORKS: dict[str, tuple[str, dict[str, Any]]] = {
    "ppm": ("tcb-ppm", SMALL),
    "ocr": ("tcb-ocr", {**SMALL, "key_width": 8, "memory": "none"}),
    "memory": ("tcb-ocr", {**SMALL, "key_width": 8, "memory": "fifo"}),
}


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """One video of 12 frames whose blocks of colour change from frame to frame."""
    root = tmp_path_factory.mktemp("published")
    rng = np.random.default_rng(0)
    (root / "labels.json").write_text(json.dumps(labels_to_json(LABELS)))
    for kind in ("images", "masks"):
        (root / kind / "v").mkdir(parents=True)
    for t in range(FRAMES):
        picture = np.kron(rng.integers(0, 255, (5, 7, 3)), np.ones((8, 8, 1))).astype(np.uint8)
        cv2.imwrite(str(root / "images" / "v" / f"{t:04d}.png"), picture)
        mask = rng.integers(0, 5, SIZE_HW).astype(np.uint8)
        Pillow.fromarray(mask).save(root / "masks" / "v" / f"{t:04d}.png")
    return root


@pytest.fixture(scope="module")
def dataset(root: Path) -> Dataset:
    return open_dataset("folder", root, "val")


def save(path: Path, arch: str, config: dict[str, Any], dataset: Dataset) -> Path:
    """Random weights, normalised by what they see of the video."""
    torch.manual_seed(3)
    network: Any = build(arch, {**config, "auxiliary": False})
    for module in network.modules():
        if isinstance(module, torch.nn.BatchNorm2d):
            module.momentum = None
    with torch.no_grad():
        network.train().forward_clip(torch.stack([clips(dataset)[:4], clips(dataset)[4:8]]))
    metadata = metadata_of(
        arch=arch, config=config_of(network), labels=LABELS, preprocess=Preprocess(48),
        training={},
    )  # fmt: skip
    save_checkpoint(path, network.state_dict(), metadata)
    return path


def clips(dataset: Dataset) -> torch.Tensor:
    """Network inputs of the video (T, 3, h, w)."""
    images = [Rgb(dataset.load_image(frame)) for frame in dataset.videos[0].frames]
    return torch.from_numpy(
        np.concatenate([to_clip(one, INPUT_HW, Preprocess(48)) for one in images])
    )


@pytest.fixture(scope="module", params=NETWORKS)
def weights(request: pytest.FixtureRequest, root: Path, dataset: Dataset) -> Path:
    return save(root / f"{request.param}.safetensors", *NETWORKS[request.param], dataset)


@pytest.fixture(scope="module")
def with_memory(root: Path, dataset: Dataset) -> Path:
    return save(root / "with_memory.safetensors", *NETWORKS["memory"], dataset)


def entry_of(weights: Path, dataset: Dataset) -> PublishedTcbEntry:
    runner: Any = load_model(str(weights), backend="torch", device="cpu", threads=1)
    return PublishedTcbEntry("tcb", runner, dataset)


def answers(entry: Any, dataset: Dataset, requested: range = range(FRAMES)) -> list[np.ndarray]:
    (video,) = dataset.videos
    frames = ((video.frames[t], dataset.load_image(video.frames[t])) for t in requested)
    return [prediction.ids for prediction in entry.answers(video, frames)]


@torch.inference_mode()
def published(weights: Path, dataset: Dataset) -> list[np.ndarray]:
    """Word for word: future supports or past ones, and the list that is lost after frame 0."""
    from vidparse.models.checkpoint import load_network

    network: Any = load_network(read_description(weights))
    frames = clips(dataset)
    kept: list[torch.Tensor] = []
    predicted = []
    for t in range(FRAMES):
        supports = [t + 3, t + 6, t + 9] if t + 9 < FRAMES else [t - 3, t - 6, t - 9]
        clip = [frames[max(i, 0)][None] for i in (*supports, t)]
        if getattr(network.config, "memory", "none") == "none":
            logits = network.forward_clip(torch.cat(clip)[None]).logits
        else:
            head, pyramids = network.head, [network.backbone(one) for one in clip]
            pixels = [head.pixels(pyramid[3]) for pyramid in pyramids]
            contexts = [
                head.gather(pixel, head.regions(pyramid[2]))
                for pixel, pyramid in zip(pixels, pyramids, strict=True)
            ]
            listed = kept + contexts
            kept = kept or contexts
            context = torch.stack(listed).mean(dim=0)
            logits = head.classify(pixels[-1], head.attend(pixels[-1], context))
        predicted.append(upsample_argmax(logits[0].contiguous().numpy(), SIZE_HW, dtype=np.uint8))
    return predicted


def agreement(one: list[np.ndarray], other: list[np.ndarray]) -> float:
    return float((np.stack(one) == np.stack(other)).mean())


def test_equals_the_published_code(weights: Path, dataset: Dataset) -> None:
    expected = published(weights, dataset)
    entry = entry_of(weights, dataset)
    assert agreement(answers(entry, dataset), expected) > 0.999
    assert agreement(answers(entry, dataset), expected) > 0.999, "a video begins anew"
    assert len(np.unique(expected)) > 1
    runner = load_model(str(weights), backend="torch", device="cpu", threads=1)
    assert agreement(answers(ModelEntry("past", runner), dataset), expected) < 0.995


def test_frames_that_are_not_requested_change_nothing(weights: Path, dataset: Dataset) -> None:
    entry = entry_of(weights, dataset)
    some = range(2, FRAMES, 3)
    every = answers(entry, dataset)
    for one, t in zip(answers(entry, dataset, some), some, strict=True):
        assert np.array_equal(one, every[t])


def test_few_frames_are_kept(with_memory: Path) -> None:
    long = open_dataset("sample://street?size=96x64&frames=40", None, "val")
    entry = entry_of(with_memory, long)
    video = long.videos[0]
    frames = ((frame, long.load_image(frame)) for frame in video.frames)
    kept = [len(entry.official.inputs) for _ in entry.answers(video, frames) if entry.official]
    assert len(kept) == 40 and max(kept) == 2 * 9 + 1


@pytest.fixture
def evaluated(
    cli: Callable[..., Finished], root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Callable[..., Finished]:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    return lambda *more: cli(
        *("eval", "--dataset", "folder", "--data", root, "--device", "cpu"), *more
    )


def test_command(with_memory: Path, tmp_path: Path, evaluated: Callable[..., Finished]) -> None:
    scores = {}
    for support in ((), ("--support", "past"), ("--support", "official")):
        out = tmp_path / f"out{len(scores)}"
        ended = evaluated("-m", with_memory, *support, "--save", "vspw", "-o", out, "--json")
        assert ended.code == 0, ended.err
        (entry,) = json.loads(ended.out)["entries"]
        assert entry["detail"].endswith(", official supports") == ("official" in support)
        scores[support] = entry["scores"]
        assert len(list(out.rglob("*.png"))) == FRAMES
    assert scores[()] == scores["--support", "past"] != scores["--support", "official"]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("--support", "future"), "support 'future': unknown; use past or official"),
        (("--support", "official"), "street-student is perframe, not TCB; choose a TCB"),
        (("--support", "official", "-m", "x.onnx"), "x.onnx has no .safetensors weights"),
        (("--support", "official", "--backend", "onnx"), "runs in PyTorch; leave out --backend"),
        (("--support", "official", "--stabilize"), "has no --stabilize; drop one"),
    ],
)
def test_errors_are_one_line(
    tmp_path: Path,
    evaluated: Callable[..., Finished],
    monkeypatch: pytest.MonkeyPatch,
    arguments: tuple[str, ...],
    message: str,
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "x.onnx").write_bytes(b"")
    model = () if "-m" in arguments else ("-m", "street-student")
    ended = evaluated(*model, *arguments)
    assert (ended.code, len(ended.lines)) == (2, 1), ended.err
    assert message in ended.err
