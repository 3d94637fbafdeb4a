"""Compares the engine's fills with those a recording tells of: the pure order book alone, no cluster."""
