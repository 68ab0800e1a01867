"""Every command line of README, guides and cards runs on small made data, and keeps its promise."""

from __future__ import annotations

import os
import re
import shlex
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from functools import cache
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest

from support.fake_hub import Hub, empty_cache, serving, small_weights
from support.made_workplace import make_workplace
from support.shown_commands import (
    README,
    ROOT,
    SHORT,
    Shown,
    anchors,
    check_filled,
    check_unrun,
    commands,
    cut,
    expanded,
    files_of,
    filled_in,
    links,
    named_outputs,
    outputs,
    python_blocks,
    spans,
    text_of,
)
from vidparse.cli.app import application
from vidparse.cli.command import command_of
from vidparse.cli.commands import COMMANDS, loaded
from vidparse.cli.complaints import Parsed

# README, guides, and records of how weights and results were made. One of them begins with files of
# another.
PLACES = ("*.md", "weights/*.md", "examples/**/*.md")
DOCUMENTS = sorted(str(path.relative_to(ROOT)) for one in PLACES for path in ROOT.glob(one))
GUIDES = [one for one in DOCUMENTS if one.startswith("examples/guides/")]
AFTER = {"weights/street-tcb.md": "weights/street-student.md"}

# Commands that are not run: they begin so. The parser of their program takes them.
NOT_RUN = {
    "pip install": "a network connection",
    "python3 -m venv": "a network connection; .ci does it",
    ". .venv/bin/activate": "the environment above",
    "ruff": "the checkout's own checks; .ci runs them",
    "mypy": "the checkout's own checks; .ci runs them",
    "pytest": "the checkout's own checks; .ci runs them",
    "vidparse export street-student -o fast.onnx --int8": "minutes: test_quantize has a small one",
    "vidparse export street-student -o weights/street-student-int8": "minutes, as the one above",
    "vidparse export street-tcb -o weights/street-tcb-int8": "minutes, as the one above",
    "vidparse export everyday-student -o fast.onnx --int8": "half an hour, and then it is refused",
    "vidparse export start.safetensors -o fast.onnx --int8": "TensorFlow made it",
    "vidparse export street-panoptic -o fast.onnx --int8": "minutes, test_panofcn_export has one",
    "vidparse export weights/": "half a minute each: test_export has small ones",
    "python examples/label_loop.py": "minutes of training; tests/disagreement has a small one",
    "python examples/tflite_teacher.py": "TensorFlow, which vidparse never installs",
    "python examples/tflite_weights.py": "TensorFlow, which vidparse never installs",
    "vidparse autolabel -m teacher.onnx": "the file of the command above",
    "vidparse eval --dataset camvid --data half": "the same file",
    "python tests/benchmarks/compare_loops.py": "half a minute of a quiet machine, at its least",
    "python tests/benchmarks/bench_view.py": "Chromium, and minutes",
    "python tests/benchmarks/bench_start.py": "half a minute of a quiet machine",
    "python tests/benchmarks/bench_stabilize.py": "half a minute of a quiet machine",
    "python tests/benchmarks/bench_slides.py": "half a minute of a quiet machine",
    "python tests/benchmarks/bench_keyframes.py": "clips of one's own, a minute each",
    "python tests/benchmarks/bench_matte.py": "DAVIS, and a minute",
    "python tests/benchmarks/bench_gpu.py": "a CUDA device",
    "python tests/benchmarks/bench_propagate.py": "masks of DAVIS, and minutes",
    "python tests/benchmarks/bench_batch.py": "two minutes of a quiet machine",
    "python tests/benchmarks/bench_scale.py": "a clip of one's own, and minutes",
    "python tests/benchmarks/bench_resume.py": "a clip of one's own, and minutes",
    "python tests/benchmarks/soak.py": "six hours of video, in a quarter of an hour",
    "python tests/fuzz/drive.py": "minutes; tests/fuzz has some cases, CI a job of its own",
    "vidparse segment input.mp4 --save jsonl --decoder gpu": "a CUDA device",
    "vidparse train --dataset camvid-objects": "objects to cut out; tests/training has made ones",
    "vidparse train --dataset folder --data even": "labels of the models above",
    "vidparse train --dataset folder --data streets": "labels of the models above, and minutes",
    "vidparse export runs/longer": "the run above",
    "vidparse export runs/second": "the run above",
    "vidparse export mean.safetensors -o weights/street19": "the mean of the runs above",
    "vidparse export street19-student -o weights/": "minutes, as the one above",
    'vidparse train --dataset "sample://street?videos': "hours; test_arms has small ones",
    "vidparse train --dataset idd-lite --data IDD --recipe sparse": "test_arms has made ones",
    "vidparse autolabel -m runs/few": "the run above",
    "vidparse eval --dataset idd-lite --data IDD --split val -m few": "the run above",
    "vidparse eval --dataset composed": "objects to cut out; tests/data has made ones",
    "vidparse eval -m street-panoptic --dataset camvid-objects": "objects of a real size",
    "vidparse segment input.mp4 -m street-panoptic --matte each": "objects of a real size",
    "vidparse segment rtsp://": "a camera on the network; tests/live has one",
    "vidparse segment camera://": "a camera of this machine",
    "vidparse segment https://": "a stream of the network; tests/live has one",
    "vidparse segment recording.mkv --follow": "a recording under way; tests/live has one",
    "ffmpeg -f v4l2": "a camera of this machine",
}


