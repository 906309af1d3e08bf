"""A data folder of version 0.1.0 opens, answers as before, and goes on."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from stream_reco.config import Settings
from stream_reco.embedded import Engine
from stream_reco.embedded.learner import Learner
from stream_reco.events import Action, Id, ItemEvent, Retraction, UserEvent
from stream_reco.labels import KindSettings, LabelSettings
from stream_reco.model.content.settings import ContentSettings
from stream_reco.model.settings import ModelSettings
from stream_reco.model.zoo.settings import TwoTowerDcnSettings
from stream_reco.serve.settings import SlateSettings
from stream_reco.signals.settings import SignalSettings
from stream_reco.train.settings import TrainSettings
from stream_reco.train.trainer import Trainer
from tests.compatibility.folder_answers import NOW, answers_of, continued, opened, state_of
from tests.compatibility.recorded import read_json, unpack
from tests.compatibility.shop import ITEMS, USERS

_NEAR = 1e-5
"""Matrix products differ in their last bits between processors, and training goes on from them."""

NOT_READ = ContentSettings(item=0, user=0, cross=0, equal=0, context=0, own=0, appeal=0, popularity=0, activity=0)


@pytest.fixture(scope="module")
def recorded() -> Any:
    return read_json("answers")


@pytest.fixture
def data(tmp_path: Path) -> Path:
    unpack("data", tmp_path)
    return tmp_path / "data"


def test_its_checkpoint_is_read_to_the_bit(data: Path, recorded: Any) -> None:
    forget_the_log_behind(data, recorded["at checkpoint"]["facts"]["log_position"])
    with opened(data) as engine:
        found, wanted = state_of(engine), recorded["at checkpoint"]
    assert found["tables"] == wanted["tables"] | {"content": {}, "encoder": {}}
    # The engine has noted its start in the log since.
    assert found["facts"] == wanted["facts"] | {"log_position": wanted["facts"]["log_position"] + 1}


@pytest.fixture
def its_rules(monkeypatch: pytest.MonkeyPatch) -> Settings:
    """What 0.1.0 did: dislikes spoke for an item, each click counted, retractions changed labels alone, negatives came
    at the end of windows, nothing shifted scores or was left to chance, nobody knew what users passed over, who acted
    on the same items, or what was said of either, and every step was as long."""

    def change_the_label(learner: Learner, event: Retraction) -> None:
        learner._label(learner.joiner.process([event]))

    monkeypatch.setattr(Learner, "_retract", change_the_label)
    monkeypatch.setattr(Trainer, "_share_of_step", lambda *_: 1.0)
    return Settings(
        labels=LabelSettings(policy="conclusive", kinds={"dislike": KindSettings(sign="positive")}),
        signals=SignalSettings(once_seconds=0.0),
        training=TrainSettings(correction="undo"),
        slate=SlateSettings(fatigue=0.0, explore=0.0),
        model=ModelSettings(settings=TwoTowerDcnSettings(without=("fatigue", "neighbours")), content=NOT_READ),
    )


def test_its_log_is_learned_from_and_it_answers_as_before(data: Path, recorded: Any, its_rules: Settings) -> None:
    with opened(data, its_rules) as engine:
        assert_same_state(state_of(engine), recorded["at end"])
        found, wanted = answers_of(engine), recorded["answers"]
    np.testing.assert_allclose(found["scores"], wanted["scores"], rtol=0, atol=_NEAR)
    for slate, recorded_slate in zip(found["slates"], wanted["slates"], strict=True):
        assert [item[::2] for item in slate] == [item[::2] for item in recorded_slate]
        np.testing.assert_allclose(scores_of(slate), scores_of(recorded_slate), rtol=0, atol=_NEAR)
    # That release compared the vectors of the towers alone.
    for item, near in zip(ITEMS, found["similar"], strict=False):
        assert len(near) == 3
        assert item not in near
    assert found["interests"] == wanted["interests"]
    assert any(wanted["interests"])
    assert all(wanted["slates"])


def test_under_the_present_rules_its_users_are_spared_what_they_dislike(data: Path) -> None:
    with opened(data) as engine:
        slates = {user: {one.item_id for one in engine.recommend(user, 100).items} for user in USERS}
        engine.ingest(
            [
                Action(user_id=user, item_id=next(iter(items)), action="dislike", timestamp=NOW)
                for user, items in slates.items()
                if items
            ]
        )
        for user, items in slates.items():
            assert {one.item_id for one in engine.recommend(user, 100).items} == items - {next(iter(items), None)}
    assert any(slates.values())


def test_what_was_pending_goes_on_and_what_comes_again_changes_nothing(
    data: Path, recorded: Any, its_rules: Settings
) -> None:
    wanted = recorded["continued"]
    with opened(data, its_rules) as engine:
        found = continued(engine)
    assert found["taken"] == wanted["taken"]
    assert found["by events"] == wanted["by events"]
    assert found["by deadlines"] == wanted["by deadlines"]
    assert wanted["by events"]["retraction 0"] >= 1
    assert wanted["by deadlines"]["window 0"] > 100
    assert_same_state(found, wanted)


def test_it_opens_again_after_a_checkpoint_of_the_present(data: Path, recorded: Any) -> None:
    with opened(data) as engine:
        engine.checkpoint()
        before = state_of(engine)
    with opened(data) as engine:
        after = state_of(engine)
    assert after["tables"] == before["tables"]
    assert after["facts"]["pending"] == before["facts"]["pending"] == recorded["at end"]["facts"]["pending"]


def test_what_is_said_of_its_items_is_read_and_learned_from_at_once(data: Path, recorded: Any) -> None:
    forget_the_log_behind(data, recorded["at checkpoint"]["facts"]["log_position"])
    with opened(data) as engine:
        content = engine.learner.state.signals.catalogue.content
        assert (content.fields.everyone, content.fields.names) == (len(ITEMS), ["kind", "price", "tags"])
        # Clicks without an impression, which need no window to pass, on all items of one kind.
        clicked: list[Id] = [item for item, said in described_items(engine) if said["kind"] == "k1"]
        engine.ingest([UserEvent(user_id="ann", timestamp=NOW, features={"age": 20})])
        engine.ingest(
            [
                Action(user_id=f"new {number}", item_id=item, action="click", timestamp=NOW)
                for number in range(20)
                for item in clicked
            ]
        )
        engine.finish()
        # Items that were never heard of before, with nothing but their descriptions.
        engine.ingest([ItemEvent(item_id=kind, timestamp=NOW, features={"kind": kind}) for kind in ("k0", "k1")])
        engine.sync()
        other, same = engine.score("nobody", ["k0", "k1"])
        assert same > 1.2 * other
        engine.checkpoint()
        before = state_of(engine)
    with opened(data) as engine:
        assert state_of(engine)["tables"] == before["tables"]
        assert engine.learner.state.profiles.features("ann") == {"age": 20}


def described_items(engine: Engine) -> list[tuple[Id, dict[str, Any]]]:
    catalogue = engine.learner.state.signals.catalogue
    return [(item, catalogue.features[slot] or {}) for slot, item in enumerate(catalogue.ids) if item is not None]


def test_other_sizes_of_the_model_are_refused_with_what_to_do(data: Path) -> None:
    with pytest.raises(ValueError, match="start with a new data folder, or restore the model settings"):
        Engine(data, Settings(model=ModelSettings(settings=TwoTowerDcnSettings(item_dim=16))))


def forget_the_log_behind(data: Path, position: int) -> None:
    """Leave of the log what the checkpoint contains."""
    with closing(sqlite3.connect(data / "log" / "log.sqlite3")) as log, log:
        log.execute("DELETE FROM records WHERE position > ?", (position,))
        log.execute("UPDATE bounds SET last = ?", (position,))


def assert_same_state(found: Any, wanted: Any) -> None:
    """Facts and keys are equal, and rows nearly so, as they were trained since the checkpoint."""
    assert found["facts"] == wanted["facts"]
    # It has actions of several kinds, of which that release learned nothing.
    assert found["tables"].keys() == {*wanted["tables"], "heads", "content", "encoder"}
    for name, rows in wanted["tables"].items():
        assert found["tables"][name].keys() == rows.keys()
        for key, row in rows.items():
            np.testing.assert_allclose(vector(found["tables"][name][key]), vector(row), rtol=0, atol=_NEAR)


def vector(text: str) -> np.ndarray[Any, np.dtype[np.float32]]:
    """float32[dim] of the hexadecimal digits of its bytes."""
    return np.frombuffer(bytes.fromhex(text), "<f4")


def scores_of(slate: Any) -> list[float]:
    return [score for _, score, _ in slate]
