"""Orders as their owners see them: open ones from the ledger, done ones from memory."""

import asyncio

import pytest

from shared.messages import (
    CancelRequest,
    Closed,
    Conditions,
    OrderListRequest,
    OrderRequest,
    decode_book_entry,
    decode_ledger_entry,
)
from tests.ledger.world import World, coarse
from workers.engine.book import OrderBook
from workers.gateway import known_orders as orders_module
from workers.gateway.known_orders import KnownOrders, Standing
from workers.gateway.market import Market
from workers.gateway.paging import Page
from workers.ledger.ledger import Ledger

BTC = coarse("BTC-USD")


class View:
    """A world, and a gateway's view of it that follows when told to."""

    def __init__(self):
        self.world = World(BTC)
        self.world.deposit(1, USD=100_000, BTC=1_000)
        self.world.deposit(2, USD=100_000, BTC=1_000)
        self.ledger, self.market = Ledger(0), Market(BTC, OrderBook(), 0)
        self.orders = KnownOrders([self.ledger], {"BTC-USD": self.market})
        self.read = self.read_book = 0

    def place(self, account, side, price, quantity=1, client_id=""):
        request = OrderRequest(f"r{self.world.now}", account, "BTC-USD", side, "limit", price, quantity)
        request.client_id = client_id
        return self.world.request(request).order_id

    def follow_ledger(self):
        for payload in self.world.logs[0][self.read :]:
            entry = decode_ledger_entry(payload)
            self.ledger.time = entry.time
            for event in entry.events:
                order = self.ledger.order(event.order_id) if isinstance(event, Closed) else None
                self.ledger.fold(event)
                if isinstance(event, Closed) and order is not None:
                    self.orders.close(order, event, entry.time)
        self.read = len(self.world.logs[0])

    def follow_book(self):
        log = self.world.book_logs["BTC-USD"]
        for number, payload in enumerate(log[self.read_book :], self.read_book + 1):
            self.market.follow(number, decode_book_entry(payload))
        self.read_book = len(log)

    def settle(self):
        self.world.drain()
        self.follow_book()
        self.follow_ledger()


@pytest.fixture
def view():
    """Two accounts with money."""
    return View()


def test_an_order_is_pending_then_open_then_done(view):
    """The API's words follow the order from its acceptance by way of its book to its end."""
    number = view.place(1, "buy", 100)
    view.follow_ledger()
    assert view.orders.status(view.orders.find(1, number)) == "pending"
    view.settle()
    assert view.orders.status(view.orders.find(1, number)) == "open"
    view.world.request(CancelRequest("c", 1, number))
    view.world.work_all()
    view.follow_book()
    assert view.orders.status(view.orders.find(1, number)) == "open", "gone from the book, not yet from the ledger"
    view.settle()
    known = view.orders.find(1, number)
    assert (view.orders.status(known), known.done_reason) == ("done", "canceled")
    assert known.done_at > 0


def test_stops_are_active_and_children_pending(view):
    """Where their book has them; what it has not seen yet is pending, also to a gateway that starts from a snapshot."""
    stop = OrderRequest("s", 1, "BTC-USD", "sell", "market", 0, 1, conditions=Conditions("loss", trail=5))
    sleeping = view.world.request(stop).order_id
    parent = OrderRequest("p", 1, "BTC-USD", "buy", "limit", 50, 1)
    child = OrderRequest("q", 1, "BTC-USD", "sell", "limit", 120, 1)
    accepted = view.world.requested(OrderListRequest("p", 1, "BTC-USD", "oto", [parent, child]))
    numbers = [sleeping, *(one.order_id for one in accepted)]
    view.follow_ledger()
    assert [view.orders.standing(view.orders.find(1, number)) for number in numbers] == [Standing("pending")] * 3
    view.settle()
    view.place(2, "buy", 100)
    view.place(1, "sell", 100)
    view.settle()
    expected = [Standing("active", 95), Standing("open"), Standing("pending", parent=numbers[1])]
    assert [view.orders.standing(view.orders.find(1, number)) for number in numbers] == expected
    loaded = Market(BTC, OrderBook.load(view.market.book.dump()), view.market.position)
    fresh = KnownOrders([view.ledger], {"BTC-USD": loaded})
    assert [fresh.standing(view.orders.find(1, number)) for number in numbers] == expected
    assert loaded.has_received(numbers[2])
    assert not loaded.has_received(numbers[2] + (2 << 8) + (1 << 8))


