"""Two processes by torchrun learn what one does, and one that dies takes the other along."""

from __future__ import annotations

import gc
import os
import signal
import subprocess
import sys
import time
import weakref
from contextlib import nullcontext
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file
from torch import distributed

from support import parting
from support.forked_runs import ForkedRun
from support.made_camvid import make_camvid
from vidparse.errors import UsageError
from vidparse.training.logbook import read_log
from vidparse.training.processes import Processes, check_parts, join_processes
from vidparse.training.recipe_file import load_recipe

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
    "metrics=['miou']",
    "config.head=upernet",
    "config.width=16",
    "config.skip_channels=0",
    "config.auxiliary=false",
)

PATIENCE_S = 1800  # a bound for what hangs; a loaded machine may take minutes to import torch


def command(camvid: Path, out: Path, *more: str) -> list[str]:
    sets = [part for one in (*SETTINGS, *more) for part in ("--set", one)]
    return [
        *("train", "--recipe", "street-mnv2", "--data", str(camvid)),
        *("--threads", "1", "--device", "cpu", "-o", str(out), *sets),
    ]


def torchrun(*arguments: str) -> subprocess.Popen[str]:
    start = ("-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2")
    return subprocess.Popen(
        [sys.executable, *start, *arguments],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env={
            **os.environ,
            "OMP_NUM_THREADS": "1",
            "PYTHONFAULTHANDLER": "1",
        },  # a crash shows where
    )


@pytest.fixture(scope="module")
def camvid(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_camvid(tmp_path_factory.mktemp("camvid"))


@pytest.fixture(scope="module")
def alone(camvid: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The run of a single process."""
    out = tmp_path_factory.mktemp("alone")
    run = ForkedRun(command(camvid, out), 1, tmp_path_factory.mktemp("printed") / "alone")
    _, err = run.communicate(PATIENCE_S)
    assert run.returncode == 0, err
    return out


def curve(folder: Path) -> np.ndarray:
    return read_log(folder / "log.jsonl")[0].losses["total"]


@pytest.mark.parametrize("shard", [False, True])
def test_two_processes_have_the_loss_curve_of_one(
    shard: bool, camvid: Path, alone: Path, tmp_path: Path
) -> None:
    """And they leave no wrapped network behind: it would wait for the group that is gone."""
    out = tmp_path / "run"
    words = command(camvid, out, f"shard={str(shard).lower()}")
    run = ForkedRun(words, 2, tmp_path / "printed") if shard else torchrun(parting.__file__, *words)
    printed, err = run.communicate(timeout=PATIENCE_S)
    assert run.returncode == 0, err
    assert err.count("best validation miou") == 1  # the first process alone speaks
    assert len(curve(alone)) > 0 and curve(out) == pytest.approx(curve(alone), rel=1e-4)
    names = [sorted(path.name for path in folder.iterdir()) for folder in (out, alone)]
    assert names[0] == names[1]
    assert printed.count("wrapped networks left: 0") == 2, printed


def test_a_sharded_run_goes_on_where_it_was_stopped(camvid: Path, tmp_path: Path) -> None:
    """What the first epoch left goes on, and ends as the run that it was taken from."""
    words = command(camvid, tmp_path / "run", "shard=true", "validate_every=1")
    last, half = tmp_path / "run" / "last.safetensors", tmp_path / "run" / "half.safetensors"
    run = ForkedRun(words, 2, tmp_path / "whole")
    keep_first(last, half, run)
    _, err = run.communicate(timeout=PATIENCE_S)
    assert run.returncode == 0, err
    whole = load_file(last)
    last.unlink()

    run = ForkedRun([*words, "--resume", str(half)], 2, tmp_path / "resumed")
    _, err = run.communicate(timeout=PATIENCE_S)
    assert run.returncode == 0, err
    resumed = load_file(last)
    assert whole.keys() == resumed.keys()
    for name, tensor in whole.items():
        assert torch.allclose(resumed[name], tensor, rtol=1e-5, atol=1e-6), name


def keep_first(written: Path, kept: Path, run: ForkedRun) -> None:
    deadline = time.monotonic() + PATIENCE_S
    while not written.exists():
        assert time.monotonic() < deadline and run.poll() is None
        time.sleep(0.01)
    kept.write_bytes(written.read_bytes())


def test_a_killed_process_ends_the_others_with_a_message(camvid: Path, tmp_path: Path) -> None:
    words = command(camvid, tmp_path, "epochs=4000", "validate_every=4000")
    run = torchrun("-m", "vidparse", *words)
    deadline = time.monotonic() + PATIENCE_S
    while not (tmp_path / "last.safetensors").exists():
        assert time.monotonic() < deadline and run.poll() is None
        time.sleep(0.2)
    children = Path(f"/proc/{run.pid}/task/{run.pid}/children").read_text().split()
    os.kill(int(children[1]), signal.SIGKILL)
    _, err = run.communicate(timeout=PATIENCE_S)
    assert run.returncode != 0
    assert "lost another one" in err or "stopped at step" in err
    assert (tmp_path / "last.safetensors").exists()


def test_a_batch_that_can_not_be_shared_out_is_refused() -> None:
    settings = {"batch_size": "6", "accumulate": "2", "precision": "fp32", "norm": "frozen"}
    recipe = load_recipe("street-mnv2", settings)
    check_parts(recipe, Processes(count=3))
    with pytest.raises(UsageError, match="batch_size 6: cannot be shared out evenly over 2 proc"):
        check_parts(recipe, Processes(count=2))


def test_a_failing_run_leaves_no_wrapped_network(camvid: Path, tmp_path: Path) -> None:
    """One that is left waits for the group that is gone, now and then for ever."""
    words = command(camvid, tmp_path / "run", "lr_head=1e30")
    run = ForkedRun(words, 2, tmp_path / "printed")
    printed, err = run.communicate(timeout=PATIENCE_S)
    assert run.returncode == 1, err
    assert "the loss became" in err
    assert printed.count("wrapped networks left: 0") == 2, printed


@pytest.mark.parametrize("fails", [False, True])
def test_cycles_and_frames_are_let_go_before_the_group(
    fails: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in {"WORLD_SIZE": "2", "RANK": "0", "LOCAL_RANK": "0"}.items():
        monkeypatch.setenv(name, value)
    watched: list[weakref.ref[torch.nn.Module]] = []
    alive: list[bool] = []
    monkeypatch.setattr(distributed, "init_process_group", lambda *_, **__: None)
    monkeypatch.setattr(
        distributed, "destroy_process_group", lambda: alive.append(watched[0]() is not None)
    )

    def run() -> None:
        module = torch.nn.Linear(1, 1)
        module.__dict__["myself"] = module
        watched.append(weakref.ref(module))
        if fails:
            raise RuntimeError("of its own")

    gc.disable()
    try:
        with (
            pytest.raises(RuntimeError, match="of its own") if fails else nullcontext(),
            join_processes(torch.device("cpu")),
        ):
            run()
    finally:
        gc.enable()
    assert alive == [False]
