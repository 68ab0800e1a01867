"""Pages of results hold what the outputs hold: every id, every time, and where classes are."""

from __future__ import annotations

import base64
import json
import os
import shutil
from collections.abc import Callable
from dataclasses import replace
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import cv2
import numpy as np
import pytest

from support.clips import make_clip
from support.html_reader import Reader, read_whole
from support.made_result import TOY, classes, make_result, objects
from support.view_reader import ViewPage
from vidparse.errors import InputError, OutputError, UsageError, VidparseError
from vidparse.labels import Labels
from vidparse.maps import SegmentMap
from vidparse.requests.view import ViewRequest
from vidparse.view import write_pages
from vidparse.view.flicker import UNKNOWN, FlickerMeter
from vidparse.view.result import find_records, find_video, open_results
from vidparse.view.timeline import Areas

SIZE_HW = (48, 64)
UNEVEN = [0, 3000, 3600, 9000, 12000, 30000, 33000, 33900, 60000, 61000]  # pts of 1/90000 s


@pytest.fixture
def clip(tmp_path: Path) -> Path:
    return make_clip(tmp_path / "clip.mp4", frames=12, size_hw=SIZE_HW)


def page_of(*results: Path, **wishes: Any) -> ViewPage:
    (page,) = write_pages(ViewRequest(results=results, **{"overwrite": True, **wishes}))
    assert page.size == page.path.stat().st_size
    return ViewPage(page.path)


def words_of(found: SegmentMap) -> np.ndarray:
    """As `ViewPage.regions`, of what was answered."""
    if found.segments is None:
        return np.array([*TOY.classes, *[""] * 253], object)[found.ids]
    words = np.full(found.size_hw, "", object)
    for one in found.segments:
        name = TOY.classes[one.class_id]
        words[found.ids == one.id] = f"{name} {one.id}" if one.is_thing else name
    return words


SAVED = {
    "masks": (["masks", "jsonl"], classes, {}),
    "grey masks": (["masks-gray", "jsonl"], classes, {}),
    "mask video": (["mask-video", "jsonl"], classes, {}),
    "ids of classes": (["ids", "jsonl"], classes, {}),
    "run lengths of classes": (["jsonl"], classes, {"rle": True}),
    "ids": (["ids", "jsonl"], objects, {}),
    "id video": (["id-video", "jsonl"], objects, {}),
    "panoptic": (["panoptic", "jsonl"], objects, {}),
    "run lengths": (["jsonl"], objects, {"rle": True}),
    "ids before masks": (["masks", "ids", "jsonl"], objects, {}),
}


@pytest.mark.parametrize("kind", SAVED)
def test_every_pixel_is_that_of_the_output(kind: str, clip: Path, tmp_path: Path) -> None:
    saved, answer, options = SAVED[kind]
    make_result(clip, tmp_path / "out", saved, answer, **options)
    page = page_of(tmp_path / "out")
    regions = page.regions()
    assert len(regions) == page.contents["frames"] == 12
    for index, found in enumerate(regions):
        assert (found == words_of(answer(index, SIZE_HW))).all(), index


def test_small_maps_have_the_pixel_in_the_middle_of_each_cell(clip: Path, tmp_path: Path) -> None:
    noise = np.random.default_rng(1).integers(0, 3, (12, *SIZE_HW), np.uint8)
    make_result(clip, tmp_path, answer=lambda index, _: SegmentMap(noise[index]))
    page = page_of(tmp_path, side=32)
    assert page.contents["size"] == [32, 24]
    for index, found in enumerate(page.regions()):
        assert (found == np.array(TOY.classes, object)[noise[index][1::2, 1::2]]).all()


def test_a_run_longer_than_16_bits_is_one_region(tmp_path: Path) -> None:
    clip = make_clip(tmp_path / "big.mp4", frames=2, size_hw=(360, 640))
    make_result(clip, tmp_path, answer=lambda *_: SegmentMap(np.zeros((360, 640), np.uint8)))
    for found in page_of(tmp_path).regions():
        assert found.shape == (360, 640) and (found == "road").all()