def test_nobody_finds_somebody_elses_order(view):
    """Open or done, by id or by client id: an order is its owner's alone."""
    number = view.place(1, "buy", 100, client_id="mine")
    view.settle()
    for _ in range(2):
        assert view.orders.find(1, number).order.order_id == number
        assert view.orders.find_by_client_id(1, "mine").order.order_id == number
        assert view.orders.find(2, number) is None
        assert view.orders.find_by_client_id(2, "mine") is None
        view.place(2, "sell", 100)
        view.settle()


def test_a_filled_order_keeps_what_it_did(view):
    """After its end, an order still shows what was filled, for how much."""
    sell, buy = view.place(1, "sell", 90, 3), view.place(2, "buy", 100, 2)
    view.settle()
    bought, sold = view.orders.find(2, buy), view.orders.find(1, sell)
    assert (bought.done_reason, bought.order.filled, bought.order.executed_value) == ("filled", 2, 180)
    assert (sold.is_done, sold.order.filled, sold.order.remaining) == (False, 2, 1)


def test_an_order_that_another_gateway_answered_is_beyond(view):
    """An id above all this replica has seen may exist; one below does not."""
    first, second = view.place(1, "buy", 100), None
    view.settle()
    second = view.place(1, "buy", 99)
    assert not view.orders.is_beyond(first)
    assert view.orders.is_beyond(second)
    view.settle()
    assert not view.orders.is_beyond(second)


@pytest.mark.parametrize("limit", [1, 3, 100])
def test_pages_go_through_open_and_done_orders_alike(view, limit):
    """Newest first by id, whether open or done, each once; forward and back."""
    numbers = [view.place(1, "buy", 50 + index) for index in range(10)]
    view.settle()
    for number in numbers[1::3]:
        view.world.request(CancelRequest(f"c{number}", 1, number))
    view.settle()

    def walk(**cursor):
        page = Page(limit, **cursor)
        return page.cut(view.orders.select(1, page, lambda _: True), lambda known: known.order.order_id)

    seen, cut = [], walk()
    while cut.items:
        seen += [known.order.order_id for known in cut.items]
        cut = walk(after=seen[-1])
    assert seen == numbers[::-1]
    assert [known.order.order_id for known in walk(before=numbers[4]).items] == numbers[5 : 5 + limit][::-1]
    wanted = view.orders.select(1, Page(100), lambda known: known.is_done)
    assert [known.order.order_id for known in wanted] == numbers[1::3][::-1]


def test_only_so_many_done_orders_are_kept(view, monkeypatch):
    """Memory is bounded: the order that was done first is forgotten first, and leaves nothing behind."""
    monkeypatch.setattr(orders_module, "DONE_KEPT", 2)
    numbers = [view.place(1, "buy", 50 + index) for index in range(4)]
    view.settle()
    for number in (numbers[2], numbers[0], numbers[3]):
        view.world.request(CancelRequest(f"c{number}", 1, number))
        view.settle()
    assert [view.orders.find(1, number) is None for number in numbers] == [False, False, True, False]
    found = view.orders.select(1, Page(), lambda _: True)
    assert [known.order.order_id for known in found] == [numbers[3], numbers[1], numbers[0]]


def test_waiting_for_an_end(view):
    """Who waits for an order is told why it was done, before or after it was; nobody waits for ever."""
    first, second = view.place(1, "buy", 100), view.place(1, "buy", 99)
    view.settle()

    async def run():
        waiting = asyncio.create_task(view.orders.wait_done(first, 5))
        await asyncio.sleep(0)
        view.world.request(CancelRequest("c", 1, first))
        view.settle()
        assert await waiting == "canceled"
        assert await view.orders.wait_done(first, 5) == "canceled"
        assert await view.orders.wait_done(second, 0.01) == ""

    asyncio.run(run())
    assert not view.orders._waiting
