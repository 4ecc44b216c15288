"""All that is learned of a service as text, so that a later job goes on from it.

The text comes back from files and tables that others can write: `decode_baselines` lets nothing through that
could stop a job.
"""

from __future__ import annotations

import binascii
from base64 import b64decode, b64encode
from typing import Any, Final

import msgspec
import zstandard

from transforms.detect.baselines.level import LevelBank, find_damage
from transforms.detect.baselines.observations import KINDS, split_signal
from transforms.detect.request_line_table import find_table_damage
from transforms.detect.watch import ServiceBaselines
from transforms.elements import SEVERITY_NUMBERS

STATE_VERSION: Final = 1
"""Of `ServiceBaselines` as bytes. A change that older bytes do not decode to needs the next number, a new
file in tests/golden_state, and a line in docs/baselines.md."""

MAX_STATE_BYTES: Final = 4 << 20
MAX_ENTRIES: Final = 20_000
"""Of any collection of one service. The job itself stays far below."""

MAX_BIN: Final = 2_000
"""No latency of 64 bits is in a higher bin."""

_LARGEST: Final = 1 << 62
_ZSTD_LEVEL: Final = 3
_PATTERN: Final = "pattern"
_MEND: Final = "take the file as it was written, or make it anew with `aiops warm-start`"


class SnapshotError(ValueError):
    """A state that cannot be used; the text says the cause and the mend, and holds nothing of the state."""


def learned_windows(memory: ServiceBaselines) -> int:
    """How much is learned: windows that taught the signal that was taught most; at least 1 if any was."""
    return max(int(LevelBank(memory.levels).windows.max(initial=0.0)), int(bool(memory.singles)))


def encode_baselines(memory: ServiceBaselines) -> str:
    """All memory of a service as text; the same memory gives the same text."""
    # What is known of the hours around is computed again where it is missing.
    levels = msgspec.structs.replace(memory.levels, half_hour=-1, around=b"")
    plain = msgspec.to_builtins(
        msgspec.structs.replace(memory, levels=levels), builtin_types=(bytes,), str_keys=False
    )
    packed = zstandard.ZstdCompressor(level=_ZSTD_LEVEL).compress(msgspec.msgpack.encode(_in_order(plain)))
    return b64encode(packed).decode("ascii")


def _in_order(value: Any) -> Any:
    """Dicts by key, all the way down: they are written in the order in which they were filled."""
    if isinstance(value, dict):
        return {key: _in_order(value[key]) for key in sorted(value)}
    return [_in_order(item) for item in value] if isinstance(value, list | tuple) else value


def decode_baselines(state: str, version: int) -> ServiceBaselines:
    """What `encode_baselines` gave. Raises SnapshotError for anything that the job could not go on from."""
    if version != STATE_VERSION:
        raise SnapshotError(
            f"it is of state version {version}, and this version of the product reads {STATE_VERSION}: "
            "make it anew with `aiops warm-start`"
        )
    try:
        memory = msgspec.msgpack.decode(_unpack(state), type=ServiceBaselines)
    except (msgspec.DecodeError, RecursionError) as error:
        raise SnapshotError(f"its state is damaged ({type(error).__name__}): {_MEND}") from None
    if problem := find_problem(memory):
        raise SnapshotError(f"its state is damaged ({problem}): {_MEND}")
    return memory


def _unpack(state: str) -> bytes:
    if len(state) > 2 * MAX_STATE_BYTES:
        raise SnapshotError(f"its state is longer than {2 * MAX_STATE_BYTES:,} characters: {_MEND}")
    try:
        packed = b64decode(state, validate=True)
        size = zstandard.get_frame_parameters(packed).content_size
        if not 0 < size <= MAX_STATE_BYTES:
            raise SnapshotError(f"its state would unpack to more than {MAX_STATE_BYTES:,} bytes: {_MEND}")
        return zstandard.ZstdDecompressor().decompress(packed, allow_extra_data=False)
    except (binascii.Error, zstandard.ZstdError, ValueError, MemoryError) as error:
        if isinstance(error, SnapshotError):
            raise
        raise SnapshotError(f"its state is damaged ({type(error).__name__}): {_MEND}") from None


def find_problem(memory: ServiceBaselines) -> str:
    """What in a decoded state would stop or poison a job, in a few words; "" for a sound one."""
    levels = memory.levels
    if problem := find_damage(levels):
        return problem
    if problem := find_table_damage(memory.request_lines):
        return problem
    signals = [split_signal(name) for name in (*levels.names, *memory.singles)]
    if any(
        kind not in KINDS or (kind == "severity" and key not in SEVERITY_NUMBERS) for kind, key in signals
    ):
        return "it has signals that this version does not know"
    if any(split_signal(name)[0] == _PATTERN for name in levels.seasonal):
        return "its hours belong to patterns"
    if any(not 0 <= index <= MAX_BIN or count < 0 for index, count in memory.latencies.bins.items()):
        return "its latencies are none"
    plain = msgspec.to_builtins(memory, builtin_types=(bytes,), str_keys=False)
    return _bounds_problem(plain)


def _bounds_problem(value: Any) -> str:
    """What is wrong with numbers and sizes anywhere in plain data."""
    if isinstance(value, dict):
        value = [*value, *value.values()]
    if isinstance(value, list | tuple):
        if len(value) > MAX_ENTRIES:
            return "it has more entries than any service"
        return next(filter(None, map(_bounds_problem, value)), "")
    if isinstance(value, int | float) and not -_LARGEST < value < _LARGEST:
        return "a number is beyond all bounds"
    return ""