def test_frames_fill_several_blocks(tmp_path: Path) -> None:
    clip = make_clip(tmp_path / "long.mp4", frames=130, size_hw=SIZE_HW)
    make_result(clip, tmp_path)
    page = page_of(tmp_path)
    assert [name for name in page.blocks if "ids" in name] == ["ids-0-0", "ids-0-1", "ids-0-2"]
    assert (page.regions()[129] == words_of(classes(129, SIZE_HW))).all()


class TestTime:
    def test_uneven_times_survive_to_the_tick(self, tmp_path: Path) -> None:
        clip = make_clip(tmp_path / "uneven.mp4", pts=UNEVEN, frames=10, size_hw=SIZE_HW)
        make_result(clip, tmp_path)
        page = page_of(tmp_path)
        unit = Fraction(page.contents["unit"]).limit_denominator(1_000_000)
        assert [one * unit * 90000 for one in np.cumsum(page.column("times")).tolist()] == UNEVEN

        # The video has the same frames at the same times.
        movie = tmp_path / "page.mp4"
        movie.write_bytes(page.video())
        with av.open(str(movie)) as container:
            stream = container.streams.video[0]
            assert stream.codec_context.name == "h264"
            found = [frame.pts * stream.time_base * 90000 for frame in container.decode(stream)]
        assert found == UNEVEN

    def test_numbers_are_those_of_the_video(self, clip: Path, tmp_path: Path) -> None:
        make_result(clip, tmp_path, stride=3)
        page = page_of(tmp_path)
        numbers = np.cumsum(page.column("numbers")).tolist()
        assert len(numbers) == page.contents["frames"] == 4
        for found, index in zip(page.regions(), numbers, strict=True):
            assert (found == words_of(classes(index, SIZE_HW))).all()


class TestTimeline:
    def test_jumps_are_where_a_class_is_first_longest_and_most(
        self, clip: Path, tmp_path: Path
    ) -> None:
        make_result(clip, tmp_path)
        contents = page_of(tmp_path).contents
        names = [one["name"] for one in contents["classes"]]
        assert names == ["road", "dog"]  # by area; the car is nowhere
        jumps = {names[int(one)]: found for one, found in contents["sides"][0]["jumps"].items()}
        assert jumps == {"road": [0, 0, 12, 0], "dog": [5, 5, 3, 11]}

    def test_areas_are_shares_of_the_picture(self, clip: Path, tmp_path: Path) -> None:
        make_result(clip, tmp_path)
        contents = page_of(tmp_path).contents
        assert contents["stretch"] == 1
        dog = np.frombuffer(base64.b64decode(contents["sides"][0]["areas"]["1"]), "<u2") / 65535
        wanted = [(classes(i, SIZE_HW).ids == 2).mean() for i in range(12)]
        assert dog == pytest.approx(np.array(wanted), abs=1e-5)

    def test_stretches_grow_and_keep_the_mean(self) -> None:
        values = np.random.default_rng(2).integers(0, 1000, 5000)
        areas = Areas(2, 1000)
        for value in values.tolist():
            areas.add({1: value})
        assert areas.length == 8
        assert areas.shares()[:, 1] == pytest.approx(values.reshape(-1, 8).mean(1) / 1000)
        areas.add({1: 500})
        assert areas.shares()[-1, 1] == pytest.approx(0.5)

    def test_objects_have_their_first_last_and_best_frame(self, clip: Path, tmp_path: Path) -> None:
        make_result(clip, tmp_path, ["ids", "jsonl"], objects)
        contents = page_of(tmp_path).contents
        names = [one["name"] for one in contents["classes"]]
        tracks = [[one[0], names[one[1]], *one[2:]] for one in contents["sides"][0]["tracks"]]
        # The car touches the left edge in frame 0, and is seen whole from frame 1 on.
        assert tracks == [[7, "car", 0, 11, 12, 1], [9, "dog", 3, 5, 3, 3]]


