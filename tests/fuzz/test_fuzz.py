"""The fuzzing driver sees every kind of fault, and a share of its cases finds none."""

from __future__ import annotations

import json
import os
import random
import subprocess
import sys
from pathlib import Path

import pytest
from fuzz import mutations

DRIVER = Path(__file__).parent / "drive.py"


def driven(*words: object, limit_s: int = 30) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, str(DRIVER), *map(str, words)],
        capture_output=True,
        text=True,
        timeout=300,
        env=os.environ | {"FUZZ_LIMIT_S": str(limit_s)},
    )


def test_every_kind_of_fault_is_seen(tmp_path: Path) -> None:
    faults = {
        "planted-error": "KeyError at ?",
        "planted-death": "died of SIGSEGV",
        "planted-exit": "exit code 3",
        "planted-hang": "no answer within 3 s",
        "planted-memory": "MemoryError at ?",
    }
    words = [word for name in faults for word in ("--target", name)]
    kept = ("--json", tmp_path / "x", "--keep", tmp_path / "k")
    done = driven("--cases", len(faults), *words, *kept, "--processes", 2, limit_s=3)
    assert done.returncode == 1, done.stderr
    found = {one["name"]: one["finds"] for one in json.loads((tmp_path / "x").read_text())}
    assert found == {name: {what: 1} for name, what in faults.items()}
    assert "5 finds" in done.stdout
    assert "planted-hang-0.txt" in {path.name for path in (tmp_path / "k").iterdir()}
    assert "targets.py" in (tmp_path / "k" / "planted-hang-0.txt").read_text()


def test_a_share_of_the_cases_finds_nothing(tmp_path: Path) -> None:
    """The whole is `drive.py --cases 100000`; two minutes of it are a job of the workflow."""
    words = ["--target", "mkv", "--target", "panoptic-json"]
    done = driven("--cases", 80, "--seed", 7, *words, "--keep", tmp_path)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "80 cases" in done.stdout


def test_a_case_is_its_seed() -> None:
    data = json.dumps({"a": [1, 2, {"b": "c"}], "d": 0.5}).encode()
    for change in (mutations.of_bytes, mutations.of_text, mutations.of_json):
        assert change(data, random.Random("1/x/2")) == change(data, random.Random("1/x/2"))
        assert len({change(data, random.Random(i)) for i in range(50)}) > 20


@pytest.mark.parametrize("words", [("--target", "nothing", "--cases", "1"), ()])
def test_a_call_that_makes_no_sense(words: tuple[str, ...]) -> None:
    assert driven(*words).returncode == 1
