"""Every element that travels through the job, and every row it writes.

Units stand in the names: `_ns`, `_us`, `_ms` and `_seconds` are integers or floats of that unit,
times are counted from 1970-01-01 UTC. Structs that end in a table carry a description on every
field; BigQuery schemas, DuckDB tables and docs are generated from them (`pipeline/tables.py`).
"""

from __future__ import annotations

import hashlib
from typing import Annotated, Final, Literal, NamedTuple

import msgspec
from msgspec import Meta

UNPARSED_SERVICE: Final = "_unparsed"
"""Service of lines that never got one: they count in the ledger, not in any service's windows."""

UNKNOWN_TENANT: Final = "_unknown"
"""Tenant of lines that name none and came from a source that has none configured."""

CANARY_SERVICE: Final = "aiops-canary"
"""Service of the lines that `aiops doctor --canary` writes. The rule CANARY_DETECTOR finds them, and an alert
comes of it like of any other finding; nothing is learned of the service, and nobody is told.
"""

CANARY_DETECTOR: Final = "rule:canary"

NANOSECONDS: Final = 1_000_000_000
MICROSECONDS: Final = 1_000_000
MINUTE_NS: Final = 60 * NANOSECONDS
MINUTE_US: Final = 60 * MICROSECONDS
HOUR_US: Final = 60 * MINUTE_US
DAY_US: Final = 24 * HOUR_US

# ------------------------------------------------------------------------------------ severity

SEVERITY_NUMBERS: Final[dict[str, int]] = {
    "DEFAULT": 0,
    "DEBUG": 100,
    "INFO": 200,
    "NOTICE": 300,
    "WARNING": 400,
    "ERROR": 500,
    "CRITICAL": 600,
    "ALERT": 700,
    "EMERGENCY": 800,
}
SEVERITY_NAMES: Final[dict[int, str]] = {number: name for name, number in SEVERITY_NUMBERS.items()}
WARNING: Final = SEVERITY_NUMBERS["WARNING"]
ERROR: Final = SEVERITY_NUMBERS["ERROR"]

AnomalySeverity = Literal["low", "medium", "high", "critical"]
ANOMALY_SEVERITIES: Final[tuple[AnomalySeverity, ...]] = ("low", "medium", "high", "critical")
SEVERITY_RANKS: Final[dict[str, int]] = {name: rank for rank, name in enumerate(ANOMALY_SEVERITIES)}
"""0 for low to 3 for critical."""

AnomalyType = Literal[
    "error_spike",
    "latency_increase",
    "unusual_pattern",
    "resource_exhaustion",
    "security_incident",
    "performance_degradation",
    "silence",
    "traffic_change",
    "metric_anomaly",
    "new_pattern",
    "certificate_expiry",
    "deploy_regression",
]


def content_id(*parts: str | int) -> str:
    """Id of 32 hexadecimal digits that depends on nothing but `parts`, in their order.

    Parts are length-prefixed, so ("a", "bc") and ("ab", "c") differ.
    """
    digest = hashlib.blake2b(digest_size=16)
    for part in parts:
        encoded = str(part).encode("utf-8", "surrogatepass")
        digest.update(len(encoded).to_bytes(4, "big"))
        digest.update(encoded)
    return digest.hexdigest()


Measures = tuple[tuple[str, int], ...]
"""Numeric fields of a line that an operator asked for: name and value in millionths, by name."""

# --------------------------------------------------------------------- inside a bundle, mutable


UnpackReason = Literal["broken_compression", "unpacks_too_large"]


class BrokenPayload(msgspec.Struct, gc=False):
    """A compressed message that could not be unpacked: one payload, for Parse to count and to refuse."""

    digest: str  # hash of the message
    payload_bytes: int
    publish_time_ns: int
    reason: UnpackReason
    detail: str


class PayloadBatch(msgspec.Struct, gc=False):
    """Raw lines or messages as they were received, not yet looked at.

    `tenant_id` is the tenant configured for the source, or "" where each entry names its own.
    `publish_times_ns` is parallel to `payloads`, or empty for files, which have none.
    """

    payloads: list[bytes]
    publish_times_ns: list[int] = []
    tenant_id: str = ""
    broken: list[BrokenPayload] = []


