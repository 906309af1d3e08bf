"""What one trainer learned, as messages of the topic `trainer-exchange`: each is a part that can be applied alone."""

from __future__ import annotations

from collections.abc import Iterator

import msgspec
import numpy as np

from stream_reco.embedding import RowDeltas
from stream_reco.train.exchange import ModelDeltas

_PART_BYTES = 1 << 20
"""About as many bytes of rows in one message, a quarter of the longest that topics take."""
LearnedOffsets = dict[str, dict[int, int]]
"""Topic and partition → the offset of the next record to learn from."""


class BadContributionError(ValueError):
    """A message of the exchange cannot be used: it is of another release or another model."""


class _Rows(msgspec.Struct, frozen=True):
    table: str
    keys: bytes
    """int64[n]"""
    deltas: bytes
    """float32[n, dim + state]"""
    gone: bytes
    """int64[m]"""
    default: bytes
    """float32[dim + state] or nothing"""


class _Weights(msgspec.Struct, frozen=True):
    kept: float
    shape: tuple[int, ...]
    added: bytes
    """float32 of that shape"""


class Contribution(msgspec.Struct, frozen=True):
    """One message. `model`: the digest of the model that it is of."""

    trainer: int
    epoch: int
    model: str
    examples: int
    """Learned from: in the last part those of all parts."""
    steps: int
    rows: list[_Rows]
    dense: dict[str, _Weights]
    offsets: LearnedOffsets | None = None
    """With the last part: all that this trainer's examples before these offsets gave is in what it has sent."""

    def deltas(self) -> ModelDeltas:
        """Raises BadContributionError where lengths do not fit each other."""
        try:
            tables = tuple(_read_rows(each) for each in self.rows)
            dense = {
                name: (each.kept, np.frombuffer(each.added, np.float32).reshape(each.shape))
                for name, each in self.dense.items()
            }
        except ValueError as error:
            raise BadContributionError(f"a part of what trainer {self.trainer} learned is torn: {error}") from error
        return ModelDeltas(self.examples, self.steps, tables, dense)


def contributions_of(
    trainer: int, epoch: int, model: str, learned: ModelDeltas, offsets: LearnedOffsets
) -> Iterator[bytes]:
    """The messages, to be sent in this order in one transaction."""
    for table in learned.tables:
        rows = max(1, _PART_BYTES // (8 + 4 * max(1, table.deltas.shape[1])))
        for first in range(0, max(len(table.keys), 1), rows):
            # What leaves goes first, and the shared row is moved once.
            gone = table.gone.tobytes() if first == 0 else b""
            default = table.default.tobytes() if first == 0 else b""
            keys, deltas = table.keys[first : first + rows], table.deltas[first : first + rows]
            if len(keys) or gone or default:
                part = _Rows(table.name, keys.tobytes(), deltas.tobytes(), gone, default)
                yield msgspec.msgpack.encode(Contribution(trainer, epoch, model, 0, 0, [part], {}))
    dense = {name: _Weights(kept, added.shape, added.tobytes()) for name, (kept, added) in learned.dense.items()}
    last = Contribution(trainer, epoch, model, learned.examples, learned.steps, [], dense, offsets)
    yield msgspec.msgpack.encode(last)


def decode_contribution(value: bytes) -> Contribution:
    """Raises BadContributionError."""
    try:
        return msgspec.msgpack.decode(value, type=Contribution)
    except msgspec.DecodeError as error:
        raise BadContributionError(f"a message of the exchange of trainers cannot be read: {error}") from error


def _read_rows(part: _Rows) -> RowDeltas:
    keys = np.frombuffer(part.keys, np.int64)
    deltas = np.frombuffer(part.deltas, np.float32)
    width = len(deltas) // len(keys) if len(keys) else 0
    return RowDeltas(
        part.table,
        keys.copy(),  # kernels take arrays that could be written to
        deltas.reshape(len(keys), width).copy(),
        np.frombuffer(part.gone, np.int64).copy(),
        np.frombuffer(part.default, np.float32).copy(),
    )
