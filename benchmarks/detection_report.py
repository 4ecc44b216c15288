"""Recall, delay and false anomalies of measured runs, as one result and as text."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from math import ceil
from statistics import median
from typing import Any, Final

from aiops.simulate.matching import FaultResult
from aiops.simulate.rhythm import DAY
from benchmarks.simulated import SEVERE, Measured
from transforms.elements import ANOMALY_SEVERITIES, MICROSECONDS

WINDOW_SECONDS: Final = 60
WORST: Final = 25
WEEK: Final = 7 * DAY

Seen = tuple[Measured, FaultResult]
Counts = dict[str, list[int]]
"""Name → [found, of]"""


def summarize(runs: Sequence[Measured]) -> dict[str, Any]:
    """All figures; delays are in windows of a minute, false anomalies per tenant and week."""
    faults = [(run, result) for run in runs for result in run.report.results]
    visible = [(run, result) for run, result in faults if run.is_visible(result)]
    hidden = [result for run, result in faults if not run.is_visible(result)]
    quiet = [run for run in runs if run.config.quiet_nights]
    return {
        "seeds": len(runs),
        "entries": sum(run.entries for run in runs),
        "seconds": round(sum(run.simulated_seconds + run.job_seconds for run in runs)),
        "unbalanced_seeds": [run.config.seed for run in runs if not run.balanced],
        "recall": found_of(visible, lambda _, __: "all").get("all", [0, 0]),
        "recall_by_type": found_of(visible, lambda _, result: result.fault.type),
        "recall_by_detectable_by": found_of(visible, lambda _, result: result.fault.detectable_by),
        "recall_by_day": found_of(visible, day_of_fault),
        "recall_by_day_and_detectable_by": found_of(
            visible, lambda run, result: f"{day_of_fault(run, result)}, {result.fault.detectable_by}"
        ),
        "recall_by_nights": found_of(visible, lambda run, _: nights_of(run)),
        "without_a_trace": [sum(result.found for result in hidden), len(hidden)],
        "delay_windows": delays(visible),
        "delay_windows_by_type": {
            name: delays([pair for pair in visible if pair[1].fault.type == name])
            for name in sorted({result.fault.type for _, result in visible})
        },
        "false": false_anomalies(runs),
        "false_where_nights_are_quiet": false_anomalies(quiet),
        "false_elsewhere": false_anomalies([run for run in runs if run not in quiet]),
        "missed": [missed(run, result) for run, result in visible if not result.found],
    }


def found_of(faults: Iterable[Seen], name_of: Callable[[Measured, FaultResult], str]) -> Counts:
    counts: Counts = {}
    for run, result in faults:
        one = counts.setdefault(name_of(run, result), [0, 0])
        one[0] += result.found
        one[1] += 1
    return dict(sorted(counts.items()))


def day_of_fault(run: Measured, result: FaultResult) -> str:
    return f"day {(result.fault.start_second - run.config.start_second) // DAY + 1}"


def nights_of(run: Measured) -> str:
    return "quiet nights" if run.config.quiet_nights else "ordinary nights"


def delays(faults: Iterable[Seen]) -> dict[str, float | None]:
    """Median and 90th percentile of the faults that were found."""
    known = sorted(
        result.delay_seconds / WINDOW_SECONDS for _, result in faults if result.delay_seconds is not None
    )
    if not known:
        return {"median": None, "p90": None}
    return {"median": round(median(known), 2), "p90": round(known[ceil(0.9 * len(known)) - 1], 2)}


def false_anomalies(runs: Sequence[Measured]) -> dict[str, Any]:
    """How many anomalies touch no fault, of what kind, and the most frequent and severe of them."""
    weeks = sum(run.config.tenants * run.config.duration_seconds for run in runs) / WEEK
    found = [(run, anomaly) for run in runs for anomaly in run.report.false_anomalies]
    severities = Counter(anomaly["anomaly_severity"] for _, anomaly in found)
    severe = [(run, anomaly) for run, anomaly in found if anomaly["anomaly_severity"] in SEVERE]
    return {
        "tenant_weeks": round(weeks, 2),
        "by_severity": {name: severities[name] for name in ANOMALY_SEVERITIES},
        "per_tenant_week": {name: _rate(severities[name], weeks) for name in ANOMALY_SEVERITIES},
        "severe_per_tenant_week": _rate(len(severe), weeks),
        "severe_above_floor_per_tenant_week": _rate(
            sum(not anomaly["below_confidence_floor"] for _, anomaly in severe), weeks
        ),
        "severe_by_day": dict(sorted(Counter(_day(run, anomaly) for run, anomaly in severe).items())),
        "by_kind": [
            {"kind": " ".join(kind), "count": count}
            for kind, count in Counter(_kind(anomaly) for _, anomaly in found).most_common(WORST)
        ],
        "worst": [_named(run, anomaly) for run, anomaly in sorted(found, key=_badness)[:WORST]],
    }


def _rate(count: int, weeks: float) -> float | None:
    return round(count / weeks, 2) if weeks else None


def _day(run: Measured, anomaly: Mapping[str, Any]) -> str:
    return f"day {(anomaly['window_start'] // MICROSECONDS - run.config.start_second) // DAY + 1}"


def _kind(anomaly: Mapping[str, Any]) -> tuple[str, str, str, str]:
    return (
        anomaly["anomaly_severity"],
        anomaly["detector"],
        anomaly["signal"] or "-",
        anomaly["anomaly_type"],
    )


def _badness(found: tuple[Measured, Mapping[str, Any]]) -> tuple[Any, ...]:
    run, anomaly = found
    rank = ANOMALY_SEVERITIES.index(anomaly["anomaly_severity"])
    return -rank, -anomaly["confidence_score"], run.config.seed, anomaly["window_start"], anomaly["service"]


def _named(run: Measured, anomaly: Mapping[str, Any]) -> dict[str, Any]:
    return {
        "seed": run.config.seed,
        "nights": nights_of(run),
        "minute": (anomaly["window_start"] // MICROSECONDS - run.config.start_second) // 60,
        **{
            name: anomaly[name]
            for name in (
                "anomaly_severity",
                "confidence_score",
                "below_confidence_floor",
                "service",
                "detector",
                "signal",
                "anomaly_type",
                "description",
            )
        },
    }


def missed(run: Measured, result: FaultResult) -> dict[str, Any]:
    fault = result.fault
    return {
        "seed": run.config.seed,
        "fault": fault.fault_id,
        "minute": (fault.start_second - run.config.start_second) // 60,
        "intensity": fault.intensity,
        "lines": run.fault_lines[fault.fault_id],
        "related": result.related,
    }


# ----------------------------------------------------------------------------------------- text


def as_text(result: Mapping[str, Any]) -> str:
    """The result as Markdown, for people."""
    unbalanced = result["unbalanced_seeds"]
    hidden_found, hidden = result["without_a_trace"]
    lines = [
        f"{result['seeds']} seeds, {result['entries']:,} entries, {result['seconds']:,} s of work",
        f"ledger: {'balances' if not unbalanced else f'DOES NOT BALANCE in seeds {unbalanced}'}",
        f"recall: {_share(result['recall'])} of the faults that left a trace; "
        f"{hidden} left none ({hidden_found} of these found)",
        f"delay in windows: {_delay(result['delay_windows'])}",
        "",
        "| faults | found | of | recall | delay |",
        "| --- | --- | --- | --- | --- |",
    ]
    for group in ("nights", "detectable_by", "day", "day_and_detectable_by", "type"):
        for name, (found, of) in result[f"recall_by_{group}"].items():
            delay = _delay(result["delay_windows_by_type"][name]) if group == "type" else ""
            lines.append(f"| {name} | {found} | {of} | {found / of:.3f} | {delay} |")
    for name in ("false", "false_where_nights_are_quiet", "false_elsewhere"):
        lines += ["", *_false_text(name.replace("_", " "), result[name])]
    lines += ["", "most frequent false anomalies:"]
    lines += [f"  {kind['count']:4} {kind['kind']}" for kind in result["false"]["by_kind"]]
    lines += ["", "worst false anomalies:"]
    lines += [
        f"  seed {one['seed']:3} minute {one['minute']:4} {one['anomaly_severity']} "
        f"{one['confidence_score']:.2f} {one['service']} {one['detector']}: {one['description']}"
        for one in result["false"]["worst"]
    ]
    lines += ["", "missed faults:"]
    lines += [
        f"  seed {one['seed']:3} minute {one['minute']:4} {one['fault']} intensity {one['intensity']}, "
        f"{one['lines']} lines, {one['related']} related anomalies"
        for one in result["missed"]
    ]
    return "\n".join(lines)


def _false_text(name: str, false: Mapping[str, Any]) -> list[str]:
    counts = ", ".join(
        f"{severity} {count} ({false['per_tenant_week'][severity]} per tenant and week)"
        for severity, count in false["by_severity"].items()
    )
    return [
        f"{name}, over {false['tenant_weeks']} tenant-weeks: {counts}",
        f"  high or above: {false['severe_per_tenant_week']} per tenant and week "
        f"({false['severe_above_floor_per_tenant_week']} above the confidence floor); "
        + ", ".join(f"{day} {count}" for day, count in false["severe_by_day"].items()),
    ]


def _share(counts: Sequence[int]) -> str:
    found, of = counts
    return f"{found} of {of} = {found / of:.3f}" if of else "no faults"


def _delay(delay: Mapping[str, float | None]) -> str:
    return "-" if delay["median"] is None else f"median {delay['median']}, p90 {delay['p90']}"
