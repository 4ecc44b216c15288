"""The command line of the job, made of `Settings`, and what is wrong with it in words."""

from __future__ import annotations

import argparse
import difflib
import io
import re
from collections.abc import Sequence
from contextlib import redirect_stderr
from typing import Any, Final, Literal, NoReturn, get_args, get_origin

from apache_beam.options.pipeline_options import PipelineOptions, StandardOptions
from pydantic import ValidationError

from pipeline.settings import OptionsError, Settings, option_group
from transforms.analyze.settings import DEFAULT_MODEL


def parse_options(arguments: Sequence[str], program: str = "aiops run") -> tuple[Settings, PipelineOptions]:
    """Settings, and Beam's own options for whatever else stands on the command line.

    Raises OptionsError with all that is wrong, a line each.
    """
    known, beam_arguments = make_parser(program).parse_known_args([_underscored(text) for text in arguments])
    options = _beam_options(beam_arguments)
    given = {name: value for name, value in vars(known).items() if value is not None}
    try:
        settings = Settings(**given)
    except ValidationError as error:
        raise OptionsError("\n".join(_explain(problem) for problem in error.errors())) from None
    options.view_as(StandardOptions).runner = settings.runner
    options.view_as(StandardOptions).streaming = settings.is_streaming
    return settings, options


class _Parser(argparse.ArgumentParser):
    def error(self, message: str) -> NoReturn:
        raise OptionsError(message.removeprefix("argument "))


def make_parser(program: str) -> argparse.ArgumentParser:
    """The command line of `Settings`; every flag can be written with _ or with -."""
    parser = _Parser(
        prog=program,
        usage=f"{program} --input FILE [FILE ...] [options]\n"
        f"       {program} --input_subscription SUBSCRIPTION [options]\n"
        f"       {program} --metrics FILE [FILE ...] [--input FILE [FILE ...]] [options]",
        allow_abbrev=False,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        description="Read logs and metrics, find anomalies, write them to a store.",
        epilog="examples:\n"
        "  aiops run --input 'logs/*.ndjson.gz' --store aiops.duckdb\n"
        "  gcloud logging read 'severity>=ERROR' --format json | aiops run --input -\n"
        "  aiops run --input_subscription projects/P/subscriptions/S\n"
        "  aiops run --input 'logs/*' --dataset PROJECT.DATASET --failed_rows failed-rows\n\n"
        "exit codes:\n"
        "  0    all input was read, and every line is accounted for\n"
        "  1    the run ended, but its summary names something that is wrong\n"
        "  2    an option, the input, the store or the dataset cannot be used\n"
        "  130  stopped by Ctrl-C (143 by SIGTERM); run again over the same input\n\n"
        "Options can be written with - for _. Options of Apache Beam are passed on.",
    )
    groups: dict[str, Any] = {}
    for name, field in Settings.model_fields.items():
        title = option_group(name)
        group = groups.setdefault(title, None) or parser.add_argument_group(title)
        groups[title] = group
        shown = ",".join(field.default) if isinstance(field.default, list | tuple) else field.default
        default = f" Default: {shown}." if field.default not in ("", []) else ""
        group.add_argument(
            f"--{name}",
            help=f"{field.description}{default}".replace("%", "%%"),
            **_value(name, field.annotation),
        )
    return parser


def _value(name: str, annotation: Any) -> dict[str, Any]:
    if annotation is bool:  # --flag, or --flag=true as templates write it
        return {"nargs": "?", "const": True, "metavar": "true"}
    if name in {"services", "group_by"}:
        return {"type": _split, "metavar": "A,B"}
    if name in {"input", "metrics", "warm_start", "alert_events"}:
        return {"action": "extend", "nargs": "+", "metavar": "FILE"}
    if annotation == list[str]:
        return {"action": "append", "metavar": _METAVARS[name]}
    if get_origin(annotation) is Literal:
        return {"choices": get_args(annotation)}
    return {"metavar": _METAVARS.get(name, name.upper())}


