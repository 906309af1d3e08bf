"""Pages of Markdown as tests read them: fenced blocks, inline code, tables, links."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path

ROOT = Path(__file__).parents[1]
_FENCE = re.compile(r"^```(\w*)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
_INLINE = re.compile(r"`([^`\n]+)`")
_LINK = re.compile(r"\]\(([^)\s]+)\)")
_RULE = re.compile(r"^\|[-| ]+\|$")


@dataclass(frozen=True)
class Block:
    """A fenced block and the language that it is said to be in."""

    language: str
    text: str
    line: int


@dataclass(frozen=True)
class Page:
    """One page; `name` is its path from the root of the project."""

    name: str
    text: str

    @property
    def blocks(self) -> list[Block]:
        """The fenced blocks in their order."""
        return [
            Block(found[1], found[2], self.text.count("\n", 0, found.start()) + 1)
            for found in _FENCE.finditer(self.text)
        ]

    @property
    def prose(self) -> str:
        """The page without its fenced blocks."""
        return _FENCE.sub("", self.text)

    @property
    def inline(self) -> list[str]:
        """All inline code."""
        return _INLINE.findall(self.prose)

    @property
    def code(self) -> list[str]:
        """Inline code and shell lines, a line that goes on counted as one."""
        shell = [block.text.replace("\\\n", " ") for block in self.blocks if block.language == "sh"]
        return self.inline + [line for text in shell for line in text.splitlines()]

    @property
    def links(self) -> list[str]:
        """The links to files of the project, without the place in them."""
        return [link.partition("#")[0] for link in _LINK.findall(self.prose) if "://" not in link]

    @property
    def anchors(self) -> set[str]:
        """What links may name within the page: its headings, in GitHub's spelling."""
        headings = re.findall(r"^#+ (.+)$", self.prose, re.MULTILINE)
        return {re.sub(r"[^\w -]", "", heading.lower()).replace(" ", "-") for heading in headings}

    @property
    def places(self) -> list[tuple[str, str]]:
        """The links into a page: the file, "" for this one, and the heading."""
        parts = [link.partition("#") for link in _LINK.findall(self.prose) if "://" not in link]
        return [(file, anchor) for file, mark, anchor in parts if mark]

    def table(self, first: str) -> list[list[str]]:
        """The rows of the table whose first heading is `first`, as cells."""
        lines = iter(self.prose.splitlines())
        for line in lines:
            if line.startswith(f"| {first} |") and _RULE.match(next(lines, "")):
                return [_cells(row) for row in _rows(lines)]
        raise AssertionError(f"{self.name} has no table that begins with {first!r}")


def _rows(lines: Iterator[str]) -> Iterator[str]:
    for line in lines:
        if not line.startswith("|"):
            return
        yield line


def _cells(row: str) -> list[str]:
    return [cell.strip() for cell in row.strip().strip("|").split("|")]


def bare(cell: str) -> str:
    """A cell without the marks of code."""
    return cell.strip("`")


@cache
def page(name: str) -> Page:
    """A page by its path from the root; the same object each time, so that tests may ask which one they have."""
    return Page(name, (ROOT / name).read_text(encoding="utf-8"))


def pages() -> list[Page]:
    """The pages at the top and all of docs."""
    paths = (*sorted(ROOT.glob("*.md")), *sorted((ROOT / "docs").rglob("*.md")))
    return [page(str(path.relative_to(ROOT))) for path in paths]
