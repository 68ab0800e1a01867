"""A training recipe: one frozen record of tables, all of whose fields pydantic checks.

Each class is a table of a recipe's file; a field stands there once, with its type, bounds and
default. The fields of `[objective]` are those of the objective that the recipe names.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Annotated, Literal, Self

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    SerializeAsAny,
    field_validator,
)

from vidparse.requests.degradation import DegradationKind
from vidparse.textfiles import JsonTable

# Older and shorter names of fields whose table has another word for them.
SHORT_NAMES = {
    "objective": "objective.kind",
    "optimizer": "optimiser.kind",
    "validate_every": "validation.every",
}
OLDER_NAMES = {"bank_weight": "objective.own_weight"}


def _listed(value: object) -> object:
    """Lists, which TOML and JSON have, as tuples, which do not change."""
    return tuple(value) if isinstance(value, list) else value


def _pair(hint: str) -> BeforeValidator:
    """A list of two values; `hint` names them."""

    def check(value: object) -> object:
        if isinstance(value, list | tuple) and len(value) != 2:
            raise ValueError(hint)
        return _listed(value)

    return BeforeValidator(check)


def _has_a_logarithm(value: float) -> float:
    if value and value <= 1:
        raise ValueError("must be above 1, or 0 for none")
    return value


LISTED = BeforeValidator(_listed)
Count = Annotated[int, Field(ge=0)]
Positive = Annotated[int, Field(ge=1)]
AboveZero = Annotated[float, Field(gt=0)]
Share = Annotated[float, Field(ge=0, le=1)]
Weight = Annotated[float, Field(ge=0)]
Offset = Annotated[float, AfterValidator(_has_a_logarithm)]  # see class_weights_from_counts


class RecipeTable(BaseModel):
    """A table of a recipe: every field of its own type, numbers finite, nothing unknown."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True, allow_inf_nan=False)


class NetworkTable(RecipeTable):
    """[network]: what is trained."""

    arch: str  # key of models.zoo.MODELS
    short_side: Annotated[int, Field(ge=16, le=16384)] = (
        360  # input in use; goes into the checkpoint
    )
    config: dict[str, object] = {}  # the network's own settings


class DataTable(RecipeTable):
    """[data]: which frames are learnt from, and what stands beside them."""

    label_fraction: Annotated[float, Field(gt=0, le=1)] = 1.0  # of the first data set's labels
    labels_per_video: Count = 0  # of them, so many of each of its videos; 0: all
    neighbours: Literal["video", "simulated"] = "video"  # or a camera moving over the target
    degrade: Literal["none", DegradationKind] = "none"  # as --degrade
    reverse: Share = 0.5  # how often a clip of a network with a memory runs backwards
    workers: Count = 1  # processes that load


class ViewsTable(RecipeTable):
    """[views]: how pictures are seen."""

    crop_hw: Annotated[tuple[Positive, Positive], _pair("write [height, width]")] = (360, 480)
    scale_range: Annotated[
        tuple[AboveZero, AboveZero], _pair("write [least, greatest], above 0")
    ] = (0.5, 2.0)  # 1 shows things as large as in use (short_side)
    scales: Annotated[tuple[AboveZero, ...], LISTED] = ()  # one of these in place of the range
    flip: bool = True
    rotation: Annotated[float, Field(ge=0, le=180)] = 0.0  # degrees
    colour: Share = 0.3  # brightness, contrast and saturation are drawn from 1 +- this
    blur: Share = 0.1  # how often
    border: Literal["reflect", "black", "mean"] = "reflect"  # beyond the picture: no labels there

    @field_validator("scale_range")
    @classmethod
    def _ascends(cls, value: tuple[float, float]) -> tuple[float, float]:
        if value[0] > value[1]:
            raise ValueError("write [least, greatest], above 0")
        return value


class ScheduleTable(RecipeTable):
    """[schedule]: how long a run is, and how much a step takes."""

    epochs: Positive = 60
    steps_per_epoch: Count = 0  # 0: one pass over the labels of the first data set
    batch_size: Positive = 8  # of one step, over all processes
    accumulate: Positive = 1  # parts that a batch is worked through in
    shares_every: Count = 50  # steps between looks at each term's gradient (log.jsonl); 0: never
    seed: Annotated[int, Field(ge=0, le=2**31 - 1)] = 0


