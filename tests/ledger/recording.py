"""Records a ledger's log, its final state and what that says, for later versions to recover.

    python -m tests.ledger.recording VERSION

Run once per version of the log or snapshot format, and when there is a new kind of event. A recorded version is never
recorded again: its promise is that whatever comes later still reads it.
"""

import json
import random
import sys
from pathlib import Path
from typing import Any

import msgspec

from shared import keys
from shared.instrument import Instrument, make_instrument
from shared.messages import BlockRequest, CancelAllRequest, CancelRequest, OrderRequest, TransferRequest, decode_request
from tests.audit.features import Features
from tests.ledger.world import World
from workers.ledger.ledger import Ledger
from workers.ledger.risk import Limits

DATA = Path(__file__).parent / "data"
SHARD, SHARDS = 0, 2


def files_of(version: str) -> tuple[Path, Path, Path]:
    """Log, snapshot and facts of a recorded version."""
    return (
        DATA / f"ledger-log-{version}.jsonl", DATA / f"ledger-snapshot-{version}.json",
        DATA / f"ledger-facts-{version}.json",
    )  # fmt: skip


def facts(ledger: Ledger) -> dict[str, Any]:
    """What a ledger is, in words that no later version changes; it may add some."""
    return {
        "time": ledger.time,
        "count": ledger.count,
        "balances": [list(row) for row in ledger.accounts.rows()],
        "open_orders": [
            [one.order_id, one.account, one.instrument, one.side, one.price, one.remaining, one.hold, one.fee_rest]
            for one in ledger.orders
        ],
        "last_prices": ledger.last_prices,
        "supply": ledger.supply,
        "modes": {symbol: instrument.mode for symbol, instrument in ledger.instruments.items()},
        "scales": ledger.scales,
        "past": [[one.account, one.kind, one.id, one.order_id] for one in ledger.orders.past()],
        "orders": {
            str(one.order_id): {name: msgspec.to_builtins(getattr(one, name)) for name in one.__struct_fields__}
            for one in ledger.orders
        },
        "blocks": [[one.account, one.reason, one.time] for one in ledger.blocks.values()],
    }


def instruments(mode: Any = "online") -> list[Instrument]:
    return [
        make_instrument("BTC-USD", "0.01", "0.00000001", maker_fee=1000, taker_fee=2500, mode=mode),
        make_instrument("ETH-BTC", "0.00001", "0.0001", maker_fee=0, taker_fee=1333, min_quantity=10),
    ]


def flow(seed: int, steps: int) -> World:
    """A seeded run of two shards and two books with a bit of everything in it."""
    rnd = random.Random(seed)
    world = World(*instruments(), shards=SHARDS, limits=Limits(max_open_orders=8, max_notional="200000"))
    for account in range(1, 7):
        world.deposit(account, USD=rnd.randint(10**15, 10**16), BTC=rnd.randint(10**10, 10**11), ETH=5 * 10**11)
    for step in range(steps):
        if step in (steps // 2, steps // 2 + 10):
            world.set_instrument(instruments("post-only" if step == steps // 2 else "online")[0])
        world.request(_request(rnd, step, rnd.randint(1, 6), world))
        if rnd.random() < 0.8:
            world.drain()
    world.drain()
    world.check()
    world.check_settled()
    return world


def _request(rnd: random.Random, step: int, account: int, world: World) -> Any:
    symbol = rnd.choice(("BTC-USD", "BTC-USD", "ETH-BTC"))
    price, lots = (2_500_000, 10**6) if symbol == "BTC-USD" else (5000, 300)
    order: dict[str, Any] = {
        "request_id": f"r{step}", "account": account, "instrument": symbol, "side": rnd.choice(("buy", "sell")),
        "client_id": f"c{step % 40}" if step % 3 == 0 else "", "stp": rnd.choice(("dc", "dc", "co", "cn", "cb")),
    }  # fmt: skip
    kind = rnd.random()
    if kind < 0.7:
        price += rnd.randint(-price // 500, price // 500)
        flags: dict[str, Any] = rnd.choice(
            ({}, {}, {}, {"post_only": True}, {"time_in_force": "IOC"}, {"time_in_force": "FOK"})
        )
        return OrderRequest(**order, order_type="limit", price=price, quantity=rnd.randint(1, 9 * lots), **flags)
    if kind < 0.8:
        size: dict[str, Any] = (
            {"quantity": rnd.randint(1, 3 * lots)} if rnd.random() < 0.5 else {"funds": rnd.randint(1, 10**13)}
        )
        return OrderRequest(**order, order_type="market", **size)
    if kind < 0.93:
        own = world.ledgers[account % SHARDS].open_orders(account)
        anyone = rnd.randint(1, max(2, step // 2)) << 8 | account % SHARDS
        return CancelRequest(f"x{step}", account, rnd.choice(own).order_id if own and step % 4 else anyone)
    if kind < 0.96:
        return CancelAllRequest(f"a{step}", account, rnd.choice(("", symbol)))
    return TransferRequest(f"t{step}", account, rnd.choice(("USD", "BTC", "DOGE")), rnd.randint(-(10**10), 10**12))


class Everything(Features):
    """Orders, lists, amends and modes of all kinds, and besides: requests that are repeated, accounts that are blocked.

    Of shard 0, which has the accounts 2 and 4.
    """

    def _request(self, number: int) -> None:
        if number % 50 in (20, 30):
            blocked = number % 50 == 20
            self._send(SHARD, BlockRequest(f"b{number}", 2 if number % 100 < 50 else 0, blocked, "a reason"))
        if number % 25 == 10 and number > 50:
            asked = map(decode_request, self._streams[keys.inbox(SHARD)])
            self._send(SHARD, self._rng.choice([one for one in asked if isinstance(one, OrderRequest)]))
        if number % 40 == 30:
            self._send(SHARD, TransferRequest(f"t{number}", 4, "USD", self._rng.choice((-(10**10), 10**9))))
        super()._request(number)


def everything() -> Everything:
    """What the newest recording is made of."""
    return Everything(seed=20252325, count=629, shards=SHARDS, finish=False)


def record(version: str) -> None:
    """Write the three files of a version."""
    log, snapshot, words = files_of(version)
    if log.exists():
        raise SystemExit(f"{log.name} is recorded already; choose a new version")
    tag = everything().ledgers[SHARD]
    log.write_bytes(b"".join(line + b"\n" for line in tag.log))
    snapshot.write_bytes(tag.handler.ledger.dump())
    lines = (f"{json.dumps(name)}: {json.dumps(value)}" for name, value in facts(tag.handler.ledger).items())
    words.write_text("{\n" + ",\n".join(lines) + "\n}\n")


if __name__ == "__main__":
    record(sys.argv[1])
