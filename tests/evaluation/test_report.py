"""The report page: whole by itself, escaped, complete, well formed and written in one piece."""

from __future__ import annotations

import re
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from support.html_reader import Reader, read_whole
from vidparse.errors import OutputError
from vidparse.evaluation.diagnostics import Diagnostics, VideoDiagnostics
from vidparse.evaluation.metrics.measure import Sample
from vidparse.evaluation.metrics.semantic import ConfusionMatrix
from vidparse.evaluation.report import html_page, write_report
from vidparse.evaluation.result import EntryResult, Evaluation
from vidparse.labels import Labels, load_labels
from vidparse.maps import SegmentMap
from vidparse.page import check_page

NASTY = "<b>\"a\" & 'b'</b>.mp4"
NAN = float("nan")


def entry(
    name: str, labels: Labels, videos: dict[str, int], *, seed: int = 0, images: bool = True
) -> EntryResult:
    """An entry that is wrong here and there, on videos of so many frames."""
    rng = np.random.default_rng(seed)
    present = len(labels) - 1  # the last class never occurs
    truth = np.arange(24 * 32).reshape(24, 32) * present // (24 * 32)
    truth = truth.astype(np.uint8)
    truth[:2] = 255
    diagnostics, matrix = Diagnostics(labels), ConfusionMatrix(len(labels))
    found: list[VideoDiagnostics] = []
    per_video: dict[str, dict[str, float]] = {}
    for video, frames in videos.items():
        own = ConfusionMatrix(len(labels))
        for i in range(frames):
            predicted = np.where(rng.random(truth.shape) < 0.2, rng.integers(0, present), truth)
            predicted = predicted.astype(np.uint8)
            image = np.full((24, 32, 3), 90, np.uint8) if images else None
            diagnostics.update(
                Sample(video, f"{i:05d}", i, SegmentMap(predicted), SegmentMap(truth)), image
            )
            own.update(truth, predicted)
        found.append(diagnostics.end_video())
        matrix.add(own)
        scores = own.compute()
        per_video[video] = {"miou": scores.miou, "pixel_accuracy": scores.pixel_accuracy}
    scores = matrix.compute()
    return EntryResult(
        name=name,
        detail=f"predictions in <{name}>",
        scores={"miou": scores.miou, "pixel_accuracy": scores.pixel_accuracy, "tc": NAN},
        intervals={"miou": (scores.miou - 0.01, scores.miou + 0.02)},
        per_class={"miou": scores.per_class},
        confusion=matrix.counts,
        per_video=per_video,
        videos=tuple(found),
    )


def report(*entries: EntryResult, labels: Labels, videos: int = 2) -> Evaluation:
    return Evaluation(
        dataset="camvid & co <1>",
        split="val",
        labels=labels,
        metrics=("miou", "tc"),
        frames=12,
        videos=videos,
        resumed=0,
        seconds=1.0,
        flow=None,
        entries=entries,
        command="vidparse eval --data 'a<b' -m x",
        notes=("Only <two> videos.",),
    )


@pytest.fixture(scope="module")
def two() -> Evaluation:
    labels = load_labels("camvid")
    videos = {NASTY: 12, "plain": 3}
    return report(
        entry("first", labels, videos), entry("second & last", labels, videos, seed=1),
        labels=labels,
    )  # fmt: skip


def read(html: str) -> Reader:
    return read_whole(Reader(), html)


def test_page_is_well_formed(two) -> None:
    reader = read(html_page(two))
    ids = [attributes["id"] for _, attributes in reader.seen if "id" in attributes]
    assert len(ids) == len(set(ids)) == 9
    links = {attributes["href"] for tag, attributes in reader.seen if tag == "a"}
    assert links == {f"#{name}" for name in ids}


def test_page_needs_nothing_but_itself(two) -> None:
    html = html_page(two)
    reader = read(html)
    for _, attributes in reader.seen:
        for name in ("src", "href", "srcset", "data", "action", "xlink:href"):
            value = attributes.get(name) or "data:"
            assert value.startswith(("data:image/", "data:", "#"))
    assert not [tag for tag, _ in reader.seen if tag in ("link", "iframe", "object", "base")]
    assert not re.search(r"https?://|//[a-z]+\.|url\(|@import|@font-face|fetch\(", html)
    policy = next(a["content"] for t, a in reader.seen if a.get("http-equiv"))
    assert policy is not None and policy.startswith("default-src 'none'")


