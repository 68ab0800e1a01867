"""`vidparse models`: list, pull, show, push."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

from vidparse.cli import options as shared
from vidparse.cli import terminal
from vidparse.errors import counted
from vidparse.requests.option import Argument, Option

if TYPE_CHECKING:
    from vidparse.hub import ModelFiles
    from vidparse.models.description import Description

Name = Annotated[
    str,
    Argument("Known name, hf:owner/repo[@revision], or path.", metavar="MODEL", choices="models"),
]


def models(json: shared.Json = False) -> None:
    """List the models that are bundled, cached or known, with classes, scores and licence.

    Those on the hub are fetched at their first use: `segment -m hf:OWNER/REPO`.
    """
    from vidparse.hub import DEFAULT_MODEL

    records, published = [*_known_records(), *_cached_records()], _published_records()
    if json:
        terminal.print_json([*records, *published])
        return

    from rich.table import Table

    table = Table(title="Models")
    for heading in ("name", "where", "labels", "score", "size", "summary", "licence"):
        justify: Literal["left", "right"] = "right" if heading == "size" else "left"
        table.add_column(heading, justify=justify, no_wrap=heading == "name")

    for record in records:
        name, scores = record["name"], record["scores"]
        table.add_row(
            terminal.cell(f"{name} (default)" if name == DEFAULT_MODEL else name),
            terminal.cell(record["where"] + (", int8 too" if record.get("int8") else "")),
            terminal.cell(f"{record['labels']}, {counted(record['classes'], 'class')}"),
            "\n".join(f"{score:.3f} {metric}" for metric, score in scores.items()),
            f"{record['bytes'] / 2**20:.1f} MiB" if record["bytes"] else "",
            terminal.cell(record["summary"]),
            terminal.cell(record["licence"]),
        )

    # Give files and pipes a wide line: rich takes 80 columns there, and cuts names.
    terminal.console(width=None if terminal.is_terminal() else 160).print(table)
    _show_published(published)


def pull(name: Name, json: shared.Json = False, quiet: shared.Quiet = False) -> None:
    """Fetch a model from the hub into its cache, or bring a cached one up to date."""
    from vidparse.hub import resolve

    # Turn off the bars of huggingface_hub, which writes to stderr by itself.
    if quiet:
        from huggingface_hub.utils import disable_progress_bars

        disable_progress_bars()
    record = _files_record(resolve(name, refresh=True))
    if json:
        terminal.print_json(record)
    elif not quiet:
        for path in record["files"]:
            terminal.print_message(f"{name}: {path}")


def show(name: Name, json: shared.Json = False) -> None:
    """Print the description in a model's files: network, classes, input, training."""
    from vidparse.hub import resolve

    files = resolve(name)
    record = _files_record(files)
    if files.entry is not None:
        record["known"] = asdict(files.entry)
    record |= _content(files)
    if json:
        terminal.print_json(record)
        return
    for key, value in record.items():
        terminal.show(f"{key}: {_one_line(value)}")


def push(
    file: Annotated[Path, Argument("A .safetensors file of vidparse.")],
    address: Annotated[str, Argument("Where to.", metavar="hf:OWNER/REPO")],
    private: Annotated[bool, Option("Let nobody else see a new repository.")] = False,
    json: shared.Json = False,
) -> None:
    """Publish a model; FILE's .onnx and .md (its card) go with it. Needs a token (HF_TOKEN)."""
    from vidparse.hub import parse_address
    from vidparse.hub.client import push

    pushed = push(file, parse_address(address), private=private)
    if json:
        terminal.print_json(
            {"address": str(pushed.address), "commit": pushed.commit, "files": pushed.files}
        )
    else:
        terminal.print_message(f"{pushed.address}: {', '.join(pushed.files)} ({pushed.commit})")


