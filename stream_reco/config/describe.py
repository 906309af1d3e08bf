"""The settings as a list: each value and its source."""

from __future__ import annotations

from dataclasses import dataclass, fields
from typing import Any

from stream_reco.config.load import Loaded
from stream_reco.config.origin import DEFAULT, Origin
from stream_reco.config.secret import visible_text
from stream_reco.config.sources import variable
from stream_reco.model.settings import BESIDE, ModelSettings


@dataclass(frozen=True, slots=True)
class Line:
    """One setting: its key, its value as text (secrets are never shown), its origin, the variable that sets it."""

    key: str
    value: str
    origin: Origin
    variable: str


def describe(loaded: Loaded[Any]) -> list[Line]:
    """One line a setting, in the order of the tree; of the models, the settings of the one that is chosen."""
    lines: list[Line] = []
    for section in fields(loaded.settings):
        room = getattr(loaded.settings, section.name)
        lines += _of_section(section.name, room, loaded)
        if isinstance(room, ModelSettings):
            lines += _of_section(f"{section.name}.{room.name}", room.resolved, loaded)
            for name in BESIDE:
                lines += _of_section(f"{section.name}.{name}", getattr(room, name), loaded)
    return lines


def _of_section(section: str, room: Any, loaded: Loaded[Any]) -> list[Line]:
    lines = []
    for field in fields(room):
        key = f"{section}.{field.name}"
        if isinstance(room, ModelSettings) and field.name in ("settings", *BESIDE):
            continue
        shown = visible_text(field, getattr(room, field.name))
        lines.append(Line(key, shown, loaded.origins.get(key, DEFAULT), variable(section, field.name)))
    return lines
