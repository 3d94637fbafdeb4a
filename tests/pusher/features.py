"""A seeded market of orders of every kind: the ledger's world, with the engine's flows as what people ask for."""

import random

from shared import keys
from shared.messages import (
    Amend,
    AmendRequest,
    Cancel,
    CancelAll,
    CancelAllRequest,
    CancelRequest,
    Configure,
    OrderListRequest,
    OrderRequest,
    Place,
    PlaceList,
    Rejected,
    Tick,
    encode,
)
from tests.engine.feature_flow import FeatureFlow
from tests.ledger.world import World, coarse
from tests.pusher.market import Logged

SYMBOLS = ("AAA-USD", "BBB-USD")
ACCOUNTS = 6


def instrument(symbol, mode="online", price_collar=0):
    """The rules: whole units, so that every fee is rounded."""
    return coarse(symbol, maker_fee=1000, taker_fee=2500, mode=mode, price_collar=price_collar)


class FeatureMarket(Logged):
    """Books and shards that get on at random; ``write`` puts what they did since the last time onto the logs."""

    def __init__(self, url, seed=0, shards=1):
        super().__init__(url)
        self.dice = random.Random(seed)
        self.world = World(*map(instrument, SYMBOLS), shards=shards)
        self.ledgers, self.books = self.world.ledgers, self.world.books
        self.flows = {symbol: FeatureFlow(f"{seed} {symbol}") for symbol in SYMBOLS}
        self.requests = 0
        self._logged = {}  # tag -> how many of its entries were taken
        for symbol, flow in self.flows.items():
            flow.accounts = ACCOUNTS
            self.client.hset(keys.INSTRUMENTS, symbol, encode(instrument(symbol)))
        for account in range(1, ACCOUNTS + 1):
            self.world.deposit(account, USD=10**9, AAA=10**6, BBB=10**6)

    def request_id(self):
        """The next id."""
        self.requests += 1
        return f"r{self.requests}"

    def trade(self, count):
        """Let ``count`` things be asked for; books and shards follow now or later (``settle``: with all of it)."""
        for _ in range(count):
            symbol = self.dice.choice(SYMBOLS)
            self.ask(symbol)
            if self.dice.random() < 0.7:
                self.world.work(symbol)
                self.world.settle(self.dice.randrange(self.world.shards), symbol)
            elif self.dice.random() < 0.2:
                self.world.drain()
            if self.dice.random() < 0.02:
                self.world.reload(self.dice.randrange(self.world.shards))

    def settle(self):
        """Let books and shards do all that was asked for."""
        self.world.drain()

    def do(self, *requests):
        """Do these, one after the other."""
        for request in requests:
            events = self.world.requested(request)
            assert not any(isinstance(event, Rejected) for event in events), events
            self.settle()

    def ask(self, symbol):
        """What the flow wants next."""
        flow, world = self.flows[symbol], self.world
        flow.time = world.now
        known = [order.order_id for ledger in world.ledgers for order in ledger.orders if order.instrument == symbol]
        command = flow.next(known)
        match command:
            case Place():
                world.request(self.order(symbol, command))
            case PlaceList(account=account, kind=kind, orders=orders, first_fill=first_fill):
                legs = [self.order(symbol, leg) for leg in orders]
                world.requested(OrderListRequest(self.request_id(), account, symbol, kind, legs, first_fill))
            case Amend(order_id=order_id, price=price, quantity=quantity, stop_price=stop_price):
                world.request(
                    AmendRequest(self.request_id(), self.owner(order_id), order_id, "", "", price, quantity, stop_price)
                )
            case Cancel(order_id=order_id):
                world.request(CancelRequest(self.request_id(), self.owner(order_id), order_id))
            case CancelAll(account=account, side=side):
                world.request(CancelAllRequest(self.request_id(), account or 1, symbol, side))
            case Configure(instrument=wanted):
                world.set_instrument(instrument(symbol, wanted.mode, wanted.price_collar))
            case Tick(time=time):
                for shard in range(world.shards):
                    world.tick(shard, max(0, time - world.now))

    def owner(self, order_id):
        """Whose order that is; somebody's if nobody's."""
        orders = (ledger.order(order_id) for ledger in self.ledgers)
        return next((order.account for order in orders if order is not None), 1)

    def order(self, symbol, place):
        """An order of the flow as its owner asks for it: an order by funds by nothing else."""
        number = self.request_id()
        return OrderRequest(
            number, place.account, symbol, place.side, place.order_type,
            place.price if place.order_type == "limit" else 0, 0 if place.funds else place.quantity, place.funds,
            place.time_in_force, place.post_only, place.stp, f"client {number}" if self.dice.random() < 0.5 else "",
            place.conditions,
        )  # fmt: skip

    def write(self):
        """Put what is new onto the logs, each log in one transaction. Answers how many entries there were."""
        logs = {keys.shard_tag(shard): log for shard, log in enumerate(self.world.logs)}
        logs |= {keys.instrument_tag(symbol): log for symbol, log in self.world.book_logs.items()}
        for tag, log in logs.items():
            for payload in log[self._logged.get(tag, 0) :]:
                self.log(tag, payload)
            self._logged[tag] = len(log)
        return super().write()
