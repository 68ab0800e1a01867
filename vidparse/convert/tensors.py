"""Named tensors of a file that other code wrote; nothing but tensors is ever unpickled."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from torch import Tensor

from vidparse.errors import ModelError
from vidparse.models.checkpoint import unreadable

# What published training code calls the entry that holds the weights.
WRAPPERS = ("state_dict", "model_state_dict", "model_state", "model", "net", "network", "module")
# What wrappers of torch put before every name: DataParallel, torch.compile.
PREFIXES = ("module.", "_orig_mod.")


def read_tensors(path: Path) -> dict[str, Tensor]:
    """Named tensors of a .safetensors file, or of a .pth read with weights_only=True.

    `{"state_dict": {...}}` and the like are opened, and prefixes that training wrappers put before
    all names taken off.

    Raises:
        ModelError: missing, damaged, holding more than tensors, or holding none.
    """
    import torch
    from safetensors import SafetensorError
    from safetensors.torch import load_file

    if not path.is_file():
        raise ModelError(f"{path}: no such file; check the path")
    try:
        if path.suffix == ".safetensors":
            return load_file(path)
        content = torch.load(path, map_location="cpu", weights_only=True)
    except (OSError, SafetensorError, RuntimeError, ValueError, EOFError) as error:
        raise unreadable(path, str(error).partition("\n")[0]) from error
    except Exception as error:  # pickle's refusals have many types
        if not _is_archive(path):
            raise unreadable(path, str(error).partition("\n")[0]) from error
        raise ModelError(f"{path}: holds more than tensors; convert it to safetensors") from error
    tensors = _tensors_of(content)
    if not tensors:
        held = ", ".join(map(str, list(content)[:6])) if isinstance(content, Mapping) else ""
        raise ModelError(
            f"{path}: holds no named tensors{f' but {held}' if held else ''}; give a state_dict"
        )
    return _without_prefixes(tensors)


def _is_archive(path: Path) -> bool:
    """True for what torch writes: a zip archive, or a bare pickle of before."""
    with path.open("rb") as file:
        return file.read(2) in (b"PK", b"\x80\x02", b"\x80\x03", b"\x80\x04", b"\x80\x05")


def _tensors_of(content: Any) -> dict[str, Tensor]:
    """The tensors of a state dict, wherever it lies; {} when there is none."""
    if not isinstance(content, Mapping):
        return {}
    for wrapper in WRAPPERS:
        if isinstance(content.get(wrapper), Mapping):
            inner = _tensors_of(content[wrapper])
            if inner:
                return inner
    return {str(name): value for name, value in content.items() if isinstance(value, Tensor)}


def _without_prefixes(tensors: dict[str, Tensor]) -> dict[str, Tensor]:
    for prefix in PREFIXES * 2:  # either may be outside the other
        if all(name.startswith(prefix) for name in tensors):
            tensors = {name.removeprefix(prefix): value for name, value in tensors.items()}
    return tensors
