"""Checks everything while it happens: follows all logs, and halts what breaks an invariant."""
