"""Every option of the job, once: flags, template parameters and docs are made from `Settings`."""

from __future__ import annotations

import re
from datetime import UTC, datetime
from typing import Annotated, Final, Literal

from pydantic import BaseModel, ConfigDict, Field, field_validator, model_validator

from transforms.alert.settings import GROUP_LABELS, GroupLabel
from transforms.analyze.settings import DEFAULT_MODEL
from transforms.elements import NANOSECONDS, SEVERITY_NUMBERS
from transforms.parse.settings import ParseSettings
from transforms.redact.settings import MAXIMUM_KEY_VERSION

EARLIEST_TIME: Final = "2000-01-01T00:00:00Z"
LATEST_TIME: Final = "2200-01-01T00:00:00Z"  # nanoseconds of later years do not fit 64 bits

# As Pub/Sub and Beam take them.
_PROJECT_ID: Final = r"[a-z][-a-z0-9:.]{4,61}[a-z0-9]"
_PROJECT: Final = f"projects/{_PROJECT_ID}"
DATASET_PATTERN: Final = rf"{_PROJECT_ID}\.[A-Za-z0-9_]{{1,1024}}"  # PROJECT.DATASET
_RESOURCE: Final = r"[A-Za-z][-A-Za-z0-9_.~+%]{2,254}"


_SUBSCRIPTION: Final = re.compile(f"{_PROJECT}/subscriptions/{_RESOURCE}")
_TOPIC: Final = re.compile(f"{_PROJECT}/topics/{_RESOURCE}")
_SECRET: Final = re.compile(
    r"projects/[a-z0-9][-a-z0-9:.]{4,61}[a-z0-9]/secrets/[-\w]{1,255}/versions/[1-9]\d{0,5}"
)
_TENANT: Final = re.compile(r"[^\x00-\x1f\x7f]{1,200}")


class OptionsError(Exception):
    """An option is wrong; the message names it and the mend."""


class _In:
    """Marks the group of `--help` that an option stands in."""

    def __init__(self, group: str) -> None:
        self.group = group


INPUT, PARSE, REDACT, SUMMARIZE, DETECT, GEMINI, ALERT, OUTPUT, RUN = (
    _In(title)
    for title in (
        "where logs and metrics come from",
        "which lines are analyzed",
        "what is hidden",
        "how lines are summarized",
        "what is an anomaly",
        "what Gemini is asked, see docs/gemini.md",
        "what is an alert",
        "where results go",
        "how the job runs",
    )
)