class LogEntry(msgspec.Struct, gc=False):
    """One parsed log entry: a row of LogBatch. Mutable, because stages fill it in place.

    Empty strings mean "not said"; `http_status` 0 and `latency_us` -1 mean "no such value".
    """

    tenant_id: str
    service: str
    event_time_ns: int
    severity: int
    message: str
    insert_id: str = ""
    log_name: str = ""
    endpoint: str = ""
    instance: str = ""
    revision: str = ""
    receive_time_ns: int = 0  # receiveTimestamp, else publish time, else ParseSettings.received_at_ns
    http_status: int = 0
    latency_us: int = -1
    trace_id: str = ""
    span_id: str = ""
    parent_span_id: str = ""
    principal: str = ""
    remote_ip: str = ""
    method_name: str = ""
    peer_service: str = ""  # the caller, where a mesh or a span says who called
    exception: str = ""  # type of the exception, e.g. "java.lang.NullPointerException"
    frames: str = ""  # top frames of its stack trace, one a line
    is_request: bool = False  # this line is the record of one served request
    is_denied: bool = False  # permission denied or not authenticated
    severity_inferred: bool = False  # read from the payload, not from the entry's severity
    retimed: bool = False  # the entry's own timestamp was absurd
    deploy: str = ""  # what an audit log says was rolled out (a revision or an image), else ""
    shape_id: str = ""  # set by MinePatterns
    shape: str = ""  # the masked line of that id, set by MinePatterns
    measures: Measures = ()


class LogBatch(msgspec.Struct, gc=False):
    """What one bundle of payloads became. Every payload is in exactly one of the four counts.

    received = len(entries) + late + filtered + len(dead_letters); `ledger` says so per tenant
    and receive minute.
    """

    entries: list[LogEntry]
    dead_letters: list[DeadLetter] = []
    ledger: list[LedgerEntry] = []


# ------------------------------------------------------------------------------------- metrics

MetricKind = Literal["GAUGE", "DELTA", "CUMULATIVE"]
Statistic = Literal["value", "rate", "mean", "p95"]


class MetricSeries(msgspec.Struct, frozen=True, array_like=True, gc=False):
    """What the points of one signal have in common; a distribution is two signals, mean and p95.

    `labels` is a JSON object with sorted keys: the metric's own labels, and those of its resource
    as `resource.<name>`. `series_id` is a hash of all the rest but tenant, service and unit; it is
    made after redaction and empty before.
    """

    tenant_id: str
    service: str
    metric_type: str
    kind: MetricKind
    statistic: Statistic
    labels: str = "{}"
    instance: str = ""
    unit: str = ""  # of the number the job looks at: "By/s" for a rate of bytes
    series_id: str = ""


class Buckets(msgspec.Struct, frozen=True, array_like=True, gc=False):
    """Counts of a distribution; bucket 0 is below the first of `edges`, the last one above the last."""

    edges: tuple[float, ...]
    counts: tuple[int, ...]


class MetricPoint(msgspec.Struct, frozen=True, array_like=True, gc=False):
    """One point of one series.

    `value` is the number itself; of a CUMULATIVE series it is the running total since `start_ns`,
    which becomes a number only with the point before it. It is None where the point holds no
    observation. `receipts` counts copies by receive minute (minutes since 1970); it is empty for a
    further statistic of a point that was counted with another one.
    """

    end_ns: int
    value: float | None
    receipts: dict[int, int] = {}
    start_ns: int = 0  # of a CUMULATIVE point, else 0
    weight: int = 0  # observations so far, of a CUMULATIVE distribution
    buckets: Buckets | None = None  # of a CUMULATIVE distribution's p95


class MetricPoints(msgspec.Struct, gc=False):
    """Points of one series in one batch, in the order they came in. Mutable."""

    series: MetricSeries
    points: list[MetricPoint]


