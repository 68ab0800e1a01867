"""Habits and limits that keep files of strangers from doing more than being read."""

from __future__ import annotations

import ast
import json
import os
import re
import stat
import struct
import subprocess
import sys
import zlib
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto
from PIL import Image as Pillow

from support.fake_hub import Hub, empty_cache, serving, small_weights
from support.made_result import make_result, objects
from vidparse import limits
from vidparse.cli.process import log_to_stderr
from vidparse.data import open_dataset
from vidparse.data.dataset import ALL
from vidparse.data.pictures import read_indices
from vidparse.errors import InputError, UsageError
from vidparse.filenames import name_below, user_cache
from vidparse.sinks.stream import ByteStream
from vidparse.steering import plain_lines

ROOT = Path(__file__).parents[1] / "vidparse"
FILES = sorted(ROOT.rglob("*.py"))
# Modules that run what they read, or start a shell, or read XML with entities.
BARRED = {
    *("pickle", "cPickle", "_pickle", "dill", "cloudpickle", "joblib", "shelve", "marshal", "yaml"),
    *("code", "codeop", "runpy", "pty", "pexpect", "tarfile", "telnetlib", "ftplib"),
    *("xml.etree", "xml.etree.ElementTree", "xml.dom", "xml.dom.minidom", "xml.sax", "lxml"),
}
BARRED_CALLS = {
    *("eval", "exec", "compile", "__import__", "os.system", "os.popen", "os.execv", "os.execve"),
    *("os.spawnl", "os.spawnv", "tempfile.mktemp", "torch.hub.load", "os.umask", "breakpoint"),
    *("torch.jit.load", "torch.package.PackageImporter", "pandas.read_pickle", "cv2.FileStorage"),
}
Call = tuple[Path, ast.Call, str]


@pytest.fixture(scope="module")
def calls() -> list[Call]:
    """Every call in the package: its file, itself, and the name of what is called."""
    return [
        (path.relative_to(ROOT), node, ast.unparse(node.func))
        for path in FILES
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8")))
        if isinstance(node, ast.Call)
    ]


def keywords(call: ast.Call) -> dict[str | None, str]:
    return {one.arg: ast.unparse(one.value) for one in call.keywords}


class TestHabits:
    def test_nothing_that_runs_what_it_reads_is_imported(self) -> None:
        found = []
        for path in FILES:
            for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
                names = [one.name for one in node.names] if isinstance(node, ast.Import) else []
                if isinstance(node, ast.ImportFrom) and node.module is not None:
                    names = [node.module, *(f"{node.module}.{one.name}" for one in node.names)]
                found += [f"{path}: {name}" for name in names if name in BARRED]
        assert found == []

    def test_nothing_that_runs_what_it_reads_is_called(self, calls: list[Call]) -> None:
        assert [(path, name) for path, _, name in calls if name in BARRED_CALLS] == []

    def test_tensors_alone_are_loaded(self, calls: list[Call]) -> None:
        loads = [(path, node) for path, node, name in calls if name in ("torch.load", "np.load")]
        assert len(loads) >= 3
        for path, node in loads:
            wanted = {"weights_only": "True"}, {"allow_pickle": "False"}
            assert any(keywords(node).items() >= one.items() for one in wanted), path

    def test_no_shell_is_started(self, calls: list[Call]) -> None:
        for path, node, name in calls:
            assert "shell" not in keywords(node), path
            if name.startswith("subprocess."):
                assert isinstance(node.args[0], ast.List | ast.Name), path
                assert not isinstance(node.args[0], ast.JoinedStr), path

    def test_foreign_code_of_models_is_never_trusted(self, calls: list[Call]) -> None:
        for path, node, _ in calls:
            assert keywords(node).get("trust_remote_code", "False") == "False", path

    def test_temporary_names_are_the_systems(self, calls: list[Call]) -> None:
        """None is made by hand below /tmp; the folder of temporary files is looked up once."""
        for path in FILES:
            assert "'/tmp" not in path.read_text().replace('"', "'"), path
        users = {str(path) for path, _, name in calls if name == "tempfile.gettempdir"}
        assert users == {"filenames.py"}