class Settings(BaseModel):
    """What the job was asked to do, checked. Each field is one option of the same name."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    input: Annotated[list[str], INPUT] = Field(
        default=[],
        description="Files of LogEntries: paths or quoted globs, local or gs://; '-' is standard input. "
        "One JSON object a line, or an array as gcloud prints it; gzip, bzip2 and zstd are unpacked.",
    )
    input_subscription: Annotated[str, INPUT] = Field(
        default="",
        pattern=f"^({_PROJECT}/subscriptions/{_RESOURCE})?$",
        description="Pub/Sub subscription that a Cloud Logging sink feeds: projects/P/subscriptions/S. "
        "The job then runs until it is stopped.",
    )
    metrics: Annotated[list[str], INPUT] = Field(
        default=[],
        description="Files of Cloud Monitoring TimeSeries, with or without logs: paths or globs as for "
        '--input. One JSON object a line, an array, or answers of the API ({"timeSeries": [...]}).',
    )
    metrics_subscription: Annotated[str, INPUT] = Field(
        default="",
        pattern=f"^({_PROJECT}/subscriptions/{_RESOURCE})?$",
        description="Pub/Sub subscription to messages of TimeSeries: projects/P/subscriptions/S. "
        "The job then runs until it is stopped.",
    )
    tenant: Annotated[str, INPUT] = Field(
        default="",
        max_length=200,
        pattern=r"^[^\x00-\x1f\x7f]*$",
        description="Tenant that all lines and metrics of this input belong to. "
        "Without it, the project in logName is the tenant, for metrics that of the resource.",
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
        default="DEFAULT",
        description="Lines below this severity (DEBUG, INFO, NOTICE, WARNING, ERROR, ...) are counted "
        "as filtered.",
    )
    max_line_bytes: Annotated[int, PARSE] = Field(
        default=1 << 20,
        ge=1024,
        le=10 << 20,
        description="Longer lines become dead letters; 1024 to 10485760.",
    )
    redaction_key_file: Annotated[str, REDACT] = Field(
        default="",
        description="File (local or gs://) that holds the master key of placeholders, at least 16 bytes "
        "(openssl rand -hex 32 makes one). "
        "Without it a fixed key is used that everybody knows, so that what was hidden can be guessed: "
        "fit for a demo only.",
    )
    redaction_key_secret: Annotated[str, REDACT] = Field(
        default="",
        description="Version of a secret of Secret Manager that holds the master key, in place of a file: "
        "projects/P/secrets/S/versions/V. The job's account needs roles/secretmanager.secretAccessor on it.",
    )
    redaction_key_version: Annotated[int, REDACT] = Field(
        default=0,
        ge=0,
        le=MAXIMUM_KEY_VERSION,
        description="Version of the master key, written into each placeholder; 0 for that of the secret, "
        "1 where there is none.",
    )
    redact_patterns: Annotated[list[str], REDACT] = Field(
        default=[],
        description="Ids of your own to hide, as kind=RE2, e.g. 'customer=CU-[0-9]{8}'. "
        "Repeat the option for more.",
    )
    window_seconds: Annotated[int, SUMMARIZE] = Field(
        default=60, ge=10, le=600, description="Length of a window, 10 to 600."
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
    baselines: Annotated[str, DETECT] = Field(
        default="",
        description="YAML file (local or gs://) on learned detection: calendars, maintenance, single "
        "signals, numeric fields of lines. Read once, at the start; `aiops baselines check` explains it.",
    )
    warm_start: Annotated[list[str], DETECT] = Field(
        default=[],
        description="Files that `aiops warm-start` wrote (local or gs://): what was learned before, so that "
        "nothing has to be learned again. Checked before the job starts.",
    )
    snapshot_minutes: Annotated[int, DETECT] = Field(
        default=60,
        ge=0,
        le=1440,
        description="Minutes of event time between snapshots of what is learned, in the table baselines; "
        "0 for none.",
    )
    correlation_minutes: Annotated[int, DETECT] = Field(
        default=15,
        ge=1,
        le=240,
        description="Anomalies of one incident are at most this many minutes apart; without a further one "
        "it is closed after them.",
    )
    confidence_floor: Annotated[float, DETECT] = Field(
        default=0.7, ge=0, le=1, description="Anomalies below this confidence, 0 to 1, are kept, but marked."
    )
    enable_gemini_analysis: Annotated[bool, GEMINI] = Field(
        default=False,
        description="Let Gemini look at windows that are not as usual, and tell of incidents in words. "
        "It sees redacted patterns and figures, never raw lines. Off by default: it costs money.",
    )
    gemini_model: Annotated[str, GEMINI] = Field(
        default=DEFAULT_MODEL, pattern=r"^[a-zA-Z0-9._@/-]{1,200}$", description="Model on Vertex AI."
    )
    gemini_project: Annotated[str, GEMINI] = Field(
        default="",
        pattern=f"^({_PROJECT_ID})?$",
        description="Google Cloud project that pays for Gemini; that of your credentials without it.",
    )
    gemini_location: Annotated[str, GEMINI] = Field(
        default="global",
        pattern=r"^[a-z0-9-]{1,40}$",
        description="Where Gemini is asked, such as europe-west1; it says where data is processed.",
    )
    gemini_base_url: Annotated[str, GEMINI] = Field(
        default="",
        pattern=r"^(https?://[^\s\x00-\x1f]{1,500})?$",
        description="Another server that speaks the same API, http(s)://HOST[:PORT]. Unless it is Google's, "
        "it is sent no credentials.",
    )
    gemini_temperature: Annotated[float, GEMINI] = Field(
        default=1.0, ge=0, le=2, description="How freely the model speaks; models of 3 and up want 1."
    )
    gemini_timeout_seconds: Annotated[int, GEMINI] = Field(
        default=60, ge=1, le=600, description="One attempt takes at most this long, all together twice that."
    )
    gemini_concurrency: Annotated[int, GEMINI] = Field(
        default=4, ge=1, le=64, description="Requests at a time in one worker process."
    )
    batch_size: Annotated[int, GEMINI] = Field(
        default=100, ge=10, le=1000, description="Windows of a tenant that are analyzed together, 10 to 1000."
    )
    batch_timeout_seconds: Annotated[int, GEMINI] = Field(
        default=300,
        ge=60,
        le=3600,
        description="A batch waits for more windows at most this long, 60 to 3600.",
    )
    gemini_repeat_minutes: Annotated[int, GEMINI] = Field(
        default=360,
        ge=1,
        le=10_080,
        description="Evidence that Gemini has judged is not asked about again for so long.",
    )
    gemini_tokens_per_day: Annotated[int, GEMINI] = Field(
        default=2_000_000, ge=0, le=10**12, description="Tokens that a tenant may use a day, paced over it."
    )
    gemini_requests_per_day: Annotated[int, GEMINI] = Field(
        default=2_000, ge=0, le=10**9, description="Requests that a tenant may use a day, paced over it."
    )
    gemini_prices: Annotated[str, GEMINI] = Field(
        default="",
        description="YAML file (local or gs://) of prices, see docs/cost.md; without it list prices of "
        "October 2026.",
    )
    catalog: Annotated[str, ALERT] = Field(
        default="",
        description="YAML file (local or gs://) of services: owner, tier, channel, runbook, SLO. Read once, "
        "at the start; `aiops catalog check` explains it.",
    )
    group_by: Annotated[tuple[GroupLabel, ...], ALERT] = Field(
        default=("service",),
        description="What the anomalies of one alert have in common, comma-separated: service, type, "
        "endpoint, detector, pattern.",
    )
    group_wait_seconds: Annotated[int, ALERT] = Field(
        default=30, ge=0, le=3600, description="Anomalies of a group that come within it open one alert."
    )
    group_interval_seconds: Annotated[int, ALERT] = Field(
        default=300, ge=1, le=86_400, description="At most one update for new findings in this time."
    )
    resolve_after_seconds: Annotated[int, ALERT] = Field(
        default=900, ge=60, le=604_800, description="An alert without an anomaly for so long is resolved."
    )
    reopen_within_seconds: Annotated[int, ALERT] = Field(
        default=3600,
        ge=0,
        le=604_800,
        description="The same group again within it is the same alert again, later a new one.",
    )
    commands: Annotated[list[str], ALERT] = Field(
        default=[],
        description="Pub/Sub subscription that people's commands come from, and the tenant whose alerts they "
        "are about: TENANT=projects/P/subscriptions/S. Repeat the option for more tenants. Whoever may "
        "publish there may act.",
    )
    alert_events: Annotated[list[str], ALERT] = Field(
        default=[],
        description="Files that `aiops alerts export` wrote (local or gs://): alerts of the past, so that a "
        "job without state knows them. Those of --store are known without it.",
    )
    store: Annotated[str, OUTPUT] = Field(
        default="aiops.duckdb",
        min_length=1,
        description="DuckDB file for all tables; made if it does not exist. Not used with --dataset.",
    )
    dataset: Annotated[str, OUTPUT] = Field(
        default="",
        pattern=f"^({DATASET_PATTERN})?$",
        description="BigQuery dataset that all tables are in, instead of --store: PROJECT.DATASET, such as "
        "acme-prod.aiops. The tables must be there; Terraform makes them, see docs/deploy.md.",
    )
    failed_rows: Annotated[str, OUTPUT] = Field(
        default="",
        pattern=r"^[^\x00-\x1f\x7f*?\[\]]*$",
        description="Folder (local or gs://) that rows are kept in whole while BigQuery does not take them; "
        "`aiops replay failed-rows` sends them again. Needed with --dataset.",
    )
    anomaly_topic: Annotated[str, OUTPUT] = Field(
        default="",
        pattern=f"^({_PROJECT}/topics/{_RESOURCE})?$",
        description="Pub/Sub topic that anomalies are published to as JSON: projects/P/topics/T.",
    )
    alert_topic: Annotated[str, OUTPUT] = Field(
        default="",
        description="Pub/Sub topic that alert events are published to as CloudEvents: projects/P/topics/T. "
        "With {tenant} in its name, each tenant has a topic of its own.",
    )
    dead_letter_topic: Annotated[str, OUTPUT] = Field(
        default="",
        pattern=f"^({_PROJECT}/topics/{_RESOURCE})?$",
        description="Pub/Sub topic that dead letters, redacted, are published to as JSON: "
        "projects/P/topics/T. They are rows of dead_letters in any case.",
    )
    heartbeat_topic: Annotated[str, OUTPUT] = Field(
        default="",
        pattern=f"^({_PROJECT}/topics/{_RESOURCE})?$",
        description="Pub/Sub topic that a running job publishes a CloudEvent to each minute, as a sign of "
        "life: projects/P/topics/T.",
    )
    runner: Annotated[str, RUN] = Field(
        default="DirectRunner",
        description="Beam runner: DirectRunner, which runs here, or, with --dataset, DataflowRunner.",
    )
    log_format: Annotated[Literal["text", "json"], RUN] = Field(
        default="text",
        description="What the job says about itself on standard error: lines for people, or JSON with "
        "severity, message and fields for a collector of logs.",
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
        earliest, latest = map(datetime.fromisoformat, (EARLIEST_TIME, LATEST_TIME))
        try:
            moment = datetime.fromisoformat(text)
        except ValueError:
            raise ValueError("must be an RFC 3339 time, e.g. 2026-11-21T08:00:00Z") from None
        if moment.tzinfo is None or not earliest <= moment < latest:
            raise ValueError(f"must have a time zone and be from {EARLIEST_TIME} to {LATEST_TIME}")
        return text

    @field_validator("trusted_tenant_field")
    @classmethod
    def _field_of_an_entry(cls, path: str) -> str:
        try:
            ParseSettings(trusted_tenant_field=path)
        except ValueError as error:
            raise ValueError(str(error).removeprefix("trusted_tenant_field ")) from None
        return path

    @field_validator("group_by", mode="before")
    @classmethod
    def _known_labels(cls, labels: list[str]) -> list[str]:
        unknown = next((label for label in labels if label not in GROUP_LABELS), None)
        if unknown is not None or not labels:
            raise ValueError(f"must be some of {', '.join(GROUP_LABELS)}")
        return labels

    @field_validator("redaction_key_secret")
    @classmethod
    def _pinned_secret(cls, name: str) -> str:
        if name.endswith("/versions/latest"):
            raise ValueError(
                "must name the number of a version, not latest: under a running job another key would give "
                "the same values other placeholders"
            )
        if name and not _SECRET.fullmatch(name):
            raise ValueError("must look like projects/P/secrets/S/versions/V, V a number")
        return name

    @field_validator("commands")
    @classmethod
    def _tenants_and_subscriptions(cls, commands: list[str]) -> list[str]:
        pairs = [text.rpartition("=")[::2] for text in commands]
        for tenant, subscription in pairs:
            if not _TENANT.fullmatch(tenant) or not _SUBSCRIPTION.fullmatch(subscription):
                raise ValueError("must look like TENANT=projects/P/subscriptions/S, with their full names")
        for number, name in ((0, "tenant"), (1, "subscription")):
            names = [pair[number] for pair in pairs]
            if len(set(names)) < len(names):
                raise ValueError(f"has a {name} twice; each tenant has one subscription of its own")
        return commands

    @field_validator("alert_topic")
    @classmethod
    def _topic_or_template(cls, topic: str) -> str:
        if topic and not _TOPIC.fullmatch(topic.replace("{tenant}", "tenant")):
            raise ValueError(
                "must look like projects/P/topics/T, with their full names; {tenant} may stand in the last"
            )
        if "{tenant}" in topic.rpartition("/")[0]:
            raise ValueError("must have {tenant} in the name of the topic, not in that of the project")
        return topic

    @model_validator(mode="after")
    def _one_input(self) -> Settings:
        files = {"--input": self.input, "--metrics": self.metrics}
        streams = {
            "--input_subscription": self.input_subscription,
            "--metrics_subscription": self.metrics_subscription,
        }
        given = [name for name, value in (files | streams).items() if value]
        if not given:
            raise ValueError("give --input or --input_subscription, or metrics; none is given")
        for file, stream in zip(files, streams, strict=True):
            if file in given and stream in given:
                raise ValueError(f"give {file} or {stream}, one of them; both are given")
        mixed = [name for name in given if name in files]
        if mixed and len(mixed) < len(given):
            other = next(name for name in given if name in streams)
            raise ValueError(
                f"{mixed[0]} names files, which end, beside {other}, which does not: "
                "read the files in a run of their own"
            )
        if self.commands and not self.is_streaming:
            raise ValueError(
                "--commands names subscriptions, which do not end, beside files, which do: "
                "act on the alerts of a store with `aiops alerts`"
            )
        if self.heartbeat_topic and not self.is_streaming:
            raise ValueError(
                "--heartbeat_topic is for a job that reads subscriptions: over files, leave it out"
            )
        if self.redaction_key_file and self.redaction_key_secret:
            raise ValueError(
                "give --redaction_key_file or --redaction_key_secret, one of them; both are given"
            )
        if "-" in self.input and "-" in self.metrics:
            raise ValueError("--input - and --metrics - are both standard input: give one of them a file")
        return self

    @model_validator(mode="after")
    def _one_output(self) -> Settings:
        if self.runner not in {"DirectRunner", "DataflowRunner"}:
            raise ValueError("--runner: must be DirectRunner, or DataflowRunner with --dataset")
        on_workers = self.runner == "DataflowRunner"
        if on_workers and not self.dataset:
            raise ValueError(
                "--runner: DataflowRunner would write the store on a worker's disk, where it is lost; "
                "give --dataset PROJECT.DATASET, or leave the option out"
            )
        if self.dataset and "store" in self.model_fields_set:
            raise ValueError("give --store or --dataset, one of them; both are given")
        if bool(self.dataset) != bool(self.failed_rows):
            raise ValueError(
                "give --failed_rows FOLDER with --dataset: rows that BigQuery does not take are kept there"
                if self.dataset
                else "--failed_rows keeps what a --dataset does not take; without one, leave it out"
            )
        if on_workers and not self.failed_rows.startswith("gs://"):
            raise ValueError("--failed_rows: must be gs://BUCKET/FOLDER on Dataflow, whose disks are lost")
        return self

    @property
    def reads_logs(self) -> bool:
        return bool(self.input or self.input_subscription)

    @property
    def reads_metrics(self) -> bool:
        return bool(self.metrics or self.metrics_subscription)

    @property
    def received_at_ns(self) -> int:
        return int(datetime.fromisoformat(self.received_at).astimezone(UTC).timestamp()) * NANOSECONDS

    @property
    def key_version(self) -> int:
        """Version of the master key of redaction."""
        version = self.redaction_key_secret.rpartition("/")[2]
        return self.redaction_key_version or int(version or 1)

    @property
    def command_subscriptions(self) -> list[tuple[str, str]]:
        """(tenant, subscription) of --commands."""
        return [text.rpartition("=")[::2] for text in self.commands]

    @property
    def is_streaming(self) -> bool:
        return bool(self.input_subscription or self.metrics_subscription)


def option_group(name: str) -> str:
    """The group of `--help` that the option stands in."""
    return next(mark.group for mark in Settings.model_fields[name].metadata if isinstance(mark, _In))
