"""Apache Kafka as a folder of jars, which Maven downloads once a machine."""

from __future__ import annotations

import fcntl
import hashlib
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from platformdirs import user_cache_path

POM = Path(__file__).with_name("kafka_pom.xml")
_DOWNLOAD_SECONDS = 280


def kafka_jars(cache: Path | None = None) -> Path:
    """The folder of jars; downloaded if it is not in `cache` yet, which is the user's if not given.

    Two runs at once download once. Raises RuntimeError with what Maven said if it failed.
    """
    cache = cache or user_cache_path("stream-reco")
    cache.mkdir(parents=True, exist_ok=True)
    version = hashlib.sha256(POM.read_bytes()).hexdigest()[:8]
    jars = cache / f"kafka-{version}"
    with _locked(cache / "kafka.lock"):
        if not jars.exists():
            _download(jars)
    return jars


@contextmanager
def _locked(path: Path) -> Iterator[None]:
    with path.open("w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield


def _download(jars: Path) -> None:
    draft = jars.with_suffix(".draft")
    shutil.rmtree(draft, ignore_errors=True)
    command = ["mvn", "-q", "-B", "-f", str(POM), "dependency:copy-dependencies"]
    command += [f"-DoutputDirectory={draft}", "-DincludeScope=runtime"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=_DOWNLOAD_SECONDS, check=False)
    if done.returncode != 0:
        raise RuntimeError(f"Maven could not fetch Kafka for the tests:\n{done.stdout}\n{done.stderr}")
    draft.rename(jars)