_METAVARS: Final = {
    "input_subscription": "SUBSCRIPTION",
    "metrics_subscription": "SUBSCRIPTION",
    "trusted_tenant_field": "FIELD",
    "received_at": "TIME",
    "min_severity": "SEVERITY",
    "max_line_bytes": "N",
    "redaction_key_file": "FILE",
    "redaction_key_secret": "SECRET",
    "redaction_key_version": "N",
    "window_seconds": "N",
    "rules": "FILE",
    "baselines": "FILE",
    "redact_patterns": "KIND=RE2",
    "catalog": "FILE",
    "group_wait_seconds": "N",
    "group_interval_seconds": "N",
    "resolve_after_seconds": "N",
    "reopen_within_seconds": "N",
    "commands": "TENANT=SUBSCRIPTION",
    "alert_topic": "TOPIC",
    "dead_letter_topic": "TOPIC",
    "heartbeat_topic": "TOPIC",
    "snapshot_minutes": "N",
    "confidence_floor": "X",
    "correlation_minutes": "MINUTES",
    "store": "FILE",
    "dataset": "PROJECT.DATASET",
    "failed_rows": "FOLDER",
    "anomaly_topic": "TOPIC",
    "gemini_model": "MODEL",
    "gemini_project": "PROJECT",
    "gemini_location": "LOCATION",
    "gemini_base_url": "URL",
    "gemini_temperature": "X",
    "gemini_timeout_seconds": "N",
    "gemini_concurrency": "N",
    "batch_size": "N",
    "batch_timeout_seconds": "N",
    "gemini_repeat_minutes": "N",
    "gemini_tokens_per_day": "N",
    "gemini_requests_per_day": "N",
    "gemini_prices": "FILE",
}
_SHAPES: Final = {
    "dataset": "a project and a dataset, e.g. acme-prod.aiops",
    "failed_rows": "a folder, without control characters and without any of * ? [ ]",
    "gemini_model": f"a model's id, e.g. {DEFAULT_MODEL}",
    "gemini_project": "a project's id, e.g. acme-prod",
    "gemini_location": "a location of Vertex AI, e.g. europe-west1 or global",
    "gemini_base_url": "an address that begins with https:// or http://",
}
_KINDS_OF_VALUES: Final = {"int_parsing": "a whole number", "float_parsing": "a number"}


def _split(text: str) -> list[str]:
    return [part for part in re.split(r"[,\s]+", text) if part]


def _explain(problem: Any) -> str:
    where = "".join(f"--{part}: " for part in problem["loc"][:1])
    kind = problem["type"]
    if kind == "string_too_short":
        return f"{where}must not be empty"
    if kind in _KINDS_OF_VALUES:
        return f"{where}must be {_KINDS_OF_VALUES[kind]}"
    if kind == "string_pattern_mismatch":
        name = problem["loc"][0]
        if name in _SHAPES:
            return f"{where}must be {_SHAPES[name]}"
        wanted = Settings.model_fields[name].description or ""
        shape = re.search(r"projects/P/\w+/\w", wanted)
        return (
            f"{where}must look like {shape[0]}, with their full names"
            if shape
            else f"{where}must not hold control characters"
        )
    return where + problem["msg"].removeprefix("Value error, ").replace("Input should", "must")


def _underscored(argument: str) -> str:
    """`--min-severity=X` as `--min_severity=X`; what is no option of ours stays as it is."""
    name, equals, value = argument.partition("=")
    own = name.removeprefix("--").replace("-", "_")
    return f"--{own}{equals}{value}" if name.startswith("--") and own in Settings.model_fields else argument


def _beam_options(arguments: Sequence[str]) -> PipelineOptions:
    options = PipelineOptions(list(arguments))
    complaint = io.StringIO()
    try:
        with redirect_stderr(complaint):
            known = options.get_all_options(drop_default=False)
    except SystemExit:  # argparse has printed all options of Beam and, last, what is wrong
        last = complaint.getvalue().strip().rpartition("\n")[2]
        raise OptionsError(last.rpartition("error: ")[2].removeprefix("argument ")) from None
    _refuse_unknown({*known, *Settings.model_fields}, arguments)
    return options


def _refuse_unknown(known: set[str], arguments: Sequence[str]) -> None:
    takes_value = False
    for argument in arguments:
        name, equals, _ = argument.removeprefix("--").partition("=")
        if argument.startswith("--"):
            if name not in known and name.removeprefix("no_") not in known:
                near = difflib.get_close_matches(name.replace("-", "_"), known, 1)
                hint = f"did you mean --{near[0]}?" if near else "see `aiops run --help`"
                raise OptionsError(f"--{name}: unknown option; {hint}")
        elif not takes_value:
            raise OptionsError(f"{argument}: not an option; files are named with --input {argument}")
        takes_value = argument.startswith("--") and not equals
