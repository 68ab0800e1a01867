"""int8 by default: on CPUs that list VNNI, for models that come with an int8 form."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from support.colour_model import save_colour_model
from vidparse.errors import DeviceError, ModelError
from vidparse.export import rendered_clips
from vidparse.hub import catalogue, known, resolve
from vidparse.inference import ModelChoice, Runner, decided, engine_and_reason, load_model
from vidparse.inference.devices import has_vnni
from vidparse.inference.load import open_ahead
from vidparse.models.checkpoint import file_sha256, read_description, read_onnx_description
from vidparse.models.description import metadata_of

FLAGS = "processor\t: 0\nmodel name\t: made up\nflags\t\t: fpu avx2 {} sha_ni\n"


@pytest.fixture
def cpu(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[str], None]:
    """`cpu("avx_vnni")`: from now on the CPU has this flag."""

    def set_flag(flag: str) -> None:
        facts = tmp_path / "cpuinfo"
        facts.write_text(FLAGS.format(flag) * 2)
        monkeypatch.setattr("vidparse.inference.devices.CPU_FACTS", facts)

    return set_flag


@pytest.fixture
def both(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A weights folder: `both` has an int8 form beside its float32 one, `plain` has none."""
    folder = tmp_path / "weights"
    folder.mkdir()
    plain = save_colour_model(folder / "both.onnx", "camvid")
    small = _as_int8(plain, folder / "both-int8.onnx")
    entry = {
        "weights": "both.safetensors",
        "sha256": "",
        "onnx": plain.name,
        "onnx_sha256": file_sha256(plain),
        "labels": "camvid",
        "summary": "made up",
        "licence": "none",
        "scores": {},
    }
    extra = {"int8": small.name, "int8_sha256": file_sha256(small)}
    records = {"both": entry | extra, "plain": entry}
    (folder / "catalogue.json").write_text(json.dumps(records))
    monkeypatch.setattr(known, "weights_folder", lambda: folder)
    catalogue.cache_clear()
    yield folder
    catalogue.cache_clear()


def _as_int8(path: Path, copy: Path) -> Path:
    """The same network in a file marked as computing in int8."""
    import onnx

    from vidparse.models.checkpoint import read_onnx_description

    about, model = read_onnx_description(path), onnx.load(path)
    facts = metadata_of(
        arch=about.arch,
        config=about.config,
        labels=about.labels,
        preprocess=about.preprocess,
        training={"int8": {"weight_bits": 7}},
    )
    onnx.helper.set_model_props(model, facts)
    onnx.save(model, copy)
    return copy


def loaded(name: str = "both", **wishes: Any) -> Runner:
    return load_model(name, **{"device": "cpu", "threads": 1} | wishes)


class TestCpu:
    @pytest.mark.parametrize(
        ("flag", "expected"),
        [
            ("avx512_vnni", True),
            ("avx_vnni", True),
            ("", False),
            ("avx512f avx512_bf16", False),
            ("avx_vnni_int16", False),
        ],
    )
    def test_its_flags_decide(self, cpu, flag: str, expected: bool) -> None:
        cpu(flag)
        assert has_vnni() is expected

    @pytest.mark.parametrize("text", ["", "flags", "processor : 0\nFeatures : fp asimd avx_vnni\n"])
    def test_without_flags_there_is_none(self, tmp_path, monkeypatch, text: str) -> None:
        monkeypatch.setattr("vidparse.inference.devices.CPU_FACTS", tmp_path / "facts")
        assert not has_vnni()
        (tmp_path / "facts").write_text(text)
        assert not has_vnni()

    def test_no_other_test_sees_this_machines_own(self) -> None:
        assert not has_vnni()

    def test_asking_it_imports_nothing_heavy(self) -> None:
        heavy = "numpy onnxruntime torch cv2 subprocess"
        code = (
            "import sys; from vidparse.inference.devices import has_vnni; has_vnni(); "
            f"print([name for name in '{heavy}'.split() if name in sys.modules])"
        )
        run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
        assert run.stdout.strip() == "[]", run.stderr


