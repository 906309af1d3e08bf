"""The one console of all commands: data is shown as it is, never taken for markup, emoji codes or control sequences."""

from __future__ import annotations

from typing import Any

from rich.console import Console
from rich.text import Text

from stream_reco.terminal.printing import visible_lines


class DataConsole(Console):
    """Shows every string, cells of tables among them, verbatim; for styles give it `rich.text.Text`."""

    def __init__(self, width: int | None = None) -> None:
        """`width` in characters; that of the terminal by default."""
        super().__init__(width=width, markup=False, emoji=False, highlight=False)

    def render_str(self, text: str, **options: Any) -> Text:
        """The text as it is, whatever styles it would ask for."""
        return super().render_str(visible_lines(text), **{**options, "markup": False, "emoji": False})
