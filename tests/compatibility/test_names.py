"""Every name by which version 0.1.0 is used stands for the same today, or was removed for a reason given here."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import pytest

from stream_reco.config.load import ConfigError, load
from tests.compatibility.recorded import RECORDS
from tests.compatibility.release_names import Names, names_of_release

REMOVED = {
    "stream_reco.embedded.Observer": "the type of an argument that only our own commands use: EvaluationSink",
    "stream_reco.embedded.Viewer": "the type of another one: ImpressionSink",
}
"""What is missing, as the tests below name it → why nobody misses it, and what to use instead."""


@pytest.fixture(scope="module")
def old() -> Names:
    names: Names = json.loads((RECORDS / "names.json").read_text())
    return names


@pytest.fixture(scope="module")
def present() -> Names:
    return names_of_release()


def missing_settings(old: Names, _: Names) -> Iterator[str]:
    """Keys and environment variables that are not known today."""
    yield from (key for key in old["settings"] if is_unknown({}, {key: "1"}))
    yield from (name for name in old["settings"].values() if is_unknown({name: "1"}, {}))


def is_unknown(environ: dict[str, str], overrides: dict[str, object]) -> bool:
    try:
        load(environ=environ, overrides=overrides)
    except ConfigError as error:
        # Values that do not fit are no matter here.
        return any(problem.startswith("there is no") for problem in error.problems)
    return False


def missing_metrics(old: Names, present: Names) -> Iterator[str]:
    """Metrics that are not shown today, or as another type, or with other labels."""
    for name, one in old["metrics"].items():
        now = present["metrics"].get(name)
        if now is None or now["type"] != one["type"] or now["labels"] not in (one["labels"], None):
            yield name


def missing_commands(old: Names, present: Names) -> Iterator[str]:
    """Commands, arguments, options and choices that are not taken today."""
    for name, one in old["commands"].items():
        now = present["commands"].get(name, {"arguments": [], "choices": {}, "options": []})
        if len(now["arguments"]) != len(one["arguments"]):
            yield name
        yield from (f"{name} {option}" for option in one["options"] if option not in now["options"])
        # What takes a choice may be called otherwise today, but takes the same.
        taken = {choice for choices in now["choices"].values() for choice in choices}
        yield from (
            f"{name} {choice}" for choices in one["choices"].values() for choice in choices if choice not in taken
        )


def missing_routes(old: Names, present: Names) -> Iterator[str]:
    """Routes, with their methods."""
    for path, methods in old["routes"].items():
        yield from (f"{method} {path}" for method in methods if method not in present["routes"].get(path, ()))


def missing_exports(old: Names, present: Names) -> Iterator[str]:
    """What cannot be imported from its package today."""
    for package, names in old["exports"].items():
        yield from (f"{package}.{name}" for name in names if name not in present["exports"][package])


def missing_parameters(old: Names, present: Names) -> Iterator[str]:
    """Parameters by which a call would fail today."""
    for name, one in old["signatures"].items():
        now = present["signatures"][name]
        if one is None or now is None:
            yield from ([] if one == now else [name])
        else:
            yield from (f"{name}({parameter})" for parameter in broken_parameters(one, now))


def missing_fields(old: Names, present: Names) -> Iterator[str]:
    """Fields of structs that cannot be read today."""
    for name, fields in old["fields"].items():
        yield from (f"{name}.{field}" for field in fields if field not in present["fields"][name])


def broken_parameters(old: list[list[Any]], present: list[list[Any]]) -> list[str]:
    """Parameters by whose old place or name a call would fail today, or mean something else."""
    places = {parameter: place for place, (parameter, *_) in enumerate(present)}
    broken = []
    for place, (parameter, kind, may_be_left_out) in enumerate(old):
        now = places.get(parameter)
        by_place = "POSITIONAL" in kind
        if (
            now is None
            or (by_place and (now != place or "POSITIONAL" not in present[now][1]))
            or (may_be_left_out and not present[now][2])
        ):
            broken.append(parameter)
    known = {parameter for parameter, *_ in old}
    return broken + [
        parameter
        for parameter, kind, may_be_left_out in present
        if parameter not in known and not may_be_left_out and "VAR_" not in kind
    ]


KINDS = (
    missing_settings,
    missing_metrics,
    missing_commands,
    missing_routes,
    missing_exports,
    missing_parameters,
    missing_fields,
)


@pytest.mark.parametrize("missing", KINDS, ids=lambda kind: kind.__name__.removeprefix("missing_"))
def test_nothing_is_missing_but_what_was_removed_on_purpose(missing: Any, old: Names, present: Names) -> None:
    assert sorted(set(missing(old, present)) - REMOVED.keys()) == []


def test_what_is_listed_as_removed_is_missing(old: Names, present: Names) -> None:
    assert {name for missing in KINDS for name in missing(old, present)} >= REMOVED.keys()


@pytest.mark.parametrize("missing", KINDS[1:], ids=lambda kind: kind.__name__.removeprefix("missing_"))
def test_whatever_were_missing_would_be_noticed(missing: Any, old: Names) -> None:
    nothing: Names = {kind: {name: [] for name in names} for kind, names in old.items()}
    nothing |= {"metrics": {}, "commands": {}, "routes": {}}
    assert len(list(missing(old, nothing))) > len(list(missing(old, old))) == 0


def test_an_unknown_setting_would_be_noticed() -> None:
    assert is_unknown({"STREAM_RECO_LABELS_NEVER": "1"}, {})
    assert is_unknown({}, {"labels.never": "1"})


def test_a_broken_parameter_would_be_noticed() -> None:
    old = [["a", "POSITIONAL_OR_KEYWORD", False], ["b", "KEYWORD_ONLY", True]]
    assert broken_parameters(old, [*old, ["c", "KEYWORD_ONLY", True]]) == []
    assert broken_parameters(old, [["b", "KEYWORD_ONLY", True]]) == ["a"]
    assert broken_parameters(old, [old[0], ["b", "KEYWORD_ONLY", False]]) == ["b"]
    assert broken_parameters(old, [*old, ["c", "KEYWORD_ONLY", False]]) == ["c"]
    assert broken_parameters(old, [["z", "POSITIONAL_OR_KEYWORD", True], *old]) == ["a"]