class TestFlicker:
    def test_is_the_share_of_still_pixels_that_change_class(self) -> None:
        meter = FlickerMeter()
        luma, before = np.full((20, 20), 100, np.uint8), np.zeros((20, 20), int)
        assert meter.see(luma, before) == UNKNOWN
        changed = before.copy()
        changed[:4] = 1
        assert meter.see(luma, changed) == pytest.approx(4 / 20)

        # A part that moves does not count, whatever its class does. Smoothing reaches one pixel.
        moved, again = luma.copy(), changed.copy()
        moved[:, :9] = 110
        again[:, :10] = 2
        again[10:, 15:] = 1
        still = 20 * 11  # columns 9 to 19: at the border a third of 10 is below the threshold
        assert meter.see(moved, again) == pytest.approx((10 * 5 + 20) / still)

    def test_is_unknown_at_a_cut(self) -> None:
        draw = np.random.default_rng(5)
        meter, ids = FlickerMeter(), np.zeros((36, 64), int)
        shots = [np.kron(draw.integers(0, 256, (6, 8)), np.ones((6, 8))) for _ in range(2)]
        first, second = (shot.astype(np.uint8) for shot in shots)
        meter.see(first, np.zeros((36, 64), int))
        assert meter.see(first, ids) == 0
        assert meter.see(second, ids) == UNKNOWN

    def test_stands_in_the_page(self, clip: Path, tmp_path: Path) -> None:
        make_result(clip, tmp_path)
        column = page_of(tmp_path).column("flicker-0")
        assert len(column) == 12 and column[0] == -1 and max(column) > 0


class TestTwoModels:
    def test_share_the_video_and_the_list_of_classes(self, clip: Path, tmp_path: Path) -> None:
        make_result(clip, tmp_path / "a", model="first")
        make_result(clip, tmp_path / "b", ["ids", "jsonl"], objects, model="second")
        page = page_of(tmp_path / "a", tmp_path / "b")
        assert [side["name"] for side in page.contents["sides"]] == ["first", "second"]
        assert [one["name"] for one in page.contents["classes"]] == ["road", "dog", "car"]
        for number, answer in enumerate((classes, objects)):
            for index, found in enumerate(page.regions(number)):
                assert (found == words_of(answer(index, SIZE_HW))).all()

    def test_of_one_model_are_called_as_their_folders(self, clip: Path, tmp_path: Path) -> None:
        for name in ("a", "b"):
            make_result(clip, tmp_path / name)
        page = page_of(tmp_path / "a", tmp_path / "b")
        assert [side["name"] for side in page.contents["sides"]] == ["a", "b"]

    def test_of_other_frames_are_refused(self, clip: Path, tmp_path: Path) -> None:
        make_result(clip, tmp_path / "a")
        make_result(clip, tmp_path / "b", stride=2)
        with pytest.raises(InputError, match=r"has other frames than .* segment both with the"):
            page_of(tmp_path / "a", tmp_path / "b")
        assert not [*tmp_path.rglob("*.html")]

    def test_of_other_videos_are_refused(self, clip: Path, tmp_path: Path) -> None:
        make_result(clip, tmp_path / "a")
        larger = make_clip(tmp_path / "larger.mp4", frames=2, size_hw=(64, 64))
        records = make_result(larger, tmp_path / "b")
        make_result(make_clip(tmp_path / "second.mp4", frames=2), tmp_path / "b")
        with pytest.raises(InputError, match=r"larger.jsonl: is of a video of 64x64"):
            page_of(tmp_path / "a", records)
        with pytest.raises(InputError, match="have no video in common"):
            page_of(tmp_path / "a", tmp_path / "b")