class MetricBatch(msgspec.Struct, gc=False):
    """What one bundle of payloads became. Every point received is in exactly one of the four counts.

    received = points with receipts + late + filtered + dead letters, by their counts; `ledger` says so
    per tenant and receive minute. A payload without any readable point counts as one.
    """

    series: list[MetricPoints]
    dead_letters: list[DeadLetter] = []
    ledger: list[LedgerEntry] = []


class MetricSlice(msgspec.Struct, array_like=True, gc=False):
    """The points of one series in one window. Merges exactly: points are unique by time.

    `points` holds at most `MAX_POINTS` of transforms/metrics/windows.py; the receipts of those beyond
    are added up in `overflow`.
    """

    window_start_us: int
    points: dict[int, MetricPoint] = {}  # by end_ns
    overflow: dict[int, int] = {}


class MetricSummary(msgspec.Struct, array_like=True, gc=False):
    """Windows of one series. A stream has one window in each; bounded input up to a day of them,
    because metrics have few points a window and the runner's work is per element.
    """

    series: MetricSeries
    window_seconds: int
    slices: list[MetricSlice]  # by window start, ascending
    pane_index: int = 0  # 0 on time, 1 and up for late panes that revise the window

    @property
    def window_start_us(self) -> int:
        """Start of the first window."""
        return self.slices[0].window_start_us


# ------------------------------------------------------------------------ summaries, mergeable


class Example(msgspec.Struct, frozen=True, array_like=True, gc=False):
    """One redacted line kept as evidence. Ordered by `order`: the smallest is kept."""

    order: Annotated[int, describe("Hash of the line: the smallest are kept.")]
    event_time_us: Annotated[int, describe("Its time, in microseconds since 1970.")]
    insert_id: Annotated[str, describe("Its insertId, to find it in Cloud Logging.")]
    message: Annotated[str, describe("The line, redacted.")]
    trace_id: Annotated[str, describe("Its trace, or empty.")] = ""
    instance: Annotated[str, describe("Pod or machine that wrote it, where known.")] = ""


class PatternStats(msgspec.Struct, array_like=True, gc=False):
    """Lines of one shape or pattern in one window. Mergeable."""

    text: str  # the masked line: the shape before MergeShapes, the pattern after
    count: int
    errors: int
    severity: int  # the highest seen
    examples: list[Example]
    exception: str = ""
    first_seen_us: int = 0  # event time of the pattern's first line ever; set by MergeShapes
    is_new: bool = False  # first seen in this window, and the service is past its learning time
    revisions: dict[str, int] = {}  # lines by revision; empty where the window has only one, see summarize


class RequestStats(msgspec.Struct, array_like=True, gc=False):
    """Requests of one endpoint, or of one caller, in one window. Mergeable."""

    count: int = 0
    errors: int = 0
    latency_sum_us: int = 0
    latency_bins: dict[int, int] = {}  # DDSketch bins, see transforms/summarize/latency.py


class FieldStats(msgspec.Struct, array_like=True, gc=False):
    """Values of one numeric field in one window, in millionths. Mergeable; see transforms/measures.py.

    The sum is sum_high * 2**62 + sum_low: encoded integers have 64 bits. Zeros are in no bin.
    """

    count: int
    sum_low: int
    sum_high: int
    smallest: int
    largest: int
    bins: dict[int, int]  # DDSketch bins, those of negative values below 0


class TraceError(msgspec.Struct, frozen=True, array_like=True, gc=False):
    """The first error line of one kept trace in this service and window."""

    event_time_us: int
    shape_id: str
    span_id: str = ""


class DeployEvent(msgspec.Struct, frozen=True, array_like=True, gc=False):
    """A roll-out that an audit log reports."""

    event_time_us: int
    method_name: str
    what: str
    principal: str


def deploy_id(tenant_id: str, service: str, event: DeployEvent) -> str:
    """Id of a roll-out; who did it is left out, for that is redacted with a key that may change."""
    return content_id(tenant_id, service, event.event_time_us, event.method_name, event.what)


class LineKind(NamedTuple):
    """What a line must say to be counted, apart from its latency and the time of its receipt."""

    shape_id: str
    endpoint: str
    severity: int
    http_status: int
    peer_service: str
    revision: str
    is_request: bool
    is_denied: bool
    severity_inferred: bool
    retimed: bool


