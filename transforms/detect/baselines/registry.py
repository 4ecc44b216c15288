"""Detectors by name: the product's, and those of one's own in the namespace package `aiops_detectors`.

A file can name nothing else that is on the path, so no file decides which code of a machine runs.
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from functools import cache, lru_cache
from importlib import import_module
from typing import Any, Final, Protocol, TypeVar, cast

import msgspec

from transforms.detect.baselines.book import OFF, Settings, SettingValue
from transforms.detect.baselines.interface import Detector
from transforms.detect.baselines.learned import LearnedDetector, LearnedSettings, decode_detector
from transforms.detect.baselines.level import LevelSettings
from transforms.detect.baselines.seasons import Calendar
from transforms.detect.conditions import suggestion

NAMESPACE: Final = "aiops_detectors"
_OWN_NAME: Final = re.compile(r"[A-Za-z][A-Za-z0-9_]*(\.[A-Za-z][A-Za-z0-9_]*)+")
S = TypeVar("S", bound=msgspec.Struct)
_METHODS: Final = ("score_one", "learn_one", "encode", "decode")


class DetectorError(ValueError):
    """A detector or one of its settings that cannot be used; the text says the cause and the mend.

    `setting` names the setting, "" for the detector.
    """

    def __init__(self, text: str, setting: str = "") -> None:
        super().__init__(text)
        self.setting = setting


class OwnDetector(Protocol):
    """What a class of one's own has beside the methods of `Detector`."""

    @classmethod
    def decode(cls, encoded: bytes | None, settings: dict[str, SettingValue]) -> Detector:
        """The detector that `encode` gave `encoded`, or a new one for None.

        Raises ValueError, with a text for the operator, for settings that it does not take.
        """
        ...


_SETTINGS: Final[dict[str, type[msgspec.Struct]]] = {
    "learned": LearnedSettings,
    "level": LevelSettings,
}
"""Settings of the product's detectors. Those of a name that is not here are not checked."""

_FIXED: Final[dict[str, frozenset[str]]] = {
    "learned": frozenset({"calendar"}),
    "level": frozenset({"family", "direction", "seasonal"}),
}
"""Settings that a file cannot set: other keys do, or the signal itself."""

NAMES: Final = ("level", "learned", OFF)
"""What a file can say beside a detector of one's own."""


def make_detector(
    name: str, settings: Settings, encoded: bytes | None, calendar: Calendar | None = None
) -> Detector:
    """The detector `name` of one signal, new or as it was when `encode` gave `encoded`.

    `calendar` is for a detector of the product that knows hours. Raises DetectorError where name or
    settings are wrong, and what the detector raises for a state that it cannot read.
    """
    if name == "learned":
        learned = _learned_settings(settings, calendar or Calendar())
        return LearnedDetector(learned) if encoded is None else decode_detector(encoded, learned)
    return _own_class(name).decode(encoded, dict(settings))


@lru_cache(maxsize=1 << 12)
def _learned_settings(settings: Settings, calendar: Calendar) -> LearnedSettings:
    return apply_settings("learned", LearnedSettings(calendar=calendar), settings)


def check_detector(name: str, settings: Settings) -> None:
    """Raises DetectorError where the detector cannot be made."""
    if name == OFF and settings:
        raise DetectorError('has no effect with detector "off"; leave it out')
    if name in NAMES:
        if name in _SETTINGS:
            apply_settings(name, _SETTINGS[name](), settings)
        return
    try:
        detector = _own_class(name).decode(None, dict(settings))
    except DetectorError:
        raise
    except (ValueError, TypeError, KeyError) as error:
        raise DetectorError(f'"{name}" does not take these settings: {error}') from None
    except Exception as error:  # noqa: BLE001 - an operator's own code may raise anything
        raise DetectorError(f'"{name}" cannot be made: decode raises {type(error).__name__}') from None
    missing = [method for method in _METHODS[:3] if not callable(getattr(detector, method, None))]
    if missing:
        raise DetectorError(f'"{name}": what decode gives has no {missing[0]}')


