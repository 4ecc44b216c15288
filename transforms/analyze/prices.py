"""What tokens cost. A price file is YAML: a list of model, from, input and output, see docs/cost.md."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, date, datetime
from typing import Any, Final

import msgspec

from transforms.elements import MICROSECONDS

MILLION: Final = 1_000_000


class Price(msgspec.Struct, frozen=True):
    """Of one model from a day on (UTC), US dollars per million tokens; thoughts count as output."""

    model: str
    from_us: int
    input_usd: float
    output_usd: float


def _from(year: int, month: int, day: int) -> int:
    return int(datetime(year, month, day, tzinfo=UTC).timestamp()) * MICROSECONDS


DEFAULT_PRICES: Final = (
    Price("gemini-3.8-flash", 0, 0.75, 3.75),
    Price("gemini-3.8-flash", _from(2027, 1, 1), 1.50, 7.50),
    Price("gemini-3.5-flash", 0, 1.50, 9.00),
    Price("gemini-3.5-flash-lite", 0, 0.30, 2.50),
    Price("gemini-2.5-flash", 0, 0.30, 2.50),
)
"""List prices as of October 2026, from https://ai.google.dev/gemini-api/docs/pricing; check your contract."""


def cost_usd(
    prices: Sequence[Price], model: str, at_us: int, tokens_in: int, tokens_out: int
) -> float | None:
    """Cost of one request by the last price that had begun; None where the model has no price."""
    known = [price for price in prices if price.model == model and price.from_us <= at_us]
    if not known:
        return None
    price = max(known, key=lambda known_price: known_price.from_us)
    return round((tokens_in * price.input_usd + tokens_out * price.output_usd) / MILLION, 8)


def read_prices(entries: Any) -> tuple[Price, ...]:
    """Prices of a parsed price file. Raises ValueError that names the entry and the mend."""
    if not isinstance(entries, list) or not entries:
        raise ValueError("must be a list of prices: model, from, input, output")
    return tuple(_read_price(number, entry) for number, entry in enumerate(entries, 1))


def _read_price(number: int, entry: Any) -> Price:
    if not isinstance(entry, dict) or not isinstance(entry.get("model"), str) or not entry["model"]:
        raise ValueError(f"price {number}: give a model, e.g. {DEFAULT_PRICES[0].model}")
    if unknown := sorted(set(map(str, entry)) - {"model", "from", "input", "output"}):
        raise ValueError(f"price {number}: {unknown[0]} is unknown; it has model, from, input, output")
    begins = entry.get("from", date(1970, 1, 1))
    if not isinstance(begins, date):
        raise ValueError(f"price {number}: from must be a day, e.g. 2027-01-01")  # noqa: TRY004
    for name in ("input", "output"):
        value = entry.get(name)
        if isinstance(value, bool) or not isinstance(value, int | float) or not 0 <= value <= 10_000:
            raise ValueError(f"price {number}: {name} must be US dollars per million tokens, 0 to 10000")
    return Price(
        entry["model"],
        _from(begins.year, begins.month, begins.day),
        float(entry["input"]),
        float(entry["output"]),
    )
