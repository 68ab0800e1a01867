"""Sessions that are opened while a start loads all else: the same answers and the same errors."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from vidparse.errors import ModelError
from vidparse.hub import DEFAULT_MODEL, found_here, resolve
from vidparse.inference import load_chosen
from vidparse.inference.devices import Device, cpu_count
from vidparse.inference.load import open_ahead
from vidparse.inference.runners import ort_session
from vidparse.requests.model import ModelChoice

CPU = Device("cpu")


@pytest.fixture(autouse=True)
def nothing_begun(monkeypatch: pytest.MonkeyPatch) -> dict:
    begun: dict = {}
    monkeypatch.setattr(ort_session, "_begun", begun)
    return begun


@pytest.fixture
def opened(monkeypatch: pytest.MonkeyPatch) -> list[Path]:
    """Files of which a session was opened, in order."""
    paths, open_now = [], ort_session._opened

    def count(path: Path, device: Device, threads: int) -> object:
        paths.append(path)
        return open_now(path, device, threads)

    monkeypatch.setattr(ort_session, "_opened", count)
    return paths


def test_a_runner_takes_the_session_that_was_begun_and_answers_as_ever(opened) -> None:
    choice = ModelChoice(device="cpu", threads=1)
    clip = np.random.default_rng(0).random((1, 1, 3, 64, 96), np.float32)
    usual = load_chosen(choice).answer(clip)
    open_ahead(choice)
    early = load_chosen(choice).answer(clip)
    assert np.array_equal(usual.values, early.values)
    assert len(opened) == 2
    load_chosen(choice)
    assert len(opened) == 3, "a session is for one runner"


def test_another_number_of_threads_is_another_session(opened, nothing_begun) -> None:
    open_ahead(ModelChoice(device="cpu", threads=1))
    load_chosen(ModelChoice(device="cpu", threads=2))
    assert len(nothing_begun) == 1
    ((_, _, threads),) = nothing_begun
    assert (len(opened), threads) == (2, 1)


def test_no_number_of_threads_is_one_for_each_cpu(nothing_begun) -> None:
    open_ahead(ModelChoice(device="cpu"))
    ((path, device, threads),) = nothing_begun
    assert (path, device, threads) == (str(resolve(DEFAULT_MODEL).onnx), CPU, cpu_count())


def test_a_damaged_file_is_reported_as_without(tmp_path: Path) -> None:
    path = tmp_path / "x.onnx"
    path.write_bytes(b"no network")
    choice = ModelChoice(str(path), device="cpu")
    with pytest.raises(ModelError) as usual:
        load_chosen(choice)
    open_ahead(choice)
    with pytest.raises(ModelError) as early:
        load_chosen(choice)
    assert str(early.value) == str(usual.value)


@pytest.mark.parametrize(
    "choice",
    [
        ModelChoice("no-such-model"),
        ModelChoice("missing.onnx"),
        ModelChoice("hf:owner/repo"),
        ModelChoice(threads=-1),
        ModelChoice(device="cuda:x"),
        ModelChoice(backend="torch"),
        ModelChoice(precision="fp16"),
        ModelChoice("weights.safetensors"),
    ],
)
def test_what_is_wrong_or_elsewhere_is_left_to_its_turn(choice, nothing_begun) -> None:
    open_ahead(choice)
    assert not nothing_begun


def test_files_are_found_here_or_not_at_all() -> None:
    assert found_here(DEFAULT_MODEL) == resolve(DEFAULT_MODEL)
    assert found_here("hf:owner/repo") is None
    with pytest.raises(ModelError):
        found_here("no-such-model")
