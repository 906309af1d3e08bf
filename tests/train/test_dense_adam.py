"""Adam on dense weights, against torch's own."""

from __future__ import annotations

import subprocess
import sys

import numpy as np
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from stream_reco.train.dense_adam import DenseAdam

SHAPES = ((3, 4), (4,), ())
STEPS = st.lists(
    st.tuples(st.floats(1e-6, 0.5), st.lists(st.booleans(), min_size=len(SHAPES), max_size=len(SHAPES))), max_size=12
)


def _weights(seed: int) -> list[nn.Parameter]:
    generator = torch.Generator().manual_seed(seed)
    return [nn.Parameter(torch.randn(shape, generator=generator)) for shape in SHAPES]


def _set_gradients(weights: list[nn.Parameter], has: list[bool], seed: int) -> None:
    generator = torch.Generator().manual_seed(seed)
    for weight, given_one in zip(weights, has, strict=True):
        weight.grad = torch.randn(weight.shape, generator=generator) if given_one else None


@settings(deadline=None)
@given(steps=STEPS, cut=st.integers(0, 12))
def test_steps_are_those_of_torch_to_the_bit_before_and_after_a_restart(
    steps: list[tuple[float, list[bool]]], cut: int
) -> None:
    ours, theirs = _weights(1), _weights(1)
    optimizer, reference = DenseAdam(ours), torch.optim.Adam(theirs, fused=True)
    for number, (rate, has) in enumerate(steps):
        if number == cut:
            state = optimizer.state()
            optimizer = DenseAdam(ours)
            optimizer.restore(state | {"progress": np.array([1, 2])})
        _set_gradients(ours, has, number)
        _set_gradients(theirs, has, number)
        optimizer.step(rate)
        reference.param_groups[0]["lr"] = rate
        reference.step()
        for mine, other in zip(ours, theirs, strict=True):
            assert torch.equal(mine, other)


def test_checkpoints_of_torchs_own_are_read() -> None:
    ours, theirs = _weights(2), _weights(2)
    reference = torch.optim.Adam(theirs, lr=0.1, fused=True)
    _set_gradients(theirs, [True, False, True], 3)
    reference.step()
    kept = {
        f"adam.{number}.{name}": value.numpy()
        for number, entry in reference.state_dict()["state"].items()
        for name, value in entry.items()
    }
    with torch.no_grad():
        for mine, other in zip(ours, theirs, strict=True):
            mine.copy_(other)
    optimizer = DenseAdam(ours)
    optimizer.restore(kept)
    assert {name: value.tolist() for name, value in optimizer.state().items()} == {
        name: value.tolist() for name, value in kept.items()
    }
    for weights in (ours, theirs):
        _set_gradients(weights, [True, True, True], 4)
    optimizer.step(0.1)
    reference.step()
    assert all(torch.equal(mine, other) for mine, other in zip(ours, theirs, strict=True))


def test_a_weight_without_a_gradient_stays_and_gradients_are_forgotten() -> None:
    weights = _weights(5)
    before = [weight.detach().clone() for weight in weights]
    optimizer = DenseAdam(weights)
    optimizer.step(0.1)
    assert optimizer.state() == {}
    _set_gradients(weights, [True, False, False], 6)
    optimizer.zero_grad()
    optimizer.step(0.1)
    assert all(torch.equal(one, other) for one, other in zip(weights, before, strict=True))


def test_a_server_that_learns_does_not_load_the_compiler() -> None:
    code = """
import sys
from stream_reco.config import Settings
from stream_reco.embedded import Engine
from stream_reco.events import Action
with Engine(None, Settings()) as engine:
    for number in range(400):
        engine.ingest([Action(user_id=number % 7, item_id=number % 11, action="click", timestamp=10**12 + number)])
    engine.sync()
    assert engine.learner.queue.steps > 0
sys.exit(7 if "torch._dynamo" in sys.modules else 0)
"""
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
