"""Traders that make a market, through the public API alone, so that a newcomer sees one that lives."""
