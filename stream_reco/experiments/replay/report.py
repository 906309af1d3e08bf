"""The figures of a replay as one JSON object, with all that is needed to make them again."""

from __future__ import annotations

import resource
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import fields, is_dataclass
from pathlib import Path

from stream_reco.config.secret import visible
from stream_reco.experiments.replay.tally import ReplayTally
from stream_reco.experiments.replay.view import speeds_of
from stream_reco.metrics import REGISTRY

_SOURCE = Path(__file__).parent


def report_of(tally: ReplayTally, status: Mapping[str, object], settings: object) -> dict[str, object]:
    """The report; `status` is the engine's, `settings` a tree of dataclasses."""
    speeds = speeds_of(tally)
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
        "rows": status["tables"],
        "items": status.get("items"),
        "users": status.get("users"),
        "peak_rss_bytes": peak_rss_bytes(),
        "dead_letters": dict(tally.dead_letters),
        **commit_of(_SOURCE),
        "settings": plain(settings),
    }


def passed_over() -> int:
    """Events of this process that were accepted but could not be learned from: a fault of ours, never silent."""
    return int(REGISTRY.get_sample_value("stream_reco_events_rejected_total", {"reason": "internal"}) or 0)


def peak_rss_bytes() -> int:
    """The most memory that this process had resident so far; macOS tells bytes, Linux kilobytes."""
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == "darwin" else peak * 1024


def commit_of(source: Path) -> dict[str, object]:
    """The commit of the checkout that holds `source`, and whether files differ from it; None where there is none."""
    here = [str(source / "replay_report.py")]
    try:
        _git(source, "ls-files", "--error-unmatch", *here)
        commit = _git(source, "rev-parse", "HEAD")
        changed = bool(_git(source, "status", "--porcelain", "--", str(source.parent)))
    except (OSError, subprocess.CalledProcessError):
        return {"git_commit": None, "git_changed": None}
    return {"git_commit": commit, "git_changed": changed}


def _git(folder: Path, *arguments: str) -> str:
    done = subprocess.run(["git", "-C", str(folder), *arguments], check=True, capture_output=True, text=True)
    return done.stdout.strip()


def plain(value: object) -> object:
    """Settings as JSON has them; secrets stay out."""
    if is_dataclass(value):
        return {field.name: plain(visible(field, getattr(value, field.name))) for field in fields(value)}
    if isinstance(value, Mapping):
        return {str(name): plain(part) for name, part in value.items()}
    if isinstance(value, list | tuple | frozenset):
        return [plain(part) for part in value]
    return value
