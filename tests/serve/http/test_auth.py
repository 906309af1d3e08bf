"""Who may call, from where, and that a server others can reach does not start without a token."""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING

import httpx
import pytest

from stream_reco.serve.http.auth import ForbiddenError, Guard, UnprotectedBindError, host_name, is_loopback
from stream_reco.serve.settings import ServeSettings

if TYPE_CHECKING:
    from tests.serve.conftest import Serving

TOKEN = "correct horse battery"  # noqa: S105 - of this test alone
OTHER = "a second token, hashed"
HASHES = (hashlib.sha256(OTHER.encode()).hexdigest(),)


@pytest.mark.parametrize("host", ["127.0.0.1", "127.9.9.9", "::1", "[::1]", "localhost", "LOCALHOST", "app.localhost"])
def test_loopback(host: str) -> None:
    assert is_loopback(host)
    Guard(ServeSettings(host=host))


@pytest.mark.parametrize(
    "host", ["0.0.0.0", "::", "192.168.1.5", "example.org", "localhost.evil.org", "127.0.0.1.nip.io"]
)
def test_beyond_loopback_nothing_starts_without_a_token(host: str) -> None:
    assert not is_loopback(host)
    with pytest.raises(UnprotectedBindError, match="STREAM_RECO_SERVE_TOKEN"):
        Guard(ServeSettings(host=host))
    for guard in (Guard(ServeSettings(host=host, token=TOKEN)), Guard(ServeSettings(host=host, token_hashes=HASHES))):
        with pytest.raises(ForbiddenError):
            guard.check_token(None)


@pytest.mark.parametrize("header", [f"Bearer {TOKEN}", f"bearer {TOKEN}", f"BEARER  {TOKEN} ", f"Bearer {OTHER}"])
def test_known_tokens_pass(header: str) -> None:
    Guard(ServeSettings(token=TOKEN, token_hashes=HASHES)).check_token(header)


@pytest.mark.parametrize(
    "header",
    [
        None,
        "",
        "Bearer",
        "Bearer ",
        TOKEN,
        f"Basic {TOKEN}",
        f"Bearer {TOKEN}x",
        HASHES[0],
        f"Bearer {HASHES[0]}",
        "Bearer \xff",
    ],
)
def test_other_tokens_do_not(header: str | None) -> None:
    with pytest.raises(ForbiddenError) as caught:
        Guard(ServeSettings(token=TOKEN, token_hashes=HASHES)).check_token(header)
    assert caught.value.status == 401


def test_host_names() -> None:
    assert [host_name(h) for h in ("a", "a:80", "[::1]", "[::1]:80")] == ["a", "a", "[::1]", "[::1]"]


def test_a_token_is_needed_everywhere_but_for_health_page_and_schema(serving: Serving) -> None:
    client = serving(token=TOKEN)
    closed = [
        ("POST", "/v1/events"),
        ("POST", "/v1/recommend"),
        ("POST", "/v1/score"),
        ("GET", "/v1/items/1/similar"),
        ("GET", "/v1/users/1/interests"),
        ("GET", "/v1/features"),
        ("DELETE", "/v1/users/1"),
        ("GET", "/v1/status"),
        ("GET", "/metrics"),
    ]
    for method, path in closed:
        refused = client.request(method, path)
        assert refused.status_code == 401, path
        assert refused.headers["www-authenticate"] == "Bearer"
        let_in = client.request(method, path, headers={"authorization": f"Bearer {TOKEN}"})
        assert let_in.status_code != 401
    for path in ("/health/live", "/health/ready", "/dashboard", "/schema"):
        assert client.get(path).status_code == 200
    assert serving(token=TOKEN, open_metrics=True).get("/metrics").status_code == 200


def test_a_page_that_rebinds_its_name_to_loopback_gets_nothing(serving: Serving) -> None:
    client = serving(allowed_hosts=("Shop.internal",))
    for host in ("evil.example", "evil.example:8080", "192.168.0.1", "localhost.evil.example", ""):
        refused = client.get("/v1/status", headers={"host": host})
        assert (refused.status_code, refused.json()["error"]["reason"]) == (421, "host")
    for host in ("localhost", "LOCALHOST:99", "127.0.0.1:1", "[::1]:8080", "shop.internal:80"):
        assert client.get("/v1/status", headers={"host": host}).status_code == 200
    assert serving(token=TOKEN).get("/health/live", headers={"host": "shop.example"}).status_code == 200


@pytest.mark.parametrize("origin", ["http://evil.example", "null", "http://127.0.0.1", "http://localhost:1", ""])
def test_a_page_of_another_site_cannot_post(client: httpx.Client, origin: str) -> None:
    refused = client.post("/v1/events", content=b"[]", headers={"origin": origin, "content-type": "text/plain"})
    assert (refused.status_code, refused.json()["error"]["reason"]) == (403, "origin")
    assert client.delete("/v1/users/1", headers={"origin": origin}).status_code == 403


def test_our_own_page_and_clients_without_a_browser_can(client: httpx.Client) -> None:
    own = str(client.base_url).rstrip("/")
    assert client.post("/v1/events", content=b"[]", headers={"origin": own}).status_code == 200
    assert client.post("/v1/events", content=b"[]").status_code == 200
