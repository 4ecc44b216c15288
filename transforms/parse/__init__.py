"""Payloads of Cloud Logging sinks become log entries, dead letters and ledger counts."""
