"""Where a value came from."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal


@dataclass(frozen=True, slots=True)
class Origin:
    """The kind of source and its name: a file's path, an environment variable, a flag; a default has no name."""

    kind: Literal["default", "file", "environment", "flag"]
    name: str = ""

    def __str__(self) -> str:
        return f"{self.kind} {self.name}".rstrip()


DEFAULT = Origin("default")


@dataclass(frozen=True, slots=True)
class Given:
    """A value that a source gives to one setting; `text` where it is text whose type is yet to be found."""

    section: str
    name: str
    value: object
    origin: Origin
    text: bool = False

    @property
    def key(self) -> str:
        """The spelling in files and messages: `section.name`."""
        return f"{self.section}.{self.name}"