class TestNames:
    @pytest.mark.parametrize("name", ["x.mp4", "x.MOV", "x.png", "x.json"])
    def test_of_videos_pictures_and_texts_are_refused(
        self, clip: Path, tmp_path: Path, name: str
    ) -> None:
        make_result(clip, tmp_path)
        before = sorted(tmp_path.iterdir())
        with pytest.raises(UsageError, match=rf"-o .*{name}: a page is HTML; end it in .html"):
            page_of(tmp_path, out=tmp_path / name)
        assert sorted(tmp_path.iterdir()) == before
        assert page_of(tmp_path, out=tmp_path / "v1.2").html  # a folder with a dot

    EVIL = '</script><script>alert(1)</script><img src=x onerror="alert(2)">\u202e\x07&amp;'

    def test_are_words_and_nothing_else(self, tmp_path: Path) -> None:
        labels = Labels("toy", (self.EVIL, "car", "dog"), TOY.colours, TOY.things)
        clip = make_clip(tmp_path / "a<b>&'\".mp4", frames=3, size_hw=SIZE_HW)
        make_result(clip, tmp_path / "out", labels=labels, model=self.EVIL)
        page = page_of(tmp_path / "out")
        assert page.contents["classes"][0]["name"] == self.EVIL
        assert "alert(1)</script>" not in page.html and "<img" not in page.html
        assert page.html.count("<script") == 2 + len(page.blocks)
        assert "a<b>&'\".mp4" in read_whole(Reader(), page.html).text

    def test_the_page_loads_nothing(self, clip: Path, tmp_path: Path) -> None:
        make_result(clip, tmp_path)
        seen = read_whole(Reader(), page_of(tmp_path).html).seen
        policy = next(attributes for _, attributes in seen if "http-equiv" in attributes)
        assert "default-src 'none'" in str(policy["content"])
        names = ("src", "href", "poster")
        sources = [one[name] for _, one in seen for name in names if name in one]
        assert sources and all(str(one).startswith("data:") for one in sources)


class TestVideo:
    def test_is_found_beside_the_result(self, clip: Path, tmp_path: Path) -> None:
        records = make_result(clip, tmp_path / "out")
        clip.rename(tmp_path / "out" / "clip.mp4")
        assert page_of(records).contents["frames"] == 12

    def test_a_missing_video_is_an_error_that_names_the_option(
        self, clip: Path, tmp_path: Path
    ) -> None:
        records = make_result(clip, tmp_path / "out")
        moved = clip.rename(tmp_path / "moved.mp4")
        with pytest.raises(InputError, match=r"its video clip.mp4 is not found; give it with -i$"):
            page_of(records)
        assert page_of(records, video=str(moved)).contents["frames"] == 12
        with pytest.raises(InputError, match=r"none.mp4: no such video"):
            page_of(records, video="none.mp4")

    @pytest.mark.parametrize(
        ("wishes", "match"),
        [
            ({"size_hw": (64, 64)}, "is 64x64 .* the records are of 64x48"),
            ({"size_hw": SIZE_HW, "frames": 5}, "frame 5 of the records, at 0.200 s, is not in it"),
        ],
    )
    def test_of_another_kind_is_refused(
        self, wishes: dict[str, Any], match: str, clip: Path, tmp_path: Path
    ) -> None:
        records = make_result(clip, tmp_path / "out")
        other = make_clip(tmp_path / "other.mp4", **{"frames": 12, **wishes})
        with pytest.raises(InputError, match=match):
            page_of(records, video=str(other))
        assert not [*tmp_path.rglob("*.html")]

    def test_may_be_linked(self, clip: Path, tmp_path: Path) -> None:
        page = page_of(make_result(clip, tmp_path / "out"), link=True)
        assert page.contents["link"] == "../clip.mp4" and not page.video()
        assert 'src="../clip.mp4"' in page.html

    def test_has_square_pixels(self, tmp_path: Path) -> None:
        clip = make_clip(tmp_path / "wide.mp4", frames=2, size_hw=SIZE_HW, aspect=Fraction(2))
        page = page_of(make_result(clip, tmp_path / "out"))
        (tmp_path / "page.mp4").write_bytes(page.video())
        with av.open(str(tmp_path / "page.mp4")) as container:
            frame = next(container.decode(video=0))
        assert (frame.height, frame.width) == (48, 128)
        assert page.contents["size"] == [64, 48]

    def test_may_be_pictures(self, tmp_path: Path) -> None:
        (tmp_path / "shots").mkdir()
        for i in range(3):
            picture = np.full((*SIZE_HW, 3), 40 * i, np.uint8)
            cv2.imwrite(str(tmp_path / "shots" / f"s{i}.png"), picture)
        page = page_of(make_result(tmp_path / "shots", tmp_path / "out"))
        assert (page.regions()[2] == words_of(classes(2, SIZE_HW))).all()


