"""Adam on dense weights, against PyTorch's own."""

from __future__ import annotations

import numpy as np
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from torch import nn

from stream_reco.model.flat_weights import FlatWeights
from stream_reco.train.dense_adam import DenseAdam
from stream_reco.train.dense_kernels import move_towards

SHAPES = {"a": (3, 4), "b": (4,), "c": ()}
STEPS = st.lists(
    st.tuples(st.floats(1e-6, 0.5), st.lists(st.booleans(), min_size=len(SHAPES), max_size=len(SHAPES))), max_size=12
)


def _random(seed: int) -> dict[str, NDArray[np.float32]]:
    rng = np.random.default_rng(seed)
    return {name: rng.normal(size=shape).astype(np.float32) for name, shape in SHAPES.items()}


def _both(seed: int) -> tuple[FlatWeights, list[nn.Parameter]]:
    flat, first = FlatWeights(SHAPES), _random(seed)
    for name, weight in flat.weights.items():
        np.copyto(weight, first[name])
    return flat, [nn.Parameter(torch.from_numpy(np.array(first[name]))) for name in SHAPES]


def _step(optimizer: DenseAdam, reference: torch.optim.Adam, has: list[bool], seed: int, rate: float) -> None:
    """One step of both, where some weights have a gradient."""
    gradients, names = _random(seed), {name for name, one in zip(SHAPES, has, strict=True) if one}
    for name, weight in zip(SHAPES, reference.param_groups[0]["params"], strict=True):
        weight.grad = torch.from_numpy(np.array(gradients[name])) if name in names else None
        np.copyto(optimizer.gradients[name], gradients[name])
    optimizer.step(rate, None if all(has) else names)
    reference.param_groups[0]["lr"] = rate
    reference.step()


def _assert_same(flat: FlatWeights, theirs: list[nn.Parameter]) -> None:
    for mine, other in zip(flat.weights.values(), theirs, strict=True):
        np.testing.assert_allclose(mine, other.detach().numpy(), rtol=2e-6, atol=1e-7)


@settings(deadline=None)
@given(steps=STEPS, cut=st.integers(0, 12))
def test_steps_are_those_of_pytorch_before_and_after_a_restart(steps: list[tuple[float, list[bool]]], cut: int) -> None:
    flat, theirs = _both(1)
    optimizer, reference = DenseAdam(flat), torch.optim.Adam(theirs)
    for number, (rate, has) in enumerate(steps):
        if number == cut:
            state = optimizer.state()
            optimizer = DenseAdam(flat)
            optimizer.restore(state | {"progress": np.array([1, 2])})
        _step(optimizer, reference, has, number, rate)
        _assert_same(flat, theirs)


def test_checkpoints_of_pytorchs_own_are_read_and_written_alike() -> None:
    flat, theirs = _both(2)
    reference = torch.optim.Adam(theirs, lr=0.1)
    _step(DenseAdam(FlatWeights(SHAPES)), reference, [True, False, True], 3, 0.1)
    kept = {
        f"adam.{number}.{name}": value.numpy()
        for number, entry in reference.state_dict()["state"].items()
        for name, value in entry.items()
    }
    for mine, other in zip(flat.weights.values(), theirs, strict=True):
        np.copyto(mine, other.detach().numpy())
    optimizer = DenseAdam(flat)
    optimizer.restore(kept)
    written = optimizer.state()
    assert {name: value.tolist() for name, value in written.items()} == {
        name: value.tolist() for name, value in kept.items()
    }
    assert all(value.dtype == np.float32 for value in written.values())
    _step(optimizer, reference, [True, True, True], 4, 0.1)
    _assert_same(flat, theirs)


def test_a_restart_goes_on_to_the_same_bits() -> None:
    one, other = (_both(5)[0] for _ in range(2))
    first, second = DenseAdam(one), DenseAdam(other)
    for number in range(6):
        gradients = _random(number)
        if number == 3:
            state = second.state()
            second = DenseAdam(other)
            second.restore(state)
        for optimizer in (first, second):
            for name, value in optimizer.gradients.items():
                np.copyto(value, gradients[name])
            # A weight that others leave behind is moved alone from then on.
            optimizer.step(0.01, {"a", "b"} if number == 1 else None)
    assert np.array_equal(one.vector, other.vector)


def test_a_weight_without_a_gradient_stays() -> None:
    flat, _ = _both(5)
    before, optimizer = flat.vector.copy(), DenseAdam(flat)
    optimizer.step(0.1, ())
    assert optimizer.state() == {}
    optimizer.gradients["a"][:] = 1.0
    optimizer.step(0.1, {"a"})
    assert (flat.weights["a"].ravel() != before[: flat.weights["a"].size]).all()
    assert np.array_equal(flat.weights["b"], FlatWeights(SHAPES).parts(before)["b"])


def test_means_move_by_their_share() -> None:
    rng = np.random.default_rng(1)
    means, values = rng.normal(size=(2, 100)).astype(np.float32)
    expected = means + np.float32(0.1) * (values - means)
    move_towards(means, values, 0.1)
    np.testing.assert_allclose(means, expected, rtol=1e-6)
    move_towards(means, values, 1.0)
    assert np.array_equal(means, values)
