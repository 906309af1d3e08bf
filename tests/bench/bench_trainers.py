"""What several trainers of one model cost each: events that all of them read, own examples, and what they exchange.

Trainers run one after another in this process, on the same clicks and examples as over Kafka, without Kafka; times are
of the processor. So figures do not depend on how many cores there are.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Sequence
from pathlib import Path
from time import process_time

import torch
import xxhash
from msgspec.structs import replace

from stream_reco.config import Settings
from stream_reco.datasets import load
from stream_reco.events import Action, Event, Id
from stream_reco.labels import Example
from stream_reco.learner.distributed_learner import DistributedLearner
from stream_reco.train.exchange import ModelDeltas, ModelExchange
from topologies.messages.contribution import contributions_of, decode_contribution

_INTERVAL_MS = 60_000


def run(path: Path, limit: int = 15_000, counts: Sequence[int] = (1, 2, 4)) -> dict[str, object]:
    """Of each number of trainers: the processor's seconds of the busiest, examples a second, the exchange's part."""
    torch.set_num_threads(1)
    log = [event for event in load(path, "globo")[:limit] if isinstance(event, Action)]
    _trainers(log[:1_000], 2)  # compiles
    alone = _trainers(log, 1)
    found = {str(count): _trainers(log, count) if count > 1 else alone for count in counts}
    for one in found.values():
        one["times_one_trainer"] = round(alone["busiest_cpu_seconds"] / one["busiest_cpu_seconds"], 2)
    return {"clicks": limit, "trainers": found}


def _trainers(log: Sequence[Event], count: int) -> dict[str, float]:
    settings = Settings()
    learners = [
        DistributedLearner(settings.labels, settings.signals, settings.model, settings.training) for _ in range(count)
    ]
    exchanges = [ModelExchange(one.queue.trainer, number, count) for number, one in enumerate(learners)]
    learning, meeting, sent, meetings = [0.0] * count, [0.0] * count, 0, 0
    minutes: list[list[Event]] = []
    for event in log:
        if not minutes or event.timestamp - minutes[-1][0].timestamp >= _INTERVAL_MS:
            minutes.append([])
        minutes[-1].append(event)
    for minute in minutes:
        for number, learner in enumerate(learners):
            began = process_time()
            _learn(learner, minute, number, count)
            learning[number] += process_time() - began
        if count > 1:
            size = _meet(learners, exchanges, meeting)
            sent, meetings = sent + size, meetings + 1
    busiest = max(range(count), key=lambda number: learning[number] + meeting[number])
    whole = learning[busiest] + meeting[busiest]
    return {
        "busiest_cpu_seconds": round(whole, 2),
        "examples_per_cpu_second": round(len(log) / whole),
        "exchange_share": round(meeting[busiest] / whole, 3),
        "exchange_ms": round(1000 * meeting[busiest] / max(1, meetings), 2),
        "bytes_a_publication": round(sent / max(1, meetings)),
        "clicks_a_publication": round(len(log) / len(minutes)),
    }


def _learn(learner: DistributedLearner, events: Sequence[Event], number: int, count: int) -> None:
    for event in events:
        assert isinstance(event, Action)
        event = replace(event, request_id=None)
        own = _trainer_of(event.user_id, count) == number
        learner.take_event(event, own=own)
        if own:
            learner.take_example(_example(event))


def _meet(learners: Sequence[DistributedLearner], exchanges: Sequence[ModelExchange], seconds: list[float]) -> int:
    """Meet once, by way of bytes; returns how many each trainer reads."""
    log: list[bytes] = []
    for number, (learner, exchange) in enumerate(zip(learners, exchanges, strict=True)):
        began = process_time()
        learner.queue.flush()
        log += contributions_of(number, 1, "", exchange.deltas(), {})
        seconds[number] += process_time() - began
    for number, (learner, exchange) in enumerate(zip(learners, exchanges, strict=True)):
        began = process_time()
        deltas: list[ModelDeltas] = [decode_contribution(one).deltas() for one in log]
        exchange.merge(deltas, learner.now)
        seconds[number] += process_time() - began
    return sum(map(len, log))


def _trainer_of(user_id: Id, count: int) -> int:
    return int(xxhash.xxh3_64_intdigest(str(user_id).encode()) % count)


def _example(action: Action) -> Example:
    time = action.timestamp
    return Example(
        user_id=action.user_id,
        item_id=action.item_id,
        label=1,
        weight=1.0,
        reason="unprompted",
        event_time=time,
        label_time=time,
        context=action.context,
        action=action.action,
    )


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("path", type=Path, help="globo_clicks.parquet")
    parser.add_argument("--limit", type=int, default=15_000)
    parser.add_argument("--counts", type=int, nargs="*", default=[1, 2, 4])
    given = parser.parse_args()
    print(json.dumps(run(given.path, given.limit, given.counts), indent=1))  # noqa: T201 - a command's answer
