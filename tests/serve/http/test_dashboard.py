"""The live page: self-contained and locked down by its headers; in a real browser it shows what the server counts."""

from __future__ import annotations

import re
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import httpx
import pytest
from playwright.sync_api import Browser, Page, expect, sync_playwright

from stream_reco.metrics import (
    CALIBRATION_BY_AGE,
    CANDIDATES,
    EVENTS_ACCEPTED,
    FRESHNESS_SECONDS,
    HEAD_CALIBRATION,
    HEAD_LOGLOSS,
    HEAD_SHARE,
    PROGRESSIVE,
    SLATE_ITEMS,
)
from stream_reco.serve.http.dashboard_page import Page as Document

if TYPE_CHECKING:
    from tests.serve.conftest import Serving, ToyService

CHROMIUM = shutil.which("chromium") or "/usr/bin/chromium"
FLAGS = [
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
]
EVIL = '<img src=x onerror="document.title=1">"\\ \n'


def test_the_page_asks_no_other_host_and_its_policy_allows_none(client: httpx.Client) -> None:
    answer = client.get("/dashboard")
    assert answer.headers["content-type"] == "text/html; charset=utf-8"
    policy = answer.headers["content-security-policy"]
    assert "default-src 'none'" in policy
    assert "frame-ancestors 'none'" in policy
    assert "unsafe" not in policy
    outside = set(re.findall(r"https?://[^\s\"'<>)]+", answer.text)) - {"http://www.w3.org/2000/svg"}
    assert not outside
    assert "innerHTML" not in answer.text
    assert "/*s" not in Document.load().body.decode().split("<script>")[0].split("<style>")[0]


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    if not Path(CHROMIUM).exists():
        pytest.fail("chromium is missing: install the package chromium, or leave these tests out with -m 'not browser'")
    with sync_playwright() as playwright:
        opened = playwright.chromium.launch(executable_path=CHROMIUM, args=FLAGS)
        yield opened
        opened.close()


class Watched:
    """A page, and every complaint of the browser about it."""

    def __init__(self, browser: Browser, url: str, **context: object) -> None:
        self.context = browser.new_context(**context)  # type: ignore[arg-type] # any option
        self.page: Page = self.context.new_page()
        self.complaints: list[str] = []
        self.hosts: set[str] = set()
        self.page.on("pageerror", lambda problem: self.complaints.append(str(problem)))
        self.page.on("console", lambda line: self.complaints.append(line.text) if line.type == "error" else None)
        self.page.on("request", lambda request: self.hosts.add(httpx.URL(request.url).host))
        self.page.goto(url + "/dashboard")

    def tile(self, name: str) -> str:
        return self.page.locator(".tile", has_text=name).locator(".big").inner_text()


@pytest.fixture
def url(client: httpx.Client) -> str:
    return str(client.base_url).rstrip("/")


@pytest.mark.browser
def test_it_shows_what_the_server_counts(browser: Browser, url: str) -> None:
    watched = Watched(browser, url)
    page = watched.page
    expect(page.locator("#state")).to_have_text("live")
    assert watched.tile("Version served") == "7"
    EVENTS_ACCEPTED.labels("action").inc(5000)
    for _ in range(100):
        FRESHNESS_SECONDS.observe(0.7)
    SLATE_ITEMS.labels("honest").inc(30)
    SLATE_ITEMS.labels(EVIL).inc(10)
    CANDIDATES.labels("honest").inc(100)
    PROGRESSIVE.labels("hr@10").set(0.625)
    PROGRESSIVE.labels("share_of_oracle").set(0.25)
    PROGRESSIVE.labels("share_of_oracle_by_chance").set(0.125)
    expect(page.locator("figure", has_text="Quality").locator(".legend")).to_contain_text("hr@10 0.625")
    shares = page.locator("figure", has_text="share of the best possible")
    expect(shares).to_be_visible()
    expect(shares.locator(".legend")).to_contain_text("served 0.25")
    expect(shares.locator(".legend")).to_contain_text("at random 0.125")
    CALIBRATION_BY_AGE.labels("ten_minutes").set(1.125)
    expect(page.locator("figure", has_text="age of label").locator(".legend")).to_contain_text("ten minutes 1.125")
    expect(page.locator(".tile", has_text="Freshness").locator(".big")).to_have_text("750ms")
    assert re.match(r"[1-9]", watched.tile("Events per second"))
    honest = page.locator("#sources tbody tr", has_text="honest")
    expect(honest.locator("td").first).to_have_text("75.0%")
    evil = page.locator("#sources tbody tr", has_text="<img").locator("th")
    assert evil.text_content() == EVIL
    assert page.locator("#sources img").count() == 0
    expect(page.locator("path.line").first).to_be_attached()
    assert page.title().startswith("stream_reco")
    assert watched.hosts == {"127.0.0.1"}
    assert watched.complaints == []
    watched.context.close()


