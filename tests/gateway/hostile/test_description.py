"""schemathesis reads the API's own description, and sends what fits it and what does not: as anybody, trader, admin."""

import os
import subprocess
import sys
from functools import partial

import msgspec
import pytest

from shared.credentials import create_user
from shared.passwords import Hasher
from tests.gateway.browser import PASSWORD
from tests.gateway.hostile.signing import CALLER, Caller
from tests.harness import BTC_USD, ETH_USD
from tests.nursery import ROOT

pytestmark = pytest.mark.slow
CHECKS = (
    "not_a_server_error", "status_code_conformance", "content_type_conformance", "response_schema_conformance",
    "negative_data_rejection",
)  # fmt: skip
ENDS_THE_SESSION = "/sessions|PATCH /admin/users/{account}"
"""What an admin does not try: it would log out, log in anew, or block itself."""


@pytest.fixture(scope="module", autouse=True)
def nothing_failed(cluster):
    """Whatever was sent, the gateway has nothing to complain of in its log, and is well."""
    yield
    assert "A request failed" not in cluster.log("gateway:0").read_text()
    assert cluster.http.get("/health").status_code == 200


@pytest.fixture
def explore(cluster, tmp_path):
    """Lets schemathesis send what it makes up, with a fixed seed: what it complains of is in the failure's text."""
    return partial(run, cluster, tmp_path)


def run(cluster, folder, caller, examples, *options):
    command = [
        sys.executable, "-m", "schemathesis.cli", "run", f"{cluster.url}/openapi.json", "--no-color",
        "--checks", ",".join(CHECKS), "--seed", "1", "--generation-database", "none", "--request-timeout", "15",
        "--max-examples", str(examples), "--continue-on-failure", "--warnings", "off", *options,
    ]  # fmt: skip
    environment = os.environ | {
        "SCHEMATHESIS_HOOKS": "tests.gateway.hostile.signing",
        "PYTHONPATH": str(ROOT),
        CALLER: msgspec.json.encode(caller).decode(),
    }
    done = subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, timeout=110)
    assert done.returncode == 0, done.stdout[-10_000:] + done.stderr
    assert "passed" in done.stdout


def test_anybody_may_send_anything(explore):
    """Unsigned requests to every route: what is public is answered, the rest is a 401."""
    explore(Caller(), 3, "--phases", "fuzzing")


def test_a_trader_may_send_anything(cluster, explore):
    """Rightly signed: each answer has a documented status and shape; what the description rules out is refused."""
    user = cluster.user(USD="1000000", BTC="1000")
    explore(Caller(key=user.key), 3, "--phases", "examples,coverage,fuzzing", "--exclude-tag", "admin")
    found = user.call("GET", "/orders?status=all&limit=1000").json()
    assert len(found) > 10, "it did place orders"


def test_an_admin_may_send_anything(cluster, explore, browser):
    """In a session: users, keys, products, halts. All halts are lifted in the end."""
    create_user(cluster.database, "boss", "admin", Hasher(cluster.settings).hash(PASSWORD))
    admin = browser().log_in("boss")
    cookie = f"matchbox_{cluster.settings.port}={admin.cookie}"
    caller = Caller({"Cookie": cookie, "X-CSRF-Token": admin.csrf})
    try:
        explore(
            caller, 3, "--phases", "examples,coverage,fuzzing",
            "--include-path-regex", "^/(admin|api-keys|users)", "--exclude-name-regex", ENDS_THE_SESSION,
        )  # fmt: skip
        known = {row["id"] for row in admin.call("GET", "/admin/products").json()}
        assert "ACME-EUR" in known, "it did add the example"
    finally:
        for halt in admin.call("GET", "/admin/halts").json():
            admin.call("DELETE", f"/admin/halts/{halt['id']}")
        for instrument in (BTC_USD, ETH_USD):
            cluster.configure(instrument)