def test_names_are_shown_and_never_read_as_markup(two) -> None:
    html = html_page(two)
    assert "<b>&quot;" not in html and '<b>"a"' not in html
    text = read(html).text
    for name in (
        NASTY, "plain", "first", "second & last", "predictions in <first>", "camvid & co <1> val",
        "vidparse eval --data 'a<b' -m x", "Only <two> videos.",
        *two.labels.classes,
    ):  # fmt: skip
        assert name in text


def test_undefined_scores_are_dashes(two) -> None:
    html = html_page(two)
    values = [str(value) for _, attributes in read(html).seen for value in attributes.values()]
    shown = [read(html).text, *(value for value in values if not value.startswith("data:"))]
    assert not any(re.search(r"(?i)\bnan\b", words) for words in shown)
    row = re.search(r"<tr><th scope=\"row\">TC</th>(.*?)</tr>", html)
    assert row is not None
    cells = re.findall(r"<td[^>]*>(.*?)</td>", row[1])
    assert [re.sub(r"<[^>]+>", "", cell).strip() for cell in cells] == ["\N{EN DASH}"] * 5


def test_scores_differences_and_intervals_stand_side_by_side(two) -> None:
    first, second = (one.scores["miou"] for one in two.entries)
    text = read(html_page(two)).text
    for value in (first, second, first - 0.01, first + 0.02):
        assert f"{100 * value:.2f}" in text
    assert f"{100 * (second - first):+.2f}".replace("-", "\N{MINUS SIGN}") in text


def test_class_without_ground_truth_is_listed_apart(two) -> None:
    text = read(html_page(two)).text
    assert f"so without a score: {two.labels.classes[-1]}." in text


def test_every_picture_has_a_description_and_every_heading_cell_a_scope(two) -> None:
    seen = read(html_page(two)).seen
    pictures = [attributes for tag, attributes in seen if tag == "img"]
    assert len(pictures) == 2 * 2 * 3 * 4 + 2 * 2  # clips: 3 frames in 4 rows; flicker maps
    assert all(attributes["alt"] for attributes in pictures)
    assert all(attributes.get("scope") for tag, attributes in seen if tag == "th")
    drawings = [attributes for tag, attributes in seen if tag == "svg"]
    assert len(drawings) == 2 + 2 * 3  # matrices; three charts a video
    assert all(a["role"] == "img" and a["aria-label"] for a in drawings)


def test_confusion_shows_shares_and_pixels(two) -> None:
    counts = two.entries[0].confusion
    wrong = counts * (1 - np.eye(len(counts), dtype=int))
    i, j = np.unravel_index(wrong.argmax(), wrong.shape)
    true, predicted = two.labels.classes[i], two.labels.classes[j]
    share = 100 * counts[i, j] / counts[i].sum()
    part = f"{counts[i, j]:,} of {counts[i].sum():,} pixels"
    tip = f"{true} predicted as {predicted}: {share:.2f} %, {part}"
    assert tip in html_page(two)
    table = html_page(two)[html_page(two).index("The largest mistakes") :]
    first = re.findall(r"</i>(\w+)<", table)[:2]
    assert first == [true, predicted]


def test_worst_video_comes_first() -> None:
    labels = load_labels("camvid")
    one = entry("only", labels, {"good": 2, "bad": 2, "unknown": 2})
    one = replace(
        one, per_video={"good": {"miou": 0.9}, "bad": {"miou": 0.1}, "unknown": {"miou": NAN}}
    )
    html = html_page(report(one, labels=labels))
    rows = html[html.index('<section id="videos">') : html.index('<section id="clips">')]
    assert re.findall(r'<th scope="row">(\w+)', rows) == ["bad", "good", "unknown"]


