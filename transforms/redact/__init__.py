"""Redaction: no secret and no personal data past this stage."""