class LineRecord(msgspec.Struct, array_like=True, gc=False):
    """One line that is not counted yet, because copies of it may come from other bundles."""

    kind: bytes  # key into WindowSummary.line_kinds
    latency_us: int
    receipts: dict[int, int]  # receive minute (minutes since 1970) → copies received in it
    measures: Measures = ()


class WindowSummary(msgspec.Struct, array_like=True, gc=False):
    """All that is kept of one service's lines in one window. `merge_summaries` adds two.

    Integer counts only: no figure depends on the order of adding. `patterns` is keyed by
    shape_id until MergeShapes, by pattern_id after. `errors` are lines of severity ERROR or
    above, or of an HTTP status of 500 or above.
    """

    tenant_id: str
    service: str
    window_start_us: int
    window_seconds: int
    lines: int = 0
    errors: int = 0
    warnings: int = 0
    requests: int = 0
    denials: int = 0
    retimed: int = 0
    severity_inferred: int = 0
    severities: dict[int, int] = {}
    statuses: dict[int, int] = {}
    latency_count: int = 0
    latency_sum_us: int = 0
    latency_max_us: int = 0
    slow_requests: int = 0  # slower than a second
    latency_bins: dict[int, int] = {}
    endpoints: dict[str, RequestStats] = {}
    endpoint_level: int = 0  # how far endpoints were coarsened so that they fit
    callers: dict[str, RequestStats] = {}  # capped, see transforms/capped_names.py
    patterns: dict[str, PatternStats] = {}
    pattern_level: int = 0  # how far shapes were coarsened so that they fit
    principals: dict[int, int] = {}  # HyperLogLog registers, see transforms/summarize/distinct.py
    addresses: dict[int, int] = {}
    revisions: dict[str, int] = {}  # capped, see transforms/capped_names.py
    instances: dict[int, int] = {}  # HyperLogLog registers
    traces: dict[str, TraceError] = {}
    deploys: list[DeployEvent] = []
    ledger: dict[int, list[int]] = {}  # receive minute (minutes since 1970) → [analyzed, duplicate]
    pane_index: int = 0  # 0 on time, 1 and up for late panes that revise it, -1 for a gap filled in
    distinct_lines: dict[bytes, LineRecord] = {}  # identity → line; only with --deduplicate=exact
    line_kinds: dict[bytes, LineKind] = {}  # what `distinct_lines` refer to
    merged_patterns: dict[str, str] = {}  # old pattern_id → the one it became part of; set by MergeShapes
    fields: dict[str, FieldStats] = {}  # numeric fields that an operator asked for, by name
    spans: dict[str, dict[str, str]] = {}  # kept traces: span → its parent, or ""; see summarize/spans.py
    snapshot: bytes = b""  # no window at all, but what a warm start brings, as of `window_start_us`
    failed_requests: int = 0  # requests whose record is an error


# -------------------------------------------------------------------------- rows of the tables


def describe(description: str) -> Meta:
    """What a column holds, for the schemas and docs/tables.md."""
    return Meta(description=description)


Timestamp = Annotated[int, Meta(extra={"bigquery": "TIMESTAMP"})]
"""Microseconds since 1970-01-01 UTC; a TIMESTAMP column."""


