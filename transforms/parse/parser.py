"""EntryParser: a batch of payloads to a LogBatch, every payload counted exactly once."""

from __future__ import annotations

import gc
from collections import Counter
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from itertools import repeat
from typing import Any, Final

from transforms.dead_letters import broken_dead_letter, make_dead_letter
from transforms.elements import (
    MINUTE_NS,
    MINUTE_US,
    NANOSECONDS,
    DeadLetter,
    LedgerEntry,
    LogBatch,
    LogEntry,
    PayloadBatch,
)
from transforms.parse.audit import apply_proto
from transforms.parse.endpoints import EndpointMasker
from transforms.parse.measuring import FieldReader
from transforms.parse.payloads import apply_json, apply_text, read_trace
from transforms.parse.raw import RawEntry, RefusedPayload, decode_entry, decode_resource, read_label
from transforms.parse.requests import apply_http_request, request_message, status_severity
from transforms.parse.sanitize import may_hold_control, sanitize_entry
from transforms.parse.settings import ParseSettings
from transforms.parse.severities import read_severity
from transforms.parse.sources import Labels, Source, describe_source
from transforms.resources import clean_name
from transforms.timestamps import FUTURE_NS, YEAR_2000_NS, TimestampParser

STAGE: Final = "parse"
_MAX_SOURCES_KEPT: Final = 8192
_MAX_SOURCE_KEY: Final = 2048


