"""A small Hugging Face hub on the loopback, with the routes that pull and push use."""

from __future__ import annotations

import base64
import hashlib
import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlsplit

import pytest


def empty_cache(monkeypatch: pytest.MonkeyPatch, home: Path) -> None:
    """A cache in a folder of its own, whatever the machine's settings of the hub."""
    for name in ("HF_HUB_CACHE", "HUGGINGFACE_HUB_CACHE", "HF_HUB_OFFLINE", "HF_TOKEN"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("HF_HOME", str(home))
    monkeypatch.setenv("HF_TOKEN_PATH", str(home / "token"))


def small_weights(path: Path) -> Path:
    """A .safetensors with our description and next to no tensors."""
    import numpy as np
    from safetensors.numpy import save_file

    from vidparse.labels import load_labels
    from vidparse.models.description import Preprocess, metadata_of

    metadata = metadata_of(
        arch="perframe",
        config={},
        labels=load_labels("camvid"),
        preprocess=Preprocess(short_side=96),
        training={},
    )
    save_file({"x": np.arange(20_000, dtype=np.float32)}, path, metadata)
    return path


def commit_of(files: dict[str, bytes]) -> str:
    """40 hexadecimal digits that stand for these files."""
    sums = sorted((name, hashlib.sha1(data).hexdigest()) for name, data in files.items())
    return hashlib.sha1(repr(sums).encode()).hexdigest()


@dataclass
class Hub:
    """What the server holds, and the requests that it got."""

    repos: dict[str, dict[str, dict[str, bytes]]] = field(default_factory=dict)  # repo, revision
    gated: set[str] = field(default_factory=set)
    cut_once: set[str] = field(default_factory=set)  # files whose first download breaks off
    spoiled: set[str] = field(default_factory=set)  # files sent with one byte changed
    status: int = 0  # answer everything with this
    requests: list[str] = field(default_factory=list)
    ranges: list[str] = field(default_factory=list)
    tokens: set[str] = field(default_factory=set)
    url: str = ""

    def add(self, repo: str, files: dict[str, bytes], revision: str = "main") -> str:
        """Put files under a revision; the commit they make."""
        self.repos.setdefault(repo, {})[revision] = files
        return commit_of(files)

    def files(self, repo: str, revision: str) -> dict[str, bytes] | None:
        """What a branch, tag or commit holds."""
        for name, files in self.repos.get(repo, {}).items():
            if revision in (name, commit_of(files)):
                return files
        return None


class _Handler(BaseHTTPRequestHandler):
    hub: Hub
    protocol_version = "HTTP/1.1"

    def log_message(self, *_: Any) -> None:
        pass

    def do_HEAD(self) -> None:
        self._get()

    def do_GET(self) -> None:
        self._get()

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
        path = unquote(urlsplit(self.path).path)
        self.hub.requests.append(f"POST {path}")
        self.hub.tokens.add(self.headers.get("Authorization", ""))
        parts = path.strip("/").split("/")
        if path == "/api/repos/create":
            record = json.loads(body)
            repo = f"{record['organization']}/{record['name']}"
            new = repo not in self.hub.repos
            self.hub.repos.setdefault(repo, {"main": {}})
            self._json({"url": f"{self.hub.url}/{repo}"}, 200 if new else 409)
        elif path == "/api/validate-yaml":
            self._json({"errors": [], "warnings": []})
        elif parts[4] == "preupload":
            files = json.loads(body)["files"]
            answer = [
                {"path": file["path"], "uploadMode": "regular", "shouldIgnore": False}
                for file in files
            ]
            self._json({"files": answer})
        else:
            self._commit("/".join(parts[2:4]), parts[5], body)

    def _commit(self, repo: str, revision: str, body: bytes) -> None:
        files = dict(self.hub.repos[repo].get(revision, {}))
        for line in body.splitlines():
            record = json.loads(line)
            if record["key"] == "file":
                value = record["value"]
                files[value["path"]] = base64.b64decode(value["content"])
        commit = self.hub.add(repo, files, revision)
        self._json({"commitOid": commit, "commitUrl": f"{self.hub.url}/{repo}/commit/{commit}"})

    def _get(self) -> None:
        path = unquote(urlsplit(self.path).path)
        self.hub.requests.append(f"{self.command} {path}")
        if self.hub.status:
            self._json({}, self.hub.status)
            return
        parts = path.strip("/").split("/")
        is_file = len(parts) > 2 and parts[2] == "resolve"
        repo = "/".join(parts[:2] if is_file else parts[2:4])
        revision = parts[3] if is_file else "/".join(parts[5:]) or "main"
        files = self.hub.files(repo, revision)
        if repo in self.hub.gated:
            self._json({}, 403, {"X-Error-Code": "GatedRepo"})
        elif repo not in self.hub.repos:
            self._json({}, 401, {"X-Error-Code": "RepoNotFound"})
        elif files is None:
            self._json({}, 404, {"X-Error-Code": "RevisionNotFound"})
        elif not is_file:
            siblings = [{"rfilename": name} for name in files]
            self._json({"id": repo, "sha": commit_of(files), "siblings": siblings})
        elif "/".join(parts[4:]) not in files:
            self._json({}, 404, {"X-Error-Code": "EntryNotFound"})
        else:
            self._file("/".join(parts[4:]), files)

    def _file(self, name: str, files: dict[str, bytes]) -> None:
        data = files[name]
        etag = hashlib.sha256(data).hexdigest()
        if name in self.hub.spoiled:
            data = data[:-1] + bytes([data[-1] ^ 1])
        wanted = self.headers.get("Range")
        start = int(wanted.removeprefix("bytes=").rstrip("-")) if wanted else 0
        if wanted:
            self.hub.ranges.append(wanted)
        self.send_response(206 if wanted else 200)
        self.send_header("Content-Length", str(len(data) - start))
        self.send_header("ETag", f'"{etag}"')
        self.send_header("X-Repo-Commit", commit_of(files))
        if wanted:
            self.send_header("Content-Range", f"bytes {start}-{len(data) - 1}/{len(data)}")
        self.end_headers()
        if self.command == "HEAD":
            return
        if name in self.hub.cut_once:
            self.hub.cut_once.discard(name)
            self.wfile.write(data[: len(data) // 2])
            self.wfile.flush()
            self.close_connection = True
            return
        self.wfile.write(data[start:])

    def _json(self, record: Any, status: int = 200, headers: dict[str, str] | None = None) -> None:
        data = json.dumps(record).encode()
        self.send_response(status)
        for name, value in (headers or {}).items():
            self.send_header(name, value)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(data)


@contextmanager
def serving() -> Iterator[Hub]:
    """A hub that answers while the block runs."""
    hub = Hub()
    handler = type("Handler", (_Handler,), {"hub": hub})
    server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
    hub.url = f"http://127.0.0.1:{server.server_port}"
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
    thread.start()
    try:
        yield hub
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
