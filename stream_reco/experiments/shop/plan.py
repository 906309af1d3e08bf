"""What the experiment on closed-loop worlds is made of: arms, the loop with parts switched off, worlds, seeds."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from stream_reco.experiments.runs.plan import CONTENT_OFF, Run, Size, config_name, config_text
from stream_reco.experiments.runs.result_store import RunStore

SEED_COUNT = 5
WORLD_NAMES = ("shop", "news", "jobs")
"""Those of `WORLD_PLANS`, which takes NumPy to import: commands are listed without it."""
OURS = "ours"
TITLES: Mapping[str, str] = {
    "random": "random",
    "popular": "most popular",
    "neighbours": "item neighbours, ε = 0.1",
    "thompson": "Thompson sampling per item",
    OURS: "this loop, default settings",
    "linucb": "LinUCB on declared tastes",
    "ridge": "ridge on category × declared taste",
    "oracle": "oracle",
}
"""Arms in the order of tables: those that know ids alone first, then those that read features, then the truth."""


@dataclass(frozen=True)
class EngineVariant:
    """The loop with settings other than the default ones, as lines of TOML."""

    title: str
    settings: tuple[str, ...]


VARIANTS = (
    EngineVariant("no exploration", ("slate.explore = 0.0",)),
    EngineVariant("labels conclusive", ('labels.policy = "conclusive"',)),
    EngineVariant("without content", CONTENT_OFF),
    EngineVariant("without equal values", ("model.content.equal = 0.0",)),
    EngineVariant("without a user's own", ("model.content.own = 0.0",)),
)
"""One line each; they are run in the shop alone."""
_VARIANT_WORLD = "shop"


@dataclass(frozen=True)
class WorldArm:
    """One row of a world's table: an arm, or a variant of the loop, over several seeds."""

    world: str
    arm: str
    title: str
    settings: tuple[str, ...] = ()

    def run(self, seed: int) -> Run:
        """The run of one seed."""
        title = f"{self.world} {self.arm}{f' {self.title}' if self.settings else ''} {seed}"
        options = (self.world, "--arm", self.arm, "--seed", str(seed))
        return Run(title, options, self.world, settings=self.settings, command="simulate")


def world_arms(world: str) -> tuple[WorldArm, ...]:
    """The rows of a world's table."""
    arms = tuple(WorldArm(world, arm, title) for arm, title in TITLES.items())
    return arms + (variant_arms() if world == _VARIANT_WORLD else ())


def variant_arms() -> tuple[WorldArm, ...]:
    """The rows of the loop with other settings."""
    return tuple(WorldArm(_VARIANT_WORLD, OURS, one.title, one.settings) for one in VARIANTS)


def shop_runs(seeds: int) -> Iterator[Run]:
    """All runs: whole worlds seed by seed, so that what is finished early covers everything."""
    for seed in range(seeds):
        for world in WORLD_NAMES:
            yield from (one.run(seed) for one in world_arms(world))


class WorldStore(RunStore):
    """Results of runs in simulated worlds, by the numbers of the worlds; of the first `requests` requests, or all."""

    def __init__(self, folder: Path, requests: int | None) -> None:
        """Raises `Failure` where the folder cannot be created."""
        from stream_reco.simulate.closed_loop_worlds import WORLD_PLANS

        super().__init__(folder, Size(requests, None), hashlib.sha256(repr(WORLD_PLANS).encode()).hexdigest())

    def command_line(self, run: Run, *, shown: bool) -> list[str]:
        """The command, which is shown as it is run."""
        del shown  # it reads no file whose path is this machine's
        requests = () if self.size.limit is None else ("--requests", str(self.size.limit))
        config = ("--config", config_name(run)) if config_text(run) else ()
        return [run.command, *run.options, *requests, *config]
