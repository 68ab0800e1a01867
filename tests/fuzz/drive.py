"""Fuzz the readers: changed files into each of them, in processes that may die.

    python tests/fuzz/drive.py --cases 100000 --keep finds/
    python tests/fuzz/drive.py --seconds 120
    python tests/fuzz/drive.py --cases 5000 --seed 3 --target mp4 --target mkv

A case is a good file with some bytes, numbers or values changed, given by seed, target and number.
Its reader may refuse it by an error of vidparse.errors; any other exception, a process that dies,
10 s without an answer, and more than 1 GiB above what the libraries take are finds. Each is
counted, shown and, with --keep, written with its traceback. The exit code is 1 if there are any.
"""

from __future__ import annotations

import argparse
import faulthandler
import json
import os
import random
import resource
import select
import shutil
import signal
import subprocess
import sys
import tempfile
import time
import traceback
from collections import Counter
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]))

LIMIT_S = float(os.environ.get("FUZZ_LIMIT_S", "10"))
ROOM = 1 << 30  # bytes of addresses above those of the libraries
_START_S = 120.0  # for a process to import, and to make a corpus
_PER_PROCESS = 2000  # cases, after which a process is replaced


@dataclass
class Tally:
    """What became of the cases of a target. finds: how often, by what it was."""

    name: str
    cases: int = 0
    refused: int = 0
    seconds: float = 0.0
    slowest_s: float = 0.0
    peak_mib: float = 0.0
    finds: Counter[str] = field(default_factory=Counter)

    def row(self) -> str:
        rate = self.cases / self.seconds if self.seconds else 0.0
        return (
            f"{self.name:<14} {self.cases:>7} {self.refused:>7} {rate:>8.0f} "
            f"{self.slowest_s:>8.2f} {self.peak_mib:>6.0f} {sum(self.finds.values()):>6}"
        )


HEAD = "target           cases refused  cases/s  slowest    MiB  finds"


# ---------------------------------------------------------------- the process that reads


def work(name: str, seed: int, first: int, folder: Path) -> None:
    """Read cases of a target from number `first` on, and write a line before and after each."""
    from fuzz.targets import PLANTED, TARGETS

    target, log = (TARGETS | PLANTED)[name], (folder / "trace").open("w")
    corpus = sorted(target.corpus(folder / "corpus"))
    good = {path: path.read_bytes() for path in corpus}
    for path in corpus:
        target.read(path)  # also loads all libraries before the limit is set
    base_kib = _status("VmHWM")
    _limit(_status("VmSize") * 1024 + ROOM)
    _say({"ready": len(corpus)})

    for number in range(first, first + _PER_PROCESS):
        path, data = changed(name, good, seed, number)
        path.write_bytes(data)
        _say({"begin": number, "file": str(path)})
        faulthandler.dump_traceback_later(0.9 * LIMIT_S, file=log)
        begun_s = time.perf_counter()
        find = _find(target.read, path)
        taken_s = time.perf_counter() - begun_s
        faulthandler.cancel_dump_traceback_later()
        peak_mib = (_status("VmHWM") - base_kib) / 1024
        _say({"end": number, "s": taken_s, "mib": peak_mib, **find})
        path.write_bytes(good[path])


def changed(name: str, good: dict[Path, bytes], seed: int, number: int) -> tuple[Path, bytes]:
    """A file of the corpus and what stands in it in this case."""
    from fuzz import mutations
    from fuzz.targets import PLANTED, TARGETS

    rng = random.Random(f"{seed}/{name}/{number}")
    path = rng.choice(list(good))
    kind = rng.random()
    if kind < 0.04:
        data = mutations.spliced(list(good.values()), rng)
    else:
        own = (TARGETS | PLANTED)[name].mutation
        data = (mutations.of_bytes if kind < 0.1 else own)(good[path], rng)
    return path, data if data != good[path] else data + b"\0"


def _find(read: object, path: Path) -> dict[str, object]:
    """What a reader raised that it should not: its class and place, and the traceback."""
    from vidparse.errors import VidparseError

    try:
        read(path)  # type: ignore[operator]
    except VidparseError as error:
        text = str(error)
        if "internal error" in text or "\n" in text:
            return {"find": f"words: {text[:80]!r}", "trace": text}
        return {"refused": 1}
    except BaseException as error:
        ours = [
            one for one in traceback.extract_tb(error.__traceback__) if "/vidparse/" in one.filename
        ]
        place = f"{Path(ours[-1].filename).name}:{ours[-1].lineno}" if ours else "?"
        return {"find": f"{type(error).__name__} at {place}", "trace": traceback.format_exc()}
    return {}


