"""The order desk on real ledgers and books that move only when told to: whatever comes between, the answer is right."""

import asyncio
import time

import pytest

from shared.instants import iso
from shared.messages import CancelRequest, OrderRequest, decode_book_entry, decode_ledger_entry, decode_request
from shared.order_id import to_uuid
from shared.settings import Settings
from tests.ledger.world import World, coarse
from workers.engine.book import OrderBook
from workers.gateway.backpressure import Backpressure
from workers.gateway.errors import ApiError
from workers.gateway.feed.hub import Hub
from workers.gateway.history import History
from workers.gateway.inbox import Inbox
from workers.gateway.market import Market
from workers.gateway.markets import Markets
from workers.gateway.orders import Desk
from workers.gateway.replicas import Replicas

BTC = coarse("BTC-USD")
SELL = {"product_id": "BTC-USD", "side": "sell", "price": "100", "size": "10"}
STOP = {"product_id": "BTC-USD", "side": "sell", "type": "market", "stop_price": "80", "size": "10"}


class Back:
    """What is behind the desk: nothing moves by itself."""

    def __init__(self):
        self.world = World(BTC)
        for account in (1, 2):
            self.world.deposit(account, USD=100_000, BTC=1_000)
        self.inbox = Inbox(None, 0, 5.0, Backpressure(None, Settings()))
        history = History(None)  # type: ignore[arg-type]  # memory has all
        self.replicas = Replicas(
            None, history, 1, Markets({"BTC-USD": Market(BTC, OrderBook(), 0)}), self.inbox, Hub(Markets())
        )
        self.replicas.trouble = ""
        self.desk = Desk(self.inbox, self.replicas, history, 1, 1)
        self.read = self.read_book = 0
        self.follow()

    async def ask(self, coroutine):
        """A task that has sent its request, and the request."""
        task = asyncio.create_task(coroutine)
        await asyncio.sleep(0)
        ((number, payload),) = self.inbox._queue.pop(0)
        request = decode_request(payload)
        assert request.request_id == number
        return task, request

    async def do(self, coroutine):
        """The whole of it: sent, decided, followed."""
        task, request = await self.ask(coroutine)
        self.world.requested(request)
        self.settle()
        return await task

    def follow(self):
        """Follow what the logs have."""
        log = self.world.book_logs["BTC-USD"]
        for number, payload in enumerate(log[self.read_book :], self.read_book + 1):
            self.replicas.markets["BTC-USD"].follow(number, decode_book_entry(payload))
        for payload in self.world.logs[0][self.read :]:
            self.replicas._follow(self.replicas.ledgers[0], decode_ledger_entry(payload))
        self.read, self.read_book = len(self.world.logs[0]), len(log)

    def settle(self):
        """Let books and ledger finish, and follow."""
        self.world.drain()
        self.follow()

    def buy(self, price, quantity):
        """Account 2 buys."""
        self.world.request(OrderRequest(f"b{self.world.now}", 2, "BTC-USD", "buy", "limit", price, quantity))


@pytest.fixture
def back():
    """Two accounts with money."""
    return Back()


def run(coroutine):
    return asyncio.run(coroutine)


def test_an_amend_is_answered_when_its_book_has_done_it(back):
    """Not when it is on its way."""

    async def story():
        order = await back.do(back.desk.place(1, SELL))
        task, request = await back.ask(back.desk.amend(1, order.id, {"price": "90", "size": "7"}))
        back.world.requested(request)
        back.follow()
        await asyncio.sleep(0)
        assert not task.done()
        assert back.desk.answer(await back.desk.find(1, order.id)).price == "100"
        back.settle()
        answer = await task
        assert (answer.price, answer.size, answer.status) == ("90", "7", "open")

    run(story())


def test_an_amend_of_a_child_that_goes_live_meanwhile_says_why_it_failed(back):
    """Its book refused it as one that waits; when that is answered it rests, and another try will do."""

    async def story():
        buy, sell = SELL | {"side": "buy", "price": "90"}, SELL | {"price": "120"}
        placed = await back.do(back.desk.place_list(1, {"type": "oto", "orders": [buy, sell], "trigger": "first_fill"}))
        child = placed.orders[1].id
        task, request = await back.ask(back.desk.amend(1, child, {"size": "7"}))
        back.world.requested(request)
        back.world.drain()
        back.world.request(OrderRequest("s", 2, "BTC-USD", "sell", "limit", 90, 10))
        back.settle()
        with pytest.raises(ApiError, match="waited behind another when the amend came; send it again"):
            await task
        assert (await back.do(back.desk.amend(1, child, {"size": "7"}))).size == "7"

    run(story())


