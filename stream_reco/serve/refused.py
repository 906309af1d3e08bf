"""The error of a request that cannot be answered as it is."""

from __future__ import annotations


class RefusedError(ValueError):
    """The request cannot be fulfilled, and repeating it will not help (HTTP 400)."""

    def __init__(self, reason: str, message: str) -> None:
        super().__init__(message)
        self.reason = reason
