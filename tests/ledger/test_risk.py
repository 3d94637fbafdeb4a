"""Which orders are refused, why, and in which words; what the others hold."""

from typing import Any

import pytest

from shared.errors import InvalidInput, RejectReason
from shared.instrument import MONEY_MAX, make_instrument
from shared.messages import Accepted, OrderRequest, Rejected
from tests.ledger.world import World, coarse
from workers.ledger.risk import Limits, check_instrument

R = RejectReason
FEE = 100_000  # 10 %


def a_limit(**changes):
    fields: dict[str, Any] = {
        "request_id": "r", "account": 1, "instrument": "BTC-USD", "side": "buy", "order_type": "limit", "price": 10,
        "quantity": 5,
    }  # fmt: skip
    return OrderRequest(**(fields | changes))


def a_market(**changes):
    return a_limit(**({"order_type": "market", "price": 0, "quantity": 0} | changes))


def world(last_price=0, limits=None, **rules):
    """Account 1 has 1000 USD and 100 BTC in lots of 2; the last trade, if any, was at ``last_price``."""
    made = World(coarse("BTC-USD", lot="2", **({"taker_fee": FEE} | rules)), limits=limits)
    if last_price:
        for account, side in ((8, "sell"), (9, "buy")):
            made.deposit(account, BTC=2, USD=1000)
            made.request(a_limit(request_id=side, account=account, side=side, quantity=1, price=last_price))
        made.drain()
    made.deposit(1, USD=1000, BTC=100)
    return made


# --- refusals --------------------------------------------------------------------------------------

RULES = {"min_quantity": 2, "max_quantity": 40, "max_price": 99}
REFUSALS = [
    (a_limit(instrument="XXX-USD"), R.UNKNOWN_INSTRUMENT, "Product not found"),
    (a_limit(quantity=0), R.INVALID_ORDER, "size is too small"),
    (a_limit(price=0), R.INVALID_ORDER, "price too small"),
    (a_limit(price=100), R.INVALID_ORDER, "price is too large: at most 99"),
    (a_limit(price=-1), R.INVALID_ORDER, "price must not be negative"),
    (a_limit(quantity=-1), R.INVALID_ORDER, "size must not be negative"),
    (a_market(funds=-1), R.INVALID_ORDER, "funds must not be negative"),
    (a_limit(price=10**30), R.INVALID_ORDER, "price is too large"),
    (a_limit(quantity=10**30), R.INVALID_ORDER, "size is too large"),
    (a_market(funds=10**30), R.INVALID_ORDER, "funds is too large"),
    (a_limit(funds=5), R.INVALID_ORDER, "funds go with market orders only"),
    (a_market(), R.INVALID_ORDER, "needs size or funds"),
    (a_market(quantity=5, funds=5), R.INVALID_ORDER, "size or funds, not both"),
    (a_market(quantity=5, price=5), R.INVALID_ORDER, "price does not go with a market order"),
    (a_limit(post_only=True, time_in_force="IOC"), R.INVALID_ORDER, "post_only does not go with time_in_force IOC"),
    (a_limit(post_only=True, time_in_force="FOK"), R.INVALID_ORDER, "post_only does not go with time_in_force FOK"),
    (a_market(quantity=5, post_only=True), R.INVALID_ORDER, "post_only does not go with a market order"),
    (a_limit(time_in_force="GTT"), R.INVALID_ORDER, "GTT needs cancel_after"),
    (a_limit(quantity=1), R.QUANTITY_TOO_SMALL, "size is too small: 2 is below the minimum 4"),
    (a_market(quantity=1), R.QUANTITY_TOO_SMALL, "size is too small"),
    (a_limit(quantity=41), R.QUANTITY_TOO_LARGE, "size is too large: at most 80"),
    (a_limit(price=99, quantity=40), R.NOTIONAL_TOO_LARGE, "order value 7920 USD is too large: at most 5000"),
    (a_market(funds=5001), R.NOTIONAL_TOO_LARGE, "order value 5001 USD is too large: at most 5000"),
    (a_limit(account=2), R.INSUFFICIENT_FUNDS, "Insufficient funds"),
    (a_limit(account=0), R.INVALID_ORDER, "account 0 is not a user's account"),
    (a_limit(account=-7), R.INVALID_ORDER, "account -7 is not a user's account"),
    (a_limit(request_id=""), R.INVALID_ORDER, "request id is missing"),
    (a_limit(request_id="r" * 129), R.INVALID_ORDER, "request id is longer than 128 characters"),
    (a_limit(client_id="c" * 129), R.INVALID_ORDER, "client_oid is longer than 128 characters"),
]


