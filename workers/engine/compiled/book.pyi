from workers.engine.book import OrderBook as PythonOrderBook

class OrderBook(PythonOrderBook):
    def usage(self) -> dict[str, tuple[int, int]]: ...
