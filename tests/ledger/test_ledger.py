"""The ledger as a machine: repeats, cancels, transfers, settling, folding, snapshots."""

import pytest

from shared.errors import CorruptState, RejectReason
from shared.instrument import MONEY_MAX, make_instrument
from shared.messages import (
    AllCanceled,
    BookEntry,
    BookEvent,
    Cancel,
    CancelAll,
    CancelAllRequest,
    CancelAllRequested,
    CancelRefused,
    CancelRequest,
    CancelRequested,
    Change,
    Closed,
    Configure,
    Done,
    Duplicate,
    Filled,
    HoldReduced,
    InstrumentRequest,
    InstrumentSet,
    LastPrice,
    LedgerEntry,
    Match,
    Place,
    Received,
    Rejected,
    Transferred,
    TransferRequest,
)
from shared.order_id import order_id
from tests.ledger.test_risk import a_limit, a_market
from tests.ledger.world import World, coarse
from workers.ledger import orders
from workers.ledger.accounts import Balance
from workers.ledger.ledger import Ledger

R = RejectReason
FEE = 100_000  # 10 %
FIRST = order_id(1, 0)


def world(**rules):
    """Account 1 has 1000 USD, account 2 has 100 BTC; the taker pays 10 %."""
    made = World(coarse("BTC-USD", taker_fee=FEE, **rules), coarse("ETH-USD"), coarse("BTC-ETH"))
    made.deposit(1, USD=1000)
    made.deposit(2, BTC=100)
    return made


# --- orders and repeats ----------------------------------------------------------------------------


def test_an_accepted_order_is_held_answered_and_sent():
    """One event with all numbers, one command that says the same, and an open order."""
    made = world()
    event = made.request(a_limit(client_id="mine", stp="cb"))
    ledger = made.ledgers[0]
    assert event.order_id == FIRST
    assert ledger.balances(1)["USD"] == Balance(945, 55)
    (command,) = made.commands["BTC-USD"]
    assert b'"order_id":256,"account":1' in command
    order = ledger.order(FIRST)
    assert order is not None
    assert (order.hold, order.remaining, order.time, order.client_id) == (55, 5, ledger.time, "mine")
    assert list(ledger.open_orders(1)) == [order]
    assert ledger.by_client_id(1, "mine") == FIRST


def test_the_book_is_told_everything_about_an_order():
    """Time, kind, bounds, flags and the rates at which it was accepted."""
    ledger = Ledger(0)
    ledger.apply(InstrumentRequest("i", coarse("BTC-USD", maker_fee=7, taker_fee=9)), 5)
    ledger.apply(TransferRequest("d", 1, "USD", 1000), 6)
    request = a_limit(time_in_force="FOK", stp="cn", client_id="c")
    _, [(symbol, command)] = ledger.apply(request, 7)
    assert symbol == "BTC-USD"
    assert command == Place(
        FIRST, 1, 7, "buy", "limit", 10, 5, 0, "FOK", False, "cn", maker_fee=7, taker_fee=9, client_id="c"
    )  # fmt: skip


@pytest.mark.parametrize("ids", [{"request_id": "a"}, {"request_id": "b", "client_id": "a"}])
def test_a_repeat_is_answered_with_the_first_order(ids):
    """Nothing is held twice, whatever else the second request says, and also when the order is closed long since."""
    made = world()
    first = made.request(a_limit(**ids))
    held = made.ledgers[0].balances(1)["USD"].held
    again = a_limit(**(ids | {"quantity": 7, "instrument": "ETH-USD"}))
    assert made.request(again) == Duplicate(ids["request_id"], 1, first.order_id)
    assert made.ledgers[0].balances(1)["USD"].held == held
    made.request(CancelRequest("x", 1, first.order_id))
    made.drain()
    assert made.request(again) == Duplicate(ids["request_id"], 1, first.order_id)


