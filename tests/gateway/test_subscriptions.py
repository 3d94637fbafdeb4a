"""What clients may subscribe to, and how they say so."""

import re

import pytest

from workers.gateway.feed.book_events import PUBLIC_TYPES
from workers.gateway.feed.description import FEED
from workers.gateway.feed.order_entry import ACTIONS
from workers.gateway.feed.subscriptions import (
    CHANNELS,
    NOTHING_MISSING,
    FeedError,
    Subscriptions,
    read_end,
    read_wishes,
)

KNOWN = ["BTC-USD", "ETH-USD"]


ACCOUNTS = ["u1", "u2"]


def plan(subscriptions=None, missing=NOTHING_MISSING, **fields):
    return (subscriptions or Subscriptions()).plan(read_wishes(fields), KNOWN, ACCOUNTS, missing)


def test_a_product_that_is_missing_now_is_refused_with_its_own_sentence():
    """Who names it hears why; who names the others, or none, gets those that are there."""
    missing = {"SOL-USD": "SOL-USD is not available just now"}
    with pytest.raises(FeedError, match="SOL-USD is not available just now"):
        plan(missing=missing, product_ids=["BTC-USD", "SOL-USD"])
    assert plan(missing=missing, product_ids=["BTC-USD"]) == [("full", "BTC-USD")]
    assert plan(missing=missing, channels=["user"]) == [("user", "BTC-USD"), ("user", "ETH-USD")]


@pytest.mark.parametrize(
    ("fields", "topics"),
    [
        ({"product_ids": ["BTC-USD"]}, [("full", "BTC-USD")]),
        ({"product_ids": ["BTC-USD"], "channels": ["level3"]}, [("full", "BTC-USD")]),
        ({"product_ids": ["BTC-USD"], "channels": ["ticker_1000"]}, [("ticker_batch", "BTC-USD")]),
        (
            {"product_ids": ["BTC-USD", "ETH-USD", "BTC-USD"], "channels": ["ticker"]},
            [("ticker", "BTC-USD"), ("ticker", "ETH-USD")],
        ),
        (
            {"product_ids": ["BTC-USD"], "channels": ["level2", {"name": "matches", "product_ids": ["ETH-USD"]}]},
            [("level2", "BTC-USD"), ("matches", "ETH-USD")],
        ),
        ({"product_ids": ["BTC-USD"], "channels": [{"name": "heartbeat"}]}, [("heartbeat", "BTC-USD")]),
        ({"channels": ["status"]}, [("status", "")]),
        ({"channels": ["user"]}, [("user", "BTC-USD"), ("user", "ETH-USD")]),
        ({"channels": [{"name": "status"}], "product_ids": []}, [("status", "")]),
        ({"channels": ["balance"], "product_ids": ["BTC-USD"]}, [("balance", "")]),
        ({"channels": [{"name": "balance", "account_ids": ["u2"]}]}, [("balance", "u2")]),
        ({"channels": ["balance"], "account_ids": ["u2", "u1"]}, [("balance", "u2"), ("balance", "u1")]),
    ],
)
def test_channels_are_named_in_many_ways(fields, topics):
    """Strings, objects with their own products, both mixed, or nothing at all, which means full."""
    assert plan(**fields) == topics


@pytest.mark.parametrize(
    ("fields", "reason"),
    [
        ({"channels": ["nope"], "product_ids": ["BTC-USD"]}, '"nope" is not a valid channel'),
        ({"channels": [5]}, "a channel is a name, or an object"),
        ({"channels": [{"product_ids": ["BTC-USD"]}]}, "a channel is a name, or an object"),
        ({"channels": []}, "channels must be a non-empty array"),
        ({"channels": "level2"}, "channels must be a non-empty array"),
        ({"channels": ["level2"]}, "product_ids is missing: name the products of level2"),
        ({}, "product_ids is missing"),
        ({"product_ids": "BTC-USD"}, "product_ids must be an array"),
        ({"product_ids": [1]}, "product_ids must be an array"),
        ({"product_ids": ["XXX-USD"]}, '"XXX-USD" is not a valid product'),
        ({"channels": [{"name": "level2", "product_ids": {}}]}, "product_ids must be an array"),
        ({"channels": ["balance"], "account_ids": "u1"}, "account_ids must be an array"),
        ({"channels": ["balance"], "account_ids": ["u1", "u3"]}, '"u3" is not the id of an account of yours'),
    ],
)
def test_what_cannot_be_subscribed_to_has_a_reason(fields, reason):
    """Each refusal carries the few words that clients compare, and the reason."""
    with pytest.raises(FeedError, match=reason) as error:
        plan(**fields)
    assert error.value.message == "Failed to subscribe"


