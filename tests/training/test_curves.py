"""The page of training runs: well-formed, escaped, quick, and what it shows."""

from __future__ import annotations

import json
import math
import re
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from support.html_reader import Reader, read_whole
from vidparse.errors import InputError, OutputError, UsageError
from vidparse.page import DASH
from vidparse.page.plot import Curve, draw, running_mean
from vidparse.training.curves import write_curves
from vidparse.training.logbook import LOG_NAME, Logbook

NASTY = "</title><script>alert(1)</script> \"&' long"


class CurveReader(Reader):
    """Keeps words of elements apart; adds the descriptions of pictures."""

    @property
    def text(self) -> str:
        return " ".join(" ".join(self.words).split())

    @property
    def titles(self) -> list[str]:
        return [attributes["aria-label"] or "" for tag, attributes in self.seen if tag == "svg"]

    def count(self, tag: str) -> int:
        return sum(name == tag for name, _ in self.seen)


def read(path: Path) -> CurveReader:
    return read_whole(CurveReader(), path.read_text(encoding="utf-8"))


def make_run(
    folder: Path,
    *,
    steps: int = 200,
    gain: float = 0.0,
    recipe: dict[str, Any] | None = None,
    shares: bool = False,
) -> Path:
    log = Logbook(folder)
    for step in range(1, steps + 1):
        loss = 0.5 + math.exp(-step / 50)
        rates = {"backbone": 3e-4 * (1 - step / steps), "head": 3e-4 * (1 - step / steps)}
        looked = {"tl": 0.02, NASTY: 0.5} if shares and step % 50 == 1 else {}
        log.step(step, step // 20, {"loss": loss, NASTY: loss / 2}, rates, 0.25, looked)
        if step % 50 == 0:
            classes = {"road": 0.8 + gain, "a<b>c": 0.25, "fence": math.nan}
            log.validation(
                step, step // 20, {"miou": 0.4 + gain + step / 1e3, "ours": 3.5}, classes
            )
    log.close()
    if recipe is not None:
        (folder / "recipe.json").write_text(json.dumps(recipe))
    return folder


def page_of(tmp_path: Path, *folders: Path) -> CurveReader:
    write_curves(folders, tmp_path / "page.html")
    return read(tmp_path / "page.html")


def test_one_run(tmp_path: Path) -> None:
    recipe = {"arch": "perframe", "config": {"width": 256, "name": "<i>"}, "crop_hw": [360, 480]}
    page = page_of(tmp_path, make_run(tmp_path / "street", recipe=recipe))
    ids = [attributes["id"] for _, attributes in page.seen if "id" in attributes]
    assert ids == ["scores", "validation", "loss", "rates", "classes", "recipe"]
    assert "street 200 steps, epoch 11, 1 min of steps, 4 validations" in page.text
    assert "mIoU 60.00 200 60.00" in page.text  # best, at step, last
    assert "ours 3.5 50 3.5" in page.text
    assert "road 80.00 80.00" in page.text and f"fence {DASH} {DASH}" in page.text
    assert "config.width 256" in page.text and "crop_hw [360, 480]" in page.text
    assert page.text.count("backbone, head") == 1


def test_every_picture_has_a_description(tmp_path: Path) -> None:
    page = page_of(tmp_path, make_run(tmp_path / "a"), make_run(tmp_path / "b"))
    assert len(page.titles) == page.count("svg") == 6
    assert page.titles[0] == "mIoU, %, over 200 steps; at the end: a 60.00, b 60.00"
    assert page.titles[4].startswith("backbone, head, 10⁻⁴, over 200 steps; at most: a 2.85")


def test_the_page_distinguishes_several_runs(tmp_path: Path) -> None:
    recipes = [{"epochs": 10, "seed": 0, "config": {"tau": 1}}, {"epochs": 10, "seed": 1}]
    page = page_of(
        tmp_path,
        make_run(tmp_path / "first", recipe=recipes[0]),
        make_run(tmp_path / "second", gain=0.05, steps=400, recipe=recipes[1]),
    )
    assert "mIoU 60.00 200 60.00 85.00 +25.00 400 85.00" in page.text
    assert "road 80.00 85.00 +5.00" in page.text
    assert f"Field first second seed 0 1 config.tau 1 {DASH}" in page.text
    assert "The fields that differ; 1 field more: the same." in page.text
    lines = [a["class"] for tag, a in page.seen if tag == "path" and "line" in (a["class"] or "")]
    assert {"line s0", "line s1"} <= set(lines)


def test_runs_of_the_same_name_show_their_parents(tmp_path: Path) -> None:
    folders = [make_run(tmp_path / parent / "run") for parent in ("old", "new")]
    page = page_of(tmp_path, *folders)
    assert "old/run" in page.text and "new/run" in page.text


def test_equal_recipes_and_missing_ones(tmp_path: Path) -> None:
    first, second, third = (make_run(tmp_path / name) for name in "abc")
    assert "Recipe" not in page_of(tmp_path, first, second).text
    for folder in (first, second):
        (folder / "recipe.json").write_text('{"seed": 0, "epochs": 3}')
    (third / "recipe.json").write_text('{"seed": ')
    assert "All 2 fields are the same." in page_of(tmp_path, first, second, third).text


def test_names_from_outside_are_escaped(tmp_path: Path) -> None:
    run = make_run(tmp_path / NASTY.replace("/", "|"), recipe={NASTY: NASTY})
    page = page_of(tmp_path, run)
    assert page.count("script") == 1
    assert NASTY in page.text and "a<b>c" in page.text
    assert not any(attribute.startswith("on") for _, a in page.seen for attribute in a)


def test_page_needs_nothing_but_itself(tmp_path: Path) -> None:
    page = page_of(tmp_path, make_run(tmp_path / "a"))
    for _, attributes in page.seen:
        for name in ("src", "href", "srcset", "data", "xlink:href"):
            assert (attributes.get(name) or "#").startswith("#")
    assert not re.search(r"url\(|@import", (tmp_path / "page.html").read_text())


def test_a_run_that_has_just_begun(tmp_path: Path) -> None:
    Logbook(tmp_path / "young").close()
    (tmp_path / "young" / LOG_NAME).touch()
    page = page_of(tmp_path, tmp_path / "young")
    assert "young: no step logged yet." in page.text and page.count("svg") == 0
    both = page_of(tmp_path, tmp_path / "young", make_run(tmp_path / "old"))
    assert f"mIoU {DASH} {DASH} {DASH} 60.00 {DASH} 200 60.00" in both.text


def test_a_single_line(tmp_path: Path) -> None:
    assert page_of(tmp_path, make_run(tmp_path / "a", steps=3)).count("svg") == 4


def test_a_long_log_is_quick(tmp_path: Path) -> None:
    line = '{"kind": "step", "time": 1.0, "step": %d, "epoch": 0, "losses": {"loss": %f, "a": 1.5, '
    line += '"b": 0.25}, "rates": {"backbone": 0.0001, "head": 0.001}, "seconds": 0.25}\n'
    (tmp_path / "long").mkdir()
    (tmp_path / "long" / LOG_NAME).write_text(
        "".join(line % (10 * i, 1 + math.sin(i)) for i in range(1, 10_001))
    )
    spent = []
    for _ in range(3):
        start = time.process_time()
        write_curves([tmp_path / "long"], tmp_path / "page.html")
        spent.append(time.process_time() - start)
    assert min(spent) < 0.5
    assert (tmp_path / "page.html").stat().st_size < 200_000


def test_numbers_that_no_log_holds_are_left_out(tmp_path: Path) -> None:
    make_run(tmp_path / "a", steps=3)
    with (tmp_path / "a" / LOG_NAME).open("a") as log:
        log.write('{"kind":"step","step":4,"time":1e300}\n')  # no clock shows it
        log.write('{"kind":"step","step":1180591620717411303424}\n')
        log.write('{"kind":"step","step":5,"seconds":1' + "0" * 400 + "}\n")
        log.write("[" * 100_000 + "\n")
    assert "4 steps" in page_of(tmp_path, tmp_path / "a").text


def test_errors(tmp_path: Path) -> None:
    run = make_run(tmp_path / "a")
    with pytest.raises(InputError, match=r"nowhere/log\.jsonl: no such log"):
        write_curves([run, tmp_path / "nowhere"], tmp_path / "page.html")
    with pytest.raises(OutputError, match="is a directory"):
        write_curves([run], tmp_path)
    with pytest.raises(UsageError, match="no run"):
        write_curves([], tmp_path / "page.html")
    assert not list(tmp_path.glob("page*"))


@pytest.mark.parametrize(
    ("values", "summary"),
    [
        ([1.0, 1.0, 1.0], "x, over"),
        ([0.0], "x, over"),
        ([-2.0, -1.0], "x, over"),
        ([2e-5, 1e-5], "x, 10⁻⁵, over"),
        ([3e6, 1e6], "x, 10⁶, over"),
        ([100.0, 10.0, 1.0], "x, log, over"),
        ([1e9, *[1.5, 1.25] * 200], "x, 10⁹, cut off, over"),
    ],
)
def test_scales(values: list[float], summary: str) -> None:
    curve = Curve("run", 0, np.arange(1, len(values) + 1), np.array(values))
    chart = draw("x", [curve], end=len(values), over="steps", smooth=True)
    assert chart.summary.startswith(summary)
    paths = "".join(path.data for path in chart.drawn)
    assert "nan" not in paths and "inf" not in paths
    places = [float(y) for y in re.findall(r"[ML][\d.]+ ([\d.-]+)", paths)]
    assert places and all(0 <= y <= 200 for y in places)


@pytest.mark.parametrize("values", [[7e-17], [7e-17, 1e-20], [0.0, 1e-12], [-3e-16]])
def test_shares_that_are_all_but_nothing(values: list[float]) -> None:
    """As of a loss whose weights have no gradient: rounding is left."""
    curve = Curve("run", 0, np.arange(1, len(values) + 1), np.array(values))
    chart = draw("x", [curve], end=len(values), over="steps", percent=True, dots=True)
    assert "nan" not in "".join(path.data for path in chart.drawn)


def test_running_mean_keeps_lines_straight() -> None:
    assert running_mean(np.arange(10.0)).tolist() == list(range(10))
    straight = np.arange(800.0)
    np.testing.assert_allclose(running_mean(straight)[30:-30], straight[30:-30])
    assert running_mean(np.tile([0.0, 1.0], 400)).std() < 0.05


def test_command_line(tmp_path: Path, cli: Callable[..., Any]) -> None:
    runs = [make_run(tmp_path / name) for name in ("a", "b")]
    ended = cli("curves", *runs, "-o", tmp_path / "deep" / "page.html")
    assert (ended.code, ended.out) == (0, b"")
    assert ended.lines == [f"2 runs -> {tmp_path / 'deep' / 'page.html'}"]
    assert len(read(tmp_path / "deep" / "page.html").titles) == 6
    ended = cli("curves", tmp_path, "-o", tmp_path / "page.html")
    assert ended.code == 3 and len(ended.lines) == 1 and "no such log" in ended.err
    assert cli("curves").code == 2


def test_gradients_of_losses_stand_beside_cross_entropys(tmp_path: Path) -> None:
    page = page_of(tmp_path, make_run(tmp_path / "street", shares=True))
    assert any(title.startswith("tl, %") and title.endswith("2.00") for title in page.titles)
    assert "per cent of that of cross-entropy" in page.text
    assert len(page.titles) == 2 + page_of(tmp_path, make_run(tmp_path / "bare")).count("svg")
    assert "cross-entropy" not in page_of(tmp_path, tmp_path / "bare").text, "logs may have none"