class TestAuto:
    @pytest.mark.parametrize("openvino", [False, True])
    def test_takes_int8_on_a_cpu_with_vnni(self, both, cpu, monkeypatch, openvino: bool) -> None:
        monkeypatch.setattr("vidparse.inference.load.has_openvino", lambda: openvino)
        cpu("avx512_vnni")
        runner = loaded()
        assert (runner.backend, runner.precision) == ("onnx", "int8")
        expected = "ONNX Runtime, int8, 1 thread (auto: this CPU has VNNI)"
        assert engine_and_reason(runner) == expected

    def test_is_foreseen_by_a_start_that_opens_the_network_ahead(
        self, both, cpu, monkeypatch
    ) -> None:
        begun: list[Path] = []
        begin = "vidparse.inference.runners.ort_session.begin_session"
        monkeypatch.setattr(begin, lambda path, place, threads: begun.append(path))
        for flag in ("avx_vnni", ""):
            cpu(flag)
            open_ahead(ModelChoice("both", device="cpu", threads=1))
        assert begun == [both / "both-int8.onnx", both / "both.onnx"]

    def test_takes_fp32_elsewhere(self, both, cpu) -> None:
        cpu("")
        expected = "ONNX Runtime, fp32, 1 thread (auto: the quickest to start)"
        assert engine_and_reason(loaded()) == expected

    def test_takes_fp32_where_there_is_no_int8_form(self, both, cpu) -> None:
        cpu("avx_vnni")
        assert loaded("plain").precision == "fp32"
        assert loaded(str(both / "both.onnx")).precision == "fp32"

    @pytest.mark.parametrize("wishes", [{"precision": "fp32"}, {"backend": "onnx"}])
    def test_is_overruled(self, both, cpu, wishes: dict[str, str]) -> None:
        """A backend that is named runs the form that it always ran."""
        cpu("avx_vnni")
        assert loaded(**wishes).precision == "fp32"

    def test_the_summary_line_names_the_precision(
        self, both, cpu, cli, clip, tmp_path: Path
    ) -> None:
        cpu("avx_vnni")
        video = clip("x.mp4", frames=2)
        options = ("-m", "both", "--device", "cpu", "--threads", "1", "--save", "masks")
        run = cli("segment", video, *options, "-o", tmp_path / "out")
        assert run.code == 0 and "int8, 1 thread (auto: this CPU has VNNI)" in run.err
        exact = (*options, "--precision", "fp32", "-o", tmp_path / "exact")
        run = cli("segment", video, *exact)
        assert run.code == 0 and "int8" not in run.err


class TestPrecision:
    def test_int8_is_taken_on_any_cpu(self, both, cpu) -> None:
        cpu("")
        for backend in ("auto", "onnx"):
            runner = loaded(precision="int8", backend=backend)
            assert (runner.backend, runner.precision) == ("onnx", "int8")
            assert runner.description.path == both / "both-int8.onnx"

    def test_int8_is_taken_from_a_file(self, both) -> None:
        assert loaded(str(both / "both-int8.onnx"), precision="int8").precision == "int8"

    def test_a_model_without_it_is_named(self, both, cli, clip) -> None:
        with pytest.raises(ModelError, match="plain has no int8 form; use fp32, or make one with"):
            loaded("plain", precision="int8")
        model = ("-m", both / "both.onnx", "--precision", "int8", "--device", "cpu")
        run = cli("segment", clip("x.mp4", frames=1), *model)
        assert (run.code, len(run.lines)) == (ModelError.exit_code, 1)
        assert run.lines[0].endswith("both.onnx has no int8 form; use fp32")

    def test_torch_has_none(self, both) -> None:
        with pytest.raises(DeviceError, match="PyTorch does not compute in it; use --backend onnx"):
            loaded(precision="int8", backend="torch")

    def test_a_gpu_has_none(self, both, monkeypatch) -> None:
        monkeypatch.setattr("vidparse.inference.devices.cuda_device_count", lambda: 1)
        with pytest.raises(DeviceError, match="int8 runs on the CPU here; use --device cpu"):
            loaded(precision="int8", device="cuda")
        assert loaded(precision="int8", device="auto").device == "cpu"

    def test_a_file_that_was_changed_is_refused(self, both) -> None:
        path = both / "both-int8.onnx"
        path.write_bytes(path.read_bytes() + b"\0")
        with pytest.raises(ModelError, match="is not the published file"):
            loaded(precision="int8")


