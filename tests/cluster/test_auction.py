"""An auction as the command line holds it, with a ledger and a book that are processes."""

import pytest

from cluster.instruments import end_auction, find, set_mode
from shared import keys
from shared.definition import define
from shared.errors import InvalidInput
from shared.messages import OrderRequest, Side
from tests.cluster.conftest import wait_for
from tests.harness import Cluster

pytestmark = pytest.mark.slow


@pytest.mark.parametrize("shards", [1, 2])
def test_an_auction_that_ends_says_what_it_traded(redis_url, database_url, shards):
    """One price, the quantity and the number of trades, however many ledgers pass the mode on; then it is online."""
    acme = define("ACME-EUR", "0.05", "1", mode="auction")
    with Cluster(redis_url, database_url, [acme], workers=("ledger", "engine"), shards=shards) as cluster:
        cluster.deposit(1, "EUR", "1000")
        cluster.deposit(2, "ACME", "100")
        orders: tuple[tuple[int, Side, int, int], ...] = (
            (1, "buy", 102, 5),
            (1, "buy", 100, 5),
            (2, "sell", 99, 3),
            (2, "sell", 100, 4),
        )
        for number, (account, side, price, quantity) in enumerate(orders):
            request = OrderRequest(f"order {number}", account, "ACME-EUR", side, "limit", price, quantity)
            cluster.submitter.submit(request)
        log = keys.log(keys.instrument_tag("ACME-EUR"))
        wait_for(lambda: cluster.client.xlen(log) == 5, 15, "the book has its rules and all orders")
        found = end_auction(cluster.client, "ACME-EUR")
        assert (found.price, found.quantity, found.trades) == (100, 7, 3)
        assert find(cluster.client, "ACME-EUR").mode == "online"
        with pytest.raises(InvalidInput, match="is in no auction"):
            end_auction(cluster.client, "ACME-EUR")
        set_mode(cluster.client, "ACME-EUR", "auction")
        nothing = end_auction(cluster.client, "ACME-EUR", "cancel-only")
        assert (nothing.price, nothing.quantity, nothing.trades) == (0, 0, 0)
