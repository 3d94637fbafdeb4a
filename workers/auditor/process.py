"""The auditor's process: one per cluster by lease, follows all logs, and halts what breaks an invariant.

Laws of this file:

1. It halts only for what a journal shows again, made of what Redis has now: so it is never wrong about its own memory,
   about a log it has read too early or about one that was put back meanwhile.
2. Nobody waits for it. It trims nothing and holds no trimming up; if it falls behind, it begins anew at a snapshot.
3. What it has halted for once it does not halt for again: a person who resumes has the last word.
"""

import os
import signal
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from redis.exceptions import RedisError

from shared import keys, log
from shared.beat import BEAT_S, Beat, beat_of
from shared.connections import connect
from shared.errors import CorruptState, MatchboxError, Unavailable
from shared.settings import Settings, load_settings
from workers.audit.invariants import Invariant
from workers.audit.redis_logs import Cut, Feed, RedisLogs, Trimmed
from workers.auditor import evidence, halting, journal, snapshots
from workers.auditor.places import symbol_of
from workers.auditor.watch import Finding, Followed, Start, Watch, load
from workers.runtime import EXIT_ERROR
from workers.store import RETRY_S, RedisStore

NAME = "auditor"
NICENESS = 10
"""It takes what time the others leave."""
POLL_S = 0.25
"""How long it waits where there is nothing to follow."""
QUIET_S = 1.0
"""After so long without whole states checked, they are checked as soon as nothing is to be followed."""
STEPS = 100
"""Steps between two looks at the clock."""
DRAIN_S = 2.0
BIG_STATE = 1_000_000
"""Bytes of a state that its owner needs some 20 ms to write: from here on the auditor does it."""
LOADING_S = 30.0
"""The lease while a state is loaded."""
PAUSE_S = 5.0
"""How long it waits where it cannot follow anything."""
BEYOND = 'nobody gets past it: "matchbox stop", "matchbox recover" and "matchbox start" go on without it'


