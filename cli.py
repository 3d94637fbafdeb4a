"""The command ``matchbox``: wiring only. What the commands do is in ``cluster/``."""

import contextlib
from importlib import metadata
from typing import Any

import click
from redis.exceptions import RedisError

from cluster import background, logs
from cluster import status as cluster_status
from cluster.commands import log_folder
from cluster.instrument_commands import instrument
from cluster.record import read_record
from cluster.session import Session, settings_with
from cluster.settings_help import SettingsCommand
from cluster.terminal import Commands, data_option, echo, json_option, print_json, print_table
from cluster.user_commands import key, user
from cluster.welcome import welcome
from shared import keys


def version() -> str:
    """The installed version."""
    try:
        return metadata.version("matchbox")
    except metadata.PackageNotFoundError:
        return "(not installed)"


@click.group(
    cls=Commands,
    context_settings={"help_option_names": ["-h", "--help"]},
    epilog="""\b
Examples:
  matchbox start --demo                      an exchange with a living market; Ctrl-C stops it
  matchbox start --detach --data a --port 9000
  matchbox status --data a
  matchbox instrument add BTC-USD --tick 0.01 --lot 0.00000001 --taker-fee-bps 20
  matchbox user create alice && matchbox deposit alice USD 100000 && matchbox key create alice

Every setting is also a variable MATCHBOX_... in the environment or in .env, as in MATCHBOX_REDIS_URL.""",
)
@click.version_option(version(), prog_name="matchbox")
def cli() -> None:
    """An exchange in a box: a matching engine cluster that one command starts."""


# --- the cluster ---


@cli.command(cls=SettingsCommand)
@click.option("--detach", is_flag=True, help="Return when the exchange is open; it goes on in the background.")
@click.option("--demo", is_flag=True, help="With BTC-USD, ETH-USD and traders that make a market.")
@data_option
@click.option("--host", help="Address to listen on [default: 127.0.0.1].")
@click.option("--port", type=int, help="Port to listen on [default: 8000].")
@click.option(
    "--gateways",
    type=int,
    help="Gateway processes that share the port; clients need not care which one they meet [default: 1].",
)
@click.option(
    "--durability",
    type=click.Choice(["always", "everysec"]),
    help="When the embedded Valkey syncs to disk [default: always].",
)
def start(detach: bool, demo: bool, **options: Any) -> None:
    """Start the exchange.

    Without MATCHBOX_REDIS_URL and MATCHBOX_DATABASE_URL it runs its own Valkey and PostgreSQL in the data folder.
    Two clusters with different --data and --port live side by side.
    """
    from workers.engine.core import order_book

    settings = settings_with(**options)
    core = order_book(settings.core).core
    if detach:
        record = background.start(settings, demo=demo)
        found = Session(settings.data).redis.hlen(keys.INSTRUMENTS)
        click.echo(welcome(settings, demo=demo, has_instruments=found > 0))
        click.echo(f"\nIt runs in the background (pid {record.pid}).")
    else:
        echo(f"starting, order book: {core}; Ctrl-C stops it")
        background.run_supervisor(
            settings,
            demo=demo,
            echo=echo,
            on_ready=lambda _, symbols: echo(f"\n{welcome(settings, demo=demo, has_instruments=bool(symbols))}\n"),
        )


@cli.command()
@data_option
def stop(data: str | None) -> None:
    """Drain and stop the cluster of the data folder."""
    settings = settings_with(data=data)
    stopped = background.stop(settings)
    click.echo(f"stopped {', '.join(stopped)}" if stopped else f"nothing runs in {settings.data_dir}")


@cli.command()
@data_option
@json_option
def status(data: str | None, as_json: bool) -> None:
    """Show every process: its state, restarts, sequence and lag."""
    session = Session(data)
    try:
        found = cluster_status.status_of(session.redis)
    except RedisError as error:
        record = read_record(session.settings.data_dir)
        if record is None:
            raise
        found = cluster_status.status_without_redis(record, session.settings.data_dir, str(error))
    if as_json:
        print_json(found)
        return
    for url in found.addresses:
        click.echo(f"Matchbox at {url}\n")
    print_table(cluster_status.table_of(found))
    if stores := cluster_status.stores_of(found):
        print_table(stores)
    if found.problem:
        raise click.ClickException(found.problem)


@cli.command(name="logs")
@click.argument("name", required=False)
@click.option("-f", "--follow", is_flag=True, help="Go on with what is written.")
@click.option("-n", "--lines", type=click.IntRange(0), default=20, show_default=True, help="Lines of each log.")
@data_option
def show_logs(name: str | None, follow: bool, lines: int, data: str | None) -> None:
    """Show what the processes have written.

    NAME is one of them, as in engine:BTC-USD or valkey.
    """
    folder = log_folder(settings_with(data=data))
    for path in logs.find_logs(folder, name):
        for line in logs.last_lines(path, lines):
            click.echo(line if name else f"{path.stem}: {line}")
    if follow:
        with contextlib.suppress(KeyboardInterrupt):
            for source, line in logs.follow(folder, name):
                click.echo(line if name else f"{source}: {line}")


cli.add_command(instrument)


# --- the kill switch ---


@cli.command()
@click.option("--reason", default="", help="What those who try to trade are told.")
@data_option
def halt(reason: str, data: str | None) -> None:
    """Stop all trading, and cancel every order.

    One instrument: "matchbox instrument halt SYMBOL --cancel"; one user: "matchbox user block USER";
    one API key: "matchbox key revoke KEY --cancel".
    """
    from cluster import kill_switch

    kill_switch.block(Session(data).redis, kill_switch.EVERYONE, reason)
    click.echo('nobody can trade, and every order is being canceled; "matchbox resume" lets everybody trade again')


