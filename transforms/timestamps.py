"""RFC 3339 text to integer nanoseconds. Floats and datetime would lose the last digits.

Shared by the stages that parse, as are the bounds of what counts as a sane time.
"""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta
from typing import Final

from transforms.elements import NANOSECONDS

YEAR_2000_NS: Final = 946_684_800 * NANOSECONDS
"""2000-01-01T00:00:00Z. What is older comes from no running service."""

FUTURE_SECONDS: Final = 300
"""A clock may be ahead of the receiver's by this much before its timestamps count as absurd."""

FUTURE_NS: Final = FUTURE_SECONDS * NANOSECONDS

_SCALES: Final[list[int]] = [10 ** (9 - digits) for digits in range(10)]
_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
_MAX_SECONDS_KEPT: Final = 4096
_RFC_3339: Final = re.compile(
    r"(\d{4})-(\d\d)-(\d\d)[Tt ](\d\d):(\d\d):(\d\d)(?:[.,](\d{1,9})\d*)? ?(Z|z|UTC|([+-])(\d\d):?(\d\d))?"
)


class TimestampParser:
    """Parses timestamps, remembering the seconds it has seen: logs come many to a second.

    `seconds` is what it remembers, never to be changed: `2024-01-01T00:00:00.` → nanoseconds.
    """

    def __init__(self) -> None:
        self.seconds: dict[str, int] = {}

    def parse(self, text: str) -> int | None:
        """Nanoseconds since 1970 UTC, or None where `text` is no RFC 3339 timestamp.

        Digits beyond nanoseconds are cut; a missing offset means UTC (BigQuery exports write
        `2024-01-01 00:00:00.5 UTC`). A leap second counts as the second before it.
        """
        second = self.seconds.get(text[:20])
        if second is not None and text[-1] == "Z" and len(text) < 31:
            fraction = text[20:-1]
            if fraction.isdecimal():
                return second + int(fraction) * _SCALES[len(fraction)]
        return self._parse_slowly(text)

    def _parse_slowly(self, text: str) -> int | None:
        match = _RFC_3339.fullmatch(text)
        if match is None:
            return None
        year, month, day, hour, minute, second = (int(part) for part in match.groups()[:6])
        try:
            moment = datetime(year, month, day, hour, minute, min(second, 59), tzinfo=UTC)
        except ValueError:
            return None
        since = moment - _EPOCH
        total: int = (since.days * 86_400 + since.seconds) * NANOSECONDS
        if len(self.seconds) >= _MAX_SECONDS_KEPT:
            self.seconds.clear()
        self.seconds[text[:19] + "."] = total
        fraction, _, sign, offset_hours, offset_minutes = match.groups()[6:]
        if fraction:
            total += int(fraction) * _SCALES[len(fraction)]
        if sign:
            offset = (int(offset_hours) * 3600 + int(offset_minutes) * 60) * NANOSECONDS
            total += offset if sign == "-" else -offset
        return total


def format_timestamp(time_ns: int) -> str:
    """RFC 3339 text of `time_ns`; "" outside of the years 1 to 9999."""
    seconds, fraction = divmod(time_ns, NANOSECONDS)
    try:
        moment = _EPOCH + timedelta(seconds=seconds)
    except OverflowError:
        return ""
    return f"{moment:%Y-%m-%dT%H:%M:%S}".rjust(19, "0") + f".{fraction:09d}Z"
