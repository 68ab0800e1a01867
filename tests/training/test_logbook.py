"""The log of a run: means, resuming, torn lines, full disks, TensorBoard."""

from __future__ import annotations

import builtins
import json
import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from vidparse.errors import InputError, OutputError, UsageError
from vidparse.training.logbook import LOG_NAME, Logbook, read_log


def write(folder: Path, first: int, last: int, **options: Any) -> Logbook:
    """Steps `first` to `last`, whose loss is their number."""
    log = Logbook(folder, **options)
    for step in range(first, last + 1):
        log.step(step, (step - 1) // 20, {"loss": step, "lovasz": 1.0}, {"head": step / 1e4}, 0.5)
    return log


def lines(folder: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (folder / LOG_NAME).read_text().splitlines()]


def test_a_line_holds_the_mean_of_the_steps_since_the_last(tmp_path: Path) -> None:
    write(tmp_path / "run", 1, 25).close()
    steps, _ = read_log(tmp_path / "run" / LOG_NAME)
    assert steps.steps.tolist() == [10, 20, 25]
    assert steps.epochs.tolist() == [0, 0, 1]
    assert steps.losses["loss"].tolist() == [5.5, 15.5, 23.0]
    assert steps.losses["lovasz"].tolist() == [1.0, 1.0, 1.0]
    assert steps.rates["head"].tolist() == [0.001, 0.002, 0.0025]
    assert steps.seconds.tolist() == [0.5, 0.5, 0.5]
    assert (np.diff(steps.times) >= 0).all() and steps.times[0] > 1.6e9


def test_lines_are_at_the_requested_steps(tmp_path: Path) -> None:
    write(tmp_path, 1, 7, every=3).close()
    assert [line["step"] for line in lines(tmp_path)] == [3, 6, 7]


def test_validation_comes_after_the_steps_before_it(tmp_path: Path) -> None:
    log = write(tmp_path, 1, 14)
    log.validation(14, 1, {"miou": 0.5, "tc": math.nan}, {"road": 0.9, "fence": math.nan})
    log.close()
    assert [(line["kind"], line["step"]) for line in lines(tmp_path)] == [
        ("step", 10),
        ("step", 14),
        ("validation", 14),
    ]
    assert lines(tmp_path)[-1]["classes"] == {"road": 0.9, "fence": None}
    _, validations = read_log(tmp_path / LOG_NAME)
    assert validations.steps.tolist() == [14]
    assert validations.scores["miou"].tolist() == [0.5]
    assert np.isnan(validations.scores["tc"]).all()
    assert np.isnan(validations.classes["fence"]).all()


def test_a_term_that_comes_later_is_undefined_before(tmp_path: Path) -> None:
    log = Logbook(tmp_path, every=1)
    log.step(1, 0, {"loss": 1.0}, {}, 0.1)
    log.step(2, 0, {"loss": math.inf, "motion": 2.0}, {}, 0.1)
    log.close()
    steps, _ = read_log(tmp_path / LOG_NAME)
    np.testing.assert_array_equal(steps.losses["loss"], [1.0, math.nan])
    np.testing.assert_array_equal(steps.losses["motion"], [math.nan, 2.0])


def test_resuming_drops_what_comes_again(tmp_path: Path) -> None:
    """Killed at step 47 and resumed from 30, the log is that of an unbroken run."""
    killed, whole = tmp_path / "killed", tmp_path / "whole"
    log = write(killed, 1, 47)
    log.validation(47, 2, {"miou": 0.1}, {})
    write(killed, 31, 60, start=30).close()
    write(whole, 1, 60).close()
    timeless = [[{**line, "time": 0} for line in lines(folder)] for folder in (killed, whole)]
    assert timeless[0] == timeless[1]
    assert [path.name for path in killed.iterdir()] == [LOG_NAME]


def test_a_new_run_in_an_old_folder_begins_anew(tmp_path: Path) -> None:
    write(tmp_path, 1, 40).close()
    write(tmp_path, 1, 10).close()
    assert [line["step"] for line in lines(tmp_path)] == [10]


def test_a_torn_last_line_is_skipped_and_goes_on_resuming(tmp_path: Path) -> None:
    write(tmp_path, 1, 20).close()
    path = tmp_path / LOG_NAME
    whole = path.read_bytes()
    path.write_bytes(whole + b'{"kind": "step", "time": 1.0, "st\xc3')
    assert read_log(path)[0].steps.tolist() == [10, 20]
    Logbook(tmp_path, start=20).close()
    assert path.read_bytes() == whole


def test_a_last_line_without_its_end_stays(tmp_path: Path) -> None:
    write(tmp_path, 1, 20).close()
    path = tmp_path / LOG_NAME
    path.write_bytes(path.read_bytes().rstrip(b"\n"))
    write(tmp_path, 21, 30, start=20).close()
    assert read_log(path)[0].steps.tolist() == [10, 20, 30]


@pytest.mark.parametrize(
    "line", ["", "null", "[1]", '{"step": 3}', '{"kind": "step"}', '{"kind": "other", "step": 1}']
)
def test_what_is_no_record_is_skipped(tmp_path: Path, line: str) -> None:
    path = tmp_path / LOG_NAME
    path.write_text(
        f'{line}\n{{"kind": "step", "step": 5, "losses": [1], "rates": {{"a": "x"}}}}\n'
    )
    steps, validations = read_log(path)
    assert steps.steps.tolist() == [5] and not len(validations.steps)
    assert steps.losses == {} and np.isnan(steps.rates["a"]).all()


def test_no_log(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="no such log; give the folder"):
        read_log(tmp_path / LOG_NAME)


def test_a_vanished_folder_is_one_line(tmp_path: Path) -> None:
    log = write(tmp_path / "run", 1, 10)
    (tmp_path / "run" / LOG_NAME).unlink()
    (tmp_path / "run").rmdir()
    with pytest.raises(OutputError, match=r"log\.jsonl: cannot be written"):
        log.validation(10, 0, {"miou": 0.5}, {})


def test_a_full_disk_is_one_line(tmp_path: Path) -> None:
    if not Path("/dev/full").exists():
        pytest.skip("no /dev/full")
    log = Logbook(tmp_path)
    (tmp_path / LOG_NAME).symlink_to("/dev/full")
    with pytest.raises(OutputError, match="disk full"):
        log.validation(10, 0, {"miou": 0.5}, {})


def test_a_file_instead_of_the_folder(tmp_path: Path) -> None:
    (tmp_path / "run").write_text("")
    with pytest.raises(OutputError, match="run: cannot be written"):
        Logbook(tmp_path / "run")


def test_tensorboard(tmp_path: Path) -> None:
    pytest.importorskip("tensorboard")
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    log = write(tmp_path, 1, 20, tensorboard=True)
    log.validation(20, 1, {"miou": 0.5}, {"road": 0.25})
    log.close()
    events = EventAccumulator(str(tmp_path)).Reload()
    loss = events.Scalars("loss/loss")
    assert [(event.step, event.value) for event in loss] == [(10, 5.5), (20, 15.5)]
    assert events.Scalars("validation/miou")[0].value == 0.5
    assert events.Scalars("class/road")[0].value == 0.25
    assert [line["step"] for line in lines(tmp_path)] == [10, 20, 20]


def test_tensorboard_forgets_what_comes_again(tmp_path: Path) -> None:
    pytest.importorskip("tensorboard")
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    write(tmp_path, 1, 40, tensorboard=True).close()
    for file in tmp_path.glob("events*"):  # files are read in the order of their seconds
        file.rename(file.with_name(file.name.replace("tfevents.", "tfevents.0")))
    write(tmp_path, 21, 30, start=20, tensorboard=True).close()
    events = EventAccumulator(str(tmp_path)).Reload()
    assert [event.step for event in events.Scalars("loss/loss")] == [10, 20, 30]


def test_tensorboard_is_imported_on_request_alone_and_missed_in_one_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    real: Callable[..., Any] = builtins.__import__

    def without(name: str, *rest: Any) -> Any:
        if name.startswith(("tensorboard", "torch.utils.tensorboard")):
            raise ImportError(name)
        return real(name, *rest)

    monkeypatch.setattr(builtins, "__import__", without)
    Logbook(tmp_path / "plain").close()
    with pytest.raises(UsageError, match=r"pip install 'vidparse\[tensorboard\]'"):
        Logbook(tmp_path / "board", tensorboard=True)
    assert not (tmp_path / "board").exists()


def test_shares_stand_in_the_lines_whose_steps_looked_at_gradients(tmp_path: Path) -> None:
    log = Logbook(tmp_path)
    for step in range(1, 31):
        looked = {"tl": step / 100} if step in (1, 2, 21) else {}
        log.step(step, 0, {"ce": 1.0}, {}, 0.1, looked)
    log.close()
    assert [line.get("shares") for line in lines(tmp_path)] == [{"tl": 0.015}, None, {"tl": 0.21}]
    steps, _ = read_log(tmp_path / LOG_NAME)
    assert steps.shares["tl"].tolist() == pytest.approx([0.015, math.nan, 0.21], nan_ok=True)
