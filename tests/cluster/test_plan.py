"""The supervisor's decisions as tables of what happened and what follows; no process is started."""

import pytest

from cluster.plan import (
    EXITS_MAX,
    HEALTHY_S,
    PAUSE_MAX_S,
    START_GRACE_S,
    Alive,
    Exit,
    GiveUp,
    Outlook,
    Start,
    Stop,
    Wanted,
    is_hopeless,
    plan,
    start_time,
    stop_stages,
    wanted_processes,
)

A = "engine:BTC-USD"
OPEN = Outlook(redis=True, initialised=True, database=True, migrated=True, serving=True, symbols=("BTC-USD", "ETH-USD"))


def crash(at: float, served_s: float = 0.0) -> Exit:
    return Exit(at, served_s)


def kill(at: float, served_s: float = 0.0) -> Exit:
    return Exit(at, served_s, blameless=True)


@pytest.mark.parametrize(
    ("wanted", "alive", "exits", "now", "expected"),
    [
        # wanted and not there
        (Wanted(A), {}, [], 100, [Start(A)]),
        (Wanted(A, startable=False), {}, [], 100, []),
        # died: at once, then later and later
        (Wanted(A), {}, [crash(100)], 100, [Start(A)]),
        (Wanted(A), {}, [crash(90), crash(100)], 100.1, []),
        (Wanted(A), {}, [crash(90), crash(100)], 100.2, [Start(A)]),
        (Wanted(A), {}, [crash(80), crash(90), crash(100)], 100.3, []),
        (Wanted(A), {}, [crash(80), crash(90), crash(100)], 100.4, [Start(A)]),
        # there and well, or already asked to stop
        (Wanted(A), {A: Alive(A, 99, is_ready=True)}, [], 100, []),
        (Wanted(A), {A: Alive(A, 99, is_ready=True, kill_at=101)}, [], 100, []),
        (Wanted(A), {A: Alive(A, 99, is_ready=True, kill_at=101)}, [], 101, [Stop(A, kill=True)]),
        # silent: hung, unless it recovers, or nobody can be heard
        (Wanted(A), {A: Alive(A, 90, is_ready=True)}, [], 100, []),
        (Wanted(A), {A: Alive(A, 89, is_ready=True)}, [], 100, [Stop(A, kill=True, hung=True)]),
        (Wanted(A, watched=False), {A: Alive(A, 50, is_ready=True)}, [], 100, []),
        (Wanted(A), {A: Alive(A, 100 - START_GRACE_S)}, [], 100, []),
        (Wanted(A), {A: Alive(A, 99 - START_GRACE_S)}, [], 100, [Stop(A, kill=True, hung=True)]),
        # given up only where that is wanted, and only if it was to blame
        (Wanted(A, gives_up=True), {}, [crash(one) for one in range(EXITS_MAX)], 100, [GiveUp(A)]),
        (Wanted(A, gives_up=True), {}, [crash(one) for one in range(EXITS_MAX - 1)], 100, [Start(A)]),
        (Wanted(A), {}, [crash(one) for one in range(EXITS_MAX)], 100, [Start(A)]),
        (Wanted(A, gives_up=True), {}, [kill(one) for one in range(EXITS_MAX)], 100, [Start(A)]),
    ],
)
def test_each_situation_has_its_action(wanted, alive, exits, now, expected):
    """One process in one situation gets exactly the action that the rules name."""
    assert plan([wanted], alive, {A: exits}, now, hung_after_s=10) == expected


def test_what_is_no_longer_wanted_is_asked_and_then_killed():
    """A removed instrument's engine gets SIGTERM once, and SIGKILL when its time is up."""
    assert plan([], {A: Alive(A, 100)}, {}, 100) == [Stop(A)]
    assert plan([], {A: Alive(A, 100, kill_at=110)}, {}, 105) == []
    assert plan([], {A: Alive(A, 100, kill_at=110)}, {}, 110) == [Stop(A, kill=True)]


def test_the_pause_doubles_to_its_maximum():
    """A worker that always crashes is started less and less often, so it cannot eat the CPU."""
    exits: list[Exit] = []
    pauses = []
    now = 0.0
    for _ in range(14):
        exits.append(crash(now))
        pauses.append(round(start_time(exits) - now, 3))
        now = start_time(exits)
    assert pauses[:9] == [0, 0.2, 0.4, 0.8, 1.6, 3.2, 6.4, 12.8, 25.6]
    assert set(pauses[9:]) == {PAUSE_MAX_S}


def test_health_starts_the_count_anew():
    """After a run that served long enough the next restart is immediate again."""
    exits = [crash(one) for one in range(8)]
    assert start_time([*exits, crash(100)]) > 100
    assert start_time([*exits, crash(100, served_s=HEALTHY_S)]) == 100


def test_kills_from_outside_stay_cheap():
    """However often somebody kills a worker with -9, it is back within a second and never given up."""
    exits = [kill(float(one)) for one in range(30)]
    assert start_time(exits) - exits[-1].at <= 1.0
    assert not is_hopeless(exits)


def test_a_run_that_served_breaks_the_row_of_quick_exits():
    """Ten quick exits must be in a row to halt an instrument."""
    quick = [crash(one) for one in range(EXITS_MAX - 1)]
    assert is_hopeless([*quick, crash(100)])
    assert not is_hopeless([*quick, crash(99, served_s=6.0), crash(100)])


@pytest.mark.parametrize(
    ("outlook", "startable"),
    [
        (Outlook(), {"valkey", "initdb"}),
        (Outlook(initialised=True), {"valkey", "postgres"}),
        (Outlook(redis=True), {"valkey", "initdb", "ledger:0"}),
        (Outlook(redis=True, initialised=True, database=True), {"valkey", "postgres", "migrations", "ledger:0"}),
        (
            Outlook(redis=True, initialised=True, database=True, migrated=True, symbols=("BTC-USD",)),
            {"valkey", "postgres", "ledger:0", "engine:BTC-USD", "gateway:0", "pusher"},
        ),
    ],
)
def test_a_cluster_comes_up_in_order(outlook, startable):
    """Each process starts as soon as what it needs is there, and not before."""
    wanted = wanted_processes(("valkey", "postgres"), outlook, (), shards=1, gateways=1, demo=True)
    assert {one.name for one in wanted if one.startable} == startable


def test_redis_away_starts_nothing_and_kills_nobody():
    """While Redis is away workers keep running, unwatched, and none is started into a failure."""
    away = Outlook(initialised=True, database=True, migrated=True, serving=True, symbols=("BTC-USD",))
    wanted = wanted_processes((), away, (), shards=1, gateways=1, demo=False)
    alive = {one.name: Alive(one.name, 0, is_ready=True) for one in wanted if one.name != "pusher"}
    assert plan(wanted, alive, {}, now=1000) == []


def test_a_halted_instrument_is_not_wanted():
    """A given-up engine stays away while the other instruments go on."""
    wanted = wanted_processes((), OPEN, {"engine:BTC-USD"}, shards=2, gateways=2, demo=True)
    assert [one.name for one in wanted] == [
        "ledger:0", "ledger:1", "engine:ETH-USD", "gateway:0", "gateway:1", "pusher", "demo"
    ]  # fmt: skip


def test_workers_stop_in_the_order_of_an_orders_way():
    """Nothing is stopped before those that send to it."""
    names = ["ledger:0", "engine:BTC-USD", "gateway:0", "pusher", "demo", "valkey"]
    assert stop_stages(names) == [["gateway:0", "demo"], ["ledger:0", "engine:BTC-USD"], ["pusher"]]
