"""The grammar of `filters` as JSON Schema; `stream_reco.retrieve.filters` reads it."""

from __future__ import annotations

from typing import Any

from stream_reco.events.schema import MAX_ID_BYTES, MAX_KEYS, MAX_LIST
from stream_reco.retrieve.conditions import BOUNDS
from stream_reco.retrieve.filters import DEEPEST

Json = dict[str, Any]
BOUND_TIME = "An ISO 8601 time, compared with texts that are such; UTC where it names no zone."
_BOUNDS: Json = {
    "anyOf": [
        {"properties": {name: {"type": "number"} for name in BOUNDS}},
        {"properties": {name: {"type": "string", "format": "date-time", "description": BOUND_TIME} for name in BOUNDS}},
    ]
}
_VALUE: Json = {"type": ["string", "number", "boolean", "null"]}
CONDITION: Json = {
    "description": "On one feature of an item, of which one value must do where it has several: a value (equal; null: "
    "it has no such feature), a list (any of them), or operators, all of which must hold.",
    "anyOf": [
        _VALUE,
        {"type": "array", "items": _VALUE, "maxItems": MAX_LIST},
        {
            "type": "object",
            "properties": {
                **{name: {"type": ["number", "string"]} for name in BOUNDS},
                "not": {"$ref": "#/components/schemas/Condition", "description": f"At most {DEEPEST} deep"},
                "exists": {"type": "boolean"},
            },
            "additionalProperties": False,
            "minProperties": 1,
            **_BOUNDS,
        },
    ],
}
FILTERS: Json = {
    "type": "object",
    "description": "Conditions by name of feature, all of which must hold.",
    "propertyNames": {"minLength": 1, "maxLength": MAX_ID_BYTES},
    "additionalProperties": {"$ref": "#/components/schemas/Condition"},
    "maxProperties": MAX_KEYS,
}
