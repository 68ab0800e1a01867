"""A small RTSP server on the loopback: H.264 over RTP, interleaved (RFC 2326, RFC 6184)."""

from __future__ import annotations

import contextlib
import socket
import struct
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from fractions import Fraction

import av

from support.clips import picture

_CLOCK = 90_000  # of RTP time stamps of H.264


def encoded(frames: int, size_hw: tuple[int, int], *, rate: int = 25) -> list[list[bytes]]:
    """The NAL units of each picture of `support.clips.picture`, all key frames."""
    encoder = av.CodecContext.create("libx264", "w")
    assert isinstance(encoder, av.VideoCodecContext)
    encoder.height, encoder.width = size_hw
    encoder.pix_fmt, encoder.time_base = "yuv420p", Fraction(1, rate)
    encoder.options = {
        **{"preset": "ultrafast", "tune": "zerolatency", "g": "1", "crf": "10"},
        "x264-params": "repeat-headers=1:sliced-threads=0:slices=1",
    }
    packets = []
    for index in range(frames):
        frame = av.VideoFrame.from_ndarray(picture(index, size_hw), format="rgb24")
        frame.pts = index
        packets += encoder.encode(frame)
    packets += encoder.encode(None)
    return [_units(bytes(packet)) for packet in packets]


def _units(data: bytes) -> list[bytes]:
    """The NAL units of a picture in Annex B."""
    parts = data.replace(b"\0\0\0\1", b"\0\0\1").split(b"\0\0\1")
    return [part for part in parts if part]


@dataclass
class RtspServer:
    """Serves `frames` pictures to whoever plays, at `rate` per second, in an endless loop.

    user, password: required, where given. stalls: it takes connections and sends nothing.
    most: pictures of a connection, after which `at_end` is called with the socket.
    """

    size_hw: tuple[int, int] = (48, 64)
    frames: int = 50
    rate: float = 100.0
    stamped_rate: float = 25.0  # by the RTP time stamps
    login: str = ""  # in base 64
    stalls: bool = False
    most: int | None = None
    at_end: Callable[[socket.socket], None] = lambda connection: connection.close()
    port: int = 0
    first: int = 90_000  # RTP time stamp
    played: int = 0  # connections that played
    sent: int = 0
    threads: list[threading.Thread] = field(default_factory=list)

    def __post_init__(self) -> None:
        self._units = encoded(self.frames, self.size_hw)
        self._over = threading.Event()
        self._listener: socket.socket | None = None
        self._open: list[socket.socket] = []

    @property
    def url(self) -> str:
        return f"rtsp://127.0.0.1:{self.port}/live"

    def start(self) -> RtspServer:
        """Listen; a second time at the same port."""
        self._over.clear()
        listener = socket.socket()
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind(("127.0.0.1", self.port))
        listener.listen(8)
        self.port = listener.getsockname()[1]
        self._listener = listener
        thread = threading.Thread(target=self._accept, args=(listener,), daemon=True)
        thread.start()
        self.threads.append(thread)
        return self

    def stop(self) -> None:
        """Close all connections, and listen no more."""
        self._over.set()
        for one in (self._listener, *self._open):
            if one is not None:
                with contextlib.suppress(OSError):
                    one.shutdown(socket.SHUT_RDWR)
                one.close()
        self._open.clear()
        for thread in self.threads:
            thread.join(10)
        self.threads.clear()

    def _accept(self, listener: socket.socket) -> None:
        while not self._over.is_set():
            try:
                connection, _ = listener.accept()
            except OSError:
                return
            self._open.append(connection)
            if self.stalls:
                continue
            thread = threading.Thread(target=self._serve, args=(connection,), daemon=True)
            thread.start()
            self.threads.append(thread)

    def _serve(self, connection: socket.socket) -> None:
        with contextlib.suppress(OSError):
            for method, headers in self._requests(connection):
                number = headers.get("cseq", "0")
                wanted = f"Basic {self.login}"
                if self.login and headers.get("authorization") != wanted and method != "OPTIONS":
                    self._answer(
                        connection, number, "401 Unauthorized", 'WWW-Authenticate: Basic realm="x"'
                    )
                elif method == "DESCRIBE":
                    self._describe(connection, number)
                elif method == "SETUP":
                    if "TCP" not in headers.get("transport", ""):
                        self._answer(connection, number, "461 Unsupported Transport")
                        continue
                    way = "Transport: RTP/AVP/TCP;unicast;interleaved=0-1"
                    self._answer(connection, number, "200 OK", way, "Session: 7")
                elif method == "PLAY":
                    info = f"RTP-Info: url={self.url}/trackID=0;seq=0;rtptime={self.first}"
                    self._answer(connection, number, "200 OK", "Session: 7", info)
                    self.played += 1
                    self._play(connection)
                    return
                else:
                    methods = "Public: OPTIONS, DESCRIBE, SETUP, PLAY, TEARDOWN"
                    self._answer(connection, number, "200 OK", methods)

    def _requests(self, connection: socket.socket) -> Iterator[tuple[str, dict[str, str]]]:
        data = b""
        while True:
            while b"\r\n\r\n" not in data:
                part = connection.recv(4096)
                if not part:
                    return
                data += part
            head, _, data = data.partition(b"\r\n\r\n")
            first, *lines = head.decode().split("\r\n")
            pairs = (line.split(":", 1) for line in lines if ":" in line)
            yield first.split(" ")[0], {name.strip().lower(): rest.strip() for name, rest in pairs}

    @staticmethod
    def _answer(connection: socket.socket, number: str, status: str, *lines: str) -> None:
        text = "\r\n".join([f"RTSP/1.0 {status}", f"CSeq: {number}", *lines, "", ""])
        connection.sendall(text.encode())

    def _describe(self, connection: socket.socket, number: str) -> None:
        sdp = "\r\n".join(
            [
                *("v=0", "o=- 0 0 IN IP4 127.0.0.1", "s=test", "c=IN IP4 127.0.0.1", "t=0 0"),
                *("m=video 0 RTP/AVP 96", "a=rtpmap:96 H264/90000"),
                *("a=fmtp:96 packetization-mode=1", "a=control:trackID=0", ""),
            ]
        )
        text = "\r\n".join(
            [
                *("RTSP/1.0 200 OK", f"CSeq: {number}", "Content-Type: application/sdp"),
                *(f"Content-Base: {self.url}/", f"Content-Length: {len(sdp)}", "", sdp),
            ]
        )
        connection.sendall(text.encode())

    def _play(self, connection: socket.socket) -> None:
        """Pictures as RTP packets, a NAL unit each."""
        sequence, begun_s = 0, time.monotonic()
        count = 0
        while not self._over.is_set():
            if self.most is not None and count >= self.most:
                self.at_end(connection)
                return
            units = self._units[count % len(self._units)]
            stamp = self.first + round(count * _CLOCK / self.stamped_rate)
            for place, unit in enumerate(units):
                last = 0x80 * (place == len(units) - 1)
                head = struct.pack(">BBHII", 0x80, 96 | last, sequence % 65536, stamp % 2**32, 1)
                packet = head + unit
                connection.sendall(b"$\0" + struct.pack(">H", len(packet)) + packet)
                sequence += 1
            count += 1
            self.sent += 1
            self._over.wait(max(0.0, begun_s + count / self.rate - time.monotonic()))
