"""Which order book runs: the compiled one where it is built, else the one in Python.

Both give the same events and the same dumps, so they can be exchanged at any moment, on the same log and snapshot.
"""

from shared.errors import InvalidSetting
from workers.engine.book import OrderBook


def order_book(core: str = "auto") -> type[OrderBook]:
    """The class of the books for the setting ``core``: auto, python or compiled.

    Raises ``InvalidSetting`` if the compiled one is asked for and not there.
    """
    if core == "python":
        return OrderBook
    try:
        from workers.engine.compiled import OrderBook as CompiledOrderBook
    except ImportError as error:
        if core == "compiled":
            raise InvalidSetting(
                f'MATCHBOX_CORE="compiled": the compiled order book is not built ({error}); install a C compiler and '
                'run "make build", or set MATCHBOX_CORE=auto'
            ) from error
        return OrderBook
    return CompiledOrderBook
