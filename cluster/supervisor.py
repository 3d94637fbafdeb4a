"""The supervisor's loop: observe, plan, act. It starts what should run, starts again what died, and stops in order.

Signals and the observer only put something into a queue; one loop takes it out and acts, so nothing happens at the
same time as something else. The decisions are in ``plan.py``, which is pure.
"""

import asyncio
import contextlib
import os
import signal
import socket
import time
from collections.abc import Callable, Collection, Coroutine
from typing import Any

import msgspec

from cluster import embedded
from cluster.child import Command
from cluster.claim import claim
from cluster.commands import EXIT_ROLLED_BACK, log_folder, worker_command
from cluster.observer import Observer, Seen, lease_of
from cluster.plan import (
    INITDB,
    MIGRATIONS,
    POSTGRES,
    SERVERS,
    VALKEY,
    GiveUp,
    Outlook,
    Start,
    Stop,
    Wanted,
    plan,
    start_time,
    symbol_of,
    wanted_processes,
)
from cluster.record import ClusterRecord, creation_time, remove_record, write_record
from cluster.roster import Ended, Roster
from cluster.shutdown import Shutdown
from cluster.view import SupervisorView
from cluster.welcome import address, answers
from shared.errors import MatchboxError
from shared.pressure import Level, Pressure
from shared.settings import Settings

TICK_S = 0.5
EAGER_TICK_S = 0.05
"""While the cluster starts, for ``EAGER_S`` at most: a start should not wait for a tick."""
EAGER_S = 15.0
MEASURE_S = 5.0
HEARD_S = 1.2
"""A look at Redis that is older tells nothing about who is silent now."""
PATIENCE_S = 5.0
"""How long after our start nobody wonders that Redis does not answer yet."""
STOP_SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