class Terminal:
    """A folder to work in, and the programs that documents call there."""

    def __init__(self, place: Path, cli: Callable[..., Any]) -> None:
        self.place, self.cli = place, cli

    def run(self, shown: Shown) -> None:
        """Run a line, cut short, or check the words of one that is not run."""
        if any(shown.line.startswith(start) for start in NOT_RUN):
            check_unrun(shown.line)
            return
        line = filled_in(shown.line)
        if "|" in line:
            self._pipe(line)
            return
        program, *words = (one for word in shlex.split(line) for one in expanded(word))
        promised = [*shown.promised]
        if program == "vidparse":
            if "openvino" in words and find_spec("openvino") is None:
                check_unrun(shown.line)  # OpenVINO is not installed here
                return
            promised += outputs(words)
            _clear(words, promised)
            ended = self.cli(*cut(words))
            assert ended.code == 0, f"{line}\n{ended.err}"
            assert promised or ended.out or ended.err, f"{line}: ends without a word"
        elif program == "torchrun":
            words[words.index("--nproc-per-node") + 1] = "2"  # of the machines that tests run on
            promised += outputs(words[words.index("vidparse") + 1 : -1])
            _clear(["train"], promised)
            _call([sys.executable, "-m", "torch.distributed.run", *words[:-1], *SHORT], line)
        elif program == "python":
            assert _call([sys.executable, str(ROOT / words[0]), *words[1:]], line).strip()
        else:
            pytest.fail(f"{line}: say how to run it, or why not (NOT_RUN)")
        for pattern in promised:
            check_filled(pattern, line)

    def _pipe(self, line: str) -> None:
        """Programs in a row; the last one's file is the promise."""
        if "ffmpeg" in line and shutil.which("ffmpeg") is None:
            check_unrun(line)
            return
        if found := re.search(r"--size (\d+)x(\d+)", line):
            from support.clips import make_clip

            size_hw = (int(found[2]), int(found[1]))
            make_clip(Path("in.mp4"), frames=2, size_hw=size_hw, rate=30)
        target = line.split()[-1]
        Path(target).unlink(missing_ok=True)
        _call(["bash", "-o", "pipefail", "-c", line], line)
        check_filled(target, line)


def _call(words: list[str], line: str) -> str:
    """Standard output of a program that ends well."""
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}
    ended = subprocess.run(words, capture_output=True, text=True, check=False, env=environment)
    assert ended.returncode == 0, f"{line}\n{ended.stderr}"
    return ended.stdout