@pytest.mark.browser
def test_it_shows_each_kind_of_action_and_what_it_is_worth(browser: Browser, url: str) -> None:
    for metric in (HEAD_SHARE, HEAD_CALIBRATION, HEAD_LOGLOSS):
        metric.clear()
    watched = Watched(browser, url)
    page = watched.page
    expect(page.locator("#no-kinds")).to_be_visible()
    expect(page.locator("#kinds")).to_be_hidden()
    for kind, share, calibration, loss in (("click", 0.75, 1.125, 0.5), (EVIL, 0.25, 0.875, 0.375)):
        HEAD_SHARE.labels(kind).set(share)
        HEAD_CALIBRATION.labels(kind).set(calibration)
        HEAD_LOGLOSS.labels(kind).set(loss)
    HEAD_CALIBRATION.labels("buy.value").set(1.0)
    rows = page.locator("#kinds tbody tr")
    expect(rows).to_have_count(3)
    expect(page.locator("#no-kinds")).to_be_hidden()
    assert rows.locator("th").all_text_contents() == ["click", EVIL, "buy.value"]
    assert [rows.nth(place).locator("td").all_text_contents() for place in range(3)] == [
        ["75.0%", "1.125", "0.500"],
        ["25.0%", "0.875", "0.375"],
        ["–", "1.000", "–"],
    ]
    assert page.evaluate("document.documentElement.scrollWidth <= window.innerWidth")
    assert watched.complaints == []
    watched.context.close()


@pytest.mark.browser
def test_it_can_be_paused_painted_and_read_by_keyboard(browser: Browser, url: str) -> None:
    watched = Watched(browser, url, color_scheme="dark", viewport={"width": 390, "height": 800})
    page = watched.page
    root = page.locator("html")
    expect(root).to_have_attribute("data-theme", "dark")
    page.click("#theme")
    expect(root).to_have_attribute("data-theme", "light")
    assert page.evaluate("document.documentElement.scrollWidth") <= 390
    PROGRESSIVE.labels("auc").set(0.875)
    plot = page.locator("figure", has_text="Quality").locator("svg")
    expect(plot).to_have_attribute("aria-label", re.compile(r"auc 0\.875"))
    page.click("#pause")
    expect(page.locator("#state")).to_have_text("paused")
    plot.focus()
    page.keyboard.press("ArrowLeft")
    expect(page.locator("figure", has_text="Quality").locator(".tip")).to_contain_text("auc  0.875")
    page.click("#pause")
    expect(page.locator("#state")).to_have_text("live")
    assert watched.complaints == []
    watched.context.close()


@pytest.mark.browser
def test_it_says_when_the_server_is_gone_and_asks_for_a_token(
    browser: Browser, serving: Serving, service: ToyService
) -> None:
    token = "a token for this test"  # noqa: S105 - of this test alone
    watched = Watched(browser, str(serving(token=token).base_url).rstrip("/"))
    page = watched.page
    expect(page.locator("#state")).to_have_text("token needed")
    page.fill("#token", token)
    page.click("#token-form button")
    expect(page.locator("#state")).to_have_text("live")
    expect(page.locator("#token-form")).to_be_hidden()
    page.route("**/v1/status", lambda route: route.abort())
    expect(page.locator("#state")).to_have_text("no connection")
    page.unroute("**/v1/status")
    expect(page.locator("#state")).to_have_text("live")
    assert service.asked == []
    watched.context.close()
