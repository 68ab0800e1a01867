"""`vidparse models`: the list, pull, show and push, against a hub on the loopback."""

from __future__ import annotations

import errno
import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from support.fake_hub import empty_cache, serving, small_weights
from vidparse.hub import DEFAULT_MODEL, catalogue, parse_address, published_models
from vidparse.labels import available_labels, load_labels


@pytest.fixture
def hub(tmp_path, monkeypatch):
    """A hub on the loopback, and an empty cache."""
    empty_cache(monkeypatch, tmp_path / "hf")
    with serving() as server:
        monkeypatch.setenv("HF_ENDPOINT", server.url)
        yield server


@pytest.fixture
def weights(tmp_path):
    return small_weights(tmp_path / "street.safetensors")


def listed(cli) -> dict:
    return {record["name"]: record for record in json.loads(cli("models", "--json").out)}


class TestList:
    def test_the_bundled_model_with_its_facts(self, cli, hub):
        record = listed(cli)[DEFAULT_MODEL]
        assert (record["where"], record["labels"], record["classes"]) == ("bundled", "camvid", 11)
        assert record["default"]
        assert record["scores"]
        assert record["bytes"] > 1_000_000
        assert hub.requests == []

    def test_the_table_names_models_and_what_they_score_where(self, cli, hub):
        table = cli("models").out.decode()
        assert f"{DEFAULT_MODEL} (default)" in table
        for name, entry in catalogue().items():
            assert name in table
            for score in entry.scores.values():
                assert f"│ {score:.3f} " in table

    def test_cached_models_are_listed(self, cli, hub, weights):
        hub.add("me/street", {"model.safetensors": weights.read_bytes()})
        assert cli("models", "pull", "hf:me/street").code == 0
        record = listed(cli)["hf:me/street"]
        assert (record["where"], record["labels"], record["classes"]) == ("cached", "camvid", 11)
        assert record["bytes"] == weights.stat().st_size

    def test_published_models_are_listed_with_classes_licence_and_score(self, cli, hub):
        record = listed(cli)["hf:tue-mps/videomt-dinov2-large-vspw"]
        assert (record["where"], record["labels"], record["classes"]) == ("known", "vspw", 124)
        assert record["scores"] == {"VSPW val mIoU": 0.649, "VSPW val mVC16": 0.950}
        shown = cli("models").out.decode()
        for name, model in published_models().items():
            assert str(parse_address(name)) == name
            assert f"\n{name}\n    {model.task}: {model.labels}, {model.classes} classes" in shown
            assert model.licence in shown and f"{model.mib} MiB to fetch" in shown
            assert all(f"{score:.3f} {metric}" in shown for metric, score in model.scores.items())
            if model.labels in available_labels():
                assert len(load_labels(model.labels)) == model.classes
        assert hub.requests == []

    def test_a_published_model_that_was_fetched_is_listed_once(self, cli, hub, weights):
        name = "hf:tue-mps/videomt-dinov2-large-vspw"
        hub.add(name.removeprefix("hf:"), {"model.safetensors": weights.read_bytes()})
        assert cli("models", "pull", name).code == 0
        records = json.loads(cli("models", "--json").out)
        (record,) = [record for record in records if record["name"] == name]
        assert (record["where"], record["bytes"]) == ("cached", weights.stat().st_size)
        assert cli("models").out.decode().count(name) == 1

    def test_a_class_that_no_bundled_model_knows_names_one_to_fetch(self, cli, hub, tmp_path):
        ended = cli(
            "segment", "sample://street", "--classes", "waterfall", "-o", tmp_path / "o.csv"
        )
        assert ended.code == 2
        assert "-m hf:tue-mps/videomt-dinov2-large-vipseg ('waterfall')" in ended.err
        ended = cli("segment", "sample://street", "--classes", "dog", "-o", tmp_path / "o.csv")
        assert "-m everyday-student ('dog')" in ended.err and "hf:" not in ended.err

    def test_the_list_is_offline_and_quick(self):
        code = (
            "import atexit, sys; sys.argv = ['vidparse', 'models']\n"
            "from vidparse.cli.app import main\n"
            "heavy = {'torch', 'huggingface_hub'}\n"
            "atexit.register(lambda: print(*sorted(heavy & sys.modules.keys()), flush=True))\n"
            "main()"
        )
        ended = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
        assert DEFAULT_MODEL in ended.stdout
        assert ended.stdout.splitlines()[-1] == ""


class TestPull:
    def test_files_are_named(self, cli, hub, weights):
        commit = hub.add("me/street", {"model.safetensors": weights.read_bytes()})
        ended = cli("models", "pull", "hf:me/street", "--json")
        (path,) = json.loads(ended.out)["files"]
        assert commit in path

    def test_a_failure_is_one_line_and_code_4(self, cli, hub):
        ended = cli("models", "pull", "hf:no/such")
        assert (ended.code, len(ended.lines)) == (4, 1)
        assert "no such repository" in ended.err

    def test_a_process_of_its_own_pulls_then_runs_offline(
        self, hub, weights, colour_model, clip, tmp_path
    ):
        files = {
            "model.safetensors": weights.read_bytes(),
            "model.onnx": colour_model.read_bytes(),
        }
        hub.add("me/street", files)
        command = [sys.executable, "-m", "vidparse"]
        subprocess.run([*command, "models", "pull", "hf:me/street"], check=True)
        run = [*command, "segment", clip("a.mp4", frames=2), "-m", "hf:me/street"]
        run += ["--device", "cpu", "--threads", "1", "-o", tmp_path / "out.csv"]
        hub.status = 500
        subprocess.run(run, check=True, env={**os.environ, "HF_HUB_OFFLINE": "1"})
        assert (tmp_path / "out.csv").is_file()


