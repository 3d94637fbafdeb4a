"""Test money: who may give themselves some, how much, and that it is counted once."""

import threading

import pytest

from shared.instrument import MONEY_MAX
from tests.gateway.browser import wait_until
from workers.gateway.errors import ApiError
from workers.gateway.forms.transfer_form import Transfer, deposit_limit, read_transfer

SCALES = {"USD": 10, "BTC": 8}
DEPOSITS = ("/deposits", "/deposits/payment-method", "/deposits/coinbase-account")
WITHDRAWALS = ("/withdrawals", "/withdrawals/payment-method", "/withdrawals/coinbase-account", "/withdrawals/crypto")
slow = pytest.mark.slow


@pytest.fixture
def alice(cluster):
    """A user without money, whose key may transfer."""
    return cluster.user()


def available(trader, currency="USD"):
    (found,) = [row for row in trader.call("GET", "/accounts").json() if row["currency"] == currency]
    return float(found["available"])


# --- what is said ---


@pytest.mark.parametrize(
    ("body", "says"),
    [
        ({}, "currency"),
        ({"currency": "USD"}, "amount is missing"),
        ({"currency": "XXX", "amount": "1"}, 'currency "XXX" is none of BTC, USD'),
        ({"currency": "usd", "amount": "1"}, "is none of"),
        ({"currency": 5, "amount": "1"}, "currency must be a string"),
        ({"currency": "USD", "amount": "0"}, "not above 0"),
        ({"currency": "USD", "amount": "-5"}, "not above 0"),
        ({"currency": "USD", "amount": "NaN"}, "not a decimal number"),
        ({"currency": "USD", "amount": "1e400"}, "amount"),
        ({"currency": "USD", "amount": True}, "must be a decimal number"),
        ({"currency": "BTC", "amount": "0.000000001"}, "amount is too small"),
        ({"currency": "BTC", "amount": "1.000000001"}, "amount is too precise"),
        ({"currency": "BTC", "amount": "9" * 30}, "amount is too large"),
        ({"currency": "USD", "amount": "1", "account": 7}, 'unknown field "account"'),
        ({"currency": "USD", "amount": "1", "idem": "x" * 65}, "idem"),
        ({"currency": "USD", "amount": "1", "idem": "a/b"}, "idem"),
        ({"currency": "USD", "amount": "1", "idem": "ü"}, "idem"),
    ],
)
def test_what_is_no_transfer_is_refused(body, says):
    """With a 400 that names the field."""
    with pytest.raises(ApiError) as error:
        read_transfer(body, SCALES, 7)
    assert (error.value.status, says in str(error.value)) == (400, True), str(error.value)


def test_an_idem_is_its_accounts_own():
    """Two users with the same one have two transfers."""
    body: dict[str, object] = {"currency": "BTC", "amount": "0.5", "idem": "one", "crypto_address": "wherever"}
    assert read_transfer(body, SCALES, 7) == Transfer("BTC", 50_000_000, "idem-7-one")
    assert read_transfer(body, SCALES, 8).request_id == "idem-8-one"


def test_the_limit_of_deposits_is_an_operators():
    """In whole units of any currency; never more than all accounts can have together; 0: no deposits at all."""
    assert deposit_limit("1000000", 2) == 100_000_000
    assert deposit_limit("1e3", 0) == 1000
    assert deposit_limit("0.5", 10) == 5_000_000_000
    assert deposit_limit("1" + "0" * 30, 10) == MONEY_MAX
    with pytest.raises(ApiError, match="deposits are closed") as error:
        deposit_limit("0", 10)
    assert error.value.status == 400


# --- what is done ---


