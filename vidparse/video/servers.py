"""Addresses opened by playlists of the network: those of the playlist's own server.

FFmpeg's client goes wherever a list or a redirect leads, as to a machine behind the user's own
firewall, and has no option against it. So playlists are opened through this one, and redirects of
a first address are followed here.
"""

from __future__ import annotations

import io
import logging
import os
import ssl
from base64 import b64encode
from http.client import HTTPException
from pathlib import Path
from typing import IO, TYPE_CHECKING, BinaryIO, cast
from urllib import request
from urllib.error import HTTPError, URLError
from urllib.parse import unquote, urlsplit

from vidparse import __version__
from vidparse.errors import InputError
from vidparse.limits import allowed_protocols

if TYPE_CHECKING:
    from http.client import HTTPMessage, HTTPResponse

log = logging.getLogger(__name__)

SCHEMES = ("http", "https")
_TIMEOUT_S = 15.0
_PORTS = {"http": 80, "https": 443}
_WRITE = 2  # AVIO_FLAG_WRITE

Server = tuple[str, int]


def server_of(address: str) -> Server | None:
    """Host and port of an address of http or https; None for any other."""
    try:
        parts = urlsplit(address)
        port = parts.port
    except ValueError:
        return None
    if parts.scheme not in SCHEMES or not parts.hostname:
        return None
    return parts.hostname.lower(), port or _PORTS[parts.scheme]


class Servers:
    """Opens for a list what lies on its server, and what users allow. An `io_open` of PyAV.

    Args:
        home: the list's own server; None: it lies on the disk, and has none.
        name: of the input, for messages.
        missing: gets the names of what is not there.
    """

    def __init__(self, home: Server | None, name: str, missing: list[str]) -> None:
        self._home, self._name, self._missing = home, name, missing
        self._has_begun = home is None

    def __call__(self, url: str, flags: int, options: dict[str, str]) -> BinaryIO:
        """Raises: InputError: `url` is elsewhere, or the list itself cannot be fetched."""
        check_server(url, self._home, self._name)
        if flags & _WRITE:
            raise InputError(f"{self._name}: would write to {url}; give another input")
        begun, self._has_begun = self._has_begun, True
        try:
            return cast(BinaryIO, _Body(self._opened(url, options)))
        except (OSError, HTTPException, ValueError) as error:
            if not begun:
                raise InputError(
                    f"{self._name}: cannot be opened ({error}); check the address"
                ) from error

            # A segment that is missing is empty: the rest of the list still plays.
            log.debug("%s: %s", url, error)
            self._missing.append(urlsplit(url).path.rpartition("/")[2] or url)
            return io.BytesIO()

    def _opened(self, url: str, options: dict[str, str]) -> HTTPResponse:
        """The answer to a request, of a part of the bytes where FFmpeg wants a part."""
        headers = {}
        begin, end = (int(options.get(key) or 0) for key in ("offset", "end_offset"))
        if begin or end:
            headers["Range"] = f"bytes={begin}-{end - 1 if end else ''}"
        return fetched(url, self._home, self._name, headers)


def check_server(url: str, home: Server | None, name: str) -> None:
    """Raises: InputError: an address that is neither on that server nor allowed."""
    found, scheme = server_of(url), url.partition("://")[0]
    if scheme in allowed_protocols() & {*SCHEMES} or (found is not None and found == home):
        return

    # Let a server move to TLS: it stays the same one.
    if found is not None and home is not None and home == (found[0], 80) and found[1] == 443:
        return
    wanted = scheme.rpartition("+")[2] if scheme.startswith("crypto") else scheme
    raise InputError(
        f"{name}: names '{url}', which is not on its own server; give that address itself, or "
        f"allow it with --allow-protocols {wanted}"
    )


def fetched(
    url: str, home: Server | None, name: str, headers: dict[str, str] | None = None
) -> HTTPResponse:
    """The server's answer, redirects followed as far as `check_server` lets them go.

    Raises:
        InputError: they lead elsewhere, or the server's certificate is not trusted.
        OSError, HTTPException, ValueError: no answer, or a refusal.
    """
    director = request.OpenerDirector()
    for handler in (
        *(request.ProxyHandler(), request.HTTPHandler(), request.HTTPSHandler()),
        *(request.HTTPDefaultErrorHandler(), request.HTTPErrorProcessor()),
        _Redirects(home, name),
    ):
        director.add_handler(handler)

    # Give the login to this server alone, wherever it sends on to.
    plain, login = without_login(url)
    agent = {"User-Agent": f"vidparse/{__version__}"}
    query = request.Request(plain, headers=agent | (headers or {}))
    if login is not None:
        query.add_unredirected_header("Authorization", login)
    try:
        return cast("HTTPResponse", director.open(query, timeout=_TIMEOUT_S))
    except URLError as error:
        if not isinstance(error.reason, ssl.SSLCertVerificationError):
            raise
        given = os.environ.get("SSL_CERT_FILE", "")
        if given and not Path(given).is_file():
            raise InputError(f"SSL_CERT_FILE {given}: no such file; correct the path") from error
        raise InputError(
            f"{name}: the server's certificate is not trusted ({error.reason.verify_message}); "
            "check the address, or name a file of certificates to trust in SSL_CERT_FILE"
        ) from error


def tls_options() -> dict[str, str]:
    """FFmpeg's options to trust the servers that Python trusts, and no others.

    Empty where Python relies on the operating system and has no file of certificates for FFmpeg.
    """
    file = ssl.get_default_verify_paths().cafile  # of SSL_CERT_FILE, too
    return {} if file is None else {"tls_verify": "1", "ca_file": file}


def without_login(url: str) -> tuple[str, str | None]:
    """An address without the user and password in it, and these as a header; None: it has none."""
    parts = urlsplit(url)
    login, at, host = parts.netloc.rpartition("@")
    if not at:
        return url, None
    coded = b64encode(unquote(login).encode()).decode("ascii")
    return parts._replace(netloc=host).geturl(), f"Basic {coded}"


def moved(address: str, name: str) -> str | None:
    """The address that a server sends on to, on the same server; None: none.

    Raises:
        InputError: to another server, or the certificate of this one is not trusted.
    """
    home = server_of(address)
    if home is None:
        return None
    try:
        with fetched(address, home, name, {"Range": "bytes=0-0"}) as answer:
            return answer.url if answer.url != address else None
    except (OSError, HTTPException, ValueError) as error:
        log.debug("%s: %s", address, error)
        return None


class _Redirects(request.HTTPRedirectHandler):
    """Follows redirects that stay on a server, or are allowed."""

    def __init__(self, home: Server | None, name: str) -> None:
        self._home, self._name = home, name

    def redirect_request(
        self,
        req: request.Request,
        fp: IO[bytes],
        code: int,
        msg: str,
        headers: HTTPMessage,
        newurl: str,
    ) -> request.Request | None:
        check_server(newurl, self._home, self._name)
        try:
            return super().redirect_request(req, fp, code, msg, headers, newurl)
        except HTTPError as error:
            raise OSError(str(error)) from error


class _Body:
    """The bytes of an answer, which end where the connection breaks."""

    def __init__(self, answer: HTTPResponse) -> None:
        self._answer = answer

    def read(self, count: int) -> bytes:
        try:
            return self._answer.read(count)
        except (OSError, HTTPException) as error:
            log.debug("%s: %s", self._answer.url, error)
            return b""

    def close(self) -> None:
        self._answer.close()
