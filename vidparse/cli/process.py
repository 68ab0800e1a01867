"""The process: its exit codes, its streams, signals that end it, and the limits of its shell."""

from __future__ import annotations

import _signal as signal  # as in vidparse/cli/__init__.py
import _thread
import atexit
import contextlib
import errno
import gc
import io
import os
import sys
import threading
import time

from vidparse.cli.terminal import plain, print_message
from vidparse.errors import (
    DeviceError,
    Interrupted,
    OutputError,
    VidparseError,
    expected,
)

TYPE_CHECKING = False  # read as true by type checkers, as in vidparse/__init__.py
if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from types import FrameType
    from typing import NoReturn

_STDOUT_FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EIO)
_SAME_PRESS_S = 2.0  # signals this close together are one wish: a double press, or a whole group's
_AGAIN_S = 0.01  # from an interrupt that Python dropped to the next try

# An interrupt during the imports: what they run may swallow the exception, and the wish remains.
_early = threading.Event()
# command -> bytes that its libraries map before any picture is there
_LEAST_ADDRESSES = {
    **dict.fromkeys(("segment", "bench", "eval", "propagate"), 1_200_000_000),
    **dict.fromkeys(("train", "autolabel", "export", "convert"), 2_000_000_000),  # with PyTorch
}


def exit_code_of(
    app: Callable[..., object], *, debug: bool, interrupted: threading.Event | None = None
) -> int:
    """Run the application; errors go to stderr, with their traceback when `debug`.

    When `interrupted` is set in the meantime, that is why it failed, whatever it raises: an import
    that is interrupted may end in any error.
    """
    try:
        code = _run(app, debug, interrupted or threading.Event())
    except KeyboardInterrupt:
        code = Interrupted.exit_code
    if interrupted is not None and interrupted.is_set() and code == Interrupted.exit_code:
        print_message("vidparse: interrupted")
    return code


def _run(app: Callable[..., object], debug: bool, interrupted: threading.Event) -> int:
    try:
        code = app()
        return code if isinstance(code, int) else 0
    except BrokenPipeError:
        return 0  # whoever read our output has seen enough
    except SystemExit as leaving:
        if isinstance(leaving.__context__, BrokenPipeError):
            return 0  # the same, as Typer passes it on
        return leaving.code if isinstance(leaving.code, int) else 1
    except Exception as error:
        if debug:
            import traceback

            for line in traceback.format_exc().splitlines():
                print_message(line)

        # Take any error for the interrupt: an import that is cut off may end in all kinds.
        if interrupted.is_set():
            return Interrupted.exit_code
        failure = _expected(error)
        print_message(f"vidparse: {failure}")
        return failure.exit_code


def _expected(error: Exception) -> VidparseError:
    """A failure as an error of one line."""
    if isinstance(error, OSError) and error.errno in _STDOUT_FULL and error.filename is None:
        return OutputError(f"stdout: cannot be written ({error.strerror}); redirect it elsewhere")
    return expected(error)


def flush_stdout() -> int:
    """Write out what Python still holds; an exit code when that fails."""
    if sys.stdout is None:
        return 0
    try:
        sys.stdout.flush()
    except OSError as error:
        # The interpreter flushes again at its end, and would complain in its own words.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        if isinstance(error, BrokenPipeError):
            return 0
        failure = _expected(error)
        print_message(f"vidparse: {failure}")
        return failure.exit_code
    return 0


def open_missing_streams() -> None:
    """Give descriptors 0 to 2 back their meaning when whoever started us closed some of them.

    The next file to be opened would take their place, and FFmpeg's messages would end up in it.
    """
    for number in range(3):
        try:
            os.fstat(number)
        except OSError:
            os.open(os.devnull, os.O_RDWR)  # takes the lowest free number
    if sys.stderr is None:
        sys.stderr = open(os.devnull, "w")  # noqa: PTH123, SIM115
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(errors="backslashreplace")  # names that its encoding has no sign for


def log_to_stderr(*, debug: bool) -> None:
    """The library's own messages are for --debug; people get errors, notes and summaries."""
    import logging
    import warnings

    # Leave Pillow's warning out: the error of our own limit covers it, with the remedy.
    warnings.filterwarnings("ignore", message="Image size .* could be decompression bomb")

    # OpenCV reads this once it is loaded: it would write of damaged files in words of its own.
    if not debug:
        os.environ.setdefault("OPENCV_LOG_LEVEL", "SILENT")

    class PlainFormatter(logging.Formatter):
        """Messages and tracebacks as lines that cannot steer the terminal."""

        def format(self, record: logging.LogRecord) -> str:
            return "\n".join(map(plain, super().format(record).splitlines()))

    logger = logging.getLogger("vidparse")
    if debug:
        logger.setLevel(logging.DEBUG)
        handler = logging.StreamHandler()
        handler.setFormatter(PlainFormatter("%(name)s: %(message)s"))
        logger.addHandler(handler)
    else:
        logger.addHandler(logging.NullHandler())  # or Python prints warnings by itself


