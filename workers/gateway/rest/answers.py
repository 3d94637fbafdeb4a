"""What the routes answer: the shapes of the API, and how internal things become them. Pure."""

from typing import Any

import msgspec
from msgspec import UNSET, UnsetType
from sqlalchemy import Row

from shared.instants import iso
from shared.order_id import to_uuid
from workers.gateway.market import Market, Trade
from workers.gateway.render import Texts, account_uuid, decimal_text, user_uuid
from workers.ledger.accounts import Balance


class ErrorAnswer(msgspec.Struct):
    """Every error."""

    message: str


class TimeAnswer(msgspec.Struct):
    """The server's clock."""

    iso: str
    epoch: float


class TickerAnswer(msgspec.Struct):
    """The last trade and the best prices; what there is not yet is left out. Volume of 24 hours."""

    volume: str
    trade_id: int | UnsetType = UNSET
    price: str | UnsetType = UNSET
    size: str | UnsetType = UNSET
    time: str | UnsetType = UNSET
    bid: str | UnsetType = UNSET
    ask: str | UnsetType = UNSET


class StatsAnswer(msgspec.Struct):
    """The figures of the last 24 hours; prices are "0" without a trade."""

    open: str
    high: str
    low: str
    last: str
    volume: str
    volume_30day: str


class TradeAnswer(msgspec.Struct):
    """A trade; ``side`` is the maker's."""

    trade_id: int
    side: str
    size: str
    price: str
    time: str


class FillAnswer(msgspec.Struct):
    """One side of a trade, the caller's. ``side`` is the caller's, ``liquidity`` M (maker) or T (taker)."""

    trade_id: int
    product_id: str
    order_id: str
    user_id: str
    profile_id: str
    liquidity: str
    price: str
    size: str
    fee: str
    side: str
    settled: bool
    created_at: str


class AccountAnswer(msgspec.Struct):
    """What the caller has in one currency: ``balance`` = ``available`` + ``hold``."""

    id: str
    currency: str
    balance: str
    available: str
    hold: str
    profile_id: str
    trading_enabled: bool


class LedgerDetails(msgspec.Struct, omit_defaults=True):
    """What a change of balance belongs to."""

    product_id: str = ""
    trade_id: str = ""
    order_id: str = ""
    transfer_id: str = ""


class LedgerAnswer(msgspec.Struct):
    """A change of balance: signed ``amount``, and the ``balance`` it led to."""

    id: str
    amount: str
    balance: str
    created_at: str
    type: str
    details: LedgerDetails


class HoldAnswer(msgspec.Struct):
    """What an open order holds; ``ref`` is the order."""

    id: str
    account_id: str
    created_at: str
    amount: str
    type: str
    ref: str


class TransferAnswer(msgspec.Struct):
    """A deposit or withdrawal."""

    id: str
    type: str
    created_at: str
    completed_at: str
    account_id: str
    user_id: str
    amount: str
    currency: str
    details: dict[str, str]


class NewTransferAnswer(msgspec.Struct):
    """A deposit or withdrawal that was just made; GET /transfers/{id} says more as soon as PostgreSQL has it."""

    id: str
    type: str
    account_id: str
    user_id: str
    amount: str
    currency: str


class ProfileAnswer(msgspec.Struct):
    """A part of a user's accounts with orders of its own; here a user has one."""

    id: str
    user_id: str
    name: str
    active: bool
    is_default: bool
    has_margin: bool


class ProductFees(msgspec.Struct):
    """Fee rates of one product."""

    maker_fee_rate: str
    taker_fee_rate: str


class FeesAnswer(msgspec.Struct):
    """The caller's highest fee rates, and those of each product."""

    maker_fee_rate: str
    taker_fee_rate: str
    products: dict[str, ProductFees]


def ticker_answer(market: Market, now_ns: int) -> TickerAnswer:
    """The ticker of a market."""
    texts, book = market.texts, market.book
    answer = TickerAnswer(texts.size(market.stats(now_ns).volume))
    if market.trades:
        trade = market.trades[-1]
        answer.trade_id, answer.time = trade.trade_id, iso(trade.time)
        answer.price, answer.size = texts.price(trade.price), texts.size(trade.quantity)
    if book.best("buy"):
        answer.bid = texts.price(book.best("buy"))
    if book.best("sell"):
        answer.ask = texts.price(book.best("sell"))
    return answer


def stats_answer(market: Market, now_ns: int) -> StatsAnswer:
    """The figures of a market."""
    texts, stats = market.texts, market.stats(now_ns)
    last = market.trades[-1].price if market.trades else 0
    return StatsAnswer(
        open=texts.price(stats.open),
        high=texts.price(stats.high),
        low=texts.price(stats.low),
        last=texts.price(last),
        volume=texts.size(stats.volume),
        volume_30day=texts.size(stats.volume_month),
    )


def trade_answer(trade: Trade, texts: Texts) -> TradeAnswer:
    """A public trade."""
    return TradeAnswer(
        trade.trade_id, trade.side, texts.size(trade.quantity), texts.price(trade.price), iso(trade.time)
    )


def fill_answer(row: Row[Any], texts: Texts) -> FillAnswer:
    """A row of ``fills``."""
    user = user_uuid(row.account)
    return FillAnswer(
        trade_id=row.trade_id,
        product_id=row.instrument,
        order_id=to_uuid(row.order_id),
        user_id=user,
        profile_id=user,
        liquidity=row.liquidity,
        price=texts.price(row.price),
        size=texts.size(row.quantity),
        fee=texts.quote(row.fee),
        side=row.side,
        settled=True,
        created_at=iso(row.time),
    )


def account_answer(account: int, currency: str, scale: int, balance: Balance) -> AccountAnswer:
    """A balance."""
    return AccountAnswer(
        id=account_uuid(account, currency),
        currency=currency,
        balance=decimal_text(balance.available + balance.held, scale),
        available=decimal_text(balance.available, scale),
        hold=decimal_text(balance.held, scale),
        profile_id=user_uuid(account),
        trading_enabled=True,
    )


def profile_answer(account: int) -> ProfileAnswer:
    """The one profile of a user."""
    user = user_uuid(account)
    return ProfileAnswer(user, user, "default", active=True, is_default=True, has_margin=False)


def new_transfer_answer(number: str, account: int, currency: str, amount: int, scale: int) -> NewTransferAnswer:
    """A transfer of ``amount`` smallest units, below 0 for a withdrawal."""
    return NewTransferAnswer(
        id=number,
        type="deposit" if amount > 0 else "withdraw",
        account_id=account_uuid(account, currency),
        user_id=user_uuid(account),
        amount=decimal_text(abs(amount), scale),
        currency=currency,
    )