def _status(key: str) -> int:
    """A line of /proc/self/status, in KiB; 0 where there is none."""
    try:
        text = Path("/proc/self/status").read_text()
    except OSError:
        return 0
    return next(int(line.split()[1]) for line in text.splitlines() if line.startswith(f"{key}:"))


def _limit(most: int) -> None:
    _, hard = resource.getrlimit(resource.RLIMIT_AS)
    if most > ROOM and (hard == resource.RLIM_INFINITY or most < hard):
        resource.setrlimit(resource.RLIMIT_AS, (most, hard))


def _say(record: dict[str, object]) -> None:
    os.write(_OUT, json.dumps(record).encode() + b"\n")


_OUT = 1


# ---------------------------------------------------------------- the process that counts


class Reader:
    """A process that reads cases, and the lines that it writes."""

    def __init__(self, name: str, seed: int, first: int) -> None:
        self.folder = Path(tempfile.mkdtemp(prefix="vidparse-fuzz-"))
        (self.folder / "corpus").mkdir()
        words = ["--worker", name, str(seed), str(first), str(self.folder)]
        self._rest = b""
        self._errors = (self.folder / "errors").open("wb")
        self.process = subprocess.Popen(
            [sys.executable, "-X", "faulthandler", __file__, *words],
            stdout=subprocess.PIPE,
            stderr=self._errors,
            stdin=subprocess.DEVNULL,
            env=os.environ | {"MALLOC_ARENA_MAX": "2", "OMP_NUM_THREADS": "1"},
        )

    def line(self, patience_s: float) -> dict[str, object] | None:
        """The next line; None: the process ended. Raises: TimeoutError."""
        assert self.process.stdout is not None
        end_s = time.monotonic() + patience_s
        while b"\n" not in self._rest:
            left_s = end_s - time.monotonic()
            if left_s <= 0 or not select.select([self.process.stdout], [], [], left_s)[0]:
                raise TimeoutError
            piece = os.read(self.process.stdout.fileno(), 1 << 16)
            if not piece:
                return None
            self._rest += piece
        line, _, self._rest = self._rest.partition(b"\n")
        found: dict[str, object] = json.loads(line)
        return found

    def words(self) -> str:
        """What it wrote to stderr, and where it stood when its time was nearly over."""
        texts = [(self.folder / name) for name in ("errors", "trace")]
        return "\n".join(
            text.read_text(errors="replace")[-4000:] for text in texts if text.exists()
        )

    def end(self) -> int:
        """Its exit code."""
        if self.process.poll() is None:
            self.process.kill()
        code = self.process.wait()
        if self.process.stdout is not None:
            self.process.stdout.close()
        self._errors.close()
        shutil.rmtree(self.folder, ignore_errors=True)
        return code


def fuzz(name: str, seed: int, first: int, cases: int, seconds: float, keep: Path | None) -> Tally:
    """Run cases of a target until there are so many, or so much time is over."""
    tally, number = Tally(name), first
    end_s = time.monotonic() + seconds
    while tally.cases < cases and time.monotonic() < end_s:
        reader = Reader(name, seed, number)
        code = None
        try:
            ready = reader.line(_START_S)
            if ready is None or "ready" not in ready:
                raise SystemExit(f"{name}: no corpus: {reader.words()}")
            for found in _cases(reader, tally):
                number = found + 1
                if tally.cases >= cases or time.monotonic() > end_s:
                    break
        except _Died as death:
            number = death.number + 1
            if death.is_hang:
                what = f"no answer within {LIMIT_S:.0f} s"
            else:
                code = reader.process.wait()
                what = f"died of {signal.Signals(-code).name}" if code < 0 else f"exit code {code}"
            tally.cases += 1
            _note(tally, keep, name, death.number, what, reader.words(), death.file)
        finally:
            reader.end()
    return tally


class _Died(Exception):
    def __init__(self, number: int, file: str, is_hang: bool) -> None:
        self.number, self.file, self.is_hang = number, file, is_hang