def test_results_of_namesakes_are_found_with_their_own_videos(cli, tmp_path: Path) -> None:
    for name in ("a", "b"):
        (tmp_path / name).mkdir()
    clips = [make_clip(tmp_path / name / "clip.mp4", frames=2) for name in ("a", "b")]
    ended = cli("segment", *clips, "-o", tmp_path / "out", "--save", "masks,jsonl")
    assert ended.code == 0, ended.err
    groups = find_records([tmp_path / "out"])
    assert [find_video(open_results(one)[0], None).path for one in groups] == clips
    assert len(find_records([tmp_path / "out", tmp_path / "out"])) == 2

    pages = write_pages(ViewRequest(results=(tmp_path / "out",), out=tmp_path / "pages"))
    assert [page.path for page in pages] == [
        tmp_path / "pages" / name / "clip.view.html" for name in ("a", "b")
    ]


class TestFaults:
    @pytest.fixture
    def records(self, clip: Path, tmp_path: Path) -> Path:
        return make_result(clip, tmp_path / "out")

    def refuse(self, place: Path, match: str, kind: type[VidparseError] = InputError) -> None:
        with pytest.raises(kind, match=match) as caught:
            page_of(place)
        assert "\n" not in str(caught.value)
        assert not [*place.parent.rglob("*.view*")]

    def test_missing_outputs_say_what_to_save(self, records: Path) -> None:
        shutil.rmtree(records.with_name("clip.masks"))
        self.refuse(records, r"no masks or ids beside it; segment .* --save masks,jsonl")
        records.unlink()
        self.refuse(records.parent, r"holds no .jsonl; segment .* --save masks,jsonl")
        self.refuse(records, "no such file or folder")

    def test_a_missing_mask(self, records: Path) -> None:
        (records.with_name("clip.masks") / "000004.png").unlink()
        self.refuse(records, r"000004.png: missing, though the records have the frame")

    def test_masks_of_another_size_or_class(self, records: Path) -> None:
        path = str(records.with_name("clip.masks") / "000004.png")
        cv2.imwrite(path, np.zeros((8, 8), np.uint8))
        self.refuse(records, "frame 4 is 8x8, the video 64x48")
        cv2.imwrite(path, np.full(SIZE_HW, 77, np.uint8))
        self.refuse(records, "frame 4 has id 77, which its records do not")

    @pytest.mark.parametrize(
        ("change", "match"),
        [
            (lambda lines: [], "is empty"),
            (lambda lines: ["{}"], "no records of segment"),
            (lambda lines: ["nothing"], "no records of segment"),
            (lambda lines: lines[:1], "holds no frame"),
            (lambda lines: [*lines[:3], lines[3][:40]], "line 4 is no record of a frame"),
            (lambda lines: [*lines[:3], lines[2]], "line 4 .* does not come after"),
            (lambda lines: [lines[0].replace('"1/', '"0/'), *lines[1:]], "no records of segment"),
            (lambda lines: [lines[0], lines[1].replace('"class_id":0', '"class_id":3')], "line 2"),
            (lambda lines: [lines[0], lines[1].replace('"area":', '"area":-')], "line 2"),
        ],
    )
    def test_damaged_records(
        self, change: Callable[[list[str]], list[str]], match: str, records: Path
    ) -> None:
        lines = change(records.read_text().splitlines())
        records.write_text("".join(f"{line}\n" for line in lines))
        self.refuse(records, match)

    @pytest.mark.parametrize("counts", ["", "0" * 9, "P" * 99, "\u00e9", "99999999"])
    def test_damaged_run_lengths(self, counts: str, clip: Path, tmp_path: Path) -> None:
        records = make_result(clip, tmp_path / "rle", ["jsonl"], rle=True)
        head, first, *rest = records.read_text().splitlines()
        frame = json.loads(first)
        frame["segments"][0]["rle"]["counts"] = counts
        records.write_text("\n".join([head, json.dumps(frame), *rest]))
        self.refuse(records, "frame 0 has a damaged mask")

    def test_a_place_that_holds_something_else(self, records: Path) -> None:
        mine = records.with_name("mine.html")
        mine.write_text("precious")
        with pytest.raises(OutputError, match="is there and no HTML page"):
            page_of(records, out=mine)
        assert mine.read_text() == "precious"

    def test_three_results(self, records: Path) -> None:
        with pytest.raises(UsageError, match="3 results; give one, or 2 to compare"):
            page_of(records, records, records)


