"""The order book with its resting orders in C; ``book`` is there only where it was built. See ``book.pyx``."""
