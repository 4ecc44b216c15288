"""`aiops notify`: tells people and services of alerts, by a policy file."""
