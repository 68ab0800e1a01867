"""Where an export goes: known to work before it begins, and there only when it is whole."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator
from pathlib import Path

from vidparse.errors import OutputError


def check_target(path: Path, *, source: Path, overwrite: bool) -> None:
    """Say before the work, not after it, that a file can not be written there.

    Args:
        source: the weights that are exported.
    """
    folder = path.parent
    if path.is_dir() or not folder.is_dir() or not os.access(folder, os.W_OK | os.X_OK):
        raise OutputError(f"{path}: can not be written; name a file in a folder you may write to")
    if path.exists() and path.samefile(source):
        raise OutputError(f"{path}: holds the weights to export; choose another name")
    if path.exists() and not overwrite:
        raise OutputError(f"{path}: exists already; choose another name or add --overwrite")


@contextlib.contextmanager
def whole_file(path: Path) -> Iterator[Path]:
    """A temporary name of this process beside `path`, which becomes `path` at the end.

    Nothing of it is left behind by a failure.
    """
    from safetensors import SafetensorError

    part = path.with_name(f"{path.name}.{os.getpid()}.part")
    try:
        yield part
        part.replace(path)
    except (OSError, SafetensorError) as error:
        reason = getattr(error, "strerror", None) or str(error)
        raise OutputError(f"{path}: can not be written ({reason}); choose another place") from error
    finally:
        part.unlink(missing_ok=True)
