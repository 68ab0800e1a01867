"""A damaged cache of the hub: its models are not there, and nothing outside it is read."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from vidparse.errors import ModelError
from vidparse.hub import cached_models
from vidparse.hub.address import parse_address
from vidparse.hub.cached import snapshot
from vidparse.models.checkpoint import read_description

COMMIT = "a" * 40
ADDRESS = parse_address("hf:me/street")


@pytest.fixture
def repository(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, tiny_weights: Path) -> Path:
    """A cached model, in a cache of its own that nothing may be added to."""
    monkeypatch.setenv("HF_HOME", str(tmp_path))
    monkeypatch.delenv("HF_HUB_CACHE", raising=False)
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    folder = tmp_path / "hub" / "models--me--street"
    files = folder / "snapshots" / COMMIT
    files.mkdir(parents=True)
    (folder / "refs").mkdir()
    (folder / "refs" / "main").write_text(COMMIT)
    shutil.copy(tiny_weights, files / "model.safetensors")
    return folder


def test_a_whole_one(repository: Path) -> None:
    assert snapshot(ADDRESS) == repository / "snapshots" / COMMIT
    assert [str(model.address) for model in cached_models()] == ["hf:me/street"]


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"\xff\xfe\x00a",
        "ä".encode("utf-16"),
        b"../../../..",
        b"/",
        b"a/b",
        b".",
        COMMIT[1:].encode(),
    ],
    ids=repr,
)
def test_a_reference_that_names_no_commit(repository: Path, cli, content: bytes) -> None:
    (repository / "refs" / "main").write_bytes(content)
    assert snapshot(ADDRESS) is None
    assert cli("models").code == 0
    shown = cli("models", "show", "hf:me/street")
    assert (shown.code, len(shown.lines)) == (4, 1)


def weights(repository: Path) -> Path:
    return repository / "snapshots" / COMMIT / "model.safetensors"


def cut(repository: Path) -> None:
    weights(repository).write_bytes(weights(repository).read_bytes()[:100])


def dangling(repository: Path) -> None:
    weights(repository).unlink()
    weights(repository).symlink_to("../../blobs/nothing")


def loop(repository: Path) -> None:
    weights(repository).unlink()
    weights(repository).symlink_to("model.safetensors")


def folder_for_file(repository: Path) -> None:
    weights(repository).unlink()
    weights(repository).mkdir()


def file_for_folder(repository: Path) -> None:
    shutil.rmtree(repository / "snapshots" / COMMIT)
    (repository / "snapshots" / COMMIT).write_bytes(b"x")


def no_references(repository: Path) -> None:
    shutil.rmtree(repository / "refs")
    (repository / "refs").write_bytes(b"x")


@pytest.mark.parametrize(
    "damage", [cut, dangling, loop, folder_for_file, file_for_folder, no_references]
)
def test_damaged_files(repository: Path, cli, damage: Callable[[Path], None]) -> None:
    damage(repository)
    assert cli("models").code == 0
    shown = cli("models", "show", "hf:me/street")
    assert (shown.code, len(shown.lines)) == (4, 1)


def test_weights_that_may_not_be_read(tiny_weights: Path, monkeypatch) -> None:
    def refuse(*_: object, **__: object) -> None:
        raise FileNotFoundError("No such file or directory")  # as safetensors raises it

    monkeypatch.setattr("safetensors.safe_open", refuse)
    with pytest.raises(ModelError, match="may not be read; check its permissions"):
        read_description(tiny_weights)
