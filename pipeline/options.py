"""Every option of the job, once: flags, template parameters and docs are made from `Settings`."""

from __future__ import annotations

import argparse
import re
from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Annotated, Any, Final, Literal, get_args, get_origin

from apache_beam.options.pipeline_options import PipelineOptions, StandardOptions
from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator, model_validator

from transforms.elements import NANOSECONDS, SEVERITY_NUMBERS

EARLIEST_TIME: Final = "2000-01-01T00:00:00Z"


class OptionsError(Exception):
    """An option is wrong; the message names it and the mend."""


class _In:
    """Marks the group of `--help` that an option stands in."""

    def __init__(self, group: str) -> None:
        self.group = group


INPUT, PARSE, REDACT, SUMMARIZE, DETECT, OUTPUT, RUN = (
    _In(title)
    for title in (
        "where logs come from",
        "which lines are analyzed",
        "what is hidden",
        "how lines are summarized",
        "what is an anomaly",
        "where results go",
        "how the job runs",
    )
)


class Settings(BaseModel):
    """What the job was asked to do, checked. Each field is one option of the same name."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    input: Annotated[list[str], INPUT] = Field(
        default=[],
        description="Files of LogEntries, one JSON object a line: paths or quoted globs, local or gs://, "
        ".gz, .bz2 and .zst too; '-' is standard input.",
    )
    input_subscription: Annotated[str, INPUT] = Field(
        default="",
        pattern=r"^(projects/[^/]+/subscriptions/[^/]+)?$",
        description="Pub/Sub subscription that a Cloud Logging sink feeds: projects/P/subscriptions/S. "
        "The job then runs until it is stopped.",
    )
    tenant: Annotated[str, INPUT] = Field(
        default="",
        description="Tenant that all lines of this input belong to. Without it, the project in logName is the tenant.",
    )
    trusted_tenant_field: Annotated[str, INPUT] = Field(
        default="",
        description="Field of the LogEntry that names the tenant, such as labels.tenant. Whoever writes "
        "logs can write it: name one only if you trust them all.",
    )
    received_at: Annotated[str, INPUT] = Field(
        default=EARLIEST_TIME,
        description="When the lines were received, for lines that do not say so (RFC 3339). They count in "
        "the ledger under this minute, and lines with an absurd time are moved to it.",
    )
    services: Annotated[list[str], PARSE] = Field(
        default=[], description="Only these services, comma-separated; others are counted as filtered."
    )
    min_severity: Annotated[str, PARSE] = Field(
        default="DEFAULT", description="Lines below this severity are counted as filtered."
    )
    max_line_bytes: Annotated[int, PARSE] = Field(
        default=1 << 20, ge=1024, le=10 << 20, description="Longer lines become dead letters."
    )
    redaction_key_file: Annotated[str, REDACT] = Field(
        default="",
        description="File (local or gs://) that holds the master key of placeholders, at least 16 bytes (openssl rand -hex 32 makes one). "
        "Without it a fixed key is used that everybody knows: fit for a demo only.",
    )
    redaction_key_version: Annotated[int, REDACT] = Field(
        default=1, ge=1, description="Version of the master key, written into each placeholder."
    )
    redact_patterns: Annotated[list[str], REDACT] = Field(
        default=[],
        description="Ids of your own to hide, as kind=RE2, e.g. 'customer=CU-[0-9]{8}'. Repeat the option for more.",
    )
    window_seconds: Annotated[int, SUMMARIZE] = Field(
        default=60, ge=10, le=600, description="Length of a window."
    )
    deduplicate: Annotated[Literal["off", "exact"], SUMMARIZE] = Field(
        default="off",
        description="'exact' drops copies of a line (same log, time and insertId) before counting; "
        "it costs speed and memory.",
    )
    rules: Annotated[str, DETECT] = Field(
        default="",
        description="YAML file of rules (local or gs://) that add to or change the built-in ones. "
        "A running job takes changes of it within a minute.",
    )
    confidence_floor: Annotated[float, DETECT] = Field(
        default=0.7, ge=0, le=1, description="Anomalies below this confidence are kept, but marked."
    )
    store: Annotated[str, OUTPUT] = Field(
        default="aiops.duckdb", description="DuckDB file for all tables; made if it does not exist."
    )
    anomaly_topic: Annotated[str, OUTPUT] = Field(
        default="",
        pattern=r"^(projects/[^/]+/topics/[^/]+)?$",
        description="Pub/Sub topic that anomalies are published to as JSON: projects/P/topics/T.",
    )
    runner: Annotated[str, RUN] = Field(
        default="DirectRunner",
        description="DirectRunner runs here; DataflowRunner needs --project, --region and --temp_location.",
    )

    @field_validator("min_severity")
    @classmethod
    def _known_severity(cls, name: str) -> str:
        if name.upper() not in SEVERITY_NUMBERS:
            raise ValueError(f"must be one of {', '.join(SEVERITY_NUMBERS)}")
        return name.upper()

    @field_validator("received_at")
    @classmethod
    def _absolute_time(cls, text: str) -> str:
        moment = datetime.fromisoformat(text)
        if moment.tzinfo is None or moment < datetime.fromisoformat(EARLIEST_TIME):
            raise ValueError(
                f"must have a time zone and be {EARLIEST_TIME} or later, e.g. 2026-11-21T08:00:00Z"
            )
        return text

    @model_validator(mode="after")
    def _one_input(self) -> Settings:
        if bool(self.input) == bool(self.input_subscription):
            raise ValueError("give --input or --input_subscription, one of them")
        return self

    @property
    def received_at_ns(self) -> int:
        return int(datetime.fromisoformat(self.received_at).astimezone(UTC).timestamp()) * NANOSECONDS

    @property
    def is_streaming(self) -> bool:
        return bool(self.input_subscription)


def parse_options(arguments: Sequence[str], program: str = "aiops run") -> tuple[Settings, PipelineOptions]:
    """Settings, and Beam's own options for whatever else stands on the command line.

    Raises OptionsError with all that is wrong, a line each.
    """
    parser = make_parser(program)
    known, beam_arguments = parser.parse_known_args(list(arguments))
    given = {name: value for name, value in vars(known).items() if value is not None}
    try:
        settings = Settings(**given)
    except ValidationError as error:
        raise OptionsError("\n".join(_explain(problem) for problem in error.errors())) from None
    options = PipelineOptions(beam_arguments)
    _refuse_unknown(options, beam_arguments)
    options.view_as(StandardOptions).runner = settings.runner
    options.view_as(StandardOptions).streaming = settings.is_streaming
    return settings, options


def make_parser(program: str) -> argparse.ArgumentParser:
    """The command line of `Settings`; every flag can be written with _ or with -."""
    parser = argparse.ArgumentParser(
        prog=program,
        allow_abbrev=False,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        description="Read logs, find anomalies, write them to a store.",
        epilog="examples:\n"
        "  aiops run --input 'logs/*.ndjson.gz' --store aiops.duckdb\n"
        "  gcloud logging read 'severity>=ERROR' --format json | jq -c '.[]' | aiops run --input -\n"
        "  aiops run --input_subscription projects/P/subscriptions/S --anomaly_topic projects/P/topics/T\n\n"
        "Options of Apache Beam and Dataflow (--project, --region, --temp_location, ...) are passed on.",
    )
    groups: dict[str, Any] = {}
    for name, field in Settings.model_fields.items():
        title = next(mark.group for mark in field.metadata if isinstance(mark, _In))
        group = groups.setdefault(title, None) or parser.add_argument_group(title)
        groups[title] = group
        flags = list(dict.fromkeys([f"--{name}", f"--{name.replace('_', '-')}"]))
        default = f" Default: {field.default}." if field.default not in ("", []) else ""
        group.add_argument(
            *flags, help=f"{field.description}{default}".replace("%", "%%"), **_value(name, field.annotation)
        )
    return parser


def _value(name: str, annotation: Any) -> dict[str, Any]:
    if name == "services":
        return {"type": _split, "metavar": "A,B"}
    if name == "input":
        return {"action": "extend", "nargs": "+", "metavar": "FILE"}
    if annotation == list[str]:
        return {"action": "append", "metavar": "TEXT"}
    if get_origin(annotation) is Literal:
        return {"choices": get_args(annotation)}
    return {"metavar": annotation.__name__.upper()}


def _split(text: str) -> list[str]:
    return [part for part in re.split(r"[,\s]+", text) if part]


def _explain(problem: Any) -> str:
    where = "".join(f"--{part}: " for part in problem["loc"][:1])
    return where + problem["msg"].removeprefix("Value error, ")


def _refuse_unknown(options: PipelineOptions, arguments: Sequence[str]) -> None:
    known = options.get_all_options(drop_default=False)
    for argument in arguments:
        name = argument.removeprefix("--").split("=")[0]
        if argument.startswith("--") and name not in known and not name.startswith("no_"):
            raise OptionsError(f"unknown option {argument.split('=')[0]}; see `aiops run --help`")
