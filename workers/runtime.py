"""The one loop that runs every state machine: own, recover, then read a batch, handle it, commit, repeat.

Laws of this file:

1. No effect leaves the process before its commit. What a machine did becomes visible only as log and outbox entries,
   and those are written together with the source positions they came from, by one script.
2. A machine whose commit was refused is dropped and recovered from its own log. It never argues.
3. One commit is under way at a time; meanwhile the next batch is read and handled, because its effects wait behind it.
4. Recovery folds recorded events and never decides again. A hole or a broken chain stops the process.
5. What Redis has acknowledged it must have. If it has not, others have been told what is gone: the whole cluster stops.
6. A source that cannot be followed any further stops no more than itself, if the machine can do without it.
"""

import gc
import signal
import sys
import time
from collections.abc import Callable
from typing import Any

from redis.exceptions import RedisError

from shared import keys, log
from shared.beat import BEAT_S, Beat, beat_of
from shared.chain import advance
from shared.connections import is_other_type
from shared.errors import CorruptState, MatchboxError
from shared.settings import Settings, load_settings
from workers.handler import Batch, BrokenSource, Handler
from workers.store import RETRY_S, STATE_BYTES_S, Commit, Entries, NoStream, RedisStore, Standing

EXIT_ERROR = 3
"""Exit code of a worker that stopped for a reason it could name; the reason is its last line on stderr."""
TRIM_S = 5.0
TICK_S = 1.0


