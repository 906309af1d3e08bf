"""Learning what the content of users and items says, from the same examples as the model beside it."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from stream_reco.embedding import EmbeddingTable
from stream_reco.model.content.erasure import own_keys
from stream_reco.model.content.log_odds import ContentOdds
from stream_reco.model.content.pairs import Pairs, pairs_of, priors_of
from stream_reco.model.content.regression import Observations, contrasts, learned, score
from stream_reco.model.content.settings import ContentSettings
from stream_reco.model.training_batch import TrainingBatch

_AT_ONCE = 1 << 16
"""Keys that are gone through at once, so that little memory is taken."""
_VALUES_ALONE = priors_of(
    ContentSettings(item=1.0, user=0, cross=0, equal=0, context=0, own=0, words=0, appeal=0, popularity=0, activity=0)
)


class PreparedContent(NamedTuple):
    """The coefficients of a batch before it is learned from."""

    pairs: Pairs
    keys: NDArray[np.int64]
    """int64[u], distinct, ascending."""
    places: NDArray[np.int64]
    """int64[m]: of each coefficient of the pairs the place of its key."""
    rows: NDArray[np.float32]
    """float32[u, 2]"""
    odds: ContentOdds


class ContentTrainer:
    """Learns the rows of `CONTENT_TABLE`, each example by what the rest of the model leaves to be said.

    The model is trained with what content says as a given, and content with what the model says: each explains what the
    other does not.
    """

    def __init__(self, settings: ContentSettings, table: Callable[[], EmbeddingTable]) -> None:
        """`table`: the one of the trainer, which a restart replaces."""
        self.priors, self._table = priors_of(settings), table
        self._marks_values = max(settings.own, settings.words) > 0.0 and settings.item == 0.0
        """Whether rows of values have to be made for no other reason than that `forget` goes by them."""

    def prepare(self, batch: TrainingBatch) -> PreparedContent | None:
        """What content says of a batch; None where nothing is said of anyone in it.

        Coefficients of the first candidates get rows; what is said of sampled negatives alone earns none.
        """
        if not batch.batch.has_content:
            return None
        table = self._table()
        pairs = pairs_of(batch.batch, self.priors)
        starts = batch.batch.starts
        of_first = [pairs.keys[pairs.bounds[one] : pairs.bounds[one + 1]] for one in starts.tolist()]
        if self._marks_values:
            marks = pairs_of(batch.batch, _VALUES_ALONE)
            of_first += [marks.keys[marks.bounds[one] : marks.bounds[one + 1]] for one in starts.tolist()]
        table.train_rows(np.unique(np.concatenate(of_first)), batch.now)
        keys, places = np.unique(pairs.keys, return_inverse=True)
        rows, places = table.lookup(keys), places.reshape(-1)
        return PreparedContent(pairs, keys, places, rows, ContentOdds(*score(pairs, rows[places], self.priors)))

    def forget(self, user_key: int) -> None:
        """Remove the rows that are a user's own, with all that is in them.

        Where a table has more to hold than its budget, what items say may have lost its row for everybody, and the
        user's is not found: such rows are the least valuable, and leave next.
        """
        table = self._table()
        keys = table.keys()
        for start in range(0, max(1, len(keys)), _AT_ONCE):
            table.forget(own_keys(keys[start : start + _AT_ONCE], user_key))

    def learn(self, prepared: PreparedContent, batch: TrainingBatch, logits: NDArray[np.float32]) -> None:
        """Learn from a batch with corrected weights; `logits` float32[n] are what the rest says of each candidate."""
        observed = _observations(prepared, batch, logits.astype(np.float64))
        after = learned(prepared.rows, observed, self.priors)
        self._table().apply_gradients(prepared.keys, prepared.rows - after)


def _observations(prepared: PreparedContent, batch: TrainingBatch, logits: NDArray[np.float64]) -> Observations:
    """One of each request: of its only candidate, or that the first was chosen among all.

    A choice is a logistic regression on how the first differs from the others, each by its share of their odds: its
    gradient is that of the softmax, and what all candidates have in common says nothing.
    """
    starts, owners = batch.batch.starts, batch.batch.owners
    means = prepared.odds.means.astype(np.float64)
    others, shares = _others(logits + means, starts, owners)
    shares[starts] = -1.0
    # A contrast says at the means of now what the first says over the others; the offset is what that leaves.
    said = np.add.reduceat(shares * means, starts) + means[starts]
    given = logits[starts] - np.where(np.isfinite(others), others - said, 0.0)
    inputs = contrasts(prepared.pairs, prepared.places, starts, -shares)
    return Observations(
        *inputs,
        given,
        batch.labels[starts].astype(np.float64),
        batch.weights.astype(np.float64),
        np.where(batch.sampled, 0.0, batch.undone.astype(np.float64)),
    )


def _others(
    odds: NDArray[np.float64], starts: NDArray[np.int64], owners: NDArray[np.int64]
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Of all but the first candidates the logarithm float64[g] of their summed odds, and each one's share float64[n].

    Where there are no others the logarithm is −inf; the shares of the first ones are 0.
    """
    rest = odds.copy()
    rest[starts] = -np.inf
    largest = np.maximum.reduceat(rest, starts)
    finite = np.where(np.isfinite(largest), largest, 0.0)
    shares = np.exp(rest - finite[owners])
    sums = np.add.reduceat(shares, starts)
    with np.errstate(divide="ignore"):
        return finite + np.log(sums), shares / np.where(sums > 0.0, sums, 1.0)[owners]