class TestWorkers:
    @pytest.mark.parametrize(("here", "there"), [("avx_vnni", ""), ("", "avx_vnni")])
    def test_decide_as_the_main_process_did(self, both, cpu, here: str, there: str) -> None:
        choice = ModelChoice("both", device="cpu", threads=1)
        cpu(here)
        mine = loaded()
        cpu(there)
        again = decided(choice, mine)
        theirs = load_model(
            again.name,
            backend=again.backend,
            device=again.device,
            precision=again.precision,
            threads=1,
        )
        assert (theirs.backend, theirs.precision) == (mine.backend, mine.precision)

    def test_what_is_chosen_stays(self, both) -> None:
        choice = ModelChoice("both", backend="onnx", device="cpu", precision="fp32")
        assert decided(choice, loaded(precision="fp32")) == choice


def test_models_shows_it(both, cli) -> None:
    records = {record["name"]: record for record in json.loads(cli("models", "--json").out)}
    names = [[Path(path).suffix for path in records[one]["files"]] for one in ("both", "plain")]
    assert names == [[".safetensors", ".onnx", ".onnx"], [".safetensors", ".onnx"]]
    assert b"bundled, int8 too" in cli("models").out


def test_a_name_gives_all_forms(both) -> None:
    files = resolve("both")
    assert (files.onnx, files.int8) == (both / "both.onnx", both / "both-int8.onnx")
    assert files.in_int8().onnx == files.int8
    assert resolve("plain").int8 is None


class TestBundled:
    """The int8 forms that come with vidparse."""

    names = tuple(entry.name for entry in catalogue().values() if entry.int8)

    def test_the_street_models_have_one(self) -> None:
        assert {"street-student", "street-tcb"} <= {*self.names}

    @pytest.mark.parametrize("name", catalogue())
    def test_auto_takes_it_where_it_pays(self, cpu, name: str) -> None:
        cpu("avx512_vnni")
        assert loaded(name).precision == ("int8" if name in self.names else "fp32")
        assert loaded(name, precision="fp32").precision == "fp32"
        cpu("")
        assert loaded(name).precision == "fp32"

    @pytest.mark.parametrize("name", names)
    def test_the_state_stays_float32(self, name: str) -> None:
        exact, small = loaded(name, precision="fp32"), loaded(name, precision="int8")
        assert small.description.state == exact.description.state
        assert small.remembers == exact.remembers == (name == "street-tcb")

    def test_workers_follow(self, tmp_path: Path, clip) -> None:
        """Each process reads its own CPU facts, which a start file makes up."""
        facts, start = tmp_path / "cpuinfo", tmp_path / "start"
        facts.write_text(FLAGS.format("avx512_vnni"))
        start.mkdir()
        (start / "sitecustomize.py").write_text(
            "from pathlib import Path\nfrom vidparse.inference import devices\n"
            f"devices.CPU_FACTS = Path({str(facts)!r})\n"
        )
        path = [str(start), str(Path(__file__).parents[2]), *sys.path]
        environment = {**os.environ, "PYTHONPATH": os.pathsep.join(path)}
        words = ("-m", "vidparse", "segment", str(clip("x.mp4", frames=6)), "-m", "street-student")
        more = ("--size", "64", "--device", "cpu", "--workers", "2", "--save", "jsonl", "--json")
        run = subprocess.run(
            [sys.executable, *words, *more, "-o", f"{tmp_path}/out/"],
            capture_output=True, text=True, env=environment,
        )  # fmt: skip
        assert run.returncode == 0, run.stderr
        assert json.loads(run.stdout)["precision"] == "int8"

    @pytest.mark.parametrize("name", names)
    def test_is_what_was_published_of_the_same_weights(self, name: str) -> None:
        files = resolve(name)
        assert files.int8 and files.entry and files.weights
        assert file_sha256(files.int8) == files.entry.int8_sha256
        about, weights = read_onnx_description(files.int8), read_description(files.weights)
        assert about.training["source_sha256"] == weights.sha256
        assert (about.labels, about.preprocess) == (weights.labels, weights.preprocess)
        card = (known.weights_folder() / f"{name}.md").read_text(encoding="utf-8")
        assert files.entry.int8_sha256 in card

    @pytest.mark.parametrize("name", names)
    def test_answers_as_float32_does(self, name: str) -> None:
        exact, small = loaded(name, precision="fp32"), loaded(name, precision="int8")
        same = [
            np.mean(
                exact.answer(clip[None]).values.argmax(1)
                == small.answer(clip[None]).values.argmax(1)
            )
            for clip in rendered_clips(4, (232, 336))
        ]
        assert np.mean(same) > 0.97
