"""What the report draws of a signal: the band, what is outside it, what was learned, and the words for it."""

from __future__ import annotations

import re
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
import sample_store as sample
from hypothesis import given
from hypothesis import strategies as st

from aiops.figures import against_expected, expected_words, figure, span_words
from aiops.report import charts
from aiops.report.bands import Point, Series, learning_buckets, loud_ranks, off_stretches, worst_place
from aiops.report.charts import TimeAxis
from aiops.report.command import write_report
from aiops.report.gather import ReportData, ServiceLine, gather_report
from aiops.report.strips import Strip, draw_strip, metric_words, wash_stretches
from pipeline.duckdb_store import DuckDBStore
from transforms.elements import AnomalyMetric, ServiceWindow

START = datetime(2026, 1, 1, 10, tzinfo=UTC)
LEARNED = (100.0, 80.0, 120.0)


def axis(buckets: int) -> TimeAxis:
    return TimeAxis(START, 60, buckets)


def points(*values: float | None, band: tuple[float, float, float] = LEARNED) -> list[Point]:
    return [Point(value, *band) for value in values]


def draw(found: Sequence[Point], cover: Sequence[int] | None = None, **changes: int) -> Strip:
    none = [-1] * len(found)
    series = Series("lines", "per_minute", found)
    return draw_strip(series, axis(len(found)), cover or none, none, **changes)


# ---------------------------------------------------------------------------------- geometry

coordinates = re.compile(r"-?\d+(?:\.\d+)?")
values = st.lists(st.none() | st.floats(0, 1e12), min_size=1, max_size=240)


def test_a_line_is_drawn_through_the_middles_of_the_buckets() -> None:
    """Two units a bucket, the highest value near the upper edge, moves relative to the point before."""
    assert charts.line_path([0.0, 10.0, 5.0], 10.0) == "M1 100l2-94 2 47"
    assert charts.line_path([5.0, 5.0, 5.0, 5.0], 10.0) == "M1 53l6 0"


def test_a_line_breaks_where_values_are_missing() -> None:
    """A gap in the data is a gap in the line, and a lone value is as wide as its bucket."""
    assert charts.line_path([2.0, None, 2.0, 2.0], 2.0) == "M0 6l2 0M5 6l2 0"
    assert charts.line_path([None], 0.0) == ""


def test_a_band_is_one_area_that_reaches_over_whole_buckets() -> None:
    """The upper edge forward, the lower one back; a single window has a band as wide as itself."""
    assert charts.band_path([0.0], [10.0], 10.0) == "M0 6l2 0 0 94-2 0z"


def test_a_band_is_drawn_on_over_windows_that_were_not_judged() -> None:
    """Windows with too few cases do not tear the band apart; a long pause does."""
    short = [1.0, *[None] * charts.BRIDGED, 1.0]
    long = [1.0, *[None] * (charts.BRIDGED + 1), 1.0]
    assert charts.band_path(short, short, 2.0).count("M") == 1
    assert charts.band_path(long, long, 2.0).count("M") == 2


@given(values, st.floats(0, 5))
def test_a_thinned_line_stays_within_its_tolerance(drawn: list[float | None], tolerance: float) -> None:
    """Leaving out points moves the line by no more than was allowed."""
    top = max((value for value in drawn if value), default=1.0)
    for run in charts._runs(drawn, top):
        thinned = charts._thinned(run, tolerance)
        assert thinned[0] == run[0]
        assert thinned[-1] == run[-1]
        for x, y in run:
            after = next(place for place, point in enumerate(thinned) if point[0] >= x)
            (x0, y0), (x1, y1) = thinned[max(0, after - 1)], thinned[after]
            on_line = y1 if x1 == x0 else y0 + (y1 - y0) * (x - x0) / (x1 - x0)
            assert abs(y - on_line) <= tolerance + 1e-9


