"""The weights of a DeepLab of TensorFlow Lite in a network of vidparse, to start training from.

    python examples/tflite_weights.py deeplab_voc_quant.tflite --labels voc -o voc.safetensors
    vidparse segment home.mp4 -m voc.safetensors
    vidparse train --dataset folder --data labelled --init voc.safetensors \\
        --recipe everyday-deeplab

It is for DeepLabV3 on MobileNetV2 in its form for phones (head `deeplab-light`), as Coral has it.
Networks in int8 give the weights as they were rounded. Beside these the network gets layers that
refine its scores by finer maps; they add nothing before they are trained. Wants
`pip install tf2onnx tensorflow-cpu`, which vidparse itself never does.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import torch
from tflite_teacher import as_float_onnx, check_call, open_input, run_command

from vidparse.errors import ModelError
from vidparse.files import whole_file
from vidparse.labels import Labels
from vidparse.models.checkpoint import file_sha256, save_checkpoint
from vidparse.models.description import Preprocess, metadata_of
from vidparse.models.zoo import build, facts_of

if TYPE_CHECKING:
    from onnx import ModelProto

CONFIG = {
    "backbone": "mobilenetv2",
    "output_stride": 16,
    "head": "deeplab-light",
    "width": 256,
    "skip_channels": 64,
    "finest": 2,
    "antialias": True,
    "auxiliary": False,
}
SHORT_SIDE = 384  # pixels
# name of a convolution in TensorFlow's slim -> ours
HEAD = {
    "aspp0": "head.aspp.branches.0",
    "image_pooling": "head.aspp.image",
    "concat_projection": "head.aspp.fuse",
    "logits/semantic": "head.coarse",
}
STEPS = ("expand", "depthwise", "project")


def main() -> None:
    run_command(__doc__, convert, "start.safetensors")


def convert(network: Path, labels: Labels, out: Path, *, overwrite: bool = False) -> None:
    """Write the weights of a .tflite network as a model of vidparse.

    Raises:
        UsageError: a package is not installed.
        ModelError: no such file, or a network of another form.
        OutputError: the file exists, or cannot be written.
    """
    check_call(network, out, overwrite=overwrite)

    model = as_float_onnx(network)
    made = build("perframe", CONFIG | {"classes": len(labels)})
    try:
        seen = open_input(model.graph).preprocess
        convolutions = convolutions_of(model)
        made.load_state_dict(own_weights(convolutions, seen, made.state_dict()))
    except (ValueError, RuntimeError) as error:
        raise ModelError(
            f"{network}: not a DeepLabV3 for phones on MobileNetV2 ({error}); give one that is"
        ) from error

    record = metadata_of(
        arch="perframe",
        **facts_of(made),
        labels=labels,
        preprocess=Preprocess(SHORT_SIDE, divisor=made.alignment),
        training={"source": network.name, "source_sha256": file_sha256(network)},
    )
    with whole_file(out) as part:
        save_checkpoint(part, made.state_dict(), record)


def convolutions_of(model: ModelProto) -> dict[str, tuple[np.ndarray, np.ndarray]]:
    """Our name of each convolution -> its kernel (O, I, k, k) and bias (O,), norms folded in.

    Raises:
        ValueError: one has a name that slim's DeepLab has not.
    """
    from onnx import numpy_helper

    known = {tensor.name: numpy_helper.to_array(tensor) for tensor in model.graph.initializer}
    found = {}
    for node in model.graph.node:
        if node.op_type == "Conv":
            _, kernel, bias = node.input
            found[our_name(bias)] = (known[kernel], known[bias])
    return found


def our_name(bias: str) -> str:
    """The module of a convolution, by the name of its bias. Raises: ValueError: no such name."""
    for theirs, ours in HEAD.items():
        if bias.startswith(f"{theirs}/"):
            return ours
    if bias.startswith("MobilenetV2/Conv/"):
        return "backbone.features.0"

    # Count the steps of a block as we do: the first block does not expand.
    block = re.match(rf"MobilenetV2/expanded_conv(?:_(\d+))?/({'|'.join(STEPS)})/", bias)
    if block is None:
        raise ValueError(f"it has a layer {bias}")
    number, step = int(block[1] or 0), STEPS.index(block[2])
    return f"backbone.features.{number + 1}.conv.{step - (number == 0)}"


def own_weights(
    convolutions: dict[str, tuple[np.ndarray, np.ndarray]],
    seen: Preprocess,
    state: dict[str, torch.Tensor],
) -> dict[str, torch.Tensor]:
    """`state` of a fresh network with the weights of these convolutions in their places.

    Raises:
        ValueError: a convolution has no place, or a place of another shape, or one is missing.
    """
    own, filled = dict(state), set[str]()
    for name, (kernel, bias) in convolutions.items():
        if name == "backbone.features.0":
            kernel, bias = for_our_pictures(kernel, bias, seen)
        if name == "head.aspp.fuse":
            # Swap the halves: slim has the mean of the picture first.
            kernel = np.roll(kernel, kernel.shape[1] // 2, axis=1)

        for place, values in places(name, kernel, bias, own).items():
            if own[place].shape != values.shape:
                raise ValueError(f"its {name} is {values.shape}, not {tuple(own[place].shape)}")
            own[place] = torch.from_numpy(values.astype(np.float32))
            filled.add(place)

    # Leave nothing at random but the layers that refine.
    parts = ("backbone.", *(f"{name}." for name in HEAD.values()))
    wanted = {name for name, values in own.items() if name.startswith(parts) and values.ndim}
    if wanted - filled:
        raise ValueError(f"it has no {min(wanted - filled)}")
    return own


def places(
    name: str, kernel: np.ndarray, bias: np.ndarray, own: dict[str, torch.Tensor]
) -> dict[str, np.ndarray]:
    """Where the kernel and the bias of a module go; the norm behind it passes all else through.

    Raises:
        ValueError: there is no such module.
    """
    if f"{name}.bias" in own:
        return {f"{name}.weight": kernel, f"{name}.bias": bias}

    # Find convolution and norm: inside the module, or the last step of a block and the next.
    convolution, norm = f"{name}.0", f"{name}.1"
    if f"{convolution}.weight" not in own:
        block, _, step = name.rpartition(".")
        convolution, norm = name, f"{block}.{int(step) + 1}"
    if f"{norm}.running_var" not in own:
        raise ValueError(f"it has a layer {name}")
    ones = np.ones_like(bias)
    return {
        f"{convolution}.weight": kernel,
        f"{norm}.weight": ones,
        f"{norm}.bias": bias,
        f"{norm}.running_mean": 0 * ones,
        f"{norm}.running_var": ones - torch.nn.BatchNorm2d(1).eps,
    }


def for_our_pictures(
    kernel: np.ndarray, bias: np.ndarray, seen: Preprocess
) -> tuple[np.ndarray, np.ndarray]:
    """The first convolution, for pictures with ImageNet's mean and deviation."""
    ours = Preprocess(SHORT_SIDE)
    mean, std = np.array(ours.mean), np.array(ours.std)
    theirs_mean, theirs_std = np.array(seen.mean), np.array(seen.std)

    # Write their value of a pixel as a multiple of ours and a constant, channel by channel.
    times = std / theirs_std
    plus = (mean - theirs_mean) / theirs_std
    constant = (kernel * plus[None, :, None, None]).sum(axis=(1, 2, 3))
    return kernel * times[None, :, None, None], bias + constant


if __name__ == "__main__":
    main()
