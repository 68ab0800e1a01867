"""`vidparse bench --zoo`: what it counts is right, what it times is there."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from support.commands import Finished
from vidparse.bench.zoo import CANDIDATES, bench_zoo
from vidparse.errors import UsageError
from vidparse.models.zoo import MODELS

SIZE_HW = (64, 96)


def test_row_of_a_network_with_a_memory() -> None:
    (row,) = bench_zoo(
        ["tcb-ppm-mobilenetv2"],
        size_hw=SIZE_HW,
        classes=11,
        repeats=1,
        threads=1,
        backends=["torch"],
    )  # fmt: skip
    assert row.twin == "mobilenetv2-psp"
    assert row.state_bytes == 4 * (9 * 320 * 50 + 1)
    assert 3e6 < row.parameters < 4e6
    assert set(row.times_ms) == {"torch fp32", "torch bf16"} and min(row.times_ms.values()) > 0
    assert min(row.ratio, row.published_ratio) > 0, "times of a busy machine have no order"


def test_multiplications_do_not_depend_on_memory() -> None:
    twin, network = bench_zoo(
        ["mobilenetv2-ocr", "tcb-ocr-mobilenetv2"],
        size_hw=SIZE_HW, classes=11, repeats=1, threads=1, backends=["torch"],
    )  # fmt: skip
    assert network.multiplications == pytest.approx(twin.multiplications, rel=0.01)


def test_every_candidate_is_a_network_of_the_zoo() -> None:
    for candidate in CANDIDATES.values():
        assert candidate.arch in MODELS
        assert candidate.twin is None or candidate.twin in CANDIDATES


def test_a_panoptic_network_has_things_and_is_timed_by_frame() -> None:
    (row,) = bench_zoo(
        ["clip-panofcn-mobilenetv2"],
        size_hw=SIZE_HW, classes=11, repeats=1, threads=1, backends=["torch"],
    )  # fmt: skip
    assert 2.5e6 < row.parameters < 2.8e6 and row.state_bytes == 0
    assert 15_000 < row.multiplications / (64 * 96) < 40_000, "of one frame, not of the clip"
    assert min(row.times_ms.values()) > 0


def test_unknown_networks_are_refused() -> None:
    with pytest.raises(UsageError, match="zoo 'resnet': unknown"):
        bench_zoo(["resnet"])


def test_an_output_that_is_none_is_one_line(cli: Callable[..., Finished]) -> None:
    ended = cli("bench", "sample://street?frames=2", "--save", "overly", "--repeats", "1")
    assert (ended.code, len(ended.lines)) == (2, 1), ended.err
    assert "--save overly: no such output; did you mean overlay" in ended.err


def test_command(cli: Callable[..., Finished]) -> None:
    ended = cli(
        "bench", "--zoo", "mobilenetv2-psp", "--size", "96x64", "--repeats", "1", "--json",
        "--threads", "1", "--backends", "torch",
    )  # fmt: skip
    assert ended.code == 0, ended.err
    (row,) = json.loads(ended.out)
    assert row["name"] == "mobilenetv2-psp" and row["ratio"] is None
    assert cli("bench").code == 2
    assert "needs both sides" in cli("bench", "--zoo", "all", "--size", "480").err


def test_a_clip_is_measured_whole_or_as_far_as_is_enough(
    cli: Callable[..., Finished], clip: Callable[..., Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    path = clip("a.mp4", frames=40)
    ended = cli("bench", path, "--repeats", "1", "--size", "64", "--json")
    assert ended.code == 0, ended.err
    whole = json.loads(ended.out)
    assert whole["frames"] == 40 and whole["network_ms"] > 0
    monkeypatch.setattr("vidparse.bench._ENOUGH_S", 0.0)
    part = json.loads(cli("bench", path, "--repeats", "1", "--size", "64", "--json").out)
    assert part["frames"] == 30
    longer = cli("bench", path, "--repeats", "1", "--size", "64", "--json", "--end", "1.4")
    assert json.loads(longer.out)["frames"] == 35


@pytest.mark.slow
def test_every_form_is_timed() -> None:
    (row,) = bench_zoo(["tcb-ocr-mobilenetv2"], size_hw=SIZE_HW, classes=11, repeats=1, threads=1)
    assert {"torch fp32", "torch bf16", "onnx fp32", "onnx int8"} <= set(row.times_ms)
