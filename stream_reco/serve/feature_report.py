"""What the features of items and users are, how common, and how much the model leans on them."""

from __future__ import annotations

import msgspec
import numpy as np

from stream_reco.model.content.leaning import leanings
from stream_reco.model.inputs import collate
from stream_reco.serve.slate.newest_requests import NewestRequests
from stream_reco.serve.slate.serving_state import ServingState
from stream_reco.signals.content.fields import FeatureFields
from stream_reco.signals.content.kinds import Kind

_SUSPICIOUS = 3.0
"""Leaning from which a feature decides nearly everything: it may well be told by what people did."""
_CONSTANT_AMONG = 20
"""Items or users that must have one and the same value before a feature is called constant."""


class Feature(msgspec.Struct, frozen=True):
    """One feature of items or of users.

    `coverage`: share of the described items, or users, that have it. `cardinality`: how many different categories or
    words they have of it, 0 of numbers and times. `leaning`: by how much candidates of the newest requests move against each
    other without it, on the log-odds. `misfits`: values that were passed over for being of another kind. `notes`
    name what is of no use, or suspicious.
    """

    side: str
    name: str
    kind: str
    coverage: float
    cardinality: int
    leaning: float
    misfits: int
    notes: list[str]


class FeatureReport(msgspec.Struct, frozen=True):
    """All features, those of items first; `refused` counts values of further features, of which there are too many."""

    features: list[Feature]
    refused: int


def feature_report(served: ServingState, newest: NewestRequests) -> FeatureReport:
    """What is known of the features in the version that is served."""
    with served.replica.reading():
        sides = served.signals.catalogue.content.fields, served.signals.user_fields
        hashes = np.concatenate([one.hashes[: len(one)] for one in sides])
        lean = np.zeros(len(hashes), dtype=np.float32)
        if requests := newest.all():
            lean = leanings(collate(requests), served.replica.tables, served.content_priors, hashes)
        found = [_feature(one, number) for one in sides for number in range(len(one))]
        features = [
            msgspec.structs.replace(one, leaning=round(float(by), 4), notes=_notes(one, float(by)))
            for one, by in zip(found, lean, strict=True)
        ]
        return FeatureReport(features, sum(one.refused for one in sides))


def _feature(fields: FeatureFields, number: int) -> Feature:
    kind = Kind(int(fields.kinds[number])).name.lower()
    present, everyone = int(fields.present[number]), fields.everyone
    return Feature(
        side=fields.side,
        name=fields.names[number],
        kind=kind,
        coverage=round(present / everyone, 4) if everyone else 0.0,
        cardinality=int(fields.distinct[number]),
        leaning=0.0,
        misfits=int(fields.misfits[number]),
        notes=["unique"] if fields.unique[number] else ["constant"] if _is_constant(fields, number) else [],
    )


def _is_constant(fields: FeatureFields, number: int) -> bool:
    if fields.present[number] < _CONSTANT_AMONG:
        return False
    if fields.kinds[number] == Kind.NUMBER:
        return bool(fields.running.scales.deviations[number] == 0.0)
    return fields.kinds[number] in (Kind.CATEGORY, Kind.BOOLEAN) and fields.distinct[number] == 1


def _notes(feature: Feature, leaning: float) -> list[str]:
    return [*feature.notes, "suspicious"] if leaning > _SUSPICIOUS else feature.notes
