"""Matchers of silences, as Alertmanager has them, and which silence covers an alert."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from functools import lru_cache
from typing import Final

import re2

from transforms.alert.book import AlertBook, AlertState, Silence
from transforms.alert_elements import AlertFinding, Matcher, MatcherName
from transforms.elements import AnomalySeverity

MOST_MATCHERS: Final = 20
MOST_MATCHER_CHARACTERS: Final = 500

Labels = dict[MatcherName, list[str]]
"""Values of each label. One that a finding does not have is "", as in Alertmanager."""


def labels_of(tenant_id: str, finding: AlertFinding, severity: AnomalySeverity) -> Labels:
    """What matchers look at. `severity` is the alert's, because that is what people see."""
    return {
        "tenant": [tenant_id],
        "service": [finding.service],
        "type": [finding.anomaly_type],
        "pattern": finding.pattern_ids or [""],
        "severity": [severity],
        "detector": [finding.detector],
        "endpoint": [finding.endpoint],
    }


def matches(matcher: Matcher, labels: Labels) -> bool:
    """Whether `matcher` holds for all values of its label: a silence must not hide what it does not name."""
    holds = _test(matcher)
    return all(holds(value) for value in labels[matcher.name])


def matcher_problem(matchers: list[Matcher]) -> str:
    """Why these are no matchers of a silence, or ""."""
    if len(matchers) > MOST_MATCHERS:
        return f"a silence takes at most {MOST_MATCHERS} matchers"
    if any(len(matcher.value) > MOST_MATCHER_CHARACTERS for matcher in matchers):
        return f"a matcher takes at most {MOST_MATCHER_CHARACTERS} characters"
    try:
        # As in Alertmanager: else a silence that says nothing would hide everything.
        says_nothing = all(_test(matcher)("") for matcher in matchers)
    except re2.error:
        return "a matcher is not a valid RE2 expression; RE2 has neither look-around nor back references"
    return "at least one matcher must not match the empty text" if says_nothing else ""


def find_silence(book: AlertBook, alert: AlertState) -> tuple[str, int]:
    """The silence that covers all of `alert`, and until when; ("", 0) for none.

    Each finding must be covered, by one silence or by several; the one that ends first counts, since
    the alert speaks again from then on. A silence of the alert itself covers all of it.
    """
    if not book.silences:
        return "", 0
    own = [_end(silence) for silence in book.silences.values() if silence.alert_id == alert.alert_id]
    by_matchers = [silence for silence in book.silences.values() if silence.matchers]
    covering: list[tuple[int, str]] = []
    for labels in _all_labels(book.tenant_id, alert):
        ends = [_end(silence) for silence in by_matchers if covers(silence, labels)]
        if not ends:
            covering = []
            break
        covering.append(max(ends))
    until, silence_id = max([*own, *([min(covering)] if covering else [])], default=(0, ""))
    return silence_id, until


def covers(silence: Silence, labels: Labels) -> bool:
    return all(matches(matcher, labels) for matcher in silence.matchers)


def _all_labels(tenant_id: str, alert: AlertState) -> Iterable[Labels]:
    if alert.is_storm:  # it stands for what nobody looked at: only what names the storm itself covers it
        nothing: Labels = {"type": [""], "pattern": [""], "detector": [""], "endpoint": [""]}
        yield {
            **nothing,
            "tenant": [tenant_id],
            "service": [alert.service],
            "severity": [alert.severity],
        }
        return
    for state in alert.findings.values():
        yield labels_of(tenant_id, state.finding, alert.severity)


def _end(silence: Silence) -> tuple[int, str]:
    return silence.until, silence.silence_id


@lru_cache(maxsize=4096)
def _test(matcher: Matcher) -> Callable[[str], bool]:
    """What a value must pass. Raises re2.error."""
    value = matcher.value
    if matcher.operator == "=":
        return lambda text: text == value
    if matcher.operator == "!=":
        return lambda text: text != value
    options = re2.Options()
    options.log_errors = False
    expression = re2.compile(value, options)
    if matcher.operator == "=~":
        return lambda text: expression.fullmatch(text) is not None
    return lambda text: expression.fullmatch(text) is None
