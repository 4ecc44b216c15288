"""What the anomalies of an incident say of each of its services. Pure."""

from __future__ import annotations

import re
from collections.abc import Collection
from typing import Final

import msgspec

from transforms.correlate.topology import Topology
from transforms.elements import Anomaly, AnomalySeverity, Evidence, content_id

TRAFFIC_TYPES: Final = frozenset({"traffic_change", "silence"})
"""What a service shows when it is called less or more: mostly somebody else's doing."""

SECURITY_TYPE: Final = "security_incident"
CERTIFICATE_TYPE: Final = "certificate_expiry"
RESOURCE_TYPE: Final = "resource_exhaustion"
DEPLOY_TYPE: Final = "deploy_regression"
METRIC_TYPE: Final = "metric_anomaly"

SEVERITY_WEIGHTS: Final[dict[AnomalySeverity, float]] = {
    "low": 0.4,
    "medium": 0.6,
    "high": 0.8,
    "critical": 1.0,
}
MAX_NAMES: Final = 50
LEAST_WORDS: Final = 4
"""A pattern of fewer words, such as "connection refused", is logged by services that share nothing."""

_TELLING_TYPES: Final = frozenset({"error_spike", "new_pattern", "resource_exhaustion"})

_RESOURCE: Final = re.compile(r"cpu|memory|disk|heap|quota|thread|connection|descriptor|inode", re.IGNORECASE)
_WORD: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{2,62}")


class Symptoms(msgspec.Struct):
    """One service in one incident. Counts are of anomalies."""

    first_us: int  # start of its first anomalous window
    last_us: int  # until when it is known to have been ill
    weight: float = 0.0  # of its strongest anomaly: severity times confidence, 0 to 1
    anomalies: int = 0
    types: dict[str, int] = {}
    named: dict[str, int] = {}  # services that its error messages name
    texts: dict[str, int] = {}  # hashes of the patterns that tell its errors
    instances: dict[str, int] = {}
    resource: str = ""  # signal of a resource of its own that it uses as never before
    strongest: str = ""  # description of the strongest anomaly
    signal: str = ""  # of the strongest anomaly
    pattern_id: str = ""
    pattern: str = ""

    @property
    def is_traffic_only(self) -> bool:
        return set(self.types) <= TRAFFIC_TYPES

    @property
    def is_silent(self) -> bool:
        return "silence" in self.types


class Statement(msgspec.Struct, frozen=True):
    """A new anomaly, and what its error messages say of others."""

    anomaly: Anomaly
    named: frozenset[str]  # services
    texts: frozenset[str]  # hashes of the patterns that tell its errors


def read_statement(anomaly: Anomaly, services: Collection[str], topology: Topology) -> Statement:
    """Read the messages of an anomaly; `services` are those of its tenant."""
    named = _named_services(anomaly, services, topology)
    return Statement(anomaly, frozenset(named), frozenset(_telling_patterns(anomaly)))


def weight_of(anomaly: Anomaly) -> float:
    """0 to 1: how much an anomaly says."""
    return SEVERITY_WEIGHTS[anomaly.anomaly_severity] * anomaly.confidence_score


def add_symptom(symptoms: dict[str, Symptoms], statement: Statement, window_us: int) -> None:
    """Count one anomaly."""
    anomaly = statement.anomaly
    found = symptoms.get(anomaly.service)
    # A rule that looks back on ten minutes may speak of the first of them.
    ill_us = min(anomaly.window_end, anomaly.window_start + window_us)
    if found is None:
        found = symptoms[anomaly.service] = Symptoms(anomaly.window_start, ill_us)
    found.first_us = min(found.first_us, anomaly.window_start)
    found.last_us = max(found.last_us, ill_us)
    found.anomalies += 1
    _add(found.types, anomaly.anomaly_type)
    for name in sorted(statement.named):
        _add(found.named, name)
    for text in sorted(statement.texts):
        _add(found.texts, text)
    for instance in sorted({example.instance for e in anomaly.evidence for example in e.examples} - {""}):
        _add(found.instances, instance)
    if _is_of_resource(anomaly):
        found.resource = found.resource or anomaly.signal
    weight = weight_of(anomaly)
    if weight > found.weight or found.anomalies == 1:
        found.weight, found.strongest, found.signal = weight, anomaly.description, anomaly.signal
        leading = anomaly.evidence[0] if anomaly.evidence else Evidence("", "", 0)
        found.pattern_id, found.pattern = leading.pattern_id, leading.pattern


def _is_of_resource(anomaly: Anomaly) -> bool:
    """What a service uses is its own doing, unlike its latency, its traffic or its errors."""
    return anomaly.anomaly_type == METRIC_TYPE and _RESOURCE.search(anomaly.signal) is not None


def _telling_patterns(anomaly: Anomaly) -> set[str]:
    """Hashes of the texts that tell its errors from others: whoever logs the same has the same trouble."""
    if anomaly.anomaly_type not in _TELLING_TYPES:
        return set()
    texts = [e.pattern for e in anomaly.evidence if len(e.pattern.split()) >= LEAST_WORDS]
    return {content_id(text)[:16] for text in texts}


def _named_services(anomaly: Anomaly, services: Collection[str], topology: Topology) -> set[str]:
    """Other services that the messages of the anomaly name, as in "no instances of payment".

    Of a name that is a plain word, such as cart, only who may call that service can mean it.
    """
    texts = [text for e in anomaly.evidence for text in (e.pattern, *(x.message for x in e.examples))]
    words = {word for text in texts for word in _words(text)}
    mine = anomaly.service
    return {
        word
        for word in words
        if word in services and word != mine and (not word.isalpha() or _may_call(mine, word, topology))
    }


def _may_call(service: str, callee: str, topology: Topology) -> bool:
    """Whether it calls it, through one other at most; or nobody is known who does."""
    callers = topology.callers(callee)
    return not callers or service in callers or not callers.isdisjoint(topology.callees(service))


def _words(text: str) -> set[str]:
    found = {word.rstrip(".-_") for word in _WORD.findall(text)}
    return found | {word.partition(".")[0] for word in found}


def _add(counts: dict[str, int], name: str) -> None:
    if name in counts or len(counts) < MAX_NAMES:
        counts[name] = counts.get(name, 0) + 1
