"""`export --profile`: what a model records of the pictures that it learnt from."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from vidparse.export.weights import export_metadata
from vidparse.models.checkpoint import read_description, save_checkpoint
from vidparse.models.description import describe
from vidparse.models.profile import Profile, Spread


@pytest.fixture
def even_weights(tiny_weights: Path, tmp_path: Path) -> Path:
    """A network that gives each of its 11 classes the same score, whatever it sees."""
    from safetensors import safe_open

    tensors = load_file(tiny_weights)
    for name in tensors:
        if name.startswith("head.classifier."):
            tensors[name] = torch.zeros_like(tensors[name])
    with safe_open(tiny_weights, framework="np") as file:
        save_checkpoint(tmp_path / "even.safetensors", tensors, file.metadata())
    return tmp_path / "even.safetensors"


def test_a_profile_is_measured_and_travels(cli, clip, even_weights, tmp_path: Path) -> None:
    sources = [clip("a.mp4", frames=6), clip("b.mp4", frames=3)]
    words = [word for one in sources for word in ("--profile", one)]
    ended = cli("export", even_weights, "-o", tmp_path / "half.safetensors", *words)
    assert ended.code == 0, ended.err
    assert "of 9 pictures: mean confidence 0.091 (deviation 0.000), mean entropy 1.000" in ended.err

    found = read_description(tmp_path / "half.safetensors")
    assert found.profile == Profile(9, Spread(0.0909, 0.0), Spread(1.0, 0.0))  # 1 / 11

    # Exports of every form have this string table, and so the profile.
    again = describe(tmp_path / "graph.onnx", export_metadata(found, source_sha256="0"), "")
    assert again.profile == found.profile


def test_no_profile_unless_one_is_wanted(cli, tiny_weights, tmp_path: Path) -> None:
    assert cli("export", tiny_weights, "-o", tmp_path / "a.safetensors").code == 0
    assert read_description(tmp_path / "a.safetensors").profile is None


def test_sources_that_cannot_be_read_leave_nothing(cli, tiny_weights, tmp_path: Path) -> None:
    out = tmp_path / "a.safetensors"
    ended = cli("export", tiny_weights, "-o", out, "--profile", tmp_path / "nowhere")
    assert ended.code == 3 and "nowhere" in ended.err and not out.exists()


def test_a_panoptic_model_is_refused(cli, clip, tmp_path: Path) -> None:
    out = tmp_path / "a.safetensors"
    ended = cli("export", "street-panoptic", "-o", out, "--profile", clip("a.mp4", frames=6))
    assert ended.code == 2 and "--profile: " in ended.err and "panoptic" in ended.err
