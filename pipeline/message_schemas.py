"""JSON schemas of what is published and taken, generated from the Structs.

`make generate` renews them with the other generated files.
"""

from __future__ import annotations

import json
from typing import Any, Final

import msgspec

from pipeline.alert_commands import COMMAND_SCHEMA
from pipeline.alert_messages import DATA_SCHEMA
from pipeline.heartbeat_messages import HEARTBEAT_SCHEMA, Heartbeat
from pipeline.tables import Column, struct_columns
from transforms.alert_elements import AlertCommand, AlertEvent

_DIALECT: Final = "https://json-schema.org/draft/2020-12/schema"
_UNIT: Final = "Microseconds since 1970-01-01 UTC."
MESSAGES: Final[dict[str, tuple[str, type[msgspec.Struct]]]] = {
    "docs/schemas/alert-event.v1.json": (DATA_SCHEMA, AlertEvent),
    "docs/schemas/alert-command.v1.json": (COMMAND_SCHEMA, AlertCommand),
    "docs/schemas/heartbeat.v1.json": (HEARTBEAT_SCHEMA, Heartbeat),
}


def message_schema(name: str, struct: type[msgspec.Struct]) -> dict[str, Any]:
    """The schema `name` of `struct`. Fields that are added later do not break it."""
    made = msgspec.json.schema(struct)
    definitions = made["$defs"]
    for definition in definitions.values():
        definition["description"] = " ".join(definition.get("description", "").split())
    _say_units(definitions[struct.__name__]["properties"], struct_columns(struct))
    body = definitions.pop(struct.__name__)
    return {"$schema": _DIALECT, "$id": name, **body, "$defs": definitions}


def schema_files() -> dict[str, str]:
    """Path below the repository → content."""
    return {
        path: json.dumps(message_schema(*of), indent=2, ensure_ascii=False) + "\n"
        for path, of in MESSAGES.items()
    }


def _say_units(properties: dict[str, Any], columns: tuple[Column, ...]) -> None:
    for column in columns:
        if column.kind == "TIMESTAMP":
            said = properties[column.name]
            said["description"] = f"{said.get('description', '')} {_UNIT}".strip()
