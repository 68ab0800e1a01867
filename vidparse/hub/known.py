"""Models that vidparse knows: its own by name, and those of others on the hub by address.

Its own lie in its weights folder or on the hub, by the catalogue. Those of others run as they
are; their scores are those of the authors' model zoos (tue-mps/videomt, tue-mps/eomt,
facebookresearch/Mask2Former, SHI-Labs/OneFormer), as shares of 1.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from vidparse.errors import ModelError, UsageError
from vidparse.hub.address import SCHEME
from vidparse.labels import Labels, are_related, available_labels, classes_like, load_labels
from vidparse.textfiles import JsonTable, as_number, as_table, as_word, parse_json

_CARD = "see its card"
_EOMT = "code MIT; weights: see its card"


@dataclass(frozen=True, slots=True)
class CatalogueEntry:
    """One model that vidparse knows by name."""

    name: str
    weights: str  # safetensors file in the weights folder or the repository
    sha256: str
    onnx: str  # as weights; "" where there is none
    onnx_sha256: str
    labels: str
    summary: str  # one line for people
    licence: str
    scores: dict[str, float]
    int8: str = ""  # as onnx, computing in int8; "" where that costs too much of the scores
    int8_sha256: str = ""
    repo: str = ""  # owner/repo on the hub; "" for what comes with vidparse
    revision: str = ""  # commit that the sums are of


@dataclass(frozen=True, slots=True)
class PublishedModel:
    """One checkpoint of transformers that vidparse knows by its address and does not bring.

    name: its address. labels: the label set of vidparse with these classes, else that of the data.
    task: semantic, instance or panoptic. mib: MiB to fetch. scores: as published, by metric.
    """

    name: str
    labels: str
    classes: int
    task: str
    summary: str
    licence: str
    mib: int
    scores: Mapping[str, float]


def weights_folder() -> Path:
    """The bundled weights: inside the installed package, or beside it in a checkout."""
    package = Path(__file__).resolve().parent.parent
    for folder in (package / "weights", package.parent / "weights"):
        if (folder / "catalogue.json").is_file():
            return folder
    raise ModelError(f"{package / 'weights'}: bundled weights are missing; reinstall vidparse")


@cache
def catalogue() -> dict[str, CatalogueEntry]:
    """Known models by name.

    Raises:
        ModelError: the weights folder is missing or its catalogue damaged.
    """
    path = weights_folder() / "catalogue.json"
    try:
        records = as_table(parse_json(path.read_bytes()), "the catalogue")
        return {name: _entry(name, as_table(one, name)) for name, one in records.items()}
    except (ValueError, TypeError, KeyError) as error:
        raise ModelError(f"{path}: damaged ({error}); reinstall vidparse") from error


def _entry(name: str, fields: JsonTable) -> CatalogueEntry:
    """Raises: KeyError, TypeError: a field is missing, or of another type."""
    scores = as_table(fields["scores"], "scores")
    return CatalogueEntry(
        name=name,
        weights=as_word(fields["weights"], "weights"),
        sha256=as_word(fields["sha256"], "sha256"),
        onnx=as_word(fields["onnx"], "onnx"),
        onnx_sha256=as_word(fields["onnx_sha256"], "onnx_sha256"),
        labels=as_word(fields["labels"], "labels"),
        summary=as_word(fields["summary"], "summary"),
        licence=as_word(fields["licence"], "licence"),
        scores={metric: as_number(score, metric) for metric, score in scores.items()},
        int8=as_word(fields.get("int8", ""), "int8"),
        int8_sha256=as_word(fields.get("int8_sha256", ""), "int8_sha256"),
        repo=as_word(fields.get("repo", ""), "repo"),
        revision=as_word(fields.get("revision", ""), "revision"),
    )


def select_classes(labels: Labels, names: Sequence[str]) -> tuple[int, ...]:
    """Ids of classes by name; the error names known models that have what this label set has not.

    Raises:
        UsageError: a name is not in the label set.
    """
    for name in names:
        try:
            labels.select([name])
        except UsageError as error:
            models = _models_knowing(name)
            if classes_like(name, labels.classes):  # then only those that call it the same
                same = name.strip().casefold()
                models = {one: word for one, word in models.items() if word.casefold() == same}
            if not models:
                raise
            others = ", ".join(f"-m {model} ('{called}')" for model, called in models.items())
            raise UsageError(f"{error}; or a model that knows it: {others}") from None
    return labels.select(names)


def models_for_other(labels: str) -> tuple[CatalogueEntry, ...]:
    """The first known model of each family of label sets but this one's: for other pictures."""
    found: list[CatalogueEntry] = []
    for entry in catalogue().values():
        met = (labels, *(one.labels for one in found))
        if not any(are_related(entry.labels, one) for one in met):
            found.append(entry)
    return tuple(found)


