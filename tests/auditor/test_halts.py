"""Real processes, one of which goes wrong: it is found, halted and reproduced, and the others go on."""

import json
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from msgspec.structs import replace

from shared import keys
from tests.auditor.audited import EVERY, Audited
from tests.auditor.faulty_engine import FAULT_AT
from tests.harness import BTC_USD, ETH_USD
from tests.nursery import ROOT

pytestmark = pytest.mark.slow
BATCH = 10


@pytest.mark.parametrize(("fault", "invariant"), [("tells", "QUANTITY"), ("loses", "SNAPSHOTS")])
def test_a_book_that_goes_wrong_is_halted_and_the_others_trade_on(redis_url, fault, invariant, monkeypatch):
    """Within N events; a journal shows it again by itself; who resumes has the last word, over a restart too."""
    monkeypatch.setenv("MATCHBOX_TEST_FAULT", fault)
    cluster = Audited(redis_url, batch=BATCH)
    cluster.modules["engine:BTC-USD"] = "tests.auditor.faulty_engine"
    with cluster:
        cluster.fund()
        cluster.trade(FAULT_AT + EVERY)
        found = cluster.finding("{i:BTC-USD}")
        assert found["invariant"] == invariant
        assert FAULT_AT <= found["position"] <= FAULT_AT + EVERY + BATCH
        cluster.wait(lambda: cluster.mode("BTC-USD") == "halted", "not halted")
        cluster.settle()
        assert (cluster.order("BTC-USD"), cluster.order("ETH-USD")) == ("halted", "accepted")
        cluster.wait(lambda: "matchbox audit --journal" in cluster.sign().get("error", ""), "status does not say it")

        shown = subprocess.run(
            [sys.executable, "-m", "cli", "audit", "--journal", found["journal"]],
            cwd=ROOT, capture_output=True, text=True, check=False,
        )  # fmt: skip
        assert shown.returncode == 1, shown.stderr
        result = json.loads(shown.stdout.splitlines()[-1])
        assert (result["is_found"], result["tag"], result["position"]) == (True, "{i:BTC-USD}", found["position"])

        cluster.configure(replace(BTC_USD, mode="online"))
        assert cluster.order("BTC-USD") == "accepted"
        cluster.restart("auditor")
        cluster.wait_audited()
        assert cluster.finding("{i:BTC-USD}") | {"last": 0} == found | {"last": 0}
        assert cluster.mode("BTC-USD") == "online"
        if fault == "loses":  # it has recovered, and is in the state of its log again
            cluster.trade(2 * EVERY)
            cluster.wait_audited()
            assert cluster.mode("BTC-USD") == "online"
        assert len(list(Path(found["journal"]).parent.iterdir())) == 1


def test_what_happens_to_clusters_raises_no_alarm(redis_url):
    """Owners and auditor killed, trims, an auditor that fell behind, an auction, a delisting: all is found good."""
    with Audited(redis_url, snapshot_every=30, log_keep=0) as cluster:
        cluster.client.config_set("stream-node-max-entries", 1)
        cluster.fund()
        cluster.trade(30)
        for name in ("engine:BTC-USD", "ledger:0"):
            cluster.restart(name)
            cluster.trade(20)
        cluster.wait_audited()

        cluster.processes["auditor"].send_signal(signal.SIGSTOP)
        for _ in range(3):
            cluster.trade(40)
        for tag in ("{a:0}", "{i:BTC-USD}", "{i:ETH-USD}"):
            second = min(map(int, cluster.client.hkeys(keys.snapshot(tag))))
            assert cluster.client.xtrim(keys.log(tag), minid=f"{second + 1}-0", approximate=False) > 0
        cluster.processes["auditor"].send_signal(signal.SIGCONT)
        cluster.trade(20)
        cluster.wait_audited()
        assert "fell behind" in cluster.log("auditor").read_text()

        cluster.restart("auditor")
        cluster.restart("engine:ETH-USD", signal.SIGTERM)
        for mode in ("auction", "online"):
            cluster.configure(replace(BTC_USD, mode=mode))
            cluster.trade(20)
        cluster.submitter.submit_to_all(_cancel_all())
        cluster.settle()
        cluster.configure(replace(ETH_USD, mode="delisted"))
        cluster.client.hdel(keys.INSTRUMENTS, "ETH-USD")
        cluster.trade(20, ("BTC-USD",))
        cluster.wait_audited()
        assert cluster.client.hgetall(keys.FINDINGS) == {}
        assert "does not hold" not in cluster.log("auditor").read_text()
        cluster.wait(lambda: cluster.sign().get("error") == "", "an error is told")


def _cancel_all():
    from shared.messages import CancelAllRequest

    return CancelAllRequest("all", 0, "ETH-USD")
