"""A deleted user leaves no row of the table of content, and the others' rows are what they were, to the bit."""

from __future__ import annotations

from dataclasses import replace
from typing import NamedTuple

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from stream_reco.embedding import EmbeddingTable
from stream_reco.model.content.erasure import first_of
from stream_reco.model.content.pairs import ACTIVITY, OWN, WORDS, mixed, pairs_of, priors_of
from stream_reco.model.content.regression import CONTENT_TABLE
from stream_reco.model.content.settings import ContentSettings
from stream_reco.model.inputs import Inputs
from stream_reco.signals.content.values import Values
from stream_reco.train.batch import Labelled, training_batch
from stream_reco.train.content_trainer import ContentTrainer
from tests.train.toy_examples import NOW, example

INT64 = st.integers(-(2**63), 2**63 - 1)
USERS = 4


class Shown(NamedTuple):
    """An example: who was shown what, said to be what. The last items are sampled negatives of the first."""

    user: int
    profile: tuple[int, ...]
    items: tuple[tuple[int, tuple[int, ...]], ...]
    label: int


def values_of(codes: tuple[int, ...]) -> Values:
    count = len(codes)
    weights = np.linspace(0.5, 1.0, count, dtype=np.float32)
    return Values(np.arange(count, dtype=np.int32) % 2 - 1, np.array(codes, dtype=np.int64), weights)


def labelled(shown: Shown) -> Labelled:
    bare = example(shown.user, [item for item, _ in shown.items], shown.label)
    said = tuple(code for _, codes in shown.items for code in codes)
    counts = np.array([len(codes) for _, codes in shown.items] if said else [], dtype=np.int32)
    inputs = Inputs.from_bytes(bare.inputs)
    whole = replace(inputs, profile=values_of(shown.profile), counts=counts, said=values_of(said))
    return Labelled(whole.to_bytes(), bare.label, bare.weight, NOW, 1)


def learned(table: EmbeddingTable, of: ContentSettings, log: list[Shown]) -> ContentTrainer:
    trainer = ContentTrainer(of, lambda: table)
    for one in log:
        batch = training_batch([labelled(one)])
        prepared = trainer.prepare(batch)
        if prepared is not None:
            trainer.learn(prepared, batch, np.zeros(len(batch.labels), dtype=np.float32))
    return trainer


def whose(of: ContentSettings, log: list[Shown]) -> dict[int, set[int]]:
    """Each key of the parts that are of one user → whose it is."""
    found: dict[int, set[int]] = {}
    for one in log:
        pairs = pairs_of(training_batch([labelled(one)]).batch, priors_of(of))
        for key in pairs.keys[np.isin(pairs.parts, (OWN, WORDS, ACTIVITY))].tolist():
            found.setdefault(key, set()).add(one.user)
    return found


def rows(table: EmbeddingTable) -> dict[int, bytes]:
    keys = table.keys()
    return {int(key): row.tobytes() for key, row in zip(keys, table.lookup(keys), strict=True)}


CODES = st.lists(st.sampled_from([0, 1, -1, 2**63 - 1, *range(5, 12)]), max_size=4, unique=True).map(tuple)
SHOWN = st.builds(
    Shown,
    st.integers(1, USERS),
    CODES,
    st.lists(st.tuples(st.integers(1, 9), CODES), min_size=1, max_size=3, unique_by=lambda one: one[0]).map(tuple),
    st.integers(0, 1),
)


@settings(deadline=None, max_examples=60)
@given(st.lists(SHOWN, max_size=25), st.sampled_from([0.0, 0.25]), st.sampled_from([0.0, 0.5]))
def test_what_is_a_users_own_leaves_and_nothing_else(log: list[Shown], item: float, own: float) -> None:
    of = ContentSettings(item=item, own=own)
    table = EmbeddingTable(CONTENT_TABLE.dim, CONTENT_TABLE.optimizer or "sgd", init_scale=0.0)
    trainer = learned(table, of, log)
    owners = whose(of, log)
    assert all(len(users) == 1 for users in owners.values())
    before = rows(table)
    for gone in range(1, USERS + 1):
        trainer.forget(gone)
        left = {key: row for key, row in before.items() if owners.get(key, {0}).isdisjoint(range(1, gone + 1))}
        assert rows(table) == left
        table.check_invariants()


@pytest.mark.parametrize("chunk", [1, 7])
def test_however_many_keys_are_gone_through_at_once(chunk: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("stream_reco.train.content_trainer._AT_ONCE", chunk)
    log = [Shown(user, (), ((user % 3 + 1, (user % 5, 7)),), user % 2) for user in (1, 2, 3, 1, 2, 3, 1)]
    table = EmbeddingTable(CONTENT_TABLE.dim, CONTENT_TABLE.optimizer or "sgd", init_scale=0.0)
    trainer = learned(table, ContentSettings(), log)
    owners, before = whose(ContentSettings(), log), rows(table)
    trainer.forget(2)
    assert rows(table) == {key: row for key, row in before.items() if owners.get(key) != {2}}
    assert len(table) < len(before)


@given(INT64, INT64)
def test_mixed_is_inverted(first: int, second: int) -> None:
    assert first_of(mixed(first, second), second) == first


def test_the_first_number_of_every_key_is_found() -> None:
    numbers: NDArray[np.int64] = np.random.default_rng(0).integers(-(2**63), 2**63 - 1, 10_000)
    assert [first_of(mixed(one, 3), 3) for one in numbers.tolist()] == numbers.tolist()
