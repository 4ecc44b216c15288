"""Table `services`: what the catalog says of each service. View `slo_burn`: what is left of its SLO."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import msgspec
import orjson
import pytest
from sample_store import service_window, time_us
from sample_views import sample_service

from pipeline.catalog_source import load_catalog
from pipeline.duckdb_store import DuckDBStore
from pipeline.main import run
from pipeline.sinks import window_rows
from transforms.alert.catalog import EMPTY_CATALOG
from transforms.detect.history import WindowHistory
from transforms.elements import MICROSECONDS, LineKind, Service, ServiceWindow, WindowSummary
from transforms.sketches import latency_bin
from transforms.summarize.counting import count_lines
from transforms.summarize.merging import merge_summaries

CATALOG = """
services:
  - service: payment
    tenant: acme
    owner: team-payments
    tier: 1
    channel: "#payments"
    runbook: https://runbooks.example.com/payment
    slo: {availability: 99.9, latency_ms: 300, window: 7d}
    calls: [fraud]
  - {service: "*", owner: platform}
"""
DAY_MINUTES = 24 * 60


def _summary(minute: int = 0, service: str = "payment", **changes: Any) -> WindowSummary:
    return WindowSummary("acme", service, time_us(minute), 60, **changes)


def _rows(summary: WindowSummary, catalog: str = CATALOG, past: int = 0) -> dict[str, Any]:
    history = WindowHistory(summary, None, [None] * past)  # type: ignore[list-item]
    return dict(window_rows((summary.tenant_id, summary.service), history, load_catalog(catalog)))


# ------------------------------------------------------------------------------------ the table


def test_the_first_window_of_a_service_brings_what_the_catalog_says() -> None:
    """Globs are resolved: the row says of one service what the first entry that matches says."""
    row: Service = _rows(_summary())["services"]
    assert (row.tenant_id, row.service, row.owner, row.tier) == ("acme", "payment", "team-payments", "tier-1")
    assert (row.slo_percent, row.slo_latency_ms, row.slo_days, row.calls) == (99.9, 300, 7, ["fraud"])
    assert (row.as_of, row.revision) == (time_us(0), time_us(0) // 60_000_000)
    other: Service = _rows(_summary(service="cart"))["services"]
    assert (other.owner, other.tier, other.slo_percent, other.slo_days) == ("platform", "", None, None)


def test_the_row_comes_again_with_the_window_that_begins_a_day() -> None:
    """So that it outlives the days of its table; other windows bring none."""
    midnight = 14 * 60  # the sample store begins at 10:00
    brought = [
        minute for minute in range(midnight + 2) if "services" in _rows(_summary(minute), past=min(minute, 1))
    ]
    assert brought == [0, midnight]


def test_without_a_catalog_nothing_is_said_of_services() -> None:
    """A replay without a catalog does not wipe out what the job said before."""
    history = WindowHistory(_summary(), None, [])
    assert "services" not in dict(window_rows(("acme", "payment"), history, EMPTY_CATALOG))


def test_a_service_that_the_catalog_does_not_know_is_said_to_have_no_owner() -> None:
    """Else the row of a former catalog would stay the last one."""
    row: Service = _rows(_summary(service="cart"), "services: [{service: payment, owner: a}]")["services"]
    assert (row.owner, row.runbook, row.calls) == ("", "", [])


def test_requests_slower_than_promised_are_counted_where_something_is_promised() -> None:
    """Latencies of 300 ms: what takes as long as promised is good, within the 2 % of a bin."""
    bins = {
        latency_bin(100_000): 5,
        latency_bin(290_000): 3,
        latency_bin(320_000): 2,
        latency_bin(9_000_000): 1,
    }
    summary = _summary(latency_bins=bins, latency_count=11, failed_requests=4)
    row: ServiceWindow = _rows(summary)["service_windows"]
    assert (row.failed_requests, row.timed_requests, row.slow_requests) == (4, 11, 3)
    summary = msgspec.structs.replace(summary, service="cart")
    assert _rows(summary)["service_windows"].slow_requests is None


def test_a_failed_request_is_the_record_of_one_not_any_line_of_an_error() -> None:
    """Of a request that fails and complains in two more lines, one failed."""
    kind = LineKind("s", "GET /", 500, 503, "", "", True, False, False, False)
    summary, other = _summary(), _summary()
    count_lines(summary, kind, [-1])
    count_lines(summary, kind._replace(http_status=0, is_request=False), [-1, -1])
    count_lines(other, kind._replace(severity=200, http_status=200), [-1] * 9)
    merged = merge_summaries(merge_summaries(_summary(), summary), other)
    assert (merged.requests, merged.failed_requests, merged.errors) == (10, 1, 3)


def test_the_job_fills_the_table_from_its_catalog(tmp_path: Path) -> None:
    """From the option to the view: owner and burn of a service that fails a tenth of its requests."""
    lines, catalog, store = tmp_path / "l.ndjson", tmp_path / "catalog.yaml", str(tmp_path / "s.duckdb")
    lines.write_bytes(b"\n".join(_request_line(n) for n in range(200)))
    catalog.write_text(CATALOG, encoding="utf-8")
    run(["--input", str(lines), "--catalog", str(catalog), "--store", store, "--tenant", "acme"])
    with DuckDBStore(store, read_only=True) as opened:
        assert [row["service"] for row in opened.query("SELECT service FROM services")] == ["payment"]
        rows = {row["kind"]: row for row in opened.query("SELECT * FROM slo_burn")}
    availability, latency = rows["availability"], rows["latency"]
    assert (availability["owner"], availability["total"], availability["bad"]) == ("team-payments", 200, 20)
    assert availability["burn_rate_1h"] == pytest.approx(100)
    assert (latency["total"], latency["bad"]) == (200, 40)


def _request_line(number: int) -> bytes:
    return orjson.dumps(
        {
            "insertId": str(number),
            "logName": "projects/acme/logs/run.googleapis.com%2Frequests",
            "resource": {"type": "cloud_run_revision", "labels": {"service_name": "payment"}},
            "timestamp": f"2026-01-01T10:{number // 60:02}:{number % 60:02}Z",
            "httpRequest": {
                "requestMethod": "GET",
                "requestUrl": "https://shop.example.com/pay",
                "status": 503 if number % 10 == 0 else 200,
                "latency": "0.9s" if number % 5 == 0 else "0.1s",
            },
        }
    )


# ------------------------------------------------------------------------------------- the view


def _window(minute: int, requests: int, failed: int, **changes: Any) -> ServiceWindow:
    values = {"lines": requests * 3, "errors": failed * 2, "requests": requests, "failed_requests": failed}
    return service_window("acme", "payments", minute, **(values | changes))


LAST = 7 * DAY_MINUTES
WINDOWS = [
    _window(0, 100_000, 100),  # in the period alone
    _window(LAST - 2 * DAY_MINUTES, 10_000, 500),  # in three days
    _window(LAST - 180, 1_000, 100),  # in six hours
    _window(LAST - 20, 500, 50),  # in half an hour, and in an hour
    _window(LAST - 1, 100, 20),  # in five minutes
]


def _burn(tmp_path: Path, windows: list[ServiceWindow], **service: Any) -> dict[str, dict[str, Any]]:
    said = {"slo_percent": 99.0, "slo_latency_ms": None} | service
    with DuckDBStore(str(tmp_path / "s.duckdb")) as store:
        store.append("services", [sample_service("payments", **said)])
        store.append("service_windows", windows)
        return {row["kind"]: row for row in store.query("SELECT * FROM slo_burn")}


def test_burn_rates_are_the_share_of_bad_requests_over_the_budget(tmp_path: Path) -> None:
    """Computed by hand: a budget of 1 %, and each window's share of failed requests over it."""
    row = _burn(tmp_path, WINDOWS)["availability"]
    assert (row["total"], row["bad"], row["measured_in"]) == (111_600, 770, "requests")
    assert row["error_budget"] == pytest.approx(0.01)
    found = [row[f"burn_rate_{name}"] for name in ("5m", "30m", "1h", "6h", "3d")]
    assert found == pytest.approx([20, 70 / 6, 70 / 6, 170 / 16, 670 / 116])
    assert row["budget_left"] == pytest.approx(1 - 770 / 1_116)
    assert row["urgency"] == "page", "6 h and 30 min burn more than 6 times as fast as they may"


