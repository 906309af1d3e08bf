"""Which replays the experiment on delays is made of: the same policies on a real log and on a simulated one."""

from __future__ import annotations

from dataclasses import dataclass

from stream_reco.experiments.runs.plan import Run, Size

DAYS = 60
TALKINGDATA = "talkingdata_clicks.csv.gz"
SECOND_SEED = 1
MORE_SEEDS = (1, 2)
"""Of simulated worlds besides 0: between two runs on one world, chance is as large as the effects to measure."""
CORRECTIONS, AFTER_AN_HOUR = ("none", "undo", "fnw"), ("undo", "es-dfm")
_COMPARED = ("oracle", *(f"immediate {one}" for one in CORRECTIONS), "immediate es-dfm after 1 h")
_STEPS = ("training.batch = 32", "training.wait_seconds = 3600")
"""Impressions are rare in these logs: steps of the default wait would hold two or three examples, and take hours."""
_WAIT = "labels.wait_seconds = 3600"


@dataclass(frozen=True)
class DelayWorld:
    """A log, how much of it only warms up, the sync interval in seconds, and the label window in days."""

    name: str
    heading: str
    log_format: str
    shown_log: str
    interval: int
    window_days: float
    slates: bool
    """Whether a response says something about other impressions; else `early` infers nothing."""
    seed: int = 0
    """Of a simulated world, and of the model where it is not 0."""

    @property
    def size(self) -> Size:
        return Size(None, 1000)

    @property
    def runs(self) -> tuple[Run, ...]:
        """One for each policy and correction, the oracle first, and the oracle with another seed last."""
        return (
            self._run("oracle", "oracle"),
            self._run("conclusive", "conclusive"),
            self._run("auto", "auto"),
            *([self._run("early", "early")] if self.slates else []),
            *self._immediate(),
            self._run("oracle other seed", "oracle", f"training.seed = {SECOND_SEED}"),
        )

    @property
    def compared(self) -> tuple[Run, ...]:
        """Those that are run on every simulated world: the oracle, and what corrects presumed negatives."""
        return tuple(run for run in self.runs if self.title_of(run) in _COMPARED)

    def _immediate(self) -> tuple[Run, ...]:
        return (
            *(self._run(f"immediate {one}", "immediate", _correction(one)) for one in CORRECTIONS),
            *(self._run(f"immediate {one} after 1 h", "immediate", _correction(one), _WAIT) for one in AFTER_AN_HOUR),
        )

    def _run(self, title: str, labels: str, *settings: str) -> Run:
        window = f"labels.window_days = {self.window_days}"
        if self.seed:
            settings = (*settings, f"training.seed = {self.seed}")
        options = ("--sync-interval", str(self.interval), "--labels", labels)
        return Run(f"{self.name} {title}", options, self.name, settings=(window, *_STEPS, *settings))

    def title_of(self, run: Run) -> str:
        """The title of a run without the world's name."""
        return run.title.removeprefix(f"{self.name} ")


def _correction(name: str) -> str:
    return f'training.correction = "{name}"'


def _simulated(seed: int) -> DelayWorld:
    name = f"simulated {seed}" if seed else "simulated"
    return DelayWorld(
        name, "A simulated world", "events", f"minutes-to-weeks-{DAYS}-{seed}.jsonl", 3600, 14.0, True, seed
    )


WORLDS = (
    _simulated(0),
    DelayWorld("talkingdata", "TalkingData", "talkingdata", f"$STREAM_RECO_DATA/{TALKINGDATA}", 600, 0.6, False),
)
"""TalkingData's log spans three and a half days and installs come within 12.9 hours, so its window is 14.4 hours."""
MORE_WORLDS = tuple(_simulated(seed) for seed in MORE_SEEDS)