BETWEEN = [
    (lambda back, order_id: back.buy(100, 10), "Order already done", 404),
    (lambda back, order_id: back.world.request(CancelRequest("c", 1, order_id)), "Order already done", 404),
    (
        lambda back, order_id: back.buy(100, 8),
        "size is too small: 7 is below what is filled of the order already, 8",
        400,
    ),
]


@pytest.mark.parametrize(("meanwhile", "says", "status"), BETWEEN, ids=["filled", "canceled", "filled too much"])
@pytest.mark.parametrize("late", [False, True])
def test_an_amend_that_comes_too_late(back, meanwhile, says, status, late):
    """What happened to the order before the amend came to its book, or to its ledger, is the answer."""

    async def story():
        order = await back.do(back.desk.place(1, SELL))
        task, request = await back.ask(back.desk.amend(1, order.id, {"size": "7"}))
        meanwhile(back, back.replicas.orders.find(1, request.order_id).order.order_id)
        if late:
            back.world.drain()
        back.world.requested(request)
        back.settle()
        with pytest.raises(ApiError, match=says) as error:
            await task
        assert error.value.status == status

    run(story())


def test_an_amend_to_what_is_filled_ends_the_order(back):
    """That was asked for: the answer is the order, done and canceled."""

    async def story():
        order = await back.do(back.desk.place(1, SELL))
        back.buy(100, 4)
        back.settle()
        answer = await back.do(back.desk.amend(1, order.id, {"size": "4"}))
        assert (answer.status, answer.done_reason, answer.filled_size) == ("done", "canceled", "4")

    run(story())


def test_an_amend_that_crosses_is_answered_with_its_fills(back):
    """The order as it stands behind the whole entry of its book."""

    async def story():
        order = await back.do(back.desk.place(1, SELL))
        back.buy(90, 4)
        back.settle()
        answer = await back.do(back.desk.amend(1, order.id, {"price": "90"}))
        assert (answer.status, answer.filled_size, answer.price) == ("open", "4", "90")
        back.buy(80, 6)
        back.settle()
        answer = await back.do(back.desk.amend(1, order.id, {"price": "80"}))
        assert (answer.status, answer.done_reason, answer.filled_size) == ("done", "filled", "10")

    run(story())


def test_each_of_two_amends_gets_its_own_answer(back):
    """Both on their way at once: the first is answered by the first."""

    async def story():
        order = await back.do(back.desk.place(1, SELL))
        first, one = await back.ask(back.desk.amend(1, order.id, {"price": "90"}))
        second, other = await back.ask(back.desk.amend(1, order.id, {"price": "95"}))
        for request in (one, other):
            back.world.requested(request)
        back.world.work("BTC-USD")
        back.world.settle(0, "BTC-USD")
        back.follow()
        assert (await first).price == "90"
        assert not second.done()
        back.settle()
        assert (await second).price == "95"

    run(story())


def test_a_list_and_its_repeat(back):
    """Every order of a list is answered; the same client ids again answer the same orders, a mixture is refused."""
    orders = [SELL | {"client_oid": "a"}, STOP | {"client_oid": "b"}]

    async def story():
        first = await back.do(back.desk.place_list(1, {"type": "oco", "orders": orders}))
        assert (first.type, [order.client_oid for order in first.orders]) == ("oco", ["a", "b"])
        again = await back.do(back.desk.place_list(1, {"type": "oco", "orders": orders}))
        assert [order.id for order in again.orders] == [order.id for order in first.orders]
        assert [order.status for order in again.orders] == ["open", "active"]
        with pytest.raises(ApiError, match="placed before"):
            await back.do(back.desk.place_list(1, {"type": "oco", "orders": [orders[0], STOP]}))
        assert not back.inbox._waiting

    run(story())


