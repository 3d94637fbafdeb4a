"""Which resting orders are whose, kept without much ado."""

import random

from tests.engine.harness import configured
from workers.engine.accounts import RECENT_MAX, Accounts
from workers.engine.book import OrderBook
from workers.engine.levels import RestingOrder


def order(number, account=1):
    return RestingOrder(number, account, "buy", 100, 5)


def note(accounts, one, resting):
    """As ``BookState.rest`` does."""
    accounts.recent.append(one)
    if len(accounts.recent) >= RECENT_MAX:
        accounts.sort(resting)


def held(accounts):
    """All orders that are remembered, dead ones included."""
    return len(accounts.recent) + sum(map(len, accounts._orders.values()))


def test_who_left_is_nobodys_order():
    """An order is its account's until it has left, whenever the orders noted are sorted."""
    dice, accounts = random.Random(1), Accounts()
    resting = {}
    for number in range(20_000):
        resting[number] = order(number, dice.randint(1, 20))
        note(accounts, resting[number], len(resting))
        if dice.random() < 0.7:
            resting.pop(dice.choice([number, next(iter(resting))])).remaining = 0
        if number % 999 == 0:
            account = dice.randint(1, 20)
            own = [one.order_id for one in accounts.of(account)]
            assert own == [one.order_id for one in resting.values() if one.account == account]
    assert len(accounts) == len({one.account for one in resting.values()})


def test_the_dead_do_not_pile_up():
    """However many orders come and go, no more than a few times the living are remembered."""
    accounts, resting = Accounts(), []
    largest = 0
    for number in range(300_000):
        resting.append(order(number, number % 7))
        note(accounts, resting[-1], len(resting))
        if len(resting) > 5_000:  # the oldest leaves, which has been sorted since long
            resting[number % 5_000].remaining = 0
            resting[number % 5_000] = resting.pop()
        largest = max(largest, held(accounts))
    assert largest < 4 * 5_000 + 4 * RECENT_MAX


def test_an_account_that_left_is_forgotten():
    """Accounts without orders take no room for ever."""
    accounts = Accounts()
    for number in range(50_000):
        one = order(number, account=number)
        note(accounts, one, 0)
        one.remaining = 0
    assert len(accounts) == 0
    assert held(accounts) < 4 * RECENT_MAX


def test_a_loaded_book_knows_whose_orders_they_are():
    """What a snapshot brings back is there for a mass-cancel."""
    book = OrderBook()
    book.apply(configured())
    for number in range(10):
        book.rest(order(number, number % 2))
    assert [one.order_id for one in OrderBook.load(book.dump()).orders_of(1)] == [1, 3, 5, 7, 9]