class Supervisor:
    """Runs one cluster, or one host's part of it, until it is told to stop.

    ``report`` gets one line for each thing a person should know; ``on_ready`` is called once, when the gateway
    answers, with the settings in force and the instruments. ``command_of`` says how a worker is started.
    """

    def __init__(
        self,
        settings: Settings,
        *,
        demo: bool,
        report: Callable[[str], None],
        on_ready: Callable[[Settings, tuple[str, ...]], None],
        command_of: Callable[[Settings, str], Command] = worker_command,
    ) -> None:
        self._settings = settings.with_changes(data=str(settings.data_dir))
        self._demo = demo
        self._report = report
        self._on_ready = on_ready
        self._worker_command = command_of
        self._servers: dict[str, embedded.Server] = {}
        self._initdb: Command | None = None
        self._roster = Roster(log_folder(self._settings), self._command_of)
        self._outlook = Outlook(initialised=True)
        self._given_up: dict[str, str] = {}  # not yet known to Redis
        self._halted: frozenset[str] = frozenset()
        self._troubled: Collection[str] = ()
        self._queue: asyncio.Queue[signal.Signals | Seen | MatchboxError] = asyncio.Queue()
        self._stops_asked = 0
        self._failure: MatchboxError | None = None
        self._started_at = time.time()
        self._measured_at = 0.0
        self._heard_at = 0.0
        self._is_away_told = False
        self._level: Level = "open"
        self._recorded: list[object] = []
        self._tasks: set[asyncio.Task[object]] = set()

    async def run(self) -> None:
        """Run until a signal asks to stop. Raises ``MatchboxError`` if this cluster cannot be run here."""
        self._catch_signals()
        lock, left = claim(self._settings)
        try:
            if left:
                self._report(f"ended what a killed supervisor had left: {', '.join(left)}")
            self._prepare_servers()
            self._observer = Observer(self._settings, demo=self._demo)
            watch = asyncio.create_task(self._watch())
            try:
                await self._loop()
            finally:
                await self._stop(watch)
        finally:
            for server in self._servers.values():
                server.clean()
            remove_record(self._settings.data_dir)
            lock.release()
        if self._failure is not None:
            raise self._failure

    # --- prepare ---

    def _prepare_servers(self) -> None:
        """Settings that name no server get one of ours."""
        try:
            if not self._settings.redis_url:
                self._servers[VALKEY] = server = embedded.valkey(self._settings)
                self._settings = self._settings.with_changes(redis_url=server.url)
            if not self._settings.database_url:
                self._servers[POSTGRES] = server = embedded.postgres(self._settings)
                self._initdb = embedded.initdb(server)
                self._settings = self._settings.with_changes(database_url=server.url)
        except OSError as error:
            raise MatchboxError(f"data folder {self._settings.data_dir}: {error}; name another with --data") from error
        self._outlook = Outlook(initialised=self._initdb is None, database=POSTGRES not in self._servers)

    def _command_of(self, name: str) -> Command:
        if name == INITDB:
            assert self._initdb is not None
            return self._initdb
        return self._servers[name].command if name in self._servers else self._worker_command(self._settings, name)

    def _catch_signals(self) -> None:
        loop = asyncio.get_running_loop()
        for number in (*STOP_SIGNALS, signal.SIGCHLD):
            loop.add_signal_handler(number, self._queue.put_nowait, number)

    # --- observe ---

    async def _watch(self) -> None:
        """Look at Redis twice a second and put what is seen into the queue."""
        while True:
            await self._publish_given_up()
            try:
                self._queue.put_nowait(await self._observer.look(self._watched(), self._view()))
            except MatchboxError as error:
                self._queue.put_nowait(error)
            await asyncio.sleep(self._tick())

    async def _publish_given_up(self) -> None:
        """Between two looks, so that each look shows either that a worker is given up, or that somebody resumed it."""
        for name, reason in list(self._given_up.items()):
            if await self._observer.give_up(name, reason):
                del self._given_up[name]
                self._halted |= {name}

    def _watched(self) -> dict[str, int]:
        runs = self._roster.runs.items()
        return {name: run.child.pid for name, run in runs if name not in (*SERVERS, INITDB, MIGRATIONS)}

    async def _loop(self) -> None:
        while not self._stops_asked and self._failure is None:
            self._reap()
            self._look_at_servers()
            self._act()
            self._record()
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._take_next(), self._until_next_start())

    def _tick(self) -> float:
        is_starting = not self._outlook.serving and time.time() - self._started_at < EAGER_S
        return EAGER_TICK_S if is_starting else TICK_S

    def _until_next_start(self) -> float:
        """Seconds to the next tick, or to the end of the first pause before a restart."""
        exits = self._roster.exits
        paused = [one for one in self._wanted() if one.startable and one.name not in self._roster.runs]
        ends = [start_time(exits.get(one.name, ()), one.pause_max_s) for one in paused]
        return max(0.01, min([self._tick(), *(end - time.monotonic() for end in ends)]))

    async def _take_next(self) -> None:
        self._take(await self._queue.get())
        while not self._queue.empty():
            self._take(self._queue.get_nowait())

    def _take(self, item: "signal.Signals | Seen | MatchboxError") -> None:
        if isinstance(item, Seen):
            self._learn(item)
        elif isinstance(item, MatchboxError):
            self._failure = item
        elif item in STOP_SIGNALS:
            self._stops_asked += 1

    def _learn(self, seen: Seen) -> None:
        now = time.monotonic()
        self._tell_of_redis(seen.error)
        if seen.error:
            self._outlook = msgspec.structs.replace(self._outlook, redis=False)
            return
        if now - self._heard_at > HEARD_S:
            self._roster.excuse_silence(now)
        self._heard_at = now
        for name in self._halted - seen.halted:
            self._roster.forget(name)
        self._halted = seen.halted
        self._outlook = msgspec.structs.replace(self._outlook, redis=True, symbols=seen.symbols)
        self._roster.mark_ready(VALKEY, now)
        ready = self._roster.see(seen.beats, seen.told_apart, now)
        for name in ready:
            if self._roster.restarts[name]:
                self._report(f"{name} runs again")
        troubles = self._roster.troubles()
        for name in troubles.keys() - set(self._troubled):
            self._report(f"{name} has trouble: {troubles[name]}")
        self._troubled = troubles.keys()
        self._tell_of_pressure(seen.pressure)

    def _tell_of_pressure(self, pressure: Pressure) -> None:
        if pressure.level != self._level:
            self._level = pressure.level
            self._report(f"all instruments are {pressure.level}{pressure.says and f': {pressure.says}'}")

    def _tell_of_redis(self, error: str) -> None:
        """Say that Redis is away, also if it never was there, and when it is back; but not while we start."""
        if error and not self._is_away_told:
            if self._outlook.redis or time.time() - self._started_at > PATIENCE_S:
                self._report(f"Redis is away: {error}")
                self._is_away_told = True
        elif not error and self._is_away_told:
            self._report("Redis is there again")
            self._is_away_told = False

    def _look_at_servers(self) -> None:
        run = self._roster.runs.get(POSTGRES)
        if POSTGRES in self._servers:
            ready = run is not None and embedded.is_ready(self._servers[POSTGRES], run.child.pid)
            self._outlook = msgspec.structs.replace(self._outlook, database=ready)
            if ready:
                self._roster.mark_ready(POSTGRES, time.monotonic())
        now = time.monotonic()
        if now - self._measured_at > MEASURE_S:
            self._measured_at = now
            self._roster.measure()
        if not self._outlook.serving and "gateway:0" in self._roster.runs and not self._tasks:
            self._spawn(self._look_for_gateway())

    async def _look_for_gateway(self) -> None:
        if await answers(self._settings.host, self._settings.port) and not self._outlook.serving:
            self._outlook = msgspec.structs.replace(self._outlook, serving=True)
            self._on_ready(self._settings, self._outlook.symbols)

    def _spawn(self, work: Coroutine[Any, Any, object]) -> None:
        task = asyncio.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    # --- plan and act ---

    def _wanted(self) -> list[Wanted]:
        given_up = self._halted | self._given_up.keys()
        heard = self._outlook.redis and time.monotonic() - self._heard_at < HEARD_S
        outlook = msgspec.structs.replace(self._outlook, heard=heard)
        return wanted_processes(
            self._servers,
            outlook,
            given_up,
            self._settings.shards,
            self._settings.gateways,
            self._demo,
            self._settings.auditor,
        )

    def _act(self) -> None:
        now = time.monotonic()
        hung_after_s = self._settings.hung_after_ms / 1000
        for action in plan(self._wanted(), self._roster.alive(), self._roster.exits, now, hung_after_s):
            match action:
                case Start(name):
                    self._start(name, now)
                case Stop(name, kill=False):
                    self._report(f"{name} is no longer wanted; stopping it")
                    self._roster.stop(name, now + self._settings.drain_ms / 1000)
                case Stop(name, hung=hung):
                    self._report(f"{name} {'hangs' if hung else 'does not stop'}; killing it")
                    self._roster.kill(name, now, hung=hung)
                case GiveUp(name):
                    self._given_up[name] = reason = self._roster.reasons.get(name, "it ends as soon as it is started")
                    self._report(
                        f'{name} is given up: {reason}; "matchbox instrument resume {symbol_of(name)}" tries again'
                    )

    def _start(self, name: str, now: float) -> None:
        try:
            self._roster.start(name, now)
        except OSError as error:
            self._failure = MatchboxError(f"{name} cannot be started: {error}")

    def _reap(self) -> None:
        for ended in self._roster.reap(time.monotonic(), excused=not self._outlook.redis):
            if ended.code == 0 and ended.name in (INITDB, MIGRATIONS):
                self._finish(ended.name)
            elif ended.name == MIGRATIONS and ended.code == EXIT_ROLLED_BACK:
                self._failure = MatchboxError(ended.reason)
            elif not ended.asked:
                self._report(f"{ended.name} ended ({ended.reason}); starting it again")
            self._free_lease(ended)
            if ended.name == VALKEY:
                self._outlook = msgspec.structs.replace(self._outlook, redis=False)

    def _finish(self, name: str) -> None:
        self._roster.forget(name)
        if name == INITDB:
            embedded.finish_initdb(self._servers[POSTGRES])
            self._outlook = msgspec.structs.replace(self._outlook, initialised=True)
        else:
            self._outlook = msgspec.structs.replace(self._outlook, migrated=True)

    def _free_lease(self, ended: Ended) -> None:
        if ended.run.beat is not None and (lease := lease_of(ended.name)):
            self._spawn(self._observer.free(*lease, ended.run.beat.epoch))

    # --- tell ---

    def _record(self) -> None:
        """Keep ``cluster.json`` true; it is written only when it changes."""
        records = self._roster.records()
        if records == self._recorded:
            return
        pid = os.getpid()
        write_record(
            self._settings.data_dir,
            ClusterRecord(
                pid=pid,
                created=creation_time(pid),
                host=self._settings.host,
                port=self._settings.port,
                redis_url=self._settings.redis_url,
                database_url=self._settings.database_url,
                started_at=self._started_at,
                processes=records,
            ),
        )
        self._recorded = list(records)

    def _view(self) -> SupervisorView:
        return SupervisorView(
            host=socket.gethostname(),
            data=self._settings.data,
            pid=os.getpid(),
            address=address(self._settings),
            time=time.time(),
            started_at=self._started_at,
            processes=self._roster.views(self._absent()),
        )

    def _absent(self) -> list[tuple[str, str]]:
        """What should run and does not, each with its state."""
        if self._stops_asked:
            return []
        now = time.monotonic()
        found = []
        for one in self._wanted():
            if one.name not in self._roster.runs:
                waits = now < start_time(self._roster.exits.get(one.name, ()), one.pause_max_s)
                found.append((one.name, "backing off" if waits else "starting" if one.startable else "waiting"))
        found += [(name, "halted") for name in self._halted | self._given_up.keys() if symbol_of(name)]
        return found

    # --- stop ---

    def _is_hurried(self) -> bool:
        while not self._queue.empty():
            self._take(self._queue.get_nowait())
        return self._stops_asked > 1

    async def _stop(self, watch: asyncio.Task[None]) -> None:
        """Drain, then stop everything; our view in Redis goes before Redis does."""
        self._report("stopping: draining the workers, then the servers")
        shutdown = Shutdown(self._roster, self._observer, self._settings, self._is_hurried)
        await shutdown.stop_workers()
        for task in (watch, *self._tasks):
            task.cancel()
        await asyncio.gather(watch, *self._tasks, return_exceptions=True)
        await self._observer.close()
        await shutdown.stop_servers()
        self._report("stopped")
