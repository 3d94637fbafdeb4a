"""The public market: no key needed. Answered from memory, but for older trades and candles."""

import time
from typing import Annotated, Literal

import msgspec
from litestar import Response, get
from litestar.params import Parameter

from shared.instants import SECOND_NS, iso
from workers.gateway.book_answer import BookAnswer
from workers.gateway.context import Gateway
from workers.gateway.errors import ApiError, bad_request, unavailable
from workers.gateway.forms.times import time_ns
from workers.gateway.history import AWAY, Candle
from workers.gateway.market import Market, Trade
from workers.gateway.paging import Page
from workers.gateway.products import (
    Currency,
    Product,
    currency_answer,
    currency_answers,
)
from workers.gateway.render import Texts
from workers.gateway.rest.answers import (
    StatsAnswer,
    TickerAnswer,
    TimeAnswer,
    TradeAnswer,
    stats_answer,
    ticker_answer,
    trade_answer,
)
from workers.gateway.rest.query import After, Before, End, Limit, Start, page_of

CANDLES_MAX = 300
HOUR_S = 3600
SPARK_HOURS = 24
_JSON = "application/json"
_TAGS = ["market"]


@get("/time", tags=_TAGS)
async def server_time() -> TimeAnswer:
    """The server's time: sign requests with it if your clock is off."""
    now_ns = time.time_ns()
    return TimeAnswer(iso=iso(now_ns), epoch=now_ns // 1_000_000 / 1000)


@get("/currencies", tags=_TAGS)
async def currencies(gateway: Gateway) -> list[Currency]:
    """All currencies."""
    gateway.replicas.require()
    return currency_answers(gateway.replicas.scales)


@get("/currencies/{currency_id:str}", tags=_TAGS)
async def currency(gateway: Gateway, currency_id: str) -> Currency:
    """One currency."""
    gateway.replicas.require()
    scale = gateway.replicas.scales.get(currency_id)
    if scale is None:
        raise ApiError(404, "NotFound")
    return currency_answer(currency_id, scale)


@get("/products", tags=_TAGS)
async def products(gateway: Gateway) -> list[Product]:
    """All products."""
    gateway.replicas.require()
    return gateway.replicas.markets.products()


@get("/products/{product_id:str}", tags=_TAGS)
async def product(gateway: Gateway, product_id: str) -> Product:
    """One product: its steps, its limits, and whether it is traded just now."""
    gateway.replicas.require()
    return gateway.replicas.markets.product(product_id)


@get("/products/spark-lines", tags=_TAGS)
async def spark_lines(gateway: Gateway) -> Response[dict[str, list[list[float]]]]:
    """The hourly candles of the last 24 hours of every product that is available, newest first."""
    gateway.replicas.require()
    now_ns, span_ns = time.time_ns(), HOUR_S * SECOND_NS
    start_ns = now_ns - SPARK_HOURS * span_ns
    lines = {}
    for symbol, market in list(gateway.replicas.markets.items()):
        found = await gateway.history.candles(symbol, span_ns, start_ns, now_ns, CANDLES_MAX)
        lines[symbol] = msgspec.Raw(_candle_rows(found, market.texts))
    return Response(msgspec.json.encode(lines), media_type=_JSON)  # type: ignore[arg-type]  # rendered already


@get("/products/{product_id:str}/book", tags=_TAGS)
async def book(
    gateway: Gateway,
    product_id: str,
    level: Annotated[int, Parameter(ge=1, le=3, description="1: best prices; 2: price levels; 3: single orders")] = 1,
) -> Response[BookAnswer]:
    """The order book, as far as it is shown; in an auction also what it would trade."""
    return Response(gateway.replicas.market(product_id).rendered_book(level), media_type=_JSON)  # type: ignore[arg-type]


@get("/products/{product_id:str}/ticker", tags=_TAGS)
async def ticker(gateway: Gateway, product_id: str) -> TickerAnswer:
    """The last trade, the best prices, and the volume of 24 hours."""
    return ticker_answer(gateway.replicas.market(product_id), time.time_ns())


@get("/products/{product_id:str}/stats", tags=_TAGS)
async def stats(gateway: Gateway, product_id: str) -> StatsAnswer:
    """Open, high, low, last and volume of 24 hours, and the volume of 30 days."""
    market = gateway.replicas.market(product_id)
    if not market.has_past:
        raise unavailable(AWAY)
    return stats_answer(market, time.time_ns())


@get("/products/{product_id:str}/trades", tags=_TAGS)
async def trades(
    gateway: Gateway, product_id: str, limit: Limit = 100, before: Before = None, after: After = None
) -> Response[list[TradeAnswer]]:
    """The trades, newest first."""
    market, page = gateway.replicas.market(product_id), page_of(limit, before, after)
    found = _recent(market, page)
    if found is None:
        found = await gateway.history.trades(product_id, page)
    cut = page.cut(found, lambda trade: trade.trade_id)
    return Response([trade_answer(trade, market.texts) for trade in cut.items], headers=cut.headers())


def _recent(market: Market, page: Page) -> list[Trade] | None:
    """The page (and one more), if memory surely has all of it."""
    kept = market.trades
    has_all = market.has_past and (not kept or kept[0].trade_id == 1 or len(kept) < (kept.maxlen or 0))
    found = [trade for trade in kept if page.holds(trade.trade_id)]
    if page.ascending:
        reaches = has_all or (market.has_past and bool(kept) and kept[0].trade_id <= page.before + 1)
        return found[: page.limit + 1] if reaches else None
    found.reverse()
    return found[: page.limit + 1] if has_all or len(found) > page.limit else None


Granularity = Literal[60, 300, 900, 3600, 21600, 86400]


@get("/products/{product_id:str}/candles", tags=_TAGS)
async def candles(
    gateway: Gateway,
    product_id: str,
    granularity: Annotated[Granularity, Parameter(description="seconds a candle spans")] = 60,
    start: Start = None,
    end: End = None,
) -> Response[list[list[float]]]:
    """Candles [time, low, high, open, close, volume], newest first, at most 300; spans without trades are left out."""
    market = gateway.replicas.market(product_id)
    span_ns = granularity * SECOND_NS
    start_ns, end_ns = time_ns(start, "start"), time_ns(end, "end")
    reach_ns = (CANDLES_MAX - 1) * span_ns
    if end_ns is None:
        end_ns = time.time_ns() if start_ns is None else start_ns // span_ns * span_ns + reach_ns
    if start_ns is None:
        start_ns = max(0, end_ns // span_ns * span_ns - reach_ns)
    if start_ns > end_ns:
        raise bad_request("start must not be after end")
    if (end_ns - start_ns) // span_ns > CANDLES_MAX:
        raise bad_request(
            f"granularity too small for the requested time range: "
            f"{(end_ns - start_ns) // span_ns} candles, at most {CANDLES_MAX} are answered"
        )
    found = await gateway.history.candles(product_id, span_ns, start_ns, end_ns, CANDLES_MAX)
    return Response(_candle_rows(found, market.texts), media_type=_JSON)  # type: ignore[arg-type]  # rendered already


def _candle_rows(found: list[Candle], texts: Texts) -> bytes:
    """Candles as JSON rows of numbers: exact decimal text, written without a float in between."""
    price, size = texts.price, texts.size
    rows = (
        f"[{one.start // SECOND_NS},{price(one.low)},{price(one.high)},{price(one.open)},{price(one.close)},"
        f"{size(one.volume)}]"
        for one in found
    )
    return f"[{','.join(rows)}]".encode()


ROUTES = [
    server_time, currencies, currency, products, spark_lines, product, book, ticker, stats, trades, candles,
]  # fmt: skip
