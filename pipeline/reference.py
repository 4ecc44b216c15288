"""Pages and parts of pages that are made from the code: the options, the fields of messages, the graph.

`make generate` renews them. In a page that people write, a part stands between two
markers, `<!-- made: NAME -->` and `<!-- end: NAME -->`.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any, Final, Literal, get_args, get_origin

import msgspec

from pipeline.diagram import job_flowchart
from pipeline.heartbeat_messages import Heartbeat
from pipeline.message_schemas import message_schema
from pipeline.settings import Settings, option_group
from pipeline.table_layout import LAYOUTS
from pipeline.template import NOT_PARAMETERS
from transforms.alert_elements import AlertCommand, AlertEvent
from transforms.elements import Anomaly, DeadLetter

ROOT: Final = Path(__file__).resolve().parent.parent
MESSAGES: Final[dict[str, type[msgspec.Struct]]] = {
    "alert-event": AlertEvent,
    "alert-command": AlertCommand,
    "anomaly": Anomaly,
    "dead-letter": DeadLetter,
    "heartbeat": Heartbeat,
}
"""Part of docs/events.md → what is sent."""

_WORDS: Final = {"string": "text", "integer": "whole number", "boolean": "true or false"}
_MICROSECONDS: Final = " Microseconds since 1970-01-01 UTC."


def reference_files() -> dict[str, str]:
    """Path below the repository → content, of every page that is made or has a part that is.

    Raises ValueError where a page lacks the markers of a part.
    """
    events = (ROOT / "docs" / "events.md").read_text(encoding="utf-8")
    for name, struct in MESSAGES.items():
        events = with_part(events, name, fields_table(struct))
    architecture = (ROOT / "docs" / "architecture.md").read_text(encoding="utf-8")
    security = (ROOT / "docs" / "security.md").read_text(encoding="utf-8")
    flowchart = f"```mermaid\n{job_flowchart()}```\n"
    return {
        "docs/options.md": options_page(),
        "docs/events.md": events,
        "docs/architecture.md": with_part(architecture, "graph", flowchart),
        "docs/security.md": with_part(security, "retention", retention_table()),
    }


def with_part(page: str, name: str, part: str) -> str:
    """`page` with `part` between the markers of `name`. Raises ValueError where they are not there."""
    begin, end = f"<!-- made: {name} -->\n", f"<!-- end: {name} -->\n"
    before, first, rest = page.partition(begin)
    _, last, after = rest.partition(end)
    if not first or not last:
        raise ValueError(f"a page lacks {begin.strip()} … {end.strip()}: put both where the part belongs")
    return f"{before}{begin}\n{part}\n{end}{after}"


# ------------------------------------------------------------------------------------- options


def options_page() -> str:
    """The page docs/options.md: every option in the groups of `--help`."""
    groups: dict[str, list[str]] = {}
    for name in Settings.model_fields:
        groups.setdefault(option_group(name), []).append(name)
    own = " and ".join(f"`--{name}`" for name in sorted(NOT_PARAMETERS))
    lines = [
        "# Options of the job",
        "",
        "Generated from `pipeline/settings.py` by `make generate`; do not edit.",
        "",
        "`aiops run --OPTION VALUE`, with `_` or `-`. Each is a parameter of the [flex template](deploy.md),",
        f"but for {own}. There a list is a text `A,B`, or a JSON array where an item has a comma in it.",
    ]
    for title, names in groups.items():
        lines += ["", f"## {title[:1].upper()}{title[1:]}", ""]
        lines += ["| option | default | values | meaning |", "| --- | --- | --- | --- |"]
        lines += map(_option_row, names)
    return "\n".join(lines) + "\n"


def _option_row(name: str) -> str:
    field = Settings.model_fields[name]
    default = field.default
    shown = ",".join(default) if isinstance(default, list | tuple) else str(default)
    cells = [
        f"`{name}`",
        f"`{shown.lower() if isinstance(default, bool) else shown}`" if shown else "",
        _values(field.annotation, field.metadata),
        _cell(field.description or ""),
    ]
    return _row(cells)


def _values(annotation: Any, metadata: list[Any]) -> str:
    if annotation is bool:
        return "`true`, `false`"
    if get_origin(annotation) is Literal:
        return ", ".join(f"`{choice}`" for choice in get_args(annotation))
    if get_origin(annotation) in {list, tuple}:
        return "a list"
    limits = {name: getattr(m, name) for m in metadata for name in ("ge", "le") if hasattr(m, name)}
    return " to ".join(f"{limits[name]:,}" for name in ("ge", "le") if name in limits)


def retention_table() -> str:
    """How long each table keeps its days."""
    lines = ["| table | a day of | days |", "| --- | --- | --- |"]
    for table, layout in LAYOUTS.items():
        lines.append(f"| [`{table}`](tables.md#{table}) | `{layout.day_of}` | {layout.keep_days} |")
    return "\n".join(lines) + "\n"


# -------------------------------------------------------------------------------------- fields


def fields_table(struct: type[msgspec.Struct]) -> str:
    """The fields of a message as a table; those of an object in it stand below it, after a dot."""
    schema = message_schema("", struct)
    rows = _field_rows(schema["properties"], schema["$defs"], "")
    return "\n".join(["| field | type | meaning |", "| --- | --- | --- |", *rows]) + "\n"


def _field_rows(properties: dict[str, Any], definitions: dict[str, Any], prefix: str) -> list[str]:
    rows = []
    for name, said in properties.items():
        kind, inner = _kind(said, definitions)
        meaning = said.get("description", "").removesuffix(_MICROSECONDS)
        if meaning != said.get("description", ""):
            kind = kind.replace("whole number", "microseconds")
        rows.append(_row([f"`{prefix}{name}`", kind, _cell(meaning)]))
        rows += _field_rows(inner, definitions, f"{prefix}{name}.") if inner else []
    return rows


def _kind(said: dict[str, Any], definitions: dict[str, Any]) -> tuple[str, dict[str, Any]]:
    """What a field holds, in words, and the fields in it; those without names by their positions."""
    if "$ref" in said:
        held = definitions[said["$ref"].rpartition("/")[2]]
        if held["type"] == "object":
            return "object", held["properties"]
        return "list", {str(place): item for place, item in enumerate(held["prefixItems"])}
    if "anyOf" in said:
        (some,) = [one for one in said["anyOf"] if one.get("type") != "null"]
        kind, inner = _kind(some, definitions)
        return f"{kind}, or null", inner
    if "enum" in said:
        return ", ".join(f"`{choice}`" if choice else "empty" for choice in said["enum"]), {}
    if said.get("type") == "array":
        kind, inner = _kind(said["items"], definitions)
        return f"list of {kind if kind.startswith('`') else re.sub('$', 's', kind)}", inner
    return _WORDS.get(said["type"], said["type"]), {}


def _row(cells: list[str]) -> str:
    return f"| {' | '.join(cells)} |".replace("|  |", "| |").replace("|  |", "| |")


def _cell(text: str) -> str:
    return text.replace("|", "\\|").replace("<", "&lt;")
