"""The order book with its resting orders in C, where it was built; elsewhere this is an ``ImportError``. See book.pyx."""

from workers.engine.compiled.book import OrderBook

__all__ = ["OrderBook"]
