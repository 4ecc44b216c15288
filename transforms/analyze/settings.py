"""What the analysis may do and spend."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Final

from transforms.analyze.prices import DEFAULT_PRICES, Price
from transforms.elements import MICROSECONDS

DEFAULT_MODEL: Final = "gemini-3.8-flash"


@dataclass(frozen=True)
class AnalyzeSettings:
    """Batches, budgets and limits of the analysis. Times are seconds or minutes as they say."""

    model: str = DEFAULT_MODEL
    batch_size: int = 100
    batch_timeout_seconds: int = 300
    tokens_per_day: int = 2_000_000
    requests_per_day: int = 2_000
    repeat_minutes: int = 360  # evidence that was answered is not asked about again for so long
    max_prompt_tokens: int = 30_000
    confidence_floor: float = 0.7
    prices: tuple[Price, ...] = field(default=DEFAULT_PRICES)

    @property
    def repeat_us(self) -> int:
        return self.repeat_minutes * 60 * MICROSECONDS

    @property
    def batch_timeout_us(self) -> int:
        return self.batch_timeout_seconds * MICROSECONDS