@slow
def test_money_comes_and_goes_by_every_route(cluster, alice):
    """As Coinbase's clients send it: strings or numbers, with whatever source; it is there at once, and listed."""
    for at, route in enumerate(DEPOSITS):
        made = alice.call("POST", route, {"currency": "USD", "amount": 100.25, "payment_method_id": "mine"})
        assert made.status_code == 200, made.text
        assert (made.json()["type"], made.json()["amount"]) == ("deposit", "100.2500000000")
        assert available(alice) == 100.25 * (at + 1)
    for route in WITHDRAWALS:
        made = alice.call("POST", route, {"currency": "USD", "amount": "50", "crypto_address": "wherever"})
        assert (made.status_code, made.json()["type"], made.json()["currency"]) == (200, "withdraw", "USD")
    assert available(alice) == 100.75
    wait_until(lambda: len(alice.call("GET", "/transfers").json()) == 7)
    found = alice.call("GET", f"/transfers/{made.json()['id']}").json()
    assert made.json().items() <= found.items()


@slow
def test_more_than_there_is_does_not_go(cluster, alice):
    """Neither what is held nor what was never there: ccxt's words for it, and nothing has moved."""
    alice.call("POST", "/deposits", {"currency": "USD", "amount": "100"})
    alice.order("buy", "10.00", "4")
    left = available(alice)
    assert left < 60
    for amount in ("100", "60", "100000000"):
        answer = alice.call("POST", "/withdrawals/crypto", {"currency": "USD", "amount": amount})
        assert (answer.status_code, answer.json()) == (400, {"message": "Insufficient funds"})
    answer = alice.call("POST", "/withdrawals", {"currency": "BTC", "amount": "0.1"})
    assert answer.json() == {"message": "Insufficient funds"}
    assert available(alice) == left
    alice.call("DELETE", "/orders")


@slow
def test_a_deposit_stops_at_the_limit(cluster, alice):
    """What is held counts, too."""
    assert cluster.settings.max_funds == "1000000"
    assert alice.call("POST", "/deposits", {"currency": "USD", "amount": "1000000"}).status_code == 200
    alice.order("buy", "1000.00", "1")
    answer = alice.call("POST", "/deposits", {"currency": "USD", "amount": "0.01"})
    assert (answer.status_code, "deposits go up to" in answer.text) == (400, True)
    alice.call("DELETE", "/orders")


@slow
def test_deposits_at_once_stop_at_the_limit_too(cluster, alice):
    """Eight that would each fit alone: one is made, and the others hear how much there is."""
    answers = []

    def send():
        answers.append(alice.call("POST", "/deposits", {"currency": "USD", "amount": "600000"}))

    threads = [threading.Thread(target=send) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(answer.status_code for answer in answers) == [200] + [400] * 7
    assert {answer.json()["message"] for answer in answers if answer.status_code == 400} == {
        "amount is too large: deposits go up to a balance of 1000000.0000000000 USD, and yours is 600000.0000000000"
    }
    assert available(alice) == 600_000


def answered(user, target, body):
    """The answer, unless it says to try again: how the first transfer was, only PostgreSQL knows."""
    answer = user.call("POST", target, body)
    return answer if answer.status_code != 503 else None


@slow
def test_a_transfer_that_is_sent_again_is_made_once(cluster, alice):
    """One after the other, or eight at once: with the same idem one is made, and all that succeed say the same."""
    body = {"currency": "USD", "amount": "700000", "idem": "salary"}
    first = alice.call("POST", "/deposits", body)
    again = wait_until(lambda: answered(alice, "/deposits", body))
    assert again.json() == first.json(), "though twice would be above the limit"
    other = wait_until(lambda: answered(alice, "/deposits", body | {"amount": "1"}))
    assert (other.status_code, "another transfer" in other.text) == (400, True)
    other = wait_until(lambda: answered(alice, "/withdrawals", body))
    assert (other.status_code, "another transfer" in other.text) == (400, True)
    answers = []

    def send():
        answers.append(alice.call("POST", "/withdrawals", {"currency": "USD", "amount": "1", "idem": "at-once"}))

    threads = [threading.Thread(target=send) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert {answer.status_code for answer in answers} <= {200, 503}
    assert len({answer.text for answer in answers if answer.status_code == 200}) == 1
    assert available(alice) == 699_999
