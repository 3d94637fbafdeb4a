"""``matchbox instrument …``: wiring only; what the commands do is in ``instruments.py``."""

import time
from typing import Any

import click

from cluster import instruments, kill_switch
from cluster.session import Session
from cluster.terminal import Commands, data_option, json_option, print_json, print_table
from shared.definition import OPEN_MODES, define
from shared.instrument import DEFAULT_SCALE, Mode, price_text, quantity_text


@click.group(cls=Commands)
def instrument() -> None:
    """Change the instruments of the running cluster."""


@instrument.command(
    name="add",
    epilog="""\b
Examples:
  matchbox instrument add BTC-USD --tick 0.01 --lot 0.00000001
  matchbox instrument add ACME-EUR --tick 0.05 --lot 1 --maker-fee-bps 0 --taker-fee-bps 2.5 --max-size 10000""",
)
@click.argument("symbol")
@click.option("--tick", required=True, help="Smallest step of the price, as in 0.01.")
@click.option("--lot", required=True, help="Smallest step of the size, as in 0.001.")
@click.option("--maker-fee-bps", default="0", show_default=True, help="Fee of the resting side, in basis points.")
@click.option("--taker-fee-bps", default="0", show_default=True, help="Fee of the arriving side, in basis points.")
@click.option("--min-size", help="Smallest order [default: one lot].")
@click.option("--max-size", help="Largest order.")
@click.option("--max-price", help="Highest price.")
@click.option(
    "--collar-percent", default="10", show_default=True, help="How far from the last trade a market order goes."
)
@click.option(
    "--price-collar-percent",
    default="0",
    show_default=True,
    help="How far from the last trade any order may trade; 0: as far as it likes.",
)
@click.option("--base-scale", default=DEFAULT_SCALE, show_default=True, help="Decimal places of the base currency.")
@click.option("--quote-scale", default=DEFAULT_SCALE, show_default=True, help="Decimal places of the quote currency.")
@click.option("--mode", type=click.Choice(OPEN_MODES), default="online", show_default=True, help="How it opens.")
@data_option
def add_instrument(symbol: str, tick: str, lot: str, data: str | None, **rules: Any) -> None:
    """Add SYMBOL, as in BTC-USD, and start its engine."""
    made = define(symbol, tick, lot, **rules)
    instruments.add(Session(data).redis, made)
    click.echo(f"{symbol} is open for trading" if made.mode == "online" else f"{symbol} is there, in mode {made.mode}")


@instrument.command(name="list")
@data_option
@json_option
def list_instruments(data: str | None, as_json: bool) -> None:
    """List the instruments and their rules."""
    from rich.table import Table

    found = instruments.listing(Session(data).redis)
    if as_json:
        print_json(found)
        return
    if not found:
        click.echo("no instruments yet; add one: matchbox instrument add BTC-USD --tick 0.01 --lot 0.00000001")
        return
    table = Table("symbol", "mode", "tick", "lot", "maker bps", "taker bps", "min size", "max price", box=None)
    for one in found:
        fees = (instruments.bps_text(one.maker_fee), instruments.bps_text(one.taker_fee))
        limits = (quantity_text(one, one.min_quantity), price_text(one, one.max_price))
        mode = f"{one.mode} ({one.mode_reason})" if one.mode_reason else one.mode
        table.add_row(one.symbol, mode, one.tick, one.lot, *fees, *limits)
    print_table(table)


@instrument.command()
@click.argument("symbol")
@click.option("--cancel", is_flag=True, help="Cancel everybody's orders in it, too.")
@click.option("--reason", default="", help="What those who try to trade it are told.")
@data_option
def halt(symbol: str, cancel: bool, reason: str, data: str | None) -> None:
    """Refuse new orders for SYMBOL until it is resumed."""
    redis = Session(data).redis
    if cancel:
        kill_switch.halt(redis, symbol, reason)
    else:
        instruments.set_mode(redis, symbol, "halted", reason)
    what = "is halted, and its orders are being canceled" if cancel else "is halted"
    click.echo(f'{symbol} {what}; "matchbox instrument resume {symbol}" opens it again')


@instrument.command()
@click.argument("symbol")
@data_option
def resume(symbol: str, data: str | None) -> None:
    """Trade SYMBOL again, also after its engine was given up."""
    instruments.resume(Session(data).redis, symbol)
    click.echo(f"{symbol} is open for trading")


@instrument.command()
@click.argument("symbol")
@click.argument("mode", type=click.Choice(OPEN_MODES))
@data_option
def mode(symbol: str, mode: Mode, data: str | None) -> None:
    r"""Say what SYMBOL takes from now on.

    \b
    online       every order
    post-only    only limit orders with post_only
    limit-only   no market orders
    cancel-only  only cancels
    auction      orders collect; leaving the mode trades them at one price
    """
    instruments.set_mode(Session(data).redis, symbol, mode)
    click.echo(f"{symbol} is in mode {mode}")


@instrument.command()
@click.argument("symbol")
@click.option("--seconds", type=click.IntRange(1), default=30, show_default=True, help="How long orders collect.")
@click.option("--then", type=click.Choice(OPEN_MODES[:-1]), default="online", show_default=True, help="Mode after it.")
@data_option
def auction(symbol: str, seconds: int, then: Mode, data: str | None) -> None:
    """Hold an auction in SYMBOL: to open, to close, or to go on after a halt.

    Orders collect without trading, then all that can trade does so at the one price at which most is traded.
    """
    client = Session(data).redis
    instruments.set_mode(client, symbol, "auction")
    try:
        with click.progressbar(range(seconds * 10), label=f"{symbol} collects orders", show_percent=False) as steps:
            for _ in steps:
                time.sleep(0.1)
    except KeyboardInterrupt:
        click.echo(f'\n{symbol} goes on collecting; "matchbox instrument mode {symbol} {then}" trades what it has')
        raise
    found = instruments.end_auction(client, symbol, then)
    rules = instruments.find(client, symbol)
    if not found.trades:
        click.echo("nobody met: nothing was traded")
        return
    trades = f"{found.trades} trades" if found.trades > 1 else "one trade"
    click.echo(f"{quantity_text(rules, found.quantity)} at {price_text(rules, found.price)} in {trades}")


@instrument.command()
@click.argument("symbol")
@data_option
def remove(symbol: str, data: str | None) -> None:
    """Take SYMBOL away. It must have no open orders; its logs stay."""
    from cluster.delisting import remove as remove_instrument

    session = Session(data)
    with session.database() as database:
        remove_instrument(session.redis, database, symbol)
    click.echo(f"{symbol} is removed")
