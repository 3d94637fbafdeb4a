"""The two real recordings, fed into a running cluster: afterwards every invariant holds everywhere."""

from pathlib import Path

import pytest

from tests.replay import test_bitstamp, test_databento
from tests.replay.exchange import Exchange
from workers.audit.run import audit
from workers.replay.feed import replay


@pytest.mark.slow
@pytest.mark.parametrize(
    ("path", "symbol", "trades_min"),
    [
        pytest.param(
            data, symbol, trades_min,
            marks=pytest.mark.skipif(not data.exists(), reason=f"the recording {data.name} is not beside the checkout"),
        )
        for data, symbol, trades_min in (
            (test_bitstamp.DATA, "BTC-USD", 480),
            (test_databento.DATA, "ES-USD", 2200),
        )
    ],
)  # fmt: skip
def test_the_exchange_is_right_after_a_replay(redis_url, database_url, path: Path, symbol, trades_min):
    """Nothing is refused, and the audit finds book, ledger, snapshots and PostgreSQL equal to the logs."""
    with Exchange(redis_url, database_url, symbol, snapshot_every=5000) as exchange:
        report = replay(exchange.settings, str(path))
        assert report.refused == {}
        assert report.trades > trades_min
        found = audit(exchange.settings)
        assert (found.violations, found.notes) == ([], [])
        assert found.checked["priority"] == report.trades
        assert found.checked["snapshots"] > 10
        assert found.checked["postgresql"] > report.orders
