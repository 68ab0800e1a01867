"""A result to look at: the records of a run, the ids beside them, and the video that was read."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from vidparse.errors import InputError
from vidparse.filenames import PART, shared_start
from vidparse.sinks import is_output
from vidparse.video import Input
from vidparse.view.idfiles import IdFiles, find_ids
from vidparse.view.records import Header, read_header

_RECORDS = ".jsonl"


@dataclass(frozen=True, slots=True)
class Result:
    """One run on one video. ids: where the ids of its frames lie."""

    path: Path
    stem: str
    header: Header
    ids: IdFiles


def find_records(places: Sequence[Path]) -> list[tuple[Path, ...]]:
    """The records of each video, those of one video together, in the order of `places`.

    Args:
        places: one or two: folders of outputs, or jsonl files. Folders below are looked through,
            too: namesakes lie there. Of two folders the videos that are in both count.

    Raises:
        InputError: no records there, or of no video in both.
    """
    found = [_records_at(place) for place in places]
    if len(found) == 1:
        return [(path,) for path in found[0]]

    # Pair files that were named whatever they are called, those of folders by their names.
    pairs: list[tuple[Path, ...]]
    first, second = found
    if len(first) == len(second) == 1:
        pairs = [(first[0], second[0])]
    else:
        names = [
            {str(path.relative_to(place)) if place.is_dir() else path.name: path for path in there}
            for place, there in zip(places, found, strict=True)
        ]
        pairs = [(path, names[1][name]) for name, path in names[0].items() if name in names[1]]
    if not pairs:
        raise InputError(
            f"{places[0]}, {places[1]}: have no video in common; name two .jsonl of one video"
        )
    return pairs


def open_results(paths: Sequence[Path]) -> tuple[Result, ...]:
    """The results of one video, by their records.

    Raises:
        InputError: they are damaged, without ids, or of different videos.
    """
    found = tuple(map(_result, paths))
    for other in found[1:]:
        _check_same_video(found[0], other)
    return found


def _records_at(place: Path) -> list[Path]:
    if not place.is_dir():
        if not place.exists():
            raise InputError(f"{place}: no such file or folder; give what segment wrote")
        if place.suffix != _RECORDS:
            raise InputError(f"{place}: no .jsonl; give a folder of outputs or its .jsonl")
        return [place]
    names = f"*{_RECORDS}"
    found = sorted(
        path for path in [*place.glob(names)] or place.rglob(names) if not path.stem.endswith(PART)
    )
    if not found:
        raise InputError(
            f"{place}: holds no .jsonl; segment the video with --save masks,jsonl "
            "(ids,jsonl for objects)"
        )
    return found


def stem_of(records: Path) -> str:
    """The name of a run's outputs, by that of its records."""
    return records.name.removesuffix(_RECORDS)


def _result(path: Path) -> Result:
    stem = stem_of(path)
    return Result(path, stem, read_header(path), find_ids(path.parent, stem, path))


def _check_same_video(one: Result, other: Result) -> None:
    """Raises: InputError: they are of different videos."""
    facts = [(each.header.size_hw, each.header.time_base) for each in (one, other)]
    if facts[0] != facts[1]:
        (height, width), (other_height, other_width) = (fact[0] for fact in facts)
        raise InputError(
            f"{other.path}: is of a video of {other_width}x{other_height}, {one.path} of "
            f"{width}x{height}; compare results of one video"
        )


def _shared_end(path: Path, folder: Path) -> int:
    """The number of folders, from the innermost one on, that a file has in common with `folder`."""
    return shared_start(path.parent.parts[::-1], folder.parts[::-1])


def find_video(result: Result, given: str | None) -> Input:
    """The video that was segmented: the one that is given, else by the name in the records.

    It is looked for where the command of the run found it, beside the records, in the folder
    above and in the current one. Of namesakes it is the one whose folders are those of the records.

    Raises:
        InputError: it is nowhere.
    """
    if given is not None:
        return _existing(given, result)
    name = result.header.source
    if name.startswith("sample://"):
        return Input.named(name)

    # Try the words of the command first: they have its path.
    folder = result.path.absolute().parent
    places = [*map(Path, result.header.words[1:]), folder, folder.parent, Path()]
    found = [
        path
        for place in places
        for path in (place, place / name)
        if path.name == name and _exists(path) and not is_output(path)
    ]
    if found:
        return Input.named(str(max(found, key=lambda path: _shared_end(path.absolute(), folder))))
    raise InputError(f"{result.path}: its video {name} is not found; give it with -i")


def _exists(path: Path) -> bool:
    """True for what is there; False also for a name that nothing can have."""
    try:
        return path.exists()
    except (OSError, ValueError):
        return False


def _existing(given: str, result: Result) -> Input:
    found = Input.named(given)
    if found.path is not None and not found.path.exists():
        raise InputError(f"{given}: no such video; give the one that {result.path} is of")
    return found
