"""From a request in the ledger's inbox to its event on the book's log, one at a time."""

import time
import uuid
from typing import Any

from benchmarks.gateway.orders import SYMBOL
from shared import keys
from shared.connections import BLOCK_MS, connect
from shared.messages import FIELD, CancelRequest, OrderRequest, Received, decode_book_entry, encode
from shared.settings import Settings


def log_latency(settings: Settings, account: int, count: int) -> list[float]:
    """Seconds of each."""
    times = []
    inbox = keys.inbox(keys.shard_of(account, settings.shards))
    with connect(settings.redis_url) as client:
        log = keys.log(keys.instrument_tag(SYMBOL))
        position = client.xrevrange(log, count=1)[0][0]
        for _ in range(count):
            client_id = uuid.uuid4().hex
            order = OrderRequest(uuid.uuid4().hex, account, SYMBOL, "buy", "limit", 100, 1, client_id=client_id)
            started = time.perf_counter()
            client.xadd(inbox, {FIELD: encode(order)})
            position = wait_for(client, log, position, client_id)
            times.append(time.perf_counter() - started)
            client.xadd(inbox, {FIELD: encode(CancelRequest(uuid.uuid4().hex, account, client_id=client_id))})
    return times


def wait_for(client: Any, log: str, position: bytes, client_id: str) -> bytes:
    """Read the book's log until the order is received there; answers the position."""
    while True:
        reply = client.xread({log: position}, block=BLOCK_MS)
        for _, entries in reply.items() if isinstance(reply, dict) else reply or []:
            for position, fields in entries:
                for event in decode_book_entry(fields[FIELD]).events:
                    if isinstance(event, Received) and event.client_id == client_id:
                        return position
