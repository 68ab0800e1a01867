"""Hours of video time through every output: memory, threads and descriptors, and sound to the end.

    python tests/benchmarks/soak.py [--hours 6] [--rate 1] [--model colours] [--only files,pipe]

The clip is encoded for the purpose: small grey pictures with a moving square, white every ten
seconds, when a click sounds, too. `files` writes every output of a file at once; `pipe` reads raw
frames from a pipe and writes an overlay into one. While the process runs, its resident memory,
threads and open descriptors are noted each second; a row gives their medians in the second and in
the last tenth of the frames. At the end the last white picture of the overlay is held against the
last click. `colours` is a network that costs next to nothing, so that all else is what is tried;
any other name is a model as for `segment`.

An mp4 or mov has its index in memory until it is closed: 100 to 200 bytes for each packet of
picture and sound, as long as the video is. The last column has 200 bytes for each packet of such
outputs.

Exits with 1 where memory grew by more than that and 5 %, threads or descriptors by any, or where
sound and picture are more than 1 ms apart.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from statistics import median

import av
import numpy as np

sys.path.insert(0, str(Path(__file__).parents[1]))

from support.colour_model import save_colour_model
from vidparse.sinks import SINKS

SIZE_HW = (64, 96)
EVERY_S = 10  # between two white pictures
AUDIO_RATE = 8000
SAMPLES = AUDIO_RATE // 10  # of a packet of sound
MOST_GROWTH, MOST_APART_S = 0.05, 0.001
INDEX_BYTES = 200  # of an mp4, per packet
MATTES = ("--matte", "Road", "--background", "#204060", "--redact", "fill")


@dataclass(frozen=True, slots=True)
class Look:
    """A look at a process."""

    frames: int
    rss_mib: float
    threads: int
    descriptors: int


def picture(number: int, rate: int) -> np.ndarray:
    """RGB uint8 (H, W, 3)."""
    if number % (EVERY_S * rate) == 0:
        return np.full((*SIZE_HW, 3), 255, np.uint8)
    image = np.full((*SIZE_HW, 3), 90, np.uint8)
    x, y = number * 3 % (SIZE_HW[1] - 24), number * 2 % (SIZE_HW[0] - 24)
    image[y : y + 24, x : x + 24] = (200, 40, 40 + number * 7 % 160)
    return image


def write_clip(path: Path, frames: int, rate: int) -> None:
    """H.264 with FLAC, which keeps the place of each sample."""
    seconds = frames // rate
    with av.open(str(path), "w") as out:
        video = out.add_stream("libx264", rate=rate, options={"preset": "ultrafast", "g": "50"})
        video.height, video.width, video.pix_fmt = *SIZE_HW, "yuv420p"
        audio = out.add_stream("flac", rate=AUDIO_RATE, layout="mono")

        for second in range(seconds):
            for number in range(second * rate, (second + 1) * rate):
                frame = av.VideoFrame.from_ndarray(picture(number, rate))
                frame.pts, frame.time_base = number, Fraction(1, rate)
                out.mux(video.encode(frame))
            out.mux(packet for one in _sound(second) for packet in audio.encode(one))
        out.mux(video.encode(None))
        out.mux(audio.encode(None))


def _sound(second: int) -> Iterator[av.AudioFrame]:
    for part in range(AUDIO_RATE // SAMPLES):
        samples = np.zeros((1, SAMPLES), np.int16)
        if part == 0 and second % EVERY_S == 0:
            samples[0, :200] = 20000
        frame = av.AudioFrame.from_ndarray(samples, format="s16", layout="mono")
        frame.sample_rate, frame.time_base = AUDIO_RATE, Fraction(1, AUDIO_RATE)
        frame.pts = second * AUDIO_RATE + part * SAMPLES
        yield frame


def packets_of(path: Path) -> int:
    """Packets of picture and sound."""
    with av.open(str(path)) as container:
        return sum(1 for packet in container.demux() if packet.size)


def apart_s(path: Path) -> float:
    """Seconds from the last click to the last white picture."""
    with av.open(str(path)) as container:
        last = container.streams.video[0]
        begin_s = float(last.duration * last.time_base) - 3 * EVERY_S
        times = {"video": -1.0, "audio": -1.0}
        container.seek(int(max(begin_s, 0) * av.time_base))
        for frame in container.decode(video=0, audio=0):
            if isinstance(frame, av.VideoFrame):
                if frame.to_ndarray(format="gray").mean() > 150:
                    times["video"] = frame.time
            else:
                loud = np.flatnonzero(np.abs(frame.to_ndarray().ravel().astype(float)) > 5000)
                starts = loud[np.diff(loud, prepend=-999) > 1]
                if len(starts):
                    times["audio"] = frame.time + starts[-1] / AUDIO_RATE
    return times["video"] - times["audio"]


def watched(
    process: subprocess.Popen[bytes], frames: Callable[[], int], every_s: float = 1.0
) -> list[Look]:
    """Looks at a process until it ends."""
    looks = []
    root = Path(f"/proc/{process.pid}")
    while process.poll() is None:
        try:
            status = dict(line.split(":", 1) for line in (root / "status").read_text().splitlines())
            rss_mib = int(status["VmRSS"].split()[0]) / 1024
            opened = len([*(root / "fd").iterdir()])
            looks.append(Look(frames(), rss_mib, int(status["Threads"]), opened))
        except (OSError, KeyError):
            break  # it has just ended
        time.sleep(every_s)
    return looks


def grew(name: str, looks: list[Look], frames: int, wall_s: float, indexed: float = 0.0) -> bool:
    """Print the row of a run; True where something grew.

    indexed: packets per frame, in all outputs that keep an index of them.
    """
    early = [one for one in looks if frames / 10 <= one.frames < frames / 5]
    late = [one for one in looks if frames * 0.9 <= one.frames < frames]
    if not early or not late:
        print(f"| {name} | too short to be judged: {len(looks)} looks |")
        return False

    rows = {
        field: [median(getattr(one, field) for one in part) for part in (early, late)]
        for field in ("rss_mib", "threads", "descriptors")
    }
    shown = " | ".join(f"{then:.0f} -> {now:.0f}" for then, now in rows.values())
    index_mib = indexed * INDEX_BYTES * frames * 0.8 / 2**20  # between the two tenths
    print(f"| {name} | {frames} | {wall_s:.0f} | {shown} | {index_mib:.0f} |", flush=True)
    (then, now), *counts = rows.values()
    return now > then * (1 + MOST_GROWTH) + index_mib or any(late > early for early, late in counts)


def soak_files(clip: Path, model: str, frames: int, folder: Path) -> bool:
    """Every output of a file at once."""
    save = [name for name in SINKS if name not in ("vspw", "vipseg")]
    words = ["segment", str(clip), "-o", f"{folder}/out/", "--save", ",".join(save), *MATTES]
    begun_s = time.perf_counter()
    process = subprocess.Popen(
        [sys.executable, "-m", "vidparse", *words, "--model", model, "--quiet", "--threads", "1"]
    )

    # Count by the records, a line per frame in a file under its unfinished name.
    def done() -> int:
        records = [
            *(folder / "out").glob("clip.csv*"),
            *(folder / "out").glob("clip.vidparse-part.csv"),
        ]
        return _last_number(records[0]) if records else 0

    looks = watched(process, done)
    assert process.wait() == 0, process.returncode
    wall_s = time.perf_counter() - begun_s
    indexes = [path for path in (folder / "out").iterdir() if path.suffix in (".mp4", ".mov")]
    packets = len(indexes) * packets_of(clip) / frames
    bad = grew(f"{len(save)} outputs", looks, frames, wall_s, packets)

    overlay = next((folder / "out").glob("*.overlay.*"))
    for name, path in (("input", clip), ("overlay", overlay)):
        apart = apart_s(path)
        print(f"last white picture of the {name} and last click: {1000 * apart:.3f} ms apart")
        bad |= abs(apart) > MOST_APART_S
    return bad


def _last_number(path: Path) -> int:
    """The frame of the last whole line of a csv."""
    try:
        with path.open("rb") as file:
            file.seek(max(0, path.stat().st_size - 400))
            lines = file.read().split(b"\n")
    except OSError:
        return 0
    cells = lines[-2].split(b",") if len(lines) > 2 else [b""]
    return int(cells[0]) if cells[0].isdigit() else 0


def soak_pipe(model: str, frames: int, rate: int) -> bool:
    """Raw frames into a pipe, an overlay out of one."""
    height, width = SIZE_HW
    words = ["segment", "-", "--pipe", "raw", "--size", f"{width}x{height}", "--rate", str(rate)]
    words += ["--quiet", "--threads", "1"]
    begun_s = time.perf_counter()
    process = subprocess.Popen(
        [sys.executable, "-m", "vidparse", *words, "-o", "-", "--model", model],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
    )
    sent = 0

    def feed() -> None:
        nonlocal sent
        assert process.stdin is not None
        for sent in range(frames):
            process.stdin.write(picture(sent, rate).tobytes())
        process.stdin.close()

    def drain() -> None:
        assert process.stdout is not None
        while process.stdout.read(1 << 16):
            pass

    for work in (feed, drain):
        threading.Thread(target=work, daemon=True).start()
    looks = watched(process, lambda: sent)
    assert process.wait() == 0, process.returncode
    return grew("raw pipe to overlay pipe", looks, frames, time.perf_counter() - begun_s)


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--hours", type=float, default=6.0)
    parser.add_argument("--rate", type=int, default=1, help="frames per second")
    parser.add_argument("--model", default="colours")
    parser.add_argument("--only", default="files,pipe")
    options = parser.parse_args()
    frames = int(options.hours * 3600) * options.rate

    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        model = options.model
        if model == "colours":
            model = str(save_colour_model(folder / "colours.onnx", "camvid"))
        print("| run | frames | s | resident MiB | threads | descriptors | index MiB, at most |")
        print("| --- | --- | --- | --- | --- | --- | --- |", flush=True)

        bad = False
        if "files" in options.only:
            clip = folder / "clip.mp4"
            write_clip(clip, frames, options.rate)
            bad |= soak_files(clip, model, frames, folder)
        if "pipe" in options.only:
            bad |= soak_pipe(model, frames, options.rate)
    raise SystemExit(int(bad))


if __name__ == "__main__":
    main()
