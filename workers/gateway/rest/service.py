"""The service itself: is it well, its figures, its description, and a page that says where to look."""

import time
from pathlib import Path

import msgspec
from litestar import MediaType, Response, get
from prometheus_client import CONTENT_TYPE_LATEST, generate_latest

from workers.gateway.context import Gateway
from workers.gateway.errors import ApiError

_WEB = Path(__file__).parent.parent / "web"
_TAGS = ["service"]
LAG_MAX = 10_000
"""Log entries: a few seconds under full load."""


class Health(msgspec.Struct):
    """Whether all is well, and if not, what is missing."""

    status: str
    reasons: list[str]
    gateway: int
    instruments: int
    time: int


@get("/health", tags=_TAGS)
async def health(gateway: Gateway) -> Response[Health]:
    """200 if orders, market data and history are all answered; else 503 and what is missing.

    A product that is not available is told with 200, and impaired: the others are.
    """
    reasons = [trouble for trouble in (gateway.replicas.trouble, gateway.backpressure.trouble) if trouble]
    try:
        await gateway.history.ping()
    except ApiError:
        reasons.append("PostgreSQL is away: older orders, fills, candles and statements are not answered")
    if gateway.replicas.lag > LAG_MAX:
        reasons.append(f"market data and balances are {gateway.replicas.lag} log entries behind")
    status_code, markets = 503 if reasons else 200, gateway.replicas.markets
    if markets.trouble:
        reasons.append(markets.trouble)
    found = Health("impaired" if reasons else "ok", reasons, gateway.number, len(markets), time.time_ns())
    return Response(found, status_code=status_code)


@get("/metrics", tags=_TAGS, media_type=MediaType.TEXT)
async def metrics() -> Response[bytes]:
    """Figures of this process, for Prometheus."""
    return Response(generate_latest(), media_type=CONTENT_TYPE_LATEST)


@get("/docs", media_type=MediaType.HTML, include_in_schema=False)
async def docs() -> str:
    """The API's description, rendered by a page that needs nothing from elsewhere."""
    return (_WEB / "docs.html").read_text(encoding="utf-8")


@get("/", media_type=MediaType.HTML, include_in_schema=False)
async def home() -> str:
    """Where to look."""
    return (_WEB / "home.html").read_text(encoding="utf-8")


ROUTES = [health, metrics, docs, home]
