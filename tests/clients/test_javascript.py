"""Clients for JavaScript, from npm: ccxt, coinbase-pro-node, coinbase-api. Each script asserts what it gets."""

import json
import os
import shutil
import subprocess
from pathlib import Path

import pytest

pytestmark = pytest.mark.slow

FOLDER = Path(__file__).parent / "javascript"
NODE = shutil.which("node")
SCRIPT_S = 60


def why_not() -> str:
    """What is missing, "" if nothing is."""
    if NODE is None:
        return "node is not installed"
    wanted = json.loads((FOLDER / "package.json").read_text())["dependencies"]
    for name, version in wanted.items():
        package = FOLDER / "node_modules" / name / "package.json"
        if not package.exists() or json.loads(package.read_text())["version"] != version:
            return f'{name} {version} is not installed: run "make clients"'
    return ""


@pytest.mark.skipif(bool(why_not()), reason=why_not() or "all is there")
@pytest.mark.parametrize("script", ["ccxt", "coinbase_pro_node", "coinbase_api"])
def test_a_client_for_javascript(cluster, script):
    """Market data, orders, fills, pages, each error and the feed are what the client expects of Coinbase Exchange."""
    run_script(FOLDER / f"{script}.mjs", cluster)


def run_script(script, cluster):
    """Run a script as two users with money."""
    people = [cluster.user(USD="100000", BTC="10").key for _ in range(2)]
    users = json.dumps([{"key": one.key, "secret": one.secret, "passphrase": one.passphrase} for one in people])
    done = subprocess.run(
        [str(NODE), script],
        env=os.environ | {"MATCHBOX_URL": cluster.url, "MATCHBOX_USERS": users},
        capture_output=True,
        text=True,
        timeout=SCRIPT_S,
    )
    assert done.returncode == 0, f"{done.stdout}\n{done.stderr}"
