"""MetricParser: shapes of input, tenants and services, times, hostile input, the ledger's counts."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from transforms.elements import MINUTE_NS, NANOSECONDS, MetricBatch, PayloadBatch
from transforms.metrics.parse import MetricParser
from transforms.metrics.settings import MetricSettings
from transforms.timestamps import YEAR_2000_NS

NOW = 1_772_445_600  # 2026-03-02T10:00:00Z
END = "2026-03-02T09:59:00Z"
SETTINGS = MetricSettings(now_ns=NOW * NANOSECONDS)


def series(value: Any = 1.5, **changes: Any) -> dict[str, Any]:
    """A TimeSeries of one point; `value` is the TypedValue or a double."""
    typed = value if isinstance(value, dict) else {"doubleValue": value}
    base: dict[str, Any] = {
        "metric": {"type": "custom.googleapis.com/queue", "labels": {"shard": "a"}},
        "resource": {
            "type": "cloud_run_revision",
            "labels": {"project_id": "acme", "service_name": "cart", "location": "europe-west1"},
        },
        "metricKind": "GAUGE",
        "valueType": "DOUBLE",
        "points": [{"interval": {"endTime": END}, "value": typed}],
    }
    return base | changes


def interval(start: str | None, end: str | None = END) -> dict[str, str]:
    return {name: text for name, text in (("startTime", start), ("endTime", end)) if text is not None}


def encode(value: Any) -> bytes:
    return json.dumps(value).encode()


def parse(
    *payloads: Any, published: int = 0, tenant_id: str = "", settings: MetricSettings = SETTINGS
) -> MetricBatch:
    raw = [payload if isinstance(payload, bytes) else encode(payload) for payload in payloads]
    times = [published * NANOSECONDS] * len(raw) if published else []
    return MetricParser(settings).parse_batch(PayloadBatch(raw, times, tenant_id))


def values(batch: MetricBatch) -> dict[str, list[float | None]]:
    return {found.series.statistic: [point.value for point in found.points] for found in batch.series}


def refusals(batch: MetricBatch) -> list[tuple[str, int]]:
    return [(letter.reason, letter.count) for letter in batch.dead_letters]


def assert_balanced(batch: MetricBatch) -> int:
    """Received = points + late + filtered + dead letters; returns received."""
    received = sum(delta.received for delta in batch.ledger)
    away = sum(delta.late + delta.filtered for delta in batch.ledger)
    kept = sum(sum(point.receipts.values()) for found in batch.series for point in found.points)
    assert received == kept + away + sum(letter.count for letter in batch.dead_letters)
    assert {delta.source for delta in batch.ledger} <= {"metrics"}
    return received


# --------------------------------------------------------------------------------------- shapes


@pytest.mark.parametrize(
    "payload",
    [
        series(),
        [series()],
        {"timeSeries": [series()], "nextPageToken": "abc"},
        b"\xef\xbb\xbf  " + encode(series()) + b"\n",
        series() | {"description": 'a "timeSeries" in the text'},
        series() | {"unknownField": {"nested": [1, {"a": None}]}},
    ],
)
def test_a_series_is_read_alone_in_a_list_and_in_an_answer(payload: Any) -> None:
    """All three shapes of the API give the same point; what is not known is skipped."""
    batch = parse(payload)
    assert values(batch) == {"value": [1.5]}
    assert assert_balanced(batch) == 1


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        ({"doubleValue": -2}, -2.0),
        ({"doubleValue": "3.5"}, 3.5),
        ({"int64Value": "-7"}, -7.0),
        ({"int64Value": 7}, 7.0),
        ({"int64Value": "9223372036854775807"}, 9223372036854775807.0),
        ({"boolValue": True}, 1.0),
        ({"boolValue": False}, 0.0),
    ],
)
def test_values_of_every_type_become_numbers(value: dict[str, Any], expected: float) -> None:
    """Integers come as JSON strings, and booleans count as 0 and 1."""
    assert values(parse(series(value))) == {"value": [expected]}


def test_a_delta_is_a_rate_over_its_interval() -> None:
    """30 in 60 s are half a one per second; the unit says so."""
    points = [{"interval": interval("2026-03-02T09:58:00Z"), "value": {"int64Value": "30"}}]
    batch = parse(series(metricKind="DELTA", points=points, unit="By"))
    assert values(batch) == {"rate": [0.5]}
    assert batch.series[0].series.unit == "By/s"


def test_a_total_is_kept_with_its_start() -> None:
    """Only the point before makes a rate of it."""
    points = [{"interval": interval("2026-03-01T00:00:00Z"), "value": {"int64Value": "30"}}]
    (found,) = parse(series(metricKind="CUMULATIVE", points=points)).series
    assert (found.points[0].value, found.points[0].start_ns) == (30.0, 1_772_323_200 * NANOSECONDS)


def distribution(**changes: Any) -> dict[str, Any]:
    base = {
        "count": "10",
        "mean": 2.0,
        "bucketOptions": {"explicitBuckets": {"bounds": [1, 2, 4]}},
        "bucketCounts": ["0", "10"],
    }
    return {"distributionValue": base | changes}


@pytest.mark.parametrize(
    ("options", "p95"),
    [
        ({"explicitBuckets": {"bounds": [1, 2, 4]}}, 1.95),
        ({"linearBuckets": {"numFiniteBuckets": 3, "width": 10, "offset": 0}}, 9.5),
        ({"exponentialBuckets": {"numFiniteBuckets": "3", "growthFactor": 3, "scale": 1}}, 2.9),
    ],
)
def test_a_distribution_is_a_mean_and_a_p95(options: dict[str, Any], p95: float) -> None:
    """Each kind of buckets has its own edges; the point counts once."""
    batch = parse(series(distribution(bucketOptions=options)))
    assert values(batch) == {"mean": [2.0], "p95": [pytest.approx(p95)]}
    assert assert_balanced(batch) == 1


def test_a_distribution_without_observations_has_no_numbers_but_counts() -> None:
    """A minute without requests is no latency of zero."""
    batch = parse(series({"distributionValue": {"count": "0"}}))
    assert values(batch) == {"mean": [None]}
    assert assert_balanced(batch) == 1


# ------------------------------------------------------------------------------ whose and where


def resource(kind: str, **labels: str) -> dict[str, Any]:
    return {"type": kind, "labels": {"project_id": "acme", **labels}}


@pytest.mark.parametrize(
    ("changes", "service", "instance"),
    [
        ({}, "cart", ""),
        (
            {"resource": resource("k8s_container", pod_name="cart-5f55b6cf68-77cfw", container_name="app")},
            "app",
            "cart-5f55b6cf68-77cfw",
        ),
        (
            {"resource": resource("k8s_pod", pod_name="cart-5f55b6cf68-77cfw")},
            "cart",
            "cart-5f55b6cf68-77cfw",
        ),
        (
            {
                "resource": resource("k8s_container", pod_name="x-1", container_name="app"),
                "metadata": {"userLabels": {"app": "shop"}},
            },
            "shop",
            "x-1",
        ),
        ({"resource": resource("cloudsql_database", database_id="acme:orders")}, "orders", ""),
        ({"resource": resource("prometheus_target", job="api", instance="api-1:80")}, "api", "api-1:80"),
        (
            {
                "resource": resource("gce_instance", instance_id="123"),
                "metric": {"type": "t", "labels": {"instance_name": "web-x1z9"}},
            },
            "web",
            "web-x1z9",
        ),
        (
            {"resource": resource("gce_instance", instance_id="123"), "metadata": {"systemLabels": None}},
            "123",
            "123",
        ),
        (
            {"resource": resource("global"), "metric": {"type": "t", "labels": {"service": "mail"}}},
            "mail",
            "",
        ),
        ({"resource": resource("k8s_node", node_name="n1")}, "k8s_node", "n1"),
        ({"resource": None}, "_unparsed", ""),
    ],
)
def test_service_and_instance_come_from_resource_labels_and_metadata(
    changes: dict[str, Any], service: str, instance: str
) -> None:
    """The same resources name the same services as in logs."""
    (found,) = parse(series(**changes)).series
    assert (found.series.service, found.series.instance) == (service, instance)


def test_the_tenant_is_that_of_the_source_else_the_project() -> None:
    """Labels of the metric count only where the operator trusts them."""
    own = series(metric={"type": "t", "labels": {"tenant": "evil"}})
    trusting = MetricSettings(now_ns=NOW * NANOSECONDS, trusted_tenant_field="labels.tenant")
    assert parse(own).series[0].series.tenant_id == "acme"
    assert parse(own, tenant_id="globex").series[0].series.tenant_id == "globex"
    assert parse(own, settings=trusting).series[0].series.tenant_id == "evil"
    assert parse(series(resource={"type": "global"})).series[0].series.tenant_id == "_unknown"


def test_labels_are_one_sorted_json_object() -> None:
    """The order in which labels are written makes no other series; scalars count as text."""
    one = series(metric={"type": "t", "labels": {"b": "2", "a": 1}})
    other = series(metric={"labels": {"a": "1", "b": "2"}, "type": "t"})
    labels = [parse(payload).series[0].series.labels for payload in (one, other)]
    assert labels[0] == labels[1]
    assert json.loads(labels[0]) == {
        "a": "1",
        "b": "2",
        "resource.location": "europe-west1",
        "resource.project_id": "acme",
        "resource.service_name": "cart",
        "resource.type": "cloud_run_revision",
    }


def test_control_characters_leave_every_name() -> None:
    """A name must not color a terminal."""
    found = parse(series(metric={"type": "t\x1b[31m", "labels": {"a\x00": "b\u0085"}}, unit="B\x07"))
    (points,) = found.series
    text = "".join((points.series.metric_type, points.series.labels, points.series.unit))
    assert text.isprintable()
    assert "\\u0" not in points.series.labels


# ----------------------------------------------------------------------------- times and filters


@pytest.mark.parametrize(
    ("published", "late"), [(0, 0), (NOW, 0), (NOW + 540, 0), (NOW + 541, 1), (NOW + 10_000, 1)]
)
def test_a_point_is_late_ten_minutes_after_its_end(published: int, late: int) -> None:
    """Late points are counted and not analyzed; a file knows no time of publishing."""
    batch = parse(series(), published=published)
    assert sum(delta.late for delta in batch.ledger) == late
    assert len(batch.series) == 1 - late
    assert assert_balanced(batch) == 1


def test_points_of_files_are_received_at_the_time_given() -> None:
    """The ledger's minute is that of publishing, else --received_at."""
    assert parse(series()).ledger[0].receive_minute == YEAR_2000_NS // 1000
    assert parse(series(), published=NOW + 90).ledger[0].receive_minute == (NOW + 60) * 1_000_000
    (found,) = parse(series(), published=NOW + 90).series
    assert found.points[0].receipts == {(NOW + 90) * NANOSECONDS // MINUTE_NS: 1}


def test_services_that_were_not_asked_for_are_filtered() -> None:
    """--services counts for metrics as for logs."""
    settings = MetricSettings(now_ns=NOW * NANOSECONDS, services=frozenset({"mail"}))
    batch = parse(series(), settings=settings)
    assert [delta.filtered for delta in batch.ledger] == [1]
    assert batch.series == []


# ------------------------------------------------------------------------------------ bad input

TWO = [
    {"interval": {"endTime": END}, "value": {"doubleValue": 1}},
    {"interval": {"endTime": END}, "value": {"doubleValue": "NaN"}},
]


@pytest.mark.parametrize(
    ("payload", "reason", "count"),
    [
        (b"", "empty", 1),
        (b"nope", "not_json", 1),
        (b'{"metric":', "not_json", 1),
        (b'{"unit": "\xff\xfe', "not_json", 1),
        (b"[" * 100_000, "not_json", 1),
        (b'{"x":' * 100_000, "not_json", 1),
        (b"5", "not_a_time_series", 1),
        (b"[5]", "not_a_time_series", 1),
        (b'{"timeSeries": 5}', "not_a_time_series", 1),
        (b'{"points": {}}', "not_a_time_series", 1),
        (b'{"log": "a line"}', "no_metric_type", 1),
        (series(metric={"type": " "}), "no_metric_type", 1),
        (series(metric=None), "no_metric_type", 1),
        (series(metric=[]), "wrong_type", 1),
        (series(metric={"type": "t", "labels": {"a": {"b": 1}}}), "wrong_type", 1),
        (series(resource="cart"), "wrong_type", 1),
        (series(unit=5), "wrong_type", 1),
        (series(metric={"type": "t" * 501}), "too_large", 1),
        (series(metric={"type": "t", "labels": {"a": "x" * 20_000}}), "too_large", 1),
        (series(metricKind="METRIC_KIND_UNSPECIFIED"), "unknown_kind", 1),
        (series(metricKind="STRANGE", points=TWO), "unknown_kind", 2),
        (series(metricKind=None), "unknown_kind", 1),
        (series(points=[]), "no_points", 1),
        (series(points=None), "no_points", 1),
        (series(points=[5, 6]), "wrong_type", 2),
        (series({}), "no_value", 1),
        (series({"stringValue": "x"}), "no_value", 1),
        (series({"doubleValue": "many"}), "wrong_type", 1),
        (series({"doubleValue": [1]}), "wrong_type", 1),
        (series({"int64Value": "1e3"}), "wrong_type", 1),
        (series({"int64Value": "9223372036854775808"}), "wrong_type", 1),
        (series({"int64Value": "9" * 6000}), "wrong_type", 1),
        (series({"doubleValue": "NaN"}), "not_finite", 1),
        (series({"doubleValue": "-Infinity"}), "not_finite", 1),
        (series({"doubleValue": float("nan")}), "not_finite", 1),
        (series({"doubleValue": float("-inf")}), "not_finite", 1),
        (series({"doubleValue": 1e101}), "not_finite", 1),
        (encode(series({"doubleValue": 7.25})).replace(b"7.25", b"1e400"), "not_finite", 1),
        (encode(series({"int64Value": 7})).replace(b" 7}", b" %s}" % (b"9" * 6000)), "not_finite", 1),
        (series(distribution(count="-1")), "bad_distribution", 1),
        (series(distribution(mean="high")), "bad_distribution", 1),
        (series(distribution(mean="NaN")), "not_finite", 1),
        (series(distribution(bucketCounts=["1", "x"])), "bad_distribution", 1),
        (series(distribution(bucketCounts=["1"] * 9)), "bad_distribution", 1),
        (
            series(distribution(bucketOptions={"explicitBuckets": {"bounds": [2, 1]}})),
            "bad_distribution",
            1,
        ),
        (
            series(
                distribution(
                    bucketOptions={
                        "exponentialBuckets": {"numFiniteBuckets": 190, "growthFactor": 1e9, "scale": 1}
                    }
                )
            ),
            "bad_distribution",
            1,
        ),
        (
            series(
                distribution(bucketOptions={"linearBuckets": {"numFiniteBuckets": 2_000_000_000, "width": 1}})
            ),
            "bad_distribution",
            1,
        ),
        (series(points=[{"interval": {}, "value": {"doubleValue": 1}}]), "bad_time", 1),
        (
            series(points=[{"interval": {"endTime": "yesterday"}, "value": {"doubleValue": 1}}]),
            "bad_time",
            1,
        ),
        (
            series(points=[{"interval": {"endTime": "1999-12-31T23:59:59Z"}, "value": {"doubleValue": 1}}]),
            "bad_time",
            1,
        ),
        (
            series(points=[{"interval": {"endTime": "2026-03-02T10:05:01Z"}, "value": {"doubleValue": 1}}]),
            "bad_time",
            1,
        ),
        (series(metricKind="DELTA"), "bad_interval", 1),
        (
            series(metricKind="DELTA", points=[{"interval": interval(END), "value": {"doubleValue": 1}}]),
            "bad_interval",
            1,
        ),
        (
            series(
                metricKind="CUMULATIVE",
                points=[{"interval": interval("2026-03-03T00:00:00Z"), "value": {"doubleValue": 1}}],
            ),
            "bad_interval",
            1,
        ),
    ],
)
def test_what_cannot_be_used_is_a_dead_letter_with_a_reason(payload: Any, reason: str, count: int) -> None:
    """The reason is one of a few words, the letter stands for all points it costs, the ledger balances."""
    batch = parse(payload)
    assert refusals(batch) == [(reason, count)]
    assert batch.series == []
    assert assert_balanced(batch) == count
    assert batch.dead_letters[0].stage == "parse_metrics"


def test_a_payload_that_is_too_large_is_refused_unread() -> None:
    """--max_line_bytes holds for metrics too, and the letter keeps the beginning only."""
    settings = MetricSettings(now_ns=NOW * NANOSECONDS, max_payload_bytes=3000)
    batch = parse(series(description="x" * 3000), settings=settings)
    assert refusals(batch) == [("too_large", 1)]
    assert len(batch.dead_letters[0].payload) == 2048


def test_one_bad_point_costs_no_other() -> None:
    """Points are refused one by one, those of a series for the same reason together."""
    good = {"interval": {"endTime": END}, "value": {"doubleValue": 4}}
    payload = encode(
        series(points=[good, {"interval": {"endTime": END}, "value": {"doubleValue": 7.25}}, *TWO])
    )
    batch = parse(payload.replace(b"7.25", b"1e999"), [series(5.0), 5, series(metricKind="X")])
    assert values(batch) == {"value": [4.0, 1.0, 5.0]}
    assert refusals(batch) == [("not_finite", 2), ("not_a_time_series", 1), ("unknown_kind", 1)]
    assert assert_balanced(batch) == 7


def test_the_words_of_a_refusal_hold_nothing_of_the_payload() -> None:
    """Reason and detail are ours; values stay in the payload, which is redacted before it leaves."""
    secret = "s3cr3t"
    payloads: list[Any] = [
        secret.encode(),
        series(metricKind=secret),
        series({"doubleValue": secret}),
        series({"int64Value": secret}),
        series(unit=[secret]),
        series(metric={"type": "t", "labels": {secret: {secret: secret}}}),
        series(points=[{"interval": {"endTime": secret}, "value": {"doubleValue": 1}}]),
        series(distribution(count=secret)),
    ]
    batch = parse(*payloads)
    assert len(batch.dead_letters) == len(payloads)
    assert not [letter for letter in batch.dead_letters if secret in letter.reason + letter.detail]


json_values = st.recursive(
    st.one_of(st.none(), st.booleans(), st.integers(), st.floats(), st.text(max_size=5), st.just(END)),
    lambda children: st.one_of(
        st.lists(children, max_size=3), st.dictionaries(st.text(max_size=5), children, max_size=3)
    ),
    max_leaves=8,
)
mutated_series = st.fixed_dictionaries(
    {},
    optional={
        "metric": st.one_of(json_values, st.just({"type": "t"})),
        "resource": json_values,
        "metricKind": st.one_of(json_values, st.sampled_from(["GAUGE", "DELTA", "CUMULATIVE"])),
        "points": st.lists(
            st.one_of(
                json_values,
                st.fixed_dictionaries(
                    {
                        "interval": st.one_of(json_values, st.just({"endTime": END, "startTime": END})),
                        "value": st.one_of(
                            json_values,
                            st.dictionaries(
                                st.sampled_from(
                                    ["doubleValue", "int64Value", "boolValue", "distributionValue"]
                                ),
                                json_values,
                            ),
                        ),
                    }
                ),
            ),
            max_size=3,
        ),
        "unit": json_values,
        "metadata": json_values,
    },
)


@given(
    st.lists(
        st.one_of(st.binary(max_size=40), mutated_series.map(encode), json_values.map(encode)), max_size=4
    )
)
def test_no_input_stops_the_parser_or_is_lost(payloads: list[bytes]) -> None:
    """Whatever comes in, every payload counts at least once, and the counts balance."""
    batch = parse(*payloads)
    answers = sum(1 for payload in payloads if payload.strip() in {b"[]", b'{"timeSeries": []}'})
    assert assert_balanced(batch) >= len(payloads) - answers


@given(st.lists(mutated_series.map(encode), max_size=4))
def test_a_parser_that_has_seen_other_payloads_answers_the_same(payloads: list[bytes]) -> None:
    """What it remembers makes it fast and nothing else."""
    warm = MetricParser(SETTINGS)
    batch = PayloadBatch([encode(series()), *payloads])
    warm.parse_batch(batch)
    assert warm.parse_batch(batch) == MetricParser(SETTINGS).parse_batch(batch)