class TestNames:
    @pytest.mark.parametrize(
        "name",
        [
            *(
                "/etc/passwd",
                "../x.png",
                "a/../../x.png",
                "a/..",
                "..",
                "",
                ".",
                "a\0b",
                "//host/x",
            ),
            *("C:\\x.png", "c:x.png", "..\\x.png", "a\\..\\..\\x.png", "\\\\host\\share\\x", "\\x"),
            "//host/x",
        ],
    )
    def test_that_lead_out_of_their_folder(self, name: str) -> None:
        with pytest.raises(InputError) as caught:
            name_below(name, Path("list.txt"))
        assert str(caught.value).startswith("list.txt: ")
        assert "\n" not in str(caught.value)

    @pytest.mark.parametrize("name", ["a.png", "a/b.png", "..a", "a..b/c", "con.png", "a b", "ü"])
    def test_that_stay(self, name: str) -> None:
        assert name_below(name, Path("list.txt")) == name

    @pytest.mark.parametrize("name", ["con", "aux.png", "a/NUL", "COM1.txt"])
    def test_that_are_devices_on_windows(self, name: str, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr("vidparse.filenames._ON_WINDOWS", True)
        with pytest.raises(InputError, match="is no name of a file"):
            name_below(name, Path("list.txt"))


class TestTheCacheOfAUserWithoutAHome:
    @pytest.fixture
    def shared(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
        """The folder that it would be; another user may have been there before."""
        from vidparse import filenames

        def homeless() -> Path:
            raise RuntimeError

        monkeypatch.delenv("XDG_CACHE_HOME", raising=False)
        monkeypatch.setattr("vidparse.filenames.Path.home", homeless)
        monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
        filenames._shared_cache.cache_clear()
        yield tmp_path / f"vidparse-cache-{os.getuid()}"
        filenames._shared_cache.cache_clear()

    def test_is_the_users_alone(self, shared: Path) -> None:
        assert user_cache() == shared
        assert stat.S_IMODE(shared.stat().st_mode) == 0o700

    @pytest.mark.parametrize("planted", ["a link", "open to all"])
    def test_is_another_one_where_somebody_was_before(self, shared: Path, planted: str) -> None:
        if planted == "a link":
            (shared.parent / "theirs").mkdir()
            shared.symlink_to(shared.parent / "theirs")
        else:
            shared.mkdir()
            shared.chmod(0o777)
        found = user_cache()
        assert found != shared
        assert found.parent == shared.parent
        assert stat.S_IMODE(found.stat().st_mode) == 0o700
        assert user_cache() == found, "one for the whole process"


class TestFilesThatLie:
    @pytest.mark.parametrize("length", [10**12, 2**63, 2**64 - 1, 100])
    def test_headers_of_safetensors(self, cli, clip, tmp_path: Path, length: int) -> None:
        path = tmp_path / "m.safetensors"
        path.write_bytes(struct.pack("<Q", length) + b'{"a":')
        for words in (("segment", clip("x.mkv", frames=1), "-m", path), ("models", "show", path)):
            ended = cli(*words)
            assert (ended.code, len(ended.lines)) == (4, 1)
            assert "fetch it again" in ended.err

    def test_tensors_beyond_the_end_of_a_file(self, cli, clip, tmp_path: Path) -> None:
        head = {"a": {"dtype": "F32", "shape": [10**6, 10**6], "data_offsets": [0, 4 * 10**12]}}
        text = json.dumps(head).encode()
        path = tmp_path / "m.safetensors"
        path.write_bytes(struct.pack("<Q", len(text)) + text)
        ended = cli("segment", clip("x.mkv", frames=1), "-m", path)
        assert (ended.code, len(ended.lines)) == (4, 1)

    @pytest.mark.parametrize("where", ["../secret.bin", "absolute", "link.bin"])
    def test_tensors_of_onnx_in_other_files(
        self, cli, clip, tmp_path: Path, colour_model: Path, where: str
    ) -> None:
        (tmp_path / "in").mkdir()
        model = onnx.load(colour_model)
        weights = model.graph.initializer[0]
        secret = tmp_path / "secret.bin"
        secret.write_bytes(weights.raw_data)
        (tmp_path / "in" / "link.bin").symlink_to(secret)
        weights.ClearField("raw_data")
        weights.data_location = TensorProto.EXTERNAL
        for key, value in (
            ("location", str(secret) if where == "absolute" else where),
            ("length", str(secret.stat().st_size)),
        ):
            weights.external_data.add(key=key, value=value)
        path = tmp_path / "in" / "m.onnx"
        path.write_bytes(model.SerializeToString())
        ended = cli("segment", clip("x.mkv", frames=1), "-m", path)
        assert (ended.code, len(ended.lines)) == (4, 1), ended.err

    def test_masks_of_more_pixels_than_are_allowed(
        self, tmp_path: Path, recwarn: pytest.WarningsRecorder
    ) -> None:
        """Large ones are refused, and Pillow's own warnings stay away from the user."""
        path = tmp_path / "mask.png"
        row = zlib.compress(bytes(10001 * 10000 // 8 + 10000))
        parts = (
            (b"IHDR", struct.pack(">IIBBBBB", 10000, 10000, 1, 0, 0, 0, 0)),
            (b"IDAT", row),
            (b"IEND", b""),
        )
        data = b"".join(
            struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))
            for kind, body in parts
        )
        path.write_bytes(b"\x89PNG\r\n\x1a\n" + data)
        log_to_stderr(debug=False)
        limits.allow_pixels(10**7)
        with pytest.raises(InputError, match="10000x10000 pixels are more than 10000000"):
            read_indices(path)
        assert [str(one.message) for one in recwarn] == []


class TestTheTerminal:
    def test_lines_for_it_keep_their_ends(self) -> None:
        written = 'a\x1b[31m\tb\u202e\n{"x":"\x9b2J"}\r\n\udc80'.encode("utf-8", "surrogateescape")
        assert plain_lines(written) == b'a?[31m\tb?\n{"x":"?2J"}\n?'

    @pytest.mark.parametrize("is_terminal", [True, False])
    def test_records_on_stdout(self, is_terminal: bool, tmp_path: Path) -> None:
        with (tmp_path / "out").open("w+b") as file:
            file_ = _Terminal(file, is_terminal)
            stream = ByteStream(file_)  # type: ignore[arg-type]
            stream.open()
            stream.write('{"name":"\x9b31m"}\n'.encode(), flush=True)
            stream.close(keep=True)
        wanted = "?" if is_terminal else "\x9b"
        assert (tmp_path / "out").read_text() == f'{{"name":"{wanted}31m"}}\n'


class _Terminal:
    def __init__(self, file: object, is_terminal: bool) -> None:
        self.write, self.flush = file.write, file.flush  # type: ignore[attr-defined]
        self.isatty = lambda: is_terminal


class TestSecrets:
    TOKEN = "hf_SecretSecretSecretSecretSecretSecr"

    @pytest.fixture
    def hub(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Hub]:
        """A hub with a model, and a user with a token for it."""
        empty_cache(monkeypatch, tmp_path / "home")
        monkeypatch.setenv("HF_TOKEN", self.TOKEN)
        weights = small_weights(tmp_path / "w.safetensors")
        with serving() as hub:
            hub.add("me/net", {"model.safetensors": weights.read_bytes()})
            monkeypatch.setenv("HF_ENDPOINT", hub.url)
            yield hub

    def check_kept(self, folder: Path) -> None:
        files = [one for one in folder.rglob("*") if one.is_file()]
        assert not [one for one in files if self.TOKEN.encode() in one.read_bytes()]

    @pytest.mark.parametrize("status", [0, 401, 403, 404, 429, 500])
    def test_tokens_of_the_hub_are_never_shown_or_kept(
        self, cli, clip, hub: Hub, status: int, tmp_path: Path
    ) -> None:
        hub.status = status
        for words in (
            ["models", "pull", "hf:me/net"],
            ["models", "push", tmp_path / "w.safetensors", "hf:me/other"],
            ["models"],
            ["segment", clip("x.mkv", frames=1), "-m", "hf:me/net", "-o", f"{tmp_path}/o/"],
        ):
            ended = cli(*words)
            assert self.TOKEN not in ended.out.decode() + ended.err, words
        assert status or any(self.TOKEN in one for one in hub.tokens), "it was sent"
        self.check_kept(tmp_path)

    def test_tokens_are_not_shown_with_tracebacks_either(self, hub: Hub, tmp_path: Path) -> None:
        hub.gated.add("me/net")
        words = ["models", "pull", "hf:me/net", "--debug"]
        done = subprocess.run(
            [sys.executable, "-m", "vidparse", *words], capture_output=True, timeout=120
        )
        assert done.returncode == 4
        assert b"Traceback" in done.stderr
        assert self.TOKEN.encode() not in done.stdout + done.stderr


def test_outputs_are_written_by_their_user_alone(cli, clip, tmp_path: Path) -> None:
    save = "overlay,masks,mask-video,jsonl,csv,coco,label-studio,vspw"
    before = os.umask(0o022)
    try:
        ended = cli("segment", clip("x.mkv", frames=2), "--save", save, "-o", f"{tmp_path}/o/")
    finally:
        os.umask(before)
    assert ended.code == 0, ended.err
    made = [tmp_path / "o", *(tmp_path / "o").rglob("*")]
    assert len(made) > 10
    assert not [one for one in made if one.stat().st_mode & (stat.S_IWGRP | stat.S_IWOTH)]


@pytest.mark.parametrize("mask", [0o077, 0o022])
def test_weights_are_as_open_as_other_files_of_their_user(tmp_path: Path, mask: int) -> None:
    import torch

    from vidparse.models.checkpoint import save_checkpoint

    before = os.umask(mask)
    try:
        save_checkpoint(tmp_path / "a.safetensors", {"x": torch.zeros(2)}, {})
    finally:
        os.umask(before)
    assert stat.S_IMODE((tmp_path / "a.safetensors").stat().st_mode) == 0o666 & ~mask


HOSTILE = ("../secret", "../../out/secret", "{outside}/secret", "..\\secret", "a/../../secret")


class TestNamesInsideDataSets:
    """A picture outside the data set is never opened, however a record names it."""

    @pytest.mark.parametrize("name", HOSTILE)
    @pytest.mark.parametrize("kind", ["cvat-images", "labelme", "label-studio", "coco", "vspw"])
    def test_no_picture_outside_is_found(
        self, clip, tmp_path: Path, kind: str, name: str, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        outside = tmp_path / "x" / "out"
        root = self._made(clip("clip.mkv", frames=2, codec="ffv1"), tmp_path / "x" / "set", kind)
        for ending in (".png", ".jpg", ".PNG"):
            outside.mkdir(exist_ok=True)
            (outside / f"secret{ending}").write_bytes((root / "a.png").read_bytes())
            (outside.parent / f"secret{ending}").write_bytes((root / "a.png").read_bytes())
        self._renamed(root, kind, name.format(outside=outside))

        opened: list[str] = []
        is_watching = [True]

        def watch(event: str, arguments: tuple[object, ...]) -> None:
            if event == "open" and is_watching[0]:
                opened.append(str(arguments[0]))

        sys.addaudithook(watch)
        try:
            dataset = open_dataset(self._format(kind), root, "val" if kind == "vspw" else ALL)
            for video in dataset.videos:
                for frame in video.frames:
                    dataset.load_image(frame)
        except (InputError, UsageError):
            pass
        finally:
            is_watching[0] = False
        assert not [path for path in opened if "secret" in path]

    def _format(self, kind: str) -> str:
        return {"cvat-images": "cvat"}.get(kind, kind)

    def _made(self, source: Path, root: Path, kind: str) -> Path:
        root.mkdir(parents=True)
        Pillow.fromarray(np.zeros((48, 64, 3), np.uint8)).save(root / "a.png")
        if kind != "vspw":
            make_result(source, root, (kind,), objects)
        return root

    def _renamed(self, root: Path, kind: str, name: str) -> None:
        """Give the records' pictures a name."""
        if kind == "vspw":
            (root / "data").mkdir()
            (root / "val.txt").write_text(f"{name}\n")
            return
        records = [path for path in root.rglob("*") if path.suffix in (".json", ".xml")]
        pattern = {
            "cvat-images": r'(<image [^>]*name=")[^"]*',
            "labelme": r'("imagePath": ?")[^"]*',
            "label-studio": r'("image": ?")[^"]*',
            "coco": r'("file_name": ?")[^"]*',
        }[kind]
        quoted = json.dumps(f"{name}.png")[1:-1] if kind != "cvat-images" else f"{name}.png"
        changed = 0
        for path in records:
            text, times = re.subn(
                pattern, lambda found: found[1] + quoted, path.read_text(encoding="utf-8")
            )
            changed += times
            path.write_text(text, encoding="utf-8")
        assert changed, "there was a name to replace"
