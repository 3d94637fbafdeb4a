"""Servers that die: Valkey with a power cut, which takes what was not synced, and PostgreSQL.

``power.c`` strikes when Valkey has written and not yet synced. The append-only file is then cut somewhere between
what was synced and what was written, often in the middle of a command: that is what a disk may have after a power cut.
"""

import functools
import mmap
import os
import random
import shutil
import signal
import struct
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory

from shared import keys
from tests.processes.crash.exchange import DURABLE, Exchange, Window, exchange, wait_until
from tests.processes.crash.lanes import TRADERS, shares, strike_one_by_one, tell_of_end
from tests.processes.crash.nursery import Child
from tests.processes.crash.report import Group
from tests.servers import Valkey
from workers.recovery.run import recover

Advance = Callable[[int], None]
Children = dict[str, Child]
EVERY_SECOND = ("--appendonly", "yes", "--appendfsync", "everysec", "--aof-load-truncated", "yes")


class FragileValkey(Valkey):
    """A Valkey whose power can be cut. ``taken``: bytes that the power cuts took, written but not synced."""

    def __init__(self, trap: Path, *options: str) -> None:
        super().__init__(*options)
        self._trap = trap
        self._state = self.folder / "power"
        self._state.write_bytes(bytes(16))
        with self._state.open("r+b") as file:
            self._power = mmap.mmap(file.fileno(), 16)
        self.taken = 0

    def command(self) -> list[str]:
        """With what knows when it syncs."""
        return ["env", f"LD_PRELOAD={self._trap}", f"MATCHBOX_POWER={self._state}", *super().command()]

    def cut_power(self, dice: random.Random) -> None:
        """Die between a write and its sync."""
        process = self._process
        assert process is not None
        self._power[8:16] = struct.pack("q", 1)
        process.wait(10)
        self._process = None
        (file,) = self.folder.rglob("*.incr.aof")
        synced, written = struct.unpack("q", self._power[:8])[0], file.stat().st_size
        left = synced if dice.random() < 0.5 else dice.randint(synced, written)
        os.truncate(file, left)
        self._power[:16] = struct.pack("qq", left, 0)
        self.taken += written - left


@contextmanager
def trap(group: Group) -> Iterator[Path | None]:
    """The library that ``power.c`` becomes; ``None``, and a note why, where there is no C compiler."""
    compiler = shutil.which("cc")
    if compiler is None or not Path("/proc/self/fd").exists():
        group.notes.append("power cuts are skipped: there is no C compiler (cc), or no Linux")
        yield None
        return
    with TemporaryDirectory(prefix="matchbox-power-") as folder:
        library = Path(folder) / "power.so"
        source = Path(__file__).with_name("power.c")
        subprocess.run([compiler, "-O1", "-shared", "-fPIC", "-o", library, source, "-ldl"], check=True)
        yield library


def strike_servers(group: Group, count: int, seed: int, advance: Advance) -> None:
    """``count`` power cuts of Valkey alone, of Valkey and all workers, and deaths of PostgreSQL."""
    for share, dice in shares(count, seed):
        _strike(group, share, dice, advance)


def _strike(group: Group, count: int, dice: random.Random, advance: Advance) -> None:
    with trap(group) as library, exchange(FragileValkey(library, *DURABLE) if library else Valkey(*DURABLE)) as place:
        children = place.open()
        place.trade(TRADERS)
        place.wait_for_trade()
        blows = _BLOWS if library else _BLOWS_WITHOUT_TRAP
        bound = {label: functools.partial(blow, place, children, dice) for label, blow in blows.items()}
        strike_one_by_one(group, place, bound, count, dice, advance)
        if isinstance(place.valkey, FragileValkey) and not place.valkey.taken:
            group.problems.append("no power cut took a byte, so nothing was shown")


def _cut_valkey(place: Exchange, _children: Children, dice: random.Random) -> None:
    assert isinstance(place.valkey, FragileValkey)
    place.valkey.cut_power(dice)
    place.valkey.start()


def _cut_all(place: Exchange, children: Children, dice: random.Random) -> None:
    assert isinstance(place.valkey, FragileValkey)
    place.valkey.cut_power(dice)
    _end(children)
    place.valkey.start()
    for name in place.names:
        children[name] = place.start(name)


def _kill_valkey(place: Exchange, _children: Children, _dice: random.Random) -> None:
    place.valkey.stop(signal.SIGKILL)
    place.valkey.start()


def _kill_postgresql(place: Exchange, _children: Children, _dice: random.Random) -> None:
    """The postmaster dies; its children follow when they notice."""
    place.postgresql.stop(signal.SIGKILL)
    place.start_postgresql()


Blow = Callable[[Exchange, Children, random.Random], None]
_KILL: dict[str, Blow] = {"PostgreSQL: kill -9": _kill_postgresql}
_BLOWS = _KILL | {"Valkey: power cut": _cut_valkey, "Valkey and all workers: power cut": _cut_all}
_BLOWS_WITHOUT_TRAP = _KILL | {"Valkey: kill -9": _kill_valkey}


def _end(children: Children) -> None:
    """Kill all at once."""
    for child in children.values():
        child.process.kill()
    for name in list(children):
        children.pop(name).end()


def strike_everysec(group: Group, count: int, seed: int, advance: Advance) -> None:
    """``count`` / 10 power cuts where Valkey syncs once a second: what is lost is said, and nothing trades on it.

    What PostgreSQL had is there after ``matchbox recover``; what is lost without a word counts as lost.
    """
    dice = random.Random(seed)
    with trap(group) as library:
        if library is None:
            return
        with exchange(FragileValkey(library, *EVERY_SECOND)) as place:
            children = place.open()
            place.trade(TRADERS)
            told: list[tuple[float, float]] = []
            row = group.row("appendfsync everysec: power cut")
            for number in range(-(-count // 10)):
                since = time.monotonic()
                place.wait_for_trade(20)
                _lose(place, children, dice, are_workers_spared=bool(number % 2), group=group)
                told.append((since, time.monotonic()))
                row.faults += 1
                advance(10)
            place.wait_for_trade(20)
            kept = tell_of_end(group, place)
            is_told = [any(since <= at <= until for since, until in told) for at in kept.lost]
            group.notes.append(f"with everysec {sum(is_told)} of {len(kept.acknowledged)} were lost, and it was said")
            kept.lost = [at for at, said in zip(kept.lost, is_told, strict=True) if not said]
            kept.count(group, [Window(row.label, 0.0)])


def _lose(place: Exchange, children: Children, dice: random.Random, *, are_workers_spared: bool, group: Group) -> None:
    """The power goes; what is lost has to be said, in words that name the way out; then it is recovered."""
    assert isinstance(place.valkey, FragileValkey)
    place.valkey.cut_power(dice)
    if not are_workers_spared:
        _end(children)
    place.valkey.start()
    if are_workers_spared:
        wait_until(lambda: place.client.exists(keys.LOST), "an owner says what Redis has lost")
        before = place.acknowledged()
        time.sleep(0.2)
        if place.acknowledged() > before + TRADERS:  # one answer each may have been on its way
            group.problems.append("orders were acknowledged after the loss was known")
        _end(children)
    words = place.refusal()
    if 'run "matchbox recover"' not in words:
        group.problems.append(f"Redis has lost its end, and the start says: {words or 'nothing'}")
    recover(place.settings)
    for name in place.names:
        children[name] = place.start(name)
