"""Networks of Hugging Face transformers in PyTorch, and their ONNX forms."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING, Self

import numpy as np

from vidparse.errors import ModelError, UsageError
from vidparse.files import whole_file
from vidparse.hub import ModelFiles
from vidparse.hub.client import check_installed
from vidparse.inference.answer import Answer
from vidparse.inference.devices import Device, cpu_count
from vidparse.inference.runners.pytorch import TorchRunner, torch_device, torch_precision
from vidparse.inference.runners.runner import engine_text
from vidparse.inference.runners.transformers.checkpoint import (
    ARCHITECTURES,
    read_checkpoint,
    splits_pictures,
)
from vidparse.models.description import SEMANTIC, Description
from vidparse.requests.model import ModelChoice

if TYPE_CHECKING:
    import torch
    from transformers import PreTrainedConfig, PreTrainedModel

    from vidparse.inference.runners.transformers.networks import PretrainedNetwork


class TransformersRunner(TorchRunner):
    """A checkpoint in the hub's layout, with autocast for the half precisions.

    Only classes of the installed transformers run, and only safetensors are read; no internet
    address is opened.

    Args:
        folder: config.json, preprocessor_config.json and model.safetensors (or its parts).
        name: the checkpoint's address, for messages and for the task in it.
        task: auto, semantic, instance or panoptic; see :func:`read_checkpoint`.

    Raises:
        ModelError: not supported, damaged, or transformers is not installed.
        UsageError: the task is not one of the network's. DeviceError: the device or precision is
        not there.
    """

    backend = "transformers"
    channels_last = False  # the library's networks are written for the usual layout

    def __init__(
        self,
        folder: Path,
        *,
        device: Device,
        precision: str = "auto",
        threads: int = 0,
        name: str = "",
        task: str = "auto",
    ) -> None:
        description = read_checkpoint(folder, name=name, task=task)
        name = name or str(folder)
        check_installed(name)
        torch_device(device)  # known before weights of gigabytes are read
        precision = torch_precision(precision, device)

        pretrained = load_pretrained(folder, description.arch, name)
        outputs = int(pretrained.config.num_labels)
        if outputs != len(description.labels):
            raise ModelError(
                f"{name}: {outputs} outputs for {len(description.labels)} names of classes; "
                "fetch it again"
            )
        network = as_network(pretrained, description, folder, name)
        super().__init__(
            description, device=device, precision=precision, threads=threads, network=network
        )
        self.engine = engine_text("transformers", device, precision, threads or cpu_count())
        self._name, self._pretrained = name, network

    @classmethod
    def load(cls, files: ModelFiles, choice: ModelChoice, device: Device) -> Self:
        assert files.transformers is not None  # or another runner would load it
        return cls(
            files.transformers,
            device=device,
            precision=choice.precision,
            threads=choice.threads,
            name=choice.name,
            task=choice.task,
        )

    def answer(self, clip: np.ndarray, size_hw: tuple[int, int] | None = None) -> Answer:
        height, width = clip.shape[-2:]
        if not self._pretrained.takes((height, width)):
            raise UsageError(
                f"size {width}x{height}: {self._name} takes pictures of its own size only; "
                "leave out --size"
            )
        return super().answer(clip, size_hw)


def as_network(
    pretrained: PreTrainedModel, description: Description, folder: Path, name: str
) -> PretrainedNetwork:
    """A network of transformers, under the contract of vidparse's own, in eval mode."""
    import torch

    from vidparse.inference.runners.transformers import networks

    architecture, task = ARCHITECTURES[description.arch], description.task
    network: networks.PretrainedNetwork
    if not architecture.masks:
        network = networks.ScoreNetwork(pretrained)
    elif architecture.follows:
        network = networks.FollowingNetwork(pretrained, architecture, task)
    elif architecture.square:
        facts = description.preprocess

        # Fill with black as the network sees it, normalised.
        black = -torch.tensor(facts.mean) / torch.tensor(facts.std)
        splits = task == SEMANTIC and splits_pictures(folder, name)
        network = networks.SquareNetwork(pretrained, architecture, task, fill=black, splits=splits)
    else:
        inputs = {}
        if architecture.reads_task:
            inputs["task_inputs"] = _task_tokens(folder, task, pretrained.config, name)
        network = networks.QueryNetwork(pretrained, architecture, task, inputs)
    return network.eval()


