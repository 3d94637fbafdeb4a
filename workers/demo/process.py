"""The demo's process: makes its people, lets them trade, beats, and leaves no order behind when told to stop."""

import asyncio
import contextlib
import signal
import time
from decimal import Decimal
from random import Random

import httpx
from redis.exceptions import RedisError
from sqlalchemy.exc import OperationalError

from shared import keys, log
from shared.beat import BEAT_S, Beat, beat_of, show_beat
from shared.connections import connect, connect_async, open_database
from shared.credentials import server_key
from shared.errors import InvalidSetting, Unavailable, first_line
from shared.instrument import Instrument
from shared.settings import Settings
from workers.demo import people
from workers.demo.client import ApiClient, Away, Declined, address
from workers.demo.people import PRODUCTS, Person
from workers.demo.strategies import FairValue
from workers.demo.trader import PAUSE_MAX_S, PAUSE_MIN_S, Trader, walk_values

ANSWER_S = 10.0


class Demo:
    """The traders, and how they are."""

    def __init__(self, settings: Settings, seed: int) -> None:
        self._settings = settings
        self._seed = seed
        self._traders: list[Trader] = []
        self._waiting_for = "starting"
        self._log = log.get()

    async def run(self, stopping: asyncio.Event) -> None:
        """Trade until told to stop. Raises ``MatchboxError``."""
        beats = asyncio.create_task(self._beat())
        work = asyncio.create_task(self._work())
        told = asyncio.create_task(stopping.wait())
        try:
            await asyncio.wait((work, told), return_when=asyncio.FIRST_COMPLETED)
        finally:
            for task in (work, beats, told):
                task.cancel()
            outcome, *_ = await asyncio.gather(work, beats, told, return_exceptions=True)
        if isinstance(outcome, Exception):
            raise outcome

    async def _work(self) -> None:
        settings = self._settings
        instruments, crowd, shards = await asyncio.to_thread(_prepare, settings)
        values = {symbol: _value(one, self._seed) for symbol, one in instruments.items()}
        money = people.endowments(instruments.values(), shards)
        async with httpx.AsyncClient(timeout=ANSWER_S, trust_env=False) as http:
            for person in crowd:
                api = ApiClient(http, address(settings), person.key)
                await self._endow(api, person, money, shards)
                self._traders += [
                    Trader(person, api, one, values[symbol], money[one.base], self._seed)
                    for symbol, one in instruments.items()
                ]
            self._waiting_for = ""
            self._log.info("Trading", products=list(instruments), traders=len(crowd))
            try:
                async with asyncio.TaskGroup() as tasks:
                    tasks.create_task(walk_values(values))
                    for trader in self._traders:
                        tasks.create_task(trader.run())
            finally:
                await asyncio.gather(*(trader.leave() for trader in self._traders))

    async def _endow(self, api: ApiClient, person: Person, money: dict[str, int], shards: int) -> None:
        """Give a trader its first money, if it has none: asked of the exchange, which remembers for ever."""
        pause_s = PAUSE_MIN_S
        while True:
            try:
                found = await api.request("GET", "/accounts")
                break
            except (Away, Declined) as error:
                self._waiting_for = str(error)
                await asyncio.sleep(pause_s)
                pause_s = min(PAUSE_MAX_S, pause_s * 2)
        has = {one["currency"] for one in found if Decimal(one["balance"])}
        missing = {currency: units for currency, units in money.items() if currency not in has}
        if missing:
            await asyncio.to_thread(_give, self._settings, shards, person.account, missing)

    # --- signs of life -------------------------------------------------------------------------------

    async def _beat(self) -> None:
        client = connect_async(self._settings.redis_url)
        try:
            while True:
                with contextlib.suppress(RedisError, OSError):  # the next beat tries again
                    await show_beat(client, "demo", self._sign())
                await asyncio.sleep(BEAT_S)
        finally:
            await client.aclose()

    def _sign(self) -> Beat:
        troubles = [trader.trouble for trader in self._traders]
        is_idle = self._waiting_for or all(troubles)
        sent = sum(trader.sent for trader in self._traders)
        error = next(filter(None, [self._waiting_for, *troubles]), "")
        return beat_of("starting" if is_idle else "running", sent, error=error)


def _value(instrument: Instrument, seed: int) -> FairValue:
    start = int(Decimal(PRODUCTS[instrument.symbol].price) / Decimal(instrument.tick))
    return FairValue(start, Random(f"{seed} {instrument.symbol}"))


def _prepare(settings: Settings) -> tuple[dict[str, Instrument], list[Person], int]:
    """What needs Redis and PostgreSQL: the instruments, the traders, the number of shards."""
    engine, client = open_database(settings.database_url), connect(settings.redis_url)
    try:
        shards = int(client.get(keys.SHARDS) or settings.shards)
        return people.listed(client), people.make_people(engine, client, server_key(settings)), shards
    except (OperationalError, RedisError) as error:
        raise Unavailable(f"a server does not answer: {first_line(error)}") from error
    finally:
        engine.dispose()
        client.close()


def _give(settings: Settings, shards: int, account: int, money: dict[str, int]) -> None:
    client = connect(settings.redis_url)
    try:
        people.endow(client, shards, account, money)
    except RedisError as error:
        raise Unavailable(f"Redis does not answer: {error}") from error
    finally:
        client.close()


async def main(settings: Settings) -> None:
    """Run the demo until SIGTERM or SIGINT. Raises ``MatchboxError``."""
    for name, url in (("MATCHBOX_REDIS_URL", settings.redis_url), ("MATCHBOX_DATABASE_URL", settings.database_url)):
        if not url:
            raise InvalidSetting(f'{name} is not set; "matchbox start --demo" sets it for the processes it starts')
    stopping = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stopping.set)
    await Demo(settings, seed=time.time_ns() // 1_000_000).run(stopping)
