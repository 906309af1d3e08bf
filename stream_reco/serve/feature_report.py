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
from stream_reco.signals.content.vectors import GivenVectors

_SUSPICIOUS = 3.0
"""Leaning from which a feature decides nearly everything: what people did may have been told to it."""
_VECTOR = Kind.VECTOR.name.lower()
_CONSTANT_AMONG = 20
"""Items or users that must have one and the same value before a feature is called constant."""


class Feature(msgspec.Struct, frozen=True):
    """One feature of items or of users.

    `coverage`: share of the described items, or users, that have it. `cardinality`: how many different categories or
    words they have of it, 0 of numbers and times. `leaning`: by how much candidates of the newest requests move
    against each other without it, on the log-odds. `misfits`: values that were passed over for being of another kind.
    `notes` name what is of no use, or suspicious.
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
    """All features, given vectors last.

    `refused` counts values of features, and vectors, beyond those that are read, and vectors that are not finite.
    """

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
        vectors = served.signals.catalogue.content.vectors
        kept = [one for one in features if one.kind != _VECTOR]
        return FeatureReport([*kept, *_vectors(vectors, sides[0])], sum(one.refused for one in (*sides, vectors)))


def _vectors(vectors: GivenVectors, fields: FeatureFields) -> list[Feature]:
    """Given vectors, each length of a name on its own; the encoder leans on them, and not the linear model."""
    counts = {name: 0 if (array := vectors.array(name)) is None else array.count for name in vectors.names}
    misfits = dict(zip(fields.names, fields.misfits.tolist(), strict=False))
    return [
        Feature(
            side=fields.side,
            name=name,
            kind=_VECTOR,
            coverage=round(count / max(fields.everyone, *counts.values(), 1), 4),
            cardinality=0,
            leaning=0.0,
            misfits=misfits.get(name.rpartition("[")[0], 0),
            notes=[],
        )
        for name, count in counts.items()
    ]


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