def test_a_client_id_counts_and_not_the_request_id_beside_it():
    """Two orders with the same client id are one, two with different ones are two, whatever the request ids."""
    made = world()
    first = made.request(a_limit(request_id="1", client_id="mine"))
    assert made.request(a_limit(request_id="2", client_id="mine")).order_id == first.order_id
    assert made.request(a_limit(request_id="1", client_id="other")).order_id == order_id(2, 0)
    assert made.request(a_limit(request_id="mine")).order_id == order_id(3, 0)


def test_ids_belong_to_an_account():
    """Another account's order with the same ids is another order."""
    made = world()
    made.deposit(3, USD=1000)
    made.request(a_limit(client_id="mine"))
    assert made.request(a_limit(account=3, client_id="mine")).order_id == order_id(2, 0)


def test_a_rejected_order_does_not_use_up_its_id():
    """The same id works once the reason is gone."""
    made = world()
    assert isinstance(made.request(a_limit(client_id="mine", quantity=1000)), Rejected)
    assert made.request(a_limit(client_id="mine")).order_id == FIRST


def test_ids_of_closed_orders_are_forgotten_in_the_end(monkeypatch):
    """After as many others as the memory has room for; folding forgets the same."""
    monkeypatch.setattr(orders, "PAST_MAX", 2)
    made = world()
    first = made.request(a_limit(client_id="mine"))
    made.request(CancelRequest("x", 1, first.order_id))
    made.drain()
    made.deposit(1, USD=1)
    assert isinstance(made.request(a_limit(client_id="mine")), Duplicate)
    made.deposit(1, USD=1)
    assert made.request(CancelRequest("y", 1, first.order_id)).reason == R.UNKNOWN_ORDER
    assert made.request(a_limit(client_id="mine")).order_id == order_id(2, 0)
    assert made.ledgers[0].dump() == made.replicas[0].dump()


def test_ids_name_their_shard():
    """Orders of different shards never have the same id."""
    made = World(coarse("BTC-USD"), shards=4)
    made.deposit(3, USD=1000)
    assert made.request(a_limit(account=3)).order_id == order_id(1, 3)


# --- cancels -----------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", [{"order_id": FIRST}, {"client_id": "mine"}])
def test_a_cancel_goes_to_the_book(name):
    """By either name; the hold stays until the book says that it is done."""
    made = world()
    made.request(a_limit(client_id="mine"))
    assert made.request(CancelRequest("x", 1, **name)) == CancelRequested("x", 1, FIRST, "BTC-USD")
    assert made.ledgers[0].balances(1)["USD"].held == 55
    assert made.drain() == [Closed(1, FIRST, "BTC-USD", "canceled", 55, 5)]
    assert made.ledgers[0].balances(1)["USD"] == Balance(1000, 0)


@pytest.mark.parametrize(
    "request_",
    [
        CancelRequest("x", 2, FIRST),
        CancelRequest("x", 1, FIRST + 1),
        CancelRequest("x", 1, 0, "other"),
        CancelRequest("x", 2, 0, "mine"),
        CancelRequest("x", 1),
        CancelRequest("x", 1, FIRST, instrument="ETH-USD"),
        CancelRequest("x", 1, -(10**30)),
    ],
)
def test_an_order_of_nobody_or_of_somebody_else_is_not_found(request_):
    """One answer for all: who asks cannot learn whether another's order exists."""
    made = world()
    made.request(a_limit(client_id="mine"))
    event = made.request(request_)
    assert (event.reason, event.message) == (R.UNKNOWN_ORDER, "order not found")
    assert len(made.commands["BTC-USD"]) == 1


@pytest.mark.parametrize("name", [{"order_id": FIRST}, {"client_id": "mine"}])
def test_a_closed_order_is_already_done(name):
    """For its own account; for others it is not found."""
    made = world()
    made.request(a_limit(client_id="mine", time_in_force="IOC"))
    made.drain()
    event = made.request(CancelRequest("x", 1, **name))
    assert (event.reason, event.message) == (R.ORDER_DONE, "Order already done")
    assert made.request(CancelRequest("x", 2, **name)).reason == R.UNKNOWN_ORDER


