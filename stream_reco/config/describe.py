"""The settings as a list: each value and its source."""

from __future__ import annotations

from dataclasses import dataclass, fields
from typing import Any

from stream_reco.config.load import Loaded
from stream_reco.config.origin import Origin
from stream_reco.config.secret import visible_text
from stream_reco.config.sources import variable


@dataclass(frozen=True, slots=True)
class Line:
    """One setting: its key, its value as text (secrets are never shown), its origin, the variable that sets it."""

    key: str
    value: str
    origin: Origin
    variable: str


def describe(loaded: Loaded[Any]) -> list[Line]:
    """One line a setting, in the order of the tree."""
    lines: list[Line] = []
    for section in fields(loaded.settings):
        room = getattr(loaded.settings, section.name)
        for field in fields(room):
            shown = visible_text(field, getattr(room, field.name))
            key = f"{section.name}.{field.name}"
            lines.append(Line(key, shown, loaded.origins[key], variable(section.name, field.name)))
    return lines
