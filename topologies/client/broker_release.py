"""Which release of Kafka answers: brokers do not say, but they say which requests they know."""

from __future__ import annotations

from collections.abc import Mapping

# The newest version of Produce (request 0) that a release brought.
_RELEASES = {13: "4.1", 12: "4.0", 11: "3.8", 10: "3.7", 9: "2.8", 8: "2.4"}
OLDEST = "2.4"
"""What the clients are made for."""


def release_of(versions: Mapping[int, tuple[int, int]]) -> str | None:
    """The oldest release that knows such requests (`probe` gives them); None if it is older than `OLDEST`."""
    newest = versions.get(0, (0, 0))[1]
    return next((release for version, release in _RELEASES.items() if newest >= version), None)