class TestShow:
    def test_the_default(self, cli, hub):
        record = json.loads(cli("models", "show", DEFAULT_MODEL, "--json").out)
        assert record["architecture"] == "perframe"
        assert len(record["classes"]) == 11
        assert record["known"]["licence"]
        assert record["preprocess"]["short_side"] == 360
        assert record["memory_interval_s"] is None and record["profile"]["pictures"] > 0

    def test_the_pace_of_a_memory(self, cli):
        record = json.loads(cli("models", "show", "street-tcb", "--json").out)
        assert record["memory_interval_s"] == pytest.approx(1 / 15)

    def test_a_file(self, cli, weights, colour_model):
        assert b"architecture: perframe" in cli("models", "show", weights).out
        assert b"architecture: colours" in cli("models", "show", colour_model).out


class TestPush:
    @pytest.fixture
    def own(self, weights):
        return weights

    def test_what_was_pushed_can_be_pulled(self, cli, hub, own, monkeypatch):
        monkeypatch.setenv("HF_TOKEN", "hf_secret")
        own.with_suffix(".md").write_text("---\nlicense: mit\n---\n# Street\n")
        ended = cli("models", "push", own, "hf:me/street", "--json")
        assert ended.code == 0, ended.err
        assert json.loads(ended.out)["files"] == ["model.safetensors", "README.md"]
        assert "Bearer hf_secret" in hub.tokens
        assert hub.repos["me/street"]["main"]["model.safetensors"] == own.read_bytes()
        pulled = json.loads(cli("models", "show", "hf:me/street", "--json").out)
        assert pulled["architecture"] == "perframe"

    def test_the_onnx_form_goes_along(self, cli, hub, tmp_path, monkeypatch):
        from vidparse.hub import resolve

        monkeypatch.setenv("HF_TOKEN", "hf_secret")
        files = resolve(DEFAULT_MODEL)
        for path in (files.weights, files.onnx):
            shutil.copy(path, tmp_path / f"a{path.suffix}")
        assert cli("models", "push", tmp_path / "a.safetensors", "hf:me/street").code == 0
        assert set(hub.repos["me/street"]["main"]) == {"model.safetensors", "model.onnx"}

    def test_an_onnx_form_of_another_network_is_refused(self, cli, hub, own, colour_model):
        shutil.copy(colour_model, own.with_suffix(".onnx"))
        ended = cli("models", "push", own, "hf:me/street")
        assert ended.code == 4
        assert "was not exported from street.safetensors" in ended.err

    def test_without_a_token(self, cli, hub, own):
        ended = cli("models", "push", own, "hf:me/street")
        assert (ended.code, len(ended.lines)) == (4, 1)
        assert "needs a token; set HF_TOKEN" in ended.err
        assert hub.requests == []

    def test_what_is_not_ours(self, cli, hub, tmp_path):
        (tmp_path / "x.safetensors").write_bytes(b"junk")
        assert cli("models", "push", tmp_path / "x.safetensors", "hf:me/street").code == 4


class TestPathsThatTheSystemRefuses:
    """A model that cannot be reached is exit code 4, whichever command needs it."""

    @pytest.mark.parametrize("words", ["segment sample://street -m", "export", "models show"])
    @pytest.mark.parametrize("name", ["m.onnx", "m.safetensors", "."])
    def test_a_folder_without_permission(self, cli, tmp_path, monkeypatch, words, name):
        folder = tmp_path / "locked"
        folder.mkdir()
        reached = Path.stat

        def refuse(self, **options):
            raise PermissionError(errno.EACCES, os.strerror(errno.EACCES), str(self))

        def stat(self, **options):
            return (refuse if folder in self.parents else reached)(self, **options)

        monkeypatch.setattr(Path, "stat", stat)  # root, who may run the tests, is never refused
        monkeypatch.setattr(Path, "iterdir", refuse)
        out = ("-o", tmp_path / "o.onnx") if words == "export" else ()
        ended = cli(*words.split(), folder / name, *out)
        assert (ended.code, len(ended.lines)) == (4, 1), ended.err
        assert "Permission denied" in ended.err

    @pytest.mark.parametrize("ending", [".onnx", ".safetensors", ""])
    def test_a_name_longer_than_names_can_be(self, cli, ending):
        ended = cli("segment", "sample://street", "-m", "y" * 300 + ending)
        assert (ended.code, len(ended.lines)) == (4, 1)
        assert "internal error" not in ended.err