class Auditor:
    """Follows the logs of the cluster in a Redis until told to stop."""

    def __init__(self, settings: Settings, client: Any, store: RedisStore, stopping: Callable[[], bool]) -> None:
        self._settings = settings
        self._client = client
        self._store = store
        self._stopping = stopping
        self._log = log.get()
        self._state = "starting"
        self._error = ""
        self._records: dict[str, halting.Record] = {}
        self._audited: dict[str, int] = {}
        self._broken: dict[str, int] = {}
        """Machines that cannot be followed up to this entry: they need a snapshot from behind it."""
        self._doubted: set[str] = set()
        """Places of findings that no journal has shown again."""
        self._foreign: list[str] = []
        """What is to be said of logs with entries that no owner wrote."""
        self._feeds: dict[str, Feed] = {}
        self._logs: RedisLogs | None = None
        self._watch: Watch | None = None
        self._followed = 0
        self._ended_at = 0.0
        self._next_beat = self._next_renewal = self._stop_at = 0.0

    def run(self) -> None:
        """Own, begin and follow, again and again, until told to stop."""
        while not self._stopping():
            try:
                if self._own():
                    self._live()
            except RedisError as error:
                self._log.warning("lost Redis; starting over", error=str(error))
                time.sleep(RETRY_S)
        if self._state == "running":
            self._store.release()
            self._log.info("released", followed=self._followed)

    def _own(self) -> bool:
        if self._store.epoch and self._store.renew(0):
            return True
        self._state = "waiting"
        while not self._stopping():
            self._upkeep()
            if not (wait_ms := self._store.acquire()):
                return True
            self._store.wait_for_release(wait_ms)
        return False

    def _live(self) -> None:
        """From the snapshots on, until something has to begin anew."""
        try:
            watch: Watch | None = self._begin()
            while watch is not None:
                self._watch = watch
                is_last = self._stopping()
                if not self._upkeep():
                    return
                watch = self._step(watch)
                if is_last:
                    self._tell_audited()
                    return
        except Trimmed as error:
            self._log.warning("fell behind what Redis keeps; going on at the newest snapshots", error=str(error))
        except (Unavailable, CorruptState) as error:
            if self._error != str(error):
                self._log.warning("cannot follow; trying again", error=str(error))
            self._error = str(error)
            self._pause()

    def _pause(self) -> None:
        end = time.monotonic() + PAUSE_S
        while time.monotonic() < end and not self._stopping() and self._upkeep():
            time.sleep(POLL_S)

    # --- begin -----------------------------------------------------------------------------------

    def _begin(self) -> Watch:
        """A watch of all machines from their newest snapshots on. Raises ``Unavailable``, ``CorruptState``."""
        self._state, started = "recovering", time.monotonic()
        self._records = halting.read(self._client)
        self._audited = {tag.decode(): int(at) for tag, at in self._client.hgetall(keys.AUDITED).items()}
        self._logs = logs = RedisLogs(self._client, self._settings)
        watch = self._new_watch(logs)
        cut = logs.cut()
        for tag, standing in cut.standings.items():
            self._upkeep()
            self._store.renew(0, LOADING_S)
            self._add(watch, tag, self._start(logs, tag, standing.length))
        self._state = "running"
        self._tell_halts()
        self._log.info("following", logs=len(watch.machines), seconds=round(time.monotonic() - started, 3))
        return watch

    def _new_watch(self, logs: RedisLogs) -> Watch:
        self._feeds = {}
        watch = Watch(logs.shards, self._settings.core, logs.snapshot)
        watch.on_unreadable = self._mend
        return watch

    def _start(self, logs: RedisLogs, tag: str, length: int) -> Start:
        """The newest snapshot before what was not checked yet; where there is none, the nearest one."""
        usable, checked = logs.usable(tag, length), self._audited.get(tag, length)
        if tag in self._broken and usable:
            return load(tag, usable[0], self._settings.core)
        before = [one for one in usable if one.position <= checked]
        if not before and (not usable or logs.oldest(tag) == 1):
            return Start()
        if not before:
            self._log.warning(
                "entries were never checked", log=keys.log(tag), first=checked + 1, last=usable[-1].position
            )
        return load(tag, before[0] if before else usable[-1], self._settings.core)

    def _add(self, watch: Watch, tag: str, start: Start) -> None:
        assert self._logs is not None
        if start.position < self._broken.get(tag, 0):
            if not symbol_of(tag):
                raise CorruptState(
                    f"{keys.log(tag)}: {self._records[tag]}" if tag in self._records else f"{tag}: broken"
                )
            watch.leave_out(symbol_of(tag))
            return
        self._broken.pop(tag, None)
        self._feeds[tag] = feed = Feed(self._logs, keys.log(tag), start.position, start.position)
        watch.add(tag, feed, start)

    # --- follow ----------------------------------------------------------------------------------

    def _step(self, watch: Watch) -> Watch | None:
        """Follow up to where all stand now. Answers the watch to go on with; ``None``: begin anew."""
        assert self._logs is not None
        cut = self._logs.cut()
        self._tell_foreign(cut)
        if not self._take_in(watch, cut):
            return None
        before = watch.count
        for count, _ in enumerate(watch.follow()):
            if watch.findings.violations:
                break
            if count % STEPS == 0 and (self._is_over() or not self._upkeep()):
                return None
        else:
            self._end_if_due(watch)
            self._save_big_states(watch, cut)
        self._followed += watch.count - before
        if watch.findings.violations:
            return self._judge(self._logs, watch)
        if watch.count == before:
            self._tell_halts()
            time.sleep(POLL_S)
        return watch

    def _tell_foreign(self, cut: Cut) -> None:
        """Nobody gets past such an entry, so there is nothing to halt."""
        found = [f"{log} {why}; {BEYOND}" for log, why in cut.foreign().items()]
        if found != self._foreign:
            self._foreign = found
            for one in found:
                self._log.error("a log is not its owner's", finding=one)
            self._tell_halts()

    def _is_over(self) -> bool:
        """Told to stop, and given the time to follow what there was."""
        if not self._stopping():
            self._stop_at = time.monotonic() + DRAIN_S
        return time.monotonic() > self._stop_at

    def _take_in(self, watch: Watch, cut: Cut) -> bool:
        """The cut becomes the watch's, with new books. False: begin anew."""
        for tag, standing in cut.standings.items():
            if tag not in watch.machines and tag not in self._broken:
                assert self._logs is not None
                self._add(watch, tag, self._start(self._logs, tag, standing.length))
            elif tag in self._broken and any(at >= self._broken[tag] for at in cut.snapshots[tag]):
                return False
            elif tag in watch.machines and standing.length < watch.machines[tag].view.number:
                self._log.warning("a log is shorter than it was; beginning anew", log=keys.log(tag))
                return False
        for tag, feed in self._feeds.items():
            feed.last = cut.standings[tag].length
        watch.cut(cut.standings, cut.snapshots)
        return True

    def _end_if_due(self, watch: Watch) -> None:
        now = time.monotonic()
        is_late = now - self._ended_at > QUIET_S and not watch.is_quiet()
        if watch.is_end_due(self._settings.digest_every) or is_late:
            self._ended_at = now
            watch.end()

    # --- snapshots -------------------------------------------------------------------------------

    def _mend(self, one: Followed) -> None:
        """Replace the owner's snapshot where ``one`` stands, if it is still there and still damaged."""
        tag, position = one.view.tag, one.view.number
        assert self._logs is not None
        if self._logs.is_damaged(tag, position) and snapshots.save(self._client, snapshots.make(one)):
            self._log.warning("a snapshot was damaged, and is replaced", tag=tag, position=position)

    def _save_big_states(self, watch: Watch, cut: Cut) -> None:
        """Before the owner's next snapshot is due: a big one has it pause. It must have told that this is its state."""
        for tag, one in watch.machines.items():
            newest = max(cut.snapshots[tag], default=0)
            is_due = one.view.number - newest >= self._settings.snapshot_every // 2
            if is_due and one.state_bytes >= BIG_STATE and one.agreed > newest and not watch.findings.violations:
                self._upkeep()
                one.snapshots.add(one.view.number)  # it need not be compared with itself
                if snapshots.save(self._client, snapshots.make(one)):
                    self._log.info("snapshot written in the owner's place", tag=tag, position=one.view.number)

    # --- findings --------------------------------------------------------------------------------

    def _judge(self, logs: RedisLogs, watch: Watch) -> Watch | None:
        """What is wrong first decides; the rest may follow from it, and is found again if not."""
        found = watch.take()
        finding, record = found[0], self._records.get(found[0].tag)
        self._broken |= {tag: one.view.number for tag, one in watch.machines.items() if one.is_broken}
        is_known = record is not None and finding.position <= max(record.position, record.last)
        if is_known or finding.violation.where in self._doubted:
            return self._go_on(logs, watch)
        self._log.error("an invariant does not hold; making a journal", finding=str(finding.violation))
        made = self._show_again(logs, watch, finding)
        if made is None:
            self._doubted.add(finding.violation.where)
            self._broken.clear()
            self._log.error("no journal shows it again: nothing was halted", finding=str(finding.violation))
            return None
        symbols = halting.open_symbols(self._client, finding.tag)
        if symbols or record is None:
            self._halt(logs, finding, made, symbols)
        else:  # it follows from what it was halted for
            record.last = finding.position
            halting.write(self._client, record)
        self._put_right(watch, finding)
        self._tell_halts()
        return self._go_on(logs, watch)

    def _show_again(self, logs: RedisLogs, watch: Watch, finding: Finding) -> journal.Journal | None:
        """A journal that shows the finding again."""
        for is_long in (False, True):
            made = evidence.gather(logs, watch, finding, is_long=is_long)
            if made is not None:
                found = journal.find_again(made, self._settings.core, self._upkeep)
                if journal.is_the_same(finding, found):
                    return made
        return None

    def _halt(self, logs: RedisLogs, finding: Finding, made: journal.Journal, symbols: list[str]) -> None:
        halting.halt(self._client, logs.shards, symbols)
        self._records[finding.tag] = record = halting.record(finding, self._keep(made))
        halting.write(self._client, record)
        self._log.error("halted", instruments=symbols, journal=record.journal, finding=str(record))

    def _put_right(self, watch: Watch, finding: Finding) -> None:
        """An owner whose state is not its log's must neither trade nor be recovered from it."""
        for one in watch.differing:
            snapshots.save(self._client, snapshots.right(one))
        if finding.violation.invariant is Invariant.SNAPSHOTS:
            halting.have_recover(self._client, finding.tag)
            self._log.warning("its owner has to recover from the log", tag=finding.tag)

    def _keep(self, made: journal.Journal) -> Path:
        folder = self._settings.data_dir / journal.FOLDER
        try:
            return journal.write(folder, made)
        except OSError as error:  # a full disk must not keep us from halting
            self._log.error("the journal cannot be written", error=str(error))
            return folder / journal.file_name(made.finding)

    def _go_on(self, logs: RedisLogs, watch: Watch) -> Watch | None:
        """From the replicas as they are: what was wrong before is known. ``None`` if there is one that cannot."""
        if any(one.is_broken for one in watch.machines.values()):
            return None
        new = self._new_watch(logs)
        for tag, start in watch.starts().items():
            self._add(new, tag, start)
        for tag in self._broken:
            new.leave_out(symbol_of(tag))
        return new

    def _tell_halts(self) -> None:
        """What is still halted for a finding stands in ``status``."""
        held = self._foreign + [
            str(one) for tag, one in self._records.items() if not halting.open_symbols(self._client, tag)
        ]
        if self._doubted:
            held.append(f"found, but shown again by no journal: {', '.join(sorted(self._doubted))}; see its log")
        self._error = "; ".join(held)

    # --- upkeep ----------------------------------------------------------------------------------

    def _upkeep(self) -> bool:
        """Beat and renew when it is time. False: the lease went to somebody else."""
        now = time.monotonic()
        if now >= self._next_renewal and self._state != "waiting":
            self._next_renewal = now + self._settings.lease_ms / 3000
            if not self._store.renew(0):
                self._log.warning("lost the lease; waiting for it again")
                self._state = "waiting"
                return False
        if now >= self._next_beat:
            self._next_beat = now + BEAT_S
            self._store.beat(NAME, self._sign(), {}, "")
            self._tell_audited()
        return True

    def _tell_audited(self) -> None:
        """A later life begins before what this one has not checked."""
        if self._state == "running" and self._watch is not None and self._watch.machines:
            at = {tag: str(one.view.number) for tag, one in self._watch.machines.items()}
            self._client.hset(keys.AUDITED, mapping=at)

    def _sign(self) -> Beat:
        lag = self._watch.lag if self._watch is not None else 0
        return beat_of(self._state, self._followed, lag, self._error, self._store.epoch)


def main() -> None:
    """Be the auditor, with settings from the environment, until SIGTERM or SIGINT."""
    stop: list[int] = []
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda received, _frame: stop.append(received))
    try:
        settings = load_settings()
        log.configure(settings.log_level, NAME)
        os.nice(NICENESS)
        client = connect(settings.redis_url)
        store = RedisStore(
            settings.redis_url, keys.AUDITOR, settings.lease_ms, stopping=lambda: bool(stop), warn=log.get().warning
        )
        try:
            Auditor(settings, client, store, lambda: bool(stop)).run()
        finally:
            store.close()
            client.close()
    except MatchboxError as error:
        sys.stderr.write(f"{error}\n")
        sys.exit(EXIT_ERROR)
