"""Checks of this machine, one function each."""

from __future__ import annotations

import importlib
import os
import platform
import shutil
import socket
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Literal

from stream_reco.terminal import machine

OLDEST = (3, 11)
_LEAST_FREE_BYTES = 1 << 30
# Packages with compiled parts, which fail on import if they do not fit the machine.
_COMPILED = {
    "numpy": "numpy",
    "torch": "torch",
    "numba": "numba",
    "hnswlib": "hnswlib",
    "pyarrow": "pyarrow",
    "orjson": "orjson",
    "msgspec": "msgspec",
    "lmdb": "lmdb",
    "rocksdict": "rocksdict",
    "uvloop": "uvloop",
}


@dataclass(frozen=True)
class Finding:
    """The result of one check, with a fix where it is not good."""

    state: Literal["good", "warning", "bad"]
    what: str
    text: str


def check_python() -> Finding:
    """The interpreter."""
    found = platform.python_version()
    if sys.version_info < OLDEST:
        return Finding("bad", "Python", f"{found}, but {'.'.join(map(str, OLDEST))} or newer is needed")
    return Finding("good", "Python", f"{found} on {platform.system()} {platform.machine()}")


def check_compiler() -> Finding:
    """A C++ compiler, which the installation of hnswlib needs and nothing after it."""
    found = next((path for name in ("c++", "g++", "clang++") if (path := shutil.which(name))), None)
    if found is not None:
        return Finding("good", "C++ compiler", found)
    state: Literal["warning", "bad"] = "warning" if _installed("hnswlib") else "bad"
    return Finding(state, "C++ compiler", "none found; hnswlib cannot be installed without one (apt-get install g++)")


def check_packages() -> Iterator[Finding]:
    """The packages with compiled parts, imported one by one."""
    for name, module in _COMPILED.items():
        try:
            importlib.import_module(module)
            yield Finding("good", name, version(name))
        except (ImportError, OSError, PackageNotFoundError) as error:
            yield Finding("bad", name, f"{type(error).__name__}: {error}; reinstall it with pip install {name}")


def check_cores() -> Finding:
    """Processors that this process may use."""
    count = machine.cores()
    if count < 2:
        return Finding("warning", "processors", f"{count}: learning and serving share it; 2 are better")
    return Finding("good", "processors", str(count))


def check_cache_folder() -> Finding:
    """The cache of compiled kernels; without it they are compiled at every start."""
    from platformdirs import user_cache_path

    return _check_folder("cache", user_cache_path("stream-reco"))


def check_data_folder(folder: Path) -> Finding:
    """A folder for `serve --data`."""
    return _check_folder("data", folder)


def _check_folder(what: str, folder: Path) -> Finding:
    there = next(path for path in (folder, *folder.absolute().parents) if path.exists())
    if not there.is_dir() or not os.access(there, os.W_OK | os.X_OK):
        why = "is not writable" if there.is_dir() else "is not a folder"
        return Finding("bad", f"{what} folder", f"{there} {why}; use another one, or change its permissions")
    free = shutil.disk_usage(there).free
    text = f"{folder}, {free / 2**30:,.1f} GiB free"
    if free < _LEAST_FREE_BYTES:
        return Finding("warning", f"{what} folder", f"{text}: that may not be enough; free some space")
    return Finding("good", f"{what} folder", text)


def check_port(host: str, number: int) -> Finding:
    """The address that the API would listen on."""
    try:
        family, kind, protocol, _, address = socket.getaddrinfo(host, number, type=socket.SOCK_STREAM)[0]
        with socket.socket(family, kind, protocol) as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            probe.bind(address)
    except OSError as error:
        fix = "stop what listens there, or set serve.port (STREAM_RECO_SERVE_PORT) to another one; 0 takes a free one"
        return Finding("warning", "port", f"{host}:{number}: {error.strerror}; {fix}")
    return Finding("good", "port", f"{host}:{number} is free")


def _installed(name: str) -> bool:
    try:
        version(name)
    except PackageNotFoundError:
        return False
    return True
