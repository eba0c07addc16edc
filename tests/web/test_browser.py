"""The dashboard in a real browser over a real market: live, whole without scripts, every link and form, nothing serious
for axe to find.
"""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from urllib.parse import urlsplit

import pytest

from monitor.status.names import METRICS
from monitor.testing import aave_v3
from monitor.testing.browser import Browser
from tests.cli.conftest import config_for
from tests.localnet_fixtures import AnvilAave

pytestmark = [pytest.mark.anvil]
PAGES = ("/", "/markets", "/actions", "/alerts", "/system")
APPEARS_MS = 20_000
MOVED = (
    "(() => {{ const one = document.querySelector('input[type=range]'); one.value = '{}'; "
    "one.dispatchEvent(new Event('input', {{ bubbles: true }})); }})()"
)


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with Browser() as made:
        yield made


@contextmanager
def served(folder: Path, local: AnvilAave) -> Iterator[str]:
    """`levmon serve` on a free port, as a user starts it."""
    (folder / "levmon.toml").write_text(
        config_for(local.process.url, local.market.provider, local.market.borrowers)
        + '[guardian]\naddress = "0x000000000000000000000000000000000000dEaD"\n'
        "[guardian.limits]\nper_action = 5_000\nper_position_day = 10_000\nper_key_day = 20_000\n"
        '[[protect]]\nmarket = "core"\nselector = "eip155:31337/*"\ntrigger = 1.15\ntarget = 1.4\n'
    )
    command = [sys.executable, "-m", "monitor", "serve", "--listen", "127.0.0.1:0", "--poll", "0.1"]
    process = subprocess.Popen(command, cwd=folder, stderr=subprocess.PIPE, text=True, env={**os.environ})
    try:
        said = process.stderr.readline() if process.stderr else ""
        assert "the dashboard is at http://" in said, said
        yield said.split()[-1].rstrip("/")
    finally:
        process.terminate()
        process.communicate(timeout=60)
    assert process.returncode == 1, "as check: some position is critical"


def test_the_dashboard_in_a_browser(browser: Browser, anvil_aave: AnvilAave, tmp_path: Path) -> None:
    """One start of `levmon serve` for all of it: that is what takes time."""
    with served(tmp_path, anvil_aave) as url:
        browser.open()
        browser.goto(url)
        browser.until("document.querySelectorAll('#rows tr').length === 32", APPEARS_MS)
        a_shock_appears(browser, anvil_aave)
        looked_after(url)
        every_link_and_form(browser, url)
        what_if(browser, url)
        whole_without_scripts(browser, url)
        nothing_serious(browser, url, position_of(browser, url))


def a_shock_appears(browser: Browser, local: AnvilAave) -> None:
    browser.until("document.getElementById('live').textContent === 'live'", APPEARS_MS)
    before = browser.run("[...document.querySelectorAll('#rows .level')].map((one) => one.textContent).join()")
    assert "ok" in before
    block = int(browser.run("document.getElementById('chains').textContent.match(/block (\\d+)/)[1]"))
    aave_v3.shock(local.chain, local.market, {"WETH": "-25%", "wstETH": "-25%"})
    shown = "Number(document.getElementById('chains').textContent.match(/block (\\d+)/)[1])"
    browser.until(f"{shown} >= {max(local.chain.block_number(), block + 1)}", APPEARS_MS)
    after = browser.run("[...document.querySelectorAll('#rows .level')].map((one) => one.textContent).join()")
    assert after != before, "without a click"
    rows = browser.run("[...document.querySelectorAll('#rows [data-label=Health]')].map((one) => one.textContent)")
    healths = [float(text.replace(",", "").rstrip("!")) for text in rows]
    assert healths == sorted(healths), "the order is kept up too"
    first = healths[0]
    wad = min(aave_v3.account_data(local.chain, local.market, owner)[5] for owner in local.market.borrowers)
    assert int(first * 10**4) == wad // 10**14, "what the contract says"
    assert browser.wrong == []


