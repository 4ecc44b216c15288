"""What is asked of a store about Gemini."""

from __future__ import annotations

from aiops.query import Filters, Found, common_conditions, find_rows
from pipeline.duckdb_store import DuckDBStore


def find_hypotheses(store: DuckDBStore, filters: Filters) -> Found:
    """What Gemini claimed and was not believed, the newest first. `type` is why, e.g. wrong_number."""
    return find_rows(
        store,
        "current_hypotheses",
        "window_start DESC, tenant_id, service, hypothesis_id",
        [
            *common_conditions(store, filters, "window_end"),
            ("service = $service", "service", filters.service),
            ("reason = $type", "type", filters.type),
        ],
        filters.limit,
    )
