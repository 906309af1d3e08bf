"""The wheel as people install it: what is in it, and that the command of it works without the checkout."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tomllib
import zipfile
from email.parser import Parser
from pathlib import Path, PurePosixPath

import pytest

ROOT = Path(__file__).parents[2]
VERSION: str = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]["version"]
# Of the build alone: an old `build` folder of the checkout would be packed into the wheel.
_NEEDED = ("pyproject.toml", "README.md", "LICENSE", "stream_reco", "topologies")

pytestmark = pytest.mark.slow


def _pip(*arguments: object) -> None:
    command = [sys.executable, "-m", "pip", "--disable-pip-version-check", *map(str, arguments)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=240, check=False)
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Built from a copy of the sources with what the environment of the tests holds, without a network."""
    source, folder = tmp_path_factory.mktemp("source"), tmp_path_factory.mktemp("wheel")
    for name in _NEEDED:
        if (ROOT / name).is_dir():
            shutil.copytree(ROOT / name, source / name, ignore=shutil.ignore_patterns("__pycache__"))
        else:
            shutil.copy(ROOT / name, source / name)
    _pip("wheel", "--no-deps", "--no-build-isolation", "--no-index", "--wheel-dir", folder, source)
    (built,) = folder.glob("*.whl")
    return built


@pytest.fixture(scope="module")
def installed(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder in which the wheel is installed; its dependencies are those of the tests."""
    target = tmp_path_factory.mktemp("installed")
    _pip("install", "--no-deps", "--no-index", "--target", target, wheel)
    return target


def _names(wheel: Path) -> set[str]:
    with zipfile.ZipFile(wheel) as archive:
        return set(archive.namelist())


def test_it_is_named_by_the_version(wheel: Path) -> None:
    assert wheel.name == f"stream_reco-{VERSION}-py3-none-any.whl"


def test_it_holds_every_file_of_the_packages_and_nothing_else(wheel: Path) -> None:
    names = {name for name in _names(wheel) if ".dist-info/" not in name}
    sources = {
        path.relative_to(ROOT).as_posix()
        for top in ("stream_reco", "topologies")
        for path in (ROOT / top).rglob("*")
        if path.is_file() and "__pycache__" not in path.parts
    }
    assert names == sources
    assert "stream_reco/py.typed" in names
    suffixes = {PurePosixPath(name).suffix for name in names if "/dashboard/" in name}
    assert {".html", ".js", ".css"} <= suffixes


def test_it_carries_its_licence_and_says_what_it_is(wheel: Path) -> None:
    folder = f"stream_reco-{VERSION}.dist-info"
    with zipfile.ZipFile(wheel) as archive:
        licence = archive.read(f"{folder}/licenses/LICENSE")
        metadata = Parser().parsestr(archive.read(f"{folder}/METADATA").decode())
    assert licence == (ROOT / "LICENSE").read_bytes()
    assert metadata["License-Expression"] == "Apache-2.0"
    assert metadata["Requires-Python"] == ">=3.11"
    assert metadata["Description-Content-Type"] == "text/markdown"
    assert "Typing :: Typed" in metadata.get_all("Classifier", [])


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        (["--version"], f"stream-reco {VERSION}\n"),
        (["doctor", "--settings"], "labels.window_days"),
        (["work", "--help"], "labelling"),
    ],
)
def test_its_command_works_without_the_checkout(
    installed: Path, tmp_path: Path, arguments: list[str], expected: str
) -> None:
    env = {name: value for name, value in os.environ.items() if not name.startswith("STREAM_RECO_")}
    env |= {"PYTHONPATH": str(installed), "COLUMNS": "200"}
    command = installed / "bin" / "stream-reco"
    done = subprocess.run(
        [command, *arguments], cwd=tmp_path, env=env, capture_output=True, text=True, timeout=120, check=False
    )
    assert done.returncode == 0, done.stderr
    assert expected in done.stdout


def test_what_runs_is_what_was_installed(installed: Path, tmp_path: Path) -> None:
    script = "import stream_reco, topologies, stream_reco.serve.http.dashboard_page as page; "
    script += "print(stream_reco.__file__, topologies.__file__, page.__file__, sep='\\n')"
    done = subprocess.run(
        [sys.executable, "-c", script],
        cwd=tmp_path,
        env=os.environ | {"PYTHONPATH": str(installed)},
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert all(Path(line).is_relative_to(installed) for line in done.stdout.splitlines())
