"""What only some orders ask for, in POST /orders: how it is read, and each combination that is refused in words."""

import pytest

from shared.instrument import make_instrument
from shared.messages import Conditions
from workers.gateway.errors import ApiError
from workers.gateway.forms.conditions_form import check_expiry
from workers.gateway.forms.order_form import read_order

NOW = 1_700_000_000_000_000_000
SECOND = 1_000_000_000
BTC = make_instrument("BTC-USD", "0.01", "0.001", min_quantity=10, max_price=100_000_000)
LIMIT = {"product_id": "BTC-USD", "side": "buy", "price": "100.25", "size": "0.5"}
SELL = LIMIT | {"side": "sell"}
MARKET = {"product_id": "BTC-USD", "side": "sell", "type": "market", "size": "0.5"}
BUY = MARKET | {"side": "buy"}
GTT = LIMIT | {"time_in_force": "GTT"}


def read(fields):
    order = read_order(fields, {"BTC-USD": BTC}, "r1", 7, NOW)
    check_expiry(order, NOW)
    return order


READ = [
    (LIMIT, None),
    (LIMIT | {"stop": None, "stop_price": None, "cancel_after": "", "display_size": None}, None),
    (SELL | {"stop_price": "90"}, Conditions("loss", 9000)),
    (LIMIT | {"stop_price": "110.5"}, Conditions("entry", 11050)),
    (SELL | {"stop": "entry", "stop_price": 110}, Conditions("entry", 11000)),
    (LIMIT | {"stop": "loss", "stop_price": "90"}, Conditions("loss", 9000)),
    (MARKET | {"stop_price": "90"}, Conditions("loss", 9000)),
    (BUY | {"stop": "entry", "stop_price": "110"}, Conditions("entry", 11000)),
    (MARKET | {"trail_price": "2.50"}, Conditions("loss", trail=250)),
    (BUY | {"trail_bps": 150}, Conditions("entry", trail_bps=150)),
    (BUY | {"trail_bps": "150", "stop": "entry"}, Conditions("entry", trail_bps=150)),
    (GTT | {"cancel_after": "min"}, Conditions(expires=NOW + 60 * SECOND)),
    (GTT | {"cancel_after": "hour"}, Conditions(expires=NOW + 3600 * SECOND)),
    (GTT | {"cancel_after": "day"}, Conditions(expires=NOW + 86400 * SECOND)),
    (LIMIT | {"timeInForce": "GTD", "cancel_after": "day"}, Conditions(expires=NOW + 86400 * SECOND)),
    (GTT | {"cancel_after": "2023-11-14T22:13:21Z"}, Conditions(expires=NOW + SECOND)),
    (GTT | {"cancel_after": "2023-11-15T00:13:20.000000001+02:00"}, Conditions(expires=NOW + 1)),
    (GTT | {"cancel_after": "2023-11-14t22:13:20.5z"}, Conditions(expires=NOW + SECOND // 2)),
    (GTT | {"cancel_after": "hour", "post_only": True}, Conditions(expires=NOW + 3600 * SECOND)),
    (
        MARKET | {"time_in_force": "GTT", "cancel_after": "min", "stop_price": "90"},
        Conditions("loss", 9000, expires=NOW + 60 * SECOND),
    ),
    (LIMIT | {"display_size": "0.1"}, Conditions(display_quantity=100)),
    (LIMIT | {"display_size": "0.001"}, Conditions(display_quantity=1)),
    (LIMIT | {"display_size": "0.5", "post_only": True}, Conditions(display_quantity=500)),
    (SELL | {"display_size": "0.1", "stop_price": 90}, Conditions("loss", 9000, display_quantity=100)),
    (LIMIT | {"min_size": "0.2"}, Conditions(min_quantity=200)),
    (LIMIT | {"min_size": "0.2", "time_in_force": "IOC"}, Conditions(min_quantity=200)),
    (BUY | {"min_size": "0.5"}, Conditions(min_quantity=500)),
]


@pytest.mark.parametrize(("fields", "conditions"), READ, ids=[str(number) for number in range(len(READ))])
def test_what_is_asked_for_is_understood(fields, conditions):
    """Prices in ticks, sizes in lots, times in ns; the direction of a stop by its side unless it is given."""
    assert read(fields).conditions == conditions


ICEBERG = LIMIT | {"size": "10", "display_size": "0.009"}
REFUSED = [
    # stops
    (LIMIT | {"stop": "up", "stop_price": "90"}, 'stop "up" is not one of loss, entry'),
    (MARKET | {"stop_price": ""}, 'stop_price is "": send where the stop triggers'),
    (MARKET | {"trail_price": ""}, 'trail_price is "": send where the stop triggers'),
    (LIMIT | {"stop": 5, "stop_price": "90"}, "stop must be a string, not a number"),
    (LIMIT | {"stop": "loss"}, 'stop "loss" says nothing without a price: send stop_price, trail_price or trail_bps'),
    (LIMIT | {"stop_price": "abc"}, 'stop_price "abc" is not a decimal number'),
    (LIMIT | {"stop_price": "0"}, "stop_price is too small: 0 is not above 0"),
    (LIMIT | {"stop_price": "-1"}, "stop_price is too small: -1 is not above 0"),
    (LIMIT | {"stop_price": "90.001"}, "stop_price is too precise: 90.001 is no multiple of 0.01"),
    (LIMIT | {"stop_price": "1e7"}, "stop_price is too large: 1e7 is above 1000000"),
    (LIMIT | {"stop_price": "1e60"}, "stop_price is too large"),
    (LIMIT | {"stop_price": True}, "stop_price must be a decimal number, .* not true"),
    (LIMIT | {"stop_price": "110", "post_only": True}, "post_only true does not go with a stop.*leave post_only out"),
    (LIMIT | {"stop_price": "110", "timeInForce": "PO"}, "post_only true does not go with a stop"),
    # trailing stops
    (MARKET | {"trail_price": "1", "trail_bps": 10}, "trail_price and trail_bps are one distance.*only one"),
    (MARKET | {"trail_price": "1", "stop_price": "90"}, "stop_price 90 does not go with trail_price.*only one"),
    (MARKET | {"trail_bps": 10, "stop_price": "90"}, "stop_price 90 does not go with trail_bps"),
    (SELL | {"trail_price": "1"}, "trail_price does not go with type limit.*send type market and no price"),
    (SELL | {"trail_bps": 1}, "trail_bps does not go with type limit"),
    (MARKET | {"trail_price": "1", "stop": "entry"}, 'stop "entry" is the wrong side .* sell.*"loss"'),
    (BUY | {"trail_bps": 1, "stop": "loss"}, 'stop "loss" is the wrong side .* buy.*"entry"'),
    (MARKET | {"trail_price": "0.001"}, "trail_price is too small: 0.001 is no multiple of 0.01"),
    (MARKET | {"trail_price": "1e7"}, "trail_price is too large"),
    (MARKET | {"trail_bps": 0}, 'trail_bps "0" is not a whole number from 1 to 10000'),
    (MARKET | {"trail_bps": 10_001}, 'trail_bps "10001" is not a whole number'),
    (MARKET | {"trail_bps": -5}, 'trail_bps "-5" is not a whole number'),
    (MARKET | {"trail_bps": "1.5"}, 'trail_bps "1.5" is not a whole number'),
    (MARKET | {"trail_bps": "\u0661"}, "is not a whole number"),
    (MARKET | {"trail_bps": 10**4000}, "trail_bps"),
    (MARKET | {"trail_bps": [1]}, "trail_bps must be a decimal number, .* not an array"),
    # the end
    (GTT, "cancel_after is missing: time_in_force GTT needs min, hour, day, or an instant"),
    (LIMIT | {"timeInForce": "GTD"}, "cancel_after is missing"),
    (LIMIT | {"cancel_after": "min"}, 'cancel_after "min" does not go with time_in_force GTC: send time_in_force GTT'),
    (LIMIT | {"cancel_after": "min", "time_in_force": "IOC"}, "does not go with time_in_force IOC"),
    (GTT | {"cancel_after": "week"}, 'cancel_after "week" is not one of min, hour, day, nor an instant'),
    (GTT | {"cancel_after": 60}, "cancel_after must be a string, not a number"),
    (GTT | {"cancel_after": "2030-01-31"}, 'cancel_after "2030-01-31" is not a time; write it with its offset'),
    (GTT | {"cancel_after": "2030-01-31T12:00:00"}, "is not a time; write it with its offset"),
    (GTT | {"cancel_after": "2030-02-31T12:00:00Z"}, "is not a time"),
    (GTT | {"cancel_after": "2030-01-31T12:00:00+99:99"}, "is not a time"),
    (GTT | {"cancel_after": "9999-12-31T23:59:59-23:00"}, "is out of range"),
    (
        GTT | {"cancel_after": "2262-04-12T00:00:00Z"},
        'cancel_after "2262-04-12T00:00:00Z" is out of range: times here are from 1970-01-01T00:00:00Z to '
        "2200-01-01T00:00:00Z",
    ),
    (GTT | {"cancel_after": "1969-12-31T23:59:59Z"}, "is out of range: times here are from 1970"),
    (GTT | {"cancel_after": "1700000060"}, "is not a time"),
    (GTT | {"cancel_after": "2023-11-14T22:13:20Z"}, "is not in the future: it is 2023-11-14T22:13:20.000000Z here"),
    (GTT | {"cancel_after": "1969-12-31T23:59:59Z"}, "cancel_after"),
    (MARKET | {"time_in_force": "GTT", "cancel_after": "min"}, "time_in_force GTT does not go with a market order"),
    # icebergs
    (LIMIT | {"display_size": "0.51"}, "display_size 0.51 is too large: it is the part of size 0.5 that shows"),
    (ICEBERG, "display_size 0.009 is too small: an order of size 10 shows at least a 1000th"),
    (LIMIT | {"display_size": "0"}, "display_size is too small"),
    (LIMIT | {"display_size": "0.0001"}, "display_size is too small: 0.0001 is no multiple of 0.001"),
    (LIMIT | {"display_size": "0.1005"}, "display_size is too precise"),
    (LIMIT | {"display_size": "0.1", "time_in_force": "IOC"}, "display_size 0.1 does not go with time_in_force IOC"),
    (LIMIT | {"display_size": "0.1", "time_in_force": "FOK"}, "display_size 0.1 does not go with time_in_force FOK"),
    (MARKET | {"display_size": "0.1"}, "display_size 0.1 does not go with type market"),
    (MARKET | {"display_size": "0.1", "stop_price": "90"}, "display_size 0.1 does not go with type market"),
    # smallest fills
    (LIMIT | {"min_size": "0.6"}, "min_size 0.6 is too large: the order's size is 0.5"),
    (LIMIT | {"min_size": "-1"}, "min_size is too small"),
    (LIMIT | {"min_size": "0.0005"}, "min_size is too small: 0.0005 is no multiple of 0.001"),
    (LIMIT | {"min_size": "0.1", "post_only": True}, "min_size 0.1 does not go with post_only true"),
    (
        {"product_id": "BTC-USD", "side": "buy", "type": "market", "funds": "5", "min_size": "0.1"},
        "min_size 0.1 does not go with funds: send size",
    ),
]


@pytest.mark.parametrize(("fields", "says"), REFUSED, ids=[str(number) for number in range(len(REFUSED))])
def test_what_does_not_go_together_is_said(fields, says):
    """Each refused combination is a 400 with one sentence that names the field, its value and what to do."""
    with pytest.raises(ApiError, match=says) as error:
        read(fields)
    assert error.value.status == 400
    assert len(str(error.value)) < 250
