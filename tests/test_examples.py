"""What the repository shows people must run."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import onnxruntime
import pytest

import vidparse

ROOT = Path(__file__).parent.parent
README = ROOT / "README.md"
GUIDES = ROOT / "examples" / "guides"
TCB = ROOT / "weights" / "street-tcb.onnx"  # remembers


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


@pytest.fixture(scope="module")
def noise() -> np.ndarray:
    """Four frames in which a memory matters, uint8 (T, H, W, 3)."""
    return np.random.default_rng(0).integers(0, 256, (4, 64, 96, 3), np.uint8)


@pytest.fixture(scope="module")
def remembered(noise: np.ndarray) -> bytes:
    """Class ids of street-tcb for these frames, by the session's own runner."""
    from vidparse.inference.preprocess import to_clip

    runner = vidparse.load_model("street-tcb", backend="onnx", device="cpu", threads=1)
    preprocess = runner.description.preprocess

    def ids(frame: np.ndarray) -> bytes:
        image = vidparse.Frame.from_rgb(frame).image
        clip = to_clip(image, frame.shape[:2], preprocess)
        return runner.answer(clip[:, None]).values[0].argmax(0).astype(np.uint8).tobytes()

    found = [ids(frame) for frame in noise]
    runner.reset()
    assert ids(noise[-1]) != found[-1]
    return b"".join(found)


def test_the_state_in_python(noise: np.ndarray, remembered: bytes) -> None:
    script = ROOT / "examples" / "state_in_cpp" / "state.py"
    words = [sys.executable, str(script), str(TCB), "96x64"]
    done = subprocess.run(words, input=noise.tobytes(), capture_output=True, check=True)
    assert_same_ids(done.stdout, remembered)


def test_the_state_in_cpp(noise: np.ndarray, remembered: bytes, tmp_path: Path) -> None:
    """Built against the library of Python's onnxruntime, whose wheel lacks the headers."""
    compiler = shutil.which("c++")
    if compiler is None:
        pytest.skip("no C++ compiler is installed here")
    probe = [compiler, "-fsyntax-only", "-std=c++17", "-xc++", "-"]
    header = b"#include <onnxruntime_cxx_api.h>"
    if subprocess.run(probe, input=header, capture_output=True, check=False).returncode:
        pytest.skip("the headers of ONNX Runtime are not installed here: see CPLUS_INCLUDE_PATH")
    libraries = Path(onnxruntime.__file__).parent / "capi"
    (library,) = libraries.glob("libonnxruntime.so.*")
    (tmp_path / "libonnxruntime.so.1").symlink_to(library)

    program = tmp_path / "segment"
    source = ROOT / "examples" / "state_in_cpp" / "segment.cpp"
    build = [compiler, "-std=c++17", "-O2", "-Wall", "-Wextra", str(source), "-o", str(program)]
    build += [str(tmp_path / "libonnxruntime.so.1"), f"-Wl,-rpath,{tmp_path}"]
    built = subprocess.run(build, capture_output=True, text=True, check=False)
    assert built.returncode == 0, built.stderr

    words = [str(program), str(TCB), "96x64"]
    done = subprocess.run(words, input=noise.tobytes(), capture_output=True, check=True)
    assert_same_ids(done.stdout, remembered)


def assert_same_ids(found: bytes, expected: bytes) -> None:
    """Equal but for ties, which rounding may break in another way."""
    assert len(found) == len(expected)
    pairs = np.frombuffer(found, np.uint8) == np.frombuffer(expected, np.uint8)
    assert pairs.mean() > 0.999


def test_shell_examples_parse() -> None:
    for script in (ROOT / "examples").glob("*.sh"):
        subprocess.run(["bash", "-n", str(script)], check=True)


def test_public_names_exist() -> None:
    import vidparse

    for name in vidparse.__all__:
        assert getattr(vidparse, name) is not None


def test_readme_names_every_output() -> None:
    from vidparse.sinks import SINKS

    text = README.read_text(encoding="utf-8")
    assert [sink for sink in SINKS if f"| `{sink}` |" not in text] == []


def test_the_guide_names_every_exit_code() -> None:
    from vidparse import errors

    text = (GUIDES / "segment.md").read_text(encoding="utf-8")
    codes = {
        kind.exit_code
        for kind in vars(errors).values()
        if isinstance(kind, type) and issubclass(kind, errors.VidparseError)
    }
    assert [code for code in codes if not re.search(rf"^\| {code} \|", text, re.M)] == []


def test_the_guide_names_every_linker() -> None:
    from vidparse.inference.linkers import LINKERS

    assert list(LINKERS) == _first_column("segment.md", "| `--linker` |")[::-1]


def test_the_guide_names_every_code_base() -> None:
    from vidparse.convert import SOURCES

    assert list(SOURCES) == _first_column("models.md", "| `--from` |")


def test_the_guide_names_every_data_set() -> None:
    from vidparse.data import FORMATS, SAMPLES

    assert {*FORMATS, *SAMPLES} == {*_first_column("evaluate.md", "| `--dataset` |")}


def test_the_guide_names_every_metric() -> None:
    from vidparse.evaluation.metrics import METRICS

    text = (GUIDES / "evaluate.md").read_text(encoding="utf-8")
    table = text[text.index("| `--metrics` |") :].split("\n\n")[0]
    assert [name for name in METRICS if f"`{name}`" not in table] == []


def _first_column(guide: str, heading: str) -> list[str]:
    """Names in the first column of the table with that heading."""
    text = (GUIDES / guide).read_text(encoding="utf-8")
    rows = text[text.index(heading) :].split("\n\n")[0].splitlines()[2:]
    return [name for row in rows for name in re.findall(r"`([^`]+)`", row.split("|")[1])]


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
