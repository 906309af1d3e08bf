"""What is shown and passed over counts within seconds, through HTTP."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path

import httpx

from stream_reco.cli.server.embedded import serving
from stream_reco.clock import SystemClock
from stream_reco.config import Settings
from stream_reco.serve.settings import ServeSettings

WAIT, TICK, SYNC, LIVE_STEP = 1.0, 1.0, 1.0, 1.0
"""Seconds: presumption where clicks take less, between two ticks, publication, and the longest that a trainer of live
events waits for a full batch."""
SLACK = 8.0
"""Of a busy machine."""


def test_an_item_that_is_shown_and_not_clicked_falls(tmp_path: Path) -> None:
    settings = Settings(serve=ServeSettings(port=0))
    with serving(settings, tmp_path, SYNC) as running:
        running.service.opened.result(120)
        with httpx.Client(base_url=running.url, timeout=30) as client:
            _post(client, [event for number in range(80) for event in _clicked(number)])
            assert _until(client, lambda ratio: 0.8 < ratio < 1.25), "equal so far"
            _post(client, [_impression(number) for number in range(60)])
            shown = time.monotonic()
            assert _until(client, lambda ratio: ratio < 0.7)
            assert time.monotonic() - shown < WAIT + TICK + SYNC + LIVE_STEP + SLACK


def _clicked(number: int) -> list[dict[str, object]]:
    """An impression, and the click on it half a second later: enough of them say how long clicks take here."""
    shown = SystemClock().now_ms() - 2_000
    both = {"request_id": f"c{number}", "user_id": number % 8, "item_id": number % 5}
    return [
        {"type": "impression", "event_id": f"s{number}", "position": 1, "timestamp": shown, **both},
        {"type": "action", "event_id": f"c{number}", "action": "click", "timestamp": shown + 500, **both},
    ]


def _impression(number: int) -> dict[str, object]:
    shown = {"event_id": f"i{number}", "request_id": f"r{number}", "position": 1}
    return {"type": "impression", "user_id": 100 + number, "item_id": 0, **shown}


def _post(client: httpx.Client, events: list[dict[str, object]]) -> None:
    answer = client.post("/v1/events", json=events).raise_for_status().json()
    assert answer["accepted"] == len(events)


def _until(client: httpx.Client, holds: Callable[[float], bool]) -> bool:
    """Whether item 0's score over that of item 1, for somebody new, becomes as wanted within half a minute."""
    deadline = time.monotonic() + 30
    while time.monotonic() < deadline:
        answer = client.post("/v1/score", json={"user_id": 999, "item_ids": [0, 1]}).raise_for_status().json()
        shown, other = answer["scores"]
        if other > 0.0 and holds(shown / other):
            return True
        time.sleep(0.1)
    return False
