"""A new data folder for another shop: it knows what features mean, and nothing of items, users and events.

What travels is listed, and all else stays: coefficients of values and of pairs of values, vectors of values, names,
kinds and scales of features, dense weights. What fewer than `LEAST_USERS` users say of themselves stays as well: it
would be about them. So does what is known of contexts, unless a field is named: who sends a context is not known, and
some values may be of one person alone.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from stream_reco.config import Settings
from stream_reco.embedded.export import learner_of
from stream_reco.embedded.journal.recovery import Storage
from stream_reco.embedded.learner import Learner
from stream_reco.embedding import EmbeddingTable
from stream_reco.embedding.table.selection import only
from stream_reco.model.content.regression import CONTENT_TABLE
from stream_reco.model.content.shared_rows import SharedValues, shared_keys, values_of_items
from stream_reco.model.encoder.encoding import ENCODER, spelled
from stream_reco.signals.catalogue import Catalogue
from stream_reco.signals.content.profiles import Profiles
from stream_reco.signals.content.values import Values
from stream_reco.storage.backup import check_new, whole_or_nothing

LEAST_USERS = 5
"""Users who must have a value so that what was learned of it travels (k-anonymity, Sweeney 2002; k of 5 is usual)."""
_AT_ONCE = 4096
"""Items that are read at once: their given vectors take memory."""
_FEW_CLICKS = 1.0
"""What the click rate of the first shop counts for in the second one, in the information of clicks: as much as one."""


@dataclass(frozen=True)
class Transferred:
    """How much a new folder has been given."""

    features: int
    """Of items and users together."""
    coefficients: int
    """Rows of the table of content."""
    vectors: int
    """Rows of the table of the encoder."""


def transfer(folder: Path, new: Path, settings: Settings, contexts: Sequence[str] = ()) -> Transferred:
    """Make the new data folder `new` from what `folder` has learned of features, whether or not a server writes there.

    `contexts`: fields of the context that say nothing of one person alone. Raises what `learner_of` raises, and
    BackupError where `new` is not empty or cannot be written; nothing is left there then.
    """
    check_new(new)
    with learner_of(folder, settings) as source, whole_or_nothing(new), closing(Storage(new)) as storage:
        target = Learner(source.settings, storage.labels(None))
        transferred = teach(target, source, contexts)
        storage.checkpoint(target, 0, erase=False)
    return transferred


def teach(target: Learner, source: Learner, contexts: Sequence[str] = ()) -> Transferred:
    """Give a learner that knows nothing yet what another one, of the same settings, knows of features."""
    signals, given = source.state.signals, target.state.signals
    given.catalogue.content.fields.restore(signals.catalogue.content.fields.summary(1))
    given.user_fields.restore(signals.user_fields.summary(LEAST_USERS))
    tables = _tables(source, _shared(source, contexts))
    trainer, parts = target.queue.trainer, source.queue.trainer.state()
    steps, begin = int(parts["progress"][1]), trainer.state()
    parts |= {"progress": np.array([0, steps], dtype=np.int64), "late": begin["late"]}
    parts["intercept"] = np.minimum(parts["intercept"], [np.inf, np.inf, _FEW_CLICKS])
    trainer.restore(parts, trainer.tables | tables)
    return Transferred(
        len(given.catalogue.content.fields) + len(given.user_fields),
        len(tables[CONTENT_TABLE.name]),
        len(tables.get(ENCODER, ())),
    )


def _tables(source: Learner, values: SharedValues) -> dict[str, EmbeddingTable]:
    given, content = source.queue.trainer.tables, CONTENT_TABLE.name
    tables = {content: only(given[content], shared_keys(values, given[content].keys()))}
    if ENCODER in given:
        of_vectors = list(_places_of_vectors(source.state.signals.catalogue))
        tables[ENCODER] = only(given[ENCODER], np.concatenate([values_of_items(values), *of_vectors]))
    return tables


def _shared(source: Learner, contexts: Sequence[str]) -> SharedValues:
    catalogue, coder = source.state.signals.catalogue, source.state.signals.coder
    items = _frequent(_values_of_items(catalogue), 1)
    users = _frequent(_values_of_users(source.state.profiles, source.state.stream_time), LEAST_USERS)
    keys = [coder.keys_of(field) for field in contexts]
    return SharedValues(*users, *items, np.concatenate([np.empty(0, dtype=np.int64), *keys]))


def _frequent(said: Iterable[Values], least: int) -> tuple[NDArray[np.int32], NDArray[np.int64]]:
    """Hashes of features int32[v] and codes int64[v] of what is said so many times, the most frequent first."""
    counts: Counter[tuple[int, int]] = Counter()
    for values in said:
        counts.update(zip(values.fields.tolist(), values.codes.tolist(), strict=True))
    found = [value for value, count in counts.most_common() if count >= least]
    fields, codes = zip(*found, strict=True) if found else ((), ())
    return np.array(fields, dtype=np.int32), np.array(codes, dtype=np.int64)


def _live(catalogue: Catalogue) -> Iterator[NDArray[np.int32]]:
    slots = np.flatnonzero(catalogue.live).astype(np.int32)
    return (slots[start : start + _AT_ONCE] for start in range(0, len(slots), _AT_ONCE))


def _values_of_items(catalogue: Catalogue) -> Iterator[Values]:
    return (catalogue.content.lasting(slots).values for slots in _live(catalogue))


def _values_of_users(profiles: Profiles, now: int) -> Iterator[Values]:
    return (profiles.values(user_id, now) for user_id in profiles.users())


def _places_of_vectors(catalogue: Catalogue) -> Iterator[NDArray[np.int64]]:
    """The keys int64[d] of the rows by which given vectors are projected, of each name that an item has one of."""
    for slots in _live(catalogue):
        yield from (places for places, _ in spelled(catalogue.content.lasting(slots)).vectors)
