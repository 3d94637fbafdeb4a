"""Feeds a recorded order flow into a running exchange, through its ordinary inbox."""