def test_many_videos_and_classes_stay_readable() -> None:
    labels = load_labels("vspw")
    videos = {f"video {i}": 2 for i in range(70)}
    many = report(
        entry("a", labels, videos), entry("b", labels, videos, seed=1), labels=labels, videos=70
    )
    html = html_page(many)
    reader = read(html)
    assert "The 20 worst of 70 videos" in reader.text
    assert html.count('<figure class="video">') == 20
    assert html.count('<figure class="clip">') == 2 * 12
    assert all(f">{video}<" in html for video in videos)
    assert all(name in reader.text for name in labels.classes)
    assert len(html) < 3_000_000


def test_charts_break_where_nothing_is_known() -> None:
    labels = load_labels("camvid")
    one = entry("only", labels, {"v": 5})
    curve = np.array([0.9, NAN, 0.8, 0.7, NAN], np.float32)
    video = replace(one.videos[0], accuracy=curve)
    html = html_page(report(replace(one, videos=(video,)), labels=labels))
    paths = re.findall(r'<path class="line s0" d="([^"]*)"', html)
    assert re.sub(r"[^ML]", "", paths[0]) == "MML"


def test_long_videos_keep_their_dips() -> None:
    labels = load_labels("camvid")
    one = entry("only", labels, {"v": 2})
    curve = np.ones(20_000, np.float32)
    curve[12_345] = 0
    stems = tuple(map(str, range(20_000)))
    video = replace(
        one.videos[0], stems=stems, accuracy=curve, miou=curve, flicker=curve, worst=None
    )
    html = html_page(report(replace(one, videos=(video,)), labels=labels))
    path = re.findall(r'<path class="line s0" d="([^"]*)"', html)[0]
    assert f"{12_345 / 19_999 * 600:.1f} 200.0" in path
    assert len(path) < 12_000


def test_page_of_scores_alone() -> None:
    labels = load_labels("camvid")
    bare = EntryResult("bare", "somewhere", {"jf": 0.5}, {}, {}, None, {}, ())
    reader = read(html_page(report(bare, labels=labels)))
    assert "50.00" in reader.text
    assert "Worst clips" not in reader.text and "Confusion" not in reader.text


def test_pictures_without_images_still_show_labels() -> None:
    labels = load_labels("camvid")
    reader = read(html_page(report(entry("x", labels, {"v": 4}, images=False), labels=labels)))
    assert sum(tag == "img" for tag, _ in reader.seen) == 3 * 3 + 1


def test_written_in_one_piece(two, tmp_path: Path) -> None:
    target = tmp_path / "new" / "out.html"
    write_report(target, two)
    assert target.read_text(encoding="utf-8") == html_page(two)
    assert list(target.parent.iterdir()) == [target]


def test_a_file_of_another_kind_is_not_replaced(two, tmp_path: Path) -> None:
    model = tmp_path / "best.safetensors"
    model.write_bytes(b"weights")
    with pytest.raises(OutputError, match="no HTML page; choose another name"):
        write_report(model, two)
    assert model.read_bytes() == b"weights"


def test_a_failed_write_leaves_the_old_page(two, tmp_path: Path, monkeypatch) -> None:
    target = tmp_path / "out.html"
    target.write_text("<html>old")

    def fail(self: Path, data: bytes) -> int:
        with self.open("wb") as file:
            file.write(data[:100])
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(Path, "write_bytes", fail)
    with pytest.raises(OutputError, match="disk full"):
        write_report(target, two)
    assert target.read_text() == "<html>old"
    assert list(tmp_path.iterdir()) == [target]


@pytest.mark.parametrize("name", [".", "file/out.html", "file/deep/out.html"])
def test_unwritable_paths_are_one_line_errors(two, tmp_path: Path, name: str) -> None:
    file = tmp_path / "file"
    file.write_text("")
    target = tmp_path / name
    for attempt in (lambda: check_page(target), lambda: write_report(target, two)):
        with pytest.raises(OutputError, match=f"^{re.escape(str(target))}: .*; .*$"):
            attempt()
    assert list(tmp_path.iterdir()) == [file]


def test_names_that_are_not_text_do_not_stop_the_page(tmp_path: Path) -> None:
    labels = load_labels("camvid")
    write_report(
        tmp_path / "out.html", report(entry("\udcff", labels, {"a\udce4": 2}), labels=labels)
    )
    assert "a\\udce4" in (tmp_path / "out.html").read_text(encoding="utf-8")
