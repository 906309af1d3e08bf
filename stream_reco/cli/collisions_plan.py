"""Which runs the experiment on collisions is made of: tables of several sizes on a log of films and on one of news."""

from __future__ import annotations

from dataclasses import dataclass

from stream_reco.cli.reproduce_plan import LOG, SEEDS, Run, Size

FILMS = "ml100k"
_STEPS = ("training.hard_negatives = 8", "training.popular_negatives = 8", "training.wait_seconds = 3600")
"""A quarter of the negatives and only full steps: three times as many positives in the same time, and it is those that
are rare."""


@dataclass(frozen=True)
class Shelf:
    """A log, and the sizes of tables that it is run with: 2^n rows for users and as many for items."""

    name: str
    heading: str
    log_format: str
    log: str
    """Its name in the folder of logs."""
    bits: tuple[int, ...]
    limit: int | None

    @property
    def full(self) -> Run:
        """The collisionless table, which the others are compared with."""
        return Run(f"{self.name} collisionless", (), self.name, settings=_STEPS, command="learn")

    @property
    def hashed(self) -> tuple[Run, ...]:
        """Tables with collisions, the largest first."""
        return tuple(
            Run(f"{self.name} hashed {bits}", ("--hash-bits", str(bits)), self.name, settings=_STEPS, command="learn")
            for bits in self.bits
        )

    @property
    def seeds(self) -> tuple[Run, ...]:
        """The collisionless table with other weights at first, rows at first and negatives."""
        return tuple(
            Run(f"{self.full.title} seed {seed}", (), self.name, command="learn",
                settings=(*_STEPS, f"training.seed = {seed}"))
            for seed in SEEDS
        )  # fmt: skip

    @property
    def runs(self) -> tuple[Run, ...]:
        """All of them."""
        return (self.full, *self.hashed, *self.seeds)

    def size(self, limit: int | None, warm_up: int | None) -> Size:
        """How much is run where people ask for these, None being their leaving it to us."""
        return Size(self.limit if limit is None else limit, warm_up)

    def title_of(self, run: Run) -> str:
        """The title of a run in tables and plots."""
        if run in self.hashed:
            return power(int(run.options[-1]))
        return run.title.removeprefix(f"{self.name} ")


def power(bits: int) -> str:
    """2ⁿ, as typography has it."""
    return "2" + str(bits).translate(str.maketrans("0123456789", "⁰¹²³⁴⁵⁶⁷⁸⁹"))


SHELVES = (
    Shelf("ml100k", "MovieLens 100k", "movielens", FILMS, (12, 10, 8, 6), None),
    Shelf("globo", "news clicks", "globo", LOG, (16, 14, 12, 10, 8), 50_000),
)
