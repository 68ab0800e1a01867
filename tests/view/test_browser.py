"""Pages of results in Chromium: what a click, a key and the pointer do, to the frame and pixel."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from support.browser import Opened, chromium
from support.clips import make_clip
from support.made_result import TOY, classes, make_result, objects
from vidparse.requests.view import ViewRequest
from vidparse.view import write_pages

SIZE_HW = (48, 64)
FRAMES = 150  # three blocks
UNEVEN = [3000 * i + 700 * (i % 3) for i in range(FRAMES)]  # pts of 1/90000 s
READY = "() => video.readyState >= 2 && !video.seeking && times !== null"
AT = "(place) => stage.layers.every((one) => one.drawn === place) && !video.seeking"


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    with chromium() as found:
        yield found


def numbered(index: int, size_hw: tuple[int, int]) -> np.ndarray:
    """RGB uint8 (H, W, 3): a grey picture, and above the eight bits of its number as squares."""
    image = np.full((*size_hw, 3), 120, np.uint8)
    for bit in range(8):
        image[:16, 8 * bit : 8 * bit + 8] = 255 * (index >> bit & 1)
    return image


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A clip of uneven times with the results of two models, and their pages."""
    root = tmp_path_factory.mktemp("view")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("support.clips.picture", numbered)
        clip = make_clip(root / "clip.mp4", frames=FRAMES, size_hw=SIZE_HW, pts=UNEVEN)
    make_result(clip, root / "a", model="left one")
    make_result(clip, root / "b", ["ids", "jsonl"], objects, model="right one")
    write_pages(ViewRequest(results=(root / "a",), out=root / "one.html"))
    write_pages(ViewRequest(results=(root / "b",), out=root / "things.html"))
    write_pages(ViewRequest(results=(root / "a", root / "b"), out=root / "two.html"))
    write_pages(ViewRequest(results=(root / "a",), out=root / "linked.html", link=True))
    return root


@pytest.fixture
def opened(browser: Any, folder: Path) -> Iterator[Any]:
    pages: list[Opened] = []

    def open_page(name: str, **wishes: Any) -> Opened:
        pages.append(Opened(browser, folder / name, **wishes))
        pages[-1].until(READY)
        return pages[-1]

    yield open_page
    for page in pages:
        assert page.errors == []
        page.close()


def canvas(page: Opened, layer: int = 0) -> np.ndarray:
    """RGBA uint8 (h, w, 4) of what is drawn over the video."""
    values = page.run(
        "(i) => { const { canvas, context } = stage.layers[i];"
        "return Array.from(context.getImageData(0, 0, canvas.width, canvas.height).data); }",
        layer,
    )
    return np.array(values, np.uint8).reshape(*SIZE_HW, 4)


def picture_number(page: Opened) -> int:
    """The number of the video's frame that is shown, as `numbered` wrote it."""
    bits = page.run(
        "() => { const canvas = document.createElement('canvas');"
        "[canvas.width, canvas.height] = [video.videoWidth, video.videoHeight];"
        "const context = canvas.getContext('2d'); context.drawImage(video, 0, 0);"
        "const grey = (i) => context.getImageData(8 * i + 4, 8, 1, 1).data[1];"
        "return [...Array(8).keys()].map(grey); }"
    )
    return sum((value > 128) << bit for bit, value in enumerate(bits))


def go(page: Opened, place: int) -> None:
    page.run("(place) => seek(place)", place)
    page.until(AT, place)


@pytest.mark.parametrize("name", ["one.html", "linked.html"])
def test_a_frame_has_its_own_picture_and_ids(opened: Any, name: str) -> None:
    page = opened(name)
    for place in (0, 1, 5, 8, 63, 64, 70, 128, FRAMES - 1):
        go(page, place)
        check_frame(page, place)
        if name == "one.html":  # a browser keeps the pixels of other files to itself
            assert picture_number(page) == place


def check_frame(page: Opened, place: int) -> None:
    """The pixels over the video are those of its ids."""
    drawn = canvas(page)
    ids = classes(place, SIZE_HW).ids
    for class_id in (0, 2):
        colours = {tuple(one) for one in drawn[ids == class_id].tolist()}
        assert len(colours) == ((ids == class_id).any()), class_id
        assert all(one[3] == 255 for one in colours)
    assert (drawn[ids == 255][:, 3] == 0).all()