class ServiceWindow(msgspec.Struct, frozen=True):
    """One service in one window: what a health timeline shows. Table `service_windows`."""

    tenant_id: Annotated[str, describe("Tenant that the lines belong to.")]
    service: Annotated[str, describe("Service that wrote the lines.")]
    window_start: Annotated[Timestamp, describe("Start of the window, event time.")]
    window_end: Annotated[Timestamp, describe("End of the window, event time, exclusive.")]
    revision: Annotated[int, describe("0 for the pane on time, higher for late panes; the last counts.")]
    lines: Annotated[int, describe("Lines analyzed.")]
    errors: Annotated[int, describe("Lines of severity ERROR or above, or of HTTP status 500 or above.")]
    error_rate: Annotated[float, describe("errors / lines; 0 without lines.")]
    warnings: Annotated[int, describe("Lines of severity WARNING.")]
    requests: Annotated[int, describe("Lines that are the record of one served request.")]
    denials: Annotated[int, describe("Lines that say permission denied or not authenticated.")]
    retimed: Annotated[int, describe("Lines whose absurd timestamp was replaced by the receive time.")]
    severity_inferred: Annotated[int, describe("Lines whose severity was read from the payload.")]
    latency_p50_ms: Annotated[float | None, describe("Median latency of requests, within 2 %.")]
    latency_p95_ms: Annotated[float | None, describe("95th percentile of latency, within 2 %.")]
    latency_p99_ms: Annotated[float | None, describe("99th percentile of latency, within 2 %.")]
    distinct_principals: Annotated[int, describe("Distinct users, estimated within 4 %.")]
    distinct_addresses: Annotated[int, describe("Distinct remote addresses, estimated within 4 %.")]
    distinct_instances: Annotated[int, describe("Distinct pods or machines, estimated within 4 %.")]
    distinct_patterns: Annotated[int, describe("Distinct log patterns.")]
    new_patterns: Annotated[int, describe("Patterns seen for the first time.")]
    pattern_level: Annotated[int, describe("0 for exact patterns; higher where they were coarsened to fit.")]
    endpoint_level: Annotated[
        int, describe("0 for exact endpoints; higher where they were coarsened to fit.")
    ]
    health_score: Annotated[
        float | None, describe("0 (down) to 100 (well); null without lines. See docs/health-score.md.")
    ]
    severities: Annotated[str, describe("JSON object: lines by severity name.")]
    statuses: Annotated[str, describe("JSON object: lines by HTTP status.")]
    fields: Annotated[
        str, describe("JSON object: count, mean, min, max and p95 of the numeric fields of --baselines.")
    ]
    endpoints: Annotated[str, describe("JSON object: requests, errors and p95 latency by endpoint.")]
    callers: Annotated[
        str,
        describe("JSON object: requests, errors and p95 latency by calling service; * is all beyond 200."),
    ]
    revisions: Annotated[str, describe("JSON object: lines by revision of the service.")]
    bands: Annotated[
        str,
        describe("JSON object: what was expected, by signal (baseline, low, high); empty while learning."),
    ]
    ledger: Annotated[
        str, describe("JSON object: receive minute (seconds since 1970) to [analyzed, duplicate].")
    ]
    failed_requests: Annotated[
        int | None, describe("Requests whose record is of severity ERROR or above, or of HTTP status 5xx.")
    ] = None
    timed_requests: Annotated[int | None, describe("Records that say how long the request took.")] = None
    slow_requests: Annotated[
        int | None,
        describe("Of these, slower than the catalog's latency_ms, within 2 %; null where it says none."),
    ] = None


class LogPattern(msgspec.Struct, frozen=True):
    """One pattern of one service in one window. Table `log_patterns`."""

    tenant_id: Annotated[str, describe("Tenant that the lines belong to.")]
    service: Annotated[str, describe("Service that wrote the lines.")]
    pattern_id: Annotated[str, describe("Id of the pattern within the service.")]
    window_start: Annotated[Timestamp, describe("Start of the window, event time.")]
    revision: Annotated[int, describe("0 for the pane on time, higher for late panes; the last counts.")]
    pattern: Annotated[str, describe("The line with its variable parts as placeholders.")]
    count: Annotated[int, describe("Lines of the pattern in the window.")]
    errors: Annotated[int, describe("Of these, lines that are errors.")]
    severity: Annotated[str, describe("Highest severity of its lines.")]
    exception: Annotated[str, describe("Type of the exception, where its lines carry one.")]
    first_seen: Annotated[Timestamp, describe("Event time of the first line of the pattern ever.")]
    is_new: Annotated[bool, describe("Whether the pattern was seen for the first time in this window.")]
    example: Annotated[str, describe("One redacted line.")]


