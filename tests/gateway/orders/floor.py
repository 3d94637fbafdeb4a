"""A market on ETH-USD (no fees, tick 0.01, lot 0.0001) that a test has for itself: two users, and two that move it."""

import time
from decimal import Decimal
from typing import Any

import msgspec

from tests.harness import ETH_USD, Cluster, Trader

WAIT_S = 15.0


class Floor:
    """Alice and bob trade; ``trade`` moves the last price. Nothing rests at the beginning, nor at the end."""

    def __init__(self, cluster: Cluster) -> None:
        self.cluster = cluster
        self.alice = cluster.user(USD="10000", ETH="100")
        self.bob = cluster.user(USD="10000", ETH="100")
        self._movers = cluster.user(USD="1000000"), cluster.user(ETH="10")

    def close(self) -> None:
        """Cancel everything."""
        for user in (self.alice, self.bob, *self._movers):
            user.call("DELETE", "/orders")

    def configure(self, **changes: Any) -> None:
        """Change the instrument's rules or mode, or undo that, and wait until its book follows."""
        wanted = msgspec.structs.replace(ETH_USD, **changes)
        self.cluster.configure(wanted)
        shown = {
            "status_message": wanted.mode if wanted.mode != "online" else "",
            "price_collar": f"{wanted.price_collar / 1_000_000:.6f}",
        }
        end = time.monotonic() + WAIT_S
        while (found := self.product()) | shown != found:
            assert time.monotonic() < end, found
            time.sleep(0.01)

    def product(self) -> dict[str, Any]:
        """ETH-USD as clients see it."""
        found: dict[str, Any] = self.cluster.http.get("/products/ETH-USD").json()
        return found

    def trade(self, price: str, size: str = "0.0001") -> None:
        """A trade of two others at ``price``, which has to lie inside the spread."""
        buyer, seller = self._movers
        bid = buyer.order("buy", price, size, "ETH-USD")
        seller.order("sell", price, size, "ETH-USD")
        assert Decimal(self.until(buyer, bid["id"], "done")["executed_value"]) == Decimal(price) * Decimal(size)

    def until(self, user: Trader, order_id: str, status: str) -> dict[str, Any]:
        """The user's order once it has this status."""
        end = time.monotonic() + WAIT_S
        while (found := self.show(user, order_id))["status"] != status:
            assert time.monotonic() < end, found
            time.sleep(0.01)
        return found

    def show(self, user: Trader, order_id: str) -> dict[str, Any]:
        """The user's order now."""
        return user.call("GET", f"/orders/{order_id}").json()

    def market_order(self, user: Trader, side: str, size: str = "1", **more: Any) -> dict[str, Any]:
        """A market order, mostly a stop, that must be accepted."""
        return user.order(side, None, size, "ETH-USD", type="market", **more)  # type: ignore[arg-type]  # no price

    def balance(self, user: Trader, currency: str) -> tuple[Decimal, Decimal]:
        """What the user has available and held."""
        rows = {row["currency"]: row for row in user.call("GET", "/accounts").json()}
        return Decimal(rows[currency]["available"]), Decimal(rows[currency]["hold"])

    def book(self, level: int = 2) -> dict[str, Any]:
        """The bids and asks as rows."""
        found = self.cluster.http.get("/products/ETH-USD/book", params={"level": level}).json()
        return {side: found[side] for side in ("bids", "asks")}
