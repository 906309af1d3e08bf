"""From what a source gives to a value of the setting's own type."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from types import UnionType
from typing import Annotated, Any, Literal, Union, get_args, get_origin

import msgspec

from stream_reco.config.origin import Given


def convert(given: Given, hint: Any) -> object:
    """The value as `hint`, a type perhaps annotated with `msgspec.Meta`; raises ValueError with a message for users."""
    value = given.value
    if given.text and isinstance(value, str):
        value = _parsed(value, _container(hint))
    if get_origin(hint) is Literal and value not in get_args(hint):
        raise ValueError(f"it must be one of {', '.join(map(repr, get_args(hint)))}")
    # Only text may stand for a number: a string in a TOML file or from Python where a number belongs is a mistake.
    converted: object = msgspec.convert(value, hint, strict=not given.text)
    if isinstance(converted, float) and not math.isfinite(converted):
        raise ValueError("it must be a finite number")
    return converted


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
