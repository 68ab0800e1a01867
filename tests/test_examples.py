"""What the repository shows people must run."""

from __future__ import annotations

import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

ROOT = Path(__file__).parent.parent
README = ROOT / "README.md"


def test_python_api_example() -> None:
    command = [sys.executable, "examples/python_api.py", "sample://street?frames=2&size=320x180"]
    out = subprocess.run(command, capture_output=True, text=True, check=True, cwd=ROOT)
    assert re.fullmatch(r"( +\d+\.\d{3} s  road +\d+\.\d%\n){2}", out.stdout)


def test_the_python_of_the_readme_runs(clip: Callable[..., Path], tmp_path: Path) -> None:
    """Its lines run as they stand, on a clip of the name that they use."""
    (lines,) = re.findall(
        r"^```python\n(.*?)^```$", README.read_text(encoding="utf-8"), re.M | re.S
    )
    assert len([line for line in lines.splitlines() if line.strip()]) <= 10
    clip("input.mp4", frames=3, rate=10)
    command = [sys.executable, "-c", lines]
    done = subprocess.run(command, capture_output=True, text=True, check=True, cwd=tmp_path)
    times = re.findall(r"^(\d\.\d{3}) s: \d+\.\d% of the picture is road$", done.stdout, re.M)
    assert times == ["0.000", "0.100", "0.200"]
    assert (tmp_path / "input.overlay.mp4").is_file()
    assert len(list((tmp_path / "input.masks").iterdir())) == 3


def test_shell_examples_parse() -> None:
    for script in (ROOT / "examples").glob("*.sh"):
        subprocess.run(["bash", "-n", str(script)], check=True)


def test_public_names_exist() -> None:
    import vidparse

    for name in vidparse.__all__:
        assert getattr(vidparse, name) is not None


def test_readme_names_every_exit_code_and_sink() -> None:
    from vidparse import errors
    from vidparse.sinks import SINKS

    text = (ROOT / "README.md").read_text(encoding="utf-8")
    codes = {
        kind.exit_code
        for kind in vars(errors).values()
        if isinstance(kind, type) and issubclass(kind, errors.VidparseError)
    }
    for code in codes:
        assert re.search(rf"^\| {code} \|", text, re.M), f"exit code {code}"
    for sink in SINKS:
        assert f"| `{sink}` |" in text, sink


def test_readme_names_every_data_set() -> None:
    from vidparse.data import FORMATS, SAMPLES

    text = (ROOT / "README.md").read_text(encoding="utf-8")
    for name in [*FORMATS, *SAMPLES]:
        assert f"`{name}`" in text, name


def test_readme_names_every_metric() -> None:
    from vidparse.evaluation.metrics import METRICS

    text = (ROOT / "README.md").read_text(encoding="utf-8")
    table = text[text.index("| `--metrics` |") :].split("\n\n")[0]
    assert [name for name in METRICS if f"`{name}`" not in table] == []


def test_bundled_weights_are_the_catalogued_ones() -> None:
    from vidparse.hub import DEFAULT_MODEL, catalogue, weights_folder
    from vidparse.models.checkpoint import file_sha256

    entries = catalogue()
    assert DEFAULT_MODEL in entries
    for name, entry in entries.items():
        folder = weights_folder()
        assert file_sha256(folder / entry.weights) == entry.sha256
        assert file_sha256(folder / entry.onnx) == entry.onnx_sha256
        card = (folder / f"{name}.md").read_text(encoding="utf-8")
        assert entry.sha256 in card and entry.onnx_sha256 in card
        for score in entry.scores.values():
            assert f"{score:.4f}" in card