def test_steps_by_keys_and_buttons_go_by_one_frame(opened: Any) -> None:
    page = opened("one.html")
    go(page, 20)
    keys = page.page.keyboard
    for press, place in (
        (lambda: keys.press("ArrowRight"), 21),
        (lambda: keys.press("ArrowRight"), 22),
        (lambda: keys.press("ArrowLeft"), 21),
        (lambda: keys.press("Shift+ArrowRight"), 31),
        (lambda: page.page.click("#back"), 30),
        (lambda: page.page.click("#on"), 31),
        (lambda: keys.press("End"), FRAMES - 1),
        (lambda: keys.press("ArrowRight"), FRAMES - 1),
        (lambda: page.page.click("#start"), 0),
    ):
        press()
        page.until(AT, place)
        assert picture_number(page) == place
    assert page.run("() => document.getElementById('frame').textContent") == "frame 0 of 149"


def test_a_rapid_row_of_seeks_ends_at_the_last(opened: Any) -> None:
    page = opened("one.html")
    page.run("() => { for (let i = 0; i < 100; i++) seek((i * 37) % 150); seek(77); }")
    page.until(AT, 77)
    assert picture_number(page) == 77


def test_playing_shows_the_ids_of_the_picture(opened: Any) -> None:
    page = opened("one.html")
    page.page.keyboard.press(" ")
    page.until("() => stage.place > 20")
    page.page.keyboard.press(" ")
    page.until("() => video.paused")
    page.page.wait_for_timeout(200)
    assert picture_number(page) == page.run("() => stage.place")
    assert page.run("() => stage.layers[0].drawn === stage.place")


def test_a_class_is_turned_off_and_on(opened: Any) -> None:
    page = opened("one.html")
    go(page, 20)
    ids = classes(20, SIZE_HW).ids
    dog = page.page.get_by_role("checkbox", name="dog")
    dog.click()
    drawn = canvas(page)
    assert (drawn[ids == 2][:, 3] == 0).all() and (drawn[ids == 0][:, 3] == 255).all()
    page.page.get_by_role("button", name="None", exact=True).click()
    assert (canvas(page)[..., 3] == 0).all()
    page.page.get_by_role("button", name="All", exact=True).click()
    assert (canvas(page)[..., 3] == 255 * (ids != 255)).all()
    assert dog.is_checked()


def test_overlay_and_opacity(opened: Any) -> None:
    page = opened("one.html")
    shown = "() => Number(getComputedStyle(stage.layers[0].canvas).opacity)"
    assert page.run(shown) == 0.5
    page.page.locator("#opacity").fill("80")
    assert page.run(shown) == 0.8
    page.page.keyboard.press("o")
    assert page.run(shown) == 0
    page.page.locator("#overlay").check()
    assert page.run(shown) == 0.8


def hover(page: Opened, row: int, column: int) -> str:
    """The words beside the pointer, over the middle of a pixel of the ids."""
    box = page.page.locator("#stage").bounding_box()
    x = box["x"] + box["width"] * (column + 0.5) / SIZE_HW[1]
    y = box["y"] + box["height"] * (row + 0.5) / SIZE_HW[0]
    page.page.mouse.move(x, y)
    tip = page.page.locator("#tip")
    return tip.inner_text() if tip.is_visible() else ""


def test_the_pointer_names_what_is_under_it(opened: Any) -> None:
    page = opened("things.html")
    go(page, 4)
    ids = objects(4, SIZE_HW).ids
    names = {3: "road", 7: "car 7", 9: "dog 9"}
    for row, column in ((6, 8), (22, 33), (40, 40), (0, 63), (47, 0)):
        assert hover(page, row, column) == names[int(ids[row, column])]
    page.page.mouse.move(1, 1)
    assert not page.page.locator("#tip").is_visible()
    go(opened("one.html"), 4)


def test_nothing_has_a_name_too(opened: Any) -> None:
    page = opened("one.html")
    assert hover(page, 2, 2) == "no class"


@pytest.mark.parametrize("button", ["First", "Longest", "Most"])
def test_jumps_lead_where_the_class_is(opened: Any, button: str) -> None:
    page = opened("one.html")
    seen = [(classes(i, SIZE_HW).ids == 2).sum() for i in range(FRAMES)]
    wanted = {"First": np.flatnonzero(seen)[0], "Longest": 10, "Most": int(np.argmax(seen))}
    row = page.page.locator("#classes .row", has_text="dog")
    row.get_by_role("button", name=button).click()
    page.until(AT, int(wanted[button]))
    assert page.run("() => stage.place") == wanted[button]


def test_a_click_in_a_timeline_goes_there(opened: Any) -> None:
    page = opened("things.html")
    for lane in ("#classes .lane >> nth=0", "#tracks .lane >> nth=0", "#flicker .lane"):
        box = page.page.locator(lane).bounding_box()
        page.page.locator(lane).click(position={"x": box["width"] * 100.5 / FRAMES, "y": 5})
        page.until(AT, 100)
        go(page, 3)
    page.page.get_by_role("button", name="Best frame of dog 9").click()
    page.until(AT, 3)


