"""A storm is made small before it reaches its tenant's book, where all of the tenant must pass.

Symptoms are combined by fingerprint and minute within a bundle, and again in shards of a tenant. A
shard lets the first symptom of a fingerprint pass at once, and holds what repeats it in the minute,
and what comes beyond its share, for a few seconds: of these only numbers go on.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final

import msgspec

from transforms.alert.symptoms import STORM, STORM_SERVICE, Symptom
from transforms.alert.turn import is_worse
from transforms.elements import MINUTE_US, AnomalySeverity

SHARDS: Final = 16
HOLD_SECONDS: Final = 5
_MOST_MORE_IDS: Final = 20
_MOST_GROUPS: Final = 20


class Shard(msgspec.Struct, array_like=True):
    """What passed a shard in the minute of the clock, and what it holds."""

    minute: int = 0
    passed: dict[str, tuple[str, AnomalySeverity]] = {}  # anomaly and severity, by fingerprint
    repeats: dict[str, Symptom] = {}  # held, by fingerprint
    rest: dict[str, Symptom] = {}  # held beyond the share, by group

    @property
    def is_holding(self) -> bool:
        return bool(self.repeats or self.rest)


def shard_of(symptom: Symptom) -> int:
    """Shard of its tenant; the same for a fingerprint always."""
    return int(symptom.fingerprint[:2] or "0", 16) % SHARDS


def combine_symptoms(symptoms: Iterable[Symptom]) -> list[Symptom]:
    """One symptom for each fingerprint and minute, in order; withdrawn ones stay as they are."""
    combined: dict[tuple[str, int], Symptom] = {}
    withdrawn = []
    for symptom in sorted(symptoms, key=lambda one: one.order):
        if symptom.is_withdrawn:
            withdrawn.append(symptom)
            continue
        key = (symptom.fingerprint, symptom.detected_at // MINUTE_US)
        combined[key] = combine(combined[key], symptom) if key in combined else symptom
    return sorted([*combined.values(), *withdrawn], key=lambda one: one.order)


def combine(one: Symptom, other: Symptom) -> Symptom:
    """Both as one: all anomalies are counted, copies and revisions once, and the worst speaks."""
    ids = {one.anomaly_id, *one.more_ids}
    is_copy = other.anomaly_id in ids
    speaker = other if is_worse(other.severity, one.severity) else one
    revision = max(one.revision, other.revision) if is_copy else one.revision
    more = [] if is_copy else [name for name in (other.anomaly_id, *other.more_ids) if name not in ids]
    return msgspec.structs.replace(
        speaker,
        anomaly_id=one.anomaly_id,
        revision=revision,
        detected_at=max(one.detected_at, other.detected_at),
        count=one.count if is_copy else one.count + other.count,
        more_ids=[*one.more_ids, *more][:_MOST_MORE_IDS],
    )


def pass_symptoms(shard: Shard, symptoms: Iterable[Symptom], now_us: int, most: int) -> list[Symptom]:
    """Those of `symptoms` that go on at once; the rest is held, or a copy."""
    minute = now_us // MINUTE_US
    if minute != shard.minute:
        shard.minute, shard.passed = minute, {}
    going: list[Symptom] = []
    for symptom in symptoms:
        known = shard.passed.get(symptom.fingerprint)
        if symptom.is_withdrawn:
            if len(going) < most:  # of more, the alerts end by quiet
                going.append(symptom)
        elif known is not None and not is_worse(symptom.severity, known[1]):
            _hold_repeat(shard, known[0], symptom)
        elif known is None and len(shard.passed) >= most:
            _hold_rest(shard, symptom)
        else:
            shard.passed[symptom.fingerprint] = (symptom.anomaly_id, symptom.severity)
            going.append(symptom)
    return going


def release_symptoms(shard: Shard) -> list[Symptom]:
    """What was held, in order."""
    held = [*shard.repeats.values(), *shard.rest.values()]
    shard.repeats, shard.rest = {}, {}
    return sorted(held, key=lambda one: (one.order, one.group_key))


def _hold_repeat(shard: Shard, known_id: str, symptom: Symptom) -> None:
    if symptom.anomaly_id == known_id:
        return
    held = shard.repeats.get(symptom.fingerprint)
    shard.repeats[symptom.fingerprint] = combine(held, symptom) if held else symptom


def _hold_rest(shard: Shard, symptom: Symptom) -> None:
    group_key, service = symptom.group_key, symptom.service
    if group_key not in shard.rest and len(shard.rest) >= _MOST_GROUPS:
        group_key, service = STORM, STORM_SERVICE
    anonymous = msgspec.structs.replace(
        symptom, group_key=group_key, service=service, fingerprint="", pattern_ids=[], more_ids=[]
    )
    held = shard.rest.get(group_key)
    both = combine(held, anonymous) if held else anonymous
    shard.rest[group_key] = msgspec.structs.replace(both, more_ids=[])  # the number is enough
