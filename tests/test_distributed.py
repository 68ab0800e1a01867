"""Two processes by torchrun learn what one does, and one that dies takes the other along."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
import torch
from made_camvid import make_camvid
from safetensors.torch import load_file

from vidparse.training.logbook import read_log

# Nothing here depends on which process a sample is in: norms frozen, no dropout, no void.
SETTINGS = (
    "epochs=2",
    "steps_per_epoch=3",
    "batch_size=4",
    "precision=fp32",
    "crop_hw=[48,64]",
    "scale_range=[1.0,1.0]",
    "auxiliary_weight=0.0",
    "class_weight_offset=0.0",
    "lovasz_weight=0.0",
    "norm=frozen",
    "workers=0",
    "warmup_steps=1",
    "short_side=60",
    "validate_every=2",
    "config.head=upernet",
    "config.width=16",
    "config.skip_channels=0",
    "config.auxiliary=false",
)

PATIENCE_S = 1800  # a bound for what hangs; a loaded machine may take minutes to import torch


def command(camvid: Path, out: Path, *more: str) -> list[str]:
    sets = [part for one in (*SETTINGS, *more) for part in ("--set", one)]
    return [
        *("-m", "vidparse", "train", "--recipe", "street-mnv2", "--data", str(camvid)),
        *("--threads", "1", "--device", "cpu", "-o", str(out), *sets),
    ]


def torchrun(*arguments: str) -> subprocess.Popen[str]:
    start = ("-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2")
    return subprocess.Popen(
        [sys.executable, *start, *arguments],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
    )


@pytest.fixture(scope="module")
def camvid(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_camvid(tmp_path_factory.mktemp("camvid"))


@pytest.fixture(scope="module")
def alone(camvid: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The run of a single process."""
    out = tmp_path_factory.mktemp("alone")
    subprocess.run([sys.executable, *command(camvid, out)], check=True, capture_output=True)
    return out


def curve(folder: Path) -> np.ndarray:
    return read_log(folder / "log.jsonl")[0].losses["total"]


@pytest.mark.parametrize("shard", ["false", "true"])
def test_two_processes_have_the_loss_curve_of_one(
    shard: str, camvid: Path, alone: Path, tmp_path: Path
) -> None:
    run = torchrun(*command(camvid, tmp_path, f"shard={shard}"))
    _, said = run.communicate(timeout=PATIENCE_S)
    assert run.returncode == 0, said
    assert said.count("best validation miou") == 1  # the first process alone speaks
    assert len(curve(alone)) > 0 and curve(tmp_path) == pytest.approx(curve(alone), rel=1e-4)
    names = [sorted(path.name for path in folder.iterdir()) for folder in (tmp_path, alone)]
    assert names[0] == names[1]


def test_a_sharded_run_goes_on_where_it_was_stopped(camvid: Path, tmp_path: Path) -> None:
    whole, broken = tmp_path / "whole", tmp_path / "broken"
    for out, more in ((whole, ()), (broken, ()), (broken, ("--resume",))):
        arguments = command(camvid, out, "shard=true", "validate_every=1")
        if more:
            arguments += ["--resume", str(out / "half.safetensors")]
        run = torchrun(*arguments)
        if out == broken and not more:  # what the first epoch left is kept under another name
            keep_first(out / "last.safetensors", out / "half.safetensors", run)
        _, said = run.communicate(timeout=PATIENCE_S)
        assert run.returncode == 0, said
    expected, got = (load_file(folder / "last.safetensors") for folder in (whole, broken))
    for name, tensor in expected.items():
        assert torch.allclose(got[name], tensor, rtol=1e-5, atol=1e-6), name


def keep_first(written: Path, kept: Path, run: subprocess.Popen[str]) -> None:
    deadline = time.monotonic() + PATIENCE_S
    while not written.exists():
        assert time.monotonic() < deadline and run.poll() is None
        time.sleep(0.01)
    kept.write_bytes(written.read_bytes())


def test_a_killed_process_ends_the_others_with_a_message(camvid: Path, tmp_path: Path) -> None:
    run = torchrun(*command(camvid, tmp_path, "epochs=4000", "validate_every=4000"))
    deadline = time.monotonic() + PATIENCE_S
    while not (tmp_path / "last.safetensors").exists():
        assert time.monotonic() < deadline and run.poll() is None
        time.sleep(0.2)
    children = Path(f"/proc/{run.pid}/task/{run.pid}/children").read_text().split()
    os.kill(int(children[1]), signal.SIGKILL)
    _, said = run.communicate(timeout=PATIENCE_S)
    assert run.returncode != 0
    assert "lost another one" in said or "stopped at step" in said
    assert (tmp_path / "last.safetensors").exists()


def test_a_batch_that_can_not_be_shared_out_is_refused(camvid: Path, tmp_path: Path) -> None:
    run = torchrun(*command(camvid, tmp_path, "batch_size=3"))
    _, said = run.communicate(timeout=PATIENCE_S)
    assert run.returncode != 0
    assert "batch_size 3: cannot be shared out evenly over 2 processes" in said
