"""From what a source gives to a value of the setting's own type."""

from __future__ import annotations

import difflib
import math
from collections.abc import Mapping, Sequence
from dataclasses import fields, is_dataclass, replace
from types import UnionType
from typing import Annotated, Any, Literal, Union, get_args, get_origin, get_type_hints

import msgspec

from stream_reco.config.origin import Given


def convert(given: Given, hint: Any) -> object:
    """The value as `hint`, a type perhaps annotated with `msgspec.Meta`; raises ValueError with a message for users."""
    value = given.value
    if given.text and isinstance(value, str):
        value = _parsed(value, _container(hint))
    if (record := _record(hint)) is not None and isinstance(value, Mapping):
        return {name: _built(given, name, inner, record) for name, inner in _by_name(value, record).items()}
    if (choices := _choices(hint)) and value not in choices:
        raise ValueError(f"it must be one of {', '.join(map(repr, choices))}")
    # Only text may stand for a number: a string in a TOML file or from Python where a number belongs is a mistake.
    converted: object = msgspec.convert(value, hint, strict=not given.text)
    if isinstance(converted, float) and not math.isfinite(converted):
        raise ValueError("it must be a finite number")
    return converted


def _choices(hint: Any) -> tuple[object, ...]:
    """The values of a setting that is one of a few."""
    arms = get_args(hint) if get_origin(hint) in (Union, UnionType) else (hint,)
    return next((get_args(arm) for arm in arms if get_origin(arm) is Literal), ())


def _container(hint: Any) -> Any:
    """`Sequence` or `Mapping` where the setting holds many values, else None."""
    origin = get_origin(hint)
    if origin is Annotated:
        return _container(get_args(hint)[0])
    if origin in (Union, UnionType):
        return next((found for arm in get_args(hint) if (found := _container(arm)) is not None), None)
    kind = origin or hint
    if not isinstance(kind, type) or issubclass(kind, str):
        return None
    return next((many for many in (Mapping, Sequence) if issubclass(kind, many)), None)


def _parsed(text: str, container: Any) -> object:
    """Text for many values: JSON, or `a,b`, or `a=1,b=2`."""
    if container is None:
        return text
    if text.lstrip()[:1] in ("[", "{"):
        return msgspec.json.decode(text)
    parts = [part.strip() for part in text.split(",") if part.strip()]
    if container is Sequence:
        return parts
    pairs = [part.partition("=") for part in parts]
    if not all(sign for _, sign, _ in pairs):
        raise ValueError("write it as name=value,name=value")
    return {name.strip(): value.strip() for name, _, value in pairs}


def _record(hint: Any) -> Any:
    """The dataclass of the values, where the setting is a mapping of names to such."""
    arms = get_args(hint)
    is_mapping = isinstance(get_origin(hint), type) and issubclass(get_origin(hint), Mapping)
    return arms[1] if is_mapping and is_dataclass(arms[1]) else None


def _by_name(value: Mapping[str, object], record: Any) -> dict[str, Any]:
    """Fields of each name: given as `{"a": {"b": 1}}` or, as in text, `{"a.b": 1}`; or what is such a record."""
    found: dict[str, Any] = {}
    for name, inner in value.items():
        outer, dot, field = name.rpartition(".")
        if isinstance(inner, record | Mapping):
            found[name] = inner
        elif dot:
            found.setdefault(outer, {})[field] = inner
        else:
            first = fields(record)[0].name
            raise ValueError(f"{name} is {inner!r}: it is a section; give the settings in it, such as {name}.{first}")
    return found


def _built(given: Given, name: str, inner: Any, record: Any) -> object:
    """The record of a name, of fields that are checked as settings are."""
    if isinstance(inner, record):
        return inner
    hints = get_type_hints(record, include_extras=True)
    for field in inner:
        if field not in hints:
            close = difflib.get_close_matches(field, list(hints), n=1, cutoff=0.5)
            instead = f"did you mean {name}.{close[0]}?" if close else f"choose from {', '.join(hints)}"
            raise ValueError(f"there is no setting {name}.{field}: {instead}")
    try:
        return record(**{field: convert(replace(given, value=one), hints[field]) for field, one in inner.items()})
    except ValueError as problem:
        raise ValueError(f"{name}: {problem}") from None
