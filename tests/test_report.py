"""The report page: figures that match the store, bounded size, and hostile text that stays text."""

from __future__ import annotations

import html.parser
import json
import re
from datetime import UTC, datetime, timedelta
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
import sample_store as sample
import typer
from hypothesis import given
from hypothesis import strategies as st
from typer.testing import CliRunner

from aiops.figures import compact, figure, milliseconds
from aiops.report import charts
from aiops.report.command import report, write_report
from aiops.report.episodes import fair_share, gather_episodes
from aiops.report.gather import MOST_EPISODES, gather_report
from aiops.report.page import _embedded_json
from pipeline.duckdb_store import DuckDBStore, StoreError
from transforms.elements import SEVERITY_RANKS, LedgerEntry

START = datetime(2026, 1, 1, 10, tzinfo=UTC)


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> str:
    return str(sample.build_store(tmp_path_factory.mktemp("report") / "aiops.duckdb"))


@pytest.fixture(scope="module")
def page(store: str) -> Path:
    out = Path(store).with_name("report.html")
    write_report(store, str(out))
    return out


class Reader(html.parser.HTMLParser):
    """Tags, and the text outside of script and style."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.words: list[str] = []
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))

    def handle_data(self, data: str) -> None:
        if not self.tags or self.tags[-1][0] not in {"script", "style"}:
            self.words.append(data)

    @property
    def text(self) -> str:
        return " ".join(" ".join(self.words).split())


# --------------------------------------------------------------------------------- episodes


def row(minute: int, severity: str = "high", service: str = "checkout", **changes: Any) -> dict[str, Any]:
    start = START + timedelta(minutes=minute)
    known = {
        "anomaly_id": f"{service}-{minute:04}-{severity}",
        "tenant_id": "acme",
        "service": service,
        "endpoint": "",
        "anomaly_type": "error_spike",
        "detector": "rule:x",
        "signal": "error_rate",
        "anomaly_severity": severity,
        "confidence_score": 0.9,
        "below_confidence_floor": False,
        "window_start": start,
        "window_end": start + timedelta(minutes=1),
    }
    return known | changes


def test_consecutive_windows_are_one_episode() -> None:
    """A short pause does not end an episode, a long one does; the worst gives its severity."""
    rows = [row(0), row(1, "critical"), row(6), row(30, "low")]
    first, second = gather_episodes(rows)
    assert (first.severity, first.windows, first.worst_id) == ("critical", 3, "checkout-0001-critical")
    assert (first.start, first.end) == (START, START + timedelta(minutes=7))
    assert (second.severity, second.windows) == ("low", 1)


def test_different_signals_are_different_episodes() -> None:
    """Service, endpoint, type, detector and signal keep episodes apart."""
    rows = [row(0), row(0, service="cart"), row(0, endpoint="/x"), row(0, signal="p95"), row(0, detector="y")]
    assert len(gather_episodes(rows)) == 5


def test_anomalies_under_the_floor_come_last() -> None:
    """What is not sure does not stand above what is, however severe."""
    episodes = gather_episodes([row(0, "critical", below_confidence_floor=True), row(0, "low", "cart")])
    assert [episode.severity for episode in episodes] == ["low", "critical"]


severities = st.sampled_from(sorted(SEVERITY_RANKS))
some_rows = st.lists(
    st.builds(row, st.integers(0, 200), severities, st.sampled_from(["a", "b"])),
    max_size=30,
    unique_by=lambda found: found["anomaly_id"],
)


@given(some_rows, st.randoms(use_true_random=False))
def test_the_order_of_anomalies_does_not_change_episodes(rows: list[dict[str, Any]], random: Any) -> None:
    """Episodes depend on nothing but the anomalies, and every anomaly is in exactly one."""
    episodes = gather_episodes(rows)
    shuffled = list(rows)
    random.shuffle(shuffled)
    assert gather_episodes(shuffled) == episodes
    assert sum(episode.anomalies for episode in episodes) == len(rows)


@given(st.lists(st.sampled_from("abc"), max_size=60), st.integers(1, 30))
def test_no_tenant_is_pushed_off_the_page(tenants: list[str], limit: int) -> None:
    """Each tenant keeps its share as long as it has something, and the order stays."""
    items = list(enumerate(tenants))
    chosen = fair_share(items, lambda item: item[1], limit)
    assert len(chosen) == min(limit, len(items))
    assert chosen == sorted(chosen)
    share = limit // max(1, len(set(tenants)))
    for tenant in set(tenants):
        mine = [item for item in items if item[1] == tenant]
        assert [item for item in chosen if item[1] == tenant][:share] == mine[:share]


# ----------------------------------------------------------------------------------- charts


@given(st.integers(0, 4_000_000_000), st.integers(1, 2_000_000_000), st.sampled_from([60, 300, 3_600]))
def test_any_span_fits_the_axis(start: int, seconds: int, window: int) -> None:
    """At most 240 buckets cover the span, on round times, with a few labels in order."""
    first, last = (datetime.fromtimestamp(moment, UTC) for moment in (start, start + seconds))
    axis = charts.make_axis(first, last, window)
    assert axis.start <= first < last <= axis.end
    assert 1 <= axis.buckets <= charts.MOST_BUCKETS
    assert axis.bucket_seconds >= window
    places = [place for place, _ in axis.ticks()]
    assert places == sorted(places)
    assert len(places) <= 7


@given(st.lists(st.tuples(st.integers(0, 50), st.integers(1, 20)), max_size=20), st.integers(1, 4))
def test_lanes_do_not_overlap_but_in_the_last(spans: list[tuple[int, int]], lanes: int) -> None:
    """Markers side by side in time stand one above the other, as far as there is room."""
    ends = [(float(start), float(start + length)) for start, length in spans]
    chosen = charts.stack_lanes(ends, lanes)
    assert all(0 <= lane < lanes for lane in chosen)
    for lane in range(lanes - 1):
        mine = sorted(span for span, own in zip(ends, chosen, strict=True) if own == lane)
        assert all(before[1] <= after[0] for before, after in pairwise(mine))


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (0, "0"),
        (950, "950"),
        (999.9, "1k"),
        (12_345, "12.3k"),
        (4_560_000, "4.56M"),
        (-12_000, "-12k"),
        (0.5, "0.5"),
    ],
)
def test_counts_are_short(value: float, text: str) -> None:
    """Large counts are readable at a glance."""
    assert compact(value) == text


def test_metrics_are_in_the_unit_of_their_name() -> None:
    """Rates are percent, milliseconds become seconds where they are long, unknown is a dash."""
    assert figure(0.314, "error_rate") == "31.4 %"
    assert figure(2_690.0, "latency_p95_ms") == "2.69 s"
    assert figure(188.0, "errors") == "188"
    assert figure(None, "errors") == "–"
    assert milliseconds(85.4) == "85.4 ms"


@given(st.text())
def test_embedded_json_cannot_end_its_script(text: str) -> None:
    """No string closes the element or opens a comment, and the value is kept."""
    encoded = str(_embedded_json({"x": text}))
    assert not set("<>&") & set(encoded)
    assert json.loads(encoded) == {"x": text}


# ------------------------------------------------------------------------------------- page


def test_figures_are_those_of_the_store(store: str) -> None:
    """Counts of lines, anomalies, dead letters and the ledger match what the views hold."""
    with DuckDBStore(store, read_only=True) as opened:
        data = gather_report(opened)
        lines = opened.query(
            "SELECT sum(lines) AS lines, sum(errors) AS errors FROM current_service_windows"
        )[0]
        assert (data.lines, data.errors) == (lines["lines"], lines["errors"])
        assert data.ledger["received"] == opened.ledger_totals()["received"]
    assert dict(data.severities) == {"critical": 18, "high": 6, "medium": 12}
    assert (data.under_floor, data.services, data.dead_lettered) == (1, 8, 4)
    drawn = [point.value or 0.0 for line in data.service_lines for point in line.series["lines"].points]
    assert sum(drawn) == pytest.approx(data.lines)  # one bucket is a minute, and its value is per minute
    assert [minute["tenant_id"] for minute in data.unbalanced] == ["initech"]


def test_withdrawn_anomalies_are_not_on_the_page(store: str) -> None:
    """What a late pane took back is no longer reported."""
    with DuckDBStore(store, read_only=True) as opened:
        types = {episode.anomaly_type for episode in gather_report(opened).episodes}
    assert types == {"error_spike", "latency_increase", "silence", "new_pattern"}


def test_a_report_of_one_tenant_names_no_other(store: str, tmp_path: Path) -> None:
    """A page for one customer holds nothing of the others."""
    write_report(store, str(tmp_path / "acme.html"), tenant="acme")
    text = (tmp_path / "acme.html").read_text(encoding="utf-8")
    assert "payments" in text
    assert not re.search("globex|initech|search-|api-gateway", text)


def test_since_leaves_out_what_is_older(store: str) -> None:
    """The last ten minutes have ten windows of each service, and only their anomalies."""
    with DuckDBStore(store, read_only=True) as opened:
        data = gather_report(opened, since="10m")
    assert data.start == START + timedelta(minutes=50)
    assert {episode.service for episode in data.episodes} == {"search", "inventory"}


def test_hostile_text_makes_no_element(page: Path) -> None:
    """The page has the elements of its template and no other, and no handler or outside address."""
    reader = Reader(page.read_text(encoding="utf-8"))
    assert [attributes.get("type") for tag, attributes in reader.tags if tag == "script"] == [
        "application/json",
        None,
    ]
    assert not [
        tag for tag, _ in reader.tags if tag in {"img", "iframe", "object", "embed", "base", "form-x"}
    ]
    for tag, attributes in reader.tags:
        assert not [name for name in attributes if name.startswith("on") or name == "style"], tag
        for name in ("src", "href"):
            assert re.match(r"#|data:,$", attributes.get(name) or "#"), (tag, attributes)
    assert "<script>window.__hacked = 1</script>" in reader.text
    assert "{{ 7 * 7 }}" in reader.text
    assert "⟨U+202E⟩gnp.exe" in reader.text
    assert "9,000 more characters" in reader.text


def test_the_page_forbids_itself_all_that_it_does_not_hold(page: Path) -> None:
    """The policy allows nothing from outside, and inline code by its hash alone."""
    reader = Reader(page.read_text(encoding="utf-8"))
    policy = next(
        a["content"] or "" for tag, a in reader.tags if a.get("http-equiv") == "Content-Security-Policy"
    )
    assert policy.startswith("default-src 'none'; style-src 'sha256-")
    assert not re.search("unsafe|https?:|\\*", policy)


def test_the_same_store_gives_the_same_page(store: str, page: Path, tmp_path: Path) -> None:
    """But for the time of writing, nothing depends on when or how often a report is written."""
    write_report(store, str(tmp_path / "again.html"))
    undated = [
        re.sub(r"written [0-9: -]+ UTC", "", path.read_text(encoding="utf-8"))
        for path in (page, tmp_path / "again.html")
    ]
    assert undated[0] == undated[1]


def test_headings_do_not_skip_a_level(page: Path) -> None:
    """A screen reader can walk the page by its headings."""
    levels = [
        int(tag[1]) for tag, _ in Reader(page.read_text(encoding="utf-8")).tags if re.fullmatch("h[1-6]", tag)
    ]
    assert levels[0] == 1
    assert all(after <= before + 1 for before, after in pairwise(levels))


def test_text_has_contrast_in_both_schemes() -> None:
    """Every color of text reaches 4.5 to 1 on the card and the page, by day and by night."""
    style = (Path(charts.__file__).parent / "page.css").read_text(encoding="utf-8")
    light, dark = (
        dict(re.findall(r"--([a-z0-9-]+): (#[0-9a-f]{3,6});", block))
        for block in re.findall(r":root \{(.*?)\}", style, re.DOTALL)[:2]
    )
    for scheme in (light, dark):
        for name in (
            "ink",
            "soft",
            "accent",
            "good",
            "fair",
            "bad",
            "critical",
            "high",
            "medium",
            "low",
            "p95",
        ):
            for ground in ("card", "page"):
                assert _contrast(scheme[name], scheme[ground]) >= 4.5, (name, ground, scheme[name])
        for name in ("high", "medium", "low"):
            assert _contrast(scheme[name], scheme[f"{name}-wash"]) >= 4.5, name
        assert _contrast(scheme["on-badge"], scheme["critical"]) >= 4.5


def _contrast(one: str, other: str) -> float:
    light, dark = sorted((_luminance(one), _luminance(other)), reverse=True)
    return (light + 0.05) / (dark + 0.05)


def _luminance(color: str) -> float:
    digits = color[1:] if len(color) == 7 else "".join(2 * digit for digit in color[1:])
    parts = [int(digits[i : i + 2], 16) / 255 for i in (0, 2, 4)]
    linear = [part / 12.92 if part <= 0.04045 else ((part + 0.055) / 1.055) ** 2.4 for part in parts]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]


@pytest.fixture(scope="module")
def big_page(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("big")
    write_report(str(sample.build_big_store(folder / "big.duckdb")), str(folder / "big.html"))
    return folder / "big.html"


def test_a_large_store_gives_a_small_page_that_says_what_is_missing(big_page: Path) -> None:
    """Two thousand anomalies full of characters to escape stay below 5 MB, and every tenant is there."""
    assert big_page.stat().st_size < 5_000_000
    reader = Reader(big_page.read_text(encoding="utf-8"))
    assert f"{2_000 - MOST_EPISODES:,} episodes left out to keep this page small" in reader.text
    assert "20 quieter services left out" in reader.text
    assert "patterns left out" in reader.text
    listed = {a["data-tenant"] for tag, a in reader.tags if tag == "li" and "data-tenant" in a}
    assert listed == {f"tenant-{number}" for number in range(8)}


def test_one_stray_line_does_not_squeeze_the_timeline(tmp_path: Path) -> None:
    """Windows before a gap of more than a day are counted and not drawn."""
    with DuckDBStore(str(tmp_path / "stray.duckdb")) as store:
        stray = sample.service_window("acme", "old", -60 * 24 * 400)
        store.append(
            "service_windows", [stray, *(sample.service_window("acme", "new", m) for m in range(30))]
        )
    with DuckDBStore(str(tmp_path / "stray.duckdb"), read_only=True) as store:
        data = gather_report(store)
    assert data.axis is not None
    assert (data.axis.start, data.axis.buckets, data.undrawn_windows) == (START, 30, 1)


@pytest.mark.parametrize("filled", [False, True])
def test_a_store_without_windows_says_what_to_do(tmp_path: Path, filled: bool) -> None:
    """An empty store, and one whose lines all became dead letters, give a page and no error."""
    with DuckDBStore(str(tmp_path / "empty.duckdb")) as store:
        if filled:
            store.append("ledger", [LedgerEntry("acme", sample.time_us(0), 5, 5, 0)])
    write_report(str(tmp_path / "empty.duckdb"), str(tmp_path / "empty.html"))
    text = Reader((tmp_path / "empty.html").read_text(encoding="utf-8")).text
    assert "aiops run --input" in text
    assert "balanced" in text


# ---------------------------------------------------------------------------------- command

app = typer.Typer()
app.command()(report)


def test_the_command_writes_the_page_and_says_where(store: str, tmp_path: Path) -> None:
    """The file's name and size are printed."""
    result = CliRunner().invoke(
        app, ["--store", store, "--out", str(tmp_path / "x.html"), "--title", "Night <b>"]
    )
    assert result.exit_code == 0, result.output
    assert "x.html" in result.output
    assert "<title>Night &lt;b&gt;</title>" in (tmp_path / "x.html").read_text(encoding="utf-8")


def test_what_cannot_be_read_or_written_is_explained(store: str, tmp_path: Path) -> None:
    """A missing store and a missing folder end with code 1, and nothing half-written stays."""
    missing = CliRunner().invoke(app, ["--store", str(tmp_path / "no.duckdb")])
    assert missing.exit_code == 1
    assert "There is no store at" in missing.stderr
    nowhere = CliRunner().invoke(app, ["--store", store, "--out", str(tmp_path / "no" / "x.html")])
    assert nowhere.exit_code == 1
    assert "Name another file with --out" in nowhere.stderr
    assert list(tmp_path.iterdir()) == []
    with pytest.raises(StoreError):
        write_report(str(tmp_path / "no.duckdb"), str(tmp_path / "x.html"))
