"""The names by which a release is used: of settings, metrics, commands, routes, and of what programs import."""

from __future__ import annotations

import importlib
import inspect
import json
from collections.abc import Callable
from dataclasses import fields as fields_of
from dataclasses import is_dataclass
from enum import Enum
from importlib.util import find_spec
from typing import Any, get_args, get_type_hints

import typer
from prometheus_client.metrics import MetricWrapperBase

from stream_reco import metrics
from stream_reco.cli.app import app
from stream_reco.config.describe import describe
from stream_reco.config.load import load
from stream_reco.serve.settings import ServeSettings

Names = dict[str, Any]
OPENAPI = ("stream_reco.serve.http.openapi", "stream_reco.serve.api_schema")
"""Where the description of the HTTP interface is made, in later releases and in version 0.1.0."""
PACKAGES = tuple(f"stream_reco.{name}" for name in ("events", "embedding", "labels", "interests", "embedded"))
"""Those that programs import from."""
PUBLIC = (
    "stream_reco.events.decode",
    "stream_reco.events.BadEvent",
    "stream_reco.embedding.EmbeddingTable",
    "stream_reco.embedding.EmbeddingTable.lookup",
    "stream_reco.embedding.EmbeddingTable.train_rows",
    "stream_reco.embedding.EmbeddingTable.apply_gradients",
    "stream_reco.embedding.EmbeddingTable.evict",
    "stream_reco.embedding.EmbeddingTable.drain_touched",
    "stream_reco.embedding.EmbeddingTable.save",
    "stream_reco.embedding.EmbeddingTable.load",
    "stream_reco.embedding.EmbeddingTable.nbytes",
    "stream_reco.embedding.SGD",
    "stream_reco.embedding.Adagrad",
    "stream_reco.embedding.Adam",
    "stream_reco.embedding.Ftrl",
    "stream_reco.embedding.RowwiseAdagrad",
    "stream_reco.embedding.after",
    "stream_reco.embedding.probability",
    "stream_reco.labels.LabelJoiner",
    "stream_reco.labels.LabelJoiner.process",
    "stream_reco.labels.LabelJoiner.advance",
    "stream_reco.interests.ward_linkage",
    "stream_reco.embedded.Engine",
    "stream_reco.embedded.Engine.ingest",
    "stream_reco.embedded.Engine.recommend",
    "stream_reco.embedded.Engine.recommend_many",
    "stream_reco.embedded.Engine.score",
    "stream_reco.embedded.Engine.sync",
    "stream_reco.embedded.Engine.checkpoint",
    "stream_reco.embedded.Engine.tick",
    "stream_reco.embedded.Engine.finish",
    "stream_reco.embedded.Engine.forget",
    "stream_reco.embedded.Engine.similar",
    "stream_reco.embedded.Engine.interests",
    "stream_reco.embedded.Engine.status",
    "stream_reco.embedded.Engine.close",
)
"""What programs call, of those who use the parts without the command."""
STRUCTS = (
    "stream_reco.events.Impression",
    "stream_reco.events.Action",
    "stream_reco.events.Retraction",
    "stream_reco.events.ItemEvent",
    "stream_reco.events.UserEvent",
    "stream_reco.labels.Example",
    "stream_reco.labels.Undone",
    "stream_reco.embedded.Ingested",
    "stream_reco.embedding.Delta",
)
"""What programs read the fields of."""


def names_of_release() -> Names:
    """All of them, ready for JSON."""
    return {
        "settings": {line.key: line.variable for line in describe(load())},
        "metrics": _metrics(),
        "commands": _commands(),
        "routes": _routes(),
        "exports": {name: sorted(importlib.import_module(name).__all__) for name in PACKAGES},
        "signatures": {name: parameters_of(name) for name in PUBLIC},
        "fields": {name: field_names_of(name) for name in STRUCTS},
    }


def _metrics() -> dict[str, Any]:
    """Type, and names of labels where they are known, by name."""
    labels = {one._name: list(one._labelnames) for one in vars(metrics).values() if isinstance(one, MetricWrapperBase)}
    return {
        family.name: {"type": family.type, "labels": labels.get(family.name)}
        for family in metrics.REGISTRY.collect()
        if family.name.startswith("stream_reco_")
    }


def _commands() -> dict[str, Any]:
    """Arguments with their choices, and all spellings of all options, by command."""
    group: Any = typer.main.get_command(app)
    return {name: _parameters(command) for name, command in group.commands.items()}


def _parameters(command: Any) -> dict[str, Any]:
    # By what they say of themselves: releases of typer have classes of their own, or those of click.
    arguments = [one for one in command.params if one.param_type_name == "argument"]
    options = [one for one in command.params if one.param_type_name == "option"]
    hints = get_type_hints(inspect.unwrap(command.callback))
    choices = {name: [one.value for kind in _enums(hint) for one in kind] for name, hint in hints.items()}
    return {
        "arguments": [one.name for one in arguments],
        "choices": {name: values for name, values in choices.items() if values},
        "options": sorted(spelling for one in options for spelling in (*one.opts, *one.secondary_opts)),
    }


def _enums(hint: Any) -> list[type[Enum]]:
    """The enumerations in a type, such as in `list[Format] | None`."""
    if isinstance(hint, type) and issubclass(hint, Enum):
        return [hint]
    return [kind for part in get_args(hint) for kind in _enums(part)]


def _routes() -> dict[str, list[str]]:
    """Methods by path."""
    module = importlib.import_module(next(name for name in OPENAPI if _exists(name)))
    described = json.loads(module.openapi(ServeSettings()))
    return {path: sorted(methods) for path, methods in described["paths"].items()}


def _exists(module: str) -> bool:
    try:
        return find_spec(module) is not None
    except ModuleNotFoundError:
        return False


def found(name: str) -> Any:
    """What a dotted name of a module's content stands for."""
    room, _, rest = name.removeprefix("stream_reco.").partition(".")
    value: Any = importlib.import_module(f"stream_reco.{room}")
    for part in rest.split("."):
        value = getattr(value, part)
    return value


def parameters_of(name: str) -> list[list[Any]] | None:
    """Name, kind, and whether it may be left out, of each parameter; None for what is not called."""
    value: Callable[..., Any] = found(name)
    if not callable(value):
        return None
    return [
        [one.name, one.kind.name, one.default is not inspect.Parameter.empty]
        for one in inspect.signature(value).parameters.values()
    ]


def field_names_of(name: str) -> list[str]:
    """Names of a struct's fields, or of a dataclass's or named tuple's."""
    kind = found(name)
    if is_dataclass(kind):
        return [one.name for one in fields_of(kind)]
    return list(getattr(kind, "__struct_fields__", None) or kind._fields)