@contextlib.contextmanager
def stop_on_signals(is_writing: Callable[[], bool] = lambda: True) -> Iterator[threading.Event]:
    """An event that the first signal sets, for the program to finish its outputs and end.

    With nothing to finish (by `is_writing`) the first signal raises KeyboardInterrupt; so does
    a later one, when finishing takes too long. One after that ends the process on the spot.

    Raises:
        Interrupted: a KeyboardInterrupt left the block, or an error that it turned into on its
            way: an import that is interrupted may end in any.
    """
    stop = threading.Event()
    pressed_s: list[float] = []
    why = ""  # once the handler has raised

    def handle(number: int, frame: FrameType | None) -> None:
        nonlocal why
        now_s = time.monotonic()
        if pressed_s and now_s - pressed_s[-1] < _SAME_PRESS_S:
            return
        pressed_s.append(now_s)
        stop.set()

        if len(pressed_s) > 2:
            os._exit(Interrupted.exit_code)
        if len(pressed_s) == 2 or not is_writing():
            first = len(pressed_s) == 1
            why = "interrupted before anything was written" if first else "interrupted"
            raise KeyboardInterrupt

    with _handling(handle):
        # Heed a signal that came during the imports, which may swallow its exception.
        if _early.is_set():
            raise KeyboardInterrupt
        try:
            yield stop
        except (Exception, KeyboardInterrupt) as error:
            if not why or isinstance(error, Interrupted):
                raise
            raise Interrupted(why) from error


@contextlib.contextmanager
def interrupts() -> Iterator[threading.Event]:
    """Every signal raises KeyboardInterrupt and sets the event: for when nothing is written yet."""
    _early.clear()

    def handle(number: int, frame: FrameType | None) -> None:
        _early.set()
        raise KeyboardInterrupt

    with _handling(handle):
        yield _early


@contextlib.contextmanager
def all_kept() -> Iterator[None]:
    """A block of imports, whose objects all stay: Python looks for none that it could free.

    It would do so again and again while modules grow, a twentieth of a start.
    """
    was_on = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        gc.freeze()  # later looks pass the modules over
        if was_on:
            gc.enable()


def leave(code: int, *, debug: bool) -> NoReturn:
    """End the process, without what takes time and changes nothing: all outputs are closed.

    To take libraries apart, object by object, takes Python a tenth of a second. With `debug` it
    does: tools that watch a process write what they saw at its end.
    """
    if debug or threading.active_count() > 1:  # some thread has work of its own to end
        sys.exit(code)
    atexit._run_exitfuncs()
    for stream in (sys.stdout, sys.stderr):
        with contextlib.suppress(OSError, ValueError, AttributeError):  # closed, or none at all
            stream.flush()
    os._exit(code)


def ignore_signals() -> None:
    """The result is decided; let nothing disturb the interpreter on its way out."""
    for number in _numbers():
        signal.signal(number, signal.SIG_IGN)


@contextlib.contextmanager
def _handling(handle: Callable[[int, FrameType | None], None]) -> Iterator[None]:
    before = {number: signal.signal(number, handle) for number in _numbers()}
    hook_before = sys.unraisablehook

    def send_again(unraisable: sys.UnraisableHookArgs) -> None:
        # Python drops what its callbacks raise: destructors, and the import system's own.
        if unraisable.exc_type is KeyboardInterrupt and before:
            threading.Timer(_AGAIN_S, _thread.interrupt_main).start()
        else:
            hook_before(unraisable)

    sys.unraisablehook = send_again
    try:
        yield
    finally:
        sys.unraisablehook = hook_before
        for number, handler in before.items():
            signal.signal(number, handler)


def _numbers() -> list[int]:
    """The signals to handle: not those that the caller has set to be ignored (nohup, `&`)."""
    if threading.current_thread() is not threading.main_thread():
        return []
    names = ("SIGINT", "SIGTERM", "SIGHUP")
    numbers = [getattr(signal, name) for name in names if hasattr(signal, name)]
    return [number for number in numbers if signal.getsignal(number) != signal.SIG_IGN]


def check_memory_limit(command: str) -> None:
    """Refuse to load libraries that do not fit in what the process may address.

    Raises:
        DeviceError: `ulimit -v` is too low for `command`.
    """
    least = _LEAST_ADDRESSES.get(command)
    if least is None or {"-h", "--help"} & set(sys.argv):
        return
    try:
        import resource
    except ImportError:  # not on Windows
        return

    # Refuse now: libraries that find no room abort the process without a message.
    limit, _ = resource.getrlimit(resource.RLIMIT_AS)
    if limit != resource.RLIM_INFINITY and limit < least:
        raise DeviceError(
            f"memory: this shell lets a process address {limit / 1e9:.1f} GB, and the libraries of "
            f"{command} take {least / 1e9:.1f} GB; raise the limit (ulimit -v)"
        )