@given(values, values, st.booleans())
def test_paths_hold_nothing_but_whole_coordinates(
    lows: list[float | None], highs: list[float | None], outside: bool
) -> None:
    """No NaN, no exponent, no text: whatever is stored, a path is letters and small numbers."""
    found = [
        Point(
            high if outside else low, low or 0.0, min(low or 0.0, high or 0.0), max(low or 0.0, high or 0.0)
        )
        if high is not None
        else Point(low)
        for low, high in zip(lows, highs, strict=False)
    ]
    strip = draw(found, [2] * len(found))
    for path in (strip.band, strip.baseline, strip.value, strip.stray, *(path for _, path in strip.loud)):
        assert re.fullmatch(r"[MlhvzL0-9 .-]*", path), path
        assert all(abs(float(number)) <= 2 * len(found) + 100 for number in coordinates.findall(path))
    assert "nan" not in strip.words.label


# ------------------------------------------------------------------------ what is off, and why


def test_a_point_is_outside_only_against_a_band_of_its_own() -> None:
    """Above, below, within; what was not measured or not expected is not outside."""
    sides = [point.side for point in [*points(121, 79, 100, None), Point(1e9)]]
    assert sides == [1, -1, 0, 0, 0]


def test_a_short_return_does_not_end_a_stretch() -> None:
    """One bucket within the band may lie between two that are off."""
    assert off_stretches(points(100, 200, 200, 100, 200, 100, 100, 200)) == [(1, 5), (7, 8)]


def test_a_stretch_outside_the_band_has_the_severity_of_the_anomaly_it_touches() -> None:
    """A detector reports the first window of what lasts: the rest belongs to it; chance does not."""
    found = points(100, 200, 200, 200, 100, 100, 200)
    assert loud_ranks(found, [-1, 2, -1, -1, -1, -1, -1], [-1] * 7) == [-1, 2, 2, 2, -1, -1, -1]


def test_an_anomaly_of_the_signal_is_marked_without_a_band_too() -> None:
    """A rule needs no band."""
    assert loud_ranks([Point(1.0), Point(9.0)], [-1, 3], [-1, 3]) == [-1, 3]


def test_the_worst_bucket_is_the_one_furthest_outside_not_the_highest() -> None:
    """Within what anomalies are about; without anomalies the highest is named."""
    found = [*points(130), Point(400.0, 390.0, 300.0, 500.0), *points(10)]
    assert worst_place(found, [0, 2]) == 2
    assert worst_place(found, []) == 1
    assert worst_place([Point()], []) is None


def test_learning_ends_with_the_first_band() -> None:
    """Of a signal that never had one, as long as the service learned; without any, all the time."""
    series = Series("p95", "ms", [Point(5.0), Point(6.0), *points(5.0)])
    assert learning_buckets(series) == 2
    bare = Series("p95", "ms", [Point(5.0)] * 3)
    assert (learning_buckets(bare, 1), learning_buckets(bare)) == (1, 3)


def test_a_strip_says_what_it_shows() -> None:
    """Value, time and expectation of the worst bucket, also for those who cannot see it."""
    strip = draw([Point(90.0), *points(100, 1_450, 100)], [-1, -1, 2, -1])
    words = strip.words
    assert (words.severity, words.value, words.when) == ("high", "1.45k/min", "10:02")
    assert words.expected == "expected 100 (80 to 120)"
    assert words.label == (
        "lines: worst 1.45k/min at 10:02, expected 100 (80 to 120); 1 of 3 points outside the band"
    )
    assert strip.learning == 25.0
    assert [severity for severity, _ in strip.loud] == ["high"]


def test_a_strip_without_anything_says_so() -> None:
    """No value, no band: no path, and no error."""
    strip = draw([Point(), Point()])
    assert (strip.band, strip.value, strip.words.expected) == ("", "", "nothing measured")


def test_few_errors_look_small() -> None:
    """The scale of a share reaches at least 5 %, and a band far above all values does not flatten them."""
    assert Series("errors", "share", [Point(0.001)]).top == 0.05
    assert Series("p95", "ms", [Point(10.0, 12.0, 5.0, 9_000.0)]).top == 30.0


def test_the_background_shows_each_stretch_once() -> None:
    """Stretches of equal severity, in percent of the width."""
    found = wash_stretches([-1, 2, 2, 3, -1])
    assert [(wash.severity, wash.left, wash.width) for wash in found] == [
        ("high", 20.0, 40.0),
        ("critical", 60.0, 20.0),
    ]