def test_a_refused_message_subscribes_to_nothing():
    """One unknown product among many: nothing of the message is done."""
    subscriptions = Subscriptions()
    with pytest.raises(FeedError):
        plan(subscriptions, product_ids=["BTC-USD", "XXX-USD"], channels=["level2"])
    assert list(subscriptions) == []


def test_subscribing_twice_is_subscribing_once():
    """A repeat adds nothing, and the answer names everything that is subscribed to."""
    subscriptions = Subscriptions()
    subscriptions.add(plan(subscriptions, product_ids=KNOWN, channels=["level2", "status"]))
    assert plan(subscriptions, product_ids=["BTC-USD"], channels=["level2"]) == []
    assert subscriptions.answer() == {
        "type": "subscriptions",
        "channels": [{"name": "level2", "product_ids": KNOWN}, {"name": "status", "product_ids": []}],
    }


@pytest.mark.parametrize(
    ("fields", "left"),
    [
        ({"channels": ["level2"], "product_ids": ["BTC-USD"]}, {("level2", "ETH-USD"), ("full", "BTC-USD")}),
        ({"channels": ["level2"]}, {("full", "BTC-USD")}),
        ({"product_ids": ["BTC-USD"]}, {("level2", "ETH-USD")}),
        ({}, set()),
        ({"channels": ["ticker"]}, {("level2", "BTC-USD"), ("level2", "ETH-USD"), ("full", "BTC-USD")}),
    ],
)
def test_unsubscribing_takes_what_is_named(fields, left):
    """Without products the whole channel goes, without channels every channel of the products."""
    subscriptions = Subscriptions()
    subscriptions.add([("level2", "BTC-USD"), ("level2", "ETH-USD"), ("full", "BTC-USD")])
    subscriptions.remove(read_end(fields))
    assert set(subscriptions) == left


def test_a_channel_without_products_ends_whatever_products_are_named():
    """Clients that always send product_ids can leave status, too."""
    subscriptions = Subscriptions()
    subscriptions.add(plan(channels=["status"]))
    assert subscriptions.remove(read_end({"product_ids": ["BTC-USD"]})) == []
    assert subscriptions.remove(read_end({"channels": ["status"], "product_ids": ["BTC-USD"]})) == [("status", "")]


def test_the_answer_names_accounts_of_balance():
    """And its end takes those that are named, or all."""
    subscriptions = Subscriptions()
    subscriptions.add(plan(channels=["balance"], account_ids=["u1", "u2"]))
    assert subscriptions.answer()["channels"] == [{"name": "balance", "product_ids": [], "account_ids": ["u1", "u2"]}]
    assert subscriptions.remove(read_end({"channels": ["balance"], "account_ids": ["u1"]})) == [("balance", "u1")]
    assert subscriptions.remove(read_end({"channels": ["balance"]})) == [("balance", "u2")]


def test_the_page_tells_of_every_channel_and_message():
    """What can be subscribed to, sent and heard is described where the API is."""
    sent = [*ACTIONS, "subscribe", "unsubscribe", "authenticate", "cancel_on_disconnect"]
    answered = [*(f"{name}_result" for name in ACTIONS), "authenticated", "pending", "amend_refused", "error"]
    for name in [*CHANNELS, *PUBLIC_TYPES, *sent, *answered]:
        assert re.search(rf"\b{name}\b", FEED), name
