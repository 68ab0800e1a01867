"""Loops around other libraries, as their users write them, to run side by side with vidparse.

    python tests/benchmarks/peer_loops.py supervision clip.mp4 out.mp4 --model x.onnx

Each reads a clip and writes it with its classes in colour. Prints one JSON line: frames, seconds
of the loop (imports and model loading left out), and the versions of the library and its network.

- transformers: SegFormer B0 of its configuration, with random weights and so many classes: reads
  and writes by OpenCV, picture in, class of each pixel out by the library's own processor.
- supervision: `process_video`, with the ONNX network of vidparse in its callback, and
  MaskAnnotator.
- ultralytics: `predict(save=True)` of its smallest network of instances, with random weights. It
  finds next to nothing with these, so its drawing costs less than with trained ones.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
import tempfile
import time
from collections.abc import Callable
from importlib.metadata import version
from pathlib import Path


def transformers_loop(clip: str, out: str, model: str, classes: int) -> Callable[[], int]:
    """SegFormer, picture by picture. The function runs it, and returns the number of frames."""
    import cv2
    import numpy as np
    import torch
    from transformers import (
        SegformerConfig,
        SegformerForSemanticSegmentation,
        SegformerImageProcessor,
    )

    torch.manual_seed(0)
    processor = SegformerImageProcessor()
    network = SegformerForSemanticSegmentation(SegformerConfig(num_labels=classes)).eval()
    palette = np.random.default_rng(0).integers(0, 256, (classes, 3), dtype=np.uint8)

    def run() -> int:
        capture, writer, frames = cv2.VideoCapture(clip), None, 0
        rate = capture.get(cv2.CAP_PROP_FPS)
        while True:
            ok, frame = capture.read()
            if not ok:
                break
            rgb = cv2.cvtColor(frame, cv2.COLOR_BGR2RGB)
            inputs = processor(images=rgb, return_tensors="pt")
            with torch.no_grad():
                outputs = network(**inputs)
            size_hw = rgb.shape[:2]
            ids = processor.post_process_semantic_segmentation(outputs, target_sizes=[size_hw])[0]
            blend = cv2.addWeighted(frame, 0.5, palette[ids.numpy()], 0.5, 0)
            if writer is None:
                code = cv2.VideoWriter_fourcc(*"mp4v")
                writer = cv2.VideoWriter(out, code, rate, size_hw[::-1])
            writer.write(blend)
            frames += 1
        if writer is not None:
            writer.release()
        return frames

    return run


def supervision_loop(clip: str, out: str, model: str, classes: int) -> Callable[[], int]:
    """The ONNX network in the callback of `process_video`."""
    import cv2
    import numpy as np
    import onnxruntime as ort
    import supervision as sv

    from vidparse.inference.preprocess import network_size
    from vidparse.models.checkpoint import read_onnx_description

    facts = read_onnx_description(Path(model)).preprocess
    mean, std = np.array(facts.mean, np.float32), np.array(facts.std, np.float32)
    session = ort.InferenceSession(model, providers=["CPUExecutionProvider"])
    annotator = sv.MaskAnnotator(opacity=0.5, color_lookup=sv.ColorLookup.CLASS)
    frames = 0

    def callback(frame: np.ndarray, index: int) -> np.ndarray:
        nonlocal frames
        frames += 1
        height, width = frame.shape[:2]
        in_h, in_w = network_size((height, width), facts.short_side)
        small = cv2.resize(cv2.cvtColor(frame, cv2.COLOR_BGR2RGB), (in_w, in_h))
        picture = ((small.astype(np.float32) / 255 - mean) / std).transpose(2, 0, 1)[None]
        scores = session.run(["logits"], {"clip": np.ascontiguousarray(picture, np.float32)})[0][0]
        full = np.stack([cv2.resize(one, (width, height)) for one in scores])
        ids = full.argmax(0)
        found = np.unique(ids)
        masks = ids == found[:, None, None]
        boxes = sv.mask_to_xyxy(masks)
        detections = sv.Detections(xyxy=boxes, mask=masks, class_id=found)
        return annotator.annotate(frame.copy(), detections)

    def run() -> int:
        sv.process_video(source_path=clip, target_path=out, callback=callback)
        return frames

    return run


def ultralytics_loop(clip: str, out: str, model: str, classes: int) -> Callable[[], int]:
    """The predictor of instances on a file; it chooses the container by itself."""
    # Keep its settings out of the home folder, and let it report nothing to its makers.
    folder = Path(tempfile.mkdtemp())
    os.environ |= {"YOLO_CONFIG_DIR": str(folder), "YOLO_OFFLINE": "true"}
    from ultralytics import YOLO, settings
    from ultralytics.nn.tasks import SegmentationModel

    settings.update({"sync": False})
    network = YOLO("yolo11n-seg.yaml", task="segment")
    network.model = SegmentationModel("yolo11n-seg.yaml", nc=classes, verbose=False)

    def run() -> int:
        wishes = {"save": True, "project": str(folder), "device": "cpu", "verbose": False}
        return sum(1 for _ in network.predict(clip, stream=True, **wishes))

    return run


LOOPS = {
    "transformers": transformers_loop,
    "supervision": supervision_loop,
    "ultralytics": ultralytics_loop,
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("peer", choices=LOOPS)
    parser.add_argument("input")
    parser.add_argument("output")
    parser.add_argument("--model", required=True, help="ONNX file of vidparse")
    parser.add_argument("--classes", type=int, default=11)
    arguments = parser.parse_args()

    run = LOOPS[arguments.peer](
        arguments.input, arguments.output, arguments.model, arguments.classes
    )
    start = time.perf_counter()
    frames = run()
    seconds = time.perf_counter() - start
    record = {"frames": frames, "seconds": round(seconds, 4), "version": version(arguments.peer)}
    sys.stdout.write(json.dumps(record) + "\n")


if __name__ == "__main__":
    main()
