"""Every setting, with its default, its unit in its name, and its variable: ``MATCHBOX_`` + the name in capitals.

Read from the environment, then from ``.env`` in the working folder; the command line's options win over both. The
supervisor hands its settings to its children through their environment, so secrets never stand in an argv.
"""

import os
import re
from collections.abc import Mapping
from difflib import get_close_matches
from pathlib import Path
from typing import Annotated, Any, Literal, get_type_hints
from urllib.parse import urlsplit

import msgspec
from dotenv import dotenv_values
from msgspec import Meta

from shared.errors import InvalidInput, InvalidSetting
from shared.instrument import decimal_of

PREFIX = "MATCHBOX_"

Count = Annotated[int, Meta(ge=1)]
Millis = Annotated[int, Meta(ge=0)]
Bound = Annotated[int, Meta(ge=0, le=1_000_000)]

REDIS_SCHEMES = ("redis", "rediss", "unix")
DATABASE_SCHEMES = ("postgresql", "postgres", "postgresql+psycopg")
SERVER_KEY_CHARS_MIN = 32
ALIKE = 0.85
"""From here on two names are one misspelt (1: the same)."""


class Settings(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """All settings of a cluster."""

    data: Annotated[
        str, Meta(min_length=1, description="data folder: embedded servers, logs of the processes, server key")
    ] = ".matchbox"
    host: Annotated[str, Meta(min_length=1, description="address the gateway listens on")] = "127.0.0.1"
    port: Annotated[int, Meta(ge=1, le=65535, description="port the gateway listens on")] = 8000
    redis_url: Annotated[str, Meta(description="Redis or Valkey; empty: the cluster starts its own")] = ""
    database_url: Annotated[str, Meta(description="PostgreSQL; empty: the cluster starts its own")] = ""
    durability: Annotated[Literal["always", "everysec"], Meta(description="appendfsync of the embedded Valkey")] = (
        "always"
    )
    shards: Annotated[int, Meta(ge=1, le=256, description="account shards, fixed when the cluster is made")] = 1
    gateways: Annotated[int, Meta(ge=1, le=64, description="gateway processes on the port")] = 1
    batch: Annotated[Count, Meta(description="entries a ledger or book reads at once")] = 512
    lease_ms: Annotated[int, Meta(ge=500, description="how long a silent owner keeps its book or shard")] = 3000
    snapshot_every: Annotated[Count, Meta(description="log entries between two snapshots")] = 50_000
    digest_every: Annotated[Count, Meta(description="log entries between two digests that a book or ledger tells")] = (
        1000
    )
    auditor: Annotated[
        bool,
        Meta(description="whether a process checks all logs, states and snapshots meanwhile, and halts what is wrong"),
    ] = True
    log_keep: Annotated[Millis, Meta(description="log entries kept at least, for readers that resume")] = 100_000
    request_timeout_ms: Annotated[Count, Meta(description="how long the gateway waits for the ledger")] = 5000
    inbox_age_ms: Annotated[
        Count, Meta(description="orders are refused while a request has waited longer for its ledger")
    ] = 2500
    inbox_max: Annotated[Count, Meta(description="orders are refused while an inbox has more entries")] = 200_000
    redis_memory_mb: Annotated[
        Millis, Meta(description="memory that Redis may use; 0: its maxmemory, or else half of its machine's")
    ] = 0
    redis_memory_percent: Annotated[
        int,
        Meta(ge=1, le=98, description="of that: above it only cancels are taken; half-way to 100 only kill switches"),
    ] = 80
    postgresql_lag_max: Annotated[
        Count,
        Meta(description="log entries PostgreSQL may be behind: above it only cancels, above twice only kill switches"),
    ] = 1_000_000
    core: Annotated[
        Literal["auto", "python", "compiled"], Meta(description="order book; auto: the compiled one if it is built")
    ] = "auto"
    max_open_orders: Annotated[Count, Meta(description="open orders per account")] = 10_000
    max_notional: Annotated[str, Meta(description="largest value of one order, in the quote currency")] = "100000000"
    max_funds: Annotated[
        str, Meta(description="balance up to which users may give themselves test money, in each currency; 0: none")
    ] = "1000000"
    fast_delay_ms: Annotated[Millis, Meta(description="pusher, live updates: pause between rounds")] = 20
    fast_batch: Annotated[Count, Meta(description="pusher, live updates: entries a round")] = 2000
    slow_delay_ms: Annotated[Millis, Meta(description="pusher, PostgreSQL: pause between rounds")] = 100
    slow_batch: Annotated[Count, Meta(description="pusher, PostgreSQL: entries a transaction")] = 5000
    balance_delay_ms: Annotated[Millis, Meta(description="pusher, balance updates: pause between rounds")] = 100
    balance_batch: Annotated[Count, Meta(description="pusher, balance updates: entries a round")] = 2000
    order_update_channel: Annotated[str, Meta(description="pub/sub channel of order updates")] = "order.updates"
    balance_update_channel: Annotated[str, Meta(description="pub/sub channel of balance updates")] = "balance.updates"
    hung_after_ms: Annotated[int, Meta(ge=1000, description="a worker silent for this long is killed")] = 10_000
    drain_ms: Annotated[int, Meta(ge=100, description="how long a worker may take to stop")] = 10_000
    server_key: Annotated[str, Meta(description="key that encrypts API secrets; empty: made in the data folder")] = ""
    registration: Annotated[
        Literal["open", "closed"], Meta(description="whether anybody may register by POST /users")
    ] = "open"
    argon_time_cost: Annotated[int, Meta(ge=1, le=100, description="argon2id: passes over the memory")] = 3
    argon_memory_cost: Annotated[int, Meta(ge=8, le=4_194_304, description="argon2id: KiB for one password")] = 65_536
    argon_parallelism: Annotated[int, Meta(ge=1, le=64, description="argon2id: lanes")] = 4
    session_idle_s: Annotated[Count, Meta(description="a session ends when it was not used for this long")] = 7200
    session_max_s: Annotated[Count, Meta(description="a session ends this long after its login in any case")] = 86_400
    private_rate: Annotated[
        Bound, Meta(description="requests a second of one account, cancels apart, per gateway process; 0: any number")
    ] = 1000
    cancel_rate: Annotated[
        Bound, Meta(description="cancels a second of one account, per gateway process; 0: any number")
    ] = 1000
    public_rate: Annotated[
        Bound, Meta(description="unsigned or refused requests a second of one address, per gateway process; 0: any")
    ] = 1000
    sockets_max: Annotated[Bound, Meta(description="open WebSockets of one gateway process; 0: any number")] = 5000
    sockets_per_address: Annotated[
        Bound, Meta(description="open WebSockets of one address, per gateway process; 0: any number")
    ] = 1000
    sockets_per_account: Annotated[
        Bound, Meta(description="open WebSockets of one account, per gateway process; 0: any number")
    ] = 200
    proxied: Annotated[
        bool, Meta(description="true behind one proxy of yours: its X-Forwarded-For and -Proto are believed")
    ] = False
    log_level: Annotated[Literal["debug", "info", "warning", "error"], Meta(description="least level logged")] = "info"

    @property
    def data_dir(self) -> Path:
        """The data folder, absolute."""
        return Path(self.data).expanduser().resolve()

    def with_changes(self, **changes: Any) -> "Settings":
        """A checked copy; ``None`` means unchanged. Raises ``InvalidSetting``."""
        known = msgspec.to_builtins(self) | {name: value for name, value in changes.items() if value is not None}
        return _checked(known)

    def environment(self) -> dict[str, str]:
        """These settings as the variables a child process reads."""
        return {PREFIX + name.upper(): str(value) for name, value in msgspec.to_builtins(self).items()}


def load_settings(environment: Mapping[str, str] | None = None, dotenv: Path | None = Path(".env")) -> Settings:
    """Settings from the environment and ``.env``. Raises ``InvalidSetting`` that names the variable."""
    found: dict[str, str] = {}
    if dotenv is not None and dotenv.is_file():
        found |= {name: value for name, value in dotenv_values(dotenv).items() if value is not None}
    found |= os.environ if environment is None else environment
    names = {PREFIX + name.upper(): name for name in Settings.__struct_fields__}
    for variable in found.keys() - names:
        if variable.startswith(PREFIX):
            _refuse_misspelt(variable)
    return _checked({name: found[variable] for variable, name in names.items() if variable in found})


def _refuse_misspelt(variable: str) -> None:
    """Who meant a setting must not trade without it; but other programs may have variables that begin like ours."""
    meant = get_close_matches(variable.removeprefix(PREFIX).lower(), Settings.__struct_fields__, n=1, cutoff=ALIKE)
    if meant:
        raise InvalidSetting(f"{variable} is no setting: write {PREFIX}{meant[0].upper()}, or take it away")


def _checked(values: dict[str, Any]) -> Settings:
    try:
        found = msgspec.convert(values, Settings, strict=False)
    except msgspec.ValidationError as error:
        what, _, where = str(error).partition(" - at `$.")
        name = re.sub(r"\W", "", where)
        shown = f'="{values[name]}"' if name in values and name != "server_key" else ""
        raise InvalidSetting(f"{PREFIX}{name.upper()}{shown}: {what}") from error
    _check_url("redis_url", found.redis_url, REDIS_SCHEMES)
    _check_url("database_url", found.database_url, DATABASE_SCHEMES)
    if 0 < len(found.server_key) < SERVER_KEY_CHARS_MIN:
        raise InvalidSetting(f"{PREFIX}SERVER_KEY: it needs at least {SERVER_KEY_CHARS_MIN} random characters")
    _check_decimal("max_notional", found.max_notional, may_be_zero=False)
    _check_decimal("max_funds", found.max_funds, may_be_zero=True)
    return found


def _check_decimal(name: str, text: str, *, may_be_zero: bool) -> None:
    try:
        value = decimal_of(text, name)
        is_possible = value >= 0 if may_be_zero else value > 0
    except InvalidInput:
        is_possible = False
    if not is_possible:
        bound = "not below 0" if may_be_zero else "above 0"
        raise InvalidSetting(f'{PREFIX}{name.upper()}="{text}": write a decimal number {bound}')


def _check_url(name: str, url: str, schemes: tuple[str, ...]) -> None:
    """Complain before anything starts; the URL is not shown, it may hold a password."""
    if not url:
        return
    try:
        parts = urlsplit(url)
        is_possible = parts.scheme in schemes and "://" in url and (parts.port is None or parts.port > 0)
    except ValueError:
        is_possible = False
    if not is_possible:
        allowed = ", ".join(f"{scheme}://" for scheme in schemes[:-1])
        raise InvalidSetting(
            f"{PREFIX}{name.upper()} is not a URL with a known scheme ({allowed} or {schemes[-1]}://) and a valid port"
        )


def variables() -> list[tuple[str, str]]:
    """Each setting's variable, and what it means with its default: what ``start --help`` lists."""
    hints = get_type_hints(Settings, include_extras=True)
    defaults = {name: str(value) or "empty" for name, value in msgspec.to_builtins(Settings()).items()}
    return [
        (PREFIX + name.upper(), f"{hint.__metadata__[-1].description} [default: {defaults[name]}]")
        for name, hint in hints.items()
    ]
