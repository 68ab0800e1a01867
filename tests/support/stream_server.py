"""A web server on the loopback whose answers a test writes: endless streams, playlists, silence."""

from __future__ import annotations

import contextlib
import http.server
import ssl
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

Answer = Callable[["Reply"], None]


@dataclass
class Web:
    """answers: by path, a function that writes to a reply. seen: paths that were requested."""

    url: str
    answers: dict[str, Answer]
    over: threading.Event = field(default_factory=threading.Event)
    seen: list[str] = field(default_factory=list)


class Reply(http.server.BaseHTTPRequestHandler):
    """An answer without a length, unless `whole` gives one."""

    web: Web

    def do_GET(self) -> None:
        self.web.seen.append(self.path)
        answer = self.web.answers.get(self.path.partition("?")[0])
        with contextlib.suppress(OSError):
            if answer is None:
                self.send_error(404)
            else:
                answer(self)

    def log_message(self, *words: object) -> None:
        """Nothing."""

    def begin(self, kind: str, length: int | None = None) -> None:
        self.send_response(200)
        self.send_header("Content-Type", kind)
        if length is not None:
            self.send_header("Content-Length", str(length))
        self.end_headers()

    def whole(self, data: bytes, kind: str = "video/mp2t") -> None:
        self.begin(kind, len(data))
        self.wfile.write(data)


@contextlib.contextmanager
def web(answers: dict[str, Answer], certificate: Path | None = None) -> Iterator[Web]:
    """A server for the block; `over` is set at its end, for answers that wait.

    certificate: and its key, in one file; it speaks TLS then.
    """
    handler = type("Handler", (Reply,), {})
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        server.daemon_threads = True
        if certificate is not None:
            tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
            tls.load_cert_chain(certificate)
            # Shake hands in the thread of the answer: clients may break off there.
            server.socket = tls.wrap_socket(
                server.socket, server_side=True, do_handshake_on_connect=False
            )
            server.handle_error = lambda *_: None  # clients that break off
        scheme = "http" if certificate is None else "https"
        found = Web(f"{scheme}://127.0.0.1:{server.server_port}", answers)
        handler.web = found
        thread = threading.Thread(target=server.serve_forever, args=(0.05,))
        thread.start()
        try:
            yield found
        finally:
            found.over.set()
            server.shutdown()
            thread.join()
            server.block_on_close = False
