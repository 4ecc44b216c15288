"""What an operator may set about parsing."""

from __future__ import annotations

import time

import msgspec

from transforms.timestamps import YEAR_2000_NS


class MeasuredField(msgspec.Struct, frozen=True, order=True):
    """A numeric field that is read from lines of services that the glob `service` stands for.

    `path` is dotted and begins with "jsonPayload.".
    """

    name: str
    path: str
    service: str = "*"


class ParseSettings(msgspec.Struct, frozen=True, kw_only=True):
    """Settings of ParseLogEntries; the same for the whole run, so that no bundle differs.

    `services` keeps only these services; empty keeps all. `min_severity` is a number of
    LogSeverity (0 keeps all). `received_at_ns` stands in for the receive time of lines that
    have neither a receiveTimestamp nor a publish time. `now_ns` is the start of the run: what
    lies after it is in the future, where no receive time says otherwise.

    `trusted_tenant_field` is a dotted path such as `labels.tenant`,
    `resource.labels.namespace_name` or `jsonPayload.tenant` that the operator trusts to name
    the tenant. Empty trusts no field that a log's writer controls.

    `fields` become the measures of a line, by name; without any, nothing is looked for.
    """

    services: frozenset[str] = frozenset()
    min_severity: int = 0
    max_payload_bytes: int = 1_048_576
    lateness_seconds: int = 600
    received_at_ns: int = YEAR_2000_NS
    now_ns: int = msgspec.field(default_factory=time.time_ns)
    trusted_tenant_field: str = ""
    fields: tuple[MeasuredField, ...] = ()

    def __post_init__(self) -> None:
        if self.max_payload_bytes < 1:
            raise ValueError("max_payload_bytes must be at least 1: give a size in bytes, e.g. 1048576")
        if self.lateness_seconds < 0:
            raise ValueError("lateness_seconds must not be negative: give seconds, e.g. 600")
        roots = ("labels.", "resource.labels.", "jsonPayload.", "protoPayload.")
        if self.trusted_tenant_field and not self.trusted_tenant_field.startswith(roots):
            raise ValueError(f"trusted_tenant_field must start with one of {', '.join(roots)}")
