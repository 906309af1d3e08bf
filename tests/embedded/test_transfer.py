"""A second shop that starts with what the first one learned of features: what is in its folder, and what it does."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from stream_reco.cli.app import app
from stream_reco.clock import ManualClock
from stream_reco.config import Settings, load
from stream_reco.embedded import Engine
from stream_reco.embedded.transfer import LEAST_USERS, Transferred, teach, transfer
from stream_reco.embedding import EmbeddingTable
from stream_reco.events import key_of
from stream_reco.model.content.pairs import (
    ACTIVITY,
    APPEAL,
    CONTEXT,
    CROSS,
    EQUAL,
    ITEM,
    OWN,
    POPULARITY,
    USER,
    WORDS,
    key_of_row,
    mixed,
)
from stream_reco.signals.content.fields import FeatureFields
from stream_reco.storage.backup import BackupError, back_up, restore
from tests import programs, two_tastes
from tests.embedded.test_content import InOneProcess
from tests.two_tastes import KINDS
from tests.two_tastes import WORDS as PROFILES

START = 1_760_000_000_000
SETTINGS = load(environ=programs.settings(**two_tastes.SETTINGS)).settings
MARKED = "Sekret7f3a"
"""In every id of the first shop, and in what one person alone has said."""


class FirstShop(InOneProcess):
    """The wiring of two tastes with ids that can be searched for, and a context."""

    def post(self, events: Any) -> None:
        super().post([self._marked(event) for event in events])

    def slate(self, user: str, count: int) -> Mapping[str, Any]:
        answer = dict(super().slate(MARKED + user, count))
        return answer | {"items": [{**one, "item_id": one["item_id"].removeprefix(MARKED)} for one in answer["items"]]}

    def forget(self, user: str) -> None:
        super().forget(MARKED + user)

    @staticmethod
    def _marked(event: Mapping[str, Any]) -> dict[str, Any]:
        marked = {**event}
        for name in ("user_id", "item_id"):
            if name in event:
                marked[name] = MARKED + event[name]
        if event["type"] in ("impression", "action"):
            marked["context"] = {"device": "phone", "session": f"{MARKED}{event['user_id']}"}
        if event["type"] == "user" and event["user_id"] == "user-3":
            marked["features"] = {**event["features"], "alone": f"{MARKED} only", "nickname": MARKED}
        return marked


@pytest.fixture(scope="module")
def first(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The data folder of a shop of two tastes, with a checkpoint and a log behind it."""
    folder = tmp_path_factory.mktemp("first") / "data"
    with opened(folder) as engine:
        shop = FirstShop(engine, engine_clock(engine))
        two_tastes.play(shop)
        engine.checkpoint()
        shop.post([two_tastes.described("user-0", 0)])
    return folder


@contextmanager
def opened(folder: Path | None, settings: Settings = SETTINGS) -> Iterator[Engine]:
    with Engine(folder, settings, clock=ManualClock(START)) as engine:
        yield engine


def engine_clock(engine: Engine) -> ManualClock:
    clock = engine._clock
    assert isinstance(clock, ManualClock)
    return clock


def rows(table: EmbeddingTable) -> dict[int, tuple[float, ...]]:
    keys = table.keys()
    vectors = table.lookup(keys)
    return {int(key): tuple(row.tolist()) for key, row in zip(keys, vectors, strict=True)}


def value(fields: FeatureFields, name: str, said: object) -> int:
    """What stands for a value in the keys of rows."""
    return int(mixed(fields.hashes[fields.find(name)], key_of(str(said), "feature value")))


