"""Models of the hub: what is fetched, what stays cached, and the error of each failure."""

from __future__ import annotations

import errno
import json
import socket
from importlib.util import find_spec

import pytest

from support.fake_hub import empty_cache, serving, small_weights
from vidparse.errors import ModelError
from vidparse.hub import cached_models, catalogue, known, parse_address, resolve
from vidparse.hub.address import HubAddress
from vidparse.models.checkpoint import file_sha256


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


@pytest.fixture
def ours(weights, colour_model):
    """The files of a repository of ours."""
    return {
        "README.md": b"# Card",
        "model.onnx": colour_model.read_bytes(),
        "model.safetensors": weights.read_bytes(),
    }


class TestAddresses:
    @pytest.mark.parametrize(
        ("text", "address"),
        [
            ("hf:a/b", HubAddress("a/b")),
            ("hf:a/b@v1.0", HubAddress("a/b", "v1.0")),
            ("hf:a/b/x.onnx", HubAddress("a/b", "main", "x.onnx")),
            ("hf:a/b@refs/pr/7/sub/x.onnx", HubAddress("a/b", "refs/pr/7", "sub/x.onnx")),
        ],
    )
    def test_parts(self, text, address):
        assert parse_address(text) == address
        assert str(address) == text

    @pytest.mark.parametrize(
        "text", ["hf:", "hf:a", "hf:a/", "hf:a/b@", "hf:../b", "hf:a/b@../../x", "hf:a/b/../../c"]
    )
    def test_what_is_no_address(self, text):
        with pytest.raises(ModelError, match="not an address; write hf:owner/repo"):
            resolve(text)


class TestPull:
    def test_both_forms_come_and_stay(self, hub, ours):
        commit = hub.add("me/street", ours)
        files = resolve("hf:me/street")
        assert files.name == "street"
        assert files.weights.read_bytes() == ours["model.safetensors"]
        assert files.onnx.read_bytes() == ours["model.onnx"]
        assert files.weights.parent.name == commit
        assert not any(request.endswith("README.md") for request in hub.requests)
        hub.requests.clear()
        assert resolve("hf:me/street") == files
        assert resolve(f"hf:me/street@{commit}") == files
        assert hub.requests == []

    def test_cached_models_need_no_network(self, hub, ours, monkeypatch):
        hub.add("me/street", ours)
        with pytest.raises(ModelError, match=r"not on this machine .* HF_HUB_OFFLINE is set"):
            monkeypatch.setenv("HF_HUB_OFFLINE", "1")
            resolve("hf:me/street")
        assert hub.requests == []
        monkeypatch.delenv("HF_HUB_OFFLINE")
        files = resolve("hf:me/street")
        monkeypatch.setenv("HF_HUB_OFFLINE", "1")
        assert resolve("hf:me/street") == files

    def test_a_refresh_brings_the_branch_up_to_date(self, hub, ours):
        hub.add("me/street", ours)
        old = resolve("hf:me/street")
        new = hub.add("me/street", ours | {"model.onnx": b"new"})
        assert resolve("hf:me/street") == old
        assert resolve("hf:me/street", refresh=True).onnx.read_bytes() == b"new"
        assert resolve("hf:me/street").weights.parent.name == new

    def test_revisions_and_files_by_name(self, hub, ours):
        hub.add("me/street", ours)
        hub.add("me/street", {"other.safetensors": ours["model.safetensors"]}, "v2")
        files = resolve("hf:me/street@v2/other.safetensors")
        assert (files.weights.name, files.onnx) == ("other.safetensors", None)
        assert resolve("hf:me/street@v2").weights == files.weights
        assert resolve("hf:me/street/model.onnx").weights is None

    def test_one_cached_file_does_not_stand_for_the_repository(self, hub, ours):
        data = ours["model.safetensors"]
        hub.add("me/two", {"a.safetensors": data, "b.safetensors": data})
        resolve("hf:me/two/a.safetensors")
        with pytest.raises(ModelError, match=r"several models; name one of a.safetensors, b"):
            resolve("hf:me/two")

    def test_a_broken_connection_is_taken_up_where_it_broke(self, hub, ours, monkeypatch):
        from huggingface_hub import constants

        monkeypatch.setattr(constants, "DOWNLOAD_CHUNK_SIZE", 1000)
        hub.add("me/street", ours)
        hub.cut_once.add("model.safetensors")
        files = resolve("hf:me/street")
        assert files.weights.read_bytes() == ours["model.safetensors"]
        (requested,) = hub.ranges
        half = len(ours["model.safetensors"]) // 2
        assert half - 1000 < int(requested.removeprefix("bytes=").rstrip("-")) <= half

    def test_a_transformers_checkpoint_is_a_folder(self, hub, monkeypatch):
        monkeypatch.setattr("vidparse.hub.client._is_installed", lambda: True)  # all is installed
        from numpy import zeros
        from safetensors.numpy import save

        config = {"architectures": ["SegformerForSemanticSegmentation"], "id2label": {"0": "wall"}}
        hub.add(
            "them/seg",
            {
                "config.json": json.dumps(config).encode(),
                "preprocessor_config.json": b"{}",
                "model.safetensors": save({"x": zeros(3)}, {"format": "pt"}),
                "pytorch_model.bin": b"pickle",
            },
        )
        files = resolve("hf:them/seg")
        assert (files.weights, files.onnx, files.name) == (None, None, "seg")
        assert sorted(path.name for path in files.transformers.iterdir()) == [
            "config.json",
            "model.safetensors",
            "preprocessor_config.json",
        ]
        assert resolve(str(files.transformers)).transformers == files.transformers
        (found,) = cached_models()
        assert (found.labels, found.classes) == ("SegformerForSemanticSegmentation", 1)


