"""A set of numbers remembered in at most 512 cells of equal width, whatever their scale.

A cell is 2**exponent wide. The exponent grows, and neighboring cells become one, only when a value
would not fit otherwise, so a set that spans a range R keeps every value to within R / 255. Cells begin
at whole multiples of their width: joining two changes neither a third nor what is in the set.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Final

import msgspec

SIZE: Final = 512
PRECISION_BITS: Final = 40
"""The first value's cell is about 2**-40 of it wide: below what a metric resolves, above rounding errors."""

SMALLEST_EXPONENT: Final = -100
LARGEST_VALUE: Final = 1e100


class Cells(msgspec.Struct, array_like=True, gc=False):
    """The set. `bits` is little-endian: bit i says that cell `base` + i is in the set."""

    exponent: int = 0
    base: int = 0
    bits: bytes = b""

    def __bool__(self) -> bool:
        return bool(self.bits)

    def add(self, value: float) -> None:
        """Put `value`, of a size up to LARGEST_VALUE, into the set."""
        if not self.bits:
            bits = math.frexp(value)[1] - PRECISION_BITS if value else SMALLEST_EXPONENT
            self.exponent = max(bits, SMALLEST_EXPONENT)
            self.base = math.floor(math.ldexp(value, -self.exponent))
            self.bits = b"\x01"
            return
        mask = int.from_bytes(self.bits, "little")
        cell = math.floor(math.ldexp(value, -self.exponent)) - self.base
        if cell >= 0 and mask >> cell & 1:
            return
        while max(cell, mask.bit_length() - 1) - min(cell, 0) >= SIZE:
            if self.base & 1:
                self.base -= 1
                mask <<= 1
            mask = _halve(mask)
            self.base >>= 1
            self.exponent += 1
            cell = math.floor(math.ldexp(value, -self.exponent)) - self.base
        if cell < 0:
            self.base += cell
            mask <<= -cell
            cell = 0
        mask |= 1 << cell
        self.bits = mask.to_bytes((mask.bit_length() + 7) // 8, "little")

    def clear(self) -> None:
        self.exponent, self.base, self.bits = 0, 0, b""

    @property
    def low(self) -> float:
        """Lower edge of the lowest cell; infinity when empty."""
        return math.ldexp(self.base, self.exponent) if self.bits else math.inf

    @property
    def high(self) -> float:
        """Upper edge of the highest cell; minus infinity when empty."""
        if not self.bits:
            return -math.inf
        return math.ldexp(self.base + 8 * len(self.bits) - 8 + self.bits[-1].bit_length(), self.exponent)

    def distance(self, value: float) -> float:
        """From `value` to the nearest cell in the set, in whole cells; infinity when empty."""
        if not self.bits:
            return math.inf
        mask = int.from_bytes(self.bits, "little")
        cell = math.floor(math.ldexp(value, -self.exponent)) - self.base
        if cell < 0:
            return math.ldexp(-cell, self.exponent)
        above = mask >> cell
        if above & 1:
            return 0.0
        if not above:
            return math.ldexp(cell - mask.bit_length() + 1, self.exponent)
        below = mask & ((1 << cell) - 1)
        up = (above & -above).bit_length() - 1
        return math.ldexp(min(up, cell - below.bit_length() + 1), self.exponent)

    def values(self) -> Iterator[float]:
        """The middle of each cell in the set, ascending."""
        mask = int.from_bytes(self.bits, "little")
        while mask:
            lowest = mask & -mask
            yield math.ldexp(self.base + lowest.bit_length() - 0.5, self.exponent)
            mask ^= lowest


def _halve(mask: int) -> int:
    """Neighboring bits (0 and 1, 2 and 3, ...) joined into one."""
    joined = mask | mask >> 1
    return int(f"{joined:b}"[::-1][::2][::-1], 2)
