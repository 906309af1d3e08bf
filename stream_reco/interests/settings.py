"""Settings of the interests room."""

from dataclasses import dataclass, fields

DAY_MS = 86_400_000


@dataclass(frozen=True, slots=True)
class InterestSettings:
    """How a user's actions become interests.

    `alpha` is a height of the Ward tree in SciPy's scale, for vectors of length 1. Two single items merge when their
    distance is at most `alpha`; unrelated ones are √2 apart. Halves of one topic whose items have the mean cosine c
    merge at √(2 − 2c) or somewhat above, the higher the more actions. On 2–6 random topics and 20–36 actions 1.4 finds
    the topics from c = 0.5 up (adjusted Rand index ≥ 0.96), 1.2 from 0.7 up. The default is the finer one all the same:
    a topic in two interests still gets its share of the samples, but two topics in one have lost a medoid until the
    next whole-history pass.
    """

    alpha: float = 1.2
    decay_per_day: float = 0.01
    """λ of the importance Σ exp(−λ·age in days)."""
    recent: int = 20
    """Actions that are clustered again with every action."""
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
