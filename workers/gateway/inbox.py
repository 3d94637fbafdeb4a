"""Requests to the ledgers, and their answers: what is asked in one turn of the loop travels in one round trip.

Every request carries an id of its own. The answer is the first event of the ledger's log with that id; whoever follows
the logs hands it to ``answer``. Because the ledger dedupes, a batch whose reply was lost is simply sent again.
"""

import asyncio
import secrets
import time
from collections import deque
from collections.abc import Iterable, Sequence
from typing import Any, get_args

import hiredis
from redis.exceptions import RedisError, ResponseError

from shared import keys, log
from shared.messages import (
    FIELD,
    LedgerEvent,
    Rejected,
    Request,
    encode,
)
from workers.gateway import figures
from workers.gateway.backpressure import Backpressure
from workers.gateway.errors import ApiError, unavailable

WAITING_MAX = 20_000
"""Requests under way at once in one gateway. Beyond it, a request is refused before anything is written."""

EXPIRY_S = 0.1
_ANSWERED = {kind: figures.ANSWERS.labels(kind.__name__) for kind in get_args(LedgerEvent)}

NOT_SENT = "the exchange cannot be reached just now; nothing was sent, try again"
UNKNOWN = (
    "no answer in time; the request may still be carried out. Look the order up by its client_oid, "
    "or repeat the request: with the same client_oid no order is placed twice, and an amend says what it shall be"
)


Queued = tuple[str, bytes]
"""The id of a request, and the request."""
APPEND = f"for i = 1, #ARGV do redis.call('XADD', KEYS[1], '*', '{FIELD.decode()}', ARGV[i]) end"


class Inbox:
    """Sends requests and waits for their answers. Run ``send_forever`` and ``expire_forever`` beside it."""

    def __init__(self, client: Any, gateway: int, timeout_s: float, backpressure: Backpressure) -> None:
        self._client = client
        self._backpressure = backpressure
        self._timeout_s = timeout_s
        self._prefix = f"g{gateway}-{secrets.token_hex(5)}-"
        self._count = 0
        self._queue: dict[int, list[Queued]] = {}
        self._waiting: dict[str, asyncio.Future[LedgerEvent]] = {}
        self._deadlines: deque[tuple[float, str]] = deque()
        self._wake = asyncio.Event()

    def request_id(self) -> str:
        """An id that no other request of any gateway has or had."""
        self._count += 1
        return f"{self._prefix}{self._count}"

    @property
    def waiting(self) -> int:
        """Requests without an answer yet."""
        return len(self._waiting)

    async def ask(self, shard: int, request: Request) -> LedgerEvent:
        """Send a request and wait for the ledger's event. Raises ``ApiError`` 503 if none comes."""
        (event,) = await self.ask_each(shard, request, (request.request_id,))
        return event

    async def ask_each(self, shard: int, request: Request, ids: Sequence[str]) -> list[LedgerEvent]:
        """The same for one that is answered for each of ``ids``, all in one entry, or refused once under the first."""
        self._check_room(shard, request)
        started, loop = time.perf_counter(), asyncio.get_running_loop()
        answers: dict[str, asyncio.Future[LedgerEvent]] = {number: loop.create_future() for number in ids}
        self._waiting.update(answers)
        first = ids[0]
        self._queue.setdefault(shard, []).append((first, encode(request)))
        self._wake.set()
        self._deadlines.append((started + self._timeout_s, first))
        try:
            event = await answers[first]
        finally:
            for number in ids:
                self._waiting.pop(number, None)
        _ANSWERED[event.__class__].inc()
        figures.ANSWER_SECONDS.observe(time.perf_counter() - started)
        if isinstance(event, Rejected):
            return [event]
        return [event, *(answers[number].result() for number in ids[1:])]

    def _check_room(self, shard: int, request: Request) -> None:
        """Raises ``ApiError`` 503 if this need not even be sent."""
        if len(self._waiting) >= WAITING_MAX:
            raise unavailable(f"too busy: {WAITING_MAX} requests wait already; nothing was sent, try again")
        self._backpressure.check(shard, request)
        if request.request_id in self._waiting:
            raise unavailable("the same request is under way already; try again")

    def answer(self, event: LedgerEvent, request_id: str = "") -> None:
        """Wake whoever waits for this event, or for an answer to ``request_id`` that it is."""
        waiting = self._waiting.get(request_id or event.request_id)  # type: ignore[union-attr]  # those have one
        if waiting is not None and not waiting.done():
            waiting.set_result(event)

    async def send_forever(self) -> None:
        """Send what is queued, one batch at a time: while one is under way the next one gathers."""
        connection = self._client.connection_pool.make_connection()
        try:
            while True:
                await self._wake.wait()
                self._wake.clear()
                batch, self._queue = self._queue, {}
                await self._send(connection, batch)
        finally:
            await connection.disconnect(nowait=True)

    async def expire_forever(self) -> None:
        """Fail what was not answered in time. One look now and then costs less than a timer for each request."""
        while True:
            await asyncio.sleep(EXPIRY_S)
            now = time.perf_counter()
            while self._deadlines and self._deadlines[0][0] <= now:
                self._fail((self._deadlines.popleft()[1],), unavailable(UNKNOWN))

    async def _send(self, connection: Any, batch: dict[int, list[Queued]]) -> None:
        """One batch; sent once more if the connection broke, since it may have been stale.

        What was answered by then is not: an amend that came late a second time would undo one that came between.
        """
        sent = False
        for attempt in (1, 2):
            waiting = {shard: [one for one in queued if one[0] in self._waiting] for shard, queued in batch.items()}
            batch = {shard: queued for shard, queued in waiting.items() if queued}
            try:
                if not connection.is_connected:
                    await connection.connect()
                sent = True
                packed = b"".join(_command(shard, queued) for shard, queued in batch.items())
                await connection.send_packed_command(packed, check_health=False)
                for shard in list(batch):
                    await self._read_reply(connection, batch[shard])
                    del batch[shard]
            except (RedisError, OSError) as error:
                await connection.disconnect(nowait=True)
                if attempt == 2:
                    numbers = [number for queued in batch.values() for number, _ in queued]
                    log.get().warning("Requests could not be sent", count=len(numbers), error=str(error))
                    self._fail(numbers, unavailable(UNKNOWN if sent else NOT_SENT))
            else:
                return

    async def _read_reply(self, connection: Any, queued: list[Queued]) -> None:
        try:
            await connection.read_response()
        except ResponseError as error:  # full, read-only or loading: Redis says so before the first is written
            refused = unavailable(f"the exchange takes no requests just now ({error}); nothing was sent")
            self._fail((number for number, _ in queued), refused)

    def _fail(self, numbers: Iterable[str], error: ApiError) -> None:
        for number in numbers:
            waiting = self._waiting.get(number)
            if waiting is not None and not waiting.done():
                waiting.set_exception(error)


def _command(shard: int, queued: list[Queued]) -> bytes:
    """The requests of one ledger as one command: a reply for each would cost a tenth of what an order costs here."""
    command = ("EVAL", APPEND, "1", keys.inbox(shard), *(payload for _, payload in queued))
    packed: bytes = hiredis.pack_command(command)  # type: ignore[arg-type]  # its stub has one item
    return packed
