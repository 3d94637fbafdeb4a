"""What an admin does to the exchange: products and their modes, and the kill switch.

All of it is logged by the ledgers like any other request. Nothing here depends on which gateway process is asked.
"""

import asyncio
from typing import Any

import msgspec
from msgspec import UNSET, UnsetType

from shared import keys
from shared.instrument import Instrument, Mode
from shared.messages import BlockRequest, CancelAllRequest, InstrumentRequest, LedgerEvent, Rejected, Request
from workers.gateway.errors import ApiError, bad_request, product_not_found, redis_is_away, refusal
from workers.gateway.inbox import Inbox
from workers.gateway.replicas import Replicas

EVERYONE = 0
KNOWN_POLLS = 200
_POLL_S = 0.01
_WHAT = "products"

_encode = msgspec.json.Encoder().encode
_decode = msgspec.json.Decoder(Instrument).decode


class Halt(msgspec.Struct):
    """A kill switch that is on. ``time`` in ns."""

    id: str
    reason: str
    time: int | UnsetType = UNSET


class Control:
    """Asks the ledgers, and waits for their answers. Raises ``ApiError``: 400, 404, 503."""

    def __init__(self, client: Any, inbox: Inbox, replicas: Replicas, shards: int) -> None:
        self._client = client
        self._inbox = inbox
        self._replicas = replicas
        self._shards = shards

    # --- products ---

    async def add(self, instrument: Instrument) -> None:
        """Make a product known to every shard; a supervisor starts its book. 400 if there is one of that name."""
        symbol = instrument.symbol
        with redis_is_away(_WHAT):
            is_new = await self._client.hsetnx(keys.INSTRUMENTS, symbol, _encode(instrument))
        if not is_new:
            raise bad_request(f"{symbol} exists already")
        try:
            await self._tell_all(instrument)
        except ApiError as error:
            if error.status < 500:  # else nobody knows: it is there as soon as the ledger is
                with redis_is_away(_WHAT):
                    await self._client.hdel(keys.INSTRUMENTS, symbol)
            raise
        for _ in range(KNOWN_POLLS):  # whoever asks for it next finds it
            if symbol in self._replicas.markets:
                return
            await asyncio.sleep(_POLL_S)

    async def set_mode(self, symbol: str, mode: Mode, reason: str = "") -> Instrument:
        """Put a product into a mode. ``reason``: what people are told."""
        with redis_is_away(_WHAT):
            text = await self._client.hget(keys.INSTRUMENTS, symbol)
        if text is None:
            raise product_not_found()
        instrument = _decode(text).in_mode(mode, reason)
        await self._tell_all(instrument)
        with redis_is_away(_WHAT):
            await self._client.hset(keys.INSTRUMENTS, symbol, _encode(instrument))
            if mode == "online":  # an engine that was given up is started again, as by "matchbox instrument resume"
                await self._client.hdel(keys.HALTED, keys.engine(symbol))
        return instrument

    async def _tell_all(self, instrument: Instrument) -> None:
        for shard in range(self._shards):
            await self._ask(shard, InstrumentRequest(self._inbox.request_id(), instrument))

    # --- the kill switch ---

    async def halt_product(self, symbol: str, reason: str) -> None:
        """No orders for a product any more, and cancel everybody's: those that come late find it halted."""
        await self.set_mode(symbol, "halted", reason)
        await self._ask(0, CancelAllRequest(self._inbox.request_id(), EVERYONE, symbol))

    async def block(self, account: int, reason: str) -> None:
        """No trading for an account any more, and cancel what it has open."""
        await self._ask(self._shard(account), BlockRequest(self._inbox.request_id(), account, True, reason))

    async def unblock(self, account: int) -> None:
        """Let an account trade again."""
        await self._ask(self._shard(account), BlockRequest(self._inbox.request_id(), account, False))

    async def block_all(self, reason: str) -> None:
        """No trading for anybody any more, and cancel everything."""
        for shard in range(self._shards):
            await self._ask(shard, BlockRequest(self._inbox.request_id(), EVERYONE, True, reason))

    async def unblock_all(self) -> None:
        """Let everybody trade again but those who are blocked themselves."""
        for shard in range(self._shards):
            await self._ask(shard, BlockRequest(self._inbox.request_id(), EVERYONE, False))

    async def cancel_all(self, account: int) -> None:
        """Cancel what an account has open."""
        await self._ask(self._shard(account), CancelAllRequest(self._inbox.request_id(), account))

    async def halts(self) -> list[Halt]:
        """The switches that are on: everybody's, accounts', products'."""
        await self.catch_up()
        blocks = {block.account: block for ledger in self._replicas.ledgers for block in ledger.blocks.values()}
        found = [
            Halt(halt_of_account(account) if account else ALL, blocks[account].reason, blocks[account].time)
            for account in sorted(blocks)
        ]
        instruments = self._replicas.instruments
        halted = [instruments[symbol] for symbol in sorted(instruments) if instruments[symbol].mode == "halted"]
        return found + [Halt(halt_of_product(one.symbol), one.mode_reason) for one in halted]

    async def catch_up(self) -> None:
        """Come to know what was done through other gateways."""
        self._replicas.require()
        for shard in range(self._shards):
            await self._replicas.catch_up(shard)

    def _shard(self, account: int) -> int:
        return keys.shard_of(account, self._shards)

    async def _ask(self, shard: int, request: Request) -> LedgerEvent:
        event = await self._inbox.ask(shard, request)
        if isinstance(event, Rejected):
            raise refusal(event)
        return event


ALL = "all"


def halt_of_account(account: int) -> str:
    """How the switch of an account is called."""
    return f"account:{account}"


def halt_of_product(symbol: str) -> str:
    """How the switch of a product is called."""
    return f"product:{symbol}"