@pytest.mark.parametrize(("request_", "reason", "message"), REFUSALS, ids=[row[2] for row in REFUSALS])
def test_a_refusal_names_its_reason_and_changes_nothing(request_, reason, message):
    """Every rule, with the words that clients look for; the id may be used again."""
    made = world(limits=Limits(max_notional="5000"), **RULES)
    before = made.ledgers[0].accounts.rows()
    for _ in range(2):
        event = made.request(request_, shard=0)
        assert isinstance(event, Rejected)
        assert event.reason == reason
        assert message in event.message
        assert (event.request_id, event.client_id) == (request_.request_id, request_.client_id)
    assert made.ledgers[0].accounts.rows() == before
    assert not made.commands["BTC-USD"]


def test_exact_texts():
    """Clients compare these as a whole."""
    made = world()
    assert made.request(a_limit(price=10**6)).message == "Insufficient funds"
    assert made.request(a_limit(instrument="X-Y")).message == "Product not found"


@pytest.mark.parametrize(
    ("mode", "order", "reason", "says"),
    [
        ("halted", a_limit(), R.HALTED, "under maintenance"),
        ("delisted", a_limit(), R.HALTED, "delisted"),
        ("cancel-only", a_limit(), R.CANCEL_ONLY, "Cancel only mode"),
        ("post-only", a_limit(), R.POST_ONLY_MODE, "Post only mode"),
        ("post-only", a_market(quantity=5), R.POST_ONLY_MODE, "Post only mode"),
        ("post-only", a_limit(post_only=True), None, ""),
        ("limit-only", a_market(quantity=5), R.LIMIT_ONLY_MODE, "Limit only mode"),
        ("limit-only", a_limit(), None, ""),
        ("online", a_limit(), None, ""),
    ],
)
def test_modes(mode, order, reason, says):
    """What each mode lets through; it answers before the order's shape does."""
    event = world(mode=mode).request(order)
    if reason is None:
        assert isinstance(event, Accepted)
    else:
        assert (event.reason, says in event.message) == (reason, True)


def test_the_mode_answers_first():
    """An order that nothing is right with is told about the halt."""
    assert world(mode="halted").request(a_limit(quantity=0, price=-1)).reason == R.HALTED


def test_open_orders_are_limited_per_account():
    """A closed order makes room again; another account has its own room."""
    made = world(limits=Limits(max_open_orders=2))
    made.deposit(2, USD=1000)
    for number in range(2):
        assert isinstance(made.request(a_limit(request_id=f"{number}")), Accepted)
    refused = made.request(a_limit(request_id="one more"))
    assert (refused.reason, "at most 2" in refused.message) == (R.TOO_MANY_OPEN_ORDERS, True)
    assert isinstance(made.request(a_limit(account=2)), Accepted)


def test_an_account_of_another_shard_is_refused():
    """A request that a gateway sent to the wrong shard moves nothing."""
    made = World(coarse("BTC-USD"), shards=2)
    event = made.request(a_limit(account=2), shard=1)
    assert (event.reason, event.message) == (R.INVALID_ORDER, "account 2 belongs to shard 0, this is shard 1")


def test_an_account_number_beyond_json_is_answered_without_it():
    """What cannot be stored is not logged as an account."""
    event = world().request(a_limit(account=10**40), shard=0)
    assert (event.reason, event.account) == (R.INVALID_ORDER, 0)


def test_the_largest_orders_stay_within_64_bits():
    """The bound on value holds also where the setting would allow more."""
    made = World(coarse("BTC-USD"), limits=Limits(max_notional="1e30"))
    event = made.request(a_limit(price=10**10, quantity=10**9))
    assert (event.reason, str(MONEY_MAX) in event.message) == (R.NOTIONAL_TOO_LARGE, True)


