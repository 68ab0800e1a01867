"""The outputs of `propagate`: those that its help lists, and those that cannot begin."""

from __future__ import annotations

from fractions import Fraction
from pathlib import Path

import pytest

from vidparse.errors import OutputError
from vidparse.frame import VideoInfo
from vidparse.image import ColourTags
from vidparse.labels import load_labels
from vidparse.propagation import OUTPUTS, saved_names
from vidparse.propagation.outputs import Confidence, ConfidenceVideo, Report
from vidparse.sinks import Sink, SinkOptions


def test_help_lists_what_needs_no_scores() -> None:
    assert set(saved_names()) == {name for name in OUTPUTS if not OUTPUTS[name].needs_mattes}


@pytest.mark.parametrize("kind", [Report, Confidence, ConfidenceVideo])
def test_an_output_that_cannot_begin_ends_without_a_word(tmp_path: Path, kind: type[Sink]) -> None:
    (tmp_path / "file").write_bytes(b"")
    sink = kind(tmp_path / "file" / f"x{kind.suffix}", SinkOptions())
    one = Fraction(1)
    info = VideoInfo("x", (4, 4), one, one, 1, None, one, ColourTags())
    with pytest.raises(OutputError, match="cannot be written"), sink:
        sink.open(info, load_labels("voc"))
