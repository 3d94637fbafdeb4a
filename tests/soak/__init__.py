"""The demo's market for a long time, with a fault a minute: what it costs in memory, and whether all adds up after."""
