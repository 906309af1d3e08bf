"""Retrieve, rank, re-rank: from a request to a slate, on one version of everything."""

from __future__ import annotations

import itertools
from collections import Counter
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from functools import cache
from time import perf_counter
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray
from prometheus_client import Counter as PrometheusCounter

from stream_reco import metrics
from stream_reco.events import Id, key_of
from stream_reco.model.assemble import RequestState, request_inputs, with_candidates
from stream_reco.model.inputs import Batch, Inputs, alone, collate
from stream_reco.retrieve.filters import parse_filters, passing
from stream_reco.retrieve.settings import RetrieveSettings
from stream_reco.retrieve.sources import Retriever, source_name
from stream_reco.serve.settings import SlateSettings
from stream_reco.serve.slate.candidates import UnderstoodRequest, find_candidates
from stream_reco.serve.slate.dislike_similarity import dislike_shift
from stream_reco.serve.slate.exploration import Evidence
from stream_reco.serve.slate.fatigue import fatigue_shift
from stream_reco.serve.slate.near_duplicates import NearDuplicates, without_duplicates
from stream_reco.serve.slate.new_items import new_items
from stream_reco.serve.slate.newest_requests import NewestRequests
from stream_reco.serve.slate.objectives import check_objectives, known_objectives
from stream_reco.serve.slate.ordering import ordering_values
from stream_reco.serve.slate.pending_slates import PendingSlates
from stream_reco.serve.slate.request import Request, UserContext
from stream_reco.serve.slate.reranker import NOBODY, Chosen, Reranker
from stream_reco.serve.slate.scored import Scored, by_kind, nothing_scored, score_candidates
from stream_reco.serve.slate.serving_state import ServingState
from stream_reco.serve.slate.slate import ScoredItems, Slate, SlateItem
from stream_reco.serve.slate.slate_features import SlateFeatures, SlateListener

Integer = TypeVar("Integer", np.int32, np.int64)
_AT_ONCE = 20
"""Requests that are ranked in one forward pass: with a few hundred candidates each, arrays fit the CPU cache."""
_THREADS = 2
"""Threads that share many requests; kernels release the interpreter lock."""


@dataclass(frozen=True)
class _Ranked:
    """The candidates of a request and what the ranker says of them."""

    asked: UnderstoodRequest
    slots: NDArray[np.int32]
    sources: NDArray[np.int32]
    scored: Scored
    inputs: Inputs