def test_a_cancel_with_the_right_instrument_is_accepted():
    """An instrument may be given, and then has to be the order's."""
    made = world()
    made.request(a_limit())
    assert isinstance(made.request(CancelRequest("x", 1, FIRST, instrument="BTC-USD")), CancelRequested)


@pytest.mark.parametrize(
    ("instrument", "side", "symbols", "counts"),
    [
        ("", "", ["BTC-USD", "ETH-USD"], [1, 2, 3]),
        ("BTC-USD", "", ["BTC-USD"], [1, 3]),
        ("", "buy", ["BTC-USD", "ETH-USD"], [1, 2]),
        ("BTC-USD", "sell", ["BTC-USD"], [3]),
        ("ETH-USD", "sell", [], []),
        ("BTC-ETH", "", [], []),
    ],
)
def test_a_mass_cancel_reaches_the_books_it_concerns(instrument, side, symbols, counts):
    """One command per instrument in which the account has such orders, and an answer that names the orders."""
    made = world()
    made.deposit(1, BTC=5)
    made.deposit(3, USD=100)
    made.request(a_limit(request_id="a"))
    made.request(a_limit(request_id="b", instrument="ETH-USD"))
    made.request(a_limit(request_id="c", side="sell", price=20))
    made.request(a_limit(request_id="d", account=3, quantity=1))
    ledger = made.ledgers[0]
    [event], commands = ledger.apply(CancelAllRequest("x", 1, instrument, side), 99)
    assert event == CancelAllRequested("x", 1, symbols, [order_id(count, 0) for count in counts])
    assert commands == [(symbol, CancelAll(1, 99, side, "x")) for symbol in symbols]


@pytest.mark.parametrize(
    ("request_", "reason"),
    [
        (CancelAllRequest("x", 0), R.INVALID_ORDER),
        (CancelAllRequest("x", 1, "XXX-USD"), R.UNKNOWN_INSTRUMENT),
        (CancelAllRequest("x", 1, side="both"), R.INVALID_ORDER),
    ],
)
def test_a_mass_cancel_of_nobody_is_refused(request_, reason):
    """To a book account 0 means everyone; no user may ask that."""
    assert world().request(request_).reason == reason


# --- transfers ---------------------------------------------------------------------------------------


def test_a_transfer_happens_once():
    """Its repeat moves nothing, and an order with the same request id is another thing."""
    made = world()
    request = TransferRequest("r", 1, "USD", -400)
    assert made.request(request) == Transferred("r", 1, "USD", -400)
    assert made.request(request) == Duplicate("r", 1, 0)
    assert made.ledgers[0].balances(1)["USD"] == Balance(600, 0)
    assert made.request(a_limit(request_id="r")).order_id == FIRST


@pytest.mark.parametrize(
    ("request_", "reason", "says"),
    [
        (TransferRequest("r", 1, "USD", 0), R.INVALID_ORDER, "must not be 0"),
        (TransferRequest("r", 1, "XXX", 5), R.UNKNOWN_CURRENCY, "Currency not found"),
        (TransferRequest("r", 1, "USD", -1001), R.INSUFFICIENT_FUNDS, "Insufficient funds"),
        (TransferRequest("r", 1, "BTC", -1), R.INSUFFICIENT_FUNDS, "Insufficient funds"),
        (TransferRequest("r", 1, "USD", MONEY_MAX), R.LIMIT_EXCEEDED, f"at most {MONEY_MAX} USD"),
        (TransferRequest("r", 3, "USD", MONEY_MAX - 999), R.LIMIT_EXCEEDED, "all accounts of the shard together"),
        (TransferRequest("r", 1, "USD", 5, 1004), R.LIMIT_EXCEEDED, "up to a balance of 1004 USD, and yours is 1000"),
        (TransferRequest("r", 1, "USD", -(10**40)), R.INSUFFICIENT_FUNDS, ""),
        (TransferRequest("r", 0, "USD", 5), R.INVALID_ORDER, "not a user's account"),
        (TransferRequest("", 1, "USD", 5), R.INVALID_ORDER, "request id is missing"),
    ],
)
def test_a_refused_transfer_moves_nothing(request_, reason, says):
    """And its request id may be used again."""
    made = world()
    for _ in range(2):
        event = made.request(request_, shard=0)
        assert isinstance(event, Rejected)
        assert (event.reason, says in event.message) == (reason, True)
    assert made.ledgers[0].accounts.rows() == [(1, "USD", 1000, 0), (2, "BTC", 100, 0)]