class TestKnown:
    """Entries of the catalogue whose weights are on the hub."""

    @pytest.fixture
    def known(self, hub, ours, tmp_path, monkeypatch):
        commit = hub.add("me/street", ours)
        entry = {
            "weights": "model.safetensors",
            "sha256": "",
            "onnx": "",
            "onnx_sha256": "",
            "labels": "camvid",
            "summary": "streets",
            "licence": "MIT",
            "scores": {},
            "repo": "me/street",
            "revision": commit,
        }

        def write(**changes):
            folder = tmp_path / "weights"
            folder.mkdir(exist_ok=True)
            record = {"far": entry | changes}
            (folder / "catalogue.json").write_text(json.dumps(record))
            monkeypatch.setattr(known, "weights_folder", lambda: folder)
            catalogue.cache_clear()

        yield write
        catalogue.cache_clear()

    def test_a_known_name_is_downloaded_once(self, known, hub, weights):
        known(sha256=file_sha256(weights))
        files = resolve("far")
        assert files.entry.name == "far"
        assert files.weights.read_bytes() == weights.read_bytes()
        hub.requests.clear()
        assert resolve("far") == files
        assert hub.requests == []

    def test_another_sum_than_published_is_refused_and_deleted(self, known):
        known(sha256="0" * 64)
        for _ in range(2):  # the second time it must not be taken from the cache
            with pytest.raises(ModelError, match=r"far: model.safetensors is not the published"):
                resolve("far")


class TestFailures:
    def test_a_download_that_differs_from_the_hubs_sum(self, hub, ours):
        hub.add("me/street", ours)
        hub.spoiled.add("model.safetensors")
        with pytest.raises(ModelError, match=r"model.safetensors is not the published file"):
            resolve("hf:me/street")
        hub.spoiled.clear()
        assert resolve("hf:me/street").weights.read_bytes() == ours["model.safetensors"]

    @pytest.mark.parametrize(
        ("name", "message"),
        [
            ("hf:no/such", "hf:no/such: no such repository, or a private one; check the name"),
            ("hf:me/street@v9", "me/street has no revision 'v9'"),
            ("hf:me/street/x.onnx", "no file 'x.onnx'; it holds README.md, model.onnx, model.s"),
            ("hf:me/street/README.md", "'README.md' is no .safetensors or .onnx file"),
            ("hf:me/empty", "holds no .safetensors or .onnx file, but pytorch_model.bin"),
            ("hf:me/gated", "access must be granted first; request it at http"),
        ],
    )
    def test_what_is_not_there(self, hub, ours, name, message):
        hub.add("me/street", ours)
        hub.add("me/empty", {"pytorch_model.bin": b"x"})
        hub.add("me/gated", ours)
        hub.gated.add("me/gated")
        with pytest.raises(ModelError, match=message.replace(".", r"\.")) as caught:
            resolve(name)
        assert len(str(caught.value).splitlines()) == 1

    def test_a_hub_that_is_out_of_order(self, hub, ours):
        hub.add("me/street", ours)
        hub.status = 503
        with pytest.raises(ModelError, match=r"is out of order \(503\); try later"):
            resolve("hf:me/street")

    def test_no_network(self, hub, monkeypatch):
        with socket.socket() as closed:
            closed.bind(("127.0.0.1", 0))
            monkeypatch.setenv("HF_ENDPOINT", f"http://127.0.0.1:{closed.getsockname()[1]}")
            with pytest.raises(ModelError, match="cannot be reached; check the network") as known:
                resolve("hf:me/street")
            monkeypatch.setattr("vidparse.hub.client.find_spec", lambda name: None)
            with pytest.raises(ModelError, match=r"pip install 'vidparse\[transformers\]' as well"):
                resolve("hf:me/street")
        assert "pip install" not in str(known.value) or find_spec("transformers") is None

    def test_transformers_is_missed_before_its_weights_are_fetched(self, hub, monkeypatch):
        config = json.dumps({"architectures": ["SegformerForSemanticSegmentation"]}).encode()
        hub.add("me/segformer", {"config.json": config, "model.safetensors": bytes(100)})
        monkeypatch.setattr("vidparse.hub.client.find_spec", lambda name: None)
        with pytest.raises(ModelError, match=r"hf:me/segformer: needs transformers, which is not"):
            resolve("hf:me/segformer")
        assert not [path for path in hub.requests if path.endswith("model.safetensors")]

    @pytest.mark.parametrize(
        ("code", "message"),
        [(errno.ENOSPC, "the disk is full"), (errno.EROFS, "cannot be written .Read-only")],
    )
    def test_a_disk_that_takes_nothing(self, hub, ours, monkeypatch, code, message):
        import huggingface_hub

        def refuse(*_args, **_wishes):
            raise OSError(code, "refused")

        hub.add("me/street", ours)
        monkeypatch.setattr(huggingface_hub.HfApi, "hf_hub_download", refuse)
        with pytest.raises(ModelError, match=message):
            resolve("hf:me/street")
