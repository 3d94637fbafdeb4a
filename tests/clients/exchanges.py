"""ccxt's and ccxt.pro's ``coinbaseexchange`` for a cluster: unchanged but for the URLs."""

from typing import Any

import ccxt
import ccxt.async_support
import ccxt.pro

from tests.harness import Cluster, Trader


def options(cluster: Cluster, user: Trader) -> dict[str, Any]:
    """What ccxt is told, as in the README."""
    urls = {"public": cluster.url, "private": cluster.url, "ws": cluster.url.replace("http", "ws")}
    secrets = {"apiKey": user.key.key, "secret": user.key.secret, "password": user.key.passphrase}
    return {**secrets, "urls": {"api": urls}, "enableRateLimit": False}


def ccxt_of(cluster: Cluster, user: Trader) -> Any:
    """The one that waits for each answer."""
    return ccxt.coinbaseexchange(options(cluster, user))


def async_ccxt_of(cluster: Cluster, user: Trader) -> Any:
    """The one for asyncio."""
    return ccxt.async_support.coinbaseexchange(options(cluster, user))


def pro_ccxt_of(cluster: Cluster, user: Trader) -> Any:
    """The one that watches, too."""
    return ccxt.pro.coinbaseexchange(options(cluster, user))
