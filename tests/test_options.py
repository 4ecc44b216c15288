"""The command line of the job: each option, and what is said of a wrong one."""

from __future__ import annotations

import pytest
from apache_beam.options.pipeline_options import GoogleCloudOptions, StandardOptions

from pipeline.options import make_parser, parse_options
from pipeline.settings import OptionsError, Settings
from pipeline.stage_settings import redact_settings

FILES = ["--input", "a.json"]
DATASET = [*FILES, "--dataset", "acme-prod.aiops", "--failed_rows", "failed-rows"]
STREAM = ["--input_subscription", "projects/acme-prod/subscriptions/logs"]
COMMANDS = "projects/acme-prod/subscriptions/commands"


def refused(*arguments: str) -> str:
    with pytest.raises(OptionsError) as raised:
        parse_options(arguments)
    return str(raised.value)


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ([], "none is given"),
        ([*FILES, "--input_subscription", "projects/acme-prod/subscriptions/logs"], "both are given"),
        (
            ["--metrics", "m.json", "--metrics_subscription", "projects/acme-prod/subscriptions/metrics"],
            "give --metrics or --metrics_subscription",
        ),
        (
            ["--metrics", "m.json", "--input_subscription", "projects/acme-prod/subscriptions/logs"],
            "--metrics names files, which end, beside --input_subscription",
        ),
        (
            [*FILES, "--metrics_subscription", "projects/acme-prod/subscriptions/metrics"],
            "--input names files, which end, beside --metrics_subscription",
        ),
        (["--input", "-", "--metrics", "-"], "both standard input"),
        (
            [*FILES, "--heartbeat_topic", "projects/acme-prod/topics/heartbeats"],
            "--heartbeat_topic is for a job that reads subscriptions",
        ),
        (
            ["--metrics_subscription", "s"],
            "--metrics_subscription: must look like projects/P/subscriptions/S",
        ),
        ([*FILES, "--group_by", "service,host"], "--group_by: must be some of service, type, endpoint"),
        ([*FILES, "--group_by", ""], "--group_by: must be some of service"),
        ([*FILES, "--resolve_after_seconds", "5"], "--resolve_after_seconds: must be greater than or equal"),
        ([*FILES, "--alert_topic", "alerts"], "--alert_topic: must look like projects/P/topics/T"),
        ([*FILES, "--alert_topic", "projects/acme-{tenant}/topics/alerts"], "--alert_topic: must"),
        ([*FILES, "--commands", f"acme={COMMANDS}"], "--commands names subscriptions, which do not end"),
        ([*STREAM, "--commands", COMMANDS], "--commands: must look like TENANT=projects/P/subscriptions/S"),
        ([*STREAM, "--commands", f"={COMMANDS}"], "--commands: must look like TENANT="),
        (
            [*STREAM, "--commands", f"acme={COMMANDS}", "--commands", f"globex={COMMANDS}"],
            "--commands: has a subscription twice",
        ),
        (
            [*STREAM, "--commands", f"acme={COMMANDS}", "--commands", f"acme={COMMANDS}2"],
            "--commands: has a tenant twice",
        ),
        (["--input"], "--input: expected at least one argument"),
        (["--inputt", "x"], "--inputt: unknown option; did you mean --input?"),
        ([*FILES, "--min-sev", "ERROR"], "did you mean --min_severity?"),
        (["a.json"], "files are named with --input a.json"),
        ([*FILES, "--project=p", "b.json"], "files are named with --input b.json"),
        ([*FILES, "--no_such"], "--no_such: unknown option"),
        ([*FILES, "--project"], "--project: expected one argument"),
        ([*FILES, "--direct_num_workers", "many"], "--direct_num_workers: invalid int value: 'many'"),
        ([*FILES, "--window_seconds", "5"], "--window_seconds: must be greater than or equal to 10"),
        ([*FILES, "--window_seconds", "x"], "--window_seconds: must be a whole number"),
        ([*FILES, "--confidence_floor", "x"], "--confidence_floor: must be a number"),
        ([*FILES, "--confidence_floor", "nan"], "--confidence_floor: must be"),
        ([*FILES, "--max_line_bytes", "1k"], "--max_line_bytes: must be a whole number"),
        ([*FILES, "--min_severity", "BAD"], "--min_severity: must be one of DEFAULT, DEBUG"),
        ([*FILES, "--received_at", "yesterday"], "--received_at: must be an RFC 3339 time"),
        ([*FILES, "--received_at", "2026-01-01"], "--received_at: must have a time zone"),
        (
            [*FILES, "--received_at", "9999-01-01T00:00:00Z"],
            "--received_at: must have a time zone and be from",
        ),
        ([*FILES, "--deduplicate", "maybe"], "--deduplicate: invalid choice: 'maybe'"),
        ([*FILES, "--trusted_tenant_field", "x.y"], "--trusted_tenant_field: must start with one of labels."),
        ([*FILES, "--tenant", "a\x1b[31m"], "--tenant: must not hold control characters"),
        ([*FILES, "--store", ""], "--store: must not be empty"),
        ([*FILES, "--runner", "DataflowRunner"], "--runner: DataflowRunner would write the store"),
        ([*FILES, "--runner", "FlinkRunner"], "--runner: must be DirectRunner, or DataflowRunner with"),
        ([*DATASET, "--runner", "DataflowRunner"], "--failed_rows: must be gs://BUCKET/FOLDER"),
        ([*DATASET, "--store", "a.duckdb"], "give --store or --dataset, one of them"),
        ([*FILES, "--dataset", "acme-prod.aiops"], "give --failed_rows FOLDER with --dataset"),
        ([*FILES, "--failed_rows", "f"], "--failed_rows keeps what a --dataset does not take"),
        ([*DATASET, "--failed_rows", "f*"], "--failed_rows: must be a folder, without"),
        ([*FILES, "--dataset", "aiops"], "--dataset: must be a project and a dataset, e.g. acme-prod.aiops"),
        ([*FILES, "--anomaly_topic", "t"], "--anomaly_topic: must look like projects/P/topics/T"),
        (["--input_subscription", "projects/p/subscriptions/s"], "--input_subscription: must look like"),
        (["--input_subscription", "s"], "--input_subscription: must look like projects/P/subscriptions/S"),
    ],
)
def test_a_wrong_option_is_named_with_the_mend(arguments: list[str], said: str) -> None:
    """Each error names the option and what it takes, on one line and without a usage page."""
    message = refused(*arguments)
    assert said in message
    assert "\n" not in message


