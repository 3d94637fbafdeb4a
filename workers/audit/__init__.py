"""Checks the invariants of the exchange over its logs, its snapshots and PostgreSQL."""