def test_windows_before_the_period_are_forgiven(tmp_path: Path) -> None:
    """An objective over 5 days knows nothing of the bad ones a week ago."""
    row = _burn(tmp_path, [_window(0, 10, 10), _window(LAST, 10, 0)], slo_days=5)["availability"]
    assert (row["total"], row["bad"], row["budget_left"], row["urgency"]) == (10, 0, 1, "")


def test_a_service_without_requests_is_measured_by_its_lines(tmp_path: Path) -> None:
    """A batch job has lines and errors: they stand in for requests."""
    row = _burn(tmp_path, [_window(0, 0, 0, lines=400, errors=2)])["availability"]
    assert (row["measured_in"], row["total"], row["bad"], row["burn_rate_1h"]) == (
        "lines",
        400,
        2,
        pytest.approx(0.5),
    )


def test_silence_burns_nothing(tmp_path: Path) -> None:
    """Without a request or line in a window there is no share, and nobody is called for it."""
    row = _burn(tmp_path, [_window(0, 100, 50), _window(LAST, 0, 0, lines=0, errors=0)])["availability"]
    assert (row["burn_rate_1h"], row["burn_rate_3d"], row["urgency"]) == (None, None, "")


def test_latency_has_a_budget_of_its_own(tmp_path: Path) -> None:
    """Of requests that were timed, the slow ones are bad; rows of before that was counted are left out."""
    windows = [
        _window(0, 100, 0, timed_requests=80, slow_requests=4),
        _window(1, 100, 100, timed_requests=None, slow_requests=None),
    ]
    row = _burn(tmp_path, windows, slo_latency_ms=300)["latency"]
    assert (row["total"], row["bad"], row["slo_latency_ms"]) == (80, 4, 300)
    assert row["burn_rate_1h"] == pytest.approx(5)


