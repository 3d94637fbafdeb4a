"""Feeds a recording into a running exchange through its ordinary inbox: checks it, prepares the exchange, feeds it."""

import secrets
import time
from collections.abc import Callable, Iterator
from itertools import islice

from redis.exceptions import RedisError

from shared.connections import connect
from shared.errors import Unavailable
from shared.instrument import Instrument
from shared.messages import AmendRequest, CancelRequest, OrderRequest
from shared.settings import Settings
from workers.ledger.holds import buy_hold
from workers.replay.flow import ACCOUNTS_PER_SIDE, AnyRequest, Flow, Units
from workers.replay.recording import Recording
from workers.replay.steps import Cancel, Step, Unreadable
from workers.replay.traffic import STALL_S, ReplayReport, Traffic
from workers.replay.venue import Venue, accounts

POLL_S = 0.2

Progress = Callable[[int, int], None]
"""Told (steps done, steps in all) now and then."""


def replay(
    settings: Settings,
    path: str,
    instrument: str | None = None,
    limit: int | None = None,
    rate: int | None = None,
    progress: Progress = lambda _done, _all: None,
) -> ReplayReport:
    """Feed the first ``limit`` steps (default: all) of the file at ``path``, at most ``rate`` requests a second.

    Checks the whole file first, so a bad one changes nothing. Raises ``MatchboxError``: ``Unreadable`` for a bad file,
    ``InvalidInput`` if it does not fit the instrument, ``Unavailable`` if no cluster runs or it stops answering.
    """
    recording = Recording.open(path)
    client = connect(settings.redis_url)
    try:
        venue = Venue.find(client, settings.shards)
        rules = venue.instrument(recording.market, instrument)
        run = f"replay-{secrets.token_hex(4)}"
        owners = accounts(venue.shards, first=time.time_ns() // 1_000_000 * 2 * ACCOUNTS_PER_SIDE)
        units = Units(recording.market, rules)
        count, needs = _check(recording, Flow(run, units, rules.symbol, owners), rules, owners, limit)
        if venue.list_instrument(rules, run) or not venue.is_traded(rules.symbol):
            _await_book(venue, rules.symbol)
        report = ReplayReport(file=path, instrument=rules.symbol, steps=count)
        traffic = Traffic(client, rules, {*owners}, report)
        venue.fund(rules, run, needs)
        flow = Flow(run, units, rules.symbol, owners)
        traffic.run(_requests(recording, flow, report, count, progress), rate)
        traffic.wait_let_in()
        venue.take_back(run, traffic.free)
        progress(count, count)
        report.skipped = dict(recording.skipped)
        return report
    except RedisError as error:
        raise Unavailable(f"Redis does not answer: {error}; is the cluster running?") from error
    finally:
        client.close()


def _check(
    recording: Recording, trial: Flow, instrument: Instrument, owners: list[int], limit: int | None
) -> tuple[int, dict[int, int]]:
    """Read everything once: the number of steps to feed, and what each account needs if nothing is ever released."""
    count = 0
    needs = dict.fromkeys(owners, 0)
    for step in recording.steps():
        if limit is not None and count >= limit:
            continue  # the rest of the file is read all the same: it might be bad
        count += 1
        for request in trial.requests(step):
            needs[request.account] += _hold(step, request, instrument)
    if not count:
        raise Unreadable(recording.path, "", "there is nothing in it to feed")
    return count, needs


def _hold(step: Step, request: AnyRequest, instrument: Instrument) -> int:
    if isinstance(request, CancelRequest) or isinstance(step, Cancel):
        return 0
    if step.side == "sell":
        return request.quantity * instrument.lot_value
    return buy_hold(instrument, request.price, request.quantity, max(instrument.maker_fee, instrument.taker_fee))


def _await_book(venue: Venue, symbol: str) -> None:
    end = time.monotonic() + STALL_S
    while not venue.is_traded(symbol):
        if time.monotonic() > end:
            raise Unavailable(f'no process runs the book of {symbol}; "matchbox status" shows why')
        time.sleep(POLL_S)


def _requests(
    recording: Recording, flow: Flow, report: ReplayReport, count: int, progress: Progress
) -> Iterator[AnyRequest]:
    for done, step in enumerate(islice(recording.steps(), count)):
        if done % 500 == 0:
            progress(done, count)
        for request in flow.requests(step):
            report.orders += isinstance(request, OrderRequest)
            report.amends += isinstance(request, AmendRequest)
            report.cancels += isinstance(request, CancelRequest)
            yield request
