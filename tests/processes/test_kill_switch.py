"""The kill switch is quick however much it has to cancel."""

import pytest

from tests.processes.kill_switch import SWITCHES, KillSwitch, told
from tests.processes.kill_switch import SYMBOLS as INSTRUMENTS
from tests.processes.running import running_cluster

pytestmark = [pytest.mark.slow, pytest.mark.timeout(180)]

ORDERS = 10_000
CANCELED_MS_MAX = 1000


def test_ten_thousand_orders_are_canceled_within_a_second():
    """Of an account, a revoked key's account, a product, everybody: all are off their books, and all holds go back."""
    with running_cluster(*INSTRUMENTS) as cluster:
        exchange = KillSwitch(cluster, ORDERS)
        found = [exchange.throw(switch) for switch in SWITCHES]
        exchange.close()
        for one in found:
            print(told(one))
        assert [one.orders for one in found] == [ORDERS] * len(SWITCHES)
        for one in found:  # a machine that is busy with something else is seen by what it needs to place them
            assert one.canceled_ms < max(CANCELED_MS_MAX, one.placed_ms // 2), told(one)
        audit = cluster.run("audit", check=False)
        assert audit.returncode == 0, audit.stdout + audit.stderr
