"""A book, and a gateway's hub that follows it, without processes."""

from decimal import Decimal

import msgspec

from shared.messages import Amend, BookEntry, Cancel, Place, PlaceList
from tests.engine.feature_flow import FeatureFlow
from tests.engine.flows import AnyFlow
from tests.engine.harness import INSTRUMENT, configured
from tests.gateway.ear import Ear, Orders
from workers.engine.book import OrderBook
from workers.gateway.feed.hub import Hub
from workers.gateway.market import Market
from workers.gateway.markets import Markets

SYMBOL = INSTRUMENT.symbol


class Venue:
    """A book that does one command after the other, and the hub that tells of it."""

    def __init__(self):
        self.book = OrderBook()
        self.market = Market(INSTRUMENT, OrderBook(), 0)
        self.market.has_past = True
        self.hub = Hub(Markets({SYMBOL: self.market}))
        self.entries = []

    def do(self, *commands):
        """Let the book do commands and the hub follow; answers the last one's entry."""
        for command in commands:
            events = self.book.apply(command)
            entry = msgspec.json.decode(msgspec.json.encode(BookEntry("s 1-1", self.book.time, events)), type=BookEntry)
            self.entries.append(entry)
            self.hub.publish(self.market, len(self.entries), entry)
        return self.entries[-1]

    def listen(self, *channels, account=0):
        ear = Ear(account)
        self.hub.add(ear, [(channel, SYMBOL) for channel in channels])
        return ear

    def levels(self):
        """The truth, as a client would hold it."""
        texts = self.market.texts
        return {
            side: {Decimal(texts.price(p)): Decimal(texts.size(q)) for p, q, _ in self.book.levels(side)}
            for side in ("buy", "sell")
        }

    def queues(self):
        """The truth, order by order."""
        return Orders(self.rows()).sides

    def rows(self):
        """What ``book?level=3`` answers."""
        return msgspec.json.decode(Market(INSTRUMENT, self.book, 0).rendered_book(3))


class AnyVenue(Venue):
    """Plain orders, cancels and modes."""

    def __init__(self, seed, count=200):
        super().__init__()
        self.commands = AnyFlow(seed).commands(count)

    def run(self, count=10**9):
        """Do the next commands; answers each entry."""
        for command in self.commands[:count]:
            yield self.do(command)
        self.commands = self.commands[count:]


class FeatureVenue(Venue):
    """All that a book knows: stops, icebergs, amends, lists, auctions, expiry. Every order has a client id."""

    def __init__(self, seed):
        super().__init__()
        self.flow = FeatureFlow(seed)
        self.owners = {}
        self.do(configured(time=1))

    def run(self, count):
        """Do the next commands; answers each entry."""
        for _ in range(count):
            command = self.flow.next(sorted(self.book.ids_of(0, "")))
            for order in command.orders if isinstance(command, PlaceList) else [command]:
                if isinstance(order, Place):
                    order.client_id = f"client-{order.order_id}"
                    self.owners[order.order_id] = order.account
            if isinstance(command, Amend | Cancel):
                command.account = self.owners.get(command.order_id, 1)
            yield self.do(command)
