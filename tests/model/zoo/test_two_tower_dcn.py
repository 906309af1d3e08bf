"""The ranker against the same formulas written out in numpy, candidate by candidate."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from stream_reco.embedding import EmbeddingTable
from stream_reco.model.features.names import FAMILIES, FEATURES
from stream_reco.model.inputs import Inputs, collate
from stream_reco.model.rows import gather
from stream_reco.model.weights import weights_of
from stream_reco.model.zoo.settings import TwoTowerDcnSettings
from stream_reco.model.zoo.two_tower_dcn import TwoTowerDcn
from stream_reco.signals.growing import Parts
from stream_reco.signals.settings import CONTEXT_FIELDS, RECENT

SETTINGS = TwoTowerDcnSettings(
    item_dim=6, tower_dim=5, user_dim=4, context_dim=2, request_dim=3, cross_rank=4, hidden=8
)
Matrix = NDArray[np.float32]


@pytest.fixture
def tables() -> dict[str, EmbeddingTable]:
    specs = TwoTowerDcn(SETTINGS).tables
    given = {spec.name: EmbeddingTable(spec.dim, name=spec.name, init_scale=0.7) for spec in specs}
    for table in given.values():
        table.train_rows(np.arange(1, 60), 0)
    return given


def request(rng: np.random.Generator, candidates: int, history: int) -> Inputs:
    keys = np.zeros(RECENT, dtype=np.int64)
    keys[:history] = rng.integers(1, 60, history)
    ages = np.full(RECENT, -1.0, dtype=np.float32)
    ages[:history] = np.sort(rng.random(history)) * 3
    return Inputs(
        int(rng.integers(1, 60)),
        rng.integers(0, 3, CONTEXT_FIELDS),
        keys,
        ages,
        rng.integers(1, 60, candidates),
        rng.normal(size=(candidates, len(FEATURES))).astype(np.float32) * 3,
        np.ones(candidates, dtype=np.float32),
    )


def relu(x: Matrix) -> Matrix:
    return np.maximum(x, np.float32(0))


def linear(weights: Parts, name: str, x: Matrix) -> Matrix:
    result: Matrix = weights[f"{name}.weight"] @ x + weights.get(f"{name}.bias", np.float32(0))
    return result


def reference(one: Inputs, tables: dict[str, EmbeddingTable], weights: Parts) -> list[float]:
    """Log-odds of each candidate of one request."""
    item_dim, tower = SETTINGS.item_dim, SETTINGS.tower_dim
    user = tables["user"].lookup(np.array([one.user_key]))[0]
    contexts = np.concatenate(
        [tables["context"].lookup(np.array([key]))[0] * np.float32(key != 0) for key in one.context_keys]
    )
    known = [place for place in range(RECENT) if one.history_ages[place] >= 0]
    history = [tables["item"].lookup(one.history_keys[[place]])[0, -tower:] for place in known]
    shares = np.exp(-one.history_ages[known])
    pooled = sum((share * row for share, row in zip(shares, history, strict=True)), np.zeros(tower, np.float32))
    pooled = np.asarray(pooled / (shares.sum() + 1e-6), dtype=np.float32)
    hidden = relu(linear(weights, "user_tower.0", np.concatenate([pooled, contexts, user])))
    asking = linear(weights, "user_tower.2", hidden)
    shared = linear(weights, "condense", np.concatenate([user, contexts]) * 4)
    odds = []
    for key, dense in zip(one.item_keys, one.dense, strict=True):
        row = tables["item"].lookup(np.array([key]))[0]
        target = row[item_dim : item_dim + tower]
        matches = np.full(RECENT, -4.0, dtype=np.float32)
        for place, part in zip(known, history, strict=True):
            matches[place] = linear(weights, "leads_to", part) @ target
        scaled = (dense - weights["standardise.mean"]) / np.sqrt(weights["standardise.variance"] + 1e-5)
        match = float(asking @ target)
        first = np.concatenate(
            [
                np.clip(scaled, -5, 5),
                row[:item_dim] * 4,
                shared,
                [match],
                [matches[0], matches.max(), np.log(np.exp(matches).sum())],
            ]
        ).astype(np.float32)
        x = first
        for layer in range(SETTINGS.cross_layers):
            x = x + first * linear(weights, f"crosses.{layer}.widen", linear(weights, f"crosses.{layer}.narrow", x))
        deep = relu(linear(weights, "deep.2", relu(linear(weights, "deep.0", first))))
        bias = float(weights["position_bias.weight"][0, 0])
        outputs = float(linear(weights, "top", x)[0] + linear(weights, "deep.4", deep)[0])
        odds.append(outputs + match + bias + click_rate(dense, weights["click_rate.counts"]))
    return odds


def click_rate(dense: Matrix, counts: Matrix) -> float:
    """Log-odds of the item's own click rate with a Gamma prior of 4 clicks; the mean of the two half-lives."""
    odds = 0.0
    for place, half_life in enumerate(("6h", "7d")):
        shown, acted = (np.expm1(dense[FEATURES.index(f"{name}_{half_life}")]) for name in ("shown", "decayed"))
        if shown > 0:
            rate = (counts[0, place] + 0.5) / (counts[1, place] + 10)
            odds += float(np.log((min(max(acted, 0), shown) + 4) / (shown + 4 / rate) / rate)) / 2
    return odds


