"""What a client may subscribe to, how it says so, and what it has subscribed to. Pure.

A request names channels as strings, as objects with their own product_ids, both mixed, or not at all (``full``).
"""

from collections.abc import Collection, Iterator, Mapping
from types import MappingProxyType

import msgspec

from shared.errors import MatchboxError
from workers.gateway.forms.json_input import is_text

WITH_PRODUCTS = ("full", "level2", "level2_batch", "matches", "ticker", "ticker_batch", "user", "heartbeat")
BALANCE = "balance"
WITHOUT_PRODUCTS = ("status", BALANCE)
PRIVATE = ("user", BALANCE)
CHANNELS = (*WITH_PRODUCTS, *WITHOUT_PRODUCTS)
_ALIASES = {"level3": "full", "ticker_1000": "ticker_batch"}
_DEFAULT = "full"
TOPICS_MAX = 1000
"""Subscriptions of one connection: channels times products."""

SUBSCRIBE_FAILED = "Failed to subscribe"
AUTHENTICATION_FAILED = "Authentication Failed"
INVALID = "Invalid message"
NOTHING_MISSING: Mapping[str, str] = MappingProxyType({})

Topic = tuple[str, str]
"""A channel and a product ("" for a channel without), or ``balance`` and an account's id ("": all of one's own)."""


class FeedError(MatchboxError):
    """What the client sent cannot be done: a ``message`` of few words that clients compare, and the ``reason``."""

    def __init__(self, message: str, reason: str) -> None:
        super().__init__(f"{message}: {reason}")
        self.message = message
        self.reason = reason


class Wish(msgspec.Struct, frozen=True):
    """One channel of a request. ``products`` (of ``balance`` the ids of accounts) None: none were named."""

    channel: str
    products: tuple[str, ...] | None


def read_end(fields: dict[str, object]) -> list[Wish]:
    """What an unsubscription names; without channels, all of them. Raises ``FeedError``."""
    return read_wishes(fields, WITH_PRODUCTS if fields.get("product_ids") else CHANNELS)


def read_wishes(fields: dict[str, object], default: tuple[str, ...] = (_DEFAULT,)) -> list[Wish]:
    """The channels and products a subscription names. Raises ``FeedError``."""
    channels = fields.get("channels")
    if channels is None:
        return [_wish(channel, {}, fields) for channel in default]
    if not isinstance(channels, list) or not channels:
        raise FeedError(SUBSCRIBE_FAILED, "channels must be a non-empty array of names or objects")
    wishes = []
    for channel in channels:
        own = channel if isinstance(channel, dict) else {"name": channel}
        wishes.append(_wish(_channel(own.get("name")), own, fields))
    return wishes


def _wish(channel: str, own: dict[str, object], shared: dict[str, object]) -> Wish:
    """A channel with what itself names, or else what the whole message names."""
    name = "account_ids" if channel == BALANCE else "product_ids"
    return Wish(channel, _ids(own.get(name), name) or _ids(shared.get(name), name))


def _channel(name: object) -> str:
    if not is_text(name):
        raise FeedError(SUBSCRIBE_FAILED, 'a channel is a name, or an object with "name" and "product_ids"')
    name = _ALIASES.get(name, name)
    if name not in CHANNELS:
        raise FeedError(SUBSCRIBE_FAILED, f'"{name[:40]}" is not a valid channel; choose from {", ".join(CHANNELS)}')
    return name


def _ids(value: object, name: str) -> tuple[str, ...] | None:
    if value is None or value == []:
        return None
    if not isinstance(value, list) or not all(is_text(one) for one in value):
        example = "ids from GET /accounts" if name == "account_ids" else 'product ids, as in ["BTC-USD"]'
        raise FeedError(SUBSCRIBE_FAILED, f"{name} must be an array of {example}")
    return tuple(dict.fromkeys(value))


def wants_all(wishes: list[Wish]) -> bool:
    """Whether a channel is wished for that has all products if none are named."""
    return any(wish.channel == "user" and wish.products is None for wish in wishes)


class Subscriptions:
    """What one connection has subscribed to, in the order in which it asked."""

    def __init__(self) -> None:
        self._topics: dict[Topic, None] = {}

    def __contains__(self, topic: Topic) -> bool:
        return topic in self._topics

    def __iter__(self) -> Iterator[Topic]:
        return iter(list(self._topics))

    def plan(
        self,
        wishes: list[Wish],
        known: Collection[str],
        accounts: Collection[str] = (),
        missing: Mapping[str, str] = NOTHING_MISSING,
    ) -> list[Topic]:
        """The topics that are new. Raises ``FeedError`` if any wish cannot be met; then nothing is new.

        ``accounts`` are the ids of the client's own, ``missing`` products that are not ``known`` now, each with a
        sentence. Who wishes for all products gets those that are known. Every wish is looked at once, however often it
        is repeated.
        """
        wanted: dict[Topic, None] = {}
        for wish in dict.fromkeys(wishes):
            if wish.channel == BALANCE:
                wanted.update(dict.fromkeys(_accounts(wish, accounts)))
                continue
            if wish.channel in WITHOUT_PRODUCTS:
                wanted[wish.channel, ""] = None
                continue
            products = wish.products
            if products is None:
                if wish.channel != "user":
                    raise FeedError(SUBSCRIBE_FAILED, f"product_ids is missing: name the products of {wish.channel}")
                products = tuple(known)
            for product in products:
                if product not in known:
                    raise FeedError(
                        SUBSCRIBE_FAILED, missing.get(product) or f'"{product[:40]}" is not a valid product'
                    )
                wanted[wish.channel, product] = None
        new = [topic for topic in wanted if topic not in self._topics]
        if len(self._topics) + len(new) > TOPICS_MAX:
            raise FeedError(SUBSCRIBE_FAILED, f"at most {TOPICS_MAX} subscriptions of one connection; open another")
        return new

    def add(self, topics: list[Topic]) -> None:
        """Remember new topics."""
        self._topics.update(dict.fromkeys(topics))

    def remove(self, wishes: list[Wish]) -> list[Topic]:
        """Forget what the wishes name (without products: the whole channel); answers what was there."""
        gone = [topic for topic in self._topics if any(_names(wish, topic) for wish in wishes)]
        for topic in gone:
            del self._topics[topic]
        return gone

    def answer(self) -> dict[str, object]:
        """The message that tells the client where it stands."""
        channels: dict[str, list[str]] = {}
        for channel, product in self._topics:
            channels.setdefault(channel, []).extend([product] if product else [])
        accounts = channels.pop(BALANCE, None)
        found: list[dict[str, object]] = [{"name": name, "product_ids": ids} for name, ids in channels.items()]
        if accounts is not None:
            found.append({"name": BALANCE, "product_ids": [], "account_ids": accounts})
        return {"type": "subscriptions", "channels": found}


def _accounts(wish: Wish, known: Collection[str]) -> list[Topic]:
    for account in wish.products or ():
        if account not in known:
            raise FeedError(SUBSCRIBE_FAILED, f'"{account[:40]}" is not the id of an account of yours')
    return [(BALANCE, account) for account in wish.products or ("",)]


def _names(wish: Wish, topic: Topic) -> bool:
    """Whether a wish names a topic."""
    channel, product = topic
    return wish.channel == channel and (not product or wish.products is None or product in wish.products)
