"""Private names of dependencies: those that are used are listed, and such a dependency has an upper bound."""

from __future__ import annotations

import ast
import tomllib
from collections.abc import Iterator
from pathlib import Path

import pytest
from packaging.requirements import Requirement

ROOT = Path(__file__).parents[2]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
# Public ones of named tuples and of os.
_PUBLIC = frozenset({"_replace", "_fields", "_asdict", "_exit"})
USED = {
    "aiokafka": frozenset(
        {
            "_batches",
            "_client",
            "_coordinator",
            "_drain_waiter",
            "_fetcher",
            "_message_accumulator",
            "_msg_futures",
            "_pending_batches",
            "_sender",
            "_txn_manager",
            "_versions",
            "_wait_on_metadata",
        }
    ),
    "faust-streaming": frozenset({"_create_directories"}),
}
"""Dependency → its private names in the package and the topologies. Fewer are better; each may go with any release."""
IN_TESTS = {"aiokafka": frozenset({"_maybe_wait_for_pid"}), "prometheus-client": frozenset({"_labelnames"})}
"""The same for tests."""
_OVERRIDDEN = frozenset({"_create_directories"})


def _is_private(name: str) -> bool:
    return name.startswith("_") and not name.startswith("__") and name.strip("_") != "" and name not in _PUBLIC


def _defined(tree: ast.AST) -> Iterator[str]:
    for node in ast.walk(tree):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
            yield node.name
        elif isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store):
            yield node.id
        elif isinstance(node, ast.Attribute) and isinstance(node.ctx, ast.Store):
            yield node.attr


def _used(tree: ast.AST) -> Iterator[str]:
    """Private attributes of anything but `self`, and those that texts may name for `getattr`."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Attribute) and not (isinstance(node.value, ast.Name) and node.value.id == "self"):
            yield node.attr
        elif isinstance(node, ast.Constant) and isinstance(node.value, str) and node.value.isidentifier():
            yield node.value


def foreign(text: str) -> set[str]:
    """The private names that a source file uses and does not define."""
    tree = ast.parse(text)
    defined = set(_defined(tree))
    return {name for name in set(_used(tree)) - defined if _is_private(name)} | (defined & _OVERRIDDEN)


def test_those_of_the_package_are_listed() -> None:
    found = {
        name
        for folder in ("stream_reco", "topologies")
        for path in sorted((ROOT / folder).rglob("*.py"))
        for name in foreign(path.read_text(encoding="utf-8"))
    }
    assert found == frozenset().union(*USED.values())


@pytest.mark.parametrize("name", sorted(USED.keys() | IN_TESTS.keys()))
def test_a_dependency_with_private_names_in_use_has_an_upper_bound(name: str) -> None:
    lines = PROJECT["dependencies"] + ([] if name in USED else PROJECT["optional-dependencies"]["dev"])
    bounds = [spec.operator for line in lines for spec in Requirement(line).specifier if Requirement(line).name == name]
    assert "<" in bounds


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("x._hidden", {"_hidden"}),
        ("getattr(x, '_hidden')", {"_hidden"}),
        ("one._mine = 1; other._mine", set()),
        ("self._inherited", set()),
        ("self.client._hidden", {"_hidden"}),
        ("one._replace(a=1)", set()),
        ("x.__dict__", set()),
    ],
)
def test_what_is_private_is_found(text: str, found: set[str]) -> None:
    assert foreign(text) == found