def looked_after(url: str) -> None:
    """Alive, ready and in numbers, at the same address."""
    told = {}
    for path in ("/healthz", "/readyz", "/metrics"):
        with urllib.request.urlopen(url + path, timeout=10) as answer:  # noqa: S310  # loopback
            told[path] = answer.read().decode()
    names = set(re.findall(r"^levmon_(\w+)[ {]", told["/metrics"], re.MULTILINE))
    assert names <= {name for name, about in METRICS.items() if "serve" in about.of}
    assert names >= {"position_health", "head_block", "endpoint_requests_total", "ready"}
    assert re.search(r'^levmon_build_info\{.*command="serve".*\} 1', told["/metrics"], re.MULTILINE)
    assert json.loads(told["/readyz"])["ready"] is True


def position_of(browser: Browser, url: str) -> str:
    """The path of the most urgent position."""
    browser.goto(url)
    return urlsplit(str(browser.run("document.querySelector('#rows a').href"))).path


def every_link_and_form(browser: Browser, url: str) -> None:
    """Whatever can be reached by links from the first page, each place once; of the positions' pages a few."""
    todo, seen, positions = [f"{url}/"], set[str](), 0
    while todo:
        at = todo.pop(0)
        if at in seen:
            continue
        seen.add(at)
        path = urlsplit(at).path
        if path.startswith(("/positions/", "/plan/")):
            positions += 1
            if positions > 4:
                continue
        assert browser.goto(at) == 200, at
        assert browser.wrong == [], at
        if not path.startswith("/api/"):
            todo += [link for link in browser.links() if link.startswith(f"{url}/") and "#" not in link]
    assert {urlsplit(one).path for one in seen} >= {*PAGES, "/api/v1/openapi.json"}
    assert any("/plan/" in one for one in seen)
    assert browser.goto(f"{url}/nothing") == 404
    browser.open()
    browser.goto(url)
    browser.run("document.querySelector('select').value = 'watch'")
    browser.click("form button")
    assert "level=watch" in browser.url
    assert set(browser.texts("#rows .level")) == {"watch"}
    browser.fill("input[type=search]", "nobody at all")
    browser.click("form button")
    assert browser.texts("#rows tr") == []
    assert "No position here" in browser.text("main")
    browser.press("Tab")
    assert browser.run("document.activeElement !== document.body"), "by keyboard"


def what_if(browser: Browser, url: str) -> None:
    """A slider moves, and the exact engine answers."""
    browser.goto(url + position_of(browser, url))
    health = "document.querySelector('#result tr:nth-child(2) td:nth-child(3)')?.textContent"
    browser.run(MOVED.format(-50))
    browser.until(f"{health} !== undefined", APPEARS_MS)
    assert browser.text("output") == "-50%"
    first = browser.run(health)
    browser.run(MOVED.format(50))
    browser.until(f"{health} !== {first!r}", APPEARS_MS)
    browser.fill("#days", "99999")
    browser.until("document.querySelector('#result .trouble') !== null", APPEARS_MS)
    assert browser.wrong == []


def whole_without_scripts(browser: Browser, url: str) -> None:
    position = position_of(browser, url)
    browser.open(scripts=False)
    browser.goto(url)
    assert len(browser.texts("#rows tr")) == 32
    browser.goto(url + position)
    browser.fill("#days", "30")
    browser.click("#ask button")
    assert "days=30" in browser.url
    assert "now" in browser.text("#result")
    assert browser.text("#standing .level") in {"critical", "unknown"}
    browser.click("a.button")
    assert "What could be done now" in browser.text("main")
    for path in PAGES:
        browser.goto(url + path)
        assert browser.text("h1")


def nothing_serious(browser: Browser, url: str, position: str) -> None:
    """Each page at a desk in light and on a phone in dark."""
    plan = position.replace("/positions/", "/plan/")
    for scheme, width, own in (("light", 1280, "/nothing"), ("dark", 390, "/login")):
        browser.open(scheme=scheme, width=width)
        for path in (*PAGES, f"{position}?days=7", plan, own):
            browser.goto(url + path)
            assert browser.violations() == [], (path, scheme)
            wide = browser.run("document.documentElement.scrollWidth")
            assert wide <= width, f"{path} is {wide} wide, of {width}"
