"""Incidents and topology in the report: what is said first, pictures, bounds, hostile text."""

from __future__ import annotations

import random
import re
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
import sample_store as sample
from hypothesis import given
from hypothesis import strategies as st
from sample_alerts import alert_event

from aiops.report.command import write_report
from aiops.report.gather import gather_report
from aiops.report.incidents import incidents_of_episodes, view_incidents
from aiops.report.layers import NODE_HEIGHT, NODE_WIDTH, lay_out
from aiops.report.pictures import MOST_SERVICES, fits_picture
from aiops.report.topologies import view_topologies
from pipeline.duckdb_store import DuckDBStore


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> str:
    return str(sample.build_store(tmp_path_factory.mktemp("report") / "aiops.duckdb"))


@pytest.fixture(scope="module")
def page(store: str) -> str:
    out = Path(store).with_name("report.html")
    write_report(store, str(out))
    return out.read_text(encoding="utf-8")


def words(html: str) -> str:
    return " ".join(re.sub(r"<[^>]+>", " ", html).split())


def item(page: str, number: int) -> str:
    """The HTML of one incident."""
    found = re.search(rf'<details class="episode incident[^>]*id="i{number}".*?</details>', page, re.DOTALL)
    assert found, number
    return found[0]


def write_incidents(path: Path, *incidents: Any, edges: Any = ()) -> str:
    with DuckDBStore(str(path)) as opened:
        opened.append("incidents", incidents)
        opened.append("dependencies", list(edges))
    write_report(str(path), str(path.with_suffix(".html")))
    return path.with_suffix(".html").read_text(encoding="utf-8")


# ---------------------------------------------------------------------------------- incidents


@pytest.mark.parametrize(
    ("runbook", "is_linked"), [("https://runbooks.example.com/cart", True), ("javascript:alert(1)", False)]
)
def test_the_owner_of_the_cause_and_the_runbook_are_named(
    tmp_path: Path, runbook: str, *, is_linked: bool
) -> None:
    """They stand in the events of its alerts; only an address of the web becomes a link."""
    path = tmp_path / "owned.duckdb"
    incident = sample.incident("acme", "cart", 0)
    cause = incident.root_causes[0].service
    with DuckDBStore(str(path)) as opened:
        opened.append(
            "alert_events",
            [alert_event(service=cause, owner="team-cart", tier="1", channel="#cart", runbook=runbook)],
        )
    shown = item(write_incidents(path, incident), 1)
    assert "Owner team-cart · tier 1 · #cart" in words(shown)
    assert (f'href="{runbook}"' in shown) == is_linked


def test_the_page_says_first_what_to_begin_with(page: str) -> None:
    """How many incidents are not closed, and the worst of them; incidents stand before anomalies."""
    assert "2 incidents are not closed. Begin with payments: 31.4 %" in words(page)
    assert page.index('id="incidents"') < page.index('id="anomalies"') < page.index('id="topology"')
    assert re.findall(r'<span class="chip[a-z ]*">(open|updated|quiet|closed)</span>', page) == [
        "updated",
        "quiet",
        "closed",
    ]


def test_an_incident_is_told_with_its_evidence(page: str) -> None:
    """Cause with reasons, effects, anomalies with why each joined, roll-outs, traces, what to do."""
    said = words(item(page, 1))
    for part in (
        "critical acme payments updated 4 services",
        "12 min · 250 anomalies",
        "Check the roll-outs of the last hour.",
        "payments 0.81 · pod payments-7d9f-x · revision payments:v2.4.0",
        "payments:v2.4.0 was rolled out 1 min before it began",
        "1,003 more: aiops show deploys",
        "checkout 0.15",
        "Then frontend 0.04",
        "10:25 checkout calls payments: half of its lines",
        "reports , by no chain of calls that is known: errors of reports name payments",
        "it opened the incident",
        "frontend and checkout fail in 7 common traces",
        "payments → checkout → frontend 4bf92f3577b34da6",
    ):
        assert part in said, part


