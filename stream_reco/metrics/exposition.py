"""What `/metrics` shows: the metrics of this process, or of all processes of its server together.

A server of several processes names a folder in `PROMETHEUS_MULTIPROC_DIR` before metrics are imported, and each process
counts in files of its own there (prometheus_client's multiprocess mode). What processes counted that have ended stays
in the sums.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

from prometheus_client import CollectorRegistry
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.multiprocess import MultiProcessCollector, mark_process_dead
from prometheus_client.registry import Collector

from stream_reco.metrics.registry import REGISTRY

_FOLDER = "PROMETHEUS_MULTIPROC_DIR"
_TICKS = os.sysconf("SC_CLK_TCK")
_USER_TICKS, _SYSTEM_TICKS = 11, 12
"""Places in /proc/PID/stat behind the name of the program."""


def exposed() -> CollectorRegistry:
    """What is to be rendered."""
    folder = os.environ.get(_FOLDER)
    if not folder:
        return REGISTRY
    found = CollectorRegistry()
    found.register(_Server(folder))
    return found


def forget_process(pid: int) -> None:
    """Leave the present state of a process that has ended out of what is shown; what it counted stays."""
    folder = os.environ.get(_FOLDER)
    if folder:
        mark_process_dead(pid, folder)  # type: ignore[no-untyped-call]  # the library has no types here


class _Server(Collector):
    """What all processes counted, what they take, and the names of what nothing has fed yet."""

    def __init__(self, folder: str) -> None:
        self._counted = MultiProcessCollector(None, path=folder)  # type: ignore[no-untyped-call]  # likewise
        self._taken = _Processes(Path(folder))

    def collect(self) -> Iterator[Metric]:
        counted = self._counted.collect()  # type: ignore[no-untyped-call]  # likewise
        fed = [*counted, *self._taken.collect()]
        yield from fed
        names = {family.name for family in fed}
        for family in REGISTRY.collect():
            if family.name not in names:
                yield Metric(family.name, family.documentation, family.type)


class _Processes(Collector):
    """Memory, open files and processor time of the processes of a server that run."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def collect(self) -> Iterator[Metric]:
        seconds, memory, files = 0.0, 0, 0
        for pid in self._pids():
            with suppress(OSError):  # it may have ended meanwhile
                place = Path("/proc") / pid
                ticks = place.joinpath("stat").read_text().rpartition(")")[2].split()
                seconds += (int(ticks[_USER_TICKS]) + int(ticks[_SYSTEM_TICKS])) / _TICKS
                memory += _proportional_bytes(place)
                files += sum(1 for _ in place.joinpath("fd").iterdir())
        yield CounterMetricFamily(
            "process_cpu_seconds", "Processor time of the server's processes that run, in seconds.", seconds
        )
        yield GaugeMetricFamily(
            "process_resident_memory_bytes", "Memory of the server's processes; what they share counts once.", memory
        )
        yield GaugeMetricFamily("process_open_fds", "Files that the server's processes have open.", files)

    def _pids(self) -> set[str]:
        return {path.stem.rpartition("_")[2] for path in self._folder.glob("*.db")}


def _proportional_bytes(place: Path) -> int:
    for line in place.joinpath("smaps_rollup").read_text().splitlines():
        if line.startswith("Pss:"):
            return int(line.split()[1]) * 1024
    return 0