# ------------------------------------------------------------------------------------- words


@pytest.mark.parametrize(
    ("value", "expected", "words"),
    [
        (32, 10, "3.2 × the expected"),
        (462, 73.99, "6.2 × the expected"),
        (1_000, 9, "111 × the expected"),
        (1e9, 1, "over 1,000 × the expected"),
        (14.5, 10, "45 % above the expected"),
        (6, 10, "40 % below the expected"),
        (0, 10, "100 % below the expected"),
        (10.01, 10, "as expected"),
        (3, 0, "none expected"),
        (0, 0, "as expected"),
        (3, None, ""),
        (float("nan"), 3, ""),
        (3, float("inf"), ""),
    ],
)
def test_a_deviation_is_said_in_words(value: float, expected: float | None, words: str) -> None:
    """How many times the expected, or how many percent above or below."""
    assert against_expected(value, expected) == words


def test_metrics_say_on_which_side_of_the_band_they_are() -> None:
    """With the comparison where something was expected; a rule's bare number says nothing."""
    metric = {"value": 30.0, "baseline": 10.0, "band_low": 5.0, "band_high": 15.0}
    assert metric_words(metric) == "3 × the expected, above the band"
    assert metric_words(metric | {"value": 10.0}) == "as expected, within the band"
    assert metric_words(metric | {"value": 1.0}) == "90 % below the expected, below the band"
    bare = {"value": 30.0, "baseline": None, "band_low": None, "band_high": None}
    assert metric_words(bare) == ""


def test_what_was_expected_names_its_unit_once() -> None:
    """Short enough for the column beside a chart."""
    assert expected_words(143.4, 116.2, 177.0, "ms") == "143 (116 to 177) ms"
    assert expected_words(900.0, 700.0, 2_600.0, "ms") == "0.9 (0.7 to 2.6) s"
    assert expected_words(0.00055, 0.0, 0.0129, "share") == "0.055 (0 to 1.3) %"
    assert expected_words(2_860, 2_620, 3_100, "count") == "2.86k (2.62k to 3.1k)"


def test_the_unit_of_a_signal_stands_before_its_first_dot() -> None:
    """An endpoint's latency is a latency, whatever the endpoint is called; nothing shows as NaN."""
    assert figure(41.28, "endpoint_latency_ms.GET /v1/rate.txt") == "41.3 ms"
    assert figure(0.25, "endpoint_error_rate.POST /x") == "25 %"
    assert figure(26.0, "pattern.9610c27e8f7f0d06") == "26"
    assert figure(float("nan"), "errors") == "–"
    assert figure(float("inf"), "latency_ms") == "–"


@pytest.mark.parametrize(
    ("seconds", "words"),
    [(45, "45 s"), (60, "1 min"), (3_600, "1 h"), (8_340, "2 h 19 min"), (273_600, "3 d 4 h")],
)
def test_spans_have_two_units_at_most(seconds: int, words: str) -> None:
    """A glance must do."""
    assert span_words(seconds) == words


# ------------------------------------------------------------------------------- from the store


def gather(path: Path, windows: Sequence[ServiceWindow], since: str | None = None) -> ReportData:
    with DuckDBStore(str(path / "x.duckdb")) as store:
        store.append("service_windows", windows)
        return gather_report(store, since=since)


def only_line(data: ReportData) -> ServiceLine:
    (line,) = data.service_lines
    return line


def banded(
    minute: int, lines: int, errors: int, p95: float, *, learned: bool = True, **changes: object
) -> ServiceWindow:
    expected = {
        "lines": (100.0, 80.0, 120.0),
        "error_rate": (0.01, 0.0, 0.03),
        "latency_p95_ms": (50.0, 40.0, 60.0),
    }
    column = sample.bands(expected) if learned else "{}"
    changes = {"requests": lines, "bands": column} | changes
    return sample.service_window("acme", "shop", minute, lines, errors, latency_p95_ms=p95, **changes)