def test_anomalies_of_an_incident_lead_to_their_episode_and_back(store: str, page: str) -> None:
    """Both ways by number; anomalies of one episode are one line."""
    with DuckDBStore(store, read_only=True) as opened:
        data = gather_report(opened)
    view = view_incidents(data.incidents, data.episodes, data.spans)[0]
    checkout = next(one for one in view.joined if one.service == "checkout")
    assert (checkout.anomalies, checkout.severity, checkout.because) == (
        11,
        "critical",
        "checkout calls payments",
    )
    assert checkout.episode is not None
    assert data.episodes[checkout.episode - 1].service == "checkout"
    assert f'<a href="#e{checkout.episode}">11 anomalies</a>' in item(page, 1)
    assert incidents_of_episodes(data.incidents, data.episodes)[checkout.episode] == 1
    assert 'Part of <a href="#i1">incident 1</a>' in page
    assert view.more_joined == 250 - 14


def test_the_picture_of_an_incident_shows_the_chain_to_its_cause(page: str) -> None:
    """Services marked by their own severity, the cause as such, calls along which it spread."""
    picture = item(page, 1)
    assert len(re.findall(r'<g class="node', picture)) == 4
    assert re.search(r'<g class="node critical cause"><title>payments: critical, incident 1</title>', picture)
    assert re.search(r'<g class="node low"><title>reports', picture)
    chain = re.findall(r'class="call[^"]*chain"[^>]*><title>([^<:]*)', picture)
    assert chain == ["checkout calls payments", "frontend calls checkout"]


def test_a_service_alone_needs_no_picture(page: str) -> None:
    """An incident of one service says when it showed it and draws no graph."""
    alone = item(page, 3)
    assert "<g " not in alone
    assert 'class="spell high"' in alone


def test_withdrawn_incidents_and_a_store_without_any_are_shown(tmp_path: Path) -> None:
    """Neither a cause nor an anomaly is needed for a page."""
    empty = sample.incident(
        "acme", "x", 0, status="closed", anomalies=[], anomaly_count=0, affected_services=[], root_causes=[]
    )
    assert 'id="i1"' in write_incidents(tmp_path / "withdrawn.duckdb", empty)
    page = write_incidents(tmp_path / "none.duckdb")
    assert "No calls are known" in page
    assert 'id="i1"' not in page


def test_one_tenant_and_a_span_narrow_incidents_and_topology(store: str) -> None:
    """As they narrow all else."""
    with DuckDBStore(store, read_only=True) as opened:
        data = gather_report(opened, "globex", "5m")
    assert [row["status"] for row in data.incidents.rows] == ["closed"]
    assert {edge["tenant_id"] for edge in data.incidents.edges} == {"globex"}


def test_many_large_incidents_are_told_shorter(tmp_path: Path) -> None:
    """Past the budget without a picture and with fewer words; each says where the rest is."""
    incidents = [
        sample.incident(
            "acme", str(number), 1, title="<&>" * 200, affected_services=["a", "b"],
            anomalies=[sample.member("acme", f"s{n}", 1, "<&>" * 200, detector=f"d{n}") for n in range(60)],
            anomaly_count=60, root_causes=[sample.RootCause("a", 1.0, ["<&>" * 200] * 20)],
        )
        for number in range(60)
    ]  # fmt: skip
    page = write_incidents(tmp_path / "many.duckdb", *incidents)
    assert len(page) < 2_000_000
    assert len(re.findall(r'id="i\d+"', page)) == 40
    assert "20 incidents left out" in words(page)
    assert "48 more anomalies" in words(item(page, 1))
    assert "57 more anomalies" in words(item(page, 40))
    assert "<g " in item(page, 1)
    assert "<g " not in item(page, 40)


# ---------------------------------------------------------------------------------- topology


