"""The registry that all metrics enter, and the bounds of their histograms."""

from __future__ import annotations

from typing import Final

from prometheus_client import CollectorRegistry, ProcessCollector

REGISTRY: Final = CollectorRegistry(auto_describe=True)

# process_resident_memory_bytes, process_cpu_seconds_total, open files: read at scrape time, Linux only.
ProcessCollector(registry=REGISTRY)

NEWEST: Final = "mostrecent"
"""Of several processes that set a gauge, what was set last is shown: most are set by one of them, or are equal."""
LIVE_SUM: Final = "livesum"
"""Processes that run add up."""
FAST: Final = (0.0001, 0.00025, 0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5)
"""Bounds in seconds of what a request or a training step waits for: 0.1 ms to 2.5 s."""
SLOW: Final = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 120.0)
"""Bounds in seconds of what runs in the background: 5 ms to 2 min."""
UNTIL_SERVED: Final = (0.05, 0.1, 0.25, 0.5, 1.0, 1.5, 2.0, 3.0, 5.0, 10.0, 30.0, 60.0, 120.0, 300.0)
"""Bounds in seconds from an event or a publication until it is served: finest around the 2 s that are promised."""
BYTES: Final = tuple(float(4**power * 1024) for power in range(11))
"""Bounds in bytes: 1 KiB to 1 GiB, each four times the one before."""