def test_a_bucket_of_several_windows_sums_lines_and_shows_the_worst_of_the_rest(tmp_path: Path) -> None:
    """Lines against the sum of their bands; of rate and p95 the window above its band, beside that band."""
    windows = [banded(minute, 100, 1, 50.0) for minute in range(600)]
    other = {
        "error_rate": (0.5, 0.4, 0.6),
        "latency_p95_ms": (500.0, 400.0, 900.0),
        "lines": (100.0, 80.0, 120.0),
    }
    windows[300] = banded(300, 160, 8, 90.0)
    windows[301] = banded(301, 100, 50, 800.0, bands=sample.bands(other))  # high, but as expected
    data = gather(tmp_path, windows)
    assert data.axis is not None
    assert data.several_windows
    bucket = data.axis.bucket_seconds // 60
    series, place = only_line(data).series, 300 // bucket
    assert series["lines"].points[place].value == pytest.approx(100 + 60 / bucket)
    assert series["lines"].points[place][1:] == pytest.approx(LEARNED)
    assert series["error_rate"].points[place] == pytest.approx((0.05, 0.01, 0.0, 0.03))
    assert series["latency_p95_ms"].points[place] == pytest.approx((90.0, 50.0, 40.0, 60.0))


def test_lines_have_a_band_only_where_every_window_has_one(tmp_path: Path) -> None:
    """Half a sum of bands would be a band that is too low."""
    windows = [banded(minute, 100, 1, 50.0, learned=minute >= 301) for minute in range(600)]
    data = gather(tmp_path, windows)
    assert data.axis is not None
    mixed = data.axis.bucket_of(START + timedelta(minutes=301))
    lines = only_line(data).series["lines"].points
    assert lines[mixed].high is None
    assert lines[mixed + 1].high == pytest.approx(120.0)


def test_the_p95_of_few_requests_is_not_held_against_the_band(tmp_path: Path) -> None:
    """The detector judges it over several windows; one slow request of ten is no deviation."""
    data = gather(tmp_path, [banded(0, 100, 0, 50.0), banded(1, 100, 0, 900.0, requests=10)])
    assert [point.side for point in only_line(data).series["latency_p95_ms"].points] == [0, 0]


@pytest.mark.parametrize(
    "column",
    [
        "",
        "not JSON",
        "[]",
        "null",
        '{"lines": 3}',
        '{"lines": {"low": "<script>", "high": {}, "baseline": []}}',
        '{"lines": {"baseline": null, "low": 1, "high": 2}}',
        '{"lines": {"baseline": 1e999, "low": -5, "high": 1e999}}',
    ],
)
def test_a_damaged_band_is_no_band_and_no_error(tmp_path: Path, column: str) -> None:
    """Whatever stands in the column, the page is written and holds no NaN and no infinity."""
    path = tmp_path / "x.duckdb"
    with DuckDBStore(str(path)) as store:
        store.append("service_windows", [banded(minute, 100, 1, 50.0, bands=column) for minute in range(3)])
    write_report(str(path), str(tmp_path / "x.html"))
    text = (tmp_path / "x.html").read_text(encoding="utf-8")
    assert not re.search(r"\bnan\b|\binf\b|Infinity", text)
    assert "100/min" in text


def test_a_store_without_bands_says_that_nothing_was_learned(tmp_path: Path) -> None:
    """Rather than hatching everything."""
    path = tmp_path / "x.duckdb"
    with DuckDBStore(str(path)) as store:
        store.append("service_windows", [banded(0, 100, 1, 50.0, learned=False)])
    write_report(str(path), str(tmp_path / "x.html"))
    text = (tmp_path / "x.html").read_text(encoding="utf-8")
    assert "no band is drawn" in text
    assert 'class="learning"' not in text


def test_three_days_of_thirty_services_stay_small(tmp_path: Path) -> None:
    """Bands and all, in 20 kB a service at most."""
    path = tmp_path / "x.duckdb"
    with DuckDBStore(str(path)) as store:
        for number in range(30):
            shop = [
                sample._shop_window("acme", f"service-{number}", number % 5, m) for m in range(0, 4_320, 5)
            ]
            store.append("service_windows", shop)
    assert write_report(str(path), str(tmp_path / "x.html")) < 30 * 20_000 + 40_000


# --------------------------------------------------------------------------------- an episode


