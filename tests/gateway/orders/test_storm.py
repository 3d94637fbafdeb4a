"""All features at once from several users: nothing is a fault, no money is made or lost, nothing stays held."""

import random
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from decimal import Decimal

import pytest

from tests.gateway.orders.floor import Floor

pytestmark = pytest.mark.slow

REQUESTS = 120


class Dice:
    """Random requests that mostly make sense."""

    def __init__(self, seed: int) -> None:
        self.roll = random.Random(seed)
        self.number = 0

    def price(self, low: int = 9000, high: int = 11000) -> str:
        return f"{self.roll.randint(low, high) / 100:.2f}"

    def order(self) -> dict:
        roll = self.roll
        body = {"product_id": "ETH-USD", "side": roll.choice(["buy", "sell"]), "size": f"{roll.randint(1, 30) / 10}"}
        body["stp"] = roll.choice(["dc", "co", "cn", "cb"])
        if roll.random() < 0.3:
            self.number += 1
            body["client_oid"] = f"{roll.random()}-{self.number}"
        kind = roll.random()
        if kind < 0.15:
            return body | {"type": "market"}
        if kind < 0.25:
            return body | {"type": "market", roll.choice(["trail_price", "trail_bps"]): roll.randint(1, 3)}
        if kind < 0.35:
            return body | {"type": "market", "stop": roll.choice(["loss", "entry"]), "stop_price": self.price()}
        body["price"] = self.price()
        if roll.random() < 0.2:
            body["stop_price"] = self.price()
        if roll.random() < 0.2:
            body["display_size"] = "0.1"
        if roll.random() < 0.1:
            body["min_size"] = "0.1"
        if roll.random() < 0.3:
            instant = datetime.now(UTC) + timedelta(seconds=roll.random() * 2)
            return body | {"time_in_force": "GTT", "cancel_after": instant.strftime("%Y-%m-%dT%H:%M:%S.%fZ")}
        return body | {"time_in_force": roll.choice(["GTC", "GTC", "GTC", "IOC", "FOK", "PO"])}

    def bracket(self) -> tuple[dict, list[dict]]:
        side, exit_side = self.roll.sample(["buy", "sell"], 2)
        entry = {"product_id": "ETH-USD", "side": side, "price": self.price(), "size": "1"}
        above, below = self.price(10200, 10600), self.price(9400, 9800)
        profit, loss = (above, below) if exit_side == "sell" else (below, above)
        common = {"product_id": "ETH-USD", "side": exit_side, "size": "1"}
        return entry, [common | {"price": profit}, common | {"type": "market", "stop_price": loss}]

    def order_list(self) -> dict:
        entry, exits = self.bracket()
        kind = self.roll.choice(["oco", "oto", "otoco"])
        if kind == "oco":
            return {"type": kind, "orders": exits}
        trigger = self.roll.choice(["full_fill", "first_fill"])
        return {"type": kind, "trigger": trigger, "orders": [entry, *exits[: 1 if kind == "oto" else 2]]}

    def amend(self) -> dict:
        what = {"price": self.price(), "size": f"{self.roll.randint(1, 30) / 10}", "stop_price": self.price()}
        return dict(self.roll.sample(list(what.items()), self.roll.randint(1, 2)))


def act(user, seed):
    """What one user does; answers what it was told."""
    dice, mine, told = Dice(seed), [], []
    for _ in range(REQUESTS):
        choice = dice.roll.random()
        if choice < 0.5:
            answer = user.call("POST", "/orders", dice.order())
            mine += [answer.json()["id"]] if answer.status_code == 200 else []
        elif choice < 0.6:
            answer = user.call("POST", "/order-lists", dice.order_list())
            mine += [order["id"] for order in answer.json()["orders"]] if answer.status_code == 200 else []
        elif choice < 0.9 and mine:
            answer = user.call("PATCH", f"/orders/{dice.roll.choice(mine[-8:])}", dice.amend())
        elif choice < 0.99 and mine:
            answer = user.call("DELETE", f"/orders/{dice.roll.choice(mine)}")
        else:
            answer = user.call("DELETE", f"/orders?side={dice.roll.choice(['buy', 'sell'])}")
        told.append((answer.request.method, answer.status_code, answer.text))
    return told


def test_a_storm_of_everything(cluster):
    """Each answer is 200, 400 or 404 with a sentence; afterwards the money adds up and every order is done."""
    storm(cluster, 1)


def storm(cluster, seed):
    floor = Floor(cluster)
    floor.trade("100.00")
    users = [floor.alice, floor.bob, cluster.user(USD="10000", ETH="100")]
    with ThreadPoolExecutor(len(users)) as pool:
        told = [one for many in pool.map(act, users, range(seed, seed + len(users))) for one in many]
    assert {status for _, status, _ in told} <= {200, 400, 404}, [one for one in told if one[1] not in (200, 400, 404)]
    assert {(method, 200) for method in ("POST", "PATCH", "DELETE")} <= {one[:2] for one in told}
    for user in users:
        user.call("DELETE", "/orders")
        assert user.call("GET", "/orders").json() == []
    balances = [floor.balance(user, currency) for user in users for currency in ("USD", "ETH")]
    assert all(held == 0 for _, held in balances), balances
    assert sum(available for available, _ in balances[::2]) == 3 * Decimal(10000)
    assert sum(available for available, _ in balances[1::2]) == 3 * Decimal(100)
    assert floor.book() == {"bids": [], "asks": []}
    floor.close()
    return told