class TestTwoModels:
    def test_stand_left_and_right_of_the_border(self, opened: Any) -> None:
        page = opened("two.html")
        go(page, 4)
        assert (hover(page, 40, 5), hover(page, 40, 60)) == ("road", "road")
        assert (hover(page, 2, 5), hover(page, 2, 60)) == ("no class", "road")
        clips = "() => stage.layers.map((one) => getComputedStyle(one.canvas).clipPath)"
        assert page.run(clips) == ["inset(0px 50% 0px 0px)", "inset(0px 0px 0px 50%)"]

        # Drag the border to the right, then move it by keys.
        box = page.page.locator("#stage").bounding_box()
        middle = box["y"] + box["height"] / 2
        page.page.mouse.move(box["x"] + box["width"] / 2, middle)
        page.page.mouse.down()
        page.page.mouse.move(box["x"] + box["width"] * 0.75, middle, steps=4)
        page.page.mouse.up()
        assert page.run("() => stage.split") == pytest.approx(0.75, abs=0.01)
        assert hover(page, 2, 40) == "no class"
        page.page.locator("#wipe").focus()
        page.page.keyboard.press("Home")
        assert page.run(clips) == ["inset(0px 100% 0px 0px)", "inset(0px 0px 0px 0%)"]
        assert page.page.locator("#wipe").get_attribute("aria-valuenow") == "0"

    def test_show_their_differences_alone(self, opened: Any) -> None:
        page = opened("two.html")
        go(page, 4)
        page.page.get_by_label("Only differences").check()
        left, right = classes(4, SIZE_HW).ids, objects(4, SIZE_HW)
        other = right.classes()
        assert (canvas(page, 0)[..., 3] == 255 * ((left != other) & (left != 255))).all()
        assert (canvas(page, 1)[..., 3] == 255 * (left != other)).all()

    def test_have_jumps_each(self, opened: Any) -> None:
        page = opened("two.html")
        page.page.locator("#whose").select_option("right one")
        row = page.page.locator("#classes .row", has_text="dog")
        row.get_by_role("button", name="First").click()
        page.until(AT, 3)


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", [390, 1440])
def test_fits_its_window(opened: Any, scheme: str, width: int) -> None:
    """Nothing is wider than the window; every button has a name."""
    page = opened("two.html", color_scheme=scheme, viewport={"width": width, "height": 844})
    assert page.run("() => document.documentElement.scrollWidth") <= width
    names = page.run(
        "() => [...document.querySelectorAll('button')].map("
        "(one) => one.getAttribute('aria-label') || one.textContent)"
    )
    assert len(names) > 5 and all(names)


def test_it_loads_nothing_but_itself(opened: Any, folder: Path) -> None:
    page = opened("one.html")
    page.page.wait_for_timeout(100)
    assert [one for one in page.requests if not one.startswith(("blob:", "data:"))] == [
        (folder / "one.html").as_uri()
    ]


def test_a_browser_without_frame_callbacks_follows_the_clock(browser: Any, folder: Path) -> None:
    page = Opened(browser, folder / "one.html")
    page.page.context.add_init_script(
        "delete HTMLVideoElement.prototype.requestVideoFrameCallback; delete Uint8Array.fromBase64"
    )
    page.page.reload()
    page.until(READY)
    go(page, 70)
    assert picture_number(page) == 70
    page.page.keyboard.press(" ")
    page.until("() => stage.place > 90")
    assert page.errors == []
    page.close()


def test_names_of_others_are_words(browser: Any, tmp_path: Path) -> None:
    from vidparse.labels import Labels

    evil = "</script><script>document.title='taken'</script><img src=x onerror=alert(1)>"
    labels = Labels("toy", (evil, "car", "dog"), TOY.colours, TOY.things)
    clip = make_clip(tmp_path / "<b>.mp4", frames=3, size_hw=SIZE_HW)
    make_result(clip, tmp_path, labels=labels, model=evil)
    write_pages(ViewRequest(results=(tmp_path,), out=tmp_path / "page.html"))
    page = Opened(browser, tmp_path / "page.html")
    page.until(READY)
    assert page.page.title() == "<b>.mp4"
    assert page.page.locator("#classes .row").first.inner_text().startswith(evil)
    assert page.page.locator("main img").count() == 0
    assert hover(page, 40, 40) == evil
    assert page.errors == []
    page.close()
