"""What the project says about itself is said alike everywhere: its version, its licence, its pins."""

from __future__ import annotations

import re
import subprocess
import sys
import tomllib
from pathlib import Path
from typing import Any

import pytest

import stream_reco
from tests.programs import COMMAND, environ

ROOT = Path(__file__).parents[2]
PROJECT: dict[str, Any] = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]


def test_the_version_is_the_same_everywhere() -> None:
    version = PROJECT["version"]
    assert stream_reco.__version__ == version
    for name in ("Dockerfile", "compose.yaml", "kubernetes/kustomization.yaml"):
        text = (ROOT / "deploy" / name).read_text(encoding="utf-8")
        tags = re.findall(r"stream-reco:(\d[\w.]*)|newTag: (\S+?)\}", text)
        assert {tag or new for tag, new in tags} == {version}, name


def test_the_command_prints_the_version() -> None:
    done = subprocess.run(
        [*COMMAND, "--version"], env=environ(), capture_output=True, text=True, timeout=60, check=False
    )
    assert (done.returncode, done.stdout, done.stderr) == (0, f"stream-reco {PROJECT['version']}\n", "")


def test_asking_for_the_version_loads_nothing_heavy() -> None:
    script = "import sys, stream_reco; print(stream_reco.__version__); "
    script += "assert not {'numba', 'numpy', 'torch', 'importlib.metadata'} & set(sys.modules)"
    subprocess.run([sys.executable, "-c", script], env=environ(), check=True, timeout=60)


def test_the_licence_is_the_one_that_is_named() -> None:
    text = (ROOT / "LICENSE").read_text(encoding="utf-8")
    assert PROJECT["license"] == "Apache-2.0"
    assert "LICENSE" in PROJECT["license-files"]
    assert "Apache License" in text
    assert "Version 2.0, January 2004" in text
    assert "END OF TERMS AND CONDITIONS" in text


def test_no_built_package_is_committed() -> None:
    if not (ROOT / ".git").exists():
        pytest.skip("this is no checkout")
    tracked = subprocess.run(
        ["git", "ls-files", "*.whl", "*.tar.gz", "*.egg"], cwd=ROOT, capture_output=True, text=True, check=True
    )
    assert tracked.stdout == ""
