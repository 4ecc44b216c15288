"""Lines become mergeable window summaries before the shuffle."""
