"""The kill switches of the command line: they need Redis and the ledgers, and no gateway. Each is a logged request.

All raise ``Unavailable`` if a ledger does not answer: do it again then.
"""

import uuid
from typing import Any

from cluster.instruments import set_mode, shard_count
from shared.messages import BlockRequest, CancelAllRequest
from shared.submit import Submitter

EVERYONE = 0


def block(client: Any, account: int, reason: str) -> None:
    """Stop trading of an account, or of everyone, and cancel what is open. ``reason``: what those who try are told."""
    _ask(client, BlockRequest(_name(), account, True, reason))


def unblock(client: Any, account: int) -> None:
    """Let an account trade again, or everyone who is not blocked themselves."""
    _ask(client, BlockRequest(_name(), account, False))


def halt(client: Any, symbol: str, reason: str = "") -> None:
    """No orders for an instrument any more, then cancel everybody's: those that come between find it halted."""
    set_mode(client, symbol, "halted", reason)
    Submitter(client, shard_count(client)).submit(CancelAllRequest(_name(), EVERYONE, symbol))


def cancel_all(client: Any, account: int) -> None:
    """Cancel what an account has open."""
    _ask(client, CancelAllRequest(_name(), account))


def _ask(client: Any, request: BlockRequest | CancelAllRequest) -> None:
    submitter = Submitter(client, shard_count(client))
    send = submitter.submit_to_all if request.account == EVERYONE else submitter.submit
    send(request)


def _name() -> str:
    return f"switch-{uuid.uuid4().hex}"
