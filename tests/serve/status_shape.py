"""The one shape of a status, for the tests of everything that has one."""

from __future__ import annotations

from collections.abc import Mapping

import msgspec

from stream_reco.serve.http.openapi import openapi
from stream_reco.serve.settings import ServeSettings
from stream_reco.serve.status import Status


def check_status(status: Mapping[str, object]) -> None:
    """Hold a status, as it goes over the wire, to `Status` and to the fields that the API description has."""
    sent = msgspec.json.encode(status)
    checked = msgspec.json.decode(sent, type=Status)
    described = msgspec.json.decode(openapi(ServeSettings()))["components"]["schemas"]["Status"]
    assert set(msgspec.json.decode(sent)) == set(described["properties"]) == set(described["required"])
    assert checked["rows"] == sum(checked["tables"].values())
