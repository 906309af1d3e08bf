"""Text on its way to a terminal: a control character in it is shown, not obeyed."""

from __future__ import annotations

import typer


def visible(text: str) -> str:
    """The text with control characters escaped, such as ESC as `\\x1b`: a terminal would obey them."""
    if text.isprintable():
        return text
    return "".join(letter if letter.isprintable() else repr(letter)[1:-1] for letter in text)


def visible_lines(text: str) -> str:
    """`visible` for each line."""
    return "\n".join(visible(line) for line in text.split("\n"))


def say(text: str, *, err: bool = False) -> None:
    """Print text to standard output, or to standard error."""
    typer.echo(visible_lines(text), err=err)
