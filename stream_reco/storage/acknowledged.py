"""What the log acknowledged last, in a file of its own: SQLite ends its recovery quietly at the first damaged frame.

Two slots are written in turns, each in a sector of its own, so that a power cut in the middle of a write leaves the
other one. A slot is: magic, number of the write, position, checksum of the record there, checksum of all these.
"""

import os
import struct
from pathlib import Path
from typing import NamedTuple

import xxhash

from stream_reco.storage.disk import sync

_MAGIC = b"SRACK\x00\x00\x01"
_FIELDS = struct.Struct("<8sQqq")
_CHECKSUM = struct.Struct("<Q")
_SLOT_BYTES = 4096
"""Of one slot: disks write 4 KiB sectors as a whole."""
_SLOTS = 2


class Acknowledged(NamedTuple):
    """Position of the newest acknowledged record, and that record's checksum; (0, 0) in a new log."""

    position: int
    checksum: int


class AcknowledgedFile:
    """The file at `path`, made by the first `write`. Raises OSError where it cannot be read or written."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.newest: Acknowledged | None = None
        """What the last write said; None where no slot can be read."""
        self.problem: str | None = None
        """What of the file is missing or damaged."""
        self._writes = 0
        """Number of the next write."""
        self._descriptor: int | None = None
        self._read()

    def write(self, acknowledged: Acknowledged) -> None:
        """Returns when it is on disk."""
        if self._descriptor is None:
            self._open(acknowledged)
        self._put(self._writes, acknowledged)
        self._writes += 1
        self.newest = acknowledged

    def close(self) -> None:
        """Idempotent."""
        if self._descriptor is not None:
            os.close(self._descriptor)
            self._descriptor = None

    def _read(self) -> None:
        try:
            data = self.path.read_bytes()
        except FileNotFoundError:
            self.problem = "it is missing"
            return
        slots = [_slot(data[place * _SLOT_BYTES :][: _FIELDS.size + _CHECKSUM.size]) for place in range(_SLOTS)]
        whole = [slot for slot in slots if slot is not None]
        if len(whole) < _SLOTS:
            self.problem = "both of its entries are damaged" if not whole else "one of its two entries is damaged"
        if whole:
            number, self.newest = max(whole)
            self._writes = number + 1

    def _open(self, acknowledged: Acknowledged) -> None:
        whole = self.newest is not None
        # O_DSYNC: a write and its sync are one call, which waits for the interpreter's lock once.
        self._descriptor = os.open(self.path, os.O_RDWR | os.O_CREAT | os.O_DSYNC, 0o644)
        if not whole:
            for number in range(_SLOTS):
                self._put(number, acknowledged)
            self._writes = _SLOTS
            sync(self.path.parent)

    def _put(self, number: int, acknowledged: Acknowledged) -> None:
        assert self._descriptor is not None
        fields = _FIELDS.pack(_MAGIC, number, *acknowledged)
        slot = (fields + _CHECKSUM.pack(xxhash.xxh3_64_intdigest(fields))).ljust(_SLOT_BYTES, b"\x00")
        written = os.pwrite(self._descriptor, slot, number % _SLOTS * _SLOT_BYTES)
        if written != len(slot):
            raise OSError(f"{self.path}: {written} of {len(slot)} bytes were written")


def _slot(data: bytes) -> tuple[int, Acknowledged] | None:
    """The number of the write and what it said; None for a damaged one."""
    if len(data) < _FIELDS.size + _CHECKSUM.size:
        return None
    magic, number, position, checksum = _FIELDS.unpack_from(data)
    if magic != _MAGIC or _CHECKSUM.unpack_from(data, _FIELDS.size)[0] != xxhash.xxh3_64_intdigest(
        data[: _FIELDS.size]
    ):
        return None
    return number, Acknowledged(position, checksum)
