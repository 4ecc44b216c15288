"""The report page in headless Chromium: quiet, readable on a phone, usable by keyboard."""

from __future__ import annotations

import json
import os
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import headless_chromium as chromium
import pytest
import sample_store as sample

from aiops.report.command import write_report

pytestmark = pytest.mark.browser


SHOWN_EPISODES = "[...document.querySelectorAll('.episodes > li')].filter(item => !item.hidden).length"


OVERLAPS = """
(() => {
  const text = (element) => { const range = document.createRange(); range.selectNodeContents(element); return range; };
  const apart = (a, b) => a.left >= b.right - 1 || b.left >= a.right - 1 || a.top >= b.bottom - 1 || b.top >= a.bottom - 1;
  const found = [];
  for (const row of document.querySelectorAll('.row:not(.axis-row)')) {
    const parts = [...row.querySelectorAll('.label h4, .label p, .said, .strip')];
    const boxes = parts.map((part) => (part.matches('.said') ? text(part) : part).getBoundingClientRect());
    boxes.forEach((box, place) => boxes.slice(place + 1).forEach((other, after) => {
      if (!apart(box, other)) found.push(parts[place].textContent + ' / ' + parts[place + 1 + after].textContent);
    }));
  }
  return found;
})()
"""  # noqa: E501


