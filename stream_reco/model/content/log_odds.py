"""What the content of users and items adds to the log-odds of candidates."""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from stream_reco.model.content.regression import CONTENT_TABLE
from stream_reco.model.content.value_odds import score_values
from stream_reco.model.content.value_rows import value_rows
from stream_reco.model.inputs import Batch
from stream_reco.model.lookup import Lookup


class ContentOdds(NamedTuple):
    """What content says of n candidates."""

    means: NDArray[np.float32]
    """float32[n], to be added to log-odds."""
    variances: NDArray[np.float32]
    """float32[n]: how little is known of it."""


def content_log_odds(batch: Batch, tables: Mapping[str, Lookup], priors: NDArray[np.float32]) -> ContentOdds | None:
    """What the content of a batch says; None where nothing is said of anyone in it, or nothing was learned yet."""
    if not batch.has_content or CONTENT_TABLE.name not in tables:
        return None
    said, rows = value_rows(batch)
    return ContentOdds(*score_values(said, rows, tables[CONTENT_TABLE.name].lookup(rows.keys), priors))
