"""What the experiment on collisions compares: tables of several sizes on a log of films and on one of news."""

from __future__ import annotations

from dataclasses import dataclass

from stream_reco.experiments.runs.plan import LOG, SEEDS, Experiment, Run, Size, checked_size

FILMS = "ml100k"
WINDOWS = 20
"""Equal parts of the events, whose figures are those over time."""
SETTINGS = ("training.hard_negatives = 8", "training.popular_negatives = 8", "training.wait_seconds = 3600")
"""A quarter of the negatives, and only full steps: three times as many positives, the rare ones, in the same time."""


@dataclass(frozen=True)
class CollisionLog:
    """A log, and the sizes of tables that it is run with: 2^n rows for users and as many for items."""

    name: str
    heading: str
    log_format: str
    log: str
    """Its name in the folder of logs."""
    bits: tuple[int, ...]
    limit: int | None

    @property
    def run(self) -> Run:
        """The one pass over the log in which all tables are trained in parallel."""
        hashed = (option for bits in self.bits for option in ("--hash-bits", str(bits)))
        seeds = (option for seed in SEEDS for option in ("--other-seed", str(seed)))
        return Run(f"collisions {self.name}", (*hashed, *seeds), settings=SETTINGS, command="learn")

    @property
    def experiment(self) -> Experiment:
        """What is compared, in the order of the run's variants."""
        full = Run("collisionless", ())
        hashed = (Run(power(bits), (), "hashed") for bits in self.bits)
        seeds = (Run(f"collisionless, seed {seed}", (), seed=seed) for seed in SEEDS)
        return Experiment(self.name, full, (full, *hashed), tuple(seeds))

    def size(self, limit: int | None, warm_up: int | None) -> Size:
        """How much is run, with the flags `limit` and `warm_up` (None: not given).

        Raises `Misuse` where that leaves nothing to evaluate.
        """
        return checked_size(Size(self.limit if limit is None else limit, warm_up))


def power(bits: int) -> str:
    """2ⁿ, with a superscript."""
    return "2" + str(bits).translate(str.maketrans("0123456789", "⁰¹²³⁴⁵⁶⁷⁸⁹"))


COLLISION_LOGS = (
    CollisionLog("ml100k", "MovieLens 100k", "movielens", FILMS, (12, 10, 8, 6), None),
    CollisionLog("globo", "News clicks", "globo", LOG, (16, 14, 12, 10, 8), 180_000),
)
