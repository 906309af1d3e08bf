"""What people should know of a log: its bad rows by line, columns of mixed ids, and too many duplicates."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING

from stream_reco.terminal.errors import Failure
from stream_reco.terminal.printing import say

if TYPE_CHECKING:
    from rich.console import Console

    from stream_reco.datasets import Log

_SUSPICIOUS = 0.5
"""A share of duplicates above this is a file that was sent before, or ids that are not what they are taken for."""


def print_bad_rows(console: Console, log: Log) -> None:
    """Print the first bad rows of each reason with their lines, how many there are besides, and notes on the others."""
    dead = log.dead_letters
    lines = [f"  dead letter {letter.reason} {letter.where}: {letter.text}" for letter in dead.examples]
    shown = Counter(letter.reason for letter in dead.examples)
    lines += [
        f"  dead letter {reason}: and {count - shown[reason]:,} more"
        for reason, count in dead.counts.items()
        if count > shown[reason]
    ]
    for line in (*lines, *(f"  note {note}" for note in dead.notes)):
        console.print(line, soft_wrap=True)


def check_duplicates(log: Log, duplicates: int, events: int, *, expected: bool) -> None:
    """Warn where more than half of `events` were duplicates; raise `Failure` unless that is expected."""
    if duplicates <= _SUSPICIOUS * events:
        return
    warning = (
        f"{duplicates:,} of {events:,} events of {log.name} had been taken before and changed nothing: either the file"
        " was sent before, or different events of it have the same id or, without a time, the same cells"
    )
    if not expected:
        raise Failure(f"{warning}; if that is meant, say --expect-duplicates")
    say(f"stream-reco: warning: {warning}", err=True)