class Scorer:
    """Answers requests from what is `served` and from what `context_of(user, now)` knows of the user.

    Any number of threads may ask.
    """

    def __init__(
        self,
        served: ServingState,
        context_of: Callable[[Id, int], UserContext],
        retrieve: RetrieveSettings,
        settings: SlateSettings,
        seed: int,
        *,
        name: str = "",
        watch: SlateListener | None = None,
    ) -> None:
        """`name` is part of the ids of requests: scorers that follow one trainer need different ones.

        `watch` is called with every slate that is not empty.
        """
        self._served = served
        self._context_of = context_of
        self._settings = settings
        self._retriever = Retriever(retrieve)
        self._duplicates = NearDuplicates(settings.near_duplicate)
        self._rerank = Reranker(settings, seed, name)
        self._numbers = itertools.count(1)
        self._name, self._watch = name, watch
        self._threads = ThreadPoolExecutor(_THREADS, "rank")
        self._unmade: list[PendingSlates] = []
        self.newest = NewestRequests()
        self.candidates = 0
        """Candidates ranked so far; a close estimate where several threads ask at once."""

    @property
    def objectives(self) -> list[str]:
        """What requests may give weights to."""
        return known_objectives(self._served.heads, self._settings.objectives)

    def recommend_many(self, requests: Sequence[Request], now: int) -> list[Slate]:
        """One slate for each request, all of one version; `now` (ms) is used where a request has no time of its own."""
        with self._served.replica.reading():
            if not self._served.replica.version:
                return [self._numbered([]) for _ in requests]
            portions = self._portions(requests, now)
            # Slates are made in order, whichever portion is ranked first: exploration draws from one generator.
            rank = map if len(portions) < 2 * _THREADS else self._threads.map
            return [self._slate(one) for portion in rank(self._rank, portions) for one in portion]

    def recommend_async(self, requests: Sequence[Request], now: int) -> PendingSlates:
        """The same, ranked by other threads while the caller goes on.

        Only for the thread that lets the replica poll: it calls `finish_pending` before.
        """
        if not self._served.replica.version:
            return PendingSlates(lambda: ([self._numbered([]) for _ in requests], 0.0))
        ranked = [self._threads.submit(self._rank_timed, portion) for portion in self._portions(requests, now)]

        def finish() -> tuple[list[Slate], float]:
            done = [portion.result() for portion in ranked]
            return [self._slate(one) for portion, _ in done for one in portion], sum(seconds for _, seconds in done)

        answers = PendingSlates(finish)
        self._unmade = [*(one for one in self._unmade if not one.made), answers]
        return answers

    def finish_pending(self) -> None:
        """Make what `recommend_async` was asked for and nobody has looked at yet."""
        unmade, self._unmade = self._unmade, []
        for answers in unmade:
            answers.slates()

    def close(self) -> None:
        """End the threads."""
        self._threads.shutdown()

    def score(self, request: Request, item_ids: Sequence[Id], now: int) -> NDArray[np.float32]:
        """float32[n]: probabilities of the items for the request's user; 0 before the first version."""
        return self.predict(request, item_ids, now).scores

    def predict(self, request: Request, item_ids: Sequence[Id], now: int) -> ScoredItems:
        """What is said of the items for the request's user; zeros before the first version.

        An item that no event has mentioned is taken for a new one: that it is asked for says that it is there.
        Raises RefusedError for an objective that is unknown.
        """
        with self._served.replica.reading():
            asked = self._understand(request, now)
            among = np.full(len(item_ids), self._served.replica.version > 0)
            scored = nothing_scored(self._served)
            if among.any():
                requests = self._read([asked.inputs])
                scored = self._score([asked], [self._named_inputs(asked, item_ids)], requests)[0]
        return scored.columns(among)

    def _named_inputs(self, asked: UnderstoodRequest, item_ids: Sequence[Id]) -> Inputs:
        """A request's inputs with the items as candidates, be they known or not."""
        served = self._served
        slots = np.array([served.signals.catalogue.slot_of(item_id) for item_id in item_ids], dtype=np.int32)
        inputs = with_candidates(asked.inputs, served.signals, asked.state, slots, served.scoring.needs)
        keys = inputs.item_keys.copy()
        for place in np.flatnonzero(slots < 0).tolist():
            keys[place] = key_of(item_ids[place], "item")
        return replace(inputs, item_keys=keys)

    def _understand(self, request: Request, now: int) -> UnderstoodRequest:
        signals = self._served.signals
        if request.objectives:
            check_objectives(request.objectives, self.objectives)
        now = now if request.now is None else request.now
        context = signals.coder.encode(request.context, now)
        user = self._context_of(request.user_id, now)
        known = (user.recent >= 0) & (user.recent < signals.catalogue.size)
        recent, times = user.recent, user.times
        if not known.all():
            recent, times = _packed(recent, -1, known), _packed(times, 0, known)
        disliked = user.disliked[user.disliked < signals.catalogue.size]
        state = RequestState(user.user_key, recent, times, context, now, user.shown, disliked, user.profile)
        passes = passing(signals.catalogue, parse_filters(request.filters)) if request.filters else None
        turn = self._retriever.turn(request.k, signals.catalogue.size, filtered=passes is not None)
        return UnderstoodRequest(request, user, state, request_inputs(signals, state), passes, turn)

    def _portions(self, requests: Sequence[Request], now: int) -> list[list[UnderstoodRequest]]:
        asked = [self._understand(one, now) for one in requests]
        return [asked[first : first + _AT_ONCE] for first in range(0, len(asked), _AT_ONCE)]

    def _rank_timed(self, asked: list[UnderstoodRequest]) -> tuple[list[_Ranked], float]:
        start = perf_counter()
        ranked = self._rank(asked)
        return ranked, perf_counter() - start

    def _rank(self, asked: list[UnderstoodRequest]) -> list[_Ranked]:
        requests = self._read([one.inputs for one in asked])
        keep_seen = self._settings.keep_seen
        found = find_candidates(self._served, self._retriever, asked, requests, keep_seen=keep_seen)
        signals, needs = self._served.signals, self._served.scoring.needs
        inputs = [
            with_candidates(one.inputs, signals, one.state, slots, needs)
            for one, (slots, _) in zip(asked, found, strict=True)
        ]
        scores = self._score(asked, inputs, requests)
        return [
            _Ranked(one, slots, sources, scored, mine)
            for one, (slots, sources), scored, mine in zip(asked, found, scores, inputs, strict=True)
        ]

    def _read(self, inputs: list[Inputs]) -> Any:
        """What the model reads and computes of the requests alone."""
        return self._served.scoring.requests(_batch(inputs), self._served.replica.tables)

    def _score(self, asked: list[UnderstoodRequest], inputs: list[Inputs], requests: Any) -> list[Scored]:
        """For each request what the model says of its candidates, which are in its `inputs`.

        `requests`: what `_read` gave for the same requests.
        """
        batch = _batch(inputs)
        if not len(batch.item_keys):
            return [nothing_scored(self._served) for _ in inputs]
        objectives = [one.request.objectives or self._settings.objectives for one in asked]
        return score_candidates(self._served, requests, batch, objectives)

    def _slate(self, ranked: _Ranked) -> Slate:
        served, slots, sources, scored = self._served, ranked.slots, ranked.sources, ranked.scored
        self.candidates += len(slots)
        self.newest.keep(ranked.inputs)
        chosen = self._choose(ranked, ordering_values(scored.ordering, self._shifts(ranked)))
        items = []
        for one, said in zip(chosen, by_kind(scored, [one.place for one in chosen]), strict=True):
            item_id = served.signals.catalogue.ids[slots[one.place]]
            assert item_id is not None
            score, probabilities, values = said
            source = _source(one, int(sources[one.place]))
            items.append(SlateItem(item_id, score, source, one.propensity, probabilities, values))
        for source, count in Counter([one.source for one in items]).items():
            _items_of(source).inc(count)
        slate = self._numbered(items)
        if self._watch is not None and items:
            self._watch(_shown(slate, ranked, [one.place for one in chosen]))
        return slate

    def _choose(self, ranked: _Ranked, ordering: NDArray[np.float32]) -> list[Chosen]:
        """The places of the slate; candidates are ordered by `ordering` float32[n]."""
        served, k, slots, evidence = self._served, ranked.asked.request.k, ranked.slots, self._evidence(ranked)
        content = ranked.inputs.counts, ranked.inputs.said
        catalogue = served.signals.catalogue
        staying = without_duplicates(self._duplicates.among(catalogue, slots, content, ordering), ordering, k)
        if staying is not None:
            metrics.NEAR_DUPLICATES.inc(len(slots) - len(staying))
            slots, ordering = slots[staying], ordering[staying]
            evidence = None if evidence is None else evidence.some(staying)
        wanted = self._rerank.places_for_newcomers(k)
        new = new_items(served.signals.counts.items, slots, ranked.asked.state.now) if wanted else NOBODY
        chosen = self._rerank(slots, ordering, k, served.index, catalogue, new, evidence)
        return chosen if staying is None else [one._replace(place=int(staying[one.place])) for one in chosen]

    def _evidence(self, ranked: _Ranked) -> Evidence | None:
        """How much is known of the candidates; None where nothing is explored."""
        if not self._rerank.explores:
            return None
        items, slots = self._served.signals.counts.items, ranked.slots
        reported = items.impressions[slots]
        shown = np.maximum(reported, items.totals[slots])
        return Evidence(shown, len(ranked.asked.user.seen), reported, ranked.scored.variances)

    def _shifts(self, ranked: _Ranked) -> list[NDArray[np.float32]]:
        """float32[n] each, on the log-odds: what moves candidates up or down in the order; no part of their scores."""
        settings, asked, state = self._settings, ranked.asked, ranked.asked.state
        shifts = (
            fatigue_shift(ranked.slots, state.shown, state.now, settings.fatigue),
            dislike_shift(self._served, ranked.slots, asked.user.disliked, state.now, settings.dislike_penalty),
        )
        return [shift for shift in shifts if shift is not None]

    def _numbered(self, items: list[SlateItem]) -> Slate:
        replica = self._served.replica
        request_id = f"{replica.epoch:x}-{self._name}{next(self._numbers):x}"
        return Slate(request_id, replica.version, items)


def _batch(inputs: list[Inputs]) -> Batch:
    return alone(inputs[0]) if len(inputs) == 1 else collate(inputs)


def _shown(slate: Slate, ranked: _Ranked, places: list[int]) -> SlateFeatures:
    asked = ranked.asked
    items = [one.item_id for one in slate.items]
    return SlateFeatures(slate.request_id, asked.request.user_id, asked.state.now, items, ranked.inputs.some(places))


@cache
def _items_of(source: str) -> PrometheusCounter:
    # To look a series up by its label takes longer than to count.
    return metrics.SLATE_ITEMS.labels(source)


def _source(chosen: Chosen, sources: int) -> str:
    if chosen.explored:
        return "exploration"
    return "newcomers" if chosen.newcomer else source_name(sources)


def _packed(array: NDArray[Integer], fill: int, keep: NDArray[np.bool_]) -> NDArray[Integer]:
    """The kept entries first, in order, then `fill`."""
    packed = np.full_like(array, fill)
    kept = array[keep]
    packed[: len(kept)] = kept
    return packed