def test_dataflow_is_for_datasets() -> None:
    """With a dataset, and a bucket for rows that it does not take, the job may run on Dataflow."""
    settings, _ = parse_options([*DATASET, "--failed_rows", "gs://b/f", "--runner", "DataflowRunner"])
    assert (settings.dataset, settings.failed_rows) == ("acme-prod.aiops", "gs://b/f")


def test_all_wrong_values_are_said_at_once() -> None:
    """Two mistakes give two lines."""
    assert len(refused(*FILES, "--window_seconds", "1", "--min_severity", "BAD").splitlines()) == 2


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--redact_patterns", "customer"], "write kind=RE2"),
        (["--redact_patterns", "customer=("], "not valid RE2"),
        (["--redact_patterns", "Customer=a"], "kind 'Customer'"),
        (["--redact_patterns", "customer=a*"], "matches the empty string"),
        (
            ["--redaction_key_file", "/nonexistent/key"],
            "--redaction_key_file /nonexistent/key: cannot be read",
        ),
        (["--redaction_key_file", "/"], "--redaction_key_file /: cannot be read"),
    ],
)
def test_a_wrong_redaction_is_refused_at_launch(arguments: list[str], said: str) -> None:
    """Patterns and the key are checked before anything is read."""
    settings, _ = parse_options([*FILES, *arguments])
    with pytest.raises(OptionsError) as raised:
        redact_settings(settings)
    assert said in str(raised.value)


def test_options_take_underscores_and_hyphens() -> None:
    """--min-severity=ERROR and --min_severity ERROR are the same."""
    one, _ = parse_options([*FILES, "--min-severity=error", "--window-seconds", "10"])
    other, _ = parse_options([*FILES, "--min_severity", "ERROR", "--window_seconds=10"])
    assert one == other
    assert (one.min_severity, one.window_seconds) == ("ERROR", 10)


@pytest.mark.parametrize(
    ("arguments", "logs", "metrics", "streaming"),
    [
        (FILES, True, False, False),
        (["--metrics", "m.json", "n.json"], False, True, False),
        ([*FILES, "--metrics", "m.json"], True, True, False),
        (["--metrics_subscription", "projects/acme-prod/subscriptions/metrics"], False, True, True),
        (
            [
                *("--input_subscription", "projects/acme-prod/subscriptions/logs"),
                *("--metrics-subscription", "projects/acme-prod/subscriptions/metrics"),
            ],
            True,
            True,
            True,
        ),
    ],
)
def test_logs_and_metrics_are_read_alone_or_together(
    arguments: list[str], logs: bool, metrics: bool, streaming: bool
) -> None:
    """A job streams when it has a subscription."""
    settings, options = parse_options(arguments)
    assert (settings.reads_logs, settings.reads_metrics, settings.is_streaming) == (logs, metrics, streaming)
    assert options.view_as(StandardOptions).streaming is streaming


def test_options_of_beam_are_passed_on() -> None:
    """What is not ours but Beam's reaches the pipeline options."""
    settings, options = parse_options([*FILES, "b.json", "--project", "p", "--services", "a, b"])
    assert options.view_as(GoogleCloudOptions).project == "p"
    assert options.view_as(StandardOptions).streaming is False
    assert settings.input == ["a.json", "b.json"]
    assert settings.services == ["a", "b"]


def test_help_fits_80_columns_and_describes_every_option(monkeypatch: pytest.MonkeyPatch) -> None:
    """Every setting has an entry, and no line is wider than a small terminal."""
    monkeypatch.setenv("COLUMNS", "80")
    text = make_parser("aiops run").format_help()
    assert max(map(len, text.splitlines())) <= 80
    for name, field in Settings.model_fields.items():
        assert f"--{name}" in text
        assert field.description


def test_options_of_alerts() -> None:
    """Grouping is a list, commands are named by tenant, and a topic may have the tenant in its name."""
    settings, _ = parse_options(
        [
            *STREAM,
            *("--group-by", "service,type", "--commands", f"a=b={COMMANDS}"),
            *("--alert_topic", "projects/acme-prod/topics/alerts-{tenant}"),
        ]
    )
    assert settings.group_by == ("service", "type")
    assert settings.command_subscriptions == [("a=b", COMMANDS)]
    assert settings.alert_topic.endswith("{tenant}")
    assert parse_options(FILES)[0].group_by == ("service",)
