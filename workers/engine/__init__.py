"""The order book of one instrument, and the process that owns it."""
