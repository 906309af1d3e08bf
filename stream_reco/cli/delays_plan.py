"""Which replays the experiment on delays is made of: the same policies on a real log and on a simulated one."""

from __future__ import annotations

from dataclasses import dataclass

from stream_reco.cli.reproduce_plan import Run, Size

DAYS, WORLD_SEED = 60, 0
WORLD = f"late-clicks-{DAYS}-{WORLD_SEED}.jsonl"
TALKINGDATA = "talkingdata_clicks.csv.gz"
SECOND_SEED = 1
_STEPS = ("training.batch = 32", "training.wait_seconds = 3600")
"""Shows are rare in these logs: steps of the default size would hold two or three examples, and take hours."""
_WAIT = "labels.wait_seconds = 3600"


@dataclass(frozen=True)
class World:
    """A log, how much of it only warms up, the sync interval in seconds, and the label window in days."""

    name: str
    heading: str
    log_format: str
    shown_log: str
    interval: int
    window_days: float
    slates: bool
    """Whether responses tell on other impressions; else `early` infers nothing."""

    @property
    def size(self) -> Size:
        return Size(None, 1000)

    @property
    def runs(self) -> tuple[Run, ...]:
        """One for each policy and correction, the oracle first, and the oracle with another seed last."""
        return (
            self._run("oracle", "oracle"),
            self._run("conclusive", "conclusive"),
            *([self._run("early", "early")] if self.slates else []),
            *(self._run(f"immediate {one}", "immediate", _correction(one)) for one in ("none", "undo", "fnw")),
            *(
                self._run(f"immediate {one} after 1 h", "immediate", _correction(one), _WAIT)
                for one in ("undo", "es-dfm")
            ),
            self._run("oracle other seed", "oracle", f"training.seed = {SECOND_SEED}"),
        )

    def _run(self, title: str, labels: str, *settings: str) -> Run:
        window = f"labels.window_days = {self.window_days}"
        options = ("--sync-interval", str(self.interval), "--labels", labels)
        return Run(f"{self.name} {title}", options, self.name, settings=(window, *_STEPS, *settings))

    def title_of(self, run: Run) -> str:
        """The title of a run without the world's name."""
        return run.title.removeprefix(f"{self.name} ")


def _correction(name: str) -> str:
    return f'training.correction = "{name}"'


WORLDS = (
    World("simulated", "A simulated world", "events", WORLD, 3600, 14.0, True),
    World("talkingdata", "TalkingData", "talkingdata", f"$STREAM_RECO_DATA/{TALKINGDATA}", 600, 0.6, False),
)
"""TalkingData's log spans three and a half days and installs come within 12.9 hours, so its window is 14.4 hours."""
