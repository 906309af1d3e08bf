"""Which replays an experiment is made of, and the command of each."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from stream_reco.terminal.errors import Misuse

LOG = "globo_clicks.parquet"
INTERVALS = ("10", "60", "600", "3600", "never")
SEEDS = (1, 2)
"""Besides 0, which every other run has: three runs of the full loop tell how much chance moves the figures."""
_CONTENT_PARTS = ("item", "user", "cross", "equal", "context", "own", "words", "appeal", "popularity", "activity")
CONTENT_OFF = tuple(f"model.content.{part} = 0.0" for part in _CONTENT_PARTS)
"""Settings under which nothing that is said of items and users is read. Their own class takes msgspec to import."""


@dataclass(frozen=True)
class Run:
    """One replay. `title` names it in tables, `group` the table, `options` are what it has beyond `Size`.

    `settings` are lines of TOML, such as `labels.window_days = 3`, for what differs from the defaults; where there are
    any, they hold the seed too. `command` is the subcommand of `stream-reco`.
    """

    title: str
    options: tuple[str, ...]
    group: str = ""
    seed: int = 0
    settings: tuple[str, ...] = ()
    command: str = "replay"

    @property
    def slug(self) -> str:
        """The title as a part of a file name."""
        return self.title.replace(" ", "-")


@dataclass(frozen=True)
class Size:
    """How much of the log is replayed (None: all of it), and how much of that only to learn (None: a third)."""

    limit: int | None
    warm_up: int | None


def checked_size(size: Size) -> Size:
    """The size itself. Raises `Misuse` where it leaves nothing to evaluate."""
    if size.limit is not None and size.warm_up is not None and size.warm_up >= size.limit:
        raise Misuse(f"--warm-up {size.warm_up} leaves nothing of --limit {size.limit} to evaluate; give a smaller one")
    return size


@dataclass(frozen=True)
class Experiment:
    """`runs`, in the order of tables, are compared with `full`, one of them; `seeds` have other seeds."""

    name: str
    full: Run
    runs: tuple[Run, ...]
    seeds: tuple[Run, ...]

    @property
    def everything(self) -> tuple[Run, ...]:
        """All runs."""
        return (*self.runs, *self.seeds)


def command_of(run: Run, log: str, size: Size, log_format: str = "globo") -> list[str]:
    """The arguments of `stream-reco` for this run on the log at the path `log`."""
    config = ("--config", config_name(run)) if config_text(run) else ()
    limit = () if size.limit is None else ("--limit", str(size.limit))
    warm_up = () if size.warm_up is None else ("--warm-up", str(size.warm_up))
    return [run.command, log, "--format", log_format, *limit, *warm_up, *run.options, *config]


def config_name(run: Run) -> str:
    """The name of the settings file of a run; it has one where `config_text` is not empty."""
    return f"{run.slug}.toml" if run.settings else f"seed-{run.seed}.toml"


def config_text(run: Run) -> str:
    """The contents of that file; empty where all settings are the defaults."""
    if run.settings:
        return "".join(f"{line}\n" for line in run.settings)
    return f"[training]\nseed = {run.seed}\n" if run.seed else ""


def sync() -> Experiment:
    """How quality falls as the sync interval grows."""
    return Experiment("sync", FULL, tuple(_every(interval) for interval in INTERVALS), _seeds())


def ablations() -> Experiment:
    """The loop without each candidate source and without each feature family, one at a time."""
    from stream_reco.model.features.names import FAMILIES, LEARNED_FAMILIES
    from stream_reco.retrieve.sources import SOURCES

    left_out = (*_without("source", list(SOURCES)), *_without("features", [*FAMILIES, *LEARNED_FAMILIES]))
    return Experiment("ablations", FULL, (FULL, *left_out), _seeds())


def _every(interval: str) -> Run:
    return Run(f"sync {interval}", ("--sync-interval", interval))


def _without(kind: str, names: Sequence[str]) -> tuple[Run, ...]:
    return tuple(Run(f"without {kind} {name}", (*FULL.options, f"--without-{kind}", name), kind) for name in names)


def _seeds() -> tuple[Run, ...]:
    return tuple(Run(f"seed {seed}", FULL.options, seed=seed) for seed in SEEDS)


FULL = _every("60")
"""What the others are compared with."""
EXPERIMENTS: Mapping[str, Callable[[], Experiment]] = {"sync": sync, "ablations": ablations}
