"""`vidparse eval` as people call it: tables, JSON, the report, submissions, and its errors."""

from __future__ import annotations

import json
import signal
import subprocess
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from support.commands import Finished
from support.made_folder import make_folder
from vidparse.evaluation.metrics import definition, title

Run = Callable[..., str]


@pytest.fixture
def run(cli: Callable[..., Finished], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Run:
    """`vidparse eval` with a cache of its own; its stdout."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setenv("COLUMNS", "120")

    def evaluate(*arguments: object) -> str:
        ended = cli("eval", *arguments)
        assert ended.code == 0, ended.err
        return ended.out.decode()

    return evaluate


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_folder(tmp_path_factory.mktemp("made"))


def of(made: Path, *more: object) -> tuple[object, ...]:
    return ("--dataset", "folder", "--data", made, *more)


def test_predictions_side_by_side(made: Path, run: Run) -> None:
    both = ("--pred", made / "pred", "--pred", made / "masks")
    shown = run(*of(made, *both, "--metrics", "miou,vc2", "--bootstrap", "50"))
    assert "folder val: 12 frames in 3 videos" in shown
    for text in ("mIoU", "VC2", "difference", "100.00 (100.00 to 100.00)", "class, IoU, %"):
        assert text in shown


def test_json_and_report(made: Path, tmp_path: Path, run: Run) -> None:
    page = tmp_path / "out.html"
    record = json.loads(run(*of(made, "--pred", made / "pred", "--json", "--report", page)))
    (entry,) = record["entries"]
    assert record["frames"] == 12 and set(entry["per_video"]) == {"v_0", "v_1", "v_2"}
    assert 0.7 < entry["scores"]["miou"] < 0.95
    html = page.read_text()
    assert "vidparse eval --dataset folder" in html and "v_2" in html


def test_model_and_its_submission_score_the_same(
    tmp_path: Path, run: Run, cli: Callable[..., Finished]
) -> None:
    scenes = ("--dataset", "sample://street?size=96x64&frames=2", "--split", "val")
    out = tmp_path / "submission"
    saved = run(*scenes, "--size", "64", "--save", "vspw", "-o", out, "--json")
    again = run(*scenes, "--pred", out, "--json")
    scores = [json.loads(found)["entries"][0]["scores"] for found in (saved, again)]
    assert scores[0] == scores[1]
    assert len(list(out.rglob("*.png"))) == 6
    refused = cli("eval", *scenes, "--save", "vspw", "-o", out)
    assert refused.code == 6 and "is not empty" in refused.err


def test_panoptic_submission_is_read_back_whole(tmp_path: Path, run: Run) -> None:
    scenes = ("--dataset", "sample://crowd?size=96x64&frames=2", "--split", "val")
    out = tmp_path / "submission"
    run(*scenes, "--size", "64", "--save", "vipseg", "-o", out)
    assert (out / "pred.json").is_file()
    record = json.loads(run(*scenes, "--pred", out, "--metrics", "vpq,stq,miou", "--json"))
    assert 0 < record["entries"][0]["scores"]["miou"] < 1
    assert set(record["entries"][0]["scores"]) >= {"vpq", "vpq_k1", "stq"}


@pytest.mark.parametrize(
    ("arguments", "code", "message"),
    [
        (("--metrics", "fancy"), 2, "metric 'fancy': unknown"),
        (("--metrics", "tc", "--flow", "magic"), 2, "magic"),
        (("--metrics", "tc", "--flow", "raft"), 2, "--flow-weights"),
        (("--windows", "0"), 2, "--windows '0'"),
        (("--pred", "nowhere"), 3, "nowhere: no such folder"),
        (("--save", "vspw"), 2, "belong together"),
        (("--save", "coco", "-o", "x"), 2, "--save coco: unknown"),
        (("--report", "."), 6, "is a directory, not a file"),
        (("--metrics", "vpq"), 2, "does not distinguish objects"),
        (("--keyframes", "3"), 2, "--keyframes: acts on models, and only predictions"),
        (("--stabilize",), 2, "--stabilize: acts on models"),
        (("--size", "64"), 2, "--size: acts on models"),
        (("--merging", "filled"), 2, "--merging: acts on models"),
        (("--min-area", "9"), 2, "--min-area: acts on models"),
        (("--window", "2"), 2, "--window: acts on models"),
    ],
)
def test_errors_are_one_line(
    made: Path, cli: Callable[..., Finished], arguments: tuple[str, ...], code: int, message: str
) -> None:
    pred = () if "--pred" in arguments or "--save" in arguments else ("--pred", made / "pred")
    ended = cli("eval", *of(made, *pred, *arguments))
    assert ended.code == code, ended.err
    assert len(ended.lines) == 1 and message in ended.err


def test_interrupted_and_resumed(
    tmp_path: Path, run: Run, process: Callable[..., subprocess.Popen[bytes]]
) -> None:
    """Ctrl-C ends it with 130; the same command goes on from the last complete video."""
    scenes = ("--dataset", "sample://street?size=96x64&frames=10", "--split", "val")
    # Name the precision: another process would find VNNI where this one is kept from it.
    command = (*scenes, "--size", "64", "--precision", "fp32")
    running = process("eval", *command)
    deadline = time.monotonic() + 60
    while not list(tmp_path.rglob("*.npz")) and time.monotonic() < deadline:
        time.sleep(0.02)
    running.send_signal(signal.SIGINT)
    message = running.communicate(timeout=60)[1].decode()
    assert running.returncode == 130 and "the same command goes on" in message
    record = json.loads(run(*command, "--json"))
    assert record["resumed_videos"] in (1, 2) and record["frames"] == 30


@pytest.mark.parametrize(
    "score",
    ["miou", "vc8", "vc16_strict", "tc", "boundary_iou", "tc_boundary", "jf", "j_decay_semi",
     "f_recall", "vpq", "vpq_k6", "stq", "aq_clean", "sq"],
)  # fmt: skip
def test_scores_have_a_title_and_a_meaning(score: str) -> None:
    assert title(score) != score and definition(score)
