"""The loop everybody writes, to run side by side with vidparse.

    cv2.VideoCapture -> resize, normalise -> network -> bilinear upsampling and argmax in torch
    -> numpy blend -> cv2.VideoWriter

    python tests/benchmarks/usual_loop.py clip.mp4 out.mp4 --model street-student [--backend torch]

Prints one JSON line: frames, seconds of the loop (imports and model loading left out).
"""

from __future__ import annotations

import argparse
import json
import sys
import time

import cv2
import numpy as np
import torch
import torch.nn.functional as F

from vidparse.hub import resolve
from vidparse.inference.preprocess import network_size
from vidparse.models.checkpoint import load_network, read_description


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("input")
    parser.add_argument("output")
    parser.add_argument("--model", default="street-student")
    parser.add_argument("--backend", choices=["onnx", "torch"], default="onnx")
    arguments = parser.parse_args()

    files = resolve(arguments.model)
    description = read_description(files.weights)
    facts = description.preprocess
    mean, std = np.array(facts.mean, np.float32), np.array(facts.std, np.float32)
    colours = np.array(description.labels.colours, np.uint8)
    if arguments.backend == "onnx":
        import onnxruntime as ort  # after vidparse, which switches off its reports

        onnx_path = files.onnx or files.weights.with_suffix(".onnx")
        session = ort.InferenceSession(str(onnx_path), providers=["CPUExecutionProvider"])

        def network(clip: np.ndarray) -> torch.Tensor:
            return torch.from_numpy(session.run(["logits"], {"clip": clip})[0])
    else:
        model = load_network(description)

        def network(clip: np.ndarray) -> torch.Tensor:
            answer, _ = model(torch.from_numpy(clip)[:, None], ())  # a clip of one frame
            return answer.logits[:, 0]

    capture = cv2.VideoCapture(arguments.input)
    writer = None
    frames, start = 0, time.perf_counter()
    with torch.inference_mode():
        while True:
            ok, bgr = capture.read()
            if not ok:
                break
            height, width = bgr.shape[:2]
            rgb = cv2.cvtColor(bgr, cv2.COLOR_BGR2RGB)
            in_h, in_w = network_size((height, width), facts.short_side)
            small = cv2.resize(rgb, (in_w, in_h)).astype(np.float32) / 255.0
            clip = ((small - mean) / std).transpose(2, 0, 1)[None]
            logits = network(np.ascontiguousarray(clip, dtype=np.float32))
            full = F.interpolate(logits, size=(height, width), mode="bilinear")
            ids = full.argmax(dim=1)[0].numpy()
            blend = (rgb * 0.5 + colours[ids] * 0.5).astype(np.uint8)
            if writer is None:
                code = cv2.VideoWriter_fourcc(*"mp4v")
                rate = capture.get(cv2.CAP_PROP_FPS)
                writer = cv2.VideoWriter(arguments.output, code, rate, (width, height))
            writer.write(cv2.cvtColor(blend, cv2.COLOR_RGB2BGR))
            frames += 1
    if writer is not None:
        writer.release()
    seconds = time.perf_counter() - start
    sys.stdout.write(json.dumps({"frames": frames, "seconds": round(seconds, 4)}) + "\n")


if __name__ == "__main__":
    main()
