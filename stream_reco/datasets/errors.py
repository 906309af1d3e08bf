"""The error of a file that cannot be read in the given format."""

from __future__ import annotations

from pathlib import Path


class DatasetError(ValueError):
    """A whole file is of no use; single bad rows are dead letters instead.

    The text names the file, what was expected, why it failed and what to do about it.
    """

    def __init__(self, path: Path | str, what: str, why: str, fix: str) -> None:
        super().__init__(f"{path}: {what}: {why}. {fix}")
        self.path = str(path)


def shortened(value: object, limit: int = 80) -> str:
    """`repr` of a value for an error text, cut to `limit` characters."""
    text = repr(value)
    return text if len(text) <= limit else f"{text[: limit - 1]}…"