class EntryParser:
    """Parses payloads with one set of settings. Remembers a bounded number of sources, endpoints
    and seconds, which makes it fast and never changes what it answers. Not for several threads.
    """

    def __init__(self, settings: ParseSettings) -> None:
        self._settings = settings
        self._max_bytes = settings.max_payload_bytes
        self._timestamps = TimestampParser()
        self._endpoints = EndpointMasker()
        self._sources: dict[tuple[bytes, Labels, str], Source] = {}
        self._lateness_ns = settings.lateness_seconds * NANOSECONDS
        self._latest_ns = settings.now_ns + FUTURE_NS
        self._fields = FieldReader(settings.fields) if settings.fields else None

    def parse_batch(self, batch: PayloadBatch) -> LogBatch:
        """Entries, dead letters (still raw) and the ledger of a batch. Never raises for its content.

        len(batch.payloads) + len(batch.broken) = entries + late + filtered + dead letters.
        """
        tenant_id = batch.tenant_id
        settings = self._settings
        is_filtering = bool(settings.services) or settings.min_severity > 0
        parsed = LogBatch([], [], [])
        keep = parsed.entries.append
        counts = _Counts()
        with _paused_gc():
            for payload, publish_ns in zip(batch.payloads, batch.publish_times_ns or repeat(0), strict=False):
                try:
                    entry, is_late = self._parse_entry(payload, publish_ns, tenant_id)
                except RefusedPayload as refused:
                    minute_us = self._receive_minute_us(publish_ns)
                    letter = make_dead_letter(
                        STAGE, refused.reason, refused.detail, payload, tenant_id, minute_us
                    )
                    parsed.dead_letters.append(letter)
                    continue
                if is_filtering and self._is_filtered(entry):
                    counts.add_away(entry, _FILTERED)
                elif is_late:
                    counts.add_away(entry, _LATE)
                else:
                    keep(entry)
        for broken in batch.broken:
            minute_us = self._receive_minute_us(broken.publish_time_ns)
            parsed.dead_letters.append(broken_dead_letter(STAGE, broken, tenant_id, minute_us))
        counts.add_analyzed(parsed.entries)
        counts.add_refused(parsed.dead_letters)
        parsed.ledger = counts.ledger()
        return parsed

    def _is_filtered(self, entry: LogEntry) -> bool:
        settings = self._settings
        is_other = bool(settings.services) and entry.service not in settings.services
        return is_other or entry.severity < settings.min_severity

    def _parse_entry(self, payload: bytes, publish_ns: int, tenant_id: str) -> tuple[LogEntry, bool]:
        """The entry, and whether it is late. RefusedPayload where there is none."""
        if len(payload) > self._max_bytes:
            raise RefusedPayload("too_large", f"more than {self._max_bytes} bytes")
        raw = decode_entry(payload)
        source = self._find_source(raw)
        event_ns, receive_ns, retimed, is_late = self._read_times(raw, publish_ns)
        entry = LogEntry(
            tenant_id or source.trusted_tenant or source.tenant_id,
            source.service,
            event_ns,
            read_severity(raw.severity) or 0,
            "",
            raw.insert_id[:128],
            source.log_name,
            "",
            source.instance,
            source.revision,
            receive_ns,
            0,
            -1,
            read_trace(raw.trace) if raw.trace else "",
            raw.span_id[:64],
            "",
            "",
            "",
            "",
            source.peer_service,
            "",
            "",
            False,
            source.is_denied,
            False,
            retimed,
        )
        self._apply_payload(entry, raw, source)
        if not tenant_id and self._settings.trusted_tenant_field:
            entry.tenant_id = self._trusted_tenant(payload, raw) or entry.tenant_id
        if self._fields is not None:
            entry.measures = self._fields.read(entry.service, raw)
        if may_hold_control(payload):
            sanitize_entry(entry)
        return entry, is_late

    def _apply_payload(self, entry: LogEntry, raw: RawEntry, source: Source) -> None:
        http = raw.http_request
        if http is not None:
            apply_http_request(entry, http, self._endpoints)
        proto = raw.proto_payload or raw.audit_log
        if raw.text_payload:
            apply_text(entry, raw.text_payload, self._endpoints)
        elif raw.json_payload:
            apply_json(entry, raw.json_payload, self._endpoints)
            if not source.is_named:
                _apply_service_context(entry, raw.json_payload)
        elif proto:
            is_start = raw.operation is None or raw.operation.first or not raw.operation.last
            apply_proto(entry, proto, source, self._endpoints, is_start=is_start)
        else:
            entry.message = request_message(entry)
        if http is not None:
            _mark_request(entry, raw, source)
        if entry.severity == 0 and entry.http_status:
            entry.severity = status_severity(entry.http_status)
            entry.severity_inferred = True

    def _find_source(self, raw: RawEntry) -> Source:
        resource_bytes = b"" + raw.resource  # takes half as long as bytes(raw.resource)
        key = (resource_bytes, raw.labels, raw.log_name)
        source = self._sources.get(key)
        if source is None:
            resource = decode_resource(resource_bytes)
            source = describe_source(resource, raw.labels, raw.log_name, self._settings.trusted_tenant_field)
            if len(resource_bytes) + raw.labels.characters() + len(raw.log_name) <= _MAX_SOURCE_KEY:
                if len(self._sources) >= _MAX_SOURCES_KEPT:
                    self._sources.clear()
                self._sources[key] = source
        return source

    def _read_times(self, raw: RawEntry, publish_ns: int) -> tuple[int, int, bool, bool]:
        """Event time, receive time, whether the entry's own time was absurd, whether it is late."""
        event_ns, said_ns = self._read_timestamps(raw.timestamp, raw.receive_timestamp)
        latest_ns = publish_ns + FUTURE_NS if publish_ns else self._latest_ns
        if said_ns is not None and YEAR_2000_NS <= said_ns <= latest_ns:
            if event_ns is not None and event_ns >= YEAR_2000_NS:
                delay_ns = said_ns - event_ns
                if delay_ns >= -FUTURE_NS:
                    return event_ns, said_ns, False, delay_ns > self._lateness_ns
            return self._settle_times(raw, event_ns, said_ns, from_entry=True)
        return self._settle_times(raw, event_ns, publish_ns, from_entry=False)

    def _read_timestamps(self, event: str, said: str) -> tuple[int | None, int | None]:
        """Nanoseconds of both, None for none. The usual form is read at once."""
        parse = self._timestamps.parse
        if not said:
            return parse(event) if event else None, None
        known = self._timestamps.seconds
        event_second, said_second = known.get(event[:20]), known.get(said[:20])
        if event_second and said_second and len(event) == 30 == len(said) and event[29] == "Z" == said[29]:
            fraction, said_fraction = event[20:29], said[20:29]
            if fraction.isdecimal() and said_fraction.isdecimal():
                return event_second + int(fraction), said_second + int(said_fraction)
        return parse(event) if event else None, parse(said)

    def _settle_times(
        self, raw: RawEntry, event_ns: int | None, known_ns: int, *, from_entry: bool
    ) -> tuple[int, int, bool, bool]:
        """The same where times are missing or absurd. `known_ns` is the receive time, 0 for none."""
        receive_ns = known_ns or self._settings.received_at_ns
        if event_ns is None:
            if not raw.timestamp and not from_entry:
                raise RefusedPayload("no_timestamp", "neither timestamp nor a valid receiveTimestamp")
            if not known_ns:
                raise RefusedPayload(
                    "bad_timestamp", "timestamp is not RFC 3339, and no receive time is known"
                )
            return known_ns, receive_ns, bool(raw.timestamp), False
        latest_ns = known_ns + FUTURE_NS if known_ns else self._latest_ns
        if YEAR_2000_NS <= event_ns <= latest_ns:
            is_late = bool(known_ns) and known_ns - event_ns > self._lateness_ns
            return event_ns, receive_ns, False, is_late
        return receive_ns, receive_ns, True, False

    def _trusted_tenant(self, payload: bytes, raw: RawEntry) -> str:
        root, _, path = self._settings.trusted_tenant_field.partition(".")
        if root == "labels":
            return clean_name(read_label(payload, path))
        value: Any = {"jsonPayload": raw.json_payload, "protoPayload": raw.proto_payload}.get(root)
        for name in path.split("."):
            value = value.get(name) if isinstance(value, Mapping) else None
        return clean_name(value) if isinstance(value, str) else ""

    def _receive_minute_us(self, publish_ns: int) -> int:
        return (publish_ns or self._settings.received_at_ns) // MINUTE_NS * MINUTE_US


