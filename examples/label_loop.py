"""The loop of labelling, end to end: find weak frames, correct them, train on them, score again.

    python examples/label_loop.py WORK [--dataset camvid --data CamVid --split test]

Frames of a labelled data set stand for a new recording, and its labels for the person who corrects:
put your own video and your annotation tool in their place. Of each video the first half is looked
through by `vidparse disagree`, and the second half is kept for the score. Without --dataset the
recording is a rendered street, whose look the models do not know.
"""

from __future__ import annotations

import argparse
import shutil
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

from PIL import Image

from vidparse.data import Dataset, FrameRecord, open_dataset
from vidparse.maps import Prediction, SegmentMap
from vidparse.sinks import SINKS, SinkOptions
from vidparse.sinks.pictures import gray_png
from vidparse.video import open_video

RENDERED = "sample://street?videos=2&frames=40&size=320x240&rate=5"
MODELS = ("street-student", "street-tcb")  # the first one is trained on

# A few pictures teach a model that knows much already: small steps, and minutes on a CPU.
FEW = (
    *("epochs=1", "batch_size=4", "crop_hw=[240,320]", "precision=fp32", "workers=0"),
    *("warmup_steps=5", "lr_backbone=1e-4", "lr_head=3e-4", "ema_decay=0.9", "metrics=['miou']"),
)


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("work", type=Path, help="a new folder")
    parser.add_argument("--dataset", default=RENDERED)
    parser.add_argument("--data", type=Path)
    parser.add_argument("--split", default="val")
    parser.add_argument("--top", type=int, default=12, help="frames that a person corrects")
    parser.add_argument("--steps", type=int, default=60, help="of training")
    given, options = parser.parse_known_args()

    work: Path = given.work
    recording = open_dataset(given.dataset, given.data, given.split)
    truth = lay_out(recording, work)

    # Ask two models where they differ, and get a task for CVAT with the answers of the first.
    models = [word for name in MODELS for word in ("-m", name)]
    top = ("--top", str(given.top), "--spacing", "0")
    vidparse("disagree", str(work / "recording"), *models, *top, "-o", str(work / "task"))

    # Correct the task. This is where a person works, in CVAT.
    correct(work / "task", recording, truth)

    # Bring it back, and train on it.
    vidparse("data", "convert", str(work / "task"), str(work / "mine" / "train"))
    shutil.copyfile(work / "mine" / "train" / "labels.json", work / "mine" / "labels.json")
    data = ("--dataset", "folder", "--data", str(work / "mine"))
    settings = [word for one in (*FEW, f"steps_per_epoch={given.steps}") for word in ("--set", one)]
    run = work / "run"
    vidparse("train", *data, "--init", MODELS[0], "-o", str(run), *settings, *options)

    # Score the model before and after on frames that nobody corrected.
    after = str(run / "best.safetensors")
    vidparse("eval", *data, "--split", "val", "-m", MODELS[0], "-m", after)


def lay_out(recording: Dataset, work: Path) -> dict[str, FrameRecord]:
    """The first halves as pictures, with the record of each by name; the others as a val split."""
    truth: dict[str, FrameRecord] = {}
    for video in recording.videos:
        frames = [frame for frame in video.frames if frame.labelled]
        for place, frame in enumerate(frames):
            name = f"{video.name}_{frame.stem}.png".replace("/", "_")
            if place < len(frames) // 2:
                truth[Path(name).stem] = frame
                save(recording, frame, work / "recording" / name)
                continue
            save(recording, frame, work / "mine" / "val" / "images" / name)
            mask = work / "mine" / "val" / "masks" / name
            mask.parent.mkdir(parents=True, exist_ok=True)
            mask.write_bytes(gray_png(recording.load_mask(frame)))
    return truth


def save(recording: Dataset, frame: FrameRecord, path: Path) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(recording.load_image(frame)).save(path)


def correct(task: Path, recording: Dataset, truth: dict[str, FrameRecord]) -> None:
    """Write the recording's own labels over those of the task, as a person would draw them."""
    (xml,) = task.glob("*.xml")
    before = open_dataset("cvat", task, "all")
    sink = SINKS["cvat-images"](xml, SinkOptions(overwrite=True))
    labels = replace(recording.labels, things=frozenset())
    changed = pixels = 0
    with open_video(task / "images") as pictures, sink:
        sink.open(pictures.info, labels)
        for picture, frame in zip(pictures, before.videos[0].frames, strict=True):
            mask = recording.load_mask(truth[frame.stem])
            sink.write(picture, Prediction(picture.index, SegmentMap(mask), labels))

            # Say how much a person would have had to change.
            changed += int((before.load_mask(frame) != mask).sum())
            pixels += mask.size
    print(
        f"{len(before.videos[0].frames)} frames corrected, {changed / pixels:.1%} of their pixels"
    )


def vidparse(*words: str) -> None:
    """Run a command; its errors end this script, too."""
    print("$ vidparse", *words, flush=True)
    ended = subprocess.run([sys.executable, "-m", "vidparse", *words], check=False)
    if ended.returncode:
        sys.exit(ended.returncode)


if __name__ == "__main__":
    main()