@pytest.mark.parametrize("text", ["", "abc", "0", "-1", "nan"])
def test_a_limit_that_is_no_amount_is_refused_at_the_start(text):
    """Not when the first order comes."""
    with pytest.raises(InvalidInput, match="max_notional"):
        Limits(max_notional=text)


# --- terms: what an order holds, and what its book may do --------------------------------------------


def terms(event):
    assert isinstance(event, Accepted), event
    return event.hold, event.price, event.quantity, event.funds


@pytest.mark.parametrize(
    ("fees", "hold"), [((0, 0), 100), ((0, FEE), 110), ((FEE, 0), 110), ((1, 0), 101), ((10_001, 5), 102)]
)
def test_a_buy_limit_holds_its_value_and_the_higher_fee_rounded_up(fees, hold):
    """5 lots of 2 at 10."""
    made = world(maker_fee=fees[0], taker_fee=fees[1])
    assert terms(made.request(a_limit())) == (hold, 10, 5, 0)


def test_a_sell_limit_holds_its_lots():
    """5 lots of 2 BTC."""
    assert terms(world().request(a_limit(side="sell"))) == (10, 10, 5, 0)


def test_exactly_what_is_available_is_enough():
    """50 lots of 2 BTC, and 1000 USD to the last one."""
    made = world(taker_fee=0)
    assert isinstance(made.request(a_limit(side="sell", quantity=50)), Accepted)
    assert made.request(a_limit(request_id="s", side="sell", quantity=1)).reason == R.INSUFFICIENT_FUNDS
    assert isinstance(made.request(a_limit(request_id="b", price=10, quantity=50)), Accepted)
    assert made.request(a_limit(request_id="c", price=1, quantity=1)).reason == R.INSUFFICIENT_FUNDS
    assert {balance.available for balance in made.ledgers[0].balances(1).values()} == {0}


@pytest.mark.parametrize(
    ("last_price", "side", "amount", "expected"),
    [
        # without a trade so far: no bound; all there is, or just the funds
        (0, "buy", {"quantity": 5}, (1000, 0, 5, 909)),
        (0, "buy", {"funds": 500}, (500, 0, 0, 454)),
        (0, "sell", {"quantity": 5}, (10, 0, 5, 0)),
        (0, "sell", {"funds": 30}, (100, 0, 50, 30)),
        # last trade at 10, collar 25 %: buys up to 13 (12.5 rounded up), sells down to 7 (7.5 rounded down)
        (10, "buy", {"quantity": 5}, (143, 13, 5, 130)),
        (10, "buy", {"quantity": 45}, (1000, 13, 45, 909)),
        (10, "buy", {"funds": 500}, (500, 13, 0, 454)),
        (10, "sell", {"quantity": 5}, (10, 7, 5, 0)),
        (10, "sell", {"funds": 30}, (6, 7, 3, 30)),
        (10, "sell", {"funds": 10_000}, (100, 7, 50, 10_000)),
        # the lowest price there is
        (1, "sell", {"quantity": 5}, (10, 1, 5, 0)),
        (1, "buy", {"quantity": 5}, (22, 2, 5, 20)),
    ],
)
def test_terms_of_market_orders(last_price, side, amount, expected):
    """Hold, price bound, quantity and funds of a market order with 1000 USD, 100 BTC and a fee of 10 %."""
    event = world(last_price, collar=250_000).request(a_market(side=side, **amount))
    assert terms(event) == expected
    assert event.specified_funds == amount.get("funds", 0)


def test_a_market_buy_needs_its_value_at_the_last_price():
    """46 lots of 2 at 10 and the fee are 1012: refused, although a part could be bought."""
    assert world(10).request(a_market(quantity=46)).reason == R.INSUFFICIENT_FUNDS


