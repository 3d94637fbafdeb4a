"""Clients that mean no good, or do not know better: nothing they send makes a fault, and nobody else notices."""
