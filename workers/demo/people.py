"""Who trades in the demo: users and API keys of their own, and money to begin with."""

from collections.abc import Iterable
from typing import Any, NamedTuple

import msgspec
from sqlalchemy import Engine, select

from shared import keys
from shared.credentials import ApiKey, create_key, create_user, revoke_key
from shared.errors import InvalidInput
from shared.instrument import MONEY_MAX, Instrument
from shared.messages import TransferRequest
from shared.schema import api_keys, users
from shared.submit import Submitter
from workers.demo.strategies import MarketMaker, MomentumTrader, NoiseTrader, Strategy

LABEL = "demo"


class Role(NamedTuple):
    """A trader of the demo. ``pace_s``: how long it thinks about one product, on average."""

    name: str
    strategy: Strategy
    pace_s: float


ROLES = (
    Role("demo-maker-1", MarketMaker(), 0.9),
    Role("demo-maker-2", MarketMaker(levels=10, spread=700, step=400), 1.1),
    Role("demo-noise-1", NoiseTrader(), 0.7),
    Role("demo-noise-2", NoiseTrader(patience=8), 1.3),
    Role("demo-momentum", MomentumTrader(), 1.5),
)


class Product(NamedTuple):
    """What the demo thinks of an instrument: its first price, a usual trade, and what each trader has at first."""

    price: str
    unit: str
    endowment: int


PRODUCTS = {"BTC-USD": Product("60000", "0.1", 1_000), "ETH-USD": Product("3000", "2", 20_000)}
QUOTE_ENDOWMENT = 20_000_000
"""Whole units of the quote currency that each trader gets."""


class Person(NamedTuple):
    """A trader of the demo with an account and a key."""

    role: Role
    account: int
    key: ApiKey


def make_people(engine: Engine, client: Any, server_key: str) -> list[Person]:
    """The traders, each with a fresh key. Keys of an earlier run end: their secrets are not kept anywhere."""
    made = []
    for role in ROLES:
        account = _account(engine, role.name)
        with engine.connect() as connection:
            old = connection.scalars(
                select(api_keys.c.key).where(
                    api_keys.c.account == account, api_keys.c.label == LABEL, api_keys.c.revoked_at.is_(None)
                )
            ).all()
        for one in old:
            revoke_key(engine, one)
        key = create_key(engine, account, ("view", "trade"), server_key, LABEL)
        for one in (*old, key.key):
            client.publish(keys.KEYS_CHANNEL, one)
        made.append(Person(role, account, key))
    return made


def _account(engine: Engine, name: str) -> int:
    with engine.connect() as connection:
        account = connection.scalar(select(users.c.account).where(users.c.name == name))
    return create_user(engine, name) if account is None else int(account)


def listed(client: Any) -> dict[str, Instrument]:
    """The instruments that the demo knows how to trade. Raises ``InvalidInput`` if there are none."""
    found = {name.decode(): text for name, text in client.hgetall(keys.INSTRUMENTS).items()}
    known = {name: msgspec.json.decode(found[name], type=Instrument) for name in PRODUCTS if name in found}
    if not known:
        raise InvalidInput(
            f"the demo trades {' and '.join(PRODUCTS)}, and neither is listed; "
            "add one: matchbox instrument add BTC-USD --tick 0.01 --lot 0.00000001"
        )
    return known


def endowments(instruments: Iterable[Instrument], shards: int) -> dict[str, int]:
    """What each trader gets of each currency, in smallest units; all of them together fit what a shard may have."""
    wanted: dict[str, int] = {}
    for one in instruments:
        wanted[one.base] = PRODUCTS[one.symbol].endowment * 10**one.base_scale
        wanted[one.quote] = QUOTE_ENDOWMENT * 10**one.quote_scale
    most = MONEY_MAX // shards // (2 * len(ROLES))
    return {currency: min(units, most) for currency, units in wanted.items()}


def endow(client: Any, shards: int, account: int, currencies: dict[str, int]) -> None:
    """Give an account its first money. A repeat gives nothing, as long as the ledger remembers the first time."""
    submitter = Submitter(client, shards)
    for currency, amount in currencies.items():
        submitter.submit(TransferRequest(f"demo-{currency}", account, currency, amount))
