"""A small server of three processes that count: one of them is killed. Writes what is shown, then and before, as JSON.

`python -m tests.metrics_of_processes FOLDER`
"""

from __future__ import annotations

import json
import multiprocessing
import os
import signal
import sys
from collections.abc import Callable

os.environ["PROMETHEUS_MULTIPROC_DIR"] = sys.argv[1]

from prometheus_client.exposition import generate_latest
from prometheus_client.openmetrics.exposition import generate_latest as as_openmetrics
from prometheus_client.parser import text_string_to_metric_families

from stream_reco import metrics
from stream_reco.metrics.exposition import exposed, forget_process

_FORK = multiprocessing.get_context("fork")


def count(number: int, counted: Callable[[], object]) -> None:
    metrics.REQUESTS.labels("/v1/recommend", "200").inc(number)
    metrics.REQUEST_SECONDS.labels("/v1/recommend").observe(0.001 * number)
    metrics.QUEUED_REQUESTS.set(number)
    metrics.TABLE_ROWS.labels("item").set(number)
    counted()
    signal.pause()


def shown() -> dict[str, object]:
    text = generate_latest(exposed()).decode()
    as_openmetrics(exposed())  # type: ignore[no-untyped-call]  # the library has no types here
    families = {one.name: one for one in text_string_to_metric_families(text)}
    samples = [one for family in families.values() for one in family.samples]
    return {
        "types": {name: family.type for name, family in families.items()},
        "labels": sorted({label for one in samples for label in one.labels}),
        "values": {
            " ".join([one.name, *(f"{key}={value}" for key, value in sorted(one.labels.items()))]): one.value
            for one in samples
        },
    }


def main() -> None:
    found, children = [], []
    for number in (1, 2, 4):
        counted = _FORK.Event()
        children.append(_FORK.Process(target=count, args=(number, counted.set)))
        children[-1].start()
        assert counted.wait(30)
    found.append(shown())
    children[2].kill()
    children[2].join()
    forget_process(children[2].pid or 0)
    found.append(shown())
    for one in children[:2]:
        one.kill()
        one.join()
    json.dump(found, sys.stdout)


main()
