"""The README's own lines: "Point your bot at it" does what it says when a reader pastes it."""

import json
import re
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from tests.clients.test_javascript import FOLDER, NODE, SCRIPT_S, why_not

pytestmark = pytest.mark.slow

README = (Path(__file__).parents[2] / "README.md").read_text()
SECTION = README.partition("## Point your bot at it")[2].partition("\n## ")[0]
BLOCKS = re.findall(r"```(\w+)\n(.*?)```", SECTION, re.DOTALL)


def test_the_section_has_its_blocks():
    """Two for Python, one for JavaScript: a renamed section must not leave the tests below with nothing to run."""
    assert [language for language, _ in BLOCKS] == ["python", "python", "js"]


@pytest.fixture
def paste(cluster, tmp_path):
    """A block as a reader would run it: the key filled in, and the port the one on which the exchange runs."""

    def fill(block):
        user = cluster.user(USD="10000", BTC="1")
        for name, value in {
            "KEY": user.key.key,
            "SECRET": user.key.secret,
            "PASSPHRASE": user.key.passphrase,
        }.items():
            block = re.sub(rf"\b{name}\b", f'"{value}"', block)
        return block.replace("127.0.0.1:8000", cluster.url.removeprefix("http://"))

    return fill


@pytest.mark.parametrize("block", [code for language, code in BLOCKS if language == "python"])
def test_python(cluster, paste, block):
    """Each block for Python runs to its end, says something, and leaves no order behind."""
    assert run([sys.executable, "-c", paste(block)])
    assert cluster.http.get("/products/BTC-USD/book").json()["bids"] == []


@pytest.mark.skipif(bool(why_not()), reason=why_not() or "all is there")
@pytest.mark.parametrize("block", [code for language, code in BLOCKS if language == "js"])
def test_javascript(cluster, paste, block):
    """The block for JavaScript, too. It sees its own order in the book."""
    script = FOLDER / "node_modules" / "readme.mjs"
    script.write_text(paste(block))
    try:
        assert "[ 20000, 0.01 ]" in run([str(NODE), str(script)])
    finally:
        script.unlink()
    assert cluster.http.get("/products/BTC-USD/book").json()["bids"] == []


@pytest.mark.skipif(shutil.which("curl") is None, reason="there is no curl here")
def test_curl(cluster, tmp_path):
    """A stranger registers, logs in and makes a key as "Users, keys, limits" says, the csrf_token put in by hand."""
    section = README.partition("## Users, keys, limits")[2].partition("\n## ")[0]
    (block,) = re.findall(r"```\n(.*?)```", section, re.DOTALL)
    answer: dict[str, Any] = {}
    for line in block.replace("127.0.0.1:8000", cluster.url.removeprefix("http://")).splitlines():
        token = answer.get("session", {}).get("csrf_token", "")
        answer = json.loads(run(["bash", "-c", line.replace("TOKEN", token)], cwd=tmp_path))
        assert "message" not in answer, answer
    assert (answer["scopes"], len(answer["key"])) == (["trade", "transfer", "view"], 32)


def run(command, **options):
    """What a program prints; it must end well."""
    done = subprocess.run(command, capture_output=True, text=True, timeout=SCRIPT_S, **options)
    assert done.returncode == 0, done.stderr
    return done.stdout
