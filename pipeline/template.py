"""The flex template, made of the options: its parameters, its spec, and its arguments back again.

`make generate` renews `templates/metadata.json`. A parameter is a text, so that
lists come as `A,B`, or as a JSON array where an item has a comma in it.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Sequence
from typing import Any, Final, Literal, get_args, get_origin

from pipeline.settings import Settings, option_group
from transforms.elements import SEVERITY_NUMBERS

NOT_PARAMETERS: Final = frozenset({"runner", "store", "log_format"})
"""Dataflow sets the first one itself; a file, and standard error, are of this machine."""

_LISTS: Final = tuple(
    name for name, field in Settings.model_fields.items() if get_origin(field.annotation) is list
)
_IN_ONE: Final = frozenset({"services", "group_by"})  # of which a second one would replace the first
_ONE_BY_ONE: Final = frozenset({"redact_patterns"})  # an expression has commas of its own
_TYPES: Final = {
    "input_subscription": "PUBSUB_SUBSCRIPTION",
    "metrics_subscription": "PUBSUB_SUBSCRIPTION",
    "anomaly_topic": "PUBSUB_TOPIC",
    "dead_letter_topic": "PUBSUB_TOPIC",
    "heartbeat_topic": "PUBSUB_TOPIC",
    "redaction_key_file": "GCS_READ_FILE",
    "rules": "GCS_READ_FILE",
    "baselines": "GCS_READ_FILE",
    "catalog": "GCS_READ_FILE",
}
_NUMBERS: Final = {int: "^-?[0-9]+$", float: r"^-?[0-9]*\.?[0-9]+$"}


def template_metadata() -> dict[str, Any]:
    """Content of `templates/metadata.json`: what people are asked for when they start a job."""
    parameters = [_parameter(name) for name in Settings.model_fields if name not in NOT_PARAMETERS]
    return {
        "name": "AIOps agent",
        "description": "Reads Cloud Logging entries and metrics from Pub/Sub, finds anomalies, correlates "
        "them into incidents and publishes alerts. See docs/deploy.md.",
        "streaming": True,
        # A partial summary that came twice would count its lines twice, at both ends of the ledger.
        "supportsAtLeastOnce": False,
        "supportsExactlyOnce": True,
        "defaultStreamingMode": "EXACTLY_ONCE",
        "parameters": parameters,
    }


def container_spec(image: str) -> dict[str, Any]:
    """The template itself, as it lies in a bucket. `image` is pinned by its digest."""
    return {
        "image": image,
        "sdkInfo": {"language": "PYTHON"},
        "metadata": template_metadata(),
        "defaultEnvironment": {
            "sdkContainerImage": image,  # one image for the launcher and the workers
            "enableStreamingEngine": True,
            "ipConfiguration": "WORKER_IP_PRIVATE",
        },
    }


def template_files() -> dict[str, str]:
    """Path below the repository → content."""
    return {"templates/metadata.json": json.dumps(template_metadata(), indent=2) + "\n"}


def job_arguments(arguments: Sequence[str]) -> list[str]:
    """Arguments of `aiops run` for those of the template: lists taken apart, empty parameters left out."""
    return [argument for given in arguments for argument in _unfolded(given)]


def _unfolded(argument: str) -> Iterable[str]:
    name, equals, value = argument.partition("=")
    option = name.removeprefix("--")
    if not equals or option not in Settings.model_fields:
        return [argument]
    if option not in _LISTS:
        return [argument] if value else []
    items = _items(option, value)
    if option in _IN_ONE and items:
        items = [",".join(items)]
    return [f"--{option}={item}" for item in items]


def _items(option: str, value: str) -> list[str]:
    if value.startswith("["):
        try:
            items = json.loads(value)
        except ValueError:
            items = None  # a glob such as [ab].ndjson, or an expression
        if isinstance(items, list) and all(isinstance(item, str) for item in items):
            return items
    if option in _ONE_BY_ONE:
        return [value] if value else []
    return [item for item in re.split(r"\s*,\s*", value.strip()) if item]


def _parameter(name: str) -> dict[str, Any]:
    field = Settings.model_fields[name]
    parameter: dict[str, Any] = {
        "name": name,
        "label": name.replace("_", " ").capitalize(),
        "helpText": _help(name, field.description or ""),
        "isOptional": True,
        "groupName": option_group(name).capitalize(),
    }
    kind = field.annotation
    choices = tuple(SEVERITY_NUMBERS) if name == "min_severity" else get_args(kind)
    if get_origin(kind) is Literal or name == "min_severity":
        parameter |= {"paramType": "ENUM", "enumOptions": [{"value": choice} for choice in choices]}
    elif kind in _NUMBERS:
        parameter |= {"paramType": "NUMBER", "regexes": [_NUMBERS[kind]]}
    else:
        parameter["paramType"] = _TYPES.get(name, "TEXT")
        pattern = next(
            (getattr(m, "pattern", None) for m in field.metadata if getattr(m, "pattern", None)), None
        )
        # Java reads these expressions; what may be empty is optional already.
        parameter |= {"regexes": [str(pattern)]} if pattern else {}
    if field.default not in ("", []):
        default = ",".join(field.default) if isinstance(field.default, list | tuple) else str(field.default)
        parameter["defaultValue"] = default
    return parameter


def _help(name: str, description: str) -> str:
    if name not in _LISTS:
        return description
    how = "A JSON array for more than one." if name in _ONE_BY_ONE else "More: A,B or a JSON array."
    return f"{re.sub(r' Repeat the option for more[a-z ]*[.]', '', description)} {how}"
