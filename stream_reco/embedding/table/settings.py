"""What a table was made with, as its file says it."""

import json
from collections.abc import Mapping
from dataclasses import asdict
from typing import Self

import msgspec

from stream_reco.embedding.kernels.admission import Admission, After, Probability, admission_of
from stream_reco.embedding.kernels.optimizer import OPTIMIZERS, Optimizer
from stream_reco.embedding.kernels.plain_numbers import number, whole
from stream_reco.embedding.table.arguments import FARTHEST_TIME, checked_dim, checked_name


class TableSettings(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The arguments of a table, its optimizer and admission by their names and numbers."""

    dim: int
    optimizer: str
    optimizer_settings: Mapping[str, float]
    admission: Mapping[str, str | int | float] | None
    ttl_ms: int | None
    name: str
    init_scale: float
    seed: int
    budget_bytes: int | None
    half_life_ms: int

    @classmethod
    def checked(
        cls,
        dim: int,
        optimizer: Optimizer,
        admission: Admission | None,
        ttl_ms: int | None,
        name: str,
        init_scale: float,
        seed: int,
        budget_bytes: int | None,
        half_life_ms: int,
    ) -> Self:
        """What a table is to be made with, as plain numbers. Raises ValueError or TypeError for what cannot be."""
        table = f"table {checked_name(name)!r}"
        if not (admission is None or isinstance(admission, After | Probability)):
            raise TypeError(f"{table}: admission is {admission!r}, must be None, after(k) or probability(p)")
        if ttl_ms is not None:
            ttl_ms = whole(table, "ttl_ms", ttl_ms, "milliseconds, or None for ever")
            if not 0 <= ttl_ms < FARTHEST_TIME:
                raise ValueError(f"{table}: ttl_ms is {ttl_ms}, must be 0 or more milliseconds, or None for ever")
        init_scale = number(table, "init_scale", init_scale)
        if not 0 <= init_scale < 1e6:
            raise ValueError(f"{table}: init_scale is {init_scale}, must be 0 to 1e6")
        half_life_ms = whole(table, "half_life_ms", half_life_ms, "milliseconds")
        if not 1 <= half_life_ms < FARTHEST_TIME:
            raise ValueError(f"{table}: half_life_ms is {half_life_ms}, must be 1 or more milliseconds")
        if budget_bytes is not None:
            budget_bytes = whole(table, "budget_bytes", budget_bytes, "bytes, or None for no bound")
        policy = None if admission is None else admission.as_dict()
        return cls(
            checked_dim(name, dim),
            optimizer.name,
            asdict(optimizer),
            policy,
            ttl_ms,
            name,
            init_scale,
            whole(table, "seed", seed, "any size"),
            budget_bytes,
            half_life_ms,
        )

    @classmethod
    def decode(cls, text: str) -> Self:
        """What `encode` wrote. Raises ValueError where it cannot have."""
        try:
            return msgspec.convert(json.loads(text), cls)
        except (msgspec.ValidationError, RecursionError) as error:
            raise ValueError(f"its settings are no table's: {error}") from error

    def encode(self) -> str:
        """As JSON."""
        return json.dumps(msgspec.structs.asdict(self))

    def made_optimizer(self) -> Optimizer:
        """Raises ValueError for one that this release does not know, or settings that it does not take."""
        try:
            return OPTIMIZERS[self.optimizer](**self.optimizer_settings)
        except (KeyError, TypeError) as error:
            raise ValueError(f"optimizer {self.optimizer!r} with {dict(self.optimizer_settings)} is unknown") from error

    def made_admission(self) -> Admission | None:
        """Raises ValueError for one that this release does not know."""
        try:
            return admission_of(self.admission or {})
        except KeyError as error:
            raise ValueError(f"admission {dict(self.admission or {})} lacks {error}") from error
