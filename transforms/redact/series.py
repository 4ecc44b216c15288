"""Redaction of metrics: the names and labels of series. Their numbers hold nothing to hide."""

from __future__ import annotations

from typing import Final

import msgspec

from transforms.elements import MetricBatch, MetricSeries
from transforms.redact.redactor import Redactor

_MEMO_ENTRIES: Final = 16_384


class MetricRedactor:
    """Redacts with one Redactor, and remembers a bounded number of series. Not for several threads."""

    def __init__(self, redactor: Redactor) -> None:
        self._redactor = redactor
        self._series: dict[MetricSeries, MetricSeries] = {}

    def batch(self, batch: MetricBatch) -> MetricBatch:
        """Redact every stored text of `batch` in place, dead letters included, and return it."""
        for points in batch.series:
            redacted = self._series.get(points.series)
            if redacted is None:
                redacted = self.series(points.series)
                if len(self._series) >= _MEMO_ENTRIES:
                    self._series.clear()
                self._series[points.series] = redacted
            points.series = redacted
        batch.dead_letters = [self._redactor.dead_letter(letter) for letter in batch.dead_letters]
        return batch

    def series(self, series: MetricSeries) -> MetricSeries:
        """The series with type, service, instance, unit and labels redacted; labels stay a JSON object."""
        text, tenant_id = self._redactor.text, series.tenant_id
        return msgspec.structs.replace(
            series,
            service=text(tenant_id, series.service),
            metric_type=text(tenant_id, series.metric_type),
            instance=text(tenant_id, series.instance),
            unit=text(tenant_id, series.unit),
            labels=self._labels(tenant_id, series.labels),
        )

    def _labels(self, tenant_id: str, labels: str) -> str:
        # As one text first: a secret is often known by the name that stands before it. Then each by
        # itself: an operator's pattern may be anchored, and JSON escapes what stands inside.
        text = self._redactor.text
        redacted = text(tenant_id, labels)
        values = _texts_by_name(redacted)
        if values is None:
            values = {"redacted": redacted}
        each = {text(tenant_id, name): text(tenant_id, value) for name, value in values.items()}
        return msgspec.json.encode(each, order="deterministic").decode()


def _texts_by_name(text: str) -> dict[str, str] | None:
    """The object of strings that the JSON `text` is, or None."""
    try:
        return msgspec.json.decode(text, type=dict[str, str])
    except msgspec.DecodeError:
        return None
