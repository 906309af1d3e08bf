"""Compile and load what reads features, beside a server that is ready already.

An empty catalogue needs none of it, and it takes a fifth of the time of a first start. Nothing is waited for but by
whoever sends features in the first seconds of it.
"""

from __future__ import annotations

from threading import Thread
from typing import Any

import numpy as np

from stream_reco.model.content.erasure import own_keys
from stream_reco.model.content.pairs import pairs_of, priors_of
from stream_reco.model.content.regression import Observations, contrasts, learned, score
from stream_reco.model.content.settings import ContentSettings
from stream_reco.model.content.value_odds import score_values
from stream_reco.model.content.value_rows import value_rows
from stream_reco.model.encoder.encoding import encode, encoder_table, gradient_rows, spelled
from stream_reco.model.encoder.item_codes import ItemCodes
from stream_reco.model.encoder.settings import EncoderSettings
from stream_reco.model.inputs import NO_CANDIDATES, Inputs, collate
from stream_reco.serve.slate.alike_pairs import pairs_by_vectors, pairs_by_words
from stream_reco.signals.content.fields import FeatureFields
from stream_reco.signals.content.items import ItemContent
from stream_reco.signals.content.values import values_of
from stream_reco.signals.content.vectors import VectorArray
from stream_reco.signals.settings import CONTEXT_FIELDS, RECENT
from stream_reco.train.settings import TrainSettings
from stream_reco.train.tables import new_table

_FEATURES: dict[str, Any] = {
    "topic": "a",
    "year": 1999,
    "title": "one of every kind",
    "since": "1999-01-01",
    "tags": ["a", "b"],
}
"""A value of each kind."""
_SLOT = np.zeros(1, dtype=np.int32)
_TWICE = np.zeros(2, dtype=np.int32)


def warm_up_content() -> None:
    """Run each kernel once."""
    content = ItemContent([_FEATURES], FeatureFields("item"))
    content.set(0, _FEATURES)
    for field, code in content.categories_of(_SLOT, words=True):
        content.having(field, code, 1)
        content.frequency(field, code)
    counts, said = content.read(_SLOT, 0)
    request = Inputs(
        1,
        np.zeros(CONTEXT_FIELDS, dtype=np.int64),
        np.zeros(RECENT, dtype=np.int64),
        np.full(RECENT, -1, dtype=np.float32),
        np.ones(1, dtype=np.int64),
        NO_CANDIDATES[1][:, :0].reshape(1, 0),
        np.ones(1, dtype=np.float32),
        values_of(content.fields, _FEATURES, 0),
        counts,
        said,
    )
    priors, batch = priors_of(ContentSettings()), collate([request])
    known, asked = value_rows(batch)
    score_values(known, asked, np.zeros((len(asked.keys), 2), dtype=np.float32), priors)
    pairs = pairs_of(batch, priors)
    rows = np.zeros((len(pairs.keys), 2), dtype=np.float32)
    score(pairs, rows, priors)
    inputs = contrasts(pairs, np.arange(len(rows)), np.zeros(1, dtype=np.int64), np.ones(1))
    learned(rows, Observations(*inputs, *(np.ones(1) for _ in range(4))), priors)
    own_keys(pairs.keys, 1)
    _compare(content)
    _encode(content)


def _compare(content: ItemContent) -> None:
    counts, said = content.read(_TWICE, 0)
    pairs_by_words(counts, said, np.arange(len(_TWICE)), 0.5)
    given = VectorArray(1)
    given.put(0, np.ones(1, dtype=np.float32))
    pairs_by_vectors(given, _TWICE, np.arange(len(_TWICE)))


def _encode(content: ItemContent) -> None:
    settings = EncoderSettings()
    said, table = spelled(content.lasting(_SLOT)), new_table(encoder_table(settings), TrainSettings())
    encoded = encode(said, table, settings.dim)
    gradient_rows(said, encoded)
    codes = ItemCodes(settings.dim)
    codes.put(_SLOT, encoded)
    codes.cosines(0, _SLOT)


def warm_up_content_in_background() -> None:
    """The same on a thread of its own; a process that ends meanwhile waits for it, some ten seconds at most."""
    Thread(target=warm_up_content, name="content kernels").start()
