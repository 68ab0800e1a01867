"""The weights that a run starts from, and those of its teacher."""

from __future__ import annotations

import contextlib
import fnmatch
import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import torch
from torch import Tensor, nn

from vidparse.errors import ModelError, UsageError
from vidparse.hub import resolve
from vidparse.labels import Labels
from vidparse.models.checkpoint import is_model, load_network, read_description
from vidparse.models.description import Description
from vidparse.models.network import VideoNetwork
from vidparse.models.zoo import build, config_of, settings_for
from vidparse.textfiles import JsonTable
from vidparse.training.objectives import OBJECTIVES, Teacher
from vidparse.training.recipe import Recipe
from vidparse.training.recipe_file import load_recipe
from vidparse.training.resume import below, classes_of_run
from vidparse.training.validation import check_metrics

_WEIGHTS = (".safetensors", ".pth", ".pt", ".bin")  # endings of files that hold tensors
DISTILLED, PLAIN = "street-student", "street-plain"  # recipes of one network


def fitting_recipe(
    init: str | None, teacher: str | None, overrides: Mapping[str, str]
) -> tuple[Recipe, str]:
    """The recipe of a run that names none, and its description for a user.

    It distils where there is a teacher, else learns from labels alone. Its network is that of
    `init` where this is a model of vidparse, so that all of its weights fit.

    Raises:
        UsageError: as `load_recipe`. ModelError: `init` is unknown or cannot be read.
    """
    name = DISTILLED if teacher else PLAIN
    origin = _description_of(_init_file(init)) if init else None
    if origin is None:
        return load_recipe(name, overrides), f"recipe {name}"

    # Build it for its settings in full: the file may hold some of them alone.
    with torch.device("meta"):
        settings = config_of(build(origin.arch, origin.config))

    # Leave out what follows from the classes: the data of the run decides those.
    of_classes = settings_for(origin.arch, origin.labels)
    config = {name: value for name, value in settings.items() if name not in of_classes}
    network: JsonTable = {"arch": origin.arch, "config": config}

    # Keep the recipe's size where the model has none of its own.
    if origin.preprocess.short_side:
        network["short_side"] = origin.preprocess.short_side
    recipe = load_recipe(name, overrides, network=network)
    return recipe, f"recipe {name} with the network of {init} ({recipe.network.arch})"


def _init_file(init: str) -> Path:
    """The file of weights that `init` names.

    Raises:
        ModelError: unknown, or without weights of vidparse.
    """
    path = Path(init)
    if path.is_file() or path.suffix in _WEIGHTS:
        return path
    files = resolve(init)
    if files.weights is None:
        raise ModelError(f"{init}: has no .safetensors weights of vidparse to start from")
    return files.weights


def _description_of(path: Path) -> Description | None:
    """Of a model of vidparse; None for weights of other code, or the state of a run."""
    if path.suffix != ".safetensors" or not is_model(path):
        return None
    return read_description(path)


@dataclass(frozen=True, slots=True)
class Start:
    """Weights to begin with, by our names. classes: of their scores, None where not known."""

    name: str
    tensors: dict[str, Tensor]
    classes: tuple[str, ...] | None = None


@dataclass(frozen=True, slots=True)
class Taken:
    """The part of a network that began with given weights.

    carried, fresh: classes of the run whose scores did, and did not; both empty where the weights
        are of the same classes, or of classes that are not known.
    """

    name: str
    tensors: int
    of: int
    carried: tuple[str, ...] = ()
    fresh: tuple[str, ...] = ()

    def __str__(self) -> str:
        text = f"starts from {self.name}: {self.tensors} of {self.of} tensors fit"
        if not self.fresh:
            return text
        kept = f"the scores of {_listed(self.carried)} are kept" if self.carried else ""
        begun = f"those of {_listed(self.fresh)} begin anew"
        return (
            f"{text}; {kept}, {begun}" if kept else f"{text}; the scores of all classes begin anew"
        )


def _listed(names: tuple[str, ...]) -> str:
    """The first few of a list of names."""
    shown = ", ".join(names[:6])
    return f"{shown} and {len(names) - 6} more" if len(names) > 6 else shown


