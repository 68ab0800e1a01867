"""Pages as their tests read them: nesting checked, text and attributes kept."""

from __future__ import annotations

from html.parser import HTMLParser
from typing import TypeVar

VOID_ELEMENTS = {"meta", "img", "br", "link", "input", "hr"}


class Reader(HTMLParser):
    """Checks nesting; keeps the text, the attributes and the ids."""

    def __init__(self) -> None:
        super().__init__()
        self.open: list[str] = []
        self.seen: list[tuple[str, dict[str, str | None]]] = []
        self.words: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.seen.append((tag, dict(attrs)))
        if tag not in VOID_ELEMENTS:
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.seen.append((tag, dict(attrs)))

    def handle_endtag(self, tag: str) -> None:
        assert self.open and self.open[-1] == tag, f"</{tag}> closes {self.open[-3:]}"
        self.open.pop()

    def handle_data(self, data: str) -> None:
        if self.open and self.open[-1] not in ("style", "script"):
            self.words.append(data)

    @property
    def text(self) -> str:
        return " ".join("".join(self.words).split())


R = TypeVar("R", bound=Reader)


def read_whole(reader: R, html: str) -> R:
    """The reader, once it has read a page and found every element closed."""
    reader.feed(html)
    reader.close()
    assert not reader.open, f"never closed: {reader.open}"
    return reader