_RECEIVED, _LATE, _FILTERED = range(3)


class _Counts:
    """received, late and filtered per (tenant, receive minute)."""

    def __init__(self) -> None:
        self._counts: dict[tuple[str, int], list[int]] = {}

    def of(self, tenant_id: str, minute: int) -> list[int]:
        return self._counts.setdefault((tenant_id, minute), [0, 0, 0])

    def add_away(self, entry: LogEntry, why: int) -> None:
        """Count a received line that is not analyzed."""
        count = self.of(entry.tenant_id, entry.receive_time_ns // MINUTE_NS)
        count[_RECEIVED] += 1
        count[why] += 1

    def add_analyzed(self, entries: list[LogEntry]) -> None:
        """Count received lines; all at once, for that costs a fifth of counting one by one."""
        minutes = [entry.receive_time_ns // MINUTE_NS for entry in entries]
        tenants = [entry.tenant_id for entry in entries]
        for (tenant_id, minute), received in Counter(zip(tenants, minutes, strict=True)).items():
            self.of(tenant_id, minute)[_RECEIVED] += received

    def add_refused(self, letters: list[DeadLetter]) -> None:
        for letter in letters:
            self.of(letter.tenant_id, letter.receive_minute // MINUTE_US)[_RECEIVED] += 1

    def ledger(self) -> list[LedgerEntry]:
        return [
            LedgerEntry(tenant_id, minute * MINUTE_US, received, late, filtered)
            for (tenant_id, minute), (received, late, filtered) in sorted(self._counts.items())
        ]


@contextmanager
def _paused_gc() -> Iterator[None]:
    """Entries hold no cycles: collecting in the middle of a batch costs a tenth and frees nothing."""
    was_enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if was_enabled:
            gc.enable()


def _mark_request(entry: LogEntry, raw: RawEntry, source: Source) -> None:
    """HttpRequest alone is the record of a request; beside a message it may be mere context."""
    is_record = not raw.text_payload and (not raw.json_payload or "message" not in raw.json_payload)
    entry.is_request = not source.is_caller_side and (is_record or entry.latency_us >= 0)


def _apply_service_context(entry: LogEntry, payload: Mapping[str, Any]) -> None:
    """Error Reporting's serviceContext names the service where the resource does not."""
    context = payload.get("serviceContext")
    if isinstance(context, dict):
        service, version = context.get("service"), context.get("version")
        if isinstance(service, str) and service.strip():
            entry.service = clean_name(service)
        if isinstance(version, str) and not entry.revision:
            entry.revision = clean_name(version)
