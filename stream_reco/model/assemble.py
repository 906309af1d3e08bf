"""One request's inputs, put together in one place for training and for serving."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from stream_reco.model.features.kernels import feature_matrix
from stream_reco.model.inputs import NO_CANDIDATES, Inputs, history_inputs
from stream_reco.model.spec import Need
from stream_reco.signals.content.values import NO_VALUES, Values
from stream_reco.signals.context import Context
from stream_reco.signals.dislikes import NOTHING_DISLIKED
from stream_reco.signals.exposures import NOTHING_SHOWN, Exposure
from stream_reco.signals.signals import Signals


class RequestState(NamedTuple):
    """What is known of a request: who asks, when and where, and what they did before."""

    user_key: int
    recent: NDArray[np.int32]
    """int32[RECENT]: slots of the user's newest actions, newest first, −1 behind the last."""
    times: NDArray[np.int64]
    """int64[RECENT]: when they were, ms."""
    context: Context
    now: int
    """ms"""
    shown: Exposure = NOTHING_SHOWN
    """What the user was shown and has not acted on."""
    disliked: NDArray[np.int32] = NOTHING_DISLIKED
    """int32[d]: slots that the user took a negative action on, those of the newest actions first."""
    profile: Values = NO_VALUES
    """What is said of the user."""


def request_inputs(signals: Signals, state: RequestState) -> Inputs:
    """Inputs without candidates: the user, the context and the history."""
    keys, ages = history_inputs(signals.catalogue.keys, state.recent, state.times, state.now)
    return Inputs(state.user_key, state.context.keys, keys, ages, *NO_CANDIDATES, profile=state.profile)


def with_candidates(
    request: Inputs,
    signals: Signals,
    state: RequestState,
    slots: NDArray[np.int32],
    needs: frozenset[Need],
    rates: NDArray[np.float32] | None = None,
) -> Inputs:
    """The inputs of a request with candidates `slots` int32[n], and their features if a model `needs` any.

    `rates` float32[n]: how often sampling includes each; by default 1, as nothing was sampled.
    """
    if "features" in needs:
        dense = feature_matrix(
            signals, state.recent, state.times, state.context, state.now, slots, state.shown, state.disliked
        )
    else:
        dense = np.empty((len(slots), 0), dtype=np.float32)
    return Inputs(
        request.user_key,
        request.context_keys,
        request.history_keys,
        request.history_ages,
        signals.catalogue.keys[slots],
        dense,
        np.ones(len(slots), dtype=np.float32) if rates is None else rates,
        request.profile,
        *signals.catalogue.content.read(slots, state.now),
    )