class MetricWindow(msgspec.Struct, frozen=True):
    """One series of a metric in one window, and what its detector thinks of it. Table `metric_windows`."""

    tenant_id: Annotated[str, describe("Tenant that the metric belongs to.")]
    service: Annotated[str, describe("Service that it was measured at.")]
    series_id: Annotated[str, describe("Hash of metric type, kind, statistic, instance and labels.")]
    window_start: Annotated[Timestamp, describe("Start of the window, event time.")]
    window_end: Annotated[Timestamp, describe("End of the window, event time, exclusive.")]
    revision: Annotated[int, describe("0 for the pane on time, higher for late panes; the last counts.")]
    instance: Annotated[str, describe("Pod, machine or target that it was measured at, where known.")]
    metric_type: Annotated[str, describe("Type of the metric, e.g. run.googleapis.com/request_count.")]
    statistic: Annotated[
        str, describe("What the numbers are: value, rate (per second), mean or p95 (of a distribution).")
    ]
    labels: Annotated[
        str, describe("JSON object: labels of the metric, and of its resource as resource.NAME.")
    ]
    unit: Annotated[str, describe("Unit of the numbers, or empty.")]
    points: Annotated[int, describe("Points of the window, copies counted once.")]
    value: Annotated[float | None, describe("Mean over the points; null where they hold no number.")]
    min: Annotated[float | None, describe("Lowest of the points.")]
    max: Annotated[float | None, describe("Highest of the points.")]
    baseline: Annotated[float | None, describe("What is usual at this hour, as far as it is known.")]
    band_low: Annotated[float | None, describe("Lower end of what is normal.")]
    band_high: Annotated[float | None, describe("Upper end of what is normal.")]
    score: Annotated[float, describe("0 to 1: how much of an alarm this is.")]
    label: Annotated[str, describe("learning, normal, anomalous, continuing, or no_value.")]
    ledger: Annotated[
        str, describe("JSON object: receive minute (seconds since 1970) to [analyzed, duplicate] points.")
    ]


class AnomalyMetric(msgspec.Struct, frozen=True):
    """One number that an anomaly rests on. `baseline` and `band` are null where none is known."""

    name: Annotated[str, describe("What was measured, e.g. error_rate.")]
    value: Annotated[float, describe("What it was in the window.")]
    threshold: Annotated[float | None, describe("What the rule allows.")] = None
    baseline: Annotated[float | None, describe("What was expected.")] = None
    band_low: Annotated[float | None, describe("Lower end of what was expected.")] = None
    band_high: Annotated[float | None, describe("Upper end of what was expected.")] = None
    deviation: Annotated[float | None, describe("How far from it, in robust standard deviations.")] = None


class Evidence(msgspec.Struct, frozen=True):
    """What an anomaly can be checked against."""

    pattern_id: Annotated[str, describe("Id of the pattern within the service.")]
    pattern: Annotated[str, describe("The line with its variable parts as placeholders.")]
    count: Annotated[int, describe("Lines of the pattern in the window.")]
    examples: Annotated[list[Example], describe("Some of these lines.")] = []


class Anomaly(msgspec.Struct, frozen=True):
    """Something wrong in one service and window. Table `anomalies`."""

    anomaly_id: Annotated[
        str, describe("Hash of tenant, service, endpoint, detector, signal, pattern and window start.")
    ]
    revision: Annotated[int, describe("Grows when a late pane changes the anomaly; the last counts.")]
    status: Annotated[
        Literal["open", "withdrawn"], describe("'withdrawn' when a late pane showed that it no longer holds.")
    ]
    tenant_id: Annotated[str, describe("Tenant that it belongs to.")]
    service: Annotated[str, describe("Service that shows it.")]
    endpoint: Annotated[str, describe("Endpoint that shows it, or empty for the whole service.")]
    anomaly_type: Annotated[AnomalyType, describe("Kind of anomaly.")]
    anomaly_severity: Annotated[AnomalySeverity, describe("low, medium, high or critical.")]
    description: Annotated[str, describe("One sentence for people.")]
    detector: Annotated[str, describe("What found it: 'rule:<name>' or a detector's name.")]
    signal: Annotated[str, describe("The signal it was found in, e.g. error_rate.")]
    rules_version: Annotated[str, describe("Hash of the rule pack that was in force.")]
    window_start: Annotated[Timestamp, describe("Start of the window, event time.")]
    window_end: Annotated[Timestamp, describe("End of the window, event time, exclusive.")]
    confidence_score: Annotated[float, describe("0 to 1: how sure the detector is.")]
    below_confidence_floor: Annotated[bool, describe("Kept for the record, but under the confidence floor.")]
    metrics: Annotated[
        list[AnomalyMetric],
        describe("Numbers that it rests on: value, threshold, baseline, band, deviation."),
    ]
    evidence: Annotated[list[Evidence], describe("Patterns with counts and redacted example lines.")]
    recommended_actions: Annotated[list[str], describe("What to do next.")]
    gemini_analysis: Annotated[str, describe("What Gemini said of it, or empty.")]
    detected_at: Annotated[Timestamp, describe("End of the window that showed it.")]


