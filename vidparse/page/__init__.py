"""HTML pages on one set of templates: whole by themselves, and readable without scripts."""

from vidparse.page.page import (
    DASH,
    Cell,
    Table,
    check_page,
    count,
    key,
    named_swatch,
    percent,
    points,
    render,
    write_page,
)
from vidparse.page.plot import Chart, Line, Scale, draw

__all__ = [
    "DASH",
    "Cell",
    "Chart",
    "Line",
    "Scale",
    "Table",
    "check_page",
    "count",
    "draw",
    "key",
    "named_swatch",
    "percent",
    "points",
    "render",
    "write_page",
]
