"""What a table was made with, as its file says it."""

import json
from collections.abc import Mapping
from operator import methodcaller
from typing import Self

import msgspec

from stream_reco.embedding.admission import Admission, admission_of
from stream_reco.embedding.optimizer import OPTIMIZERS, Optimizer


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
    def decode(cls, text: str) -> Self:
        """What `encode` wrote. Raises ValueError where it cannot have."""
        try:
            return msgspec.convert(json.loads(text), cls)
        except (msgspec.ValidationError, RecursionError) as error:
            raise ValueError(f"its settings are no table's: {error}") from error

    def encode(self) -> str:
        """As JSON; numbers of NumPy as plain ones."""
        return json.dumps(msgspec.structs.asdict(self), default=methodcaller("item"))

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
