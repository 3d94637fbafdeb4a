"""Servers that are full: a disk without room under Valkey or PostgreSQL, and Valkey at its ``maxmemory``.

The disks are small ones in memory, which takes the right to mount. A full one is filled by a ballast, and has room
again when that is removed.
"""

import contextlib
import random
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import httpx
import msgspec

from tests.processes.crash.exchange import DURABLE, Exchange, exchange, wait_until
from tests.processes.crash.lanes import TRADERS, shares, strike_one_by_one
from tests.processes.crash.report import Group
from tests.servers import PostgreSQL, Valkey

Advance = Callable[[int], None]
VALKEY_MB, POSTGRESQL_MB = 128, 256
MEGABYTE, PAGE = 1 << 20, 4096
QUIET_S = 0.3
"""How long nothing may be acknowledged while nothing can be written."""


class NoMount(Exception):
    """We may not mount."""


@contextmanager
def small_disk(megabytes: int) -> Iterator[Path]:
    """A folder that is a disk of this size. Raises ``NoMount`` that says why not."""
    with tempfile.TemporaryDirectory(prefix="mb-disk-") as folder:
        mount = ["mount", "-t", "tmpfs", "-o", f"size={megabytes}m,mode=755", "matchbox", folder]
        try:
            done = subprocess.run(mount, capture_output=True, text=True)
        except FileNotFoundError as error:
            raise NoMount(str(error)) from error
        if done.returncode:
            raise NoMount(done.stderr.strip())
        try:
            yield Path(folder)
        finally:
            subprocess.run(["umount", "-l", folder], check=True)


def on_disk[Made](disk: Path, make: Callable[[], Made]) -> Made:
    """What is made puts its temporary folder on the disk."""
    before, tempfile.tempdir = tempfile.tempdir, str(disk)
    try:
        return make()
    finally:
        tempfile.tempdir = before


@contextmanager
def ballast(disk: Path) -> Iterator[None]:
    """Take the rest of the room on the disk."""
    path = disk / "ballast"
    try:
        with path.open("wb", buffering=0) as file:
            for size in (MEGABYTE, PAGE):  # what is left of the last megabyte, page by page
                with contextlib.suppress(OSError):
                    while file.write(bytes(size)):
                        pass
        yield
    finally:
        path.unlink(missing_ok=True)


def strike_full(group: Group, count: int, seed: int, advance: Advance) -> None:
    """``count`` times no memory for Valkey, no disk for Valkey, and no disk for PostgreSQL."""
    for share, dice in shares(count, seed):
        _strike_both(group, share, dice, advance)


def _strike_both(group: Group, count: int, dice: random.Random, advance: Advance) -> None:
    try:
        with small_disk(VALKEY_MB) as first, small_disk(POSTGRESQL_MB) as second:
            valkey, postgresql = on_disk(first, lambda: Valkey(*DURABLE)), on_disk(second, PostgreSQL)
            with exchange(valkey, postgresql) as place:
                _strike(group, place, {"Valkey": first, "PostgreSQL": second}, count, dice, advance)
    except NoMount as error:
        group.notes.append(f"full disks are skipped: no small disk can be mounted ({error})")
        with exchange(Valkey(*DURABLE)) as place:
            _strike(group, place, {}, count, dice, advance)


def _strike(
    group: Group, place: Exchange, disks: dict[str, Path], count: int, dice: random.Random, advance: Advance
) -> None:
    place.open()
    place.trade(TRADERS)
    place.wait_for_trade()
    blows: dict[str, Callable[[], None]] = {"Valkey: maxmemory reached": lambda: _no_memory(place)}
    if disks:
        blows["Valkey: disk full"] = lambda: _no_disk_for_valkey(place, disks["Valkey"])
        blows["PostgreSQL: disk full"] = lambda: _no_disk_for_postgresql(place, disks["PostgreSQL"])
    strike_one_by_one(group, place, blows, count, dice, advance)


def _no_memory(place: Exchange) -> None:
    """Orders are refused in words, until there is room again."""
    place.client.config_set("maxmemory", 1)
    try:
        status, words = one_order(place)
        assert status == 503, f"without memory an order is answered {status}: {words}"
        assert "maxmemory" in words, f"without memory an order is answered: {words}"
        _expect_quiet(place)
    finally:
        place.client.config_set("maxmemory", 0)


def _no_disk_for_valkey(place: Exchange, disk: Path) -> None:
    """With ``appendfsync always`` Valkey ends when it cannot write; it comes back when there is room."""
    with ballast(disk):
        wait_until(place.valkey.has_ended, "Valkey ends when its disk is full")
        _expect_quiet(place)
    place.valkey.stop()
    place.valkey.start()


def _no_disk_for_postgresql(place: Exchange, disk: Path) -> None:
    """Trading goes on, the pusher says what is wrong, and catches up when there is room."""
    with ballast(disk):
        wait_until(
            lambda: "PostgreSQL" in place.sign_of("pusher").get("error", ""), "the pusher says that it cannot write"
        )
        place.wait_for_trade(3)
    wait_until(lambda: not place.sign_of("pusher").get("error", "?"), "the pusher writes again")


def _expect_quiet(place: Exchange) -> None:
    """Nothing is acknowledged any more, as soon as what was on its way has come."""

    def is_quiet() -> bool:
        before = place.acknowledged()
        time.sleep(QUIET_S)
        return place.acknowledged() == before

    wait_until(is_quiet, "nothing is acknowledged that cannot be written", timeout_s=15.0)


def one_order(place: Exchange) -> tuple[int, str]:
    """Post an order by hand: the status, and what was said."""
    trader, path = place.traders[0], "/orders"
    body = msgspec.json.encode(
        {"product_id": "BTC-USD", "side": "buy", "type": "limit", "size": "0.01", "price": "40000.00"}
    )
    url = f"http://127.0.0.1:{place.settings.port}{path}"
    answer = httpx.post(url, content=body, headers=trader.sign("POST", path, body), timeout=10)
    return answer.status_code, answer.text