def _models_knowing(name: str) -> dict[str, str]:
    """Known models with a class that means `name`, and what they call it."""
    found = {}
    for entry in catalogue().values():
        alike = classes_like(name, load_labels(entry.labels).classes)
        if alike:
            found[entry.name] = alike[0]

    # Offer a model to be fetched only where none of ours knows the class.
    return found or _first_published(name)


def _first_published(name: str) -> dict[str, str]:
    """The first model to be fetched that has it, and what that calls it."""
    for model in published_models().values():
        if model.labels in available_labels():
            alike = classes_like(name, load_labels(model.labels).classes)
            if alike:
                return {model.name: alike[0]}
    return {}


@cache
def published_models() -> dict[str, PublishedModel]:
    """By address, the ones for video first."""
    return {model.name: model for model in _ALL}


def _videomt(
    name: str, labels: str, classes: int, task: str, mib: int, scores: Mapping[str, float]
) -> PublishedModel:
    size = "small" if "small" in name else "large"
    summary = f"VidEoMT (ViT-{size[0].upper()}): its queries follow objects from frame to frame"
    address = f"{SCHEME}tue-mps/videomt-dinov2-{name}"
    return PublishedModel(address, labels, classes, task, summary, _CARD, mib, scores)


_ALL = (
    _videomt(
        *("large-vipseg", "vspw", 124, "panoptic", 1231),
        {"VIPSeg val VPQ": 0.552, "VIPSeg val STQ": 0.489},
    ),
    _videomt(
        *("large-vspw", "vspw", 124, "semantic", 1231),
        {"VSPW val mIoU": 0.649, "VSPW val mVC16": 0.950},
    ),
    _videomt(
        *("large-ytvis2021", "YouTube-VIS 2021", 40, "instance", 1212),
        {"YouTube-VIS 2021 val AP": 0.631},
    ),
    _videomt("large-ovis", "OVIS", 25, "instance", 1212, {"OVIS val AP": 0.525}),
    _videomt(
        *("small-ytvis2019", "YouTube-VIS 2019", 40, "instance", 92),
        {"YouTube-VIS 2019 val AP": 0.528},
    ),
    PublishedModel(
        *(f"{SCHEME}tue-mps/coco_panoptic_eomt_large_640", "COCO panoptic", 133, "panoptic"),
        *("EoMT (ViT-L), frame by frame", _EOMT, 1208, {"COCO val PQ": 0.560}),
    ),
    PublishedModel(
        *(f"{SCHEME}tue-mps/coco_panoptic_eomt_base_640_2x", "COCO panoptic", 133, "panoptic"),
        *("EoMT (ViT-B), frame by frame", _EOMT, 357, {"COCO val PQ": 0.516}),
    ),
    PublishedModel(
        *(f"{SCHEME}tue-mps/ade20k_panoptic_eomt_large_640", "ade20k", 150, "panoptic"),
        *("EoMT (ViT-L), frame by frame", _EOMT, 1208, {"ADE20K val PQ": 0.506}),
    ),
    PublishedModel(
        f"{SCHEME}shi-labs/oneformer_coco_swin_large@refs/pr/1",
        *("COCO panoptic", 133, "panoptic", "OneFormer (Swin-L), frame by frame", "MIT", 838),
        {"COCO val PQ": 0.579},
    ),
    PublishedModel(
        f"{SCHEME}facebook/mask2former-swin-large-cityscapes-panoptic",
        *("cityscapes", 19, "panoptic", "Mask2Former (Swin-L), frame by frame"),
        *("weights CC BY-NC 4.0", 826, {"Cityscapes val PQ": 0.666}),
    ),
)