class Deploy(msgspec.Struct, frozen=True):
    """A roll-out of a service that an audit log reports. Table `deploys`."""

    deploy_id: Annotated[str, describe("Hash of tenant, service, time, method and what was rolled out.")]
    tenant_id: Annotated[str, describe("Tenant that it belongs to.")]
    service: Annotated[str, describe("Service that was rolled out.")]
    deployed_at: Annotated[Timestamp, describe("Event time of the audit log entry.")]
    method_name: Annotated[str, describe("Method that the audit log names.")]
    what: Annotated[str, describe("Image, revision or version, as far as the entry says; else the service.")]
    principal: Annotated[str, describe("Who did it, redacted.")]
    window_start: Annotated[Timestamp, describe("Start of the window that it falls in, event time.")]
    revision: Annotated[int, describe("0 for the pane on time, higher for late panes; the last counts.")] = 0


class Service(msgspec.Struct, frozen=True):
    """A service that was seen, and what the catalog says of it. Table `services`.

    Written when a job sees the service for the first time, and once a day: so the globs of the catalog
    are resolved, and the row outlives the days of its table. Nothing is written without a catalog.
    """

    tenant_id: Annotated[str, describe("Tenant that the service belongs to.")]
    service: Annotated[str, describe("Service that wrote lines.")]
    revision: Annotated[int, describe("Minutes from 1970 to `as_of`; the last counts.")]
    as_of: Annotated[Timestamp, describe("Start of the window that it was seen in, event time.")]
    owner: Annotated[str, describe("Who is to be asked, or empty.")]
    tier: Annotated[str, describe("tier-1 (customers feel it at once) to tier-4, or empty.")]
    channel: Annotated[str, describe("Where the owner wants to hear of it, or empty.")]
    runbook: Annotated[str, describe("Address of the runbook, or empty.")]
    calls: Annotated[list[str], describe("Services that it depends on, as the catalog says.")]
    slo_percent: Annotated[
        float | None, describe("Percent of requests that must do well; null without such an objective.")
    ]
    slo_latency_ms: Annotated[
        int | None, describe("What a good request takes at most; null without such an objective.")
    ]
    slo_days: Annotated[int | None, describe("Days that the objective holds over; null without one.")]
    catalog_version: Annotated[str, describe("Hash of the catalog that says so.")]


class DeadLetter(msgspec.Struct, frozen=True):
    """A payload that could not be used. Table `dead_letters`."""

    dead_letter_id: Annotated[str, describe("Hash of stage, reason, receive minute and payload.")]
    tenant_id: Annotated[
        str, describe("Tenant configured for its source, else what the entry says, else _unknown.")
    ]
    stage: Annotated[str, describe("Step that refused it.")]
    reason: Annotated[str, describe("Why, in a few fixed words.")]
    detail: Annotated[str, describe("Where exactly, without any value of the payload.")]
    payload: Annotated[str, describe("Its beginning, redacted.")]
    payload_bytes: Annotated[int, describe("Its size.")]
    receive_minute: Annotated[Timestamp, describe("Minute that it was received in.")]
    count: Annotated[int, describe("How many identical ones this row stands for.")] = 1
    revision: Annotated[int, describe("Grows as more identical ones come in; the last counts.")] = 0


FailedRowStatus = Literal["failed", "replayed"]


