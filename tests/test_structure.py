"""The import graph goes one way, pages read well, and the command line starts without weight."""

from __future__ import annotations

import ast
import os
import re
import resource
import subprocess
import sys
from pathlib import Path

import pytest

from support.clips import make_clip
from support.pages import Page, pages_of, walls

ROOT = Path(__file__).parent.parent / "vidparse"
# A module imports only from earlier entries. Entries on one line may not import each other.
ORDER = [
    {"errors", "steering"},
    {"addresses", "arrival"},
    {"limits"},
    {"textfiles"},
    {"filenames"},
    {"files"},
    {"tables"},
    {"threads"},
    {"requests"},
    {"page"},
    {"image"},
    {"frame"},
    {"labels"},
    {"maps", "flow"},
    {"matting"},
    {"scenes"},
    {"video"},
    {"sinks"},
    {"models"},
    {"hub", "export", "convert"},
    {"inference"},
    {"live"},
    {"data"},
    {"evaluation", "view"},
    {"disagreement", "propagation"},
    {"training"},
    {"workers", "ledger"},
    {"resume"},
    {"batch"},
    {"jobs"},
    {"run"},
    {"bench"},
    {"cli"},
    {"__main__"},
]
RANK = {name: i for i, names in enumerate(ORDER) for name in names}
FILES = sorted(ROOT.rglob("*.py"))
WALLS = 0  # long functions without paragraphs
HIDING_WORDS = 2  # see `pages.WORDS`; these two are names in stored results
ANYS = 31  # times that the word `Any` stands in the package; fewer with each change


@pytest.fixture(scope="module")
def pages() -> list[Page]:
    return pages_of(ROOT)


def unit(path: Path) -> str:
    return path.relative_to(ROOT).parts[0].removesuffix(".py")


def imported_units(path: Path) -> set[str]:
    """First-level vidparse modules imported anywhere in a file, inside functions included."""
    found = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}: relative import"
            found |= {f"{node.module}.{alias.name}" for alias in node.names}
    parts = [name.split(".") for name in found if name.startswith("vidparse.")]
    return {name[1] for name in parts if name[1] not in {"__version__", "DEFAULT_MODEL"}}


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(ROOT)))
def test_imports_point_down(path: Path) -> None:
    me = unit(path)
    if me == "__init__":
        return
    assert me in RANK, f"{me} has no place in the order"
    for other in imported_units(path) - {me}:
        assert RANK[other] < RANK[me], f"{me} must not import {other}"


def test_files_are_named_after_a_noun() -> None:
    drawers = {"utils", "util", "common", "helpers", "misc", "base"}
    assert not [path for path in FILES if path.stem in drawers]


def test_long_functions_have_paragraphs(pages: list[Page]) -> None:
    found = [str(function) for function in walls(pages)]
    assert len(found) <= WALLS, "open each step with a blank line: " + "; ".join(found)


def test_words_say_who_does_what(pages: list[Page]) -> None:
    found = [word for page in pages for word in page.words]
    assert len(found) <= HIDING_WORDS, "; ".join(found)


def test_types_say_what_values_are() -> None:
    uses = {path: len(re.findall(r"\bAny\b", path.read_text(encoding="utf-8"))) for path in FILES}
    found = [f"{path} {count}" for path, count in uses.items() if count]
    assert sum(uses.values()) <= ANYS, "name the type, or `object`, or `Json`: " + "; ".join(found)


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(ROOT)))
def test_nobody_guesses_about_a_network(path: Path) -> None:
    """What a network is stands in `models/network.py`; no attribute is looked for elsewhere."""
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name):
            if node.func.id not in ("hasattr", "getattr", "isinstance"):
                continue
            about = ast.unparse(node.args[0]) if node.args else ""
            if node.func.id in ("hasattr", "getattr"):
                its_own_file = unit(path) == "models" and about == "config"
                assert its_own_file or not {"network", "config"} & set(about.split(".")), about
            if node.func.id == "isinstance":
                assert about != "network", ast.unparse(node)
        if isinstance(node, ast.arg | ast.AnnAssign) and node.annotation is not None:
            name = node.arg if isinstance(node, ast.arg) else ast.unparse(node.target)
            assert (name, ast.unparse(node.annotation)) != ("network", "Any")


def test_only_video_touches_pyav() -> None:
    users = set()
    for path in FILES:
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            names = [a.name for a in node.names] if isinstance(node, ast.Import) else []
            if isinstance(node, ast.ImportFrom):
                names = [node.module or ""]
            if any(name.split(".")[0] == "av" for name in names):
                users.add(unit(path))
    assert users == {"video"}


PARSER = {"typer", "click", "argparse", "rich"}  # those of others, and what they print with
LIBRARIES = {"torch", "av", "cv2", "numpy", "onnxruntime", "onnx", "huggingface_hub", "pydantic"}


