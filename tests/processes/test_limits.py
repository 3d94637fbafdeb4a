"""Full stores of a running exchange: only cancels, then nothing, then everything again, and status says so."""

import os
import signal
import time

import httpx
import pytest

from shared import keys
from shared.connections import connect
from tests.processes.running import SYMBOL, Load, running_cluster

pytestmark = [pytest.mark.slow, pytest.mark.timeout(120)]
LAG_MAX = 40


class Bot(Load):
    """Asks once and tells what came of it."""

    def ask(self, method, path, body=b""):
        url = f"http://127.0.0.1:{self.settings.port}{path}"
        return httpx.request(method, url, content=body, headers=self.sign(method, path, body), timeout=10)

    def order(self):
        body = f'{{"product_id": "{SYMBOL}", "side": "buy", "price": "100", "size": "1"}}'.encode()
        return self.ask("POST", "/orders", body)

    def until(self, status, says="", method="POST", path="/orders"):
        """Ask until the answer has a status; answers how often it was asked."""
        for _ in range(600):
            answer = self.order() if method == "POST" else self.ask(method, path)
            if answer.status_code == status:
                assert says in answer.text
                return answer
            time.sleep(0.02)
        raise AssertionError(f"{method} {path}: {answer.status_code} {answer.text}, and not {status}")


def test_full_stores_close_the_exchange_in_stages_and_open_it_again():
    """Redis near its maxmemory, then PostgreSQL too far behind: 503 and why; a person's halt outlives both."""
    with running_cluster(SYMBOL, postgresql_lag_max=str(LAG_MAX), hung_after_ms="60000") as cluster:
        bot = Bot(cluster, 1)
        kept = bot.until(200).json()["id"]
        with connect(bot.settings.redis_url) as client:
            client.setrange("ballast", 20_000_000, "x")  # what connections come and go with must not count
            used = client.info("memory")["used_memory"]
            client.config_set("maxmemory", used * 100 // 84)
            refused = bot.until(503, "takes only cancels for now (Redis memory")
            assert refused.headers["Retry-After"] == "1"
            assert "cancel-only: Redis memory" in cluster.run("status").stdout
            length = client.xlen(keys.inbox(0))
            assert [bot.order().status_code for _ in range(5)] == [503] * 5
            assert client.xlen(keys.inbox(0)) <= length, "nothing of them was written"
            assert bot.ask("DELETE", f"/orders/{kept}").status_code == 200
            client.config_set("maxmemory", 0)
            client.delete("ballast")
            kept = bot.until(200).json()["id"]
        pusher = cluster.kill("pusher", signal.SIGSTOP)
        placed = []
        while (answer := bot.order()).status_code == 200:
            placed.append(answer.json()["id"])
        assert answer.status_code == 503
        for order_id in placed:
            bot.ask("DELETE", f"/orders/{order_id}")
        while f"of {2 * LAG_MAX} entries" not in bot.ask("GET", "/health").text:
            time.sleep(0.1)
        bot.until(503, "is halted for now (PostgreSQL behind", "DELETE", f"/orders/{kept}")
        status = cluster.run("status").stdout
        assert "halted: PostgreSQL behind" in status
        assert "matchbox logs pusher" in status
        cluster.run("instrument", "halt", SYMBOL)
        os.kill(pusher, signal.SIGCONT)
        bot.until(200, "", "DELETE", f"/orders/{kept}")
        assert "halted" in bot.until(400).text, "a person's halt is a person's to end"
        cluster.run("instrument", "resume", SYMBOL)
        bot.until(200)
        status = cluster.run("status").stdout
        assert "Redis memory" in status
        assert "PostgreSQL behind" in status
        assert cluster.run("audit", check=False).returncode == 0
