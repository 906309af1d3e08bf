"""The release of Kafka that a broker runs: brokers do not report it, but they report which requests they support."""

from __future__ import annotations

from collections.abc import Mapping

# The newest version of Produce (request 0) that a release brought.
_RELEASES = {13: "4.1", 12: "4.0", 11: "3.8", 10: "3.7", 9: "2.8", 8: "2.4"}
OLDEST = "2.4"
"""The oldest release that the clients support."""


def release_of(versions: Mapping[int, tuple[int, int]]) -> str | None:
    """The oldest release that supports these requests (`probe` returns them); None if older than `OLDEST`."""
    newest = versions.get(0, (0, 0))[1]
    return next((release for version, release in _RELEASES.items() if newest >= version), None)