def test_a_repeat_is_answered_though_it_would_be_too_late(back):
    """The price has left an oco behind, or the time has passed: the first list or order is answered all the same."""
    orders = [SELL | {"client_oid": "a"}, STOP | {"client_oid": "b"}]
    soon = {"time_in_force": "GTT", "client_oid": "c", "price": "150"}

    async def story():
        async def caught_up(shard):
            back.follow()

        back.replicas.catch_up = caught_up
        first = await back.do(back.desk.place_list(1, {"type": "oco", "orders": orders}))
        until = iso(time.time_ns() + 50_000_000)
        second = await back.do(back.desk.place(1, SELL | soon | {"cancel_after": until}))
        back.buy(100, 1)
        back.settle()
        await asyncio.sleep(0.06)
        again = await back.do(back.desk.place_list(1, {"type": "oco", "orders": orders}))
        assert [order.id for order in again.orders] == [order.id for order in first.orders]
        assert (await back.do(back.desk.place(1, SELL | soon | {"cancel_after": until}))).id == second.id
        with pytest.raises(ApiError, match="must be above the last trade"):
            await back.desk.place_list(
                1, {"type": "oco", "orders": [SELL | {"client_oid": "d"}, orders[1] | {"client_oid": "e"}]}
            )
        with pytest.raises(ApiError, match=f"cancel_after {until} is not in the future"):
            await back.desk.place(1, SELL | soon | {"cancel_after": until, "client_oid": "f"})

    run(story())


def test_a_list_sent_twice_by_a_broken_connection_is_one_list(back):
    """The ids of its orders are those of the request: the second copy is a duplicate, and its answer nobody's."""

    async def story():
        task, request = await back.ask(back.desk.place_list(1, {"type": "oco", "orders": [SELL, STOP]}))
        back.world.requested(request)
        back.world.requested(request)
        back.settle()
        assert len((await task).orders) == len(back.replicas.ledgers[0].open_orders(1)) == 2

    run(story())


def test_an_amend_sent_twice_by_a_broken_connection(back):
    """The second copy says what the order is already; one that comes behind another amend is not sent any more."""

    async def story():
        order = await back.do(back.desk.place(1, SELL))
        task, request = await back.ask(back.desk.amend(1, order.id, {"price": "90"}))
        back.world.requested(request)
        back.world.requested(request)
        back.settle()
        assert (await task).price == "90"
        assert back.replicas.ledgers[0].open_orders(1)[0].amends == ()
        assert request.request_id not in back.inbox._waiting

    run(story())


def test_cancel_answers_when_the_hold_is_free(back):
    """And mass-cancel all ids but those that were filled meanwhile."""

    async def story():
        order = await back.do(back.desk.place(1, SELL))
        assert await back.do(back.desk.cancel(1, order.id)) == order.id
        assert back.replicas.ledgers[0].balances(1)["BTC"].held == 0
        one, other = [await back.do(back.desk.place(1, SELL | {"price": price})) for price in ("100", "101")]
        task, request = await back.ask(back.desk.cancel_all(1, "", "sell"))
        back.buy(100, 10)
        back.world.requested(request)
        back.settle()
        assert await task == [other.id]
        assert one.id != other.id

    run(story())


@pytest.mark.parametrize("mass", [False, True])
def test_a_cancel_that_has_not_come_to_its_book_is_not_answered_as_done(back, monkeypatch, mass):
    """The book's process is away: the order rests and can be filled when it is back, so nobody is told otherwise."""
    monkeypatch.setattr("workers.gateway.orders.CANCEL_WAIT_S", 0.01)

    async def story():
        order = await back.do(back.desk.place(1, SELL))
        task, request = await back.ask(back.desk.cancel_all(1) if mass else back.desk.cancel(1, order.id))
        back.world.requested(request)
        back.follow()
        with pytest.raises(ApiError, match="the cancel is on its way") as error:
            await task
        assert error.value.status == 503
        back.settle()
        assert (await back.desk.find(1, order.id)).is_done

    run(story())


@pytest.mark.parametrize("reference", [to_uuid(1 << 8), "client:none"])
def test_an_unknown_order_needs_the_history(back, reference):
    """Nothing is guessed: what memory does not have is looked up."""

    async def story():
        looked = []

        async def look(*asked):
            looked.append(asked)

        async def covered(shard):
            return False

        back.desk._history.order = back.desk._history.order_by_client_id = look
        back.replicas.wait_covered = covered
        await back.do(back.desk.place(1, SELL))
        with pytest.raises(ApiError, match="order not found"):
            await back.desk.find(2, reference)
        assert len(looked) == 1

    run(story())


def test_no_client_id_is_nobodys(back):
    """An empty id behind "client:" must never mean an order without one: a cancel would hit any of them."""

    async def story():
        order = await back.do(back.desk.place(1, SELL))
        with pytest.raises(ApiError, match="Invalid order id") as error:
            await back.desk.cancel(1, "client:")
        assert error.value.status == 400
        assert (await back.desk.find(1, order.id)).is_done is False

    run(story())
