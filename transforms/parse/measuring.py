"""Numeric fields of a jsonPayload, as the operator asked for them."""

from __future__ import annotations

import math
import re
from typing import Any, Final

from transforms.elements import Measures
from transforms.globs import glob_matches
from transforms.measures import LARGEST_MEASURE, MILLION
from transforms.parse.raw import RawEntry, decode_object
from transforms.parse.settings import MeasuredField

_MAX_SERVICES_KEPT: Final = 8192
_MAX_NUMBER: Final = 40
_NUMBER: Final = re.compile(r"[-+]?(?:[0-9]+(?:\.[0-9]*)?|\.[0-9]+)(?:[eE][-+]?[0-9]{1,3})?")
_Wanted = tuple[tuple[str, str, tuple[str, ...]], ...]
"""(name, path below jsonPayload, its parts)"""


class FieldReader:
    """Reads the fields of one set of settings; remembers which of them a service has."""

    def __init__(self, fields: tuple[MeasuredField, ...]) -> None:
        self._fields = sorted(fields)
        self._by_service: dict[str, _Wanted] = {}

    def read(self, service: str, raw: RawEntry) -> Measures:
        """Name and value of each field of `raw` that is a number, by name; values in millionths.

        Looks into the jsonPayload, or the JSON object that the text is.
        """
        wanted = self._wanted(service)
        if not wanted:
            return ()
        payload = decode_object(raw.text_payload.rstrip()) if raw.text_payload else raw.json_payload
        if not payload:
            return ()
        found = []
        for name, path, parts in wanted:
            value = payload.get(path) if path in payload else _follow(payload, parts)
            measure = read_measure(value)
            if measure is not None:
                found.append((name, measure))
        return tuple(found)

    def _wanted(self, service: str) -> _Wanted:
        wanted = self._by_service.get(service)
        if wanted is None:
            if len(self._by_service) >= _MAX_SERVICES_KEPT:
                self._by_service.clear()
            paths = [
                (field.name, field.path.removeprefix("jsonPayload."))
                for field in self._fields
                if glob_matches(field.service, service)
            ]
            wanted = tuple((name, path, tuple(path.split("."))) for name, path in paths)
            self._by_service[service] = wanted
        return wanted


def _follow(payload: dict[str, Any], parts: tuple[str, ...]) -> Any:
    value: Any = payload
    for part in parts:
        if type(value) is not dict:
            return None
        value = value.get(part)
    return value


def read_measure(value: object) -> int | None:
    """A number, or text that is one, in millionths; None for anything else and for what is not finite."""
    kind = type(value)
    if kind is str:
        return _read_text(value)  # type: ignore[arg-type]
    if kind is int:
        return max(-LARGEST_MEASURE, min(value * MILLION, LARGEST_MEASURE))  # type: ignore[operator]
    return _of_float(value) if kind is float else None  # type: ignore[arg-type]


def _read_text(text: str) -> int | None:
    text = text.strip() if len(text) <= _MAX_NUMBER else ""
    return _of_float(float(text)) if _NUMBER.fullmatch(text) else None


def _of_float(value: float) -> int | None:
    if not math.isfinite(value):
        return None
    if abs(value) >= LARGEST_MEASURE / MILLION:
        return LARGEST_MEASURE if value > 0 else -LARGEST_MEASURE
    return round(value * MILLION)
