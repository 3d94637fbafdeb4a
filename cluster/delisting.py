"""Take an instrument away: only without open orders, because nobody could cancel them afterwards."""

import time
from typing import Any

from sqlalchemy import Engine, func, select

from cluster.instruments import find, set_mode, shard_count
from cluster.plan import engine as engine_name
from shared import keys
from shared.errors import MatchboxError, Unavailable
from shared.schema import orders, positions

RECORDED_WAIT_S = 10.0


def remove(client: Any, database: Engine, symbol: str) -> None:
    """Delist an instrument without open orders and stop its engine. Its logs stay.

    Raises ``MatchboxError`` that counts the open orders; the instrument is then as it was.
    """
    before = find(client, symbol)
    _refuse_open_orders(database, symbol)
    set_mode(client, symbol, "delisted")
    try:
        _wait_until_recorded(client, database)
        _refuse_open_orders(database, symbol)
    except MatchboxError:
        set_mode(client, symbol, before.mode)
        raise
    client.hdel(keys.INSTRUMENTS, symbol)
    client.hdel(keys.HALTED, engine_name(symbol))


def _refuse_open_orders(database: Engine, symbol: str) -> None:
    open_orders = select(func.count()).where(orders.c.instrument == symbol, orders.c.settled.is_(False))
    with database.connect() as connection:
        count = connection.execute(open_orders).scalar_one()
    if count:
        raise MatchboxError(
            f"{symbol} has {count:,} open order{'' if count == 1 else 's'} and stays; "
            f'stop new ones with "matchbox instrument halt {symbol}", have their owners cancel them, then try again'
        )


def _wait_until_recorded(client: Any, database: Engine) -> None:
    """Wait until PostgreSQL has what the ledgers have written up to now. Raises ``Unavailable``."""
    tags = [keys.shard_tag(shard) for shard in range(shard_count(client))]
    goals = {tag: int(client.hget(keys.meta(tag), "length") or 0) for tag in tags}
    end = time.monotonic() + RECORDED_WAIT_S
    while time.monotonic() < end:
        with database.connect() as connection:
            at = {row.tag: row.length for row in connection.execute(select(positions))}
        if all(at.get(tag, 0) >= goal for tag, goal in goals.items()):
            return
        time.sleep(0.1)
    raise Unavailable(f'PostgreSQL is behind by more than {RECORDED_WAIT_S:g} s; see the pusher in "matchbox status"')