@pytest.mark.parametrize(
    ("order", "reason"),
    [
        (a_market(funds=1001), R.INSUFFICIENT_FUNDS),
        (a_market(side="sell", quantity=51), R.INSUFFICIENT_FUNDS),
        (a_market(account=2, quantity=1), R.INSUFFICIENT_FUNDS),
        (a_market(account=2, side="sell", funds=5), R.INSUFFICIENT_FUNDS),
        (a_market(account=2, funds=5), R.INSUFFICIENT_FUNDS),
        (a_market(funds=1), R.QUANTITY_TOO_SMALL),
        (a_market(funds=2), R.QUANTITY_TOO_SMALL),
    ],
)
def test_market_orders_that_cannot_do_anything(order, reason):
    """Nothing to spend or to sell, or not enough for one lot (a hold of nothing would mean no bound)."""
    assert world().request(order).reason == reason


def test_a_sell_by_funds_leaves_a_fraction_of_a_lot_alone():
    """101 BTC are 50 lots of 2."""
    made = world()
    made.deposit(1, BTC=1)
    assert terms(made.request(a_market(side="sell", funds=30))) == (100, 0, 50, 30)


@pytest.mark.parametrize(
    ("last_price", "order", "refused"),
    [
        (10, a_market(quantity=26), True),
        (10, a_market(side="sell", quantity=26), True),
        (10, a_market(quantity=25), False),
        (0, a_market(quantity=26), False),
    ],
)
def test_the_value_of_a_market_order_is_bounded_at_the_last_price(last_price, order, refused):
    """26 lots of 2 at 10 are worth 520. Without a last price, the hold is what is bounded."""
    event = world(last_price, limits=Limits(max_notional="500"), taker_fee=0).request(order)
    if refused:
        assert event.reason == R.NOTIONAL_TOO_LARGE
    else:
        assert isinstance(event, Accepted)
        assert event.funds <= 550


def test_before_the_first_trade_a_market_buy_holds_no_more_than_the_limit():
    """It could not spend more anyway."""
    event = world(limits=Limits(max_notional="500")).request(a_market(quantity=5))
    assert terms(event) == (550, 0, 5, 500)


# --- instruments -------------------------------------------------------------------------------------


def test_a_sound_instrument_is_accepted_again_with_other_fees_limits_and_mode():
    """Those may change at any time."""
    known = make_instrument("BTC-USD", "0.01", "0.001")
    scales = {"BTC": 10, "USD": 10}
    assert check_instrument(known, None, {}) is None
    for changes in ({"mode": "halted"}, {"maker_fee": 5}, {"max_price": 5}, {"min_quantity": 7}, {"collar": 1}):
        assert check_instrument(make_instrument("BTC-USD", "0.01", "0.001", **changes), known, scales) is None


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({"tick": "0.1"}, "tick is 0.01 and cannot become 0.1"),
        ({"lot": "0.01"}, "lot is 0.001 and cannot become 0.01"),
        ({"quote_scale": 8}, "USD has 10 decimals here, not 8; use 10"),
        ({"base_scale": 8}, "BTC has 10 decimals here, not 8; use 10"),
    ],
)
def test_units_never_change(changes, says):
    """Every amount in the logs would mean something else."""
    known = make_instrument("BTC-USD", "0.01", "0.001")
    wanted = make_instrument(**({"symbol": "BTC-USD", "tick": "0.01", "lot": "0.001"} | changes))
    refusal = check_instrument(wanted, known, {"BTC": 10, "USD": 10})
    assert refusal is not None
    assert says in refusal.message
    assert refusal.reason == (R.CURRENCY_SCALE if "decimals" in says else R.INVALID_ORDER)


@pytest.mark.parametrize(
    ("field", "value", "says"),
    [
        ("symbol", "btc-usd", "write it BASE-QUOTE"),
        ("tick", "x", "not a decimal number"),
        ("tick", "0.010", "tick must be 0.01"),
        ("lot_value", 5, "lot_value must be"),
        ("tick_value", 0, "tick_value must be"),
        ("maker_fee", -1, "not within"),
        ("max_quantity", 10**40, "out of range"),
        ("base_scale", 19, "not within"),
    ],
)
def test_an_instrument_that_nobody_checked_is_checked_here(field, value, says):
    """A request is only JSON: its derived factors may be anything."""
    wanted = make_instrument("BTC-USD", "0.01", "0.001")
    fields = {name: getattr(wanted, name) for name in wanted.__struct_fields__} | {field: value}
    refusal = check_instrument(type(wanted)(**fields), None, {})
    assert refusal is not None
    assert says in refusal.message
