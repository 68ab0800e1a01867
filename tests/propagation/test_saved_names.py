"""The outputs that the help of `propagate` lists."""

from __future__ import annotations

from vidparse.propagation import OUTPUTS, saved_names


def test_help_lists_what_needs_no_scores() -> None:
    assert set(saved_names()) == {name for name in OUTPUTS if not OUTPUTS[name].needs_mattes}