class TestCommandLine:
    def test_writes_a_page_per_video(self, cli: Callable[..., Any], tmp_path: Path) -> None:
        for name in ("a", "b"):
            make_result(make_clip(tmp_path / f"{name}.mp4", frames=3), tmp_path / "out")
        ended = cli("view", tmp_path / "out")
        assert ended.code == 0
        for name in ("a", "b"):
            assert (tmp_path / "out" / f"{name}.view.html").is_file()
            assert f"{name}.view.html" in ended.err
        ended = cli("view", tmp_path / "out", "-o", tmp_path / "page.html")
        assert ended.code == 2 and "give a folder" in ended.err

    def test_takes_what_segment_writes(self, cli: Callable[..., Any], clip: Path) -> None:
        folder = clip.parent / "out"
        assert cli("segment", clip, "-o", f"{folder}/", "--save", "masks,jsonl").code == 0
        ended = cli("view", folder, "-q", "-o", clip.parent / "page.html")
        assert (ended.code, ended.err) == (0, "")
        assert ViewPage(clip.parent / "page.html").contents["frames"] == 12

    def test_background_begins_hidden(self, clip: Path, tmp_path: Path) -> None:
        labels = Labels("voc-like", ("background", "car", "dog"), TOY.colours, TOY.things)
        make_result(clip, tmp_path, labels=labels)
        listed = page_of(tmp_path).contents["classes"]
        assert [one["hidden"] for one in listed] == [True, False]


def test_a_page_does_not_go_to_stdout(cli, tmp_path):
    ended = cli("view", tmp_path, "-o", "-")
    assert (ended.code, "a page is a file" in ended.err) == (2, True), ended.err


def test_a_name_that_is_no_utf8_is_shown(clip: Path, tmp_path: Path) -> None:
    odd = Path(os.fsdecode(os.fsencode(tmp_path) + b"/caf\xe9.mp4"))
    try:
        clip.rename(odd)
    except OSError:
        pytest.skip("this file system takes UTF-8 names alone")
    make_result(odd, tmp_path / "out")
    page = page_of(tmp_path / "out", video=str(odd))
    assert len(page.regions()) == 12


def test_a_page_that_is_there_stays(clip: Path, tmp_path: Path) -> None:
    make_result(clip, tmp_path)
    request = ViewRequest(results=(tmp_path,))
    (page,) = write_pages(request)
    before = page.path.stat().st_mtime_ns
    with pytest.raises(OutputError, match=r"exists; use --overwrite or -o"):
        write_pages(request)
    assert page.path.stat().st_mtime_ns == before
    assert write_pages(replace(request, overwrite=True))


def test_one_broken_result_does_not_stop_the_others(tmp_path: Path) -> None:
    for name in ("a", "b", "c"):
        make_result(make_clip(tmp_path / f"{name}.mp4", frames=3, size_hw=SIZE_HW), tmp_path)
    (tmp_path / "b.jsonl").write_text("{}\n")
    pages: list[str] = []
    errors: list[str] = []
    with pytest.raises(InputError, match=r"view: 1 of 3 pages could not be written"):
        write_pages(
            ViewRequest(results=(tmp_path,)),
            on_page=lambda page: pages.append(page.path.name),
            on_error=lambda error: errors.append(str(error)),
        )
    assert pages == ["a.view.html", "c.view.html"]
    (error,) = errors
    assert "b.jsonl: no records of segment" in error


@pytest.mark.parametrize(
    "name", ["</script><script>alert(1)//", "<!-- BLOCKS GO HERE -->", "__proto__"]
)
def test_hostile_names_of_classes_stay_words(name: str, clip: Path, tmp_path: Path) -> None:
    labels = replace(TOY, classes=(name, *TOY.classes[1:]))
    make_result(clip, tmp_path, labels=labels)
    page = page_of(tmp_path)
    assert name in [one["name"] for one in page.contents["classes"]]
    assert len(page.regions()) == 12
    assert "<script>alert" not in page.html