class FailedRow(msgspec.Struct, frozen=True):
    """A row that BigQuery did not take. Table `failed_rows`.

    Whole rows that BigQuery refused one by one are in the table; those that it did not take at all,
    because it was not there, are in files, one FailedRow of JSON a line.
    """

    failed_row_id: Annotated[str, describe("Hash of table and row: the insert id that it is sent with.")]
    tenant_id: Annotated[str, describe("Tenant that the row belongs to.")]
    table_name: Annotated[str, describe("Table that it was meant for.")]
    row_json: Annotated[str, describe("The whole row as it was sent, JSON; empty once it was taken.")]
    reason: Annotated[str, describe("Why, in a few fixed words.")]
    detail: Annotated[str, describe("What exactly, without any value of the row.")]
    failed_at: Annotated[Timestamp, describe("When it was not taken, wall clock.")]
    status: Annotated[FailedRowStatus, describe("'failed', or 'replayed' once it was taken.")] = "failed"
    revision: Annotated[int, describe("0 for failed, 1 for replayed; the last counts.")] = 0


LedgerSource = Literal["logs", "metrics"]


class LedgerEntry(msgspec.Struct, frozen=True):
    """Lines or metric points of one tenant and receive minute, as they come in. Table `ledger`.

    What was analyzed or dead-lettered is not here: the balance counts that in the tables where
    it ended up, so that a loss anywhere between shows.
    """

    tenant_id: Annotated[str, describe("Tenant of the lines or points, or _unknown.")]
    receive_minute: Annotated[Timestamp, describe("Minute that they were received in.")]
    received: Annotated[int, describe("Lines or points received.")]
    late: Annotated[int, describe("Those later than the allowed lateness: counted, not analyzed.")]
    filtered: Annotated[int, describe("Those that --services or --min_severity left out.")]
    revision: Annotated[int, describe("Grows as more of the minute come in; the last counts.")] = 0
    source: Annotated[LedgerSource, describe("What is counted: 'logs' (lines) or 'metrics' (points).")] = (
        "logs"
    )


BaselineStatus = Literal["learning", "ready", "alarming"]


class BaselineSnapshot(msgspec.Struct, frozen=True):
    """What is learned of one signal of a service, as of a time. Table `baselines`.

    The row whose signal is empty is the service as a whole, with all memory of its detectors.
    """

    tenant_id: Annotated[str, describe("Tenant that the service belongs to.")]
    service: Annotated[str, describe("Service that is watched.")]
    signal: Annotated[str, describe("Signal, e.g. error_rate; empty for the service as a whole.")]
    revision: Annotated[int, describe("Minutes from 1970 to `as_of`; the last counts.")]
    as_of: Annotated[Timestamp, describe("End of the newest window that is learned, event time.")]
    detector: Annotated[str, describe("What learns it; 'all' for the service as a whole.")]
    status: Annotated[
        BaselineStatus, describe("learning (cannot alarm yet), ready, or alarming (an episode is open).")
    ]
    learns_since: Annotated[Timestamp, describe("Start of the first window that had the signal.")]
    window_seconds: Annotated[int, describe("Length of the windows that were learned.")]
    windows: Annotated[int, describe("Windows that taught it: those that were normal.")]
    windows_missing: Annotated[int, describe("Windows that it still has to see before it can alarm.")]
    cautious_until: Annotated[
        Timestamp | None,
        describe("Until then an alarm must be half as strong again; null when that is over."),
    ]
    hours_known: Annotated[
        int | None, describe("Hours of the week that were seen, of 168; null where hours do not matter.")
    ]
    baseline: Annotated[
        float | None, describe("What is usual in a window at that time; null while learning.")
    ]
    band_low: Annotated[float | None, describe("Below it is unusual; null while learning.")]
    band_high: Annotated[float | None, describe("Above it is unusual; null while learning.")]
    alarms: Annotated[float, describe("Alarms of late; one fades over two weeks.")]
    state_version: Annotated[int, describe("Version of what stands in `state`.")]
    state: Annotated[
        str, describe("All memory of the service: MessagePack, zstd, base64. Empty for single signals.")
    ]
