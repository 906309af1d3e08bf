"""The output of the demo: a live table on a terminal, a line every few seconds elsewhere."""

from __future__ import annotations

from collections.abc import Mapping

from rich.console import Console
from rich.live import Live
from rich.table import Table

from stream_reco.cli.demo.simulated_users import RECENT, DemoScore, SimulatedUsers
from stream_reco.cli.demo.unclicked_items import UnclickedItem

_LINE_SECONDS = 5.0
_BARS = ("served", "random", "best possible")


class DemoView:
    """Shows the score, the last new item and the status of the server; a context manager."""

    def __init__(self, console: Console, url: str) -> None:
        self._console, self._url = console, url
        self._live = Live(console=console, auto_refresh=False) if console.is_terminal else None
        self._shown = -_LINE_SECONDS
        self._named: UnclickedItem | None = None

    def update(self, seconds: float, users: SimulatedUsers, status: Mapping[str, object]) -> None:
        """Show the state after `seconds`."""
        if self._live is not None:
            self._live.update(self._table(seconds, users, status), refresh=True)
        elif seconds - self._shown >= _LINE_SECONDS:
            self._shown = seconds
            self._console.print(self._line(seconds, users.score, status), soft_wrap=True)
            if users.new_items.latest not in (None, self._named):
                self._named = users.new_items.latest
                self._console.print(f"  {self._named.in_words()}", soft_wrap=True)

    def _table(self, seconds: float, users: SimulatedUsers, status: Mapping[str, object]) -> Table:
        score, new_items = users.score, users.new_items
        served, by_chance, best = score.means()
        table = Table("", "", box=None, show_header=False, pad_edge=False)
        table.add_row("time", f"{seconds:,.0f} s")
        for name in ("events", "examples", "version", "rows"):
            table.add_row(name, f"{status[name]:,}")
        table.add_row("slates", f"{score.requests:,}")
        table.add_row(f"expected clicks per slate, last {RECENT:,}", "")
        shares = (*score.shares(), 1.0)
        for name, value, share in zip(_BARS, (served, by_chance, best), shares, strict=True):
            table.add_row(f"  {name}", f"{value:.3f}  {share:4.0%}  {_bar(share)}")
        if new_items.latest is not None:
            table.add_row("", new_items.latest.in_words())
            table.add_row("", new_items.in_words())
        table.add_row("dashboard", f"{self._url}/dashboard")
        table.add_row("", "Ctrl-C to stop")
        return table

    def _line(self, seconds: float, score: DemoScore, status: Mapping[str, object]) -> str:
        return (
            f"{seconds:,.0f} s: {status['events']:,} events, {status['examples']:,} examples, version"
            f" {status['version']}, {score.requests:,} slates; expected clicks per slate: {score.in_words()}"
        )

    def __enter__(self) -> DemoView:
        if self._live is not None:
            self._live.start()
        return self

    def __exit__(self, *_: object) -> None:
        if self._live is not None:
            self._live.stop()


def _bar(share: float) -> str:
    return "█" * round(30 * share)
