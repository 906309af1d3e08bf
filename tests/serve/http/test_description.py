"""The description under /schema, held to a real server by a program that makes up requests from it."""

from __future__ import annotations

import re
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import httpx
import pytest

from tests.programs import COMMAND, environ
from tests.waiting import until

if TYPE_CHECKING:
    from tests.serve.conftest import Serving, ToyService

CASES = 2_000
EXAMPLES = 130
"""At most, of an operation; there are 12, and sequences of them come on top."""
FEW = ("--phases", "fuzzing", "--max-examples", "2")
ITEMS = [{"type": "item", "item_id": f"i{n}", "features": {"kind": "ab"[n % 2]}} for n in range(30)]
CLICKS = [
    {"type": "action", "event_id": f"e{n}", "user_id": n % 20, "item_id": f"i{n * 7 % 30}", "action": "click"}
    for n in range(300)
]


@contextmanager
def server(data: Path) -> Iterator[httpx.Client]:
    """A server with the settings that come by themselves, which has learned from a few hundred events."""
    command = [*COMMAND, "serve", "--data", str(data), "--port", "0"]
    process = subprocess.Popen(command, env=environ(COLUMNS="200"), stdout=subprocess.PIPE, text=True)
    try:
        assert process.stdout is not None
        found = re.search(r"http://[\d.:]+", process.stdout.readline())
        assert found
        with httpx.Client(base_url=found[0], timeout=30) as client:
            until(lambda: client.get("/health/ready").status_code == 200, 200)
            assert client.post("/v1/events", json=ITEMS + CLICKS).json()["accepted"] == 330
            until(lambda: client.post("/v1/recommend", json={"user_id": "new", "k": 5}).json()["items"], 20)
            yield client
    finally:
        process.kill()
        process.communicate()


def explore(client: httpx.Client, folder: Path, *more: str) -> tuple[int, str]:
    """Make requests up from the description, with every check; the exit status, and what was found."""
    command = [sys.executable, "-m", "schemathesis.cli", "run", str(client.base_url.join("/schema")), "--checks", "all"]
    command += ["--seed", "14", "--generation-database", "none", "--warnings", "off", "--no-color", *more]
    done = subprocess.run(command, cwd=folder, env=environ(), capture_output=True, text=True, check=False, timeout=500)
    return done.returncode, done.stdout + done.stderr


@pytest.mark.timeout(600)  # on a machine that does other things besides
def test_two_thousand_requests_find_nothing_that_is_not_described(tmp_path: Path) -> None:
    with server(tmp_path / "shop") as client:
        status, report = explore(client, tmp_path, "--max-examples", str(EXAMPLES), "--workers", "2")
        assert status == 0, report
        passed = re.search(r"(\d+) generated, (\d+) passed", report)
        assert passed, report
        assert passed[1] == passed[2]
        assert int(passed[1]) >= CASES
        assert "Stateful" in report
        assert client.get("/health/ready").status_code == 200


def test_with_a_token_no_route_forgets_to_ask_for_it(serving: Serving, tmp_path: Path) -> None:
    token = "a token for this test"  # noqa: S105 - of this test alone
    client = serving(token=token)
    status, report = explore(client, tmp_path, *FEW, "--header", f"Authorization: Bearer {token}")
    assert status == 0, report


def test_what_is_not_described_is_found(client: httpx.Client, service: ToyService, tmp_path: Path) -> None:
    service.fails = RuntimeError("a defect")
    status, report = explore(client, tmp_path, *FEW, "--no-shrink", "--include-path", "/v1/recommend")
    assert status == 1
    assert "Server error" in report
