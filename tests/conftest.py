"""What tests of several rooms need: a disk that is really full."""

import os
import subprocess
import sys
import warnings
from collections.abc import Callable
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
RunOnSmallDisk = Callable[[Path, int], str]

_MOUNTED = 'mount -t tmpfs -o size="$2" none "$1" && shift 2 && exec "$@"'
_LIMITED = "import os, resource, sys; n = int(sys.argv[1]); resource.setrlimit(resource.RLIMIT_FSIZE, (n, n));"
_LIMITED += " os.execv(sys.executable, [sys.executable, *sys.argv[2:]])"


@pytest.fixture
def on_small_disk(tmp_path: Path) -> RunOnSmallDisk:
    """Runs `script DISK` in a process for which the folder DISK is a disk of so many bytes; returns what it prints.

    The mount lives and dies with the process, in a namespace of its own, which needs no root where the kernel lets
    users have namespaces. Where it does not, a limit on the size of a file stands in, with a warning.
    """

    def run(script: Path, size: int) -> str:
        disk = tmp_path / "disk"
        disk.mkdir()
        command = [sys.executable, str(script), str(disk)]
        env = os.environ | {"PYTHONPATH": os.pathsep.join([str(ROOT), *filter(None, sys.path)])}
        apart = ["unshare", "--mount", *([] if os.geteuid() == 0 else ["--map-root-user"]), "sh", "-c", _MOUNTED, "sh"]
        if _can_mount(apart, disk):
            command = [*apart, str(disk), str(size), *command]
        else:
            warnings.warn("no file system may be mounted here: the full disk is only a file size limit", stacklevel=2)
            command = [sys.executable, "-c", _LIMITED, str(size), *command[1:]]
        done = subprocess.run(command, env=env, capture_output=True, text=True, timeout=120, check=False)
        assert done.returncode == 0, done.stderr
        return done.stdout

    return run


def _can_mount(apart: list[str], disk: Path) -> bool:
    try:
        return subprocess.run([*apart, str(disk), "65536", "true"], capture_output=True, check=False).returncode == 0
    except FileNotFoundError:
        return False