def _known_records() -> list[dict[str, Any]]:
    """The catalogue, and where each model of it is."""
    from vidparse.hub import DEFAULT_MODEL, catalogue, locate
    from vidparse.labels import load_labels

    records = []
    for name, entry in catalogue().items():
        files = locate(entry)
        paths = _paths(files) if files else []
        records.append(
            asdict(entry)
            | {
                "default": name == DEFAULT_MODEL,
                "where": "known" if files is None else "cached" if entry.repo else "bundled",
                "classes": len(load_labels(entry.labels)),
                "bytes": sum(path.stat().st_size for path in paths if path.is_file()),
                "files": [str(path) for path in paths],
            }
        )
    return records


def _published_records() -> list[dict[str, Any]]:
    """Checkpoints of others that run as they are, here or still on the hub."""
    from vidparse.hub import cached_models, published_models

    here = {str(model.address): model for model in cached_models()}
    records = []
    for name, model in published_models().items():
        cached = here.get(name)
        records.append(
            asdict(model)
            | {
                "default": False,
                "where": "cached" if cached else "known",
                "bytes": cached.bytes if cached else 0,
                "files": [str(path) for path in _paths(cached.files)] if cached else [],
            }
        )
    return records


def _show_published(records: list[dict[str, Any]]) -> None:
    """Three lines for each: their names are too long for a table."""
    terminal.show()
    terminal.show("On the hub; they run as they are: vidparse segment input.mp4 -m NAME")
    for record in records:
        scores = ", ".join(f"{score:.3f} {metric}" for metric, score in record["scores"].items())
        where = "cached" if record["where"] == "cached" else f"{record['mib']} MiB to fetch"
        labels = f"{record['labels']}, {counted(record['classes'], 'class')}"
        terminal.show(record["name"])
        terminal.show(f"    {record['task']}: {labels}; {scores}; {where}")
        terminal.show(f"    {record['summary']}; licence: {record['licence']}")


def _cached_records() -> list[dict[str, Any]]:
    """Models of the hub's cache that the catalogue does not know."""
    from vidparse.hub import cached_models, catalogue, published_models

    known = {entry.repo for entry in catalogue().values() if entry.repo}
    return [
        {
            "name": str(model.address),
            "labels": model.labels,
            "summary": "",
            "licence": "see its repository",
            "scores": {},
            "default": False,
            "where": "cached",
            "classes": model.classes,
            "bytes": model.bytes,
            "files": [str(path) for path in _paths(model.files)],
        }
        for model in cached_models()
        if model.address.repo not in known and str(model.address) not in published_models()
    ]


def _paths(files: ModelFiles) -> list[Path]:
    forms = (files.weights, files.onnx, files.int8, files.transformers)
    return [path for path in forms if path]


def _files_record(files: ModelFiles) -> dict[str, Any]:
    return {"name": files.name, "files": [str(path) for path in _paths(files)]}


def _content(files: ModelFiles) -> dict[str, Any]:
    """Facts about the network, from its files."""
    from vidparse.textfiles import as_list, as_table, parse_json

    if files.transformers is not None:
        config = as_table(parse_json((files.transformers / "config.json").read_bytes()), "config")
        return {
            "architecture": as_list(config["architectures"], "architectures")[0],
            "classes": list(as_table(config.get("id2label") or {}, "id2label").values()),
        }
    description = _description(files)
    return {
        "architecture": description.arch,
        "config": description.config,
        "labels": description.labels.name,
        "classes": list(description.labels.classes),
        "preprocess": asdict(description.preprocess),
        "sha256": description.sha256,
        "memory_interval_s": description.memory_interval_s,
        "profile": None if description.profile is None else asdict(description.profile),
        "training": description.training,
    }


def _description(files: ModelFiles) -> Description:
    from vidparse.models.checkpoint import read_description, read_onnx_description

    if files.weights is not None:
        return read_description(files.weights)
    assert files.onnx is not None  # a model has at least one form
    return read_onnx_description(files.onnx)


def _one_line(value: object) -> str:
    if isinstance(value, (list, tuple)):
        return ", ".join(str(item) for item in value)
    if isinstance(value, dict):
        return ", ".join(f"{key} {item}" for key, item in value.items())
    return str(value)