@pytest.fixture(scope="module")
def page(tmp_path_factory: pytest.TempPathFactory) -> str:
    folder = tmp_path_factory.mktemp("bands")
    write_report(str(sample.build_store(folder / "x.duckdb")), str(folder / "x.html"))
    return (folder / "x.html").read_text(encoding="utf-8")


def episode(page: str, service: str) -> str:
    """The HTML of the first episode of `service`."""
    items = re.findall(r"<li data-tenant.*?</details>\s*</li>", page, re.DOTALL)
    return next(item for item in items if f'class="service">{service}<' in item and 'id="e' in item)


def test_an_episode_says_since_when_how_long_and_how_often_before(page: str) -> None:
    """In the detail, with the confidence."""
    text = re.sub(r"<[^>]+>", " ", episode(page, "payments"))
    assert re.search(r"Since\s+10:24, for 12 min, until 10:36", text)
    assert re.search(r"Before\s+never in the 24 min before it", text)
    assert re.search(r"Confidence\s+93 %", text)


def test_an_episode_shows_its_own_signal(page: str) -> None:
    """An error spike the error rate around it, with its band; what has no chart has no figure."""
    spike = episode(page, "payments")
    assert '<figure class="around">' in spike
    assert 'class="band"' in spike
    assert "errors" in spike
    assert "<figure" not in episode(page, "search")  # of one endpoint: the service's p95 is another thing


def test_metrics_show_value_expectation_band_and_deviation(page: str) -> None:
    """31.4 % against 0.4 % expected is 78 times the expected."""
    text = " ".join(re.sub(r"<[^>]+>", " ", episode(page, "payments")).split())
    assert "error_rate 31.4 % 0.4 % 0 % to 2 % 10 % 78 × the expected, above the band (+12.5)" in text


def test_a_detector_that_speaks_once_does_not_make_an_outage_short(tmp_path: Path) -> None:
    """The episode lasts as long as the signal is outside its band, though only its first window alarmed."""
    path = tmp_path / "x.duckdb"
    with DuckDBStore(str(path)) as store:
        store.append("service_windows", [banded(m, 300 if 30 <= m < 45 else 100, 1, 50.0) for m in range(60)])
        found = sample.anomaly("acme", "shop", 31, kind="traffic_change", detector="level", signal="lines")
        store.append("anomalies", [found])
    write_report(str(path), str(tmp_path / "x.html"))
    text = re.sub(r"<[^>]+>", " ", (tmp_path / "x.html").read_text(encoding="utf-8"))
    assert re.search(r"Since\s+10:30, for 15 min, until 10:45", text)


def test_earlier_episodes_count_even_before_the_reports_start(tmp_path: Path) -> None:
    """--since narrows what is shown, not what is known."""
    path = tmp_path / "x.duckdb"
    with DuckDBStore(str(path)) as store:
        store.append("service_windows", [banded(minute, 100, 1, 50.0) for minute in range(0, 600, 10)])
        store.append("anomalies", [sample.anomaly("acme", "shop", minute) for minute in (0, 100, 590)])
        (found,) = gather_report(store, since="30m").episodes
    assert (found.times_before, found.last_before) == (2, START + timedelta(minutes=101))


def test_hostile_names_stay_text(tmp_path: Path) -> None:
    """A service or a metric called like a script makes no element, in a label, a title or an aria-label."""
    path = tmp_path / "x.duckdb"
    hostile = f"a' onfocus='x \"> {sample.HOSTILE}"
    column = sample.bands({"lines": LEARNED})
    metrics = [AnomalyMetric(hostile, 9.0, None, 3.0, 1.0, 4.0, 5.0)]
    with DuckDBStore(str(path)) as store:
        windows = [sample.service_window("acme", hostile, m, bands=column) for m in range(30)]
        store.append("service_windows", windows)
        store.append("anomalies", [sample.anomaly("acme", hostile, 12, metrics=metrics)])
    write_report(str(path), str(tmp_path / "x.html"))
    text = (tmp_path / "x.html").read_text(encoding="utf-8")
    assert text.count("<script") == 2
    assert "<img" not in text
    assert not re.search(r"<[^>]*\son[a-z]+=", re.sub(r'"[^"]*"', '""', text.split("<body>")[1]))
    assert "3 × the expected, above the band" in text
