"""Settings of the per-row optimizers, and how many float32 numbers of state each keeps for a row.

The arithmetic is in `optimizer_step.step_row`; its names and defaults are those of torch.optim.
"""

import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields
from typing import ClassVar

import numpy as np
from numpy.typing import NDArray

from stream_reco.embedding.kernels.plain_numbers import number

KIND_SGD, KIND_ADAGRAD, KIND_ROWWISE_ADAGRAD, KIND_ADAM, KIND_FTRL = range(5)


@dataclass(frozen=True)
class _Settings:
    name: ClassVar[str]
    kind: ClassVar[int]
    may_be_zero: ClassVar[frozenset[str]] = frozenset()

    def __post_init__(self) -> None:
        for field in fields(self):
            value = number(self.name, field.name, getattr(self, field.name))
            low = value >= 0 if field.name in self.may_be_zero else value > 0
            high = value < 1 if field.name.startswith("beta") and len(field.name) > 4 else math.isfinite(value)
            if not (low and high):
                raise ValueError(f"{self.name}: {field.name} is {value!r}, outside its range")
            object.__setattr__(self, field.name, value)

    def state_size(self, dim: int) -> int:
        """float32 numbers of state a row of `dim` needs."""
        raise NotImplementedError

    def hyper(self) -> NDArray[np.float64]:
        """float64[8]: the settings in the order in which they are declared, then zeros."""
        values = np.zeros(8)
        settings = list(asdict(self).values())
        values[: len(settings)] = settings
        return values

    def initial_state(self) -> float:
        """What a new row's state numbers start from."""
        return 0.0


@dataclass(frozen=True)
class SGD(_Settings):
    """w ← w − lr·g."""

    name: ClassVar[str] = "sgd"
    kind: ClassVar[int] = KIND_SGD
    lr: float = 0.01

    def state_size(self, dim: int) -> int:  # noqa: ARG002
        return 0


@dataclass(frozen=True)
class Adagrad(_Settings):
    """s ← s + g²; w ← w − lr·g / (√s + eps), per coordinate. Duchi, Hazan, Singer 2011, figure 1 (diagonal)."""

    name: ClassVar[str] = "adagrad"
    kind: ClassVar[int] = KIND_ADAGRAD
    may_be_zero: ClassVar[frozenset[str]] = frozenset({"eps", "initial_accumulator_value"})
    lr: float = 0.01
    eps: float = 1e-10
    initial_accumulator_value: float = 0.0

    def state_size(self, dim: int) -> int:
        return dim

    def initial_state(self) -> float:
        return self.initial_accumulator_value


@dataclass(frozen=True)
class RowwiseAdagrad(Adagrad):
    """Adagrad with one accumulator a row, s ← s + mean(g²). Mudigere et al. 2022 (ZionEX), section 4.1.4."""

    name: ClassVar[str] = "rowwise_adagrad"
    kind: ClassVar[int] = KIND_ROWWISE_ADAGRAD

    def state_size(self, dim: int) -> int:  # noqa: ARG002
        return 1


@dataclass(frozen=True)
class Adam(_Settings):
    """Lazy Adam: moments move, and the bias correction counts, only at a row's own updates. Kingma, Ba 2015."""

    name: ClassVar[str] = "adam"
    kind: ClassVar[int] = KIND_ADAM
    may_be_zero: ClassVar[frozenset[str]] = frozenset({"beta1", "beta2", "eps"})
    lr: float = 0.001
    beta1: float = 0.9
    beta2: float = 0.999
    eps: float = 1e-8

    def state_size(self, dim: int) -> int:
        return 2 * dim + 1


@dataclass(frozen=True)
class Ftrl(_Settings):
    """FTRL-proximal, per coordinate. McMahan et al. 2013 ("Ad click prediction"), algorithm 1; α is `alpha`.

    The weight is a function of the state alone, and rows start at z = n = 0, hence at zero.
    """

    name: ClassVar[str] = "ftrl"
    kind: ClassVar[int] = KIND_FTRL
    may_be_zero: ClassVar[frozenset[str]] = frozenset({"beta", "l1", "l2"})
    alpha: float = 0.1
    beta: float = 1.0
    l1: float = 0.0
    l2: float = 0.0

    def state_size(self, dim: int) -> int:
        return 2 * dim


Optimizer = SGD | Adagrad | RowwiseAdagrad | Adam | Ftrl
OPTIMIZERS: Mapping[str, type[Optimizer]] = {kind.name: kind for kind in (SGD, Adagrad, RowwiseAdagrad, Adam, Ftrl)}


def optimizer_of(choice: str | Optimizer) -> Optimizer:
    """The settings behind a name (with its defaults), or the settings object itself."""
    if isinstance(choice, str):
        if choice not in OPTIMIZERS:
            raise ValueError(f"optimizer {choice!r} is unknown; choose from {', '.join(OPTIMIZERS)}")
        return OPTIMIZERS[choice]()
    if not isinstance(choice, SGD | Adagrad | Adam | Ftrl):
        raise TypeError(f"optimizer is a {type(choice).__name__}; give a name or one of SGD, Adagrad, Adam, Ftrl, …")
    return choice