# ------------------------------------------------------------------------- detectors of one's own


@cache
def _own_class(name: str) -> type[OwnDetector]:
    if _OWN_NAME.fullmatch(name) is None:
        near = suggestion(name, list(NAMES)) or ";"
        raise DetectorError(
            f'"{name[:80]}" is not known{near} it is one of {", ".join(NAMES)}, '
            f"or module.Class in the package {NAMESPACE}"
        )
    module_name, _, class_name = name.rpartition(".")
    full_name = f"{NAMESPACE}.{module_name}"
    try:
        found = getattr(import_module(full_name), class_name, None)
    except ModuleNotFoundError as error:
        if error.name and f"{full_name}.".startswith(f"{error.name}."):
            raise DetectorError(
                f'"{name}": there is no module {full_name}; put {module_name.replace(".", "/")}.py into a '
                f"folder {NAMESPACE} (without __init__.py) whose parent is on PYTHONPATH, or install it"
            ) from None
        raise DetectorError(f'"{name}": {full_name} needs {error.name}, which is not installed') from None
    except Exception as error:  # noqa: BLE001 - an operator's own code may raise anything
        raise DetectorError(f'"{name}": importing {full_name} raises {type(error).__name__}') from None
    if not isinstance(found, type):
        raise DetectorError(f'"{name}": {full_name} has no class {class_name}')
    missing = [method for method in _METHODS if not callable(getattr(found, method, None))]
    if missing:
        raise DetectorError(f'"{name}" has no {missing[0]}; a detector has {", ".join(_METHODS)}')
    return cast("type[OwnDetector]", found)


# ------------------------------------------------------------------------- settings of the product's


def apply_settings(name: str, base: S, settings: Settings) -> S:
    """`base`, the settings of detector `name` for some signal, with what a file sets.

    Settings of structs in it are named as if they were its own. Raises DetectorError.
    """
    given = dict(settings)
    known = setting_types(name, type(base))
    for setting in given:
        if setting not in known:
            near = suggestion(setting, list(known)) or ";"
            raise DetectorError(f"is not known to detector {name}{near} it has {', '.join(known)}", setting)
    try:
        return _replaced(base, {key: _checked(key, value, known[key]) for key, value in given.items()})
    except ValueError as error:
        if isinstance(error, DetectorError):
            raise
        raise DetectorError(str(error)) from None


def _replaced(base: S, values: Mapping[str, Any]) -> S:
    changes: dict[str, Any] = {}
    for field in msgspec.structs.fields(base):
        inner = getattr(base, field.name)
        if field.name in values:
            changes[field.name] = values[field.name]
        elif isinstance(inner, msgspec.Struct) and (replaced := _replaced(inner, values)) is not inner:
            changes[field.name] = replaced
    return msgspec.structs.replace(base, **changes) if changes else base


def setting_types(name: str, settings_type: type[msgspec.Struct]) -> dict[str, Any]:
    """What a file can set of detector `name`, and the types."""
    found: dict[str, Any] = {}
    for field in msgspec.structs.fields(settings_type):
        if field.name in _FIXED[name]:
            continue
        is_struct = isinstance(field.type, type) and issubclass(field.type, msgspec.Struct)
        found |= setting_types(name, field.type) if is_struct else {field.name: field.type}
    return found


_WORDS: Final = {"float": "a number", "int": "a whole number", "bool": "true or false", "str": "text"}


def _checked(setting: str, value: SettingValue, wanted: Any) -> Any:
    if isinstance(value, int | float) and not (math.isfinite(value) and value >= 0):
        raise DetectorError("must be 0 or more", setting)
    try:
        return msgspec.convert(value, wanted)
    except msgspec.ValidationError as error:
        plain = _WORDS.get(getattr(wanted, "__name__", ""))
        said = str(error).partition(" - at ")[0]
        raise DetectorError(f"must be {plain}" if plain else f"cannot be this: {said}", setting) from None