@cli.command()
@data_option
def resume(data: str | None) -> None:
    """Let everybody trade again, after "matchbox halt"."""
    from cluster import kill_switch

    kill_switch.unblock(Session(data).redis, kill_switch.EVERYONE)
    click.echo("everybody can trade again who is not blocked, wherever nothing is halted")


# --- users ---


cli.add_command(user)


@cli.command()
@click.argument("name", metavar="USER")
@click.argument("currency")
@click.argument("amount")
@data_option
def deposit(name: str, currency: str, amount: str, data: str | None) -> None:
    """Give USER test money: matchbox deposit alice USD 100000."""
    from cluster import accounts

    session = Session(data)
    with session.database() as database:
        got = accounts.deposit(session.redis, database, name, currency, amount)
    click.echo(f"{name} got {got} {currency}")


cli.add_command(key)


# --- replay and audit ---


@cli.command(
    epilog="""\b
Examples:
  matchbox replay orders.csv.xz
  matchbox replay es.mbo.dbn.zst --instrument ES-USD --rate 2000 && matchbox audit
  matchbox replay es.mbo.dbn.zst --compare""",
)
@click.argument("file")
@click.option(
    "--instrument", "symbol", help="Instrument to feed [default: the recording's own, made if it is missing]."
)
@click.option("--limit", type=click.IntRange(1), help="Feed only the first steps of the recording.")
@click.option("--rate", type=click.IntRange(1), help="Requests a second [default: as fast as the cluster takes them].")
@click.option("--compare", is_flag=True, help="Compare the engine's fills with the recorded ones; needs no exchange.")
@data_option
def replay(file: str, symbol: str | None, limit: int | None, rate: int | None, compare: bool, data: str | None) -> None:
    """Feed a recorded order flow into the running exchange.

    FILE is a Bitstamp CSV of order events or Databento MBO records (DBN), packed or plain. The last line is JSON.
    With --compare an order book of its own takes the whole flow, and each aggressor's fills are compared.
    """
    from rich.console import Console

    from workers.replay.compare.show import compare_to
    from workers.replay.show import replay_to

    if not compare:
        replay_to(Console(), Session(data).settings, file, symbol, limit, rate)
    elif symbol or limit or rate or data:
        raise click.UsageError("--compare reads the whole file and needs no exchange: give it no other option")
    else:
        compare_to(Console(), file)


@cli.command()
@click.option("--journal", metavar="FILE", help="Check a journal of the auditor instead; needs no exchange.")
@data_option
def audit(journal: str | None, data: str | None) -> None:
    """Check the invariants over logs and PostgreSQL.

    The exchange may go on meanwhile. A line per violation, and exit code 1 if there is any. The last line is JSON.

    While the exchange runs its auditor checks the same all the time. What it halts an instrument for it keeps as a
    journal, from which --journal finds it again.
    """
    from pathlib import Path

    from rich.console import Console

    from workers.audit.show import audit_to
    from workers.auditor.show import find_again_to

    console = Console()
    is_good = (
        not find_again_to(console, Path(journal)) if journal else audit_to(console, Session(data).settings).is_good
    )
    if not is_good:
        raise SystemExit(1)


@cli.command()
@click.option("--yes", is_flag=True, help="Do not ask.")
@data_option
def recover(yes: bool, data: str | None) -> None:
    """Make a lost or rolled-back Redis anew from PostgreSQL.

    The cluster must be stopped. Balances, open orders, books, trade ids and sequences go on from the last entry that
    PostgreSQL has of each log; what was acknowledged after that is lost, and it says up to where. The last line is
    JSON.
    """
    from rich.console import Console

    import migrations
    from cluster.offline import offline
    from cluster.recovery_commands import confirm_recovery
    from workers.pusher.drain import drain
    from workers.recovery.show import recover_to

    with offline(settings_with(data=data)) as settings:
        migrations.upgrade(settings.database_url)
        confirm_recovery(settings, is_sure=yes)
        drain(settings)
        recover_to(Console(), settings)


@cli.command()
@click.argument("file")
@data_option
def backup(file: str, data: str | None) -> None:
    """Write all of the exchange into FILE, a new archive.

    Of a running cluster it holds PostgreSQL as of one instant, and "matchbox restore" makes Redis of that; of a stopped
    one it holds Redis, too. It contains password hashes and the server key: keep it safe. The last line is JSON.
    """
    from cluster.recovery_commands import backup_to

    backup_to(settings_with(data=data), file, version())


@cli.command()
@click.argument("file")
@data_option
def restore(file: str, data: str | None) -> None:
    """Make a new cluster of the backup FILE, in an empty data folder.

    It is stopped afterwards: "matchbox start" starts it. The last line is JSON.
    """
    from rich.console import Console

    from cluster.recovery_commands import restored
    from workers.recovery.show import recover_to

    with restored(settings_with(data=data), file) as (settings, manifest):
        if manifest.redis_keys < 0:
            recover_to(Console(), settings)


BENCHMARKS = ("core", "engine", "gateway", "memory")


@cli.command()
@click.argument("names", nargs=-1, metavar=f"[{'|'.join(BENCHMARKS)}]...", type=click.Choice(BENCHMARKS))
@click.option("--quick", is_flag=True, help="Fewer commands and rounds: a minute or so in all.")
def bench(names: tuple[str, ...], quick: bool) -> None:
    """Measure this machine, on private servers.

    Prints tables, each with a last line of JSON.
    """
    from importlib import import_module

    for name in names or BENCHMARKS:
        import_module(f"benchmarks.{name}").main(["--quick"] if quick else [], standalone_mode=False)


def main() -> None:
    """Run the command line."""
    cli()


if __name__ == "__main__":
    main()
