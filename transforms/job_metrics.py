"""What the job counts about itself: one list, of which docs and alert policies know. No Beam here.

`transforms/metering.py` counts. On Dataflow each name is a user counter of the job; a distribution is four
of them, `<name>_MIN`, `_MAX`, `_MEAN` and `_COUNT`.
"""

from __future__ import annotations

from typing import Final, Literal, NamedTuple

NAMESPACE: Final = "aiops"

MetricKind = Literal["counter", "distribution"]

DEAD_LETTER_REASONS: Final = (
    *("too_large", "empty", "bad_utf8", "not_json", "not_an_object", "too_deep", "number_out_of_range"),
    *("wrong_type", "no_timestamp", "bad_timestamp"),
    *("not_a_time_series", "no_metric_type", "unknown_kind", "no_points", "no_value", "not_finite"),
    *("bad_distribution", "bad_interval", "bad_time"),
    *("broken_compression", "unpacks_too_large"),
    *("no_topic", "refused"),
)
"""Reasons with a counter of their own; all others are counted together, so that their number is bounded."""

OTHER_REASON: Final = "other"


class JobMetric(NamedTuple):
    """One metric in the namespace `aiops`."""

    name: str
    kind: MetricKind
    unit: str
    meaning: str


def _counter(name: str, unit: str, meaning: str) -> JobMetric:
    return JobMetric(name, "counter", unit, meaning)


def _distribution(name: str, unit: str, meaning: str) -> JobMetric:
    return JobMetric(name, "distribution", unit, meaning)


JOB_METRICS: Final[tuple[JobMetric, ...]] = (
    _counter("lines", "lines", "Log lines that came in, whatever became of them."),
    _counter("bytes", "bytes", "Their size as received, unpacked."),
    _counter("late_lines", "lines", "Of these, later than 10 minutes: counted, not analyzed."),
    _counter("filtered_lines", "lines", "Of these, left out by --services or --min_severity."),
    _counter("duplicate_lines", "lines", "Copies that --deduplicate=exact dropped, in windows on time."),
    _counter("points", "points", "Points of metrics that came in."),
    _counter("dead_letters", "lines, points or messages", "What could not be used, for any reason."),
    *(
        _counter(f"dead_letters_{reason}", "lines, points or messages", f"Of these, those of {reason}.")
        for reason in DEAD_LETTER_REASONS
    ),
    _counter(
        f"dead_letters_{OTHER_REASON}",
        "lines, points or messages",
        "Of these, those of a reason without a counter of its own; the table dead_letters has it.",
    ),
    _counter("windows", "windows", "Windows of services, zeros for gaps included, late revisions not."),
    _counter("window_revisions", "windows", "Windows that late lines have revised."),
    _counter("metric_windows", "windows", "Windows of series of metrics."),
    _counter("anomalies", "anomalies", "Anomalies found, revisions and withdrawals included."),
    _counter("incidents", "incidents", "Incidents opened."),
    _counter("alert_events", "events", "Events of alerts: opened, updated, resolved, …"),
    _counter("hypotheses", "hypotheses", "Claims of Gemini that the recount does not confirm."),
    _counter("gemini_calls", "requests", "Requests to Gemini, about windows or incidents."),
    _counter("gemini_calls_answered", "requests", "Of these, answered."),
    _counter("gemini_calls_failed", "requests", "Of these, failed."),
    _counter("gemini_tokens", "tokens", "Tokens of prompts and answers, as billed."),
    _counter("gemini_windows_cached", "windows", "Windows that took a verdict that was there."),
    _counter("gemini_windows_skipped", "windows", "Windows that Gemini was not asked about."),
    _counter("failed_rows", "rows", "Rows that the store did not take; they are kept whole elsewhere."),
    _counter("ledger_minutes", "minutes", "Receive minutes of tenants that were added up, both ends."),
    _counter(
        "ledger_difference",
        "lines or points",
        "Grows by how many lines or points more (or fewer) came in than are accounted for, once for each "
        "minute, when nothing can come any more. It stays as it is while the ledger balances.",
    ),
    _counter("heartbeats", "events", "One a minute while the job runs."),
    _distribution("parse_us", "microseconds", "Time that parsing one batch of lines took."),
    _distribution("redact_us", "microseconds", "Time that redacting it took."),
    _distribution("patterns_us", "microseconds", "Time that masking its lines took."),
    _distribution("anomaly_delay_ms", "milliseconds", "From the end of a window to its anomaly."),
    _distribution(
        "incident_delay_ms", "milliseconds", "From the end of a window to the incident it opens or changes."
    ),
    _distribution(
        "alert_event_delay_ms",
        "milliseconds",
        "From the end of the newest window to the event that opens, reopens or updates an alert.",
    ),
    _distribution(
        "publish_delay_ms", "milliseconds", "From an event of an alert to its handing over to Pub/Sub."
    ),
)

KINDS: Final[dict[str, MetricKind]] = {metric.name: metric.kind for metric in JOB_METRICS}


def exported_names() -> list[str]:
    """Names of the user counters that Dataflow makes of the list; a project may have 100 of them."""
    endings = {"counter": ("",), "distribution": ("_MIN", "_MAX", "_MEAN", "_COUNT")}
    return [metric.name + ending for metric in JOB_METRICS for ending in endings[metric.kind]]


def dead_letter_metric(reason: str) -> str:
    """The counter of dead letters of `reason`."""
    return f"dead_letters_{reason if reason in DEAD_LETTER_REASONS else OTHER_REASON}"
