"""A seeded simulator of Cloud Logging entries of a small shop, with faults and their truth."""
