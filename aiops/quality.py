"""`aiops quality`: how often findings were right, by what people said of their alerts."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from datetime import UTC, datetime
from typing import Annotated, Final, Literal, NamedTuple

import msgspec
import typer
from rich.console import Console
from rich.text import Text

from aiops.alerts.acting import read_views, report_errors
from aiops.cells import make_table, text_cell
from aiops.query import Filters, open_tables, parse_since
from aiops.show_output import (
    DEFAULT_STORE,
    AsJson,
    Dataset,
    Service,
    Since,
    Store,
    Tenant,
    nothing_found,
    print_json,
)
from transforms.alert.view import AlertView
from transforms.elements import CANARY_SERVICE, MICROSECONDS

Group = Literal["all", "rule", "detector", "service"]
Z_95: Final = 1.959964
_RULE: Final = "rule:"
_TITLES: Final[dict[Group, str]] = {
    "all": "All alerts",
    "rule": "Rules",
    "detector": "Detectors",
    "service": "Services",
}


class Interval(NamedTuple):
    """From where to where, both from 0 to 1."""

    low: float
    high: float


class Quality(msgspec.Struct, frozen=True):
    """What people said of the alerts of one rule, detector or service.

    `precision` is the share of useful ones among those with a verdict, null without any; `interval`
    holds the true share in 95 of 100 such samples.
    """

    group: Group
    name: str
    alerts: int
    useful: int
    false_positives: int
    undecided: int  # resolved by people with a note, and no verdict
    unjudged: int  # nobody said anything
    precision: float | None
    low: float | None
    high: float | None


def wilson_interval(successes: int, trials: int, z: float = Z_95) -> Interval:
    """Where the true share lies, as `successes` of `trials` tell; all of 0 to 1 without a trial.

    Unlike the textbook's interval it is right for few trials and for shares near 0 and 1.
    Source: Wilson (1927), Probable inference, the law of succession, and statistical inference.
    """
    if trials <= 0:
        return Interval(0.0, 1.0)
    share, squared = successes / trials, z * z
    center = share + squared / (2 * trials)
    spread = z * math.sqrt(share * (1 - share) / trials + squared / (4 * trials * trials))
    whole = 1 + squared / trials
    return Interval(max(0.0, (center - spread) / whole), min(1.0, (center + spread) / whole))


def judge_alerts(views: Iterable[AlertView]) -> list[Quality]:
    """Quality of all alerts, of each rule, detector and service, those with most verdicts first.

    An alert counts for every rule and detector that found something of it. Silences are no alerts, and
    canaries are none that people judge.
    """
    counts: dict[tuple[Group, str], list[int]] = {}
    for view in views:
        if view.is_silence or view.service == CANARY_SERVICE:
            continue
        place = _place_of(view)
        for key in _keys_of(view):
            counts.setdefault(key, [0, 0, 0, 0])[place] += 1
    found = [_quality(group, name, *numbers) for (group, name), numbers in counts.items()]
    order = list(_TITLES)
    found.sort(
        key=lambda one: (order.index(one.group), -(one.useful + one.false_positives), -one.alerts, one.name)
    )
    return found


_USEFUL, _FALSE, _UNDECIDED, _UNJUDGED = range(4)


def _place_of(view: AlertView) -> int:
    if view.verdict == "useful":
        return _USEFUL
    if view.verdict == "false_positive":
        return _FALSE
    said = (event for event in view.events if event.event_type == "resolved" and event.command_id)
    return _UNDECIDED if any(event.note for event in said) else _UNJUDGED


def _keys_of(view: AlertView) -> list[tuple[Group, str]]:
    keys: list[tuple[Group, str]] = [("all", ""), ("service", f"{view.tenant_id} {view.service}")]
    for detector in sorted(set(view.last.detectors)):
        is_rule = detector.startswith(_RULE)
        keys.append(("rule" if is_rule else "detector", detector.removeprefix(_RULE)))
    return keys


def _quality(group: Group, name: str, useful: int, false: int, undecided: int, unjudged: int) -> Quality:
    judged = useful + false
    low, high = wilson_interval(useful, judged)
    return Quality(
        group=group,
        name=name,
        alerts=judged + undecided + unjudged,
        useful=useful,
        false_positives=false,
        undecided=undecided,
        unjudged=unjudged,
        precision=useful / judged if judged else None,
        low=low if judged else None,
        high=high if judged else None,
    )


def quality(
    *,
    store: Store = DEFAULT_STORE,
    dataset: Dataset = "",
    tenant: Tenant = None,
    service: Service = None,
    since: Since = None,
    show_all: Annotated[
        bool, typer.Option("--all", help="Those of which nobody has said anything, too.")
    ] = False,
    as_json: AsJson = False,
) -> None:
    """Show how often rules, detectors and services were right, by the verdicts of people."""
    with open_tables(store, dataset) as opened, report_errors():
        views = [view for view in read_views(opened, tenant).values() if service in (None, view.service)]
    if since is not None and views:
        newest = datetime.fromtimestamp(max(view.updated_at for view in views) / MICROSECONDS, UTC)
        start = parse_since(since, newest).timestamp() * MICROSECONDS
        views = [view for view in views if view.opened_at >= start]
    found = judge_alerts(views)
    if as_json:
        print_json([msgspec.to_builtins(one) for one in found])
        return
    console = Console()
    judged = [one for one in found if show_all or one.precision is not None]
    if not judged:
        if not found:
            console.print(nothing_found("No alerts", Filters(tenant, service, since=since)))
            return
        console.print(
            f"Nobody has said yet whether any of {found[0].alerts:,} alerts was right. "
            "Say so: aiops alerts useful ID, or aiops alerts false-positive ID."
        )
        return
    _print_quality(console, judged)


def _print_quality(console: Console, found: Sequence[Quality]) -> None:
    table = make_table()
    table.add_column("", overflow="fold", ratio=1)
    for name in ("Alerts", "Useful", "False", "Unsure", "Unsaid", "Right", "95 %"):
        table.add_column(name, justify="right", no_wrap=True)
    group = ""
    for one in found:
        if one.group != group:
            group = one.group
            if one.group != "all":
                table.add_row(Text(_TITLES[one.group], "bold"))
        numbers = (one.alerts, one.useful, one.false_positives, one.undecided, one.unjudged)
        title = (_TITLES["all"], "bold") if one.group == "all" else text_cell(one.name, 120)
        table.add_row(Text.assemble(title), *(f"{number:,}" for number in numbers), *_shares(one))
    console.print(table)


def _shares(one: Quality) -> tuple[str, str]:
    if one.precision is None or one.low is None or one.high is None:
        return "–", "–"
    return f"{one.precision:.0%}", f"{one.low:.0%}–{one.high:.0%}"