def _cases(reader: Reader, tally: Tally) -> Iterator[int]:
    """Numbers of cases as they end, counted in `tally`. Raises: _Died."""
    while True:
        begun = reader.line(LIMIT_S)
        if begun is None:
            return  # it has done its share
        number, file = int(str(begun["begin"])), str(begun["file"])
        try:
            ended = reader.line(LIMIT_S)
        except TimeoutError:
            raise _Died(number, file, True) from None
        if ended is None:
            raise _Died(number, file, False)

        taken_s = float(str(ended["s"]))
        tally.cases += 1
        tally.refused += int("refused" in ended)
        tally.seconds += taken_s
        tally.slowest_s = max(tally.slowest_s, taken_s)
        tally.peak_mib = max(tally.peak_mib, float(str(ended["mib"])))
        if "find" in ended:
            keep = OPTIONS.keep
            _note(tally, keep, tally.name, number, str(ended["find"]), str(ended["trace"]), None)
        yield number


def _note(
    tally: Tally, keep: Path | None, name: str, number: int, what: str, trace: str, file: str | None
) -> None:
    """Count a find, show the first of its kind, and keep it."""
    tally.finds[what] += 1
    if tally.finds[what] > 1:
        return
    print(f"{name} {number}: {what}", flush=True)
    if keep is None:
        return
    keep.mkdir(parents=True, exist_ok=True)
    (keep / f"{name}-{number}.txt").write_text(f"{what}\n\n{trace}\n")
    if file is not None and Path(file).exists():
        shutil.copy(file, keep / f"{name}-{number}{Path(file).suffix}")


def show(name: str, seed: int, number: int) -> None:
    """Write the file of one case to the current folder, and read it here."""
    from fuzz.targets import PLANTED, TARGETS

    folder = Path(tempfile.mkdtemp(prefix="vidparse-fuzz-"))
    try:
        target = (TARGETS | PLANTED)[name]
        corpus = sorted(target.corpus(folder))
        path, data = changed(name, {one: one.read_bytes() for one in corpus}, seed, number)
        path.write_bytes(data)
        shutil.copy(path, f"{name}-{number}{path.suffix}")
        target.read(path)
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _options(words: Sequence[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--cases", type=int, default=10**9, help="of all targets together")
    parser.add_argument("--seconds", type=float, default=1e9, help="for all targets together")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--first", type=int, default=0, help="number of the first case")
    parser.add_argument("--target", action="append", help="one of those below; all unless given")
    parser.add_argument("--processes", type=int, default=1)
    parser.add_argument("--keep", type=Path, help="a folder for finds")
    parser.add_argument("--json", type=Path, help="a file for the figures")
    parser.add_argument("--show", type=int, help="a case of --target, read in this process")
    return parser.parse_args(words)


def main() -> int:
    from fuzz.targets import PLANTED, TARGETS

    names = OPTIONS.target or list(TARGETS)
    if unknown := sorted({*names} - {*TARGETS, *PLANTED}):
        raise SystemExit(f"--target {unknown[0]}: unknown; use {', '.join(TARGETS)}")
    if OPTIONS.show is not None:
        show(names[0], OPTIONS.seed, OPTIONS.show)
        return 0
    if OPTIONS.cases == 10**9 and OPTIONS.seconds == 1e9:
        raise SystemExit("give --cases or --seconds")

    each = -(-OPTIONS.cases // len(names))
    share_s = OPTIONS.seconds * OPTIONS.processes / len(names)
    begun_s = time.monotonic()
    tallies = []
    with ThreadPoolExecutor(OPTIONS.processes) as pool:
        jobs = [
            pool.submit(fuzz, name, OPTIONS.seed, OPTIONS.first, each, share_s, OPTIONS.keep)
            for name in names
        ]
        print(HEAD, flush=True)
        for job in jobs:
            tallies.append(job.result())
            print(tallies[-1].row(), flush=True)

    finds = sum(sum(tally.finds.values()) for tally in tallies)
    cases = sum(tally.cases for tally in tallies)
    print(f"{cases} cases in {time.monotonic() - begun_s:.0f} s, {finds} finds")
    if OPTIONS.json is not None:
        OPTIONS.json.write_text(json.dumps([vars(tally) for tally in tallies], indent=2))
    return int(finds > 0)


if __name__ == "__main__":
    if sys.argv[1:2] == ["--worker"]:
        # Keep the lines to the counting process apart from what libraries print.
        _OUT = os.dup(1)
        os.dup2(2, 1)
        work(sys.argv[2], int(sys.argv[3]), int(sys.argv[4]), Path(sys.argv[5]))
        sys.stdout.flush()
        os._exit(0)
    OPTIONS = _options(sys.argv[1:])
    sys.exit(main())
