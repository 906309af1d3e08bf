"""Settings of the interests room."""

from dataclasses import dataclass, fields

DAY_MS = 86_400_000


@dataclass(frozen=True, slots=True)
class InterestSettings:
    """How a user's actions become interests.

    `alpha` is a height of the Ward tree in SciPy's scale, for vectors of length 1: two single items merge when their
    distance is at most `alpha`, that is when their cosine is at least 1 − alpha²/2 (0.28 at 1.2); two large clusters of
    one and the same spread (mean cosine c inside) merge at about √(2 − 2c) whatever their size.
    """

    alpha: float = 1.2
    decay_per_day: float = 0.01
    """λ of the importance Σ exp(−λ·age in days)."""
    recent: int = 20
    """Actions that are clustered anew with every action."""
    samples: int = 3
    """Medoids that ask for candidates in one request."""
    max_clusters: int = 16
    """Interests of one user at most; beyond it the nearest ones merge, though further apart than alpha."""
    history: int = 1000
    """Actions of a user that the whole-history pass looks at."""
    history_days: float = 90.0
    """Older actions, and interests without a later one, count no more."""

    def __post_init__(self) -> None:
        for field in fields(self):
            value = getattr(self, field.name)
            low = 1 if field.type in (int, "int") else 0
            if not low <= value < float("inf"):
                raise ValueError(f"interests.{field.name} is {value!r}; it must be a finite number of at least {low}")
        if self.history < self.recent:
            raise ValueError(
                f"interests.history is {self.history}, less than interests.recent ({self.recent}): the whole-history "
                "pass would see less than a single action does; raise history"
            )

    @property
    def decay_per_ms(self) -> float:
        """λ per millisecond."""
        return self.decay_per_day / DAY_MS

    @property
    def horizon_ms(self) -> int:
        """Age in milliseconds beyond which nothing counts."""
        return int(self.history_days * DAY_MS)