def odds_of(model: TwoTowerDcn, requests: list[Inputs], tables: dict[str, EmbeddingTable]) -> Matrix:
    batch = collate(requests)
    with torch.no_grad():
        result: Matrix = model.score(batch, gather(model.fields, batch, tables, training=False)).numpy()
    return result


def made(settings: TwoTowerDcnSettings = SETTINGS) -> TwoTowerDcn:
    torch.manual_seed(3)
    model = TwoTowerDcn(settings)
    ranker = model.network
    ranker.standardise.mean.uniform_(-1, 1)
    ranker.standardise.variance.uniform_(0.5, 2)
    torch.nn.init.constant_(ranker.position_bias.weight, 0.3)
    for output in ("top.weight", "deep.4.weight"):  # which begin near zero
        torch.nn.init.uniform_(ranker.get_parameter(output), -0.5, 0.5)
    ranker.click_rate.counts.copy_(torch.tensor([[3.0, 8.0], [90.0, 200.0]]))
    ranker.eval()
    return model


def test_requests_of_all_shapes_get_the_odds_of_the_formulas(tables: dict[str, EmbeddingTable]) -> None:
    rng = np.random.default_rng(0)
    model = made()
    shapes = [(1, 0), (7, RECENT), (3, 1), (1, 5), (12, 2)]
    requests = [request(rng, candidates, history) for candidates, history in shapes]
    expected = np.concatenate([reference(one, tables, weights_of(model.network)) for one in requests])
    assert odds_of(model, requests, tables) == pytest.approx(expected, rel=1e-4, abs=1e-4)


def test_a_request_scores_the_same_beside_others(tables: dict[str, EmbeddingTable]) -> None:
    rng = np.random.default_rng(1)
    model = made()
    requests = [request(rng, int(rng.integers(1, 40)), int(rng.integers(0, RECENT + 1))) for _ in range(6)]
    alone = np.concatenate([odds_of(model, [one], tables) for one in requests])
    assert odds_of(model, requests, tables) == pytest.approx(alone, rel=1e-4, abs=1e-5)


@pytest.mark.parametrize("family", ["user", "context_rows", "history"])
def test_a_family_that_is_left_out_does_not_matter(family: str, tables: dict[str, EmbeddingTable]) -> None:
    rng = np.random.default_rng(2)
    one = request(rng, 9, 6)
    other = {
        "user": replace(one, user_key=58),
        "context_rows": replace(one, context_keys=(one.context_keys + 1) % 3),
        "history": replace(one, history_keys=np.roll(one.history_keys, 1), history_ages=one.history_ages * 2),
    }[family]
    assert not np.allclose(odds_of(made(), [one], tables), odds_of(made(), [other], tables))
    without = made(replace(SETTINGS, without=(family,)))
    assert odds_of(without, [one], tables) == pytest.approx(odds_of(without, [other], tables), rel=1e-5)


def test_without_all_that_is_an_items_own_all_candidates_are_alike(tables: dict[str, EmbeddingTable]) -> None:
    """The towers' match reads an item's row as well, so that it has to be left out with the others."""
    one = request(np.random.default_rng(4), 9, 6)
    families = (*FAMILIES, "item", "user", "history")
    odds = odds_of(made(replace(SETTINGS, without=(*families, "match"))), [one], tables)
    assert odds == pytest.approx(np.full(9, odds[0]), rel=1e-6)
    assert np.ptp(odds_of(made(replace(SETTINGS, without=families)), [one], tables)) > 1e-4
