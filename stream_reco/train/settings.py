"""Settings of the train room."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

Correction = Literal["auto", "none", "undo", "fnw", "es-dfm"]

_MOST_TRAINERS = 64
"""Each reads all events, so that beyond a few nothing is gained."""


@dataclass(frozen=True)
class TrainSettings:
    """How the model learns."""

    seed: int = 0
    batch: int = 16
    """Examples that a training step waits for. Small steps follow the stream more closely."""
    wait_seconds: float = 5.0
    """Stream time after which a training step waits no longer for a full batch. A live server never waits over 1 s."""
    learning_rate: float = 1e-3
    """Of the dense weights (Adam)."""
    average_steps: int = 100
    """Steps over which the dense weights are averaged before they are published (Polyak and Juditsky 1992); 1: none."""
    row_learning_rate: float = 0.4
    """Of the embedding rows (Adagrad)."""
    hard_negatives: int = 40
    """Negatives drawn from the candidates that the signals propose for the same request."""
    popular_negatives: int = 20
    """Negatives drawn from all active items, with probability ∝ √activity."""
    uniform_negatives: int = 4
    """Negatives drawn from all items, whether anybody acted on them or not."""
    correction: Correction = "auto"
    """What makes up for labels that were wrong at first: `undo` takes their loss back, `fnw` and `es-dfm` weigh what
    was presumed and undo the rest, `none` does nothing; `auto` weighs by the measured delays, learns from what comes
    within an hour, and what it leaves is measured live and corrected in what is served."""
    row_idle_days: float = 90.0
    """Rows of the embedding tables leave after this long without training."""
    table_megabytes: float = 0.0
    """Memory (10⁶ bytes) that each embedding table takes at most: rows seen long ago and seldom make way for new ones
    there. 0: no bound."""
    user_sightings: int = 1
    """A user has a row of their own from this many examples on, within a million examples of such users; until then one
    that is learned from all of them. 2 and more spares memory where most people come once."""
    threads: int = 1
    """Threads that multiply matrices, in the whole process. With more than one a sum may be taken in another order the
    next time, and a restart no longer ends with the very bits of an undisturbed run."""
    checkpoint_events: int = 200_000
    """A checkpoint is written after this many events; a restart replays at most as many, and the log keeps twice as
    many."""
    checkpoint_minutes: float = 10.0
    """The loop in one process writes one after this long, too, where anything is new. By then no byte of a deleted user
    is left on the disk."""
    checkpoint_seconds: float = 120.0
    """A trainer over Kafka writes one after this long, too, where it has learned anything."""
    checkpoint_dir: str = ""
    """Folder of a trainer over Kafka, which all that may lead share; empty: not set."""
    trainers: int = 1
    """Trainers over Kafka that learn one model together, each from the users of its own partitions; at most
    `kafka.partitions`."""
    trainer: int = 0
    """Which of them a process is, from 0, which publishes; processes of one number stand by for each other."""

    def __post_init__(self) -> None:
        if not (self.table_megabytes == 0 or 4 <= self.table_megabytes < 1e9):
            raise ValueError(
                f"table_megabytes is {self.table_megabytes}: it must be 0, for no bound, or 4 and more, or few rows fit"
            )
        if not 1 <= self.trainers <= _MOST_TRAINERS:
            raise ValueError(f"trainers is {self.trainers}: it must be 1 to {_MOST_TRAINERS}")
        if not 0 <= self.trainer < self.trainers:
            raise ValueError(
                f"trainer is {self.trainer}, and trainers is {self.trainers}: it must be 0 to {self.trainers - 1}"
            )
        if not 1 <= self.user_sightings <= 255:
            raise ValueError(f"user_sightings is {self.user_sightings}: it must be 1, for a row at once, to 255")
        if not self.checkpoint_minutes > 0:
            raise ValueError(f"checkpoint_minutes is {self.checkpoint_minutes}: it must be above 0; 10 is the default")
        if not self.checkpoint_seconds > 0:
            raise ValueError(f"checkpoint_seconds is {self.checkpoint_seconds}: it must be above 0; 120 is the default")
