"""A server with default settings, and a trainer over Kafka, learn all that they learn without PyTorch."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from stream_reco.storage.checkpoint import read_checkpoint

_EVENTS = """
from stream_reco.events import Action, Impression, ItemEvent, Retraction, UserEvent
START = 1_600_000_000_000
def events(first, count):
    found = []
    for number in range(first, first + count):
        at, user, item = START + 1000 * number, f"user {number % 7}", number * 5 % 23
        found.append(UserEvent(user_id=user, features={"likes": number % 3}, timestamp=at))
        found.append(ItemEvent(item_id=item, features={"kind": item % 3, "text": f"tea number {item}"}, timestamp=at))
        found.append(Impression(user_id=user, item_id=item, timestamp=at, request_id=f"r{number}", position=2,
                                context={"device": "phone"}))
        if number % 3:
            kind, value = ("buy", 9.5) if number % 2 else ("click", None)
            given = f"r{number}" if number % 5 else None
            found.append(Action(user_id=user, item_id=item, action=kind, value=value, timestamp=at + 10,
                                event_id=f"a{number}", request_id=given))
        if number % 50 == 49:
            found.append(Retraction(retracts=f"a{number - 2}", user_id=user, timestamp=at + 20))
    return found
"""
_SERVER = (
    _EVENTS
    + """
import json, sys
from pathlib import Path
import stream_reco.cli.commands.serve
from stream_reco.cli.server.embedded import open_engine
from stream_reco.config import Settings
from stream_reco.model.settings import ModelSettings
folder, model, first = Path(sys.argv[1]), sys.argv[2], int(sys.argv[3])
engine = open_engine(folder, Settings(model=ModelSettings(model)), False)
answer = engine.ingest(events(first, 300))
engine.tick(START + 1000 * (first + 300))
engine.sync()
asked = engine.recommend("nobody", 5, objectives={"click": 1.0, "buy": 5.0})
engine.similar(3, 5)
engine.features()
engine.checkpoint()
queue = engine.learner.queue
rows = {name: len(table) for name, table in queue.trainer.tables.items()}
steps = queue.steps, queue.heads.trainer.steps
print(json.dumps([answer.accepted, *steps, rows, len(asked.items), "torch" in sys.modules]))
engine.close()
"""
)
_TRAINER = (
    _EVENTS
    + """
import json, sys
from pathlib import Path
import topologies.run_trainer
from stream_reco.config import Settings
from stream_reco.labels import Example
from topologies.trainer.standby import LearnerAtOffsets, rehearse
settings = Settings()
rehearse(settings)
def feed(learner, first, count):
    for event in events(first, count):
        learner.take_event(event)
        if isinstance(event, Action):
            learner.take_example(Example(user_id=event.user_id, item_id=event.item_id, label=1, weight=1.0,
                reason="action", event_time=event.timestamp, label_time=event.timestamp, action=event.action))
    learner.finish()
    return learner
learner = feed(LearnerAtOffsets(settings).learner, 0, 300)
trainer = learner.queue.trainer
published = trainer.published_weights()
print(json.dumps([learner.queue.steps, len(published), "torch" in sys.modules]))
"""
)


def _run(code: str, *arguments: str) -> list[object]:
    done = subprocess.run([sys.executable, "-c", code, *arguments], check=True, capture_output=True, text=True)
    found: list[object] = json.loads(done.stdout.splitlines()[-1])
    return found


def test_a_server_learns_and_comes_back_without_it(tmp_path: Path) -> None:
    steps: list[int] = []
    for start in (0, 300):  # the second one goes on from the checkpoint of the first
        accepted, model_steps, head_steps, rows, asked, imported = _run(
            _SERVER, str(tmp_path / "data"), "two_tower_dcn", str(start)
        )
        assert not imported
        assert accepted == 300 * 3 + 200 + 6
        assert asked == 5
        assert isinstance(model_steps, int)
        assert isinstance(head_steps, int)
        assert head_steps > 0
        assert isinstance(rows, dict)
        assert all(rows[name] > 0 for name in ("item", "user", "context", "content", "heads", "encoder")), rows
        steps.append(model_steps)
    assert steps[0] > 0
    restored = read_checkpoint(tmp_path / "data" / "checkpoints")
    assert restored is not None


def test_the_test_can_tell(tmp_path: Path) -> None:
    """A model that learns by autograd brings PyTorch along."""
    assert _run(_SERVER, str(tmp_path / "data"), "bpr", "0")[-1]


def test_a_trainer_over_kafka_learns_without_it() -> None:
    steps, weights, imported = _run(_TRAINER)
    assert not imported
    assert isinstance(steps, int)
    assert steps > 0
    assert isinstance(weights, int)
    assert weights > 0


@pytest.mark.parametrize("module", ["stream_reco.embedded", "stream_reco.cli.commands.serve", "topologies.run_trainer"])
def test_importing_it_imports_no_torch(module: str) -> None:
    code = f"import sys, {module}; sys.exit(7 if 'torch' in sys.modules else 0)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
