"""The page of a long result in Chromium: its size, how soon it shows something, and how it seeks.

`python tests/benchmarks/bench_view.py clip.mp4 out/` repeats a clip and its result (mask-video and
jsonl in out/) until they last ten minutes, writes the page, and opens it.
Needs ffmpeg, playwright and Chromium; `--keep FOLDER` leaves the page there, and takes it from
there when it is made already.
"""

from __future__ import annotations

import argparse
import json
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent.parent))

from support.browser import Opened, chromium
from vidparse.requests.view import ViewRequest
from vidparse.video import open_video
from vidparse.view import write_pages

PAINTED = "() => performance.getEntriesByName('first-contentful-paint')[0]?.startTime ?? 0"
SEEK = (
    "(place) => new Promise((done) => { const start = performance.now(); seek(place);"
    "const look = () => stage.layers.every((one) => one.drawn === place) && !video.seeking"
    " && wanted === null ? done(performance.now() - start) : setTimeout(look, 1); look(); })"
)


def repeat(clip: Path, out: Path, folder: Path, seconds: float) -> None:
    """A clip and its result, over and over, with the times of the repeated clip."""
    with open_video(clip) as video:
        count, rate = sum(1 for _ in video), video.info.nominal_rate
    frames = round(seconds * rate)
    loops = -(-frames // count)
    movie, masks = folder / "long.mp4", folder / "long.masks.mkv"
    for source, target in ((clip, movie), (out / f"{clip.stem}.masks.mkv", masks)):
        words = ["ffmpeg", "-y", "-v", "error", "-stream_loop", str(loops - 1)]
        limit = ["-an", "-c", "copy", "-frames:v", str(frames)]
        subprocess.run([*words, "-i", str(source), *limit, str(target)], check=True)

    # Repeat the records, each with the time of its frame.
    head, *lines = (out / f"{clip.stem}.jsonl").read_text().splitlines()
    with open_video(movie) as video, (folder / "long.jsonl").open("w") as records:
        header = json.loads(head)
        header["source"] |= {"name": movie.name, "time_base": str(video.info.time_base)}
        records.write(json.dumps(header | {"argv": []}) + "\n")
        for frame in video:
            record = json.loads(lines[frame.index % count])
            record |= {"frame": frame.index, "pts": frame.pts, "time": frame.time_s}
            records.write(json.dumps(record) + "\n")


def measure(page: Path) -> None:
    """Open the page five times, seek in it, and print medians."""
    paints, readies, videos = [], [], []
    with chromium() as browser:
        for _ in range(5):
            start = time.monotonic()
            opened = Opened(browser, page, wait_until="commit")
            opened.until("() => typeof stage !== 'undefined' && stage.layers[0].drawn === 0")
            readies.append(time.monotonic() - start)
            opened.until("() => video.readyState >= 2")
            videos.append(time.monotonic() - start)
            opened.until(PAINTED)
            paints.append(opened.run(PAINTED) / 1000)
            if len(paints) < 5:
                opened.close()

        frames, seconds = opened.run("() => [contents.frames, times[contents.frames - 1]]")
        places = [(i * 7919) % frames for i in range(1, 41)]
        seeks = sorted(opened.run(SEEK, place) for place in places)
        steps = sorted(opened.run(SEEK, frames // 2 + i) for i in range(40))
        blocks = opened.run(
            "async () => { const start = performance.now(); const maps = new Maps('ids-0', "
            "contents.chunk); await maps.load(contents.frames - 1);"
            "return performance.now() - start; }"
        )
    size = page.stat().st_size / 1e6
    print(f"page: {size:.1f} MB, {frames} frames, {60 * size / seconds:.1f} MB per minute")
    print(f"first paint: {statistics.median(paints):.2f} s")
    print(f"ids of the first frame: {statistics.median(readies):.2f} s")
    print(f"video ready: {statistics.median(videos):.2f} s")
    print(f"seek: median {statistics.median(seeks):.0f} ms, longest {seeks[-1]:.0f} ms")
    print(f"step: median {statistics.median(steps):.0f} ms, longest {steps[-1]:.0f} ms")
    print(f"a block of ids: {blocks:.0f} ms")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("clip", type=Path)
    parser.add_argument("out", type=Path, help="folder with its mask-video and jsonl")
    parser.add_argument("--minutes", type=float, default=10)
    parser.add_argument("--keep", type=Path)
    given = parser.parse_args()

    with tempfile.TemporaryDirectory() as made:
        folder = given.keep or Path(made)
        page = folder / "long.view.html"
        if not page.exists():
            folder.mkdir(exist_ok=True)
            repeat(given.clip, given.out, folder, given.minutes * 60)
            start = time.monotonic()
            (written,) = write_pages(ViewRequest(results=(folder,)))
            seconds = time.monotonic() - start
            print(f"written in {seconds:.0f} s, {1000 * seconds / written.frames:.1f} ms per frame")
        measure(page)


if __name__ == "__main__":
    main()
