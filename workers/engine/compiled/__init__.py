"""The order book with its resting orders in C (book.pyx); where it is not built, importing this fails."""

from workers.engine.compiled.book import OrderBook

__all__ = ["OrderBook"]
