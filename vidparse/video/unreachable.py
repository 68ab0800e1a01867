"""Why an address cannot be read, in the user's words."""

from __future__ import annotations

import errno

import av

from vidparse.errors import InputError, Unreachable

_CHECK = "check the address"
_NO_WAY = (errno.EHOSTUNREACH, errno.ENETUNREACH, errno.EHOSTDOWN, errno.ENETDOWN)
# By class, the first that fits: the reason, and True if it may pass by itself.
_REASONS: tuple[tuple[tuple[type[Exception], ...], str, bool], ...] = (
    (
        (av.error.HTTPUnauthorizedError,),
        "refuses the user or password (401); write them before the host, USER:PASSWORD@",
        False,
    ),
    ((av.error.HTTPForbiddenError,), "may not be read (403); check user and address", False),
    ((av.error.HTTPNotFoundError,), "is not there (404); check the address", False),
    ((av.error.HTTPTooManyRequestsError,), "had too many requests (429); try again later", True),
    ((av.error.HTTPClientError,), f"is refused by the server; {_CHECK}", False),
    ((av.error.HTTPServerError,), "fails with an error of the server; try again later", True),
    (
        (av.error.ConnectionRefusedError,),
        f"cannot be opened (connection refused): nothing listens there; {_CHECK}",
        True,
    ),
    (
        (av.error.ConnectionResetError, av.error.ConnectionAbortedError, av.error.BrokenPipeError),
        "was closed by the server",
        True,
    ),
    ((av.error.InvalidDataError,), f"sends no video that can be read; {_CHECK}", False),
    ((av.error.ProtocolNotFoundError,), "is of a kind that is not opened here", False),
    ((av.error.EOFError,), f"ends before any picture; {_CHECK}", True),
)


def reason(error: BaseException, timeout_s: float) -> tuple[str, bool]:
    """The reason, to stand behind the name of the address, and True if it may pass by itself.

    Args:
        error: of FFmpeg.
        timeout_s: how long was waited for an answer.
    """
    for classes, text, passes in _REASONS:
        if isinstance(error, classes):
            return text, passes

    # Name silence by what was waited for: FFmpeg calls its own time-out an exit.
    number = getattr(error, "errno", None)
    if isinstance(error, av.error.ExitError | av.error.TimeoutError) or number == errno.ETIMEDOUT:
        return _silence(timeout_s), True
    if number in _NO_WAY:
        return f"cannot be reached from here; check the network, or {_CHECK}", True
    if number == errno.EIO:  # also for names that no server knows
        return f"cannot be opened (no such host, or the connection broke); {_CHECK}", True
    return f"cannot be opened ({getattr(error, 'strerror', None) or error}); {_CHECK}", False


def lost_reason(error: BaseException, timeout_s: float) -> str:
    """The reason why an address that was open gives no more, to stand behind its name."""
    if getattr(error, "errno", None) == errno.EIO:
        return "broke off: the server or the network ended it"
    return reason(error, timeout_s)[0]


def _silence(timeout_s: float) -> str:
    return f"gave no answer for {timeout_s:g} s; {_CHECK}, or raise --timeout"


def opening_error(
    name: str, error: BaseException, timeout_s: float, *, is_silent: bool = False
) -> InputError:
    """The error of an address that cannot be opened; Unreachable where it may pass by itself.

    is_silent: nothing came for that long, whatever FFmpeg reports.
    """
    why, passes = (_silence(timeout_s), True) if is_silent else reason(error, timeout_s)
    return (Unreachable if passes else InputError)(f"{name}: {why}")