def keys_of_values(engine: Engine, contexts: tuple[str, ...] = ()) -> set[int]:
    """All keys that may travel out of a shop of two tastes, one by one."""
    signals = engine.learner.state.signals
    fields, users = signals.catalogue.content.fields, signals.user_fields
    kinds = [value(fields, "kind", kind) for kind in KINDS]
    age = users.hashes[users.find("age")]
    said = [value(users, "am", word) for word in PROFILES] + [mixed(age, code) for code in (1, *range(16, 24))]
    hashes = [users.hashes[users.find(name)] for name in ("am", "age")]
    known = {key_of_row(ITEM, kind, 0) for kind in kinds}
    known |= {key_of_row(USER, one, 0) for one in said}
    known |= {key_of_row(CROSS, one, kind) for one in said for kind in kinds}
    known |= {key_of_row(EQUAL, one, fields.hashes[fields.find("kind")]) for one in hashes}
    known |= {key_of_row(CONTEXT, key_of(text, "context.device"), kind) for text in contexts for kind in kinds}
    return known


def keys_of_persons_and_items(engine: Engine) -> set[int]:
    """All keys that are of a user or an item of a shop of two tastes, one by one."""
    state = engine.learner.state
    users = [key_of(user, "user") for user in state.profiles.users()]
    items = [key_of(item, "item") for item in state.signals.catalogue.ids if item is not None]
    assert len(users) >= two_tastes.USERS
    assert len(items) > two_tastes.ITEMS
    kinds = [value(state.signals.catalogue.content.fields, "kind", kind) for kind in KINDS]
    fields = state.signals.user_fields
    said = [value(fields, "am", word) for word in PROFILES]
    alone = [value(fields, "nickname", MARKED.casefold())]
    found = {key_of_row(part, user, kind) for part in (OWN, WORDS) for user in users for kind in kinds}
    found |= {key_of_row(ACTIVITY, user, 0) for user in users} | {key_of_row(POPULARITY, item, 0) for item in items}
    found |= {key_of_row(APPEAL, item, one) for item in items for one in said + alone}
    found |= {key_of_row(USER, one, 0) for one in alone}
    return found | {key_of_row(CROSS, one, kind) for one in alone for kind in kinds}


