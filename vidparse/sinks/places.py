"""Places of outputs below -o: flat, or in folders as the inputs lie in where names are shared."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence, Set
from dataclasses import dataclass, replace
from itertools import islice
from pathlib import Path

from vidparse.errors import counted
from vidparse.filenames import home_path, plain_path, shared_start
from vidparse.sinks.names import input_folder, is_into_folder, source_stem
from vidparse.sinks.sink import Sink
from vidparse.sinks.submission import Submission
from vidparse.sinks.targets import missing_outputs
from vidparse.video import Input

Folder = tuple[str, ...]  # names of folders, from the outermost one on


@dataclass(frozen=True, slots=True)
class Places:
    """The inputs of a call, each with the folder of its outputs below -o (`Input.folder`).

    notes: for the user, one line each.
    """

    inputs: tuple[Input, ...]
    notes: tuple[str, ...] = ()


def places(
    table: Mapping[str, type[Sink]],
    names: Sequence[str],
    *,
    inputs: Sequence[Input],
    out: str | None,
    known: Callable[[Input], Sequence[str]] | None = None,
) -> Places:
    """Give each input a place for its outputs.

    Outputs lie in -o itself. Where two inputs from different folders have one name, those of all
    lie in folders as the inputs do, below the folder that all inputs share. An input whose outputs
    are there keeps their place, so that a call that comes again with more inputs finds them.

    Args:
        table: sink classes by name.
        names: of the outputs.
        out: as of `choose_outputs`.
        known: paths of outputs that earlier calls made, or were about to make, of an input.
    """
    # Leave challenges out: they lay out their own folders.
    names = [name for name in names if not issubclass(table[name], Submission)]
    is_alone = len(inputs) < 2 or not names
    if out is None or is_alone or not is_into_folder(out, single=len({*names}) == 1):
        return Places(tuple(inputs))
    parts = _below_common(inputs)
    stems = [source_stem(one) for one in inputs]
    sharing = _sharing(stems, parts)

    found, kept = [], 0
    for one, stem, folder in zip(inputs, stems, parts, strict=True):
        mirrored = str(Path(*folder)) if folder else ""
        usual, other = (mirrored, "") if sharing else ("", mirrored)
        place = _known_folder(() if known is None else known(one), out)

        # Look at the other place, too, unless several inputs have the name of those outputs.
        if place is None and usual != other and stem not in sharing:
            place = other if _has_outputs(table, names, replace(one, folder=other), out) else None
        kept += place not in (None, usual)
        found.append(replace(one, folder=usual if place is None else place))
    return Places(tuple(found), tuple(_notes(found, out, sharing, kept)))


def _notes(inputs: Sequence[Input], out: str, sharing: Set[str], kept: int) -> Iterator[str]:
    """Notes on the places of outputs, where names alone do not show them."""
    in_folders = (one for one in inputs if one.folder and source_stem(one) in sharing)
    for one in islice(in_folders, 1):
        yield (
            f"several inputs are called {source_stem(one)}, so outputs lie in folders as their "
            f"inputs do: those of {one.name} in {Path(out, one.folder)}"
        )
    if kept:
        yield f"outputs of {counted(kept, 'input')} stay where an earlier call put them"


def _below_common(inputs: Sequence[Input]) -> list[Folder]:
    """The folder of each input, below the one that all files share, or all addresses."""
    folders = [input_folder(one) for one in inputs]
    shared = {
        is_file: _shared(
            [
                folder
                for one, folder in zip(inputs, folders, strict=True)
                if (one.path is not None) is is_file
            ]
        )
        for is_file in (True, False)
    }
    return [
        folder[shared[one.path is not None] :] for one, folder in zip(inputs, folders, strict=True)
    ]


def _shared(folders: Sequence[Folder]) -> int:
    """The number of folders, from the outermost one on, that all have."""
    return shared_start(min(folders), max(folders)) if folders else 0


def _sharing(stems: Sequence[str], folders: Sequence[Folder]) -> Set[str]:
    """The names that inputs of several folders share."""
    found: dict[str, set[Folder]] = defaultdict(set)
    for stem, folder in zip(stems, folders, strict=True):
        found[stem].add(folder)
    return {stem for stem, several in found.items() if len(several) > 1}


def _known_folder(outputs: Sequence[str], out: str) -> str | None:
    """The folder below `out` that holds outputs; None where they are none, or lie elsewhere."""
    if not outputs:
        return None
    try:
        below = Path(outputs[0]).parent.relative_to(plain_path(home_path(out)))
    except ValueError:
        return None
    return "" if below == Path() else str(below)


def _has_outputs(
    table: Mapping[str, type[Sink]], names: Sequence[str], source: Input, out: str
) -> bool:
    """True where outputs of the input are in its folder."""
    if not (home_path(out) / source.folder).is_dir():
        return False
    return bool(missing_outputs(table, names, source=source, out=out, taken={})[1])
