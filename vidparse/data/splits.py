"""Split files and frame folders as they are found in the wild."""

from __future__ import annotations

from pathlib import Path

from vidparse.errors import InputError


def read_split(root: Path, split: str, known: tuple[str, ...]) -> list[str]:
    """Video names of {split}.txt, one a line; a missing last newline and blank lines are fine.

    Raises:
        InputError: unknown split, no such file, or nothing in it.
    """
    if split not in known:
        raise InputError(f"{root} split '{split}': unknown; use {', '.join(known)}")
    path = root / f"{split}.txt"
    try:
        lines = path.read_text(encoding="utf-8").splitlines()
    except FileNotFoundError as error:
        raise InputError(f"{path}: no such file; it lists the videos of the split") from error
    names = [line.strip() for line in lines if line.strip()]
    if not names:
        raise InputError(f"{path}: names no video; fetch it again")
    return names


def sorted_files(folder: Path, endings: tuple[str, ...]) -> list[Path]:
    """Files of a folder by name, hidden ones left out; nothing when there is no such folder."""
    if not folder.is_dir():
        return []
    return sorted(
        path
        for path in folder.iterdir()
        if path.suffix.lower() in endings and not path.name.startswith(".")
    )
