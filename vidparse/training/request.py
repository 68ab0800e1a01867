"""The data and weights of a run, and the same from the state of one that goes on."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path

from vidparse.data import Dataset
from vidparse.requests.training import SourceRequest
from vidparse.textfiles import JsonTable, as_number, as_table, as_tables, as_word
from vidparse.training.training_sets import open_source


@dataclass(frozen=True, slots=True)
class TrainingRequest:
    """Data and weights of a run.

    sources: the first decides the classes. validation: what is scored; None: the split "val" of
    the first source. validates: False: nothing is. flow_weights: RAFT's, which NetWarp starts from.
    """

    sources: tuple[SourceRequest, ...]
    validation: SourceRequest | None = None
    validates: bool = True
    flow_weights: Path | None = None

    def open_validation(self) -> Dataset | None:
        """The data set that is scored; None for none.

        Raises:
            UsageError, InputError: as `open_dataset`.
        """
        if not self.validates:
            return None
        return open_source(self.validation or replace(self.sources[0], split="val"))


def request_record(request: TrainingRequest) -> dict[str, object]:
    """Plain values for the state of a run; paths are absolute."""
    return {
        "sources": [_source_record(source) for source in request.sources],
        "validation": _source_record(request.validation) if request.validation else None,
        "validates": request.validates,
        "flow_weights": str(request.flow_weights.absolute()) if request.flow_weights else None,
    }


def request_from(record: JsonTable) -> TrainingRequest:
    """The request of :func:`request_record`.

    Raises:
        KeyError, TypeError, ValueError: not such a record.
    """
    validation, flow_weights = record["validation"], record["flow_weights"]
    return TrainingRequest(
        tuple(_source_from(source) for source in as_tables(record["sources"], "sources")),
        _source_from(as_table(validation, "validation")) if validation else None,
        bool(record["validates"]),
        Path(as_word(flow_weights, "flow_weights")) if flow_weights else None,
    )


def _source_record(source: SourceRequest) -> dict[str, object]:
    root = str(source.root.absolute()) if source.root is not None else None
    return {
        "dataset": source.dataset,
        "root": root,
        "split": source.split,
        "weight": source.weight,
    }


def _source_from(record: JsonTable) -> SourceRequest:
    root, weight = record["root"], record["weight"]
    return SourceRequest(
        str(record["dataset"]),
        Path(as_word(root, "root")) if root is not None else None,
        str(record["split"]),
        float(as_number(weight, "weight")) if weight is not None else None,
    )