def read_start(init: str) -> Start:
    """Weights to start from.

    Args:
        init: a .safetensors or .pth file, a known model's name or hf:owner/repo.

    Raises:
        ModelError: missing, damaged, or holding no tensors, or more than them.
    """
    from vidparse.convert import by_our_names, read_tensors

    path = _init_file(init)
    tensors = read_tensors(path)

    # Take the average from the state of a run: it is what was scored.
    average = below(tensors, "average")
    origin = _description_of(path)
    classes = origin.labels.classes if origin is not None else classes_of_run(path)
    return Start(init, by_our_names(average or tensors), classes)


def first_network(
    recipe: Recipe,
    labels: Labels,
    init: Start | None,
    flow_weights: Path | None,
    *,
    shapes_only: bool = False,
) -> tuple[VideoNetwork, Taken | None]:
    """The network of a run with its first weights, and how much of `init` fitted.

    Args:
        recipe: with the settings that follow from the classes.
        shapes_only: make all checks, and no weights.

    Raises:
        UsageError: the metrics are not for it, or weights do not fit. ModelError: damaged weights.
    """
    arch, config = recipe.network.arch, recipe.network.config
    with torch.device("meta") if shapes_only else contextlib.nullcontext():
        network = build(arch, dict(config))
    check_metrics(recipe.validation.metrics, labels, network.task)

    taken = None
    with warnings.catch_warnings():
        # Silence torch: that weights go nowhere is wanted here.
        if shapes_only:
            warnings.filterwarnings("ignore", message=".*copying from a non-meta parameter")
        if init is not None:
            taken = load_matching(network, init, labels.classes, class_rows(arch, config, labels))
        load_flow_weights(network, flow_weights, arch=arch)
    choose_trainable(network, recipe)
    if recipe.optimiser.norm == "sync":
        nn.SyncBatchNorm.convert_sync_batchnorm(network)  # its layers, in place
    return network, taken


def choose_trainable(network: VideoNetwork, recipe: Recipe) -> None:
    """Keep all parameters as they are but those that the recipe's `trainable` names.

    Raises:
        UsageError: a pattern names no parameter that can be trained.
    """
    patterns = recipe.optimiser.trainable
    if not patterns:
        return
    named = {name: one for name, one in network.named_parameters() if one.requires_grad}
    for pattern in patterns:
        if not fnmatch.filter(named, pattern):
            parts = dict.fromkeys(name.split(".")[0] for name in named)
            raise UsageError(
                f"trainable '{pattern}': names no parameter of {recipe.network.arch}; its parts "
                f"are {', '.join(parts)}: write {next(iter(parts))}.* for all of one"
            )
    for name, parameter in named.items():
        parameter.requires_grad_(any(fnmatch.fnmatchcase(name, one) for one in patterns))


def load_matching(
    network: VideoNetwork,
    start: Start,
    classes: tuple[str, ...] = (),
    rows: Mapping[str, int] = {},
) -> Taken:
    """Start from weights whose names fit the network or its backbone.

    Where the weights are of other classes, scores go by the names of classes: those of a class that
    both have are kept, whatever its number, the others begin anew.

    Args:
        classes: of the run. rows: see `class_rows`.

    Raises:
        UsageError: none fits.
    """
    own = network.state_dict()
    theirs = start.classes if start.classes is not None and start.classes != classes else None

    # Match names without case, in which data sets differ.
    known = {name.casefold(): i for i, name in enumerate(theirs or ())}
    pairs = [
        (i, known[name.casefold()]) for i, name in enumerate(classes) if name.casefold() in known
    ]

    # Weights of a backbone alone have no word for it before their names.
    places = ("", f"{network.backbone_name}.") if network.backbone_name else ("",)
    fits: dict[str, Tensor] = {}
    for name, tensor in start.tensors.items():
        for candidate in (place + name for place in places):
            if candidate not in own:
                continue
            if theirs is not None and candidate in rows:
                tensor = _rows_by_name(own[candidate], tensor, rows[candidate], len(theirs), pairs)
            if own[candidate].shape == tensor.shape:
                fits[candidate] = tensor
    if not fits:
        raise UsageError(
            f"--init {start.name}: no tensor of it fits this network; leave --recipe out to train "
            "the network of a model, or check the recipe"
        )
    network.load_state_dict({**own, **fits})

    if theirs is None:
        return Taken(start.name, len(fits), len(own))
    kept = {i for i, _ in pairs} if any(name in fits for name in rows) else set()
    return Taken(
        start.name,
        len(fits),
        len(own),
        tuple(name for i, name in enumerate(classes) if i in kept),
        tuple(name for i, name in enumerate(classes) if i not in kept),
    )