class Runtime:
    """Runs one handler over one store until it is told to stop."""

    def __init__(
        self, name: str, handler: Handler, store: RedisStore, settings: Settings, stopping: Callable[[], bool]
    ) -> None:
        self._name = name
        self._handler = handler
        self._store = store
        self._settings = settings
        self._stopping = stopping
        self._log = log.get()
        self._standing = Standing(0, 0, "", {}, {})  # after the commit under way
        self._acknowledged = self._standing  # where Redis has said that we stand
        self._durable: dict[str, str] = {}  # source positions that Redis has
        self._commit: Commit | None = None  # under way
        self._snapshot_at = 0
        self._state_bytes = 0  # of the last state that was loaded or dumped
        self._state = "starting"
        self._next_beat = self._next_trim = self._next_renewal = self._next_tick = 0.0

    def run(self) -> None:
        """Own, recover and serve, again and again after each refusal, until told to stop."""
        while not self._stopping():
            try:
                self._live()
            except RedisError as error:
                if is_other_type(error):
                    raise CorruptState(
                        f'{self._store.tag}: a key is not what its owner left there ({error}); run "matchbox audit"'
                    ) from error
                self._log.warning("lost Redis; starting over", error=str(error))
                time.sleep(RETRY_S)

    def _live(self) -> None:
        """Own, recover and serve once.

        Who was stopped past its lease wakes up with a state that others have gone on from: it finds streams trimmed
        and orders it never heard of. That is its own past, and no corruption.
        """
        try:
            if self._own() and self._recover():
                self._serve()
        except CorruptState as error:
            if not self._store.is_owner():
                self._log.warning("somebody else has gone on from here; starting over", error=str(error))
            elif isinstance(error, BrokenSource) and self._handler.set_aside(error):
                self._log.warning("a source is set aside; starting over without it", error=str(error))
            else:
                raise

    # --- own ---

    def _own(self) -> bool:
        self._state = "waiting"
        self._durable = {}
        while not self._stopping():
            self._upkeep()
            if not (wait_ms := self._store.acquire()):
                self._next_renewal = time.monotonic() + self._settings.lease_ms / 3000
                return True
            self._store.wait_for_release(wait_ms)
            gc.collect(0)  # the subscription is a cycle, and a standby may wait for months
        return False

    # --- recover ---

    def _recover(self) -> bool:
        """Bring the handler to the end of its log: True if it stands there."""
        self._state = "recovering"
        started = time.monotonic()
        self._standing = standing = self._store.standing()
        self._commit = None
        self._refuse_loss(standing)
        position, chain = self._load_snapshot(standing)
        folded = standing.length - position
        for payloads in self._store.history(position, standing.length):
            for payload in payloads:
                self._handler.fold(payload)
            chain = advance(chain, payloads)
            if not self._upkeep() or self._stopping():
                return False
        if chain != standing.chain:
            raise CorruptState(
                f'{keys.log(self._store.tag)}: the chain of its entries is not the stored one; run "matchbox audit"'
            )
        self._durable = dict(standing.positions)
        self._log.info(
            "recovered",
            epoch=self._store.epoch,
            length=standing.length,
            folded=folded,
            seconds=round(time.monotonic() - started, 3),
        )
        return True

    def _refuse_loss(self, standing: Standing) -> None:
        """Law 5. Raises ``CorruptState``."""
        had = self._acknowledged
        is_other = standing.version == had.version and standing.chain != had.chain
        if standing.version < had.version or is_other:
            self._store.tell_loss(
                f"{keys.log(self._store.tag)}: Redis had acknowledged {had.length:,} entries and has "
                f'{"others" if is_other else f"{standing.length:,}"} now; stop the cluster and run "matchbox recover"'
            )
        if losses := self._store.losses():
            raise CorruptState(losses[0])
        self._acknowledged = standing

    def _load_snapshot(self, standing: Standing) -> tuple[int, str]:
        self._handler.reset()
        for snapshot in self._store.snapshots():
            if snapshot.position <= standing.length:
                self._state_bytes = len(snapshot.state)
                self._store.renew(standing.version, self._state_bytes / STATE_BYTES_S)
                self._handler.load(snapshot.state)
                self._snapshot_at = snapshot.position
                return snapshot.position, snapshot.chain
        self._snapshot_at = 0
        return 0, ""

    # --- serve ---

    def _serve(self) -> None:
        """Read, handle, commit, until refused or told to stop."""
        self._state = "running"
        read = dict(self._standing.positions)  # ahead of what is committed: law 3
        self._ask(read)
        while not self._stopping():
            batch = Batch()
            streams = self._receive()
            for source, entries in streams:
                _check_gapless(source, read.get(source, "0-0"), entries)
            positions = {source: entries[-1][0].decode() for source, entries in streams}
            read |= positions
            self._ask(read)
            for source, entries in streams:
                self._handler.handle(source, entries, batch)
            self._tick_if_due(batch)
            if not self._settle_commit():
                return
            if positions or batch.log or batch.sends:
                self._start_commit(batch, positions)
            if not self._upkeep() or not self._snapshot_if_due():
                return
        self._leave()

    def _ask(self, read: dict[str, str]) -> None:
        self._store.send_read({one: read.get(one, "0-0") for one in self._handler.sources()}, self._settings.batch)

    def _receive(self) -> list[tuple[str, Entries]]:
        try:
            return self._store.receive_read()
        except NoStream as error:
            raise BrokenSource(error.stream, str(error)) from error

    def _tick_if_due(self, batch: Batch) -> None:
        now = time.monotonic()
        if now >= self._next_tick:
            self._next_tick = now + TICK_S
            self._handler.tick(batch)

    def _start_commit(self, batch: Batch, positions: dict[str, str]) -> None:
        before = self._standing
        commit = Commit(
            version=before.version,
            length=before.length,
            chain_before=before.chain,
            chain_after=advance(before.chain, batch.log),
            positions=positions,
            log=batch.log,
            sends={stream: (before.lengths.get(stream, 0), payloads) for stream, payloads in batch.sends.items()},
            digest=self._handler.digest() if self._is_digest_due(before.length, len(batch.log)) else "",
        )
        self._store.send_commit(commit)
        self._commit = commit
        self._standing = Standing(
            version=before.version + 1,
            length=before.length + len(batch.log),
            chain=commit.chain_after,
            positions=before.positions | positions,
            lengths=before.lengths | {stream: length + len(sent) for stream, (length, sent) in commit.sends.items()},
        )

    def _is_digest_due(self, length: int, more: int) -> bool:
        """Whether the log passes the next multiple of ``digest_every``: then the auditor is told what the state is."""
        every = self._settings.digest_every
        return (length + more) // every > length // every

    def _settle_commit(self) -> bool:
        """Wait for the commit under way, if any. False: it was refused (or never answered); start over."""
        if self._commit is None:
            return True
        fate = self._store.receive_commit()
        commit, self._commit = self._commit, None
        if fate in ("OK", "DUP"):
            self._durable |= commit.positions
            self._acknowledged = self._standing
            self._next_renewal = time.monotonic() + self._settings.lease_ms / 3000
            return True
        self._log.warning("commit refused; recovering", fate=fate or "no answer", version=commit.version)
        return False

    def _leave(self) -> None:
        """Told to stop: finish the commit, leave a snapshot so that the next start is quick, release the lease."""
        if self._settle_commit() and self._save_snapshot():
            self._store.release()
            self._log.info("released", length=self._standing.length)

    # --- upkeep ---

    def _upkeep(self) -> bool:
        """Beat, renew and trim when it is time. False: the lease went to somebody else."""
        now = time.monotonic()
        due = min(self._next_renewal, self._next_beat, self._next_trim)  # no position is told, nothing trimmed, unsure
        if now >= due and self._state != "waiting" and self._commit is None:
            if not self._store.renew(self._standing.version):
                self._log.warning("lost the lease, or Redis lost what was written; starting over")
                return False
            self._next_renewal = now + self._settings.lease_ms / 3000
        if now >= self._next_beat:
            self._next_beat = now + BEAT_S
            self._store.beat(self._name, self._sign(), self._durable, self._store.tag)
        if now >= self._next_trim and self._state == "running":
            self._next_trim = now + TRIM_S
            self._trim()
        return True

    def _sign(self) -> Beat:
        lag = self._store.backlog(self._durable)
        return beat_of(self._state, self._handler.sequence(), lag, self._handler.trouble(), self._store.epoch)

    def _snapshot_if_due(self) -> bool:
        if not self._is_snapshot_due():
            return True
        self._note_newest(self._store.sound_snapshots())
        if not self._is_snapshot_due():
            return True
        if not self._settle_commit():
            return False
        return self._save_snapshot()

    def _is_snapshot_due(self) -> bool:
        return self._standing.length - self._snapshot_at >= self._settings.snapshot_every

    def _note_newest(self, sound: list[int]) -> None:
        """The auditor may have written one, which spares us the pause; ours may be damaged: then another is due."""
        newest = max(sound, default=0)
        if newest > self._snapshot_at >= 0:
            self._snapshot_at = newest
        elif newest < self._snapshot_at:
            self._log.warning("the snapshot cannot be read back; writing another", position=self._snapshot_at)
            self._snapshot_at = -self._settings.snapshot_every

    def _save_snapshot(self) -> bool:
        """False: somebody else owns the tag, or Redis lost what the state holds.

        The lease covers the writing and no more: if this host dies, another waits for its end.
        """
        at = self._standing
        if at.length <= self._snapshot_at:
            return True
        is_ours = self._store.renew(at.version, self._state_bytes / STATE_BYTES_S)
        if is_ours:
            state = self._handler.dump()
            self._state_bytes = len(state)
            is_ours = self._store.save_snapshot(at.version, at.length, at.chain, state)
        if not is_ours or not self._store.renew(at.version):
            self._log.warning("no snapshot: lost the lease, or Redis lost what was written", length=at.length)
            return False
        self._snapshot_at = at.length
        return True

    def _trim(self) -> None:
        snapshots = self._store.sound_snapshots()
        self._note_newest(snapshots)
        own_log = keys.log(self._store.tag)
        if len(snapshots) > 1:
            keep_from = max(0, min(snapshots[1], self._standing.length - self._settings.log_keep)) + 1
            self._store.trim(own_log, self._handler.readers(own_log), keep_from)
        for stream in (*self._standing.lengths, *self._handler.sources()):
            if stream.startswith(self._store.tag):
                self._store.trim(stream, self._handler.readers(stream), None)