def load_pretrained(folder: Path, architecture: str, name: str) -> PreTrainedModel:
    """The network in float32 and eval mode, every tensor of it from the file.

    Raises:
        ModelError: damaged weights, or not those of this architecture.
    """
    import torch
    import transformers
    from safetensors import SafetensorError

    kind = getattr(transformers, architecture, None)
    if kind is None:
        raise ModelError(
            f"{name}: transformers {transformers.__version__} has no {architecture} yet; "
            "pip install --upgrade transformers"
        )

    try:
        with _quiet(transformers):
            # Bar downloads, pickles and foreign code by name, whatever the defaults are.
            network, report = kind.from_pretrained(
                str(folder),
                local_files_only=True,
                use_safetensors=True,
                trust_remote_code=False,
                dtype=torch.float32,
                output_loading_info=True,
            )
    except (
        *(AttributeError, ImportError, KeyError, OSError, RuntimeError, TypeError, ValueError),
        SafetensorError,
    ) as error:
        reason = " ".join(str(error).split())[:200]
        raise ModelError(
            f"{name}: transformers {transformers.__version__} cannot load it ({reason}); "
            "fetch it again or choose another"
        ) from error

    # Refuse missing tensors: the library fills them at random and only warns.
    absent = sorted(report["missing_keys"])
    if absent:
        raise ModelError(
            f"{name}: its weights lack {len(absent)} tensors of {architecture} ({absent[0]}); "
            "choose a checkpoint that was trained for segmentation"
        )
    return network.eval()


def _task_tokens(folder: Path, task: str, config: PreTrainedConfig, name: str) -> torch.Tensor:
    """OneFormer's task as it was trained to read it: token ids (1, length), 0 where none is."""
    import torch
    import transformers

    # Without them the library makes a tokenizer that knows no words, without a warning.
    if not any((folder / file).is_file() for file in ("tokenizer.json", "vocab.json")):
        raise ModelError(f"{name}: holds no tokenizer.json or vocab.json; fetch it again")

    try:
        with _quiet(transformers):
            tokenizer = transformers.CLIPTokenizer.from_pretrained(
                str(folder), local_files_only=True
            )
            tokens = tokenizer(
                f"the task is {task}",
                padding="max_length",
                max_length=config.task_seq_len,
                truncation=True,
            )
    except (KeyError, OSError, TypeError, ValueError) as error:
        reason = " ".join(str(error).split())[:200]
        raise ModelError(f"{name}: its tokenizer cannot be read ({reason}); fetch it again") from (
            error
        )

    # Blank the padding: the tokenizer pads with its end token, OneFormer learned with 0.
    return torch.tensor(tokens["input_ids"])[None] * torch.tensor(tokens["attention_mask"])[None]


@contextmanager
def _quiet(transformers: ModuleType) -> Iterator[None]:
    """No progress bar and no warnings of the library's; what matters is checked here."""
    logging = transformers.utils.logging
    level, bar = logging.get_verbosity(), logging.is_progress_bar_enabled()
    logging.set_verbosity_error()
    logging.disable_progress_bar()
    try:
        yield
    finally:
        logging.set_verbosity(level)
        if bar:
            logging.enable_progress_bar()


def exported_checkpoint(folder: Path, cache: Path, *, name: str = "") -> Path:
    """The ONNX file of a checkpoint in `cache`, written there the first time (half a minute).

    On the CPU it runs twice as fast as in PyTorch.

    Raises:
        UsageError: networks of this architecture have no ONNX form.
        ModelError: as for :class:`TransformersRunner`; or the exporter failed.
        OutputError, OSError: the file cannot be written.
    """
    from vidparse.export import onnx
    from vidparse.export.parity import check_parity
    from vidparse.export.weights import export_metadata

    description = read_checkpoint(folder, name=name)
    name = name or str(folder)
    if not ARCHITECTURES[description.arch].exports:
        can = ", ".join(one.name for one in ARCHITECTURES.values() if one.exports)
        raise UsageError(
            f"{name}: {description.arch} runs in PyTorch only, ONNX is for {can}; "
            "use --backend auto"
        )

    path = cache / f"{description.sha256}.onnx"
    if path.is_file():
        return path

    check_installed(name)
    pretrained = load_pretrained(folder, description.arch, name)
    network = as_network(pretrained, description, folder, name)
    model = onnx.to_onnx(network)
    metadata = export_metadata(description, source_sha256=description.sha256)
    onnx.describe_model(model, metadata)

    # Check before the file is put in place: a later run takes it without a look.
    cache.mkdir(parents=True, exist_ok=True)
    with whole_file(path) as part:
        onnx.save_model(model, part)
        agreement = check_parity(network, part).argmax_agreement
        if agreement < onnx.LEAST_AGREEMENT:
            raise ModelError(
                f"{name}: its ONNX form agrees with torch on only {agreement:.4%} of positions; "
                "use --backend auto"
            )
    return path
