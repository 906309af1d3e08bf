"""Queries of Prometheus, held to the metrics that the code has."""

from __future__ import annotations

import re
from collections.abc import Iterator
from functools import cache
from pathlib import Path

from prometheus_client import Histogram
from prometheus_client.metrics import MetricWrapperBase

from stream_reco import metrics
from topologies.run_partition_worker import SPECS
from topologies.trainer.dependencies import NAME as TRAINING

ROOT = Path(__file__).parents[2]
# What Prometheus itself adds to each series.
_OF_SCRAPES = {"job", "instance"}
_BESIDE = ("up", "process_resident_memory_bytes", "process_cpu_seconds_total")
_WORDS = re.compile(r"\b(?:stream_reco|process)_\w+|\bup\b")
_SELECTED = re.compile(r"(\b[a-zA-Z_]\w*)\s*\{([^}]*)\}")
_MATCHER = re.compile(r"(\w+)\s*(=~|!~|!=|=)\s*\"([^\"]*)\"")
_GROUPED = re.compile(r"\b(sum|avg|min|max|count)\s+by\s*\(([^)]*)\)\s*\(")
WORK = {*SPECS, TRAINING}
# The rooms of the loop in one process: what they alone feed, no process of a deployment shows.
_ELSEWHERE = {"stream_reco/embedded", "stream_reco/cli", "stream_reco/experiments", "stream_reco/terminal"}
_DECLARED = "stream_reco/metrics"


def series() -> dict[str, set[str]]:
    """The labels of every series that our processes show, by its name."""
    found: dict[str, set[str]] = {name: set() for name in _BESIDE}
    for metric in vars(metrics).values():
        if isinstance(metric, MetricWrapperBase):
            (family,) = metric.describe()
            labels = set(metric._labelnames)
            if isinstance(metric, Histogram):
                found[f"{family.name}_bucket"] = labels | {"le"}
                found |= {f"{family.name}_{part}": labels for part in ("sum", "count")}
            else:
                found[family.name + ("_total" if family.type == "counter" else "")] = labels
    return found


def query_problems(query: str) -> Iterator[str]:
    """Series and labels that no process of ours shows, and labels that no kind of work has."""
    known = series()
    plain = re.sub(r'"[^"]*"', '""', query)
    for name in sorted(set(_WORDS.findall(plain))):
        if name not in known:
            yield f"there is no {name}"
    for name, matchers in _SELECTED.findall(query):
        for label, _, value in _MATCHER.findall(matchers):
            if label not in known.get(name, set()) | _OF_SCRAPES:
                yield f"{name} has no label {label}"
            if label == "work" and not set(value.split("|")) <= WORK:
                yield f"no kind of work is called {value}"
    for found in _GROUPED.finditer(plain):
        inside = _argument(plain, found.end())
        labels = set.union(*({*known.get(name, ())} for name in _WORDS.findall(inside)), set()) | _OF_SCRAPES
        yield from (
            f"nothing in {inside} has the label {label}"
            for label in re.findall(r"\w+", found[2])
            if label not in labels
        )


def _argument(query: str, begin: int) -> str:
    """What stands in the bracket that was opened before `begin`."""
    depth, end = 1, begin
    while depth and end < len(query):
        depth += {"(": 1, ")": -1}.get(query[end], 0)
        end += 1
    return query[begin : end - 1]


def never_fed(query: str) -> Iterator[str]:
    """Metrics of the query that are declared, and that no code of these processes ever changes."""
    names = {metric: name for name, metric in vars(metrics).items() if isinstance(metric, MetricWrapperBase)}
    used = set(_WORDS.findall(re.sub(r'"[^"]*"', '""', query)))
    for metric, constant in names.items():
        if used & _names_of(metric) and not re.search(rf"\b{constant}\b", _code()):
            yield f"nothing feeds {constant}"


@cache
def _code() -> str:
    paths = [path for folder in ("stream_reco", "topologies") for path in (ROOT / folder).rglob("*.py")]
    kept = [path for path in paths if not any(path.is_relative_to(ROOT / room) for room in (_DECLARED, *_ELSEWHERE))]
    return "\n".join(path.read_text(encoding="utf-8") for path in kept)


def _names_of(metric: MetricWrapperBase) -> set[str]:
    (family,) = metric.describe()
    return {family.name + ending for ending in ("", "_total", "_bucket", "_sum", "_count")}
