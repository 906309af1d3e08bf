"""The record of how far the stream has come, and of the settings that the store was begun with."""

from __future__ import annotations

import msgspec

from stream_reco.labels.memory.groups import Order
from stream_reco.labels.memory.keys import META
from stream_reco.labels.memory.protocol import BEFORE_ALL, LabelWindows, StreamProgress
from stream_reco.storage.rocksdb import RocksStore

VERSION = 2
"""From 2 on, ids of events are kept as digests."""
_READ = (1, VERSION)


class Meta(msgspec.Struct, array_like=True):
    """One record; `reached` is the first entry that is not past, `ids_expired` an hour, `commits` a number of them."""

    version: int
    windows: LabelWindows
    order: Order
    progress: StreamProgress
    reached: tuple[int, int, int] = (BEFORE_ALL, -1, -1)
    ids_expired: int = BEFORE_ALL
    commits: int = 0


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
    if (meta.windows, meta.order) != (windows, order):
        raise ValueError(
            f"the label store in {store.folder} was begun with {_description(meta.windows, meta.order)}, not with"
            f" {_description(windows, order)}: deadlines are laid out by these; set them back, or begin a new folder"
        )
    return meta


def write_meta(store: RocksStore, meta: Meta) -> None:
    store.put(META, msgspec.msgpack.encode(meta))


def _description(windows: LabelWindows, order: Order) -> str:
    presumed = "never" if windows.presume_ms is None else f"after {windows.presume_ms} ms"
    return f"a window of {windows.window_ms} ms, order {order}, presumed negative {presumed}"