def test_held_money_cannot_be_withdrawn():
    """Only what is available."""
    made = world()
    made.request(a_limit())
    assert made.request(TransferRequest("r", 1, "USD", -946)).reason == R.INSUFFICIENT_FUNDS
    assert isinstance(made.request(TransferRequest("s", 1, "USD", -945)), Transferred)


def test_a_deposit_goes_up_to_what_it_says():
    """What orders hold counts; a repeat is a repeat however full the account is; withdrawals have no limit."""
    made = world()
    made.request(a_limit())
    assert made.request(TransferRequest("r", 1, "USD", 6, 1005)).reason == R.LIMIT_EXCEEDED
    assert isinstance(made.request(TransferRequest("r", 1, "USD", 5, 1005)), Transferred)
    assert isinstance(made.request(TransferRequest("r", 1, "USD", 5, 1005)), Duplicate)
    assert isinstance(made.request(TransferRequest("w", 1, "USD", -1, 1)), Transferred)


def test_all_money_together_fits_64_bits():
    """Trading could bring it all to one account, so it is bounded together; a withdrawal makes room."""
    made = world()
    assert isinstance(made.request(TransferRequest("a", 3, "USD", MONEY_MAX - 1000)), Transferred)
    assert made.request(TransferRequest("b", 4, "USD", 1)).reason == R.LIMIT_EXCEEDED
    made.request(TransferRequest("c", 1, "USD", -1))
    assert isinstance(made.request(TransferRequest("b", 4, "USD", 1)), Transferred)


# --- instruments -------------------------------------------------------------------------------------


def test_the_first_shard_tells_the_book():
    """Every shard follows an instrument, one of them passes it on."""
    instrument = coarse("BTC-USD")
    for shard, told in ((0, [("BTC-USD", Configure(instrument, 7))]), (1, [])):
        ledger = Ledger(shard, 2)
        assert ledger.apply(InstrumentRequest("r", instrument), 7) == ([InstrumentSet("r", instrument)], told)
        assert ledger.instruments == {"BTC-USD": instrument}
        assert ledger.scales == {"BTC": 0, "USD": 0}


def test_an_instrument_that_contradicts_another_is_refused():
    """A currency has the same unit everywhere."""
    made = world()
    wrong = make_instrument("DOT-USD", "1", "1", base_scale=0, quote_scale=2)
    event = made.request(InstrumentRequest("s", wrong), shard=0)
    assert (event.reason, event.account, event.request_id) == (R.CURRENCY_SCALE, 0, "s")
    assert "USD has 0 decimals here, not 2" in event.message


def test_open_orders_keep_the_fees_they_were_accepted_with():
    """A change of rates concerns later orders."""
    made = world()
    made.request(a_limit())
    made.set_instrument(coarse("BTC-USD", maker_fee=500_000, taker_fee=500_000))
    made.request(a_limit(account=2, side="sell"))
    buy, sell = (event for event in made.drain() if isinstance(event, Filled))
    assert (buy.fee, sell.fee) == (0, 25)


# --- settling ----------------------------------------------------------------------------------------