def _rows_by_name(
    own: Tensor, given: Tensor, per_class: int, classes: int, pairs: Sequence[tuple[int, int]]
) -> Tensor:
    """`own` (K * per_class, ...) with the rows of `given` for each (own class, given class)."""
    if given.shape[1:] != own.shape[1:] or given.shape[0] != classes * per_class:
        return given  # another layer under that name: left out for its shape
    mixed = own.clone().unflatten(0, (-1, per_class))
    source = given.to(own).unflatten(0, (-1, per_class))
    for mine, other in pairs:
        mixed[mine] = source[other]
    return mixed.flatten(0, 1)


def class_rows(arch: str, config: Mapping[str, object], labels: Labels) -> dict[str, int]:
    """Tensors of a network whose first axis counts classes, and their rows per class.

    They are the ones that grow when the network is built for one class more than `labels` has.
    """
    count = len(labels)

    # Build for one class more: what grows counts classes, whatever its name.
    wider = replace(
        labels, classes=(*labels.classes, "one more"), colours=(*labels.colours, (0, 0, 0))
    )
    with torch.device("meta"):
        one, more = (
            build(arch, {**config, **settings_for(arch, known)}).state_dict()
            for known in (labels, wider)
        )

    rows = {}
    for name, tensor in one.items():
        per_class = more[name].shape[:1].numel() - tensor.shape[:1].numel() if tensor.ndim else 0

        # Require classes alone: rows beside them could not be matched by name.
        if per_class and per_class * count == len(tensor):
            rows[name] = per_class
    return rows


def load_flow_weights(network: VideoNetwork, path: Path | None, *, arch: str) -> None:
    """Published weights into a network that follows optical flow; others have no use for any.

    Raises:
        UsageError: they are needed and not given, or given and not needed. ModelError: damaged.
    """
    if path is None:
        if network.flow_weights:
            raise UsageError(
                f"{arch}: follows RAFT's flow; give --flow-weights {network.flow_weights}"
            )
        return
    if not network.flow_weights:
        raise UsageError(f"--flow-weights {path}: this network follows no flow; leave it out")
    network.load_flow(path)


def load_teacher(name: str, labels: Labels) -> Teacher:
    """A frozen network to learn from.

    Raises:
        UsageError: it knows other classes, or is a network with a memory.
        ModelError: it cannot be loaded.
    """
    files = resolve(name)
    if files.weights is None:
        raise ModelError(f"teacher {name}: has no .safetensors weights; give a model that has them")
    description = read_description(files.weights)
    if description.labels.classes != labels.classes:
        raise UsageError(
            f"teacher {name}: knows the {len(description.labels)} classes of "
            f"{description.labels.name}, not those of {labels.name}; choose another"
        )
    network = load_network(description)
    if not network.is_per_frame:
        raise UsageError(f"teacher {name}: has a memory; choose a per-frame model")
    return Teacher(network.requires_grad_(False), description.preprocess, description.sha256)


def taught_by(recipe: Recipe, teacher: str | None) -> Recipe:
    """The recipe with a teacher in place of its own, if one is given.

    Raises:
        UsageError: its objective takes none.
    """
    recipe = recipe.with_teacher(teacher) if teacher else recipe
    objective = recipe.objective
    if objective.teacher and not OBJECTIVES[objective.kind].takes_teacher:
        takers = [name for name, kind in OBJECTIVES.items() if kind.takes_teacher]
        raise UsageError(
            f"teacher {objective.teacher}: is for objective {' or '.join(takers)}, not "
            f"{objective.kind}; leave it out, or --set objective={takers[0]}"
        )
    return recipe
