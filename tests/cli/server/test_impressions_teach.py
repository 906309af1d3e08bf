"""What is shown and passed over counts within seconds, through HTTP."""

from __future__ import annotations

import time
from pathlib import Path

import httpx

from stream_reco.cli.server.embedded import serving
from stream_reco.config import Settings
from stream_reco.labels import LabelSettings
from stream_reco.serve.settings import ServeSettings

WAIT, LATENESS, SYNC, LIVE_STEP = 1.0, 0.5, 0.2, 1.0
"""Seconds: presumption, lateness, publication, and the longest that a live trainer waits for a full batch."""
SLACK = 8.0
"""Of a busy machine."""


def test_an_item_that_is_shown_and_not_clicked_falls(tmp_path: Path) -> None:
    labels = LabelSettings(policy="immediate", wait_seconds=WAIT, lateness_seconds=LATENESS)
    settings = Settings(labels=labels, serve=ServeSettings(port=0))
    with serving(settings, tmp_path, SYNC) as running:
        running.service.opened.result(120)
        with httpx.Client(base_url=running.url, timeout=30) as client:
            _post(client, [_click(number) for number in range(40)])
            before = _until(client, lambda now: now > 0.0)
            _post(client, [_impression(number) for number in range(60)])
            shown = time.monotonic()
            after = _until(client, lambda now: now < 0.7 * before)
            assert after < 0.7 * before
            assert time.monotonic() - shown < WAIT + LATENESS + SYNC + LIVE_STEP + SLACK


def _click(number: int) -> dict[str, object]:
    return {"type": "action", "event_id": f"c{number}", "user_id": number % 8, "item_id": number % 5, "action": "click"}


def _impression(number: int) -> dict[str, object]:
    shown = {"event_id": f"i{number}", "request_id": f"r{number}", "position": 1}
    return {"type": "impression", "user_id": 100 + number, "item_id": 0, **shown}


def _post(client: httpx.Client, events: list[dict[str, object]]) -> None:
    answer = client.post("/v1/events", json=events).raise_for_status().json()
    assert answer["accepted"] == len(events)


def _until(client: httpx.Client, holds: object) -> float:
    """The score of the item for somebody new once it is as wanted, or after half a minute."""
    assert callable(holds)
    deadline = time.monotonic() + 30
    while True:
        answer = client.post("/v1/score", json={"user_id": 999, "item_ids": [0]}).raise_for_status().json()
        score = float(answer["items"][0]["score"] if "items" in answer else answer["scores"][0])
        if holds(score) or time.monotonic() > deadline:
            return score
        time.sleep(0.1)
