"""`vidparse view`: a page to look through the result of a run, or through two side by side."""

from __future__ import annotations

from vidparse.view.page import Page, write_pages

__all__ = ["Page", "write_pages"]
