"""Compiled kernels lie in a folder of their own for each state of the sources, wherever the user wants them."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

PRINT = "import os, stream_reco; print(os.environ['NUMBA_CACHE_DIR'])"


def folder_of(**environ: str) -> Path:
    inherited = {name: value for name, value in os.environ.items() if name != "NUMBA_CACHE_DIR"}
    done = subprocess.run(
        [sys.executable, "-c", PRINT], check=True, capture_output=True, text=True, env=inherited | environ
    )
    return Path(done.stdout.strip())


def test_it_lies_in_the_folder_that_is_named(tmp_path: Path) -> None:
    folder = folder_of(NUMBA_CACHE_DIR=str(tmp_path))
    assert folder.parent == tmp_path
    assert folder.is_dir()
    assert folder.name == folder_of(XDG_CACHE_HOME=str(tmp_path / "cache")).name


def test_processes_that_are_started_share_it(tmp_path: Path) -> None:
    folder = folder_of(NUMBA_CACHE_DIR=str(tmp_path))
    assert folder_of(NUMBA_CACHE_DIR=str(folder)) == folder


def test_that_of_another_release_is_left_alone(tmp_path: Path) -> None:
    other = tmp_path / "kernels-0123456789abcdef"
    assert folder_of(NUMBA_CACHE_DIR=str(other)).parent == tmp_path


def test_where_none_can_be_made_it_goes_on(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    assert folder_of(NUMBA_CACHE_DIR=str(tmp_path / "file")) == tmp_path / "file"


def test_an_empty_name_is_none(tmp_path: Path) -> None:
    folder = folder_of(NUMBA_CACHE_DIR="", XDG_CACHE_HOME=str(tmp_path))
    assert folder.is_relative_to(tmp_path)