def _check_gapless(source: str, position: str, entries: Entries) -> None:
    """Raise ``BrokenSource`` unless the entries follow ``position`` one after the other, as they do in all but inboxes.

    Ids rise, so the first and the last tell it. Law 4 for what others wrote: nothing is skipped.
    """
    if keys.is_inbox(source):
        return
    before = int(position.partition("-")[0])
    first, last = entries[0][0], entries[-1][0]
    if first != b"%d-0" % (before + 1) or last != b"%d-0" % (before + len(entries)):
        raise BrokenSource(
            source,
            f"{source}: entries are missing after {before} (the next are {first.decode()} to {last.decode()}); "
            'run "matchbox audit"',
        )


def run_worker(name: str, make_handler: Callable[[Settings], Handler]) -> None:
    """Be the worker process ``name``, with settings from the environment, until SIGTERM or SIGINT."""
    stop: list[int] = []
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda received, _frame: stop.append(received))
    try:
        settings = load_settings()
        log.configure(settings.log_level, name)
        run_machine(name, make_handler(settings), settings, lambda: bool(stop))
    except MatchboxError as error:
        sys.stderr.write(f"{error}\n")
        sys.exit(EXIT_ERROR)


def run_machine(name: str, handler: Handler, settings: Settings, stopping: Callable[[], bool]) -> None:
    """Run ``handler`` on the Redis of ``settings`` until ``stopping()``.

    Without the cyclic garbage collector: messages and states hold no cycles, so reference counts free them, and its
    passes over 100,000 resting orders would be pauses of many milliseconds.
    """
    gc.disable()
    warn: Callable[..., Any] = log.get().warning
    store = RedisStore(settings.redis_url, handler.tag, settings.lease_ms, stopping=stopping, warn=warn)
    try:
        Runtime(name, handler, store, settings, stopping).run()
    finally:
        store.close()
