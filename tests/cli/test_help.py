"""Help pages: every option in its place, as wide as the terminal, equal on every way to them."""

from __future__ import annotations

import io
import re
import subprocess
import sys
from inspect import getdoc
from typing import Any

import pytest

from vidparse.cli.app import application
from vidparse.cli.commands import COMMANDS, OPTIONS, listed, loaded
from vidparse.cli.help import command_page, program_page
from vidparse.cli.panels import PROSE, Page
from vidparse.requests.option import Given, members_of, options_of

LEAVES = [name for name in COMMANDS if not listed(name)]


@pytest.mark.parametrize("name", LEAVES)
def test_the_line_that_lists_a_command_opens_its_docstring(name: str) -> None:
    first = (getdoc(loaded(name)) or "").split("\n\n")[0]
    assert " ".join(first.split()) == COMMANDS[name][1]


def test_the_options_of_the_program_are_those_of_its_parser() -> None:
    assert {one.opts[0]: one.help for one in application().params} == OPTIONS


@pytest.mark.parametrize("width", [40, 61, 80, 143])
@pytest.mark.parametrize("name", LEAVES)
def test_a_page_is_as_wide_as_the_terminal(
    name: str, width: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", str(width))
    lines = command_page(name, loaded(name)).splitlines()
    assert {len(line) for line in lines if line[:1] in tuple("╭│╰")} == {width}
    assert max(map(len, lines)) <= width


@pytest.mark.parametrize("name", LEAVES)
def test_a_page_names_every_option_and_how_its_help_begins(
    name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "300")
    page = command_page(name, loaded(name))
    for one in options_of(tuple(filter(None, members_of(loaded(name)).values()))):
        shown = one.flag if f" {one.flag} " in page else getattr(one.option, "metavar", one.name)
        assert re.search(f"│.* {re.escape(shown or one.name)}.*{re.escape(opening(one))}", page)


def opening(one: Given) -> str:
    return one.option.help.split("{")[0][:40]


@pytest.mark.parametrize("line", ["", "segment", "models", "models show", "data", "data check"])
def test_the_parser_shows_the_page_that_the_way_in_shows(line: str, cli: Any) -> None:
    words = line.split()
    run = [sys.executable, "-m", "vidparse", *words, "--help"]
    alone = subprocess.run(run, capture_output=True, check=True).stdout
    assert alone and cli(*words, "-h").out == alone


def test_defaults_in_brackets_are_words_and_no_markup() -> None:
    assert "[default: as it was trained]" in " ".join(
        command_page("segment", loaded("segment")).replace("│", "").split()
    )


class TestPage:
    def test_columns_are_as_wide_as_their_cells_and_the_last_one_takes_the_rest(self) -> None:
        page = Page(40)
        rows = [
            ([("--a", PROSE)], [("Of words, more than a line.", PROSE)]),
            ([("--long", PROSE)], [("Short.", PROSE), ("[default: 1]", PROSE)]),
        ]
        page.table("Options", rows)
        assert str(page).splitlines() == [
            "╭─ Options ────────────────────────────╮",
            "│ --a     Of words, more than a line.  │",
            "│ --long  Short. [default: 1]          │",
            "╰──────────────────────────────────────╯",
        ]

    def test_pieces_stand_below_each_other_where_they_do_not_fit(self) -> None:
        page = Page(30)
        page.table("O", [([("-x", PROSE)], [("Twelve chars", PROSE), ("[default: 1]", PROSE)])])
        assert str(page).splitlines()[1:3] == [
            "│ -x  Twelve chars           │",
            "│     [default: 1]           │",
        ]

    def test_a_word_longer_than_a_line_is_broken(self) -> None:
        page = Page(30)
        page.prose("x" * 30)
        assert str(page).splitlines() == [f" {'x' * 28}", " xx"]

    def test_colours_change_no_letter(self) -> None:
        pages = [Page(50, colour=colour) for colour in (False, True)]
        for page in pages:
            page.usage("vidparse toy [OPTIONS]")
            page.prose("Plays, as `--set a=1` or -o - say.\n\nMore of it.")
            page.table("Options", [([("--toy", "1;36")], [("See --help, too.", PROSE)])])
        plain, coloured = map(str, pages)
        assert re.sub(r"\033\[[0-9;]*m", "", coloured) == plain
        assert "`\033[1;36m--set\033[0m a=1`" in coloured
        assert "\033[1;32m-o\033[0m - say" in coloured


@pytest.mark.parametrize(
    ("environment", "has_colour"),
    [({}, False), ({"FORCE_COLOR": "1"}, True), ({"FORCE_COLOR": "1", "NO_COLOR": "1"}, False)],
)
def test_colours_are_for_terminals(
    environment: dict[str, str], has_colour: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("NO_COLOR", "FORCE_COLOR", "GITHUB_ACTIONS", "PY_COLORS", "TERM"):
        monkeypatch.delenv(name, raising=False)
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    assert ("\033[" in program_page()) == has_colour


def test_frames_are_made_of_letters_that_the_screen_has(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "stdout", io.TextIOWrapper(io.BytesIO(), encoding="latin-1"))
    assert program_page().encode("latin-1").count(b"+-") >= 2


@pytest.mark.parametrize("width", [24, 32, 39, 50])
@pytest.mark.parametrize("name", ["", *COMMANDS])
def test_a_narrow_page_breaks_no_word_that_has_room(
    name: str, width: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    def words_at(width: int) -> set[str]:
        monkeypatch.setenv("COLUMNS", str(width))
        page = command_page(name, loaded(name)) if name else program_page()
        assert max(map(len, page.splitlines())) <= width
        return set(page.split())

    assert {
        word for word in words_at(400) if "─" not in word and len(word) <= width - 6
    } <= words_at(width)
