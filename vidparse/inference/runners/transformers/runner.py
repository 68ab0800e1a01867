"""Networks of Hugging Face transformers in PyTorch."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

import numpy as np

from vidparse.errors import ModelError
from vidparse.hub import ModelFiles
from vidparse.hub.failure import check_installed
from vidparse.inference.answer import Scores
from vidparse.inference.devices import Device, cpu_count
from vidparse.inference.masks import Masks
from vidparse.inference.runners.form import Wishes
from vidparse.inference.runners.pytorch import torch_device, torch_precision
from vidparse.inference.runners.runner import Runner, engine_text, out_of_memory
from vidparse.inference.runners.transformers.architecture import ARCHITECTURES
from vidparse.inference.runners.transformers.checkpoint import read_checkpoint

if TYPE_CHECKING:
    import torch


class TransformersRunner(Runner):
    """A checkpoint in the hub's layout, with autocast for the half precisions.

    Only classes of the installed transformers run, and only safetensors are read; the network is
    not asked.

    Args:
        folder: config.json, preprocessor_config.json and model.safetensors (or its parts).
        name: the checkpoint's address, for messages and for what it says of the task.
        task: auto, semantic or panoptic; see :func:`read_checkpoint`.

    Raises:
        ModelError: not supported, damaged, or transformers is not installed.
        UsageError: the task is not one of the network's. DeviceError: the device or precision is
        not there.
    """

    backend = "transformers"

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
        self.description = read_checkpoint(folder, name=name, task=task)
        self._architecture = ARCHITECTURES[self.description.arch]
        name = name or str(folder)
        check_installed(name)
        import torch

        self._torch = torch
        self._device = torch_device(device)
        self.device = str(device)
        self.precision = torch_precision(precision, device)
        threads = threads or cpu_count()
        self.engine = engine_text("transformers", device, self.precision, threads)
        if device.kind == "cpu":
            torch.set_num_threads(threads)
        self._network = load_pretrained(folder, self.description.arch, name).to(self._device)
        outputs = int(self._network.config.num_labels)
        if outputs != len(self.description.labels):
            raise ModelError(
                f"{name}: {outputs} outputs for {len(self.description.labels)} names of classes; "
                "fetch it again"
            )
        self._inputs: dict[str, torch.Tensor] = {}
        if self._architecture.reads_task:
            tokens = _task_tokens(folder, self.description.task, self._network.config, name)
            self._inputs["task_inputs"] = tokens.to(self._device)
        self._autocast = {"bf16": torch.bfloat16, "fp16": torch.float16}.get(self.precision)

    @classmethod
    def load(cls, files: ModelFiles, wishes: Wishes) -> Self:
        assert files.transformers is not None  # or another runner would be asked
        return cls(
            files.transformers,
            device=wishes.device,
            precision=wishes.precision,
            threads=wishes.threads,
            name=wishes.name,
            task=wishes.task,
        )

    def answer(self, clip: np.ndarray, size_hw: tuple[int, int] | None = None) -> Scores | Masks:
        torch = self._torch
        with torch.inference_mode():
            try:
                pixels = torch.from_numpy(clip[0]).to(self._device, non_blocking=True)
                with torch.autocast(
                    self._device.type, self._autocast, enabled=self._autocast is not None
                ):
                    outputs = self._network(pixel_values=pixels, **self._inputs)
                return self._read(outputs)
            except RuntimeError as error:  # on the CPU there is no class of its own for this
                if isinstance(error, torch.OutOfMemoryError) or "allocate" in str(error):
                    raise out_of_memory(self.device, clip) from error
                raise

    def _read(self, outputs: Any) -> Scores | Masks:
        if not self._architecture.masks:
            return Scores(outputs.logits.float().contiguous().cpu().numpy())
        from vidparse.inference.runners.transformers.queries import class_scores, scored_masks

        classes = outputs.class_queries_logits[0].float()  # (Q, K + 1)
        masks = outputs.masks_queries_logits[0].float()  # (Q, h, w)
        if self.description.task == "panoptic":
            return scored_masks(classes, masks, self._architecture.mask_hw)
        scores = class_scores(classes, masks, self._architecture.mask_hw)  # (K, h, w)
        return Scores(scores[None].cpu().numpy())


def load_pretrained(folder: Path, architecture: str, name: str) -> Any:
    """The network in float32 and eval mode, every tensor of it from the file.

    Raises:
        ModelError: damaged weights, or not those of this architecture.
    """
    import torch
    import transformers
    from safetensors import SafetensorError

    try:
        with _quiet(transformers):
            network, report = getattr(transformers, architecture).from_pretrained(
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
    absent = sorted(report["missing_keys"])
    if absent:
        raise ModelError(
            f"{name}: its weights lack {len(absent)} tensors of {architecture} ({absent[0]}); "
            "choose a checkpoint that was trained for segmentation"
        )
    return network.eval()


def _task_tokens(folder: Path, task: str, config: Any, name: str) -> torch.Tensor:
    """OneFormer's task as it was trained to read it: token ids (1, length), 0 where none is."""
    import torch
    import transformers

    # Without them the library makes a tokenizer that knows no words, and says nothing.
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
    return torch.tensor(tokens["input_ids"])[None] * torch.tensor(tokens["attention_mask"])[None]


@contextmanager
def _quiet(transformers: Any) -> Iterator[None]:
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
