"""From sources to the tree: later sources override, everything is checked, all problems are reported at once."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import Any, Generic, TypeVar, get_type_hints

from stream_reco.config.origin import DEFAULT, Given, Origin
from stream_reco.config.secret import visible_text
from stream_reco.config.sources import from_environment, from_file, from_flags
from stream_reco.config.tree import Settings
from stream_reco.config.values import convert
from stream_reco.model.settings import ModelSections

T = TypeVar("T")


class ConfigError(ValueError):
    """The settings cannot be used; `problems` has one sentence for each problem."""

    def __init__(self, problems: list[str]) -> None:
        self.problems = tuple(problems)
        title = "1 problem" if len(problems) == 1 else f"{len(problems)} problems"
        super().__init__(f"{title} with the settings:\n" + "\n".join(f"- {problem}" for problem in problems))


@dataclass(frozen=True)
class Loaded(Generic[T]):
    """The settings, and the origin of each by `section.name`."""

    settings: T
    origins: Mapping[str, Origin]


def load(
    config: Path | None = None,
    environ: Mapping[str, str] | None = None,
    overrides: Mapping[str, object] | None = None,
) -> Loaded[Settings]:
    """The settings from a TOML file, the environment and flags (`{"serve.port": 8080}`). Raises `ConfigError`."""
    return load_tree(Settings, config, environ, overrides, ModelSections())


def load_tree(
    tree: type[T],
    config: Path | None = None,
    environ: Mapping[str, str] | None = None,
    overrides: Mapping[str, object] | None = None,
    within: Mapping[str, type[Any]] | None = None,
) -> Loaded[T]:
    """The same for any frozen dataclass whose fields are frozen dataclasses.

    within: types of sections inside a section, by names such as `model.bpr`. What is given for the one that the
    section's `name` chooses becomes its `settings`; the others are checked alone.
    """
    sections: dict[str, type[Any]] = get_type_hints(tree)
    inner: Mapping[str, type[Any]] = within or {}
    names = _Names(sections, inner)
    problems: list[str] = []
    given = from_file(config, names, problems) if config is not None else []
    given += from_environment(environ or {}, names, problems)
    given += from_flags(overrides or {}, names, problems)
    origins = {f"{section}.{name}": DEFAULT for section in sections for name in names[section]}
    rooms: dict[str, Any] = {}
    used = dict.fromkeys(each.section for each in given if each.section in inner)
    for section, room in {**sections, **{name: inner[name] for name in used}}.items():
        chosen = _typed([each for each in given if each.section == section], room, problems)
        rooms[section] = _built(room, chosen, problems)
        origins |= {each.key: each.origin for each, _ in chosen.values()}
    if problems:
        raise ConfigError(problems)
    return Loaded(tree(**{section: _whole(section, rooms) for section in sections}), origins)


class _Names(Mapping[str, list[str]]):
    """The names of the settings of each section; those of inner sections are looked up when they are asked for."""

    def __init__(self, sections: Mapping[str, type[Any]], inner: Mapping[str, type[Any]]) -> None:
        self._sections, self._inner = sections, inner

    def __getitem__(self, section: str) -> list[str]:
        room = self._sections[section] if section in self._sections else self._inner[section]
        has_inner = any(name.startswith(f"{section}.") for name in self._inner)
        names = [field.name for field in fields(room) if not (has_inner and field.name == "settings")]
        return [name for name in names if f"{section}.{name}" not in self._inner]

    def __contains__(self, section: object) -> bool:
        return section in self._sections or section in self._inner

    def __iter__(self) -> Iterator[str]:
        return iter([*self._sections, *self._inner])

    def __len__(self) -> int:
        return len(self._sections) + len(self._inner)


def _whole(section: str, rooms: Mapping[str, Any]) -> Any:
    """A section's settings with those of the section that its `name` chooses, and of those that are fields."""
    room = rooms[section]
    inner = rooms.get(f"{section}.{getattr(room, 'name', '')}")
    given = {one.name: rooms[f"{section}.{one.name}"] for one in fields(room) if f"{section}.{one.name}" in rooms}
    return replace(room, **given) if inner is None else replace(room, settings=inner, **given)


Typed = dict[str, tuple[Given, object]]


def _typed(given: list[Given], room: type[Any], problems: list[str]) -> Typed:
    hints = get_type_hints(room, include_extras=True)
    chosen: Typed = {}
    for each in given:
        try:
            chosen[each.name] = (each, convert(each, hints[each.name]))
        except ValueError as problem:
            problems.append(f"{_shown(each, room)}: {problem}")
    return chosen


def _built(room: type[Any], chosen: Typed, problems: list[str]) -> Any:
    """The room's settings. Its own checks stop at the first problem, so what caused it is set aside to find more."""
    left = dict(chosen)
    while True:
        complaint = _complaint(room, left)
        if complaint is None:
            return room(**{name: value for name, (_, value) in left.items()})
        culprit = next((name for name in left if _complaint(room, _without(left, name)) != complaint), None)
        if culprit is None:
            problems.append(complaint)
            return None
        problems.append(f"{_shown(left[culprit][0], room)}: {complaint}")
        left = _without(left, culprit)


def _complaint(room: type[Any], chosen: Typed) -> str | None:
    try:
        room(**{name: value for name, (_, value) in chosen.items()})
    except ValueError as problem:
        return str(problem)
    return None


def _without(chosen: Typed, name: str) -> Typed:
    return {other: each for other, each in chosen.items() if other != name}


def _shown(given: Given, room: type[Any]) -> str:
    field = next(field for field in fields(room) if field.name == given.name)
    return f"{given.key} = {visible_text(field, given.value)} ({given.origin})"