def test_a_trade_settles_both_sides():
    """The maker bought 5 at 10 free of fees, the taker pays 10 % of what it gets; both are closed."""
    made = world()
    made.request(a_limit())
    made.drain()
    made.request(a_limit(account=2, side="sell", price=9))
    second = order_id(2, 0)
    assert made.drain() == [
        Filled(1, FIRST, "BTC-USD", 1, 4, "buy", "M", 10, 5, 50, 5, fee=0, released=5),
        Filled(2, second, "BTC-USD", 1, 4, "sell", "T", 10, 5, 50, 5, fee=5),
        Closed(1, FIRST, "BTC-USD", "filled", 0, 0, side="buy"),
        Closed(2, second, "BTC-USD", "filled", 0, 0, side="sell"),
    ]
    ledger = made.ledgers[0]
    assert ledger.accounts.rows() == [
        (0, "USD", 5, 0), (1, "BTC", 5, 0), (1, "USD", 950, 0), (2, "BTC", 95, 0), (2, "USD", 45, 0),
    ]  # fmt: skip
    assert ledger.last_prices == {"BTC-USD": 10}


def test_an_order_keeps_account_of_its_fills():
    """What a client sees of an open order: filled, value, fees."""
    made = world()
    made.request(a_limit(account=2, side="sell", quantity=3))
    made.request(a_limit(price=12))
    made.drain()
    order = made.ledgers[0].order(order_id(2, 0))
    assert order is not None
    assert (order.filled, order.remaining, order.executed_value, order.fees) == (3, 2, 30, 3)
    assert order.hold == 24 + 3


def test_a_decrement_releases_its_part():
    """Self-trade prevention takes 2 of 5 lots off the resting order."""
    made = world()
    made.deposit(1, BTC=2)
    made.request(a_limit())
    made.request(a_limit(request_id="s", side="sell", quantity=2))
    assert made.drain() == [
        HoldReduced(1, FIRST, "BTC-USD", 3, 22, "buy", 3),
        Closed(1, order_id(2, 0), "BTC-USD", "canceled", 2, 2, R.SELF_TRADE, "sell"),
    ]


def test_a_refusal_by_the_book_releases_everything():
    """Post-only that would take: the order was accepted, so it is closed."""
    made = world()
    made.request(a_limit(account=2, side="sell"))
    made.request(a_limit(post_only=True))
    made.drain()
    assert made.ledgers[0].balances(1)["USD"] == Balance(1000, 0)
    assert b'"reason":"rejected","released":55' in made.logs[0][-1]


def test_what_moves_nothing_here_leaves_no_entry():
    """Orders that came to rest, other shards' orders and answers to cancels are no business of this shard's money."""
    made = World(coarse("BTC-USD"), shards=2)
    made.deposit(2, USD=1000)
    made.request(a_limit(account=2))
    made.work_all()
    before = [ledger.dump() for ledger in made.ledgers]
    assert made.drain() == []
    events: list[BookEvent] = [
        Received(9, 999, 1, "buy", "limit"),
        Change(10, 999, 1, "buy", 5, 5, 4),
        Done(11, 999, 1, "buy", "canceled"),
        CancelRefused(998, 0),
        AllCanceled(0, 3),
    ]
    assert made.ledgers[0].settle("BTC-USD", BookEntry("x", 1, events), 10**18) == []
    assert [ledger.dump() for ledger in made.ledgers] == before


def test_shards_settle_their_own_side():
    """Each shard moves its account's money and takes its fee; each knows the last price."""
    made = World(coarse("BTC-USD", taker_fee=FEE), shards=3)
    made.deposit(1, USD=1000)
    made.deposit(2, BTC=100)
    made.request(a_limit())
    made.request(a_limit(account=2, side="sell"))
    made.drain()
    assert [ledger.accounts.rows() for ledger in made.ledgers] == [
        [],
        [(1, "BTC", 5, 0), (1, "USD", 950, 0)],
        [(0, "USD", 5, 0), (2, "BTC", 95, 0), (2, "USD", 45, 0)],
    ]
    assert [ledger.last_prices for ledger in made.ledgers] == [{"BTC-USD": 10}] * 3
    assert b'"type":"last_price","instrument":"BTC-USD","price":10' in made.logs[0][-1]
    made.check()
    made.check_settled()