def loaded_by(*words: str, **environment: str) -> set[str]:
    """All modules that are loaded once the command line has answered."""
    code = (
        "import atexit, os, sys; sys.argv[:] = ['vidparse', *sys.argv[1:]]\n"
        "atexit.register(lambda: os.write(2, ' '.join(sys.modules).encode()))\n"
        "from vidparse.cli import main; main()"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, *words], capture_output=True, env=os.environ | environment
    )
    assert done.returncode == 0, done.stderr
    return {*done.stderr.decode().split()}


def packages(modules: set[str]) -> set[str]:
    return {name.split(".")[0] for name in modules}


def ours(modules: set[str]) -> set[str]:
    return {name for name in modules if name.startswith("vidparse.")}


def test_help_loads_its_table_and_nothing_else() -> None:
    loaded = loaded_by("--help")
    assert not packages(loaded) & (PARSER | LIBRARIES | {"dataclasses", "typing", "inspect"})
    names = {"commands", "entry", "help", "panels", "process", "terminal"}
    assert ours(loaded) == {
        "vidparse.errors",
        "vidparse.steering",
        "vidparse.cli",
        *(f"vidparse.cli.{n}" for n in names),
    }


def test_help_of_a_command_loads_no_parser_and_no_other_command() -> None:
    loaded = loaded_by("models", "show", "--help")
    assert not packages(loaded) & LIBRARIES
    assert "vidparse.cli.segment" not in loaded and "vidparse.requests.segment" not in loaded


def test_completion_of_commands_loads_none_of_them() -> None:
    line = {"COMP_WORDS": "vidparse se", "COMP_CWORD": "1"}
    loaded = loaded_by(_VIDPARSE_COMPLETE="complete_bash", **line)
    assert not packages(loaded) & (LIBRARIES | PARSER - {"typer"})
    assert not {name for name in loaded if name.startswith("vidparse.requests.segment")}
    assert "vidparse.cli.segment" not in loaded


def test_help_is_quick() -> None:
    """In CPU time, measured against an import of numpy in turn: a busy machine slows both."""

    def seconds(*words: str) -> float:
        before = resource.getrusage(resource.RUSAGE_CHILDREN)
        subprocess.run([sys.executable, *words], capture_output=True, check=True)
        after = resource.getrusage(resource.RUSAGE_CHILDREN)
        return after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime

    turns = [(seconds("-m", "vidparse", "--help"), seconds("-c", "import numpy")) for _ in range(5)]
    help_s, numpy_s = (min(times) for times in zip(*turns, strict=True))
    assert help_s < numpy_s / 2  # a third of it, as measured


def test_segmenting_with_onnx_does_not_import_torch() -> None:
    code = (
        "import sys, vidparse; from vidparse.run import segment; "
        "vidparse.load_model(device='cpu'); print('torch' in sys.modules)"
    )
    out = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert out.stdout.strip() == "False"


def test_segmenting_loads_no_other_network_and_no_other_reader(tmp_path: Path) -> None:
    """With the default model and outputs: nothing of panoptic networks, pages, scenes or Pillow.

    Nor is there a bar, a worker, or a reader of mask videos; and Typer brings no types of types
    along, as no number is given.
    """
    clip = make_clip(tmp_path / "clip.mp4", frames=1)
    loaded = loaded_by("segment", str(clip), "-o", f"{tmp_path}/", "--quiet", "--size", "64")
    assert not packages(loaded) & {"PIL", "torch", "scipy", "jinja2", "openvino", "onnx"}
    assert not packages(loaded) & (
        PARSER - {"typer"} | {"pydantic", "safetensors", "multiprocessing"}
    )
    assert not ours(loaded) & {f"vidparse.workers.{name}" for name in ("crew", "job", "sharing")}
    assert "vidparse.video.maskvideo" not in loaded
    panoptic = ("centre_maps", "kernel_maps", "masks", "track_linker", "tracking", "tracks")
    assert not ours(loaded) & {f"vidparse.inference.{name}" for name in panoptic}
    assert "vidparse.inference.runners.pytorch" not in loaded


def test_a_network_is_opened_while_other_modules_are_loaded(tmp_path: Path) -> None:
    """Its thread begins before PyAV is loaded, and brings no module of its own."""
    clip = make_clip(tmp_path / "clip.mp4", frames=1)
    code = (
        "import sys, threading; from vidparse.cli.command import call, command_of\n"
        "from vidparse.cli.segment import segment\n"
        "begin = threading.Thread.start\n"
        "def start(self):\n"
        "    if self.name == 'vidparse-open': print('av' in sys.modules)\n"
        "    begin(self)\n"
        "threading.Thread.start = start\n"
        "call(command_of('segment', segment), sys.argv[1:])"
    )
    words = [clip, "-o", f"{tmp_path}/", "--quiet", "--size", "64"]
    out = subprocess.run([sys.executable, "-c", code, *words], capture_output=True, check=True)
    assert out.stdout.split() == [b"False"]


def test_names_of_tables_load_no_library() -> None:
    """Those that the help of `segment` lists."""
    loaded = loaded_by("segment", "--help")
    assert not packages(loaded) & (PARSER | LIBRARIES)
