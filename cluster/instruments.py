"""Add, halt and resume instruments while the cluster runs, through Redis, so from any host.

The hash ``matchbox:instruments`` says what the supervisors run; the rules in force are those in the logs, because
whatever changes them is a logged request like any other.
"""

import time
import uuid
from typing import Any

import msgspec

from cluster.plan import engine as engine_name
from shared import keys
from shared.errors import InvalidInput, Unavailable
from shared.instrument import (
    Instrument,
    Mode,
    decimal_of,
    make_instrument,
    plain,
)
from shared.messages import FIELD, Configured, InstrumentRequest, Match, decode_book_entry
from shared.submit import Refused, Submitter

DEMO_INSTRUMENTS = (
    make_instrument("BTC-USD", "0.01", "0.00000001", maker_fee=1000, taker_fee=2000),
    make_instrument("ETH-USD", "0.01", "0.00000001", maker_fee=1000, taker_fee=2000),
)
"""What the demo trades: 10 and 20 basis points for maker and taker."""

_decode = msgspec.json.Decoder(Instrument).decode
encode = msgspec.json.Encoder().encode
POLL_S = 0.05


class Uncrossing(msgspec.Struct, frozen=True):
    """What an auction traded: ``price`` in ticks (0: nobody met), ``quantity`` in lots, and in how many trades."""

    price: int
    quantity: int
    trades: int


def request(instrument: Instrument) -> InstrumentRequest:
    """The request that makes these rules the ones in force."""
    return InstrumentRequest(f"instrument-{uuid.uuid4().hex}", instrument)


def bps_text(millionths: int) -> str:
    """Parts per million as basis points."""
    return plain(decimal_of(str(millionths), "fee") / 100)


def shard_count(client: Any) -> int:
    """The number of account shards. Raises ``Unavailable`` if no supervisor has set the cluster up yet."""
    found = client.get(keys.SHARDS)
    if found is None:
        raise Unavailable('this Redis holds no cluster yet; "matchbox start" makes one')
    return int(found)


def listing(client: Any) -> list[Instrument]:
    """All instruments, by symbol."""
    return [_decode(text) for _, text in sorted(client.hgetall(keys.INSTRUMENTS).items())]


def find(client: Any, symbol: str) -> Instrument:
    """An instrument. Raises ``InvalidInput`` that names those that exist."""
    text = client.hget(keys.INSTRUMENTS, symbol)
    if text is None:
        known = ", ".join(one.symbol for one in listing(client)) or "none yet"
        raise InvalidInput(f'instrument "{symbol}" does not exist (there are: {known})')
    return _decode(text)


def add(client: Any, instrument: Instrument) -> None:
    """Make an instrument known to every shard and start its engine.

    Raises ``InvalidInput`` if it exists, ``Refused`` if the ledger says no, ``Unavailable`` if it does not answer:
    then the instrument is there as soon as the ledger is.
    """
    shards = shard_count(client)
    if not client.hsetnx(keys.INSTRUMENTS, instrument.symbol, encode(instrument)):
        raise InvalidInput(f'instrument {instrument.symbol} exists already; see "matchbox instrument list"')
    try:
        Submitter(client, shards).submit_to_all(request(instrument))
    except Refused as error:
        client.hdel(keys.INSTRUMENTS, instrument.symbol)
        raise InvalidInput(f"{instrument.symbol}: the ledger refused it: {error}") from error


def set_mode(client: Any, symbol: str, mode: Mode, reason: str = "") -> Instrument:
    """Put an instrument into a mode on every shard and in its book, and answer it. ``reason``: what people are told."""
    instrument = find(client, symbol).in_mode(mode, reason)
    Submitter(client, shard_count(client)).submit_to_all(request(instrument))
    client.hset(keys.INSTRUMENTS, symbol, encode(instrument))
    return instrument


def end_auction(client: Any, symbol: str, mode: Mode = "online", timeout_s: float = 10.0) -> Uncrossing:
    """Leave the auction for ``mode``, and answer what it traded.

    Raises ``InvalidInput`` if the instrument is in no auction, ``Unavailable`` if its book does not answer in time.
    """
    if find(client, symbol).mode != "auction":
        raise InvalidInput(f'{symbol} is in no auction; "matchbox instrument mode {symbol} auction" begins one')
    log = keys.log(keys.instrument_tag(symbol))
    newest = client.xrevrange(log, count=1)
    position = newest[0][0] if newest else b"0-0"
    set_mode(client, symbol, mode)
    end = time.monotonic() + timeout_s
    while time.monotonic() < end:
        for entry_id, fields in client.xrange(log, min=b"(" + position):
            position, events = entry_id, decode_book_entry(fields[FIELD]).events
            if any(isinstance(event, Configured) and event.instrument.mode == mode for event in events):
                return _uncrossing([event for event in events if isinstance(event, Match)])
        time.sleep(POLL_S)
    raise Unavailable(f'{symbol} ends its auction as soon as its engine runs; see "matchbox status"')


def _uncrossing(matches: list[Match]) -> Uncrossing:
    price = matches[0].price if matches else 0
    return Uncrossing(price, sum(match.quantity for match in matches), len(matches))


def resume(client: Any, symbol: str) -> Instrument:
    """Trade again; an engine that was given up is started again."""
    find(client, symbol)
    client.hdel(keys.HALTED, engine_name(symbol))
    return set_mode(client, symbol, "online")
