"""Patterns: what lines have in common. Shapes per line, patterns per service; see docs/patterns.md."""
