"""What the experiment on cold starts is made of: films, simulated articles, fashion; with content and without."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from stream_reco.experiments.runs.plan import CONTENT_OFF, Run, Size, checked_size
from stream_reco.experiments.runs.result_store import ResultStore

COMMAND = "cold-start"
FILMS, FASHION = "ml100k", "open_bandit"
OURS, POPULAR = "engine", "popularity"
"""Rankings of a walk: of the loop, and by how many positive actions each item has had."""
WITH, NARROWER, WITHOUT = "with content", "words as categories", "ids alone"
"""Runs: with the default settings, with `NARROWER_SETTINGS`, and with content switched off."""
NARROWER_SETTINGS = ("model.content.words = 0.5",)
"""A user's own taste for words goes no further than that for categories."""
_SETTINGS: Mapping[str, tuple[str, ...]] = {WITH: (), NARROWER: NARROWER_SETTINGS, WITHOUT: CONTENT_OFF}


@dataclass(frozen=True)
class ColdStartLog:
    """A log, and how much of it is run by default."""

    name: str
    heading: str
    log_format: str
    shown_log: str
    size: Size

    def run(self, title: str) -> Run:
        """The run with content or without it."""
        return Run(f"{self.name} {title}", (), self.name, settings=_SETTINGS[title], command=COMMAND)

    @property
    def titles(self) -> tuple[str, ...]:
        """What is run: of a log of which few impressions are clicked no settings can be told apart."""
        return (WITH, WITHOUT) if self.log_format == "openbandit" else (WITH, NARROWER, WITHOUT)

    @property
    def runs(self) -> tuple[Run, ...]:
        """One for each title."""
        return tuple(self.run(title) for title in self.titles)


WALKS = (
    ColdStartLog("films", "Films", "movielens", f"$STREAM_RECO_DATA/{FILMS}/ratings.csv.gz", Size(None, 10_000)),
    ColdStartLog("articles", "Articles with titles", "events", "articles-6000-0.jsonl", Size(None, 2_000)),
)
"""Logs in which each action is ranked before it is learned from; warm-ups are in actions."""
BANDIT = ColdStartLog(
    "fashion", "Fashion", "openbandit", f"$STREAM_RECO_DATA/{FASHION}/impressions.parquet", Size(None, None)
)
COLD_START_LOGS = (*WALKS, BANDIT)


def cold_start_stores(
    data: Path, work: Path, limit: int | None, warm_up: int | None, *, fresh: bool = False
) -> dict[ColdStartLog, ResultStore]:
    """A store for each log; that of articles is generated if missing or `fresh`.

    `limit` and `warm_up` (None: not given) are for films and articles. Raises `Failure` where a log cannot be read.
    """
    stores = {}
    for source in COLD_START_LOGS:
        size = source.size
        if source in WALKS:
            size = Size(size.limit if limit is None else limit, size.warm_up if warm_up is None else warm_up)
        path = _articles(work / source.shown_log, fresh=fresh) if source is WALKS[1] else _path(data, source)
        stores[source] = ResultStore(work, path, checked_size(size), source.log_format, source.shown_log)
    return stores


def _path(data: Path, source: ColdStartLog) -> Path:
    return data / source.shown_log.removeprefix("$STREAM_RECO_DATA/")


def _articles(path: Path, *, fresh: bool) -> Path:
    from stream_reco.experiments.cold_start.articles import ArticlePlan, write_article_log
    from stream_reco.terminal.errors import Failure

    if fresh or not path.exists():
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            write_article_log(ArticlePlan(), 0, path)
        except OSError as error:
            why = f"cannot write {error.filename}: {error.strerror}; name another folder with --work"
            raise Failure(why) from error
    return path
