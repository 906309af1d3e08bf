"""The record of how far the stream has come, and of the settings that the store was begun with."""

from __future__ import annotations

import msgspec
from msgspec import structs

from stream_reco.labels.label.delays import ActionDelays
from stream_reco.labels.memory.groups import Order
from stream_reco.labels.memory.keys import META
from stream_reco.labels.memory.protocol import BEFORE_ALL, LabelWindows, StreamProgress
from stream_reco.storage.rocksdb import RocksStore

VERSION = 3
"""From 2 on, ids of events are kept as digests; from 3 on, actions may be negative and waits of an impression's own."""
_READ = (1, 2, VERSION)


class Meta(msgspec.Struct, array_like=True):
    """One record; `reached` is the first entry that is not past, `ids_expired` an hour, `commits` a number of them."""

    version: int
    windows: LabelWindows
    order: Order
    progress: StreamProgress
    reached: tuple[int, int, int] = (BEFORE_ALL, -1, -1)
    ids_expired: int = BEFORE_ALL
    commits: int = 0
    delays: ActionDelays = msgspec.field(default_factory=lambda: ActionDelays({}))


def read_meta(store: RocksStore, windows: LabelWindows, order: Order) -> Meta:
    """What the store holds, or the beginning. Raises ValueError where it was begun otherwise."""
    data = store.get(META)
    if data is None:
        return Meta(VERSION, windows, order, StreamProgress())
    version = msgspec.msgpack.decode(data)[0]
    if version not in _READ:
        raise ValueError(
            f"the label store in {store.folder} has version {version}, this release reads {_READ[0]} to {VERSION}:"
            " use the release that wrote it, or remove the folder and replay the log"
        )
    meta = msgspec.msgpack.decode(data, type=Meta)
    if (_as_of_now(meta, windows), meta.order) != (windows, order):
        raise ValueError(
            f"the label store in {store.folder} was begun with {_description(meta.windows, meta.order)}, not with"
            f" {_description(windows, order)}: deadlines are laid out by these; set them back, or begin a new folder"
        )
    return meta


def _as_of_now(meta: Meta, windows: LabelWindows) -> LabelWindows:
    """The windows that a store was begun with; where nothing was presumed in it, what is new in it may be."""
    if meta.order is None and meta.windows.presume_ms is None and not meta.windows.adaptive:
        return structs.replace(meta.windows, adaptive=windows.adaptive)
    return meta.windows


def write_meta(store: RocksStore, meta: Meta) -> None:
    store.put(META, msgspec.msgpack.encode(meta))


def _description(windows: LabelWindows, order: Order) -> str:
    presumed = "never" if windows.presume_ms is None else f"after {windows.presume_ms} ms"
    presumed = "by the delays of actions" if windows.adaptive else presumed
    return f"a window of {windows.window_ms} ms, order {order}, presumed negative {presumed}"