def test_ill_services_are_marked_in_the_topology(store: str) -> None:
    """By the worst incident that is not closed; calls of which many fail are marked too."""
    with DuckDBStore(store, read_only=True) as opened:
        views = {view.tenant: view for view in view_topologies(gather_report(opened).incidents)}
    picture = views["acme"].picture
    assert picture is not None
    ill = {box.name: box.illness.severity for box in picture.boxes if box.illness}
    assert ill == dict.fromkeys(("payments", "checkout", "frontend"), "critical")
    bad = [arrow.words for arrow in picture.arrows if arrow.is_ill]
    assert bad == ["checkout calls payments: 20/min, 25 % failed, p95 48.5 ms, known from mesh"]
    assert "in an incident: checkout, frontend, payments" in picture.label


def test_too_many_services_are_a_list(tmp_path: Path) -> None:
    """Beyond forty services there is no picture, but the busiest calls as a list, and how many are not."""
    edges = [
        sample.dependency("acme", "front", f"s{number:03}", requests=number)
        for number in range(MOST_SERVICES + 40)
    ]
    page = write_incidents(tmp_path / "wide.duckdb", edges=edges)
    section = page.split('id="topology"')[1]
    assert "<g " not in section
    assert "81 services are too many" in words(section)
    assert section.index("front calls s079") < section.index("front calls s078")
    assert "20 more: aiops show topology" in words(section)
    few = [{"caller": "a", "callee": "b"}]
    assert fits_picture(few)


names = st.sampled_from([f"service-{letter}" for letter in "abcdefgh"])
graphs = st.lists(st.tuples(names, names), max_size=25)


@given(graphs, st.randoms(use_true_random=False))
def test_a_layout_is_whole_and_the_same_in_any_order(
    calls: list[tuple[str, str]], chance: random.Random
) -> None:
    """Boxes do not overlap and are inside; each call has a path from its caller to its callee."""
    services = sorted({name for call in calls for name in call})
    layout = lay_out(services, calls)
    shuffled = [*calls, *calls[:2]]
    chance.shuffle(shuffled)
    assert lay_out(reversed(services), shuffled) == layout
    assert set(layout.places) == set(services)
    assert set(layout.paths) == {call for call in calls if call[0] != call[1]}
    boxes = sorted(layout.places.values(), key=lambda place: (place.x, place.y))
    assert all(0 <= box.x <= layout.width - NODE_WIDTH and box.y >= 0 for box in boxes)
    assert all(box.y + NODE_HEIGHT <= layout.height for box in boxes)
    for one, other in pairwise(boxes):
        assert one.x != other.x or one.y + NODE_HEIGHT <= other.y
    for (caller, callee), path in layout.paths.items():
        x, y = map(int, re.match(r"M(\d+) (\d+)", path).groups())  # type: ignore[union-attr]
        start, end = layout.places[caller], layout.places[callee]
        assert y == start.y + NODE_HEIGHT // 2
        assert x in {start.x, start.x + NODE_WIDTH}
        assert path.endswith(
            (f" {end.x} {end.y + NODE_HEIGHT // 2}", f" {end.x + NODE_WIDTH} {end.y + NODE_HEIGHT // 2}")
        )


@given(st.lists(st.tuples(names, names).filter(lambda call: call[0] < call[1]), max_size=25))
def test_without_circles_callers_stand_left_of_their_callees(calls: list[tuple[str, str]]) -> None:
    """All of them, directly or not."""
    layout = lay_out({name for call in calls for name in call}, calls)
    for caller, callee in calls:
        assert layout.places[caller].x < layout.places[callee].x


def test_hostile_names_are_shown_as_text(page: str) -> None:
    """In pictures too: no element, no control character, no override."""
    assert "<script>window" not in page
    assert "\u202e" not in page
    assert "\x1b" not in page


# ------------------------------------------------------------------------------------ health


def test_health_is_the_lowest_beside_that_of_the_last_window(page: str) -> None:
    """A service that was down for a while does not look well because it is well again."""
    row = re.search(
        r'<div class="row" data-tenant="acme"[^>]*>(?:(?!</h4>).)*payments.*?</h4>', page, re.DOTALL
    )
    assert row
    assert re.search(r"lowest health 0 now \d\d", words(row[0]))