def _clear(words: list[str], promised: list[str]) -> None:
    """Take away what an earlier command of the document wrote to the same place."""
    if "--skip-existing" in words or "--resume" in words:
        return  # these are for what an earlier command wrote
    stale = [path for pattern in promised for path in Path().glob(pattern)]
    if words[0] == "train":
        stale = [*{path.parent for path in stale}]
    for path in stale:
        shutil.rmtree(path) if path.is_dir() else path.unlink(missing_ok=True)


@pytest.fixture(scope="module")
def workplace(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("workplace")
    make_workplace(root)
    return root


@pytest.fixture
def terminal(
    workplace: Path, cli: Callable[..., Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Terminal:
    """A terminal in a copy of the workplace."""
    place = tmp_path / "place"
    shutil.copytree(workplace, place)
    monkeypatch.chdir(place)
    monkeypatch.setenv("PATH", f"{_vidparse_on_path(tmp_path)}{os.pathsep}{os.environ['PATH']}")
    return Terminal(place, cli)


@pytest.fixture
def hub(tmp_path: Path, colour_model: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Hub]:
    """A hub on the loopback that has `owner/repo`."""
    empty_cache(monkeypatch, tmp_path / "hf")
    weights = small_weights(tmp_path / "small.safetensors").read_bytes()
    with serving() as server:
        files = {"model.onnx": colour_model.read_bytes(), "model.safetensors": weights}
        server.add("owner/repo", files)
        monkeypatch.setenv("HF_ENDPOINT", server.url)
        yield server


@pytest.mark.parametrize("document", [one for one in DOCUMENTS if one not in AFTER.values()])
def test_every_command_of_a_document_runs(document: str, terminal: Terminal, hub: Hub) -> None:
    """In the order of the document, so that each finds what those before it wrote."""
    for name in filter(None, (AFTER.get(document), document)):
        text = text_of(name)
        for file, lines in files_of(text).items():
            (terminal.place / file).write_text(lines)
        for shown in commands(text):
            terminal.run(shown)
        assert ("hf:owner/repo" in text) == any("owner/repo" in request for request in hub.requests)


# CONTRIBUTING's blocks show style, test_examples runs README's.
@pytest.mark.parametrize("document", [one for one in GUIDES if python_blocks(text_of(one))])
def test_the_python_of_a_guide_runs(document: str, terminal: Terminal) -> None:
    """Each block by itself, among the files of the workplace, and it prints its result."""
    for block in python_blocks(text_of(document)):
        assert _call([sys.executable, "-c", block], block).strip()


@pytest.mark.parametrize("document", DOCUMENTS)
def test_every_link_leads_somewhere(document: str) -> None:
    for target in links(text_of(document)):
        name, _, heading = target.partition("#")
        path = (ROOT / document).parent / name if name else ROOT / document
        assert path.exists(), f"{document}: {target} is not there"
        if heading:
            assert heading in anchors(path.read_text(encoding="utf-8")), f"{document}: {target}"


def test_the_readme_leads_to_every_guide() -> None:
    assert GUIDES and set(GUIDES) <= set(links(README))


def test_every_output_has_the_name_that_the_readme_gives(terminal: Terminal) -> None:
    from vidparse.sinks import SINKS

    files = named_outputs()
    assert list(files) == list(SINKS)
    ended = terminal.cli("segment", "clip.mp4", "--save", ",".join(files))
    assert ended.code == 0, ended.err
    for kind, file in files.items():
        check_filled(file, f"--save {kind}")


@pytest.mark.parametrize("document", DOCUMENTS)
def test_every_option_that_a_text_names_is_one(document: str) -> None:
    """Also in spans that are parts of commands: `eval --split val`, `--set NAME=2`."""
    for span in spans(text_of(document)):
        words = span.removeprefix("vidparse ").split()
        if words[0] not in ("pip", "pytest", "python", "git"):
            known = options_of(words[0])
            for option in re.findall(r"(?<!\S)(--?[a-z][\w-]*)", span):
                assert option in known, f"{document}: `{span}`: {option} is no option"


@cache
def options_of(name: str) -> set[str]:
    """Options of a command and of those in its group; of all where the name is none."""
    chosen = [one for one in COMMANDS if name == one.split()[0]] or [*COMMANDS]
    found = words_of(application()).union(*map(own_options, chosen))
    return found | {"--help", "-h"}


@cache
def own_options(command: str) -> set[str]:
    return words_of(command_of(command, loaded(command)))


def words_of(command: Parsed) -> set[str]:
    return {word for one in command.params for word in (*one.opts, *one.secondary_opts)}


@pytest.mark.parametrize(
    ("line", "fault"),
    [
        ("vidparse segment input.mp4 --no-such-option", "no-such-option"),
        ("vidparse data check CamVid --no-such-option", "no-such-option"),
        ("vidparse no-such-command", "no-such-command"),
        ("python tests/benchmarks/no_such_script.py", "is not there"),
        ("pip install '.[no-such-extra]'", "no-such-extra"),
        ("pytest -m no-such-mark", "no-such-mark"),
        ("ruff check elsewhere", "not what .ci runs"),
        ("no-such-program input.mp4", "no program"),
        ("git push", "no program"),
    ],
)
def test_a_command_that_no_parser_takes_is_found(line: str, fault: str) -> None:
    with pytest.raises(Exception, match=fault):
        check_unrun(line)


def test_a_script_refuses_options_that_it_has_not() -> None:
    check_unrun("python tests/benchmarks/compare_loops.py --frames 60")
    with pytest.raises(SystemExit):
        check_unrun("python tests/benchmarks/compare_loops.py --no-such-option")


def test_a_promise_that_is_not_kept_is_found(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(AssertionError, match="not there"):
        check_filled("out.html", "a command")
    Path("out.html").touch()
    with pytest.raises(AssertionError, match="empty"):
        check_filled("out.html", "a command")
    Path("out").mkdir()
    with pytest.raises(AssertionError, match="empty"):
        check_filled("out/", "a command")


def _vidparse_on_path(folder: Path) -> Path:
    """A folder with the program `vidparse` of this checkout."""
    script = folder / "bin" / "vidparse"
    script.parent.mkdir()
    script.write_text(f'#!/bin/sh\nexec {shlex.quote(sys.executable)} -m vidparse "$@"\n')
    script.chmod(0o755)
    return script.parent


@pytest.mark.parametrize("script", sorted((ROOT / "examples").glob("*.sh")), ids=lambda p: p.name)
def test_example_scripts_run(script: Path, workplace: Path, tmp_path: Path) -> None:
    usage = re.search(rf"^#\s+examples/{script.name} (.+)$", script.read_text(), re.M)
    assert usage is not None, f"{script.name}: a comment shows how it is called"
    if "ffmpeg" in script.read_text() and shutil.which("ffmpeg") is None:
        pytest.skip("ffmpeg is not installed here")
    place = tmp_path / "place"
    shutil.copytree(workplace, place)
    path = f"{_vidparse_on_path(tmp_path)}{os.pathsep}{os.environ['PATH']}"
    words = ["bash", str(script), *usage[1].split()]
    before = {one for one in place.rglob("*")}
    ended = subprocess.run(
        words, cwd=place, env={**os.environ, "PATH": path}, capture_output=True, text=True
    )
    assert ended.returncode == 0, ended.stderr
    assert {one for one in place.rglob("*")} - before


def test_reasons_are_still_needed() -> None:
    """A command that is gone from the documents leaves no entry behind."""
    lines = [shown.line for name in DOCUMENTS for shown in commands(text_of(name))]
    for start in NOT_RUN:
        assert any(line.startswith(start) for line in lines), start