class OptimiserTable(RecipeTable):
    """[optimiser]: how weights move."""

    kind: Literal["adamw", "sgd"] = "adamw"  # sgd with momentum 0.9
    lr_backbone: Weight = 2e-4
    lr_head: Weight = 1e-3
    weight_decay: Weight = 1e-2  # not on biases and norms
    decay_norms: bool = False  # on the norms' weights after all, as TCB's code has it
    warmup_steps: Count = 100
    poly_power: Weight = 0.9
    trainable: Annotated[tuple[str, ...], LISTED] = ()  # patterns of parameter names; (): all
    clip_gradient: Weight = 5.0  # largest norm; 0: not clipped
    ema_decay: Annotated[float, Field(ge=0, lt=1)] = 0.998  # 0 turns the average of weights off
    norm: Literal["batch", "sync", "frozen"] = "batch"  # sync: over GPUs; frozen: stay as they are
    precision: Literal["fp32", "bf16", "fp16"] = "bf16"  # of the forward pass
    shard: bool = False  # spread weights and moments over processes (FSDP), for large networks


class ObjectiveOptions(RecipeTable):
    """[objective]: what a step minimises. An objective with more fields derives its table."""

    kind: str = "supervised"  # a name of OBJECTIVES
    teacher: str = ""  # name or path of a model to distil, for objectives that take one


class ValidationTable(RecipeTable):
    """[validation]: when the average of the weights is scored, and by what."""

    every: Positive = 5  # epochs
    metrics: Annotated[tuple[str, ...], LISTED] = ("miou",)  # of eval; the first chooses the best

    @field_validator("metrics")
    @classmethod
    def _names_one(cls, value: tuple[str, ...]) -> tuple[str, ...]:
        if not value:
            raise ValueError("name one at least")
        return value


class Recipe(RecipeTable):
    """Everything that decides what comes out of a run."""

    network: NetworkTable
    data: DataTable = DataTable()
    views: ViewsTable = ViewsTable()
    schedule: ScheduleTable = ScheduleTable()
    optimiser: OptimiserTable = OptimiserTable()
    objective: SerializeAsAny[ObjectiveOptions] = ObjectiveOptions()
    validation: ValidationTable = ValidationTable()

    def with_config(self, **settings: object) -> Self:
        """The recipe with more settings of its network (the number of classes, for one)."""
        config = {**self.network.config, **settings}
        return self._with("network", config=config)

    def with_teacher(self, teacher: str) -> Self:
        """The recipe with another teacher."""
        return self._with("objective", teacher=teacher)

    def record(self) -> JsonTable:
        """Plain values for logs and checkpoints, by table."""
        return self.model_dump(mode="json")

    def _with(self, table: str, **fields: object) -> Self:
        changed = getattr(self, table).model_copy(update=fields)
        return self.model_copy(update={table: changed})


TABLES: dict[str, type[RecipeTable]] = {
    "network": NetworkTable,
    "data": DataTable,
    "views": ViewsTable,
    "schedule": ScheduleTable,
    "optimiser": OptimiserTable,
    "objective": ObjectiveOptions,
    "validation": ValidationTable,
}


def short_name(table: str, field: str) -> str:
    """The name of a field without its table, as `--set` takes it: "lr_head", "objective"."""
    short = {place: name for name, place in SHORT_NAMES.items()}
    return short.get(f"{table}.{field}", field)


def short_names(record: Mapping[str, object]) -> dict[str, object]:
    """The values of a recipe's record by their short names; settings as "config.NAME".

    What is in no table stays as it is: records of older versions have none.
    """
    found: dict[str, object] = {}
    for table, fields in record.items():
        if table not in TABLES or not isinstance(fields, Mapping):
            found[table] = fields
            continue
        for field, value in fields.items():
            found[short_name(table, field)] = value

    config = found.pop("config", None)
    settings = config if isinstance(config, Mapping) else {}
    return found | {f"config.{name}": value for name, value in settings.items()}


def difference(before: Mapping[str, object], now: Mapping[str, object]) -> str:
    """The first field of two records that is not the same, in words."""
    one, other = short_names(before), short_names(now)
    for name in sorted(one.keys() | other.keys()):
        if one.get(name) != other.get(name):
            return f"{name} {json.dumps(one.get(name))}, not {json.dumps(other.get(name))}"
    return "in nothing"
