"""A publication: what changed about items and parameters from one version to the next, applied whole or not at all."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from numpy.typing import NDArray

from stream_reco.embedding import Delta

Parts = dict[str, NDArray[Any]]
"""Named numeric arrays of any shape; texts travel in them as uint8 bytes."""

FOLLOWED = ("dense", "signals", "catalogue")
"""The parts of a publication other than its tables, in the order in which a replica applies them."""


class BadPublication(ValueError):  # noqa: N818 - named for what is the case
    """A publication that must not be applied. `reason` is a short code, the text is for people."""

    def __init__(self, reason: str, text: str) -> None:
        super().__init__(text)
        self.reason = reason


@dataclass(frozen=True, eq=False)
class Publication:
    """One numbered step of a trainer's state.

    model: what the parameters belong to; a replica of another model must not apply them.
    epoch: rises at every start of a trainer. version: 1, 2, 3, … within an epoch.
    base_version: the version this one builds on, version − 1; 0 for a snapshot, which builds on nothing.
    tables: one Delta a table; in a snapshot they hold all rows, and tables that are not named are gone.
    dense, signals, catalogue: numeric arrays, in a delta those that changed, for the replica's followers.
    watermark: event time (ms) up to which labels had matured. created: the time (ms) at which it was collected.
    examples: how many labelled examples the trainer had taken by then; None where it does not say.
    settings: a digest of the settings that shape the model; None where the trainer does not say.
    shift: what scorers add to the log-odds that the model gives candidates.
    """

    model: str
    epoch: int
    version: int
    base_version: int
    tables: tuple[Delta, ...]
    dense: Parts
    signals: Parts
    catalogue: Parts
    watermark: int
    created: int
    examples: int | None = None
    settings: str | None = None
    shift: float = 0.0

    def __post_init__(self) -> None:
        if self.base_version not in (0, self.version - 1) or self.version < 1:
            raise ValueError(
                f"publication version {self.version} on base {self.base_version}: versions begin at 1, and the base"
                f" must be 0 (a snapshot) or {self.version - 1} (a delta)"
            )
        if self.epoch < 1:
            raise ValueError(f"publication of epoch {self.epoch}: epochs begin at 1, since 0 is a replica without any")
        names = [delta.name for delta in self.tables]
        if len(set(names)) != len(names):
            raise ValueError(f"publication names a table twice, in {names}: merge the deltas of one table")

    @property
    def snapshot(self) -> bool:
        """Whether it holds the whole state, so that a replica in any state may apply it."""
        return self.base_version == 0

    @property
    def parts(self) -> Mapping[str, Parts]:
        return {"dense": self.dense, "signals": self.signals, "catalogue": self.catalogue}

    @property
    def nbytes(self) -> int:
        """Bytes of all arrays, before any encoding."""
        arrays = sum(array.nbytes for parts in self.parts.values() for array in parts.values())
        return arrays + sum(delta.nbytes for delta in self.tables)


def arrays_of(publication: Publication) -> Parts:
    """All arrays under unique names: `dense/…`, `signals/…`, `catalogue/…`, `tables/<number>/keys` and so on."""
    arrays = {f"{place}/{name}": array for place, parts in publication.parts.items() for name, array in parts.items()}
    for number, delta in enumerate(publication.tables):
        arrays[f"tables/{number}/keys"] = delta.keys
        arrays[f"tables/{number}/vectors"] = delta.vectors
        arrays[f"tables/{number}/tombstones"] = delta.tombstones
        if delta.default is not None:
            arrays[f"tables/{number}/default"] = delta.default
    return arrays