@pytest.fixture(scope="module")
def second(first: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("second") / "data"
    transfer(first, folder, SETTINGS)
    return folder


def copy(folder: Path, to: Path) -> Path:
    """A folder that a test may change."""
    back_up(folder, to / "backup", START)
    restore(to / "backup", to / "copy")
    return to / "copy"


def test_rows_of_values_travel_bit_for_bit_and_no_row_of_a_user_or_an_item(first: Path, second: Path) -> None:
    with opened(first) as engine, opened(second) as new:
        before, after = (one.learner.queue.trainer.tables for one in (engine, new))
        known, personal = keys_of_values(engine), keys_of_persons_and_items(engine)
        given = rows(before["content"])
        assert len(given.keys() & personal) > 2 * two_tastes.USERS, "else the test would prove nothing"
        assert not after["content"].keys()[np.isin(after["content"].keys(), [*personal])].size
        assert rows(after["content"]) == {key: row for key, row in given.items() if key in known}
        assert len(after["content"]) >= 8, "both kinds, both words, and how they go together"
        for name in ("item", "user", "context"):
            assert len(after[name]) == 0
        for table in after.values():
            table.check_invariants()


def test_vectors_of_values_travel_with_the_state_of_their_optimizer(first: Path, second: Path) -> None:
    with opened(first) as engine, opened(second) as new:
        before, after = (one.learner.queue.trainer.tables["encoder"] for one in (engine, new))
        fields = engine.learner.state.signals.catalogue.content.fields
        kinds = {value(fields, "kind", kind) for kind in KINDS}
        assert rows(after) == {key: row for key, row in rows(before).items() if key in kinds}
        assert len(after) == len(KINDS)
        keys, gradients = after.keys(), np.ones((len(KINDS), after.dim), dtype=np.float32)
        for table in (before, after):
            table.apply_gradients(keys, gradients)
        np.testing.assert_array_equal(before.lookup(keys), after.lookup(keys))


def test_no_id_and_nothing_that_one_person_said_is_in_a_byte_of_the_folder(first: Path, second: Path) -> None:
    def found(folder: Path) -> int:
        return sum(path.read_bytes().count(MARKED.encode()) for path in folder.rglob("*") if path.is_file())

    assert found(first) > 100
    assert found(second) == 0
    assert not any(b"nickname" in path.read_bytes() for path in second.rglob("*") if path.is_file())


def test_no_key_of_a_user_or_an_item_is_in_a_byte_of_the_folder(first: Path, second: Path) -> None:
    with opened(first) as engine:
        state = engine.learner.state
        ids = [(one, "item") for one in state.signals.catalogue.ids if one is not None]
        ids += [(one, "user") for one in state.profiles.users()]
        keys = {key_of(*one) for one in ids} | keys_of_persons_and_items(engine)
    contents = [path.read_bytes() for path in second.rglob("*") if path.is_file()]
    assert not [key for key in keys for content in contents if np.int64(key).tobytes() in content]


def test_the_second_shop_is_empty_but_knows_its_features(first: Path, second: Path) -> None:
    with opened(first) as engine, opened(second) as new:
        status, signals = new.status(), new.learner.state.signals
        assert (status["items"], status["users"], status["events"], status["stream_time"]) == (0, 0, 0, 0)
        fields = signals.catalogue.content.fields
        assert (fields.names, fields.kinds_by_number[0]) == (["kind"], 0)
        assert signals.user_fields.names == ["am", "age"], "what one person alone has is left out"
        ours, theirs = (one.learner.state.signals.user_fields.running for one in (engine, new))
        assert theirs.scales.means[1] == ours.scales.means[1] == 30
        for one, other in zip(
            engine.learner.queue.trainer.state().items(), new.learner.queue.trainer.state().items(), strict=True
        ):
            if one[0].startswith(("weights", "averaged", "adam")):
                assert one[0] == other[0]
                np.testing.assert_array_equal(one[1], other[1])


def test_before_any_event_there_a_slate_is_by_what_people_of_the_same_profile_liked(
    second: Path, tmp_path: Path
) -> None:
    def first_four(folder: Path | None, group: int) -> list[str]:
        with opened(folder) as engine:
            shop = InOneProcess(engine, engine_clock(engine))
            shop.post([two_tastes.item(f"{KINDS[number % 2]}-other-{number}") for number in range(20)])
            shop.post([two_tastes.described("newcomer-0", group)])
            shop.settle()
            return [two_tastes.kind_of(one) for one in two_tastes.items_of(shop, "newcomer-0", 4)]

    for group in (0, 1):
        assert first_four(copy(second, tmp_path / str(group)), group) == [KINDS[group]] * 4
    assert first_four(None, 0) == first_four(None, 1), "an empty shop cannot know"


def test_clicks_take_over(second: Path, tmp_path: Path) -> None:
    """People of the second shop like the other kind than those of the first one with the same profile."""
    with opened(copy(second, tmp_path)) as engine:
        shop = InOneProcess(engine, engine_clock(engine))
        shop.post([two_tastes.item(f"{KINDS[number % 2]}-{number}") for number in range(40)])
        people = [f"user-{number}" for number in range(24)]
        shop.post([two_tastes.described(user, 1 - two_tastes.group_of(user)) for user in people])
        shop.settle()

        def of_the_other_kind(group: int) -> int:
            """How many of the first ten of somebody new are what people with this profile like here."""
            shop.post([two_tastes.described(f"newcomer-{group}", group)])
            found = [two_tastes.kind_of(one) for one in two_tastes.items_of(shop, f"newcomer-{group}", 10)]
            return found.count(KINDS[1 - group])

        assert [of_the_other_kind(group) for group in (0, 1)] == [0, 0]
        rng = np.random.default_rng(0)
        for _ in range(2 * two_tastes.ROUNDS):
            for user in people:
                shop.post(two_tastes.seen_by(user, shop.slate(user, 40), rng))
            shop.settle()
        assert min(of_the_other_kind(group) for group in (0, 1)) >= 6


def test_a_transferred_folder_is_one_like_others(second: Path, tmp_path: Path) -> None:
    """It is backed up and restored, goes on after a restart, and gives the same bits from the same events."""
    states = []
    for number in (0, 1):
        folder = copy(second, tmp_path / str(number))
        with opened(folder) as engine:
            InOneProcess(engine, engine_clock(engine)).post([two_tastes.item(f"tea-{one}") for one in range(3)])
            if number:
                engine.checkpoint()
        with opened(folder) as engine:
            assert engine.status()["items"] == 3
            states.append({name: rows(table) for name, table in engine.learner.queue.trainer.tables.items()})
    assert states[0] == states[1]


def test_a_context_travels_only_where_its_field_is_named(first: Path, tmp_path: Path) -> None:
    given = transfer(first, tmp_path / "without", SETTINGS), transfer(first, tmp_path / "with", SETTINGS, ["device"])
    with opened(first) as engine, opened(tmp_path / "with") as new:
        before, after = (one.learner.queue.trainer.tables["content"] for one in (engine, new))
        known = keys_of_values(engine, ("phone",))
        assert rows(after) == {key: row for key, row in rows(before).items() if key in known}
    assert given[1].coefficients == given[0].coefficients + len(KINDS)


def test_a_value_travels_from_the_least_number_of_users_on() -> None:
    with opened(None) as engine, opened(None) as new:
        shop = InOneProcess(engine, engine_clock(engine))
        shop.post([two_tastes.item("tea-0")])
        for number in range(2 * LEAST_USERS - 1):
            features = {"likes": "many" if number < LEAST_USERS else "few"}
            shop.post([{"type": "user", "user_id": f"user-{number}", "features": features}])
            for kind in ("impression", "action"):
                extra = {"action": "click"} if kind == "action" else {}
                shop.post(
                    [{"type": kind, "user_id": f"user-{number}", "item_id": "tea-0", "request_id": number, **extra}]
                )
        shop.settle()
        users = engine.learner.state.signals.user_fields
        table = engine.learner.queue.trainer.tables["content"]
        many, few = (key_of_row(USER, value(users, "likes", said), 0) for said in ("many", "few"))
        assert {many, few} <= set(table.keys().tolist())
        assert teach(new.learner, engine.learner).features == 2
        after = set(new.learner.queue.trainer.tables["content"].keys().tolist())
        assert many in after
        assert few not in after


def test_what_cannot_be_done_is_said(
    first: Path, second: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    def run(*arguments: object) -> str:
        from stream_reco.terminal.errors import Failure

        try:
            app(["transfer", *map(str, arguments)], standalone_mode=False)
        except Failure as failure:
            return str(failure)
        return capsys.readouterr().out

    nothing = tmp_path / "nothing"
    nothing.mkdir()
    assert f"{nothing} is no data folder" in run(nothing, tmp_path / "new")
    assert not (tmp_path / "new").exists()
    assert f"{second} exists already" in run(first, second)
    with opened(second), pytest.raises(BackupError, match="exists already"):
        transfer(first, second, SETTINGS)
    with opened(first):  # as a running server has it
        assert f"Start it with stream-reco serve --data {tmp_path / 'made'}" in run(first, tmp_path / "made")
    with opened(tmp_path / "made") as engine:
        assert len(engine.learner.queue.trainer.tables["content"]) >= 8


def test_a_shop_that_says_nothing_teaches_nothing(tmp_path: Path) -> None:
    with opened(tmp_path / "first"):
        pass
    assert transfer(tmp_path / "first", tmp_path / "second", SETTINGS) == Transferred(0, 0, 0)
    with opened(tmp_path / "second") as engine:
        assert engine.status()["rows"] == 0
