"""The report of a replay as one JSON object, with what is needed to reproduce it."""

from __future__ import annotations

import resource
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import fields, is_dataclass, replace
from pathlib import Path

from stream_reco.config import Settings
from stream_reco.config.secret import visible
from stream_reco.experiments.replay.tally import ReplayTally
from stream_reco.experiments.replay.view import speeds_so_far
from stream_reco.metrics import REGISTRY

PACKAGE = Path(__file__).parents[2]
"""The folder `stream_reco`: figures are those of the commit that holds all of it."""


def replay_report(tally: ReplayTally, status: Mapping[str, object], settings: Settings) -> dict[str, object]:
    """The report; `status` is the engine's, and `settings` those that it ran with."""
    speeds = speeds_so_far(tally)
    learning = max(tally.seconds["ingest"], 1e-9)
    examples = status["examples"]
    assert isinstance(examples, int)
    return {
        "events": tally.events,
        "duplicates": tally.duplicates,
        **tally.ranking.as_dict(),
        **tally.quality.as_dict(),
        "negatives": None if not tally.quality.count else "sampled" if tally.sampled else "shown",
        "examples": examples,
        "freshness_seconds": tally.freshness.as_dict(),
        "syncs": tally.syncs,
        "seconds": round(tally.elapsed, 3),
        "seconds_by_stage": {name: round(seconds, 3) for name, seconds in tally.seconds.items()},
        "events_per_second": round(speeds["events"], 1),
        "ingest_per_second": round(speeds["ingest"], 1),
        "recommend_per_second": round(speeds["recommend"], 1) if tally.ranking.count else None,
        "train_examples_per_second": round(examples / learning, 1),
        "rows": status["rows"],
        "items": status.get("items"),
        "users": status.get("users"),
        "peak_rss_bytes": peak_rss_bytes(),
        "dead_letters": dict(tally.dead_letters),
        **commit_of(PACKAGE),
        "settings": as_json(_resolved(settings)),
    }


def _resolved(settings: Settings) -> Settings:
    """With the model's defaults written out."""
    model = settings.model
    return replace(settings, model=replace(model, settings=model.resolved))


def failed_events() -> int:
    """Events of this process that were accepted but could not be learned from, which is a bug."""
    return int(REGISTRY.get_sample_value("stream_reco_events_rejected_total", {"reason": "internal"}) or 0)


def peak_rss_bytes() -> int:
    """Peak resident memory of this process; macOS reports bytes, Linux kilobytes."""
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == "darwin" else peak * 1024


def commit_of(package: Path) -> dict[str, object]:
    """The commit of the checkout that holds a Python package, and whether files in it differ from that commit.

    Both are None where the package is in no checkout: an installed copy may lie within the checkout of something else.
    """
    try:
        _git(package, "ls-files", "--error-unmatch", str(package / "__init__.py"))
        commit = _git(package, "rev-parse", "HEAD")
        changed = bool(_git(package, "status", "--porcelain", "--", str(package)))
    except (OSError, subprocess.CalledProcessError):
        return {"git_commit": None, "git_changed": None}
    return {"git_commit": commit, "git_changed": changed}


def _git(folder: Path, *arguments: str) -> str:
    done = subprocess.run(["git", "-C", str(folder), *arguments], check=True, capture_output=True, text=True)
    return done.stdout.strip()


def as_json(value: object) -> object:
    """Settings as values of JSON, without secrets."""
    if is_dataclass(value):
        return {field.name: as_json(visible(field, getattr(value, field.name))) for field in fields(value)}
    if isinstance(value, Mapping):
        return {str(name): as_json(part) for name, part in value.items()}
    if isinstance(value, list | tuple | frozenset):
        return [as_json(part) for part in value]
    return value