def test_an_objective_of_latency_alone_has_no_budget(tmp_path: Path) -> None:
    """The share of slow requests shows; how many may be slow is not said, so nothing burns."""
    windows = [_window(0, 100, 0, timed_requests=100, slow_requests=4)]
    (row,) = _burn(tmp_path, windows, slo_percent=None, slo_latency_ms=300).values()
    assert (row["kind"], row["bad_share"], row["budget_left"], row["urgency"]) == ("latency", 0.04, None, "")


def test_rows_of_before_failed_requests_were_counted_use_their_errors(tmp_path: Path) -> None:
    """Never more failed requests than requests."""
    windows = [_window(0, 10, 0, errors=25, failed_requests=None), _window(1, 30, 5)]
    assert _burn(tmp_path, windows)["availability"]["bad"] == 15


@pytest.mark.parametrize(
    ("shares", "days", "urgency"),
    [
        # Bad ones of 1,000 requests each, 1, 20 and 50 minutes, 5 hours and 2 days ago; a budget of 1 %.
        ((150, 150, 150, 0, 0), 30, "page"),  # 14.4 times in an hour, and still
        ((0, 0, 600, 0, 0), 30, "ticket"),  # 20 times in an hour, but it is over
        ((70, 70, 70, 70, 0), 30, "page"),  # 6 times in six hours, and still
        ((20, 20, 20, 20, 20), 30, "ticket"),
        ((0, 0, 0, 0, 200), 30, ""),  # three days ago, and over
        ((40, 40, 40, 40, 40), 7, "page"),  # 2 % of the budget of a week in an hour is 3.4 times
    ],
)
def test_two_windows_must_agree_before_anybody_is_called(
    shares: tuple[int, ...], days: int, urgency: str, tmp_path: Path
) -> None:
    """Thresholds are shares of the budget: 2 % in an hour, 5 % in six, 10 % in three days."""
    minutes = [LAST - 1, LAST - 20, LAST - 50, LAST - 300, LAST - 3_000]
    windows = [_window(minute, 1_000, bad) for minute, bad in zip(minutes, shares, strict=True)]
    assert _burn(tmp_path, windows, slo_days=days)["availability"]["urgency"] == urgency


def test_the_last_row_of_a_service_counts(tmp_path: Path) -> None:
    """A catalog that was changed holds from the row that says so on."""
    with DuckDBStore(str(tmp_path / "s.duckdb")) as store:
        store.append("services", [sample_service("payments", 5, slo_percent=90.0)])
        store.append(
            "services", [sample_service("payments", 1), sample_service("payments", 5, slo_percent=95.0)]
        )
        store.append("service_windows", [_window(0, 100, 5)])
        (row,) = store.query("SELECT * FROM slo_burn WHERE kind = 'availability'")
    assert row["slo_percent"] == 95.0
    assert row["budget_left"] == pytest.approx(0)
    assert row["as_of"].timestamp() == time_us(1) // MICROSECONDS