def test_only_a_new_last_price_is_worth_an_entry():
    """Between other shards' trades at the same price a shard writes nothing."""
    made = World(coarse("BTC-USD"), shards=2)
    trade = Match(1, 1, 1, 3, 1, 3, "buy", 10, 5)
    assert made.ledgers[0].settle("BTC-USD", BookEntry("x", 1, [trade]), 5) == [LastPrice("BTC-USD", 10)]
    assert made.ledgers[0].settle("BTC-USD", BookEntry("x", 1, [trade]), 6) == []


@pytest.mark.parametrize(
    ("symbol", "events"),
    [
        ("XXX-USD", []),
        ("BTC-USD", [Match(1, 1, 77, 78, 1, 2, "buy", 10, 5)]),
        ("BTC-USD", [Done(1, 77, 1, "buy", "filled")]),
        ("BTC-USD", [Change(1, 77, 1, "buy", 10, 5, 4)]),
        ("BTC-USD", [Match(1, 1, FIRST, FIRST, 2, 2, "buy", 10, 5)]),
        ("ETH-USD", [Done(1, FIRST, 1, "buy", "filled")]),
    ],
)
def test_a_book_that_speaks_of_orders_nobody_placed_stops_the_ledger(symbol, events):
    """Rather than settling something else."""
    made = world()
    made.request(a_limit())
    with pytest.raises(CorruptState, match='run "matchbox audit"'):
        made.ledgers[0].settle(symbol, BookEntry("x", 1, events), 5)


def test_a_market_order_by_funds_that_is_decremented_stays_held_until_it_is_done():
    """Its book may still spend all of it; what is left comes back in the same entry."""
    made = world()
    made.deposit(1, BTC=50)
    made.request(a_limit(request_id="own", side="sell", quantity=5))
    made.request(a_limit(account=2, side="sell", price=11, quantity=5))
    made.request(a_market(request_id="buy", funds=200))
    made.drain()
    made.check()
    made.check_settled()


# --- time --------------------------------------------------------------------------------------------


def test_time_never_goes_back():
    """A wall clock may; the stamps do not."""
    ledger = Ledger(0)
    ledger.apply(InstrumentRequest("i", coarse("BTC-USD")), 100)
    _, [(_, command)] = ledger.apply(InstrumentRequest("i", coarse("BTC-USD")), 50)
    assert (ledger.time, command.time) == (100, 100)


def test_a_cancel_is_stamped():
    """Every command carries the ledger's time."""
    made = world()
    made.request(a_limit())
    _, [(_, command)] = made.ledgers[0].apply(CancelRequest("x", 1, FIRST), 10**18)
    assert command == Cancel(FIRST, 1, 10**18, "x")


# --- folding and snapshots ---------------------------------------------------------------------------


def test_what_is_no_request_is_answered_in_the_log():
    """It names nobody and changes nothing but the time."""
    ledger = Ledger(0)
    [event] = ledger.refuse("it is broken", 5)
    assert event == Rejected("", 0, R.INVALID_ORDER, "the request cannot be read: it is broken")
    assert ledger.time == 5


def test_folding_a_log_that_does_not_follow_is_refused():
    """Events of an order that the state does not know."""
    with pytest.raises(CorruptState):
        Ledger(0).fold_entry(LedgerEntry("x", 1, [Closed(1, 2, "BTC-USD", "filled")]))


@pytest.mark.parametrize(
    ("content", "says"),
    [(b"", "unreadable"), (b"{}", "unreadable"), (b'{"format":2}', "format 2"), (b'{"format":1}', "unreadable")],
)
def test_a_snapshot_that_is_none_is_refused(content, says):
    """Broken bytes, or those of another version."""
    with pytest.raises(CorruptState, match=says):
        Ledger.load(content)