@pytest.fixture(scope="module")
def page(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("report")
    write_report(str(sample.build_store(folder / "aiops.duckdb")), str(folder / "report.html"))
    return folder / "report.html"


@pytest.fixture(scope="module")
def big_page(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("big")
    write_report(str(sample.build_big_store(folder / "big.duckdb")), str(folder / "big.html"))
    return folder / "big.html"


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    path = chromium.find_chromium()
    if path is None:
        refuse = pytest.fail if os.environ.get("CI") else pytest.skip
        refuse("needs Chromium: apt-get install chromium")
    with chromium.Browser(path) as opened:
        yield opened


def complaints(browser: Any) -> list[str]:
    """Errors, console messages, and requests for anything but the page itself."""
    kinds = {"Runtime.exceptionThrown", "Log.entryAdded", "Runtime.consoleAPICalled"}
    said = [json.dumps(event["params"])[:300] for event in browser.events if event["method"] in kinds]
    asked = [
        e["params"]["request"]["url"] for e in browser.events if e["method"] == "Network.requestWillBeSent"
    ]
    return (
        said
        + [url for url in asked if not url.startswith("file:") and not url.startswith("data:")]
        + asked[2:]
    )


@pytest.mark.parametrize("dark", [False, True])
@pytest.mark.parametrize("width", [360, 390, 1280])
def test_the_page_loads_quietly_and_fits(browser: Any, page: Path, width: int, dark: bool) -> None:
    """No error, no request, no sideways scrolling, and hostile text has not run."""
    browser.open(page, width=width, dark=dark)
    assert complaints(browser) == []
    assert browser.evaluate("document.documentElement.scrollWidth") <= width
    assert browser.evaluate("typeof window.__hacked") == "undefined"
    assert browser.evaluate("document.querySelectorAll('img').length") == 0
    assert sample.HOSTILE.split("\u202e")[0].strip() in browser.evaluate("document.body.textContent")
    color = browser.evaluate("getComputedStyle(document.body).backgroundColor")
    assert color == ("rgb(15, 20, 27)" if dark else "rgb(246, 247, 249)")


def test_every_anomaly_can_be_unfolded_without_overflow(browser: Any, page: Path) -> None:
    """On a phone with all details open, nothing sticks out, not even lines of 10,000 characters."""
    browser.open(page, width=360)
    browser.evaluate("document.querySelectorAll('details').forEach(d => d.open = true)")
    assert browser.evaluate("document.documentElement.scrollWidth") <= 360
    assert browser.evaluate(
        "[...document.querySelectorAll('pre')].every(p => p.scrollWidth <= p.clientWidth + 1)"
    )


def test_filters_narrow_the_page(browser: Any, page: Path) -> None:
    """Tenant, severity and text hide what does not match and say how much is left."""
    browser.open(page)

    def choose(name: str, value: str) -> None:
        browser.evaluate(
            f"(() => {{ const input = document.getElementById('filter-{name}'); input.value = '{value}';"
            " input.dispatchEvent(new Event('input', {bubbles: true})); })()"
        )

    assert browser.evaluate(SHOWN_EPISODES) == 5
    choose("tenant", "globex")
    assert browser.evaluate(SHOWN_EPISODES) == 2
    assert browser.evaluate("document.getElementById('filter-result').textContent") == "2 of 5 episodes"
    groups = (
        "[...document.querySelectorAll('[data-group]')].filter(e => !e.hidden).map(e => e.dataset.tenant)"
    )
    assert browser.evaluate(groups) == ["globex"]
    choose("severity", "2")
    assert browser.evaluate(SHOWN_EPISODES) == 0
    choose("tenant", "")
    choose("text", "Inventory")
    assert browser.evaluate(SHOWN_EPISODES) == 1


def test_the_timeline_answers_to_pointer_and_keys(browser: Any, page: Path) -> None:
    """Pointing at a bar shows its figures and anomalies; arrow keys walk; Escape hides."""
    browser.open(page)
    at = (
        "(() => { const c = document.querySelector('.chart'); c.scrollIntoView({block: 'center'});"
        " const r = c.getBoundingClientRect(); return [r.left + r.width * 30.5 / 60, r.top + 30]; })()"
    )
    browser.evaluate(at)
    browser.evaluate("new Promise(done => requestAnimationFrame(() => requestAnimationFrame(done)))")
    x, y = browser.evaluate(at)
    browser.call("Input.dispatchMouseEvent", type="mouseMoved", x=x, y=y)
    tip = "document.getElementById('tip').hidden ? '' : document.getElementById('tip').textContent"
    said = browser.evaluate(tip)
    assert said.startswith("01-01 10:30–10:31 UTC\n")
    assert "critical: error spike" in said
    assert re.search(r"\nerrors 33\.\d %, expected 0\.3 % \(0 % to 2 %\)\n", said)
    browser.evaluate("document.querySelector('.chart').focus({preventScroll: true})")
    browser.key("ArrowRight")
    assert browser.evaluate(tip).startswith("01-01 10:31–10:32 UTC\n")
    browser.key("End")
    assert browser.evaluate(tip).startswith("01-01 10:59–11:00 UTC\n")
    browser.key("Escape")
    assert browser.evaluate(tip) == ""


@pytest.mark.parametrize("width", [390, 1280])
def test_the_words_of_a_chart_overlap_nothing(browser: Any, page: Path, width: int) -> None:
    """Beside each strip on a screen, above it on a phone, the words stand clear of all others."""
    browser.open(page, width=width)
    browser.evaluate("document.querySelectorAll('details.more').forEach(d => d.open = true)")
    overlaps = browser.evaluate(OVERLAPS)
    assert overlaps == []


def test_every_chart_is_said_to_those_who_do_not_see_it(browser: Any, page: Path) -> None:
    """Each strip has a name with value, expectation and how much was outside the band."""
    browser.open(page)
    labels = browser.evaluate(
        "[...document.querySelectorAll('.strip')].map(strip => strip.getAttribute('aria-label'))"
    )
    assert labels
    assert all(re.match(r"(lines|errors|p95): (worst|highest) \S+.* at \d\d:\d\d", label) for label in labels)
    assert any("outside the band" in label and "expected" in label for label in labels)


def test_a_marker_leads_to_its_anomaly(browser: Any, big_page: Path) -> None:
    """A link to an episode unfolds it, even inside the part that is folded away."""
    browser.open(big_page)
    browser.evaluate(
        "new Promise(done => { location.hash = '#e100'; addEventListener('hashchange', () => done()); })"
    )
    assert browser.evaluate("document.getElementById('e100').open")
    assert browser.evaluate("document.getElementById('e100').getBoundingClientRect().height") > 0


@pytest.mark.parametrize("width", [390, 1280])
def test_the_picture_of_an_incident_shows_its_cause_first(browser: Any, page: Path, width: int) -> None:
    """On a phone it scrolls inside its frame and begins at the cause; no text sticks out of a box."""
    browser.open(page, width=width)
    inside = """
    (() => {
      const frame = document.querySelector('#i1 .picture').getBoundingClientRect();
      const cause = document.querySelector('#i1 .cause rect').getBoundingClientRect();
      return cause.left >= frame.left && cause.right <= frame.right;
    })()
    """
    assert browser.evaluate(inside)
    browser.evaluate("document.querySelectorAll('details').forEach(d => d.open = true)")
    outside = """
    [...document.querySelectorAll('.node text')].filter((text) => {
      const box = text.parentElement.querySelector('rect').getBoundingClientRect();
      return text.getBoundingClientRect().right > box.right + 1;
    }).length
    """
    assert browser.evaluate(outside) == 0
    assert browser.evaluate("document.documentElement.scrollWidth") <= width


def test_an_incident_leads_to_its_anomalies_and_back(browser: Any, page: Path) -> None:
    """Links unfold what they lead to; filters hide incidents as they hide anomalies."""
    browser.open(page)
    go = "new Promise(done => { addEventListener('hashchange', () => done()); location.hash = '%s'; })"
    episode = browser.evaluate("document.querySelector('#i1 .joined a').getAttribute('href')")
    browser.evaluate(go % episode)
    assert browser.evaluate(f"document.querySelector('{episode}').open")
    browser.evaluate("document.getElementById('i1').open = false")
    browser.evaluate(go % "#i1")
    assert browser.evaluate("document.getElementById('i1').open")
    browser.evaluate(
        "(() => { const input = document.getElementById('filter-tenant'); input.value = 'globex';"
        " input.dispatchEvent(new Event('input', {bubbles: true})); })()"
    )
    assert browser.evaluate("document.getElementById('i1').closest('li').hidden")
    assert not browser.evaluate("document.getElementById('i2').closest('li').hidden")


def test_the_large_page_is_usable(browser: Any, big_page: Path) -> None:
    """A page at its limits loads and filters within a moment, and fits a phone."""
    browser.open(big_page, width=360)
    assert complaints(browser) == []
    assert browser.evaluate("document.documentElement.scrollWidth") <= 360
    spent = browser.evaluate(
        "(() => { const began = performance.now(), input = document.getElementById('filter-text');"
        " input.value = 'service-3'; input.dispatchEvent(new Event('input', {bubbles: true}));"
        " return performance.now() - began; })()"
    )
    assert spent < 2_000


def test_printing_unfolds_every_anomaly(browser: Any, page: Path) -> None:
    """What is folded on the screen is on paper, and folds again after."""
    browser.open(page, media="print")
    closed = "document.querySelectorAll('details:not([open])').length"
    before = browser.evaluate(closed)
    assert before > 0
    browser.evaluate("dispatchEvent(new Event('beforeprint'))")
    assert browser.evaluate(closed) == 0
    assert browser.evaluate("getComputedStyle(document.getElementById('filters')).display") == "none"
    browser.evaluate("dispatchEvent(new Event('afterprint'))")
    assert browser.evaluate(closed) == before
