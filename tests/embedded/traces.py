"""A user with unique marks in every field, and a search for them in all bytes of a data folder."""

from __future__ import annotations

import struct
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from tempfile import TemporaryDirectory

import msgspec

from stream_reco.events import Action, Event, Id, Impression, ItemEvent, Retraction, UserEvent, key_of
from stream_reco.storage.rocksdb import copy_of
from stream_reco.storage.sortable_keys import number

SECOND = 1000
MARK = "Mark7f3a"
"""In every text that is the marked user's alone."""
NUMBERS = {
    name: 0x5EC2_E700_0000_0000 + place * 0x0123_4567_89AB for place, name in enumerate(("user", "event", "request"), 1)
}


def marked_events(start: int, user: Id, *, numbers: bool) -> list[Event]:
    """What one user does from `start` (ms) on, in every way that leaves something pending; others share the items.

    With `numbers` the ids of events and requests are integers.
    """
    count = iter(range(1000))

    def event_id() -> Id:
        return NUMBERS["event"] + next(count) if numbers else f"{MARK}-event-{next(count)}"

    request: Id = NUMBERS["request"] if numbers else f"{MARK}-request"
    context: dict[str, str | int | float | bool | None] = {"device": "phone", "city": f"{MARK}-city", "plan": 4711_4711}
    group = f"{MARK}-group"
    shown: list[Event] = [
        Impression(
            user_id=user,
            item_id=item,
            timestamp=start + item * SECOND,
            event_id=event_id(),
            request_id=request,
            position=item,
            group_id=group,
            context=context,
        )
        for item in range(6)
    ]

    def act(item: int, after: int, request_id: Id | None, value: float | None = None) -> Action:
        return Action(
            user_id=user,
            item_id=item,
            action="click",
            timestamp=start + after * SECOND,
            event_id=event_id(),
            request_id=request_id,
            context=context,
            value=value,
        )

    prompted, unprompted = act(4, 10, request), act(9, 12, None, value=3.0)
    taken_back = act(7, 13, None)
    waits = act(8, 60, f"{MARK}-unknown")
    retraction = Retraction(
        retracts=taken_back.event_id or 0, timestamp=start + 14 * SECOND, event_id=event_id(), user_id=user
    )
    # Whose action this is is not said, and the action never comes.
    orphan = Retraction(retracts=event_id(), timestamp=start + 60 * SECOND, event_id=event_id())
    about = UserEvent(user_id=user, timestamp=start, event_id=event_id(), features={"name": f"{MARK}-name"})
    return [about, *shown, prompted, unprompted, taken_back, retraction, waits, orphan]


def other_events(start: int, count: int = 400) -> list[Event]:
    """What twenty others do meanwhile."""
    items: list[Event] = [ItemEvent(item_id=item, timestamp=start, features={"kind": item % 3}) for item in range(12)]
    acts: list[Event] = []
    for one in range(count):
        user, item, time = one % 20, one * 7 % 12, start + one * 100
        request = f"r{one}"
        acts.append(
            Impression(
                user_id=user,
                item_id=item,
                timestamp=time,
                event_id=f"i{one}",
                request_id=request,
                position=0,
                group_id="all",
                context={"device": "phone" if one % 2 else "desk", "city": f"c{one % 4}"},
            )
        )
        if one % 3 == 0:
            acts.append(
                Action(
                    user_id=user,
                    item_id=item,
                    action="click",
                    timestamp=time,
                    event_id=f"a{one}",
                    request_id=request if one % 2 else None,
                    context={"device": "phone", "city": f"c{one % 4}"},
                )
            )
    return [*items, *acts]


def forms(user: Id) -> list[bytes]:
    """All ways in which what is the marked user's is written down."""
    found = [MARK.encode(), MARK.lower().encode()]
    for one in [*_integers(user), *range(NUMBERS["event"], NUMBERS["event"] + 40), NUMBERS["request"]]:
        found += [struct.pack("<q", one), struct.pack(">q", one), number(one), str(one).encode()]
        found += [msgspec.msgpack.encode(one), msgspec.json.encode(one)]
    return found


def _integers(user: Id) -> list[int]:
    # A text's key is its name in the tables and in prepared features.
    return [key_of(user, "user")]


def traces(folder: Path, user: Id) -> list[str]:
    """Where in the folder a form of the marks is found: in the bytes of files, and in what RocksDB has compressed."""
    wanted, found = forms(user), []
    for name, data in _contents(folder):
        found += [f"{name}: {form!r} {data.count(form)} times" for form in wanted if form in data]
    return found


def _contents(folder: Path) -> Iterator[tuple[str, bytes]]:
    for path in sorted(folder.rglob("*")):
        if path.is_file():
            yield str(path.relative_to(folder)), path.read_bytes()
    for store in [folder / "labels", *folder.glob("checkpoints/*/labels")]:
        with TemporaryDirectory() as copy, closing(copy_of(store, Path(copy) / "store")) as opened:
            pairs = opened.scan(b"\x00", b"\xff")
            yield f"inside {store.relative_to(folder)}", b"\n".join(key + b"=" + value for key, value in pairs)
