"""The checks before a commit are those of tests/run, and need nothing from elsewhere."""

from __future__ import annotations

import importlib.util
import shlex
from pathlib import Path
from typing import Any

import pytest

from tests.deploy.yaml_files import document

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def hooks() -> list[dict[str, Any]]:
    """All hooks, of whatever repository."""
    repositories = document(ROOT / ".pre-commit-config.yaml")["repos"]
    assert [one["repo"] for one in repositories] == ["local"]
    return [hook for one in repositories for hook in one["hooks"]]


def test_they_run_in_the_environment_of_the_project(hooks: list[dict[str, Any]]) -> None:
    for hook in hooks:
        assert {"id", "name", "entry", "language"} <= set(hook)
        assert hook["language"] == "system"
        python, option, module, *_ = shlex.split(hook["entry"])
        assert (python, option) == ("python", "-m")
        assert importlib.util.find_spec(module) is not None, module


def test_they_are_the_checks_of_the_build(hooks: list[dict[str, Any]]) -> None:
    run = (ROOT / "tests" / "run").read_text(encoding="utf-8")
    checks = {line.split('"')[1] for line in run.splitlines() if line.startswith("check ")}
    assert {hook["name"] for hook in hooks} == checks
